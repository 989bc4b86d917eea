#!/usr/bin/env bats
# The matrix of faults (faults_nbd.bash), where the NBD server answers with an
# error: each of four, to the first command, to one in the middle and to the last
# one.

load common
load faults_nbd

setup_file() {
    start_faults_service --backend-timeout 20
    warm_up EIO
}

teardown_file() {
    stop_service
}

teardown() {
    tell_cell
    stop_images
}

@test "EIO from the NBD server is 500, or a cut, and leaves nothing behind" {
    try_rows EIO first middle last
}

@test "ENOSPC from the NBD server is 507, or a cut, and leaves nothing behind" {
    try_rows ENOSPC first middle last
}

@test "EPERM from the NBD server is 500, or a cut, and leaves nothing behind" {
    try_rows EPERM first middle last
}

@test "ESHUTDOWN from the NBD server is 500, or a cut, and leaves nothing behind" {
    try_rows ESHUTDOWN first middle last
}

@test "after all of these errors the program has no more memory" {
    assert_memory
}
