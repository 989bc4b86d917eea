/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From JSON to a ticket: first the types of all known keys, then what the
 * backend needs of them.
 */
#include "ticket/ticket.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "image/nbd_uri.h"

#define JSON_MAX_DEPTH 16
#define WHITE " \t\r\n\v\f"
#define SOCKET_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *key;
    size_t member; /* its offset in struct ticket */
    bool may_be_null;
} strings[] = {
    {"socket", offsetof(struct ticket, image.socket), false},
    {"uri", offsetof(struct ticket, image.uri), false},
    {"export", offsetof(struct ticket, image.export), true},
    {"export_bitmap", offsetof(struct ticket, image.bitmap), true},
    {"file", offsetof(struct ticket, image.file), false},
    {"token", offsetof(struct ticket, token), false},
};

static const struct {
    const char *key;
    size_t member; /* its offset in struct ticket */
    uint64_t min;
    const char *wanted;
} numbers[] = {
    {"expires", offsetof(struct ticket, expires_s), 0,
     "an integer, in seconds since 1970"},
    {"idle_timeout_seconds", offsetof(struct ticket, idle_timeout_s), 1,
     "a positive integer"},
};

static char **
string_member(struct ticket *ticket, size_t i)
{
    return (char **)((char *)ticket + strings[i].member);
}

static int
parse_strings(struct ticket *ret, const struct json *object, struct error *err)
{
    for (size_t i = 0; i < COUNT(strings); i++) {
        char **member = string_member(ret, i);
        const char *value;

        switch (json_get_string(object, strings[i].key, &value)) {
        case JSON_ABSENT:
            break;
        case JSON_FOUND:
            *member = strdup(value);
            if (*member == NULL)
                return error_errno(err, 404, "memory for \"%s\"",
                                   strings[i].key);
            break;
        case JSON_NULL:
            if (strings[i].may_be_null)
                break;
            /* fall through */
        case JSON_WRONG:
            return error_set(err, 404, "\"%s\" must be a string%s",
                             strings[i].key,
                             strings[i].may_be_null ? " or null" : "");
        }
    }
    return 0;
}

static int
parse_numbers(struct ticket *ret, const struct json *object, struct error *err)
{
    for (size_t i = 0; i < COUNT(numbers); i++) {
        uint64_t *member = (uint64_t *)((char *)ret + numbers[i].member);

        *member = TICKET_FOREVER;
        switch (json_get_count(object, numbers[i].key, member)) {
        case JSON_ABSENT:
            break;
        case JSON_FOUND:
            if (*member >= numbers[i].min)
                break;
            /* fall through */
        case JSON_NULL:
        case JSON_WRONG:
            return error_set(err, 404, "\"%s\" must be %s", numbers[i].key,
                             numbers[i].wanted);
        }
    }
    return 0;
}

/* ["read"], or "read" and "write" in any order. */
static int
parse_ops(struct ticket *ret, const struct json *object, struct error *err)
{
    unsigned reads = 0, writes = 0;
    const char *op;
    size_t i = 0;

    if (!json_has(object, "ops"))
        return 0;
    for (; json_get_item(object, "ops", i, &op) == JSON_FOUND; i++) {
        reads += strcmp(op, "read") == 0;
        writes += strcmp(op, "write") == 0;
    }
    if (reads != 1 || writes > 1 || reads + writes != i ||
        json_get_item(object, "ops", i, &op) != JSON_ABSENT)
        return error_set(err, 404,
                         "\"ops\" must be [\"read\"] or "
                         "[\"read\",\"write\"]");
    ret->no_writing = writes == 0;
    return 0;
}

static int
parse_backend(enum image_backend *ret, const struct json *object,
              struct error *err)
{
    static const struct {
        const char *name;
        enum image_backend backend;
    } backends[] = {
        {"nbd", IMAGE_NBD},
        {"file", IMAGE_FILE},
    };
    const char *name = "nbd";
    const enum json_lookup found = json_get_string(object, "backend", &name);

    if (found == JSON_NULL || found == JSON_WRONG)
        return error_set(err, 404, "\"backend\" must be a string");
    for (size_t i = 0; i < COUNT(backends); i++) {
        if (strcasecmp(name, backends[i].name) == 0) {
            *ret = backends[i].backend;
            return 0;
        }
    }
    return error_set(err, 404, "\"backend\" must be \"nbd\" or \"file\"");
}

static int
parse_read_only(bool *ret, const struct json *object, struct error *err)
{
    const enum json_lookup found = json_get_bool(object, "read_only", ret);

    if (found == JSON_NULL || found == JSON_WRONG)
        return error_set(err, 404, "\"read_only\" must be a boolean");
    return 0;
}

static int
check_path(const char *path, const char *key, struct error *err)
{
    if (path == NULL || *path == '\0')
        return error_set(err, 404, "\"%s\" is missing or empty", key);
    if (*path != '/')
        return error_set(err, 404, "\"%s\" must be an absolute path", key);
    return 0;
}

/* Drops the white space around text. */
static void
trim(char *text)
{
    const size_t before = strspn(text, WHITE);
    size_t length = strlen(text + before);

    while (length > 0 && strchr(WHITE, text[before + length - 1]) != NULL)
        length--;
    memmove(text, text + before, length);
    text[length] = '\0';
}

/* Something that can be sent: RFC 6750 2.1 has even fewer characters. */
static int
check_token(const char *token, struct error *err)
{
    if (token == NULL)
        return 0;
    if (strlen(token) < TICKET_TOKEN_MIN)
        return error_set(err, 404, "\"token\" is shorter than %d bytes",
                         TICKET_TOKEN_MIN);
    for (const char *c = token; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return error_set(err, 404,
                             "\"token\" must be of printable ASCII without "
                             "spaces");
    return 0;
}

static int
check_uri(const struct image_ref *image, struct error *err)
{
    if (image->socket != NULL)
        return error_set(err, 404, "\"socket\" and \"uri\" exclude each other");
    if (image->export != NULL)
        return error_set(err, 404,
                         "\"export\" and \"uri\" exclude each other: the URI "
                         "names the export");
    if (nbd_uri_scheme(image->uri) == 0)
        return error_set(err, 404, "the scheme of \"uri\" must be one of %s",
                         NBD_URI_SCHEMES);
    return 0;
}

static int
check_server(const struct image_ref *image, struct error *err)
{
    if (image->uri != NULL)
        return check_uri(image, err);
    if (check_path(image->socket, "socket", err) == -1)
        return -1;
    if (strlen(image->socket) > SOCKET_MAX)
        return error_set(err, 404, "\"socket\" is longer than %zu bytes",
                         SOCKET_MAX);
    return 0;
}

static int
check_nbd(struct image_ref *image, struct error *err)
{
    if (image->socket != NULL)
        trim(image->socket);
    if (check_server(image, err) == -1)
        return -1;
    if (image->export != NULL && *image->export == '\0')
        return error_set(err, 404, "\"export\" must not be empty");
    if (image->bitmap != NULL && *image->bitmap == '\0') {
        free(image->bitmap);
        image->bitmap = NULL;
    }
    return 0;
}

static int
parse_object(struct ticket *ret, const struct json *object, struct error *err)
{
    struct image_ref *image = &ret->image;

    if (!json_is_object(object))
        return error_set(err, 404, "not a JSON object");
    if (parse_backend(&image->backend, object, err) == -1 ||
        parse_strings(ret, object, err) == -1 ||
        parse_numbers(ret, object, err) == -1 ||
        parse_ops(ret, object, err) == -1 ||
        parse_read_only(&ret->read_only, object, err) == -1 ||
        check_token(ret->token, err) == -1)
        return -1;
    image->is_constant = ret->read_only;
    if (image->backend == IMAGE_NBD)
        return check_nbd(image, err);
    return check_path(image->file, "file", err);
}

bool
ticket_has_expired(const struct ticket *ticket)
{
    return ticket->expires_s <= clock_wall_ms() / 1000;
}

bool
ticket_can_write(const struct ticket *ticket)
{
    return !ticket->read_only && !ticket->no_writing;
}

bool
ticket_accepts(const struct ticket *ticket, const char *token)
{
    const size_t right = ticket->token != NULL ? strlen(ticket->token) : 0;
    const size_t length = token != NULL ? strlen(token) : 0;
    volatile size_t difference = length ^ right;

    if (ticket->token == NULL)
        return true;
    /* Over all that was shown, and no shorter for being wrong. */
    for (size_t i = 0; i < length; i++)
        difference |= (unsigned char)(token[i] ^ ticket->token[i % right]);
    return difference == 0;
}

void
ticket_free(struct ticket *ticket)
{
    if (ticket == NULL)
        return;
    for (size_t i = 0; i < COUNT(strings); i++)
        free(*string_member(ticket, i));
    free(ticket);
}

int
ticket_parse(struct ticket **ret, const char *json, size_t length,
             struct error *err)
{
    struct json *object = NULL;
    struct ticket *ticket;
    int rc = -1;

    if (length > TICKET_MAX_BYTES)
        return error_set(err, 404, "longer than %d bytes", TICKET_MAX_BYTES);
    ticket = calloc(1, sizeof(*ticket));
    if (ticket == NULL)
        return error_errno(err, 404, "memory for the ticket");
    if (json_parse(&object, json, length, JSON_MAX_DEPTH, err) == -1) {
        err->status = 404; /* it is not the client's JSON */
        goto out;
    }
    if (parse_object(ticket, object, err) == -1)
        goto out;
    *ret = ticket;
    ticket = NULL;
    rc = 0;
out:
    ticket_free(ticket);
    json_free(object);
    return rc;
}
