/* SPDX-License-Identifier: Apache-2.0 */
/* http/query: finding a pair and decoding its value. */
#include "http/query.h"

#include <string.h>

#include "unit.h"

#define BAD "\x7f"

static void
the_first_pair_of_that_very_name_is_found(void **state)
{
    static const struct {
        const char *query;
        const char *value; /* NULL: there is none */
    } rows[] = {
        {"", NULL},
        {"&", NULL},
        {"&&=&", NULL},
        {"flush=y", "y"},
        {"flush=", ""},
        {"flush", ""},
        {"flush&x=1", ""},
        {"x&flush", ""},
        {"x=1&flush=n&y=2", "n"},
        {"flush=a&flush=b", "a"},
        {"&&flush=y", "y"},
        {"flush=a=b", "a=b"},
        {"flush==", "="},
        {"flushed=y", NULL},
        {"flus=y", NULL},
        {"xflush=y", NULL},
        {"x=flush=y", NULL},
        {"Flush=y", NULL},
        {"fl%75sh=y", NULL},
        {"flush;x", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char value[16] = "untouched";
        const bool found =
            query_get(rows[i].query, "flush", value, sizeof(value));

        assert_row(found == (rows[i].value != NULL), rows[i].query);
        assert_string_equal(value, found ? rows[i].value : "untouched");
    }
}

static void
a_value_is_decoded(void **state)
{
    static const struct {
        const char *query, *value;
    } rows[] = {
        {"v=%41%42", "AB"},       {"v=%2f%2F", "//"}, {"v=a+b", "a b"},
        {"v=%2B", "+"},           {"v=%26x", "&x"},   {"v=%3d", "="},
        {"v=%c3%A9", "\xc3\xa9"}, {"v=%2541", "%41"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char value[16];

        assert_row(query_get(rows[i].query, "v", value, sizeof(value)),
                   rows[i].query);
        assert_string_equal(value, rows[i].value);
    }
}

static void
a_value_that_cannot_be_given_is_one_that_no_option_has(void **state)
{
    static const char *const rows[] = {
        "v=1234", "v=123%34", "v=%",   "v=%4",   "v=%4&",  "v=%&41",
        "v=%%",   "v=%g0",    "v=%0g", "v=%00",  "v=a%00", "v=%-1",
        "v=% 1",  "v=%0x",    "v=1%",  "v=++++",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char value[4];

        assert_row(query_get(rows[i], "v", value, sizeof(value)), rows[i]);
        assert_row(strcmp(value, BAD) == 0, rows[i]);
    }
}

static void
a_value_may_fill_the_buffer(void **state)
{
    char value[4];

    (void)state;
    assert_true(query_get("v=123", "v", value, sizeof(value)));
    assert_string_equal(value, "123");
    assert_true(query_get("v=%31%32%33&x", "v", value, sizeof(value)));
    assert_string_equal(value, "123");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_pair_of_that_very_name_is_found),
        cmocka_unit_test(a_value_is_decoded),
        cmocka_unit_test(
            a_value_that_cannot_be_given_is_one_that_no_option_has),
        cmocka_unit_test(a_value_may_fill_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
