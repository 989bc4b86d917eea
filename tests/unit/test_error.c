/* SPDX-License-Identifier: Apache-2.0 */
/* base/error: what is set, and what a client may read of it. */
#include "base/error.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

static void
setting_returns_minus_one_and_replaces_what_was_set(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(error_range(&err, 10), -1);
    assert_int_equal(error_set(&err, 404, "no %s", "ticket"), -1);
    assert_int_equal(err.status, 404);
    assert_string_equal(err.text, "no ticket");
    assert_false(err.has_size);
}

static void
an_errno_is_named_after_the_action_and_kept(void **state)
{
    struct error err;

    (void)state;
    errno = ENOENT;
    assert_int_equal(error_errno(&err, 500, "open %s", "/x"), -1);
    assert_int_equal(err.status, 500);
    assert_string_equal(err.text, "open /x: No such file or directory");
    assert_int_equal(errno, ENOENT);
}

static void
a_text_that_is_too_long_is_cut(void **state)
{
    struct error err;
    char text[2 * sizeof(err.text)];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    errno = EIO;
    error_errno(&err, 500, "open %s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_memory_equal(err.text, "open xxx", 8);
}

static void
an_unsatisfiable_range_tells_the_size(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(error_range(&err, UINT64_MAX), -1);
    assert_int_equal(err.status, 416);
    assert_true(err.has_size);
    assert_true(err.size == UINT64_MAX);
    assert_string_equal(error_reply(&err), "range not satisfiable");
}

static void
an_errno_that_means_no_room_is_507_and_others_are_500(void **state)
{
    (void)state;
    assert_int_equal(error_status_of_errno(ENOSPC), 507);
    assert_int_equal(error_status_of_errno(EDQUOT), 507);
    assert_int_equal(error_status_of_errno(EFBIG), 507);
    assert_int_equal(error_status_of_errno(EIO), 500);
    assert_int_equal(error_status_of_errno(0), 500);
}

static void
the_cause_of_a_failure_never_reaches_the_client(void **state)
{
    static const struct {
        int status;
        const char *reply;
    } rows[] = {
        {400, "cause"},
        {404, "cause"},
        {503, "cause"},
        {500, "backend error"},
        {504, "backend timed out"},
        {507, "no space left"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err;

        error_set(&err, rows[i].status, "cause");
        assert_string_equal(error_reply(&err), rows[i].reply);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_returns_minus_one_and_replaces_what_was_set),
        cmocka_unit_test(an_errno_is_named_after_the_action_and_kept),
        cmocka_unit_test(a_text_that_is_too_long_is_cut),
        cmocka_unit_test(an_unsatisfiable_range_tells_the_size),
        cmocka_unit_test(an_errno_that_means_no_room_is_507_and_others_are_500),
        cmocka_unit_test(the_cause_of_a_failure_never_reaches_the_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
