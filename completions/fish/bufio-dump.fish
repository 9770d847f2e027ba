# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion for bufio-dump(8)

# Whether the word to complete is the first that is neither an option nor an option's value.
function __bufio_dump_first_word
    set -l takes_value -f --format -o --output --dev-id --block-size --direct --io-engine --memory-limit
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
complete -c bufio-dump -n __bufio_dump_first_word -a mappings -d 'Every mapping of every device'
complete -c bufio-dump -n __bufio_dump_first_word -a block -d 'Metadata blocks, field by field'

complete -c bufio-dump -l dev-id -x -d 'This device alone'
complete -c bufio-dump -l flat -d 'Mappings of every device in full'
complete -c bufio-dump -s f -l format -x -a 'human xml json' -d 'Output format'
complete -c bufio-dump -s J -l json -d 'The view as JSON'
# Its block number is optional and always attached, so no word that follows belongs to it.
complete -c bufio-dump -s m -l metadata-snap -d 'Look at the metadata snapshot'
complete -c bufio-dump -l skip-mappings -d 'Superblock and devices without their mappings'

complete -c bufio-dump -s o -l output -r -F -d 'Write to this file'
complete -c bufio-dump -s q -l quiet -d 'No messages'

complete -c bufio-dump -l block-size -x -d 'Unit of reading and of block numbers'
complete -c bufio-dump -l direct -x -a 'auto on off' -d 'Bypass the page cache'
complete -c bufio-dump -l io-engine -x -a 'auto uring threads' -d 'How to do I/O'
complete -c bufio-dump -l memory-limit -x -d 'Most memory for cached blocks'
complete -c bufio-dump -l stats -d 'Print what the cache did'

complete -c bufio-dump -s '?' -l help -d 'Print the options'
complete -c bufio-dump -l usage -d 'Print the options in short'
complete -c bufio-dump -s V -l version -d 'Print the version'
