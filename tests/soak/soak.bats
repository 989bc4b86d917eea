#!/usr/bin/env bats
# What tests/run calls: run, as one test of SOAK_SECONDS behind WEB.

bats_require_minimum_version 1.5.0

@test "no reply has a byte that was not written there, and what was flushed outlives the NBD server" {
    out=$BATS_TEST_TMPDIR/out
    rc=0
    "$BATS_TEST_DIRNAME/run" "$SOAK_SECONDS" "$WEB" >"$out" 2>&1 3>&- 4>&- ||
        rc=$?
    if [ "$rc" != 0 ]; then
        cat "$out"
        return 1
    fi
    echo "# $(tail -n 1 "$out")" >&3
}
