/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/request and http/path: an environment, its variables each ended by a NUL
 * as in /proc/PID/environ.  What the request says is looked up once more.
 */
#include "http/request.h"

#include <stdbool.h>
#include <strings.h>

#include "base/error.h"
#include "fuzz.h"

#define VARIABLES_MAX 64
#define TYPE "application/json"

struct environment {
    char *variables[VARIABLES_MAX + 1];
    size_t count;
};

/* How often a variable is there, and where its value is. */
static unsigned
look_up(const struct environment *env, const char *name, const char **value)
{
    unsigned found = 0;

    *value = NULL;
    for (size_t i = 0; i < env->count; i++) {
        const char *equals = strchr(env->variables[i], '=');

        if (equals != NULL &&
            (size_t)(equals - env->variables[i]) == strlen(name) &&
            memcmp(env->variables[i], name, strlen(name)) == 0) {
            *value = equals + 1;
            found++;
        }
    }
    return found;
}

/* A value that is there once is lent; of several none is meant. */
static void
check_member(const struct environment *env, const char *name,
             const char *member, const char *absent)
{
    const char *value;
    const unsigned found = look_up(env, name, &value);

    if (found == 0)
        check(absent == NULL ? member == NULL : strcmp(member, absent) == 0);
    else if (found == 1)
        check(member == value);
    else
        check(strcmp(member, ", ") == 0);
}

static void
check_members(const struct environment *env, const struct request *request)
{
    const struct {
        const char *name, *member, *absent;
    } rows[] = {
        {"REQUEST_METHOD", request->method, ""},
        {"QUERY_STRING", request->query, ""},
        {"CONTENT_TYPE", request->content_type, ""},
        {"HTTP_RANGE", request->range, NULL},
        {"HTTP_CONTENT_RANGE", request->content_range, NULL},
        {"HTTP_IF_MATCH", request->if_match, NULL},
        {"HTTP_IF_NONE_MATCH", request->if_none_match, NULL},
        {"HTTP_IF_MODIFIED_SINCE", request->if_modified_since, NULL},
        {"HTTP_IF_UNMODIFIED_SINCE", request->if_unmodified_since, NULL},
        {"HTTP_IF_RANGE", request->if_range, NULL},
        {"HTTP_AUTHORIZATION", request->authorization, NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_member(env, rows[i].name, rows[i].member, rows[i].absent);
    check(request_is_head(request) == (strcmp(request->method, "HEAD") == 0));
    check(request_is_get_or_head(request) ==
          (request_is_head(request) || strcmp(request->method, "GET") == 0));
}

/* A length is digits that fit, and what comes in chunks has none. */
static void
check_length(const struct environment *env, const struct request *request)
{
    const char *length, *coding, *said;
    const unsigned lengths = look_up(env, "CONTENT_LENGTH", &length);
    const unsigned codings = look_up(env, "HTTP_TRANSFER_ENCODING", &coding);
    /* The client said "0" itself. */
    const bool is_clients = look_up(env, "HTTP_CONTENT_LENGTH", &said) == 1 &&
                            *said != '\0' && strspn(said, "0") == strlen(said);
    struct error err = {.status = 0};
    uint64_t bytes = 7, expected = 0;
    bool is_right = true;

    if (codings > 1 || (codings == 1 && *coding != '\0') || lengths == 0 ||
        (lengths == 1 && *length == '\0') ||
        (lengths == 1 && strcmp(length, "0") == 0 && !is_clients)) {
        check(request_length(request, &bytes, &err) == -1 && bytes == 7);
        check(err.status == 400 &&
              strcmp(err.text, "Content-Length required") == 0);
        return;
    }
    for (const char *at = length; lengths == 1 && *at != '\0'; at++) {
        const unsigned digit = (unsigned)(*at - '0');

        is_right =
            is_right && digit <= 9 && expected <= (UINT64_MAX - digit) / 10;
        expected = expected * 10 + digit;
    }
    if (lengths == 1 && is_right) {
        check(request_length(request, &bytes, &err) == 0);
        check(bytes == expected);
    } else {
        check(request_length(request, &bytes, &err) == -1 && bytes == 7);
        check(err.status == 400 &&
              strcmp(err.text, "Invalid Content-Length") == 0);
    }
}

static void
check_type(const struct request *request)
{
    const char *type = request->content_type;
    bool expected;

    while (*type == ' ' || *type == '\t')
        type++;
    expected = strncasecmp(type, TYPE, strlen(TYPE)) == 0 &&
               strchr("; \t", type[strlen(TYPE)]) != NULL; /* or the NUL */
    check(request_has_type(request, TYPE) == expected);
}

/* What is behind "Bearer" and blanks, all of it. */
static void
check_token(const struct request *request)
{
    const char *token = request_token(request);
    const char *text = request->authorization;
    bool expected = text != NULL && strncasecmp(text, "bearer ", 7) == 0;

    check((token != NULL) == expected);
    if (!expected)
        return;
    for (text += 7; *text == ' '; text++)
        ;
    check(token == text);
}

static bool
is_plain(const char *text, size_t length)
{
    bool ok = length > 0 && length <= PATH_ID_MAX && *text != '.' &&
              !(length == 1 && *text == '*');

    for (size_t i = 0; i < length; i++)
        ok = ok && text[i] != '/' && text[i] != '\\' && text[i] != 0x7f &&
             (unsigned char)text[i] >= 0x20;
    return ok;
}

/* The segments are the path's text between slashes, in order and all. */
static void
check_path(const struct environment *env, const struct path *path)
{
    const char *text;
    const unsigned found = look_up(env, "PATH_INFO", &text);
    unsigned count = 0;

    if (found != 1)
        text = found == 0 ? "" : ", ";
    while (*text != '\0') {
        size_t length = 0;

        while (text[length] != '\0' && text[length] != '/')
            length++;
        if (length > 0 && count < PATH_SEGMENTS_MAX) {
            char *copy = input_copy((const uint8_t *)text, length);

            check(count < path->count);
            if (found == 1)
                check(path->segment[count].text == text);
            check(path->segment[count].length == length);
            check(path_segment_is(path, count, copy));
            copy[length - 1] = '/';
            check(!path_segment_is(path, count, copy));
            check(path_is_id(text, length) == is_plain(text, length));
            free(copy);
        }
        count += length > 0;
        text += length + (text[length] == '/');
    }
    if (count > PATH_SEGMENTS_MAX)
        count = PATH_SEGMENTS_MAX + 1;
    check(path->count == count);
    check(!path_segment_is(path, count, "images"));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct environment env = {.count = 0};
    struct request request;

    while (input.size > 0 && env.count < VARIABLES_MAX)
        env.variables[env.count++] = input_text(&input, '\0');
    request_init(&request, env.variables);
    check_members(&env, &request);
    check_length(&env, &request);
    check_type(&request);
    check_token(&request);
    check_path(&env, &request.path);
    for (size_t i = 0; i < env.count; i++)
        free(env.variables[i]);
    return 0;
}
