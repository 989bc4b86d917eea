/* SPDX-License-Identifier: Apache-2.0 */
/* What an administrator says of a ticket, as JSON. */
#include "ctl/ticket_form.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/readfile.h"
#include "ctl/invocation.h"
#include "ctl/when.h"
#include "ticket/ticket.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* One of them says where the image is. */
static const struct place {
    enum invocation_option option;
    const char *name, *backend, *key;
    bool is_path;
    unsigned goes_with; /* of the details */
} places[] = {
    {OPTION_NBD, "--nbd", "nbd", "socket", true,
     OPTION_BIT(OPTION_EXPORT) | OPTION_BIT(OPTION_BITMAP)},
    {OPTION_URI, "--uri", "nbd", "uri", false, OPTION_BIT(OPTION_BITMAP)},
    {OPTION_FILE, "--file", "file", "file", true, 0},
};

static const struct {
    enum invocation_option option;
    const char *name, *key;
} details[] = {
    {OPTION_EXPORT, "--export", "export"},
    {OPTION_BITMAP, "--bitmap", "export_bitmap"},
};

static const struct place *
find_place(const struct invocation *invocation, struct error *err)
{
    const struct place *found = NULL;

    for (size_t i = 0; i < COUNT(places); i++) {
        if (!invocation_has(invocation, places[i].option))
            continue;
        if (found != NULL) {
            error_set(err, 400, "%s and %s exclude each other", found->name,
                      places[i].name);
            return NULL;
        }
        found = &places[i];
    }
    if (found == NULL)
        error_set(err, 400, "one of --nbd, --uri and --file is needed");
    return found;
}

/* JSON holds UTF-8 only; a path with other bytes would name another file. */
static int
add_text(struct json *form, const char *key, const char *value,
         const char *name, struct error *err)
{
    const char *kept = NULL;

    json_add_string(form, key, value);
    json_get_string(form, key, &kept);
    if (strcmp(kept, value) != 0)
        return error_set(err, 500, "%s is not UTF-8, and JSON has nothing else",
                         name);
    return 0;
}

static int
add_place(struct json *form, const struct place *place, const char *value,
          struct error *err)
{
    char here[PATH_MAX];
    char path[2 * PATH_MAX]; /* what is cut is too long for a ticket */

    json_add_string(form, "backend", place->backend);
    if (place->is_path && *value != '/') {
        if (getcwd(here, sizeof(here)) == NULL)
            return error_errno(err, 500, "find the working directory");
        snprintf(path, sizeof(path), "%s/%s", here, value);
        value = path;
    }
    return add_text(form, place->key, value, place->name, err);
}

static int
add_details(struct json *form, const struct place *place,
            const struct invocation *invocation, struct error *err)
{
    for (size_t i = 0; i < COUNT(details); i++) {
        const enum invocation_option option = details[i].option;

        if (!invocation_has(invocation, option))
            continue;
        if (!(place->goes_with & OPTION_BIT(option)))
            return error_set(err, 400, "%s does not go with %s",
                             details[i].name, place->name);
        if (add_text(form, details[i].key, invocation->values[option],
                     details[i].name, err) == -1)
            return -1;
    }
    return 0;
}

static int
add_expires(struct json *form, const char *when, struct error *err)
{
    uint64_t expires_s;

    if (!when_parse(&expires_s, when))
        return error_set(err, 400, "--expires: \"%s\" is not a valid WHEN",
                         when);
    json_add_number(form, "expires", expires_s);
    return 0;
}

static int
add_idle(struct json *form, const char *seconds, struct error *err)
{
    uint64_t idle_s;

    if (!when_parse_seconds(&idle_s, seconds, 1, WHEN_MAX_S))
        return error_set(err, 400, "--idle: \"%s\" is not a valid SECONDS",
                         seconds);
    json_add_number(form, "idle_timeout_seconds", idle_s);
    return 0;
}

static int
read_token(char token[TICKET_MAX_BYTES + 1], int fd, struct error *err)
{
    ssize_t length = readfile(fd, token, TICKET_MAX_BYTES + 1);

    if (length == -1)
        return error_errno(err, 500, "read the token's file");
    if (length > TICKET_MAX_BYTES)
        return error_set(err, 500, "the token's file has more than %d bytes",
                         TICKET_MAX_BYTES);
    token[length] = '\0';
    if (strlen(token) != (size_t)length)
        return error_set(err, 500, "the token's file has a NUL byte");
    if (length > 0 && token[length - 1] == '\n')
        token[length - 1] = '\0';
    return 0;
}

static int
add_token(struct json *form, const char *path, struct error *err)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    const int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    char token[TICKET_MAX_BYTES + 1];
    int rc;

    if (fd == -1)
        return error_errno(err, 500, "open %s", path);
    rc = read_token(token, fd, err);
    if (rc == 0)
        rc = add_text(form, "token", token, "the token", err);
    if (!is_stdin)
        close(fd);
    return rc;
}

/* In the order in which the command line is judged: the token's file is read
 * last. */
static const struct {
    enum invocation_option option;
    int (*add)(struct json *form, const char *value, struct error *err);
} more[] = {
    {OPTION_EXPIRES, add_expires},
    {OPTION_IDLE, add_idle},
    {OPTION_TOKEN_FILE, add_token},
};

static int
fill(struct json *form, const struct invocation *invocation, struct error *err)
{
    const struct place *place = find_place(invocation, err);

    if (place == NULL ||
        add_place(form, place, invocation->values[place->option], err) == -1 ||
        add_details(form, place, invocation, err) == -1)
        return -1;
    if (invocation_has(invocation, OPTION_READ_ONLY))
        json_add_bool(form, "read_only", true);
    for (size_t i = 0; i < COUNT(more); i++) {
        const char *value = invocation->values[more[i].option];

        if (value != NULL && more[i].add(form, value, err) == -1)
            return -1;
    }
    return 0;
}

int
ticket_form_fill(struct json **ret, const struct invocation *invocation,
                 struct error *err)
{
    struct json *form = json_new_object();

    if (fill(form, invocation, err) == -1) {
        json_free(form);
        return -1;
    }
    *ret = form;
    return 0;
}
