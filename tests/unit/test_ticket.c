/* SPDX-License-Identifier: Apache-2.0 */
/* ticket/ticket: what a ticket file may say. */
#include "ticket/ticket.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "unit.h"

#define BAD_OPS "\"ops\" must be [\"read\"] or [\"read\",\"write\"]"
#define BAD_EXPIRES "\"expires\" must be an integer, in seconds since 1970"
#define BAD_IDLE "\"idle_timeout_seconds\" must be a positive integer"
#define BAD_SCHEME \
    "the scheme of \"uri\" must be one of nbd, nbds, nbd+unix, nbds+unix"
#define SOCKET_MAX 107 /* bytes; what sun_path has room for */

/* Are both the same text, or both NULL? */
static bool
same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
a_ticket_says_where_the_image_is(void **state)
{
    static const struct {
        const char *json, *socket, *export, *bitmap, *file;
        enum image_backend backend;
        bool read_only;
    } rows[] = {
        {"{\"socket\":\"/s\"}", .socket = "/s"},
        {"{\"backend\":\"nbd\",\"socket\":\"/s\"}", .socket = "/s"},
        {"{\"backend\":\"NBD\",\"socket\":\"/s\"}", .socket = "/s"},
        {"{\"socket\":\"/s\",\"export\":\"disk\",\"export_bitmap\":\"b0\"}",
         .socket = "/s", .export = "disk", .bitmap = "b0"},
        {"{\"socket\":\"/s\",\"export\":null,\"export_bitmap\":null}",
         .socket = "/s"},
        {"{\"socket\":\"/s\",\"export_bitmap\":\"\"}", .socket = "/s"},
        {"{\"socket\":\"/s\",\"export\":\" \"}", .socket = "/s", .export = " "},
        {"{\"socket\":\" \\t\\r\\n\\u000b\\f/a b\\f\\u000b\\n\\r\\t \"}",
         .socket = "/a b"},
        {"{\"socket\":\"/s\",\"read_only\":true}", .socket = "/s",
         .read_only = true},
        {"{\"socket\":\"/s\",\"read_only\":false}", .socket = "/s"},
        {"{\"socket\":\"/s\",\"uuid\":[1,{\"socket\":\"/t\"}]}",
         .socket = "/s"},
        {"{\"backend\":\"file\",\"file\":\"/f\"}", .backend = IMAGE_FILE,
         .file = "/f"},
        {"{\"backend\":\"File\",\"file\":\" /f\",\"file\":\"/f \"}",
         .backend = IMAGE_FILE, .file = "/f "},
        {"{\"backend\":\"file\",\"file\":\"/f\",\"read_only\":true}",
         .backend = IMAGE_FILE, .file = "/f", .read_only = true},
        /* what the other backend would not take is no matter */
        {"{\"backend\":\"file\",\"file\":\"/f\",\"socket\":\"s\"}",
         .backend = IMAGE_FILE, .file = "/f", .socket = "s"},
        {"{\"backend\":\"nbd\",\"file\":\"f\",\"socket\":\"/s\"}", .file = "f",
         .socket = "/s"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *json = rows[i].json;
        struct ticket *ticket;
        struct error err;

        assert_row(ticket_parse(&ticket, json, strlen(json), &err) == 0, json);
        assert_row(ticket->image.backend == rows[i].backend, json);
        assert_row(same(ticket->image.socket, rows[i].socket), json);
        assert_row(same(ticket->image.export, rows[i].export), json);
        assert_row(same(ticket->image.bitmap, rows[i].bitmap), json);
        assert_row(same(ticket->image.file, rows[i].file), json);
        assert_row(ticket->read_only == rows[i].read_only, json);
        ticket_free(ticket);
    }
}

static void
a_faulty_ticket_is_404_and_the_log_names_the_fault(void **state)
{
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"", "invalid JSON: unexpected end of data"},
        {"{\"socket\":\"/s\"", "invalid JSON: unexpected end of data"},
        {"{\"socket\":\"/s\xff\"}", "invalid JSON: not UTF-8"},
        {"null", "not a JSON object"},
        {"[]", "not a JSON object"},
        {"\"/s\"", "not a JSON object"},
        {"{}", "\"socket\" is missing or empty"},
        {"{\"socket\":\"\"}", "\"socket\" is missing or empty"},
        {"{\"socket\":\" \\n\"}", "\"socket\" is missing or empty"},
        {"{\"socket\":\"s\"}", "\"socket\" must be an absolute path"},
        {"{\"socket\":\"unix:/s\"}", "\"socket\" must be an absolute path"},
        {"{\"socket\":null}", "\"socket\" must be a string"},
        {"{\"socket\":1}", "\"socket\" must be a string"},
        {"{\"socket\":[\"/s\"]}", "\"socket\" must be a string"},
        {"{\"socket\":\"/s\\u0000\"}", "\"socket\" must be a string"},
        {"{\"socket\":\"/s\",\"export\":\"\"}", "\"export\" must not be empty"},
        {"{\"socket\":\"/s\",\"export\":1}",
         "\"export\" must be a string or null"},
        {"{\"socket\":\"/s\",\"export_bitmap\":false}",
         "\"export_bitmap\" must be a string or null"},
        {"{\"socket\":\"/s\",\"read_only\":\"false\"}",
         "\"read_only\" must be a boolean"},
        {"{\"socket\":\"/s\",\"read_only\":0}",
         "\"read_only\" must be a boolean"},
        {"{\"socket\":\"/s\",\"read_only\":null}",
         "\"read_only\" must be a boolean"},
        {"{\"socket\":\"/s\",\"backend\":\"\"}",
         "\"backend\" must be \"nbd\" or \"file\""},
        {"{\"socket\":\"/s\",\"backend\":\"nbds\"}",
         "\"backend\" must be \"nbd\" or \"file\""},
        {"{\"socket\":\"/s\",\"backend\":null}",
         "\"backend\" must be a string"},
        {"{\"socket\":\"/s\",\"backend\":1}", "\"backend\" must be a string"},
        {"{\"socket\":\"/s\",\"file\":null}", "\"file\" must be a string"},
        {"{\"backend\":\"file\"}", "\"file\" is missing or empty"},
        {"{\"backend\":\"file\",\"socket\":\"/s\"}",
         "\"file\" is missing or empty"},
        {"{\"backend\":\"file\",\"file\":\"\"}",
         "\"file\" is missing or empty"},
        {"{\"backend\":\"file\",\"file\":\"f\"}",
         "\"file\" must be an absolute path"},
        {"{\"backend\":\"file\",\"file\":\" /f\"}",
         "\"file\" must be an absolute path"},
        {"{\"backend\":\"file\",\"file\":\"/f\",\"socket\":1}",
         "\"socket\" must be a string"},
        {"{\"socket\":\"/s\",\"token\":1234567890123456}",
         "\"token\" must be a string"},
        {"{\"socket\":\"/s\",\"token\":null}", "\"token\" must be a string"},
        {"{\"socket\":\"/s\",\"token\":\"123456789012345\"}",
         "\"token\" is shorter than 16 bytes"},
        {"{\"socket\":\"/s\",\"token\":\"\"}",
         "\"token\" is shorter than 16 bytes"},
        {"{\"socket\":\"/s\",\"token\":\"12345678 12345678\"}",
         "\"token\" must be of printable ASCII without spaces"},
        {"{\"socket\":\"/s\",\"token\":\"1234567812345678\\n\"}",
         "\"token\" must be of printable ASCII without spaces"},
        {"{\"socket\":\"/s\",\"token\":\"12345678123456\u00e4\"}",
         "\"token\" must be of printable ASCII without spaces"},
        {"{\"socket\":\"/s\",\"ops\":\"read\"}", BAD_OPS},
        {"{\"socket\":\"/s\",\"ops\":null}", BAD_OPS},
        {"{\"socket\":\"/s\",\"ops\":[]}", BAD_OPS},
        {"{\"socket\":\"/s\",\"ops\":[\"write\"]}", BAD_OPS},
        {"{\"socket\":\"/s\",\"ops\":[\"read\",\"read\"]}", BAD_OPS},
        {"{\"socket\":\"/s\",\"ops\":[\"read\",\"write\",\"write\"]}", BAD_OPS},
        {"{\"socket\":\"/s\",\"ops\":[\"read\",\"erase\"]}", BAD_OPS},
        {"{\"socket\":\"/s\",\"ops\":[\"read\",1]}", BAD_OPS},
        {"{\"socket\":\"/s\",\"ops\":[\"READ\"]}", BAD_OPS},
        {"{\"socket\":\"/s\",\"ops\":{\"read\":true}}", BAD_OPS},
        {"{\"socket\":\"/s\",\"expires\":\"1\"}", BAD_EXPIRES},
        {"{\"socket\":\"/s\",\"expires\":null}", BAD_EXPIRES},
        {"{\"socket\":\"/s\",\"expires\":-1}", BAD_EXPIRES},
        {"{\"socket\":\"/s\",\"expires\":1.5}", BAD_EXPIRES},
        {"{\"socket\":\"/s\",\"idle_timeout_seconds\":0}", BAD_IDLE},
        {"{\"socket\":\"/s\",\"idle_timeout_seconds\":-1}", BAD_IDLE},
        {"{\"socket\":\"/s\",\"idle_timeout_seconds\":\"600\"}", BAD_IDLE},
        {"{\"socket\":\"/s\",\"idle_timeout_seconds\":true}", BAD_IDLE},
        {"{\"uri\":1}", "\"uri\" must be a string"},
        {"{\"uri\":null}", "\"uri\" must be a string"},
        {"{\"uri\":\"\"}", BAD_SCHEME},
        {"{\"uri\":\"nbd\"}", BAD_SCHEME},
        {"{\"uri\":\"http://h/\"}", BAD_SCHEME},
        {"{\"uri\":\" nbd://h/\"}", BAD_SCHEME},
        {"{\"uri\":\"nbd+vsock://2/\"}", BAD_SCHEME},
        {"{\"uri\":\"nbd://h/\",\"socket\":\"/s\"}",
         "\"socket\" and \"uri\" exclude each other"},
        {"{\"uri\":\"nbd://h/\",\"export\":\"e\"}",
         "\"export\" and \"uri\" exclude each other: the URI names the export"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *json = rows[i].json;
        struct ticket *ticket = NULL;
        struct error err;

        assert_row(ticket_parse(&ticket, json, strlen(json), &err) == -1, json);
        assert_row(err.status == 404, json);
        assert_string_equal(err.text, rows[i].text);
        assert_row(ticket == NULL, json);
    }
}

static void
a_ticket_says_who_may_do_what_and_until_when(void **state)
{
    static const struct {
        const char *json, *token;
        uint64_t expires_s, idle_timeout_s;
        bool can_write, has_expired;
    } rows[] = {
        {"{\"socket\":\"/s\"}", NULL, TICKET_FOREVER, TICKET_FOREVER, true,
         false},
        {"{\"socket\":\"/s\",\"token\":\"0123456789abcdef\"}",
         "0123456789abcdef", TICKET_FOREVER, TICKET_FOREVER, true, false},
        {"{\"socket\":\"/s\",\"ops\":[\"read\"]}", NULL, TICKET_FOREVER,
         TICKET_FOREVER, false, false},
        {"{\"socket\":\"/s\",\"ops\":[\"read\",\"write\"]}", NULL,
         TICKET_FOREVER, TICKET_FOREVER, true, false},
        {"{\"socket\":\"/s\",\"ops\":[\"write\",\"read\"],\"read_only\":true}",
         NULL, TICKET_FOREVER, TICKET_FOREVER, false, false},
        {"{\"socket\":\"/s\",\"expires\":1}", NULL, 1, TICKET_FOREVER, true,
         true},
        {"{\"uri\":\"NBD://h\",\"expires\":99999999999,"
         "\"idle_timeout_seconds\":600}",
         NULL, 99999999999, 600, true, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *json = rows[i].json;
        struct ticket *ticket;
        struct error err;

        assert_row(ticket_parse(&ticket, json, strlen(json), &err) == 0, json);
        assert_row(same(ticket->token, rows[i].token), json);
        assert_row(ticket->expires_s == rows[i].expires_s, json);
        assert_row(ticket->idle_timeout_s == rows[i].idle_timeout_s, json);
        assert_row(ticket_can_write(ticket) == rows[i].can_write, json);
        assert_row(ticket_has_expired(ticket) == rows[i].has_expired, json);
        ticket_free(ticket);
    }
}

static void
only_the_whole_token_is_accepted(void **state)
{
    static const char *const wrong[] = {
        NULL,
        "",
        "0",
        "0123456789abcde",
        "0123456789abcdeF",
        "0123456789abcdef0",
        "0123456789abcdef0123456789abcdef",
        "x123456789abcdef",
    };
    const char *json = "{\"socket\":\"/s\",\"token\":\"0123456789abcdef\"}";
    struct ticket *ticket;
    struct error err;

    (void)state;
    assert_int_equal(ticket_parse(&ticket, json, strlen(json), &err), 0);
    assert_true(ticket_accepts(ticket, "0123456789abcdef"));
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_row(!ticket_accepts(ticket, wrong[i]),
                   wrong[i] != NULL ? wrong[i] : "none");
    ticket_free(ticket);
    json = "{\"socket\":\"/s\"}";
    assert_int_equal(ticket_parse(&ticket, json, strlen(json), &err), 0);
    assert_true(ticket_accepts(ticket, NULL));
    assert_true(ticket_accepts(ticket, "anything"));
    ticket_free(ticket);
}

static void
a_socket_path_has_at_most_107_bytes(void **state)
{
    for (int length = SOCKET_MAX; length <= SOCKET_MAX + 1; length++) {
        struct ticket *ticket;
        struct error err;
        char json[256];
        int size;

        (void)state;
        /* White space around it does not count. */
        size = snprintf(json, sizeof(json), "{\"socket\":\" /%0*d \"}",
                        length - 1, 0);
        if (length <= SOCKET_MAX) {
            assert_int_equal(ticket_parse(&ticket, json, (size_t)size, &err),
                             0);
            assert_int_equal(strlen(ticket->image.socket), length);
            ticket_free(ticket);
        } else {
            assert_int_equal(ticket_parse(&ticket, json, (size_t)size, &err),
                             -1);
            assert_string_equal(err.text,
                                "\"socket\" is longer than 107 bytes");
        }
    }
}

static void
a_ticket_has_at_most_4096_bytes(void **state)
{
    char json[TICKET_MAX_BYTES + 1];
    struct ticket *ticket;
    struct error err;

    (void)state;
    memset(json, ' ', sizeof(json));
    memcpy(json, "{\"socket\":\"/s\"}", 15);
    assert_int_equal(ticket_parse(&ticket, json, TICKET_MAX_BYTES, &err), 0);
    ticket_free(ticket);
    assert_int_equal(ticket_parse(&ticket, json, TICKET_MAX_BYTES + 1, &err),
                     -1);
    assert_int_equal(err.status, 404);
    assert_string_equal(err.text, "longer than 4096 bytes");
}

static void
freeing_nothing_is_allowed(void **state)
{
    (void)state;
    ticket_free(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_says_where_the_image_is),
        cmocka_unit_test(a_faulty_ticket_is_404_and_the_log_names_the_fault),
        cmocka_unit_test(a_ticket_says_who_may_do_what_and_until_when),
        cmocka_unit_test(only_the_whole_token_is_accepted),
        cmocka_unit_test(a_socket_path_has_at_most_107_bytes),
        cmocka_unit_test(a_ticket_has_at_most_4096_bytes),
        cmocka_unit_test(freeing_nothing_is_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
