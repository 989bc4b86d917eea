#!/bin/bash
# keep.bash DIR COMMAND...: launch.bash, and once more with the same listening
# socket whenever the program has ended and someone makes DIR/again.

dir=$1
echo $$ >"$dir/keep.$$.pid"
while /bin/bash "${0%/*}/../e2e/launch.bash" "$@"; do
    until mv "$dir/again" "$dir/again.$$" 2>/dev/null; do
        if [ ! -d "$dir" ] || [ -e "$dir/ending" ]; then
            exit
        fi
        sleep 0.05
    done
done
