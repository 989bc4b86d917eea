/* SPDX-License-Identifier: Apache-2.0 */
/* image/nbd_uri: which schemes there are, and which are allowed. */
#include "image/nbd_uri.h"

#include "unit.h"

static void
a_uri_has_a_known_scheme_or_none(void **state)
{
    static const struct {
        const char *uri, *allowed_by; /* NULL: by nothing */
        bool is_local;
    } rows[] = {
        {"nbd://h/e", "nbd", false},
        {"NBD://h/e", "nbd", false},
        {"nbds://h/e", "nbds", false},
        {"nbd+unix:///e?socket=/s", "nbd+unix", true},
        {"nbds+unix:///e?socket=/s", "nbds+unix", true},
        {"nbd://h/a+b:c", "nbd", false},
        {"nbd", NULL, false},
        {"nbdx://h", NULL, false},
        {"://h", NULL, false},
        {"nbd+ssh://h", NULL, true},
        {"nbd ://h", NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *uri = rows[i].uri;
        unsigned bits = 0;

        if (rows[i].allowed_by == NULL) {
            assert_row(nbd_uri_scheme(uri) == 0, uri);
            continue;
        }
        assert_row(nbd_uri_parse_schemes(&bits, rows[i].allowed_by), uri);
        assert_row(nbd_uri_scheme(uri) == bits, uri);
        assert_row(nbd_uri_is_local(uri) == rows[i].is_local, uri);
    }
}

static void
a_list_of_schemes_is_all_of_them_or_an_error(void **state)
{
    static const char *const bad[] = {
        "",          ",",   "nbd,", ",nbd",    "nbd nbds",
        "nbd, nbds", "all", "nbd:", "nbd,ssh",
    };
    unsigned bits = 0;

    (void)state;
    assert_true(nbd_uri_parse_schemes(&bits, "nbds+unix,nbd,nbd"));
    assert_true(nbd_uri_scheme("nbd://h") & bits);
    assert_true(nbd_uri_scheme("nbds+unix://h") & bits);
    assert_false(nbd_uri_scheme("nbds://h") & bits);
    assert_false(nbd_uri_scheme("nbd+unix://h") & bits);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_row(!nbd_uri_parse_schemes(&bits, bad[i]), bad[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uri_has_a_known_scheme_or_none),
        cmocka_unit_test(a_list_of_schemes_is_all_of_them_or_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
