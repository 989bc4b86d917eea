#!/bin/bash
# launch.bash DIR COMMAND...: runs COMMAND with descriptor 0 as it is.
#
# What spawn-fcgi starts is a daemon of nobody: its standard error is gone
# and nobody learns its status. So this stands between the two and notes in
# DIR: program.pids, program.statuses ("PID STATUS"), program.log.

dir=$1
shift
# A background job of a shell ignores SIGINT; the program must not inherit it.
env --default-signal=INT,QUIT "$@" <&0 >>"$dir/program.log" 2>&1 &
echo $! >>"$dir/program.pids"
wait $!
echo "$! $?" >>"$dir/program.statuses"
