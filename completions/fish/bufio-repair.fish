# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion for bufio-repair(8)

complete -c bufio-repair -s i -l input -r -F -d 'Damaged metadata'
complete -c bufio-repair -s o -l output -r -F -d 'Block device or file for the new metadata'
complete -c bufio-repair -l in-place -d 'Mend the image itself'
complete -c bufio-repair -l dry-run -d 'Say what would be done, write nothing'
complete -c bufio-repair -l list -d 'List the generations that can be had'

complete -c bufio-repair -l generation -x -d 'This generation, as --list counts them'
complete -c bufio-repair -l root -x -d 'The generation with this top level'
complete -c bufio-repair -l device -x -d 'DEV@N: this device from generation N'
complete -c bufio-repair -l assign -x -d 'DEV=BLOCK: the tree at this block is the device\'s'
complete -c bufio-repair -l stale -x -a 'offer use no' -d 'Older versions of dead nodes'
complete -c bufio-repair -l transaction-id -x -d 'Transaction of the pool'
complete -c bufio-repair -l data-block-size -x -d 'Size of a data block'
complete -c bufio-repair -l nr-data-blocks -x -d 'Blocks of the data device'

complete -c bufio-repair -l accept-loss -d 'Exit with 0 also when mappings are lost'
set -l signatures btrfs crypto_LUKS dm-cache dm-era dos ext2 ext3 ext4 f2fs gpt linux_raid_member LVM2_member swap vfat xfs xml
complete -c bufio-repair -l force-signature -x -a "$signatures" -d 'Overwrite a target that holds this'
complete -c bufio-repair -l journal -r -F -d 'Keep what was there before in this new file'
complete -c bufio-repair -l undo -r -F -d 'Bring back what this journal has'
complete -c bufio-repair -l resume -r -F -d 'Finish the repair of this journal'

complete -c bufio-repair -s J -l json -d 'The report as JSON'
complete -c bufio-repair -l progress -x -a 'auto always never' -d 'Show how far it is'
complete -c bufio-repair -s q -l quiet -d 'Say nothing'

complete -c bufio-repair -l block-size -x -d 'Must be 4KiB'
complete -c bufio-repair -l direct -x -a 'auto on off' -d 'Bypass the page cache'
complete -c bufio-repair -l io-engine -x -a 'auto uring threads' -d 'How to do I/O'
complete -c bufio-repair -l memory-limit -x -d 'Most memory for cached blocks and tables'
complete -c bufio-repair -l stats -d 'Print what the cache did'

complete -c bufio-repair -s '?' -l help -d 'Print the options'
complete -c bufio-repair -l usage -d 'Print the options in short'
complete -c bufio-repair -s V -l version -d 'Print the version'
