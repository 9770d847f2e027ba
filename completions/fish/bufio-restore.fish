# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion for bufio-restore(8)

# There are no words that are not options: files stand behind -i and -o.
complete -c bufio-restore -f

complete -c bufio-restore -s i -l input -r -F -d 'XML of a pool; - is the standard input'
complete -c bufio-restore -s o -l output -r -F -d 'Write to this block device or file'

complete -c bufio-restore -l transaction-id -x -d 'Transaction of the pool'
complete -c bufio-restore -l data-block-size -x -d 'Size of a data block'
complete -c bufio-restore -l nr-data-blocks -x -d 'Blocks of the data device'
complete -c bufio-restore -l count-mapped-blocks -d 'Count mappings, do not mind mapped_blocks'

set -l signatures btrfs crypto_LUKS dos ext2 ext3 ext4 f2fs gpt linux_raid_member LVM2_member swap vfat xfs xml
complete -c bufio-restore -l force-signature -x -a "$signatures" -d 'Overwrite a target that holds this'

complete -c bufio-restore -s J -l json -d 'What was restored, as JSON'
complete -c bufio-restore -l progress -x -a 'auto always never' -d 'Show how far it is'
complete -c bufio-restore -s q -l quiet -d 'Say nothing'

complete -c bufio-restore -l block-size -x -d 'Must be 4KiB'
complete -c bufio-restore -l direct -x -a 'auto on off' -d 'Bypass the page cache'
complete -c bufio-restore -l io-engine -x -a 'auto uring threads' -d 'How to do I/O'
complete -c bufio-restore -l memory-limit -x -d 'Most memory for cached blocks and tables'
complete -c bufio-restore -l stats -d 'Print what the cache did'

complete -c bufio-restore -s '?' -l help -d 'Print the options'
complete -c bufio-restore -l usage -d 'Print the options in short'
complete -c bufio-restore -s V -l version -d 'Print the version'
