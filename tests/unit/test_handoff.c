/* SPDX-License-Identifier: Apache-2.0 */
/* server/handoff: the option, and the line that hands a file over. */
#include "server/handoff.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

static void
the_option_names_a_web_server(void **state)
{
    static const struct {
        const char *text;
        bool is_good;
        struct handoff handoff;
    } rows[] = {
        {"lighttpd", true, {HANDOFF_LIGHTTPD, NULL}},
        {"nginx=/a", true, {HANDOFF_NGINX, "/a"}},
        {"nginx=/a/b-c_d.e~1", true, {HANDOFF_NGINX, "/a/b-c_d.e~1"}},
        {"", false, {0}},
        {"nginx", false, {0}},
        {"nginx=", false, {0}},
        {"nginx=/", false, {0}},
        {"nginx=a", false, {0}},
        {"nginx=/a/", false, {0}},
        {"nginx=/a?b", false, {0}},
        {"nginx=/a\r\nX: y", false, {0}},
        {"lighttpd=", false, {0}},
        {"apache", false, {0}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct handoff handoff = {0};

        assert_row(handoff_parse(&handoff, rows[i].text) == rows[i].is_good,
                   rows[i].text);
        assert_row(handoff.kind == rows[i].handoff.kind, rows[i].text);
        if (rows[i].handoff.prefix != NULL)
            assert_string_equal(handoff.prefix, rows[i].handoff.prefix);
    }
}

/* A file of that name in a folder of its own; its path. */
static char *
make_file(const char *folder, const char *name)
{
    char *path;
    int fd;

    assert_true(asprintf(&path, "%s/%s", folder, name) > 0);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd != -1);
    close(fd);
    return path;
}

static void
a_path_is_encoded_or_not_handed_over(void **state)
{
    static const struct {
        const char *name;
        const char *encoded; /* NULL: is not handed over */
    } rows[] = {
        {"plain-1.qcow2", "plain-1.qcow2"},
        {"a b", "a%20b"},
        {"a%20b", "a%2520b"},
        {"a?b=c#d&e,f;g", "a%3Fb%3Dc%23d%26e%2Cf%3Bg"},
        {"a\\b\"c", "a%5Cb%22c"},
        {"a\nb", NULL},
        {"a\x7f", NULL},
        {"\xc3\xbc", NULL},
    };
    const struct handoff nginx = {HANDOFF_NGINX, "/in"};
    const struct handoff lighttpd = {HANDOFF_LIGHTTPD, NULL};
    char folder[] = "/tmp/handoff-XXXXXX", *real;

    (void)state;
    assert_non_null(mkdtemp(folder));
    real = realpath(folder, NULL);
    assert_non_null(real);
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *path = make_file(folder, rows[i].name);
        char line[HANDOFF_LINE_SIZE], expected[HANDOFF_LINE_SIZE];

        assert_row(handoff_format(line, &nginx, path, 5, 10) ==
                       (rows[i].encoded != NULL),
                   rows[i].name);
        if (rows[i].encoded != NULL) {
            snprintf(expected, sizeof(expected), "X-Accel-Redirect: /in%s/%s",
                     real, rows[i].encoded);
            assert_string_equal(line, expected);
            assert_true(handoff_format(line, &lighttpd, path, 5, 10));
            snprintf(expected, sizeof(expected), "X-Sendfile2: %s/%s 5-14",
                     real, rows[i].encoded);
            assert_string_equal(line, expected);
        }
        unlink(path);
        free(path);
    }
    free(real);
    rmdir(folder);
}

static void
what_is_missing_or_too_long_is_not_handed_over(void **state)
{
    const struct handoff none = {HANDOFF_NONE, NULL};
    const struct handoff nginx = {HANDOFF_NGINX, "/in"};
    char line[HANDOFF_LINE_SIZE], folder[] = "/tmp/handoff-XXXXXX";
    char name[251];
    char *path;

    (void)state;
    assert_false(handoff_format(line, &none, "/etc/passwd", 0, 1));
    assert_false(handoff_format(line, &nginx, "/no/such/file", 0, 1));
    assert_non_null(mkdtemp(folder));
    memset(name, ' ', sizeof(name) - 1); /* three bytes each */
    name[sizeof(name) - 1] = '\0';
    path = make_file(folder, name);
    assert_false(handoff_format(line, &nginx, path, 0, 1));
    unlink(path);
    free(path);
    rmdir(folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_option_names_a_web_server),
        cmocka_unit_test(a_path_is_encoded_or_not_handed_over),
        cmocka_unit_test(what_is_missing_or_too_long_is_not_handed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
