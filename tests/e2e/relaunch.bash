#!/bin/bash
# relaunch.bash DIR COMMAND...: as launch.bash, but holds the listening socket as
# systemd does: one more COMMAND is started on it whenever DIR/again appears,
# until DIR/no-more does, or DIR goes.

dir=$1
shift
: >"$dir/again"
# A background job's descriptor 0 would be /dev/null.
exec 3<&0
while [ -d "$dir" ] && [ ! -e "$dir/no-more" ]; do
    if [ -e "$dir/again" ]; then
        rm "$dir/again"
        /bin/bash "${BASH_SOURCE[0]%/*}/launch.bash" "$dir" "$@" <&3 3<&- &
    fi
    sleep 0.05
done
