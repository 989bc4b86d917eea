/* SPDX-License-Identifier: Apache-2.0 */
/* ticket/lock_file: bytes of one file as locks. */
#include "ticket/lock_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "unit.h"
#include "unit_dir.h"

static const enum lock_area areas[] = {
    LOCK_READERS, LOCK_WRITERS,  LOCK_IMAGES,    LOCK_IMAGE_SLOTS, LOCK_BLOCKS,
    LOCK_GATES,   LOCK_REQUESTS, LOCK_TRANSFERS, LOCK_PROBE,
};

static int
remove_dir(void **state)
{
    (void)state;
    return unit_dir_remove("locks");
}

static int
open_one(void)
{
    struct error err;
    const int fd = lock_file_open(unit_dir, &err);

    assert_true(fd != -1);
    return fd;
}

static int
try(int fd, enum lock_area area, bool shared)
{
    struct error err;

    return lock_try(fd, lock_byte(area, 1), shared, &err);
}

static void
areas_follow_each_other_and_no_index_leaves_its_own(void **state)
{
    static const uint64_t indices[] = {
        0,
        1,
        65535,
        UINT64_C(1) << 31,
        UINT64_C(1) << 60,
        UINT64_MAX,
        UINT64_C(0x123456789abcdef0),
        UINT64_C(0xfedcba9876543210),
    };

    (void)state;
    for (size_t i = 0; i < COUNT(areas); i++) {
        const uint64_t start = lock_byte(areas[i], 0);
        const uint64_t end =
            i + 1 < COUNT(areas) ? lock_byte(areas[i + 1], 0) : INT64_MAX;

        for (size_t j = 0; j < COUNT(indices); j++) {
            assert_true(lock_byte(areas[i], indices[j]) >= start);
            assert_true(lock_byte(areas[i], indices[j]) < end);
        }
    }
}

static void
an_exclusive_lock_is_one_description_s_alone(void **state)
{
    const int one = open_one(), two = open_one();
    struct error err;

    (void)state;
    for (size_t i = 0; i < COUNT(areas); i++) {
        const uint64_t byte = lock_byte(areas[i], 1);

        assert_int_equal(try(one, areas[i], false), 1);
        assert_int_equal(try(one, areas[i], false), 1); /* again */
        assert_int_equal(try(two, areas[i], false), 0);
        assert_int_equal(try(two, areas[i], true), 0);
        assert_int_equal(lock_is_held(one, byte, &err), 0); /* by others */
        assert_int_equal(lock_is_held(two, byte, &err), 1);
        lock_drop(one, byte);
        assert_int_equal(try(two, areas[i], true), 1);
        assert_int_equal(try(one, areas[i], true), 1);
        assert_int_equal(try(one, areas[i], false), 0);
        assert_int_equal(lock_is_held(one, byte, &err), 1);
        lock_drop(two, byte);
        lock_drop(one, byte);
    }
    close(one);
    close(two);
}

static void
dropping_limits_leaves_what_shows_that_a_request_runs(void **state)
{
    const int one = open_one(), two = open_one();
    struct error err;

    (void)state;
    for (size_t i = 0; i < COUNT(areas); i++)
        assert_int_equal(try(one, areas[i], true), 1);
    lock_drop_limits(one);
    for (size_t i = 0; i < COUNT(areas); i++)
        assert_int_equal(lock_is_held(two, lock_byte(areas[i], 1), &err),
                         areas[i] >= LOCK_REQUESTS);
    close(one); /* the rest goes with the description */
    for (size_t i = 0; i < COUNT(areas); i++)
        assert_int_equal(try(two, areas[i], false), 1);
    close(two);
}

static void
a_file_that_is_missing_is_made_or_not(void **state)
{
    struct error err;
    char path[64];
    int fd;

    (void)state;
    snprintf(path, sizeof(path), "%s/locks", unit_dir);
    unlink(path);
    errno = 0;
    assert_int_equal(lock_file_find(unit_dir, &err), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(access(path, F_OK), -1);
    close(open_one());
    fd = lock_file_find(unit_dir, &err);
    assert_true(fd != -1);
    close(fd);
    assert_int_equal(lock_file_open("/nonexistent", &err), -1);
    assert_int_equal(err.status, 500);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(areas_follow_each_other_and_no_index_leaves_its_own),
        cmocka_unit_test(an_exclusive_lock_is_one_description_s_alone),
        cmocka_unit_test(dropping_limits_leaves_what_shows_that_a_request_runs),
        cmocka_unit_test(a_file_that_is_missing_is_made_or_not),
    };

    return cmocka_run_group_tests(tests, unit_dir_make, remove_dir);
}
