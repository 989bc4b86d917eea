/* SPDX-License-Identifier: Apache-2.0 */
/* base/json: what is taken for JSON, what lookups find, what goes out. */
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "unit.h"

#define DEPTH 4

/* A text that may hold NULs. */
#define TEXT(s) s, sizeof(s) - 1

static struct json *
parse(const char *text)
{
    struct json *json = NULL;
    struct error err;

    assert_row(json_parse(&json, text, strlen(text), DEPTH, &err) == 0, text);
    return json;
}

static void
one_value_with_white_space_around_it_is_json(void **state)
{
    static const char *const rows[] = {
        "{}",
        "[]",
        "1",
        "-0",
        "0",
        "-1.5e+05",
        "1E-05",
        "true",
        "null",
        "\"\"",
        " \t\r\n{ \"a\" : [ 1 , 2 ] } \t\r\n",
        "\"\\u0041\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\\"NI'\"",
        "{\"a'NI\":\"'NaN[[[[[[[[1.\"}",
        "\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\"",
        "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
        "{\"a\":1,\"a\":2}",
        "100000000000000000000000000000000000000000000",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        json_free(parse(rows[i]));
}

static void
anything_else_is_refused_with_400(void **state)
{
    static const struct {
        const char *text;
        size_t length;
    } rows[] = {
        /* incomplete */
        {TEXT("")},
        {TEXT(" ")},
        {TEXT("{")},
        {TEXT("[1")},
        {TEXT("{\"a\"")},
        {TEXT("{\"a\":")},
        {TEXT("{\"a\":1")},
        {TEXT("\"a")},
        {TEXT("\"a\\")},
        {TEXT("\"a\\\"")},
        {TEXT("tru")},
        {TEXT("-")},
        {TEXT("1e")},
        /* something after it */
        {TEXT("{}x")},
        {TEXT("{} {}")},
        {TEXT("{}]")},
        {TEXT("1 2")},
        {TEXT("{}\0")},
        {TEXT("{}\0x")},
        {TEXT("{}\0\0")},
        {TEXT("1\0")},
        {TEXT("{}\v")},
        {TEXT("{}//")},
        /* not in the grammar */
        {TEXT("[1,]")},
        {TEXT("{\"a\":1,}")},
        {TEXT("{a:1}")},
        {TEXT("{'a':1}")},
        {TEXT("'a'")},
        {TEXT("\f{}")},
        {TEXT("/**/{}")},
        {TEXT("True")},
        {TEXT("NULL")},
        {TEXT("NaN")},
        {TEXT("[Infinity]")},
        {TEXT("[\"\\\\\",NaN]")},
        {TEXT("-Infinity")},
        {TEXT("{\"a\":nan}")},
        {TEXT("01")},
        {TEXT("-01")},
        {TEXT("+1")},
        {TEXT(".5")},
        {TEXT("-.5")},
        {TEXT("1.")},
        {TEXT("1.e5")},
        {TEXT("0x10")},
        {TEXT("\"\\x41\"")},
        {TEXT("\"\\u12\"")},
        {TEXT("\"a\nb\"")},
        {TEXT("\"a\0b\"")},
        {TEXT("\"\x1f\"")},
        /* not UTF-8: a lone or a missing tail, overlong, a surrogate, past
         * U+10FFFF, a byte order mark */
        {TEXT("\"\x80\"")},
        {TEXT("\"\xff\"")},
        {TEXT("\"\xc3\"")},
        {TEXT("\"\xe2\x82\"")},
        {TEXT("\"\xf0\x9f\x98\"")},
        {TEXT("\"\xc0\x80\"")},
        {TEXT("\"\xc1\xbf\"")},
        {TEXT("\"\xe0\x9f\xbf\"")},
        {TEXT("\"\xf0\x8f\xbf\xbf\"")},
        {TEXT("\"\xed\xa0\x80\"")},
        {TEXT("\"\xf4\x90\x80\x80\"")},
        {TEXT("\"\xf5\x80\x80\x80\"")},
        {TEXT("{\"\xff\":1}")},
        {TEXT("{}\xff")},
        {TEXT("\xef\xbb\xbf{}")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct json *json = NULL;
        struct error err;

        assert_row(
            json_parse(&json, rows[i].text, rows[i].length, DEPTH, &err) == -1,
            rows[i].text);
        assert_row(err.status == 400, rows[i].text);
        assert_row(strncmp(err.text, "invalid JSON: ", 14) == 0, err.text);
        assert_row(json == NULL, rows[i].text);
    }
}

static void
bytes_past_the_length_are_not_read(void **state)
{
    /* On the heap, where a sanitizer sees it. */
    char *text = malloc(2);
    struct json *json = NULL;
    struct error err;

    (void)state;
    memcpy(text, "12", 2);
    assert_int_equal(json_parse(&json, text, 1, DEPTH, &err), 0);
    assert_string_equal(json_text(json), "1");
    json_free(json);
    assert_int_equal(json_parse(&json, text, 2, DEPTH, &err), 0);
    assert_string_equal(json_text(json), "12");
    json_free(json);
    free(text);
}

static void
containers_are_taken_up_to_the_limit_of_depth(void **state)
{
    static const struct {
        const char *text;
        int depth;
    } rows[] = {
        {"[]", 1},
        {"{\"a\":1}", 1},
        {"[[],[],[]]", 2},
        {"{\"a\":{}}", 2},
        {"{\"a\":[{\"b\":1}]}", 3},
        {"[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", 16},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const size_t length = strlen(rows[i].text);
        struct json *json = NULL;
        struct error err;

        assert_row(
            json_parse(&json, rows[i].text, length, rows[i].depth, &err) == 0,
            rows[i].text);
        json_free(json);
        if (rows[i].depth > 1)
            assert_row(json_parse(&json, rows[i].text, length,
                                  rows[i].depth - 1, &err) == -1,
                       rows[i].text);
    }
}

static void
only_an_object_is_an_object(void **state)
{
    static const struct {
        const char *text;
        bool is_object;
    } rows[] = {
        {"{}", true},
        {"[]", false},
        {"null", false},
        {"\"{}\"", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct json *json = parse(rows[i].text);
        const char *value;

        assert_row(json_is_object(json) == rows[i].is_object, rows[i].text);
        assert_row(json_get_string(json, "a", &value) == JSON_ABSENT,
                   rows[i].text);
        json_free(json);
    }
}

static void
a_lookup_tells_absent_null_wrong_and_found_apart(void **state)
{
    static const struct {
        const char *text;
        enum json_lookup string, boolean, number;
    } rows[] = {
        {"{}", JSON_ABSENT, JSON_ABSENT, JSON_ABSENT},
        {"{\"b\":1}", JSON_ABSENT, JSON_ABSENT, JSON_ABSENT},
        {"{\"A\":1}", JSON_ABSENT, JSON_ABSENT, JSON_ABSENT},
        {"{\"a\":null}", JSON_NULL, JSON_NULL, JSON_NULL},
        {"{\"a\":\"\"}", JSON_FOUND, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\"x\"}", JSON_FOUND, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\"x\\u0000y\"}", JSON_WRONG, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\"1\\u0000\"}", JSON_WRONG, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\"true\"}", JSON_FOUND, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\"1\"}", JSON_FOUND, JSON_WRONG, JSON_FOUND},
        {"{\"a\":true}", JSON_WRONG, JSON_FOUND, JSON_WRONG},
        {"{\"a\":0}", JSON_WRONG, JSON_WRONG, JSON_FOUND},
        {"{\"a\":1.0}", JSON_WRONG, JSON_WRONG, JSON_WRONG},
        {"{\"a\":1e3}", JSON_WRONG, JSON_WRONG, JSON_WRONG},
        {"{\"a\":[1]}", JSON_WRONG, JSON_WRONG, JSON_WRONG},
        {"{\"a\":{\"a\":1}}", JSON_WRONG, JSON_WRONG, JSON_WRONG},
        /* strings that are not digits only */
        {"{\"a\":\"+1\"}", JSON_FOUND, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\"-1\"}", JSON_FOUND, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\" 1\"}", JSON_FOUND, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\"1 \"}", JSON_FOUND, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\"1_0\"}", JSON_FOUND, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\"1.0\"}", JSON_FOUND, JSON_WRONG, JSON_WRONG},
        {"{\"a\":\"0x1\"}", JSON_FOUND, JSON_WRONG, JSON_WRONG},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct json *json = parse(rows[i].text);
        const char *string = NULL;
        bool boolean = false, negative = true;
        uint64_t number = 77;
        enum json_lookup found;

        found = json_get_string(json, "a", &string);
        assert_row(found == rows[i].string, rows[i].text);
        assert_row((string != NULL) == (found == JSON_FOUND), rows[i].text);
        found = json_get_bool(json, "a", &boolean);
        assert_row(found == rows[i].boolean, rows[i].text);
        assert_row(boolean == (found == JSON_FOUND), rows[i].text);
        found = json_get_number(json, "a", &number, &negative);
        assert_row(found == rows[i].number, rows[i].text);
        assert_row((number != 77) == (found == JSON_FOUND), rows[i].text);
        assert_row(negative == (found != JSON_FOUND), rows[i].text);
        json_free(json);
    }
}

static void
a_number_is_exact_up_to_64_bits_and_then_the_largest(void **state)
{
    static const struct {
        const char *digits;
        uint64_t number;
        bool negative;
    } rows[] = {
        {"0", 0, false},
        {"-0", 0, false},
        {"-1", 1, true},
        {"4096", 4096, false},
        {"9223372036854775807", INT64_MAX, false},
        {"9223372036854775808", (uint64_t)1 << 63, false},
        {"-9223372036854775808", (uint64_t)1 << 63, true},
        {"18446744073709551614", UINT64_MAX - 1, false},
        {"18446744073709551615", UINT64_MAX, false},
        {"18446744073709551616", UINT64_MAX, false},
        {"99999999999999999999999999999999", UINT64_MAX, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        static const char *const forms[] = {"{\"a\":%s}", "{\"a\":\"%s\"}"};

        /* A string has no sign. */
        for (size_t form = 0; form < (rows[i].digits[0] == '-' ? 1 : 2);
             form++) {
            char text[64];
            struct json *json;
            uint64_t number;
            bool negative;

            snprintf(text, sizeof(text), forms[form], rows[i].digits);
            json = parse(text);
            assert_row(json_get_number(json, "a", &number, &negative) ==
                           JSON_FOUND,
                       text);
            assert_row(number == rows[i].number, text);
            assert_row(negative == rows[i].negative, text);
            json_free(json);
        }
    }
}

static void
a_count_is_an_integer_that_is_not_negative(void **state)
{
    struct json *json =
        parse("{\"zero\":0,\"most\":18446744073709551615,"
              "\"more\":18446744073709551616,\"minus\":-1,\"text\":\"1\","
              "\"real\":1.0,\"null\":null,\"array\":[1]}");
    uint64_t count = 7;

    (void)state;
    assert_int_equal(json_get_count(json, "absent", &count), JSON_ABSENT);
    assert_int_equal(json_get_count(json, "null", &count), JSON_NULL);
    assert_int_equal(json_get_count(json, "minus", &count), JSON_WRONG);
    assert_int_equal(json_get_count(json, "text", &count), JSON_WRONG);
    assert_int_equal(json_get_count(json, "real", &count), JSON_WRONG);
    assert_int_equal(json_get_count(json, "array", &count), JSON_WRONG);
    assert_int_equal(count, 7);
    assert_int_equal(json_get_count(json, "zero", &count), JSON_FOUND);
    assert_true(count == 0);
    assert_int_equal(json_get_count(json, "most", &count), JSON_FOUND);
    assert_true(count == UINT64_MAX);
    assert_int_equal(json_get_count(json, "more", &count), JSON_FOUND);
    assert_true(count == UINT64_MAX);
    json_free(json);
}

static void
an_array_gives_its_strings_one_by_one(void **state)
{
    struct json *json = parse("{\"a\":[\"x\",\"y\",1],\"empty\":[],"
                              "\"text\":\"x\",\"null\":null}");
    const char *item = NULL;

    (void)state;
    assert_int_equal(json_get_item(json, "a", 0, &item), JSON_FOUND);
    assert_string_equal(item, "x");
    assert_int_equal(json_get_item(json, "a", 1, &item), JSON_FOUND);
    assert_string_equal(item, "y");
    assert_int_equal(json_get_item(json, "a", 2, &item), JSON_WRONG);
    assert_int_equal(json_get_item(json, "a", 3, &item), JSON_ABSENT);
    assert_int_equal(json_get_item(json, "empty", 0, &item), JSON_ABSENT);
    assert_int_equal(json_get_item(json, "text", 0, &item), JSON_WRONG);
    assert_int_equal(json_get_item(json, "null", 0, &item), JSON_NULL);
    assert_int_equal(json_get_item(json, "absent", 0, &item), JSON_ABSENT);
    json_free(json);
}

static void
members_are_copied_and_removed(void **state)
{
    struct json *from =
        parse("{\"config\":{\"a\":1,\"b\":{\"c\":null}},\"other\":[]}");
    struct json *json = json_new_object();

    (void)state;
    assert_null(json_get_object(from, "absent"));
    assert_null(json_get_object(from, "other"));
    json_add_number(json, "a", 2);
    json_add_members(json, json_get_object(from, "config"));
    json_free(from); /* what was copied stays */
    assert_string_equal(json_text(json), "{\"a\":2,\"b\":{\"c\":null}}");
    assert_true(json_has(json, "b"));
    json_remove(json, "b");
    json_remove(json, "b");
    assert_false(json_has(json, "b"));
    assert_string_equal(json_text(json), "{\"a\":2}");
    json_free(json);
}

static void
an_object_is_written_compactly_in_the_order_of_adding(void **state)
{
    static const char *const features[] = {"extents", "zero"};
    struct json *json = json_new_object();

    (void)state;
    assert_string_equal(json_text(json), "{}");
    json_add_null(json, "unix_socket");
    json_add_strings(json, "features", features, COUNT(features));
    json_add_strings(json, "none", features, 0);
    json_add_number(json, "b", UINT64_MAX);
    json_add_bool(json, "a", true);
    json_add_bool(json, "c", false);
    assert_string_equal(json_text(json),
                        "{\"unix_socket\":null,"
                        "\"features\":[\"extents\",\"zero\"],\"none\":[],"
                        "\"b\":18446744073709551615,\"a\":true,\"c\":false}");
    json_free(json);
}

static void
a_string_goes_out_as_valid_utf8(void **state)
{
    static const struct {
        const char *value, *text;
    } rows[] = {
        {"", "\"\""},
        {"/run/x.sock", "\"/run/x.sock\""},
        {"a\"b\\c\n\x01", "\"a\\\"b\\\\c\\n\\u0001\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
         "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"a\xff"
         "b",
         "\"a?b\""},
        {"\xc3", "\"?\""},
        {"\xc3(", "\"?(\""},
        {"\xe2\x82", "\"??\""},
        {"\xe2\x82\xc3\xa9", "\"??\xc3\xa9\""},
        {"\xed\xa0\x80", "\"???\""},
        {"\xc0\xaf", "\"??\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct json *json = json_new_object();
        char text[64];

        json_add_string(json, "a", rows[i].value);
        json_add_strings(json, "b", &rows[i].value, 1);
        snprintf(text, sizeof(text), "{\"a\":%s,\"b\":[%s]}", rows[i].text,
                 rows[i].text);
        assert_string_equal(json_text(json), text);
        json_free(json);
    }
}

static void
freeing_nothing_is_allowed(void **state)
{
    (void)state;
    json_free(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_value_with_white_space_around_it_is_json),
        cmocka_unit_test(anything_else_is_refused_with_400),
        cmocka_unit_test(bytes_past_the_length_are_not_read),
        cmocka_unit_test(containers_are_taken_up_to_the_limit_of_depth),
        cmocka_unit_test(only_an_object_is_an_object),
        cmocka_unit_test(a_lookup_tells_absent_null_wrong_and_found_apart),
        cmocka_unit_test(a_number_is_exact_up_to_64_bits_and_then_the_largest),
        cmocka_unit_test(a_count_is_an_integer_that_is_not_negative),
        cmocka_unit_test(an_array_gives_its_strings_one_by_one),
        cmocka_unit_test(members_are_copied_and_removed),
        cmocka_unit_test(an_object_is_written_compactly_in_the_order_of_adding),
        cmocka_unit_test(a_string_goes_out_as_valid_utf8),
        cmocka_unit_test(freeing_nothing_is_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
