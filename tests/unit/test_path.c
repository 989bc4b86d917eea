/* SPDX-License-Identifier: Apache-2.0 */
/* http/path: segments, and which of them are image ids. */
#include "http/path.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

/* The segments with '|' between them; "+" stands for those past the last. */
static void
join(char *ret, size_t size, const struct path *path)
{
    size_t used = 0;

    ret[0] = '\0';
    for (unsigned i = 0; i < path->count; i++) {
        if (i == PATH_SEGMENTS_MAX)
            snprintf(ret + used, size - used, "|+");
        else
            used += (size_t)snprintf(
                ret + used, size - used, "%s%.*s", i > 0 ? "|" : "",
                (int)path->segment[i].length, path->segment[i].text);
    }
}

static void
empty_segments_are_dropped(void **state)
{
    static const struct {
        const char *text, *segments;
    } rows[] = {
        {"", ""},
        {"/", ""},
        {"///", ""},
        {"/images", "images"},
        {"images", "images"},
        {"/images/demo", "images|demo"},
        {"//images///demo/", "images|demo"},
        {"/images/demo/extents", "images|demo|extents"},
        {"/images/demo/extents///", "images|demo|extents"},
        {"/a/b/c/d", "a|b|c|+"},
        {"/a/b/c/d/e/f", "a|b|c|+"},
        {"/images/../x", "images|..|x"},
        {"/images/ \xff", "images| \xff"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct path path;
        char segments[64];

        path_split(&path, rows[i].text);
        join(segments, sizeof(segments), &path);
        assert_string_equal(segments, rows[i].segments);
    }
}

static void
more_than_three_segments_count_as_four(void **state)
{
    struct path path;

    (void)state;
    path_split(&path, "/a/b/c/d/e/f/g");
    assert_int_equal(path.count, PATH_SEGMENTS_MAX + 1);
    assert_false(path_segment_is(&path, PATH_SEGMENTS_MAX, "d"));
}

static void
a_segment_is_compared_whole(void **state)
{
    struct path path;

    (void)state;
    path_split(&path, "/images/demo/extents");
    assert_true(path_segment_is(&path, 0, "images"));
    assert_true(path_segment_is(&path, 2, "extents"));
    assert_false(path_segment_is(&path, 0, "image"));
    assert_false(path_segment_is(&path, 0, "images/demo"));
    assert_false(path_segment_is(&path, 0, "Images"));
    assert_false(path_segment_is(&path, 1, ""));
    assert_false(path_segment_is(&path, 3, ""));
}

static void
an_id_is_one_plain_file_name(void **state)
{
    static const struct {
        const char *text;
        bool is_id;
    } rows[] = {
        {"demo", true},     {"d", true},     {"a.b..", true},
        {"-x", true},       {"a b", true},   {"~", true},
        {"\xc3\xa9", true}, {"\xff", true},  {"", false},
        {".", false},       {"..", false},   {".hidden", false},
        {"a/b", false},     {"/a", false},   {"a\\b", false},
        {"a\nb", false},    {"\x1f", false}, {"a\x7f", false},
        {"a\tb", false},    {"...", false},  {"*", false},
        {"**", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_row(path_is_id(rows[i].text, strlen(rows[i].text)) ==
                       rows[i].is_id,
                   rows[i].text);
    assert_false(path_is_id("a\0b", 3));
}

static void
an_id_has_at_most_255_bytes(void **state)
{
    char text[PATH_ID_MAX + 1];

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_true(path_is_id(text, PATH_ID_MAX));
    assert_false(path_is_id(text, PATH_ID_MAX + 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_segments_are_dropped),
        cmocka_unit_test(more_than_three_segments_count_as_four),
        cmocka_unit_test(a_segment_is_compared_whole),
        cmocka_unit_test(an_id_is_one_plain_file_name),
        cmocka_unit_test(an_id_has_at_most_255_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
