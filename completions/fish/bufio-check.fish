# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion for bufio-check(8)

complete -c bufio-check -l super-block-only -d 'Look at the superblock alone'
complete -c bufio-check -l skip-mappings -d 'Which devices there are, no mappings, no space maps'
complete -c bufio-check -s m -l metadata-snap -d 'Look at the metadata snapshot'
complete -c bufio-check -l override-mapping-root -x -d 'Mappings as if this were their root'
complete -c bufio-check -l override-details-root -x -d 'Device details as if this were their root'

complete -c bufio-check -l auto-repair -d 'Fix leaks and wrong hints of the space maps'
complete -c bufio-check -l clear-needs-check-flag -d 'Clear the flag of a clean pool'
complete -c bufio-check -l journal -r -F -d 'Keep what was there before in this new file'
complete -c bufio-check -l undo -r -F -d 'Bring back what this journal has'
complete -c bufio-check -l resume -r -F -d 'Finish the repair of this journal'

complete -c bufio-check -l ignore-non-fatal-errors -d 'Leaks do not count for the exit status'
complete -c bufio-check -l max-problems -x -d 'Show so many at the most'
complete -c bufio-check -s J -l json -d 'The report as JSON'

complete -c bufio-check -s o -l output -r -F -d 'Write the report to a file'
complete -c bufio-check -l progress -x -a 'auto always never' -d 'Show how far it is'
complete -c bufio-check -s q -l quiet -d 'Say nothing'

complete -c bufio-check -l block-size -x -d 'Must be 4KiB'
complete -c bufio-check -l direct -x -a 'auto on off' -d 'Bypass the page cache'
complete -c bufio-check -l io-engine -x -a 'auto uring threads' -d 'How to do I/O'
complete -c bufio-check -l memory-limit -x -d 'Most memory for cached blocks, counts and tables'
complete -c bufio-check -l stats -d 'Print what the cache did'

complete -c bufio-check -s '?' -l help -d 'Print the options'
complete -c bufio-check -l usage -d 'Print the options in short'
complete -c bufio-check -s V -l version -d 'Print the version'
