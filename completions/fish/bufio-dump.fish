# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion for bufio-dump(8)

# Whether the word to complete is the first that is neither an option nor an option's value.
function __bufio_dump_first_word
    set -l takes_value -f --format -o --output --dev-id --block-size --direct --io-engine --memory-limit --columns \
        --data-block-size --data-size --list --lvm-backup --lvm-pool --max-thins --nr-data-blocks --progress --root \
        --svg --transaction-id
    set -l words (commandline -opc)
    set -l skip 0
    for word in $words[2..-1]
        if test $skip -eq 1
            set skip 0
        else if contains -- $word $takes_value
            set skip 1
        else if not string match -q -- '-*' $word
            return 1
        end
    end
    return 0
end

complete -c bufio-dump -n __bufio_dump_first_word -a summary -d 'Superblock, devices, problems, verdict'
complete -c bufio-dump -n __bufio_dump_first_word -a ls -d 'Devices, in chosen columns'
complete -c bufio-dump -n __bufio_dump_first_word -a mappings -d 'Every mapping of every device'
complete -c bufio-dump -n __bufio_dump_first_word -a block -d 'Metadata blocks, field by field'
complete -c bufio-dump -n __bufio_dump_first_word -a path -d 'From the superblock to a virtual block'
complete -c bufio-dump -n __bufio_dump_first_word -a owner -d 'What blocks are for, and who needs them'
complete -c bufio-dump -n __bufio_dump_first_word -a bad -d 'Blocks that cannot be used, and their cost'
complete -c bufio-dump -n __bufio_dump_first_word -a delta -d 'Two devices compared'
complete -c bufio-dump -n __bufio_dump_first_word -a diff -d 'Two images compared'
complete -c bufio-dump -n __bufio_dump_first_word -a map -d 'What every metadata block is'
complete -c bufio-dump -n __bufio_dump_first_word -a roots -d 'Generations that can still be found'
complete -c bufio-dump -n __bufio_dump_first_word -a size -d 'How much metadata is needed'

complete -c bufio-dump -l dev-id -x -d 'This device alone'
complete -c bufio-dump -l lvm-backup -r -F -d 'Names from a backup of the volume group'
complete -c bufio-dump -l lvm-pool -x -d 'Thin pool of that backup'
# Its block number is optional and always attached, so no word that follows belongs to it.
complete -c bufio-dump -s m -l metadata-snap -d 'Look at the metadata snapshot'
complete -c bufio-dump -s r -l repair -d 'Through the best generation where roots are dead'
complete -c bufio-dump -l root -x -d 'Look through an older root'
complete -c bufio-dump -l skip-mappings -d 'Superblock and devices without their mappings'

complete -c bufio-dump -l data-block-size -x -d 'Size of a data block'
complete -c bufio-dump -l nr-data-blocks -x -d 'Blocks of the data device'
complete -c bufio-dump -l transaction-id -x -d 'Transaction of the pool'

complete -c bufio-dump -s f -l format -x -a 'human xml json' -d 'Output format'
complete -c bufio-dump -s J -l json -d 'The view as JSON'

complete -c bufio-dump -l bytes -d 'mappings: extents in bytes'
set -l columns DEV MAPPED_BLOCKS EXCLUSIVE_BLOCKS SHARED_BLOCKS HIGHEST_BLOCK MAPPED_SECTORS EXCLUSIVE_SECTORS \
    SHARED_SECTORS HIGHEST_SECTOR MAPPED_BYTES EXCLUSIVE_BYTES SHARED_BYTES HIGHEST_BYTE MAPPED EXCLUSIVE SHARED \
    HIGHEST_MAPPED TRANSACTION CREATE_TIME SNAP_TIME LV
complete -c bufio-dump -l columns -x -a "(__fish_append , $columns)" -d 'ls: these columns'
complete -c bufio-dump -l data -d 'owner: data blocks'
complete -c bufio-dump -l data-size -x -d 'size: of the data device'
complete -c bufio-dump -l flat -d 'mappings: of every device in full'
complete -c bufio-dump -l list -r -F -d 'owner: further ranges from this file'
complete -c bufio-dump -l max-thins -x -d 'size: thin devices and snapshots at most'
complete -c bufio-dump -l no-headers -d 'ls: no line with names'
complete -c bufio-dump -l shared -d 'summary: exclusive and shared blocks too'
complete -c bufio-dump -l svg -r -F -d 'map: a picture'
complete -c bufio-dump -l as-script -d 'diff: a script that turns the one into the other'
complete -c bufio-dump -l verbose -d 'delta: data blocks; diff: every difference'

complete -c bufio-dump -s o -l output -r -F -d 'Write to this file'
complete -c bufio-dump -l progress -x -a 'auto always never' -d 'Show how far it is'
complete -c bufio-dump -s q -l quiet -d 'No messages'

complete -c bufio-dump -l block-size -x -d 'Unit of reading and of block numbers'
complete -c bufio-dump -l direct -x -a 'auto on off' -d 'Bypass the page cache'
complete -c bufio-dump -l io-engine -x -a 'auto uring threads' -d 'How to do I/O'
complete -c bufio-dump -l memory-limit -x -d 'Most memory for cached blocks'
complete -c bufio-dump -l stats -d 'Print what the cache did'

complete -c bufio-dump -s '?' -l help -d 'Print the options'
complete -c bufio-dump -l usage -d 'Print the options in short'
complete -c bufio-dump -s V -l version -d 'Print the version'
