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

#include "base/error.h"
#include "base/json.h"

#define JSON_MAX_DEPTH 16
#define WHITE " \t\r\n\v\f"
#define SOCKET_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *key;
    size_t member; /* its offset in struct image_ref */
    bool may_be_null;
} strings[] = {
    {"socket", offsetof(struct image_ref, socket), false},
    {"export", offsetof(struct image_ref, export), true},
    {"export_bitmap", offsetof(struct image_ref, bitmap), true},
    {"file", offsetof(struct image_ref, file), false},
};

static char **
string_member(struct image_ref *image, size_t i)
{
    return (char **)((char *)image + strings[i].member);
}

static int
parse_strings(struct image_ref *ret, const struct json *object,
              struct error *err)
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
                return error_errno(err, 404, "copy \"%s\"", strings[i].key);
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

static int
check_nbd(struct image_ref *image, struct error *err)
{
    if (image->socket != NULL)
        trim(image->socket);
    if (check_path(image->socket, "socket", err) == -1)
        return -1;
    if (strlen(image->socket) > SOCKET_MAX)
        return error_set(err, 404, "\"socket\" is longer than %zu bytes",
                         SOCKET_MAX);
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
        parse_strings(image, object, err) == -1 ||
        parse_read_only(&ret->read_only, object, err) == -1)
        return -1;
    if (image->backend == IMAGE_NBD)
        return check_nbd(image, err);
    return check_path(image->file, "file", err);
}

void
ticket_free(struct ticket *ticket)
{
    if (ticket == NULL)
        return;
    for (size_t i = 0; i < COUNT(strings); i++)
        free(*string_member(&ticket->image, i));
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
        return error_errno(err, 404, "parse ticket");
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
