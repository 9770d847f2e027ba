# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion for bufio-copy(8)

complete -c bufio-copy -l range -x -d 'These blocks or bytes of the source'
complete -c bufio-copy -l to -x -d 'To this block or byte of the target'
complete -c bufio-copy -l sparse -x -a 'auto always never' -d 'Leave out zeroes'
complete -c bufio-copy -l discard -d 'Take from an old target what becomes zeroes'
complete -c bufio-copy -l truncate -d 'Cut an old file off behind the copy'
complete -c bufio-copy -l used -d 'Metadata of a thin pool: what is in use'
complete -c bufio-copy -l pack -d 'The same into a file, compressed'
complete -c bufio-copy -l unpack -d 'What is packed in a file'
complete -c bufio-copy -l extents -r -F -d 'Data of a thin pool: one device, by this list'
complete -c bufio-copy -l size -x -d 'Size of that device'

complete -c bufio-copy -l map -r -F -d 'Go on past bad places, and note them'
complete -c bufio-copy -l skip-bad -d 'Go on past bad places'
complete -c bufio-copy -l retries -x -d 'Read bad sectors so often more'

complete -c bufio-copy -l verify -x -a 'readback hash none' -d 'Compare afterwards'
complete -c bufio-copy -l rate -x -d 'Read no more in a second'

complete -c bufio-copy -l script -r -F -d 'What is to be changed'
complete -c bufio-copy -l apply -d 'Do what the script says'
complete -c bufio-copy -l journal -r -F -d 'What was there before goes to this new file'
complete -c bufio-copy -l exit-code -d 'Exit with 1 if the plan would change something'
complete -c bufio-copy -l undo -r -F -d 'Bring back what was there before'
complete -c bufio-copy -l resume -r -F -d 'Finish the change, or do it again'
complete -c bufio-copy -l status -r -F -d 'What became of the change'

set -l signatures btrfs crypto_LUKS dm-cache dm-era dos ext2 ext3 ext4 f2fs gpt linux_raid_member LVM2_member swap \
	thin-pool vfat xfs xml
complete -c bufio-copy -l force-signature -x -a "$signatures" -d 'Overwrite a target that holds this'
complete -c bufio-copy -l force-in-use -d 'Read a source that is mounted or held'

complete -c bufio-copy -s J -l json -d 'What was copied, or the plan, as JSON'
complete -c bufio-copy -l verbose -d 'All that would change'
complete -c bufio-copy -l color -x -a 'auto always never' -d 'Colours in a plan'
complete -c bufio-copy -l progress -x -a 'auto always never' -d 'Show how far it is'
complete -c bufio-copy -s q -l quiet -d 'Say nothing'

complete -c bufio-copy -l block-size -x -d 'Unit of reading and of block numbers'
complete -c bufio-copy -l direct -x -a 'auto on off' -d 'Bypass the page cache'
complete -c bufio-copy -l io-engine -x -a 'auto uring threads' -d 'How to do I/O'
complete -c bufio-copy -l memory-limit -x -d 'Most memory for data on its way'
complete -c bufio-copy -l stats -d 'Print what the cache did'

complete -c bufio-copy -s '?' -l help -d 'Print the options'
complete -c bufio-copy -l usage -d 'Print the options in short'
complete -c bufio-copy -s V -l version -d 'Print the version'
