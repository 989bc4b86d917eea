/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ticket/ticket: an input is a ticket's file.  One that is taken has what its
 * backend needs, and written out again is the same ticket.
 */
#include "ticket/ticket.h"

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "fuzz.h"
#include "image/nbd_uri.h"

#define SOCKET_MAX 107 /* unix(7) */
#define BLANKS " \t\r\n\v\f"

static bool
is_path(const char *text)
{
    return text != NULL && *text == '/';
}

static void
check_image(const struct image_ref *image)
{
    check(image->backend == IMAGE_NBD || image->backend == IMAGE_FILE);
    if (image->backend == IMAGE_FILE) {
        check(is_path(image->file));
        return;
    }
    check((image->socket == NULL) != (image->uri == NULL));
    check(image_ref_server(image) != NULL);
    if (image->socket != NULL) {
        const size_t length = strlen(image->socket);

        check(is_path(image->socket) && length <= SOCKET_MAX);
        check(strchr(BLANKS, image->socket[length - 1]) == NULL);
    } else {
        check(nbd_uri_scheme(image->uri) != 0 && image->export == NULL);
    }
    check(image->export == NULL || *image->export != '\0');
    check(image->bitmap == NULL || *image->bitmap != '\0');
}

/* Nobody without it comes in, nor with nearly the right one. */
static void
check_token(const struct ticket *ticket)
{
    const size_t length = ticket->token != NULL ? strlen(ticket->token) : 0;
    char *other;

    if (ticket->token == NULL) {
        check(ticket_accepts(ticket, NULL) && ticket_accepts(ticket, "any"));
        return;
    }
    check(length >= TICKET_TOKEN_MIN);
    for (size_t i = 0; i < length; i++)
        check(ticket->token[i] > 0x20 && ticket->token[i] < 0x7f);
    check(ticket_accepts(ticket, ticket->token));
    check(!ticket_accepts(ticket, NULL) && !ticket_accepts(ticket, ""));
    other = malloc(2 * length + 1);
    check(other != NULL);
    /* Twice, one more, with another end, another start, one less. */
    memcpy(other, ticket->token, length);
    memcpy(other + length, ticket->token, length + 1);
    check(!ticket_accepts(ticket, other));
    other[length + 1] = '\0';
    check(!ticket_accepts(ticket, other));
    other[length] = '\0';
    other[length - 1] ^= 1;
    check(!ticket_accepts(ticket, other));
    other[length - 1] ^= 1;
    other[0] ^= 1;
    check(!ticket_accepts(ticket, other));
    other[0] ^= 1;
    check(ticket_accepts(ticket, other));
    other[length - 1] = '\0';
    check(!ticket_accepts(ticket, other));
    free(other);
}

static void
add(struct json *object, const char *key, const char *value)
{
    if (value != NULL)
        json_add_string(object, key, value);
}

/* To be freed. */
static struct json *
write_out(const struct ticket *ticket)
{
    static const char *const ops[] = {"write", "read"};
    struct json *object = json_new_object();

    add(object, "backend", ticket->image.backend == IMAGE_NBD ? "NBD" : "file");
    add(object, "socket", ticket->image.socket);
    add(object, "uri", ticket->image.uri);
    add(object, "export", ticket->image.export);
    add(object, "export_bitmap", ticket->image.bitmap);
    add(object, "file", ticket->image.file);
    add(object, "token", ticket->token);
    json_add_strings(object, "ops", ops + ticket->no_writing,
                     2 - (size_t)ticket->no_writing);
    json_add_bool(object, "read_only", ticket->read_only);
    json_add_number(object, "expires", ticket->expires_s);
    json_add_number(object, "idle_timeout_seconds", ticket->idle_timeout_s);
    return object;
}

static bool
are_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
check_again(const struct ticket *ticket)
{
    struct json *object = write_out(ticket);
    const char *text = json_text(object);
    const struct image_ref *old = &ticket->image;
    const struct image_ref *new;
    struct ticket *again;
    struct error err = {.status = 0};

    if (strlen(text) <= TICKET_MAX_BYTES) {
        check(ticket_parse(&again, text, strlen(text), &err) == 0);
        new = &again->image;
        check(new->backend == old->backend);
        check(are_equal(new->socket, old->socket));
        check(are_equal(new->uri, old->uri));
        check(are_equal(new->export, old->export));
        check(are_equal(new->bitmap, old->bitmap));
        check(are_equal(new->file, old->file));
        check(are_equal(again->token, ticket->token));
        check(again->read_only == ticket->read_only);
        check(again->no_writing == ticket->no_writing);
        check(again->expires_s == ticket->expires_s);
        check(again->idle_timeout_s == ticket->idle_timeout_s);
        ticket_free(again);
    }
    json_free(object);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* No NUL need follow a ticket. */
    char *text = input_bytes(data, size);
    struct ticket *const untouched = (struct ticket *)&text;
    struct ticket *ticket = untouched;
    struct error err = {.status = 0};

    if (ticket_parse(&ticket, text, size, &err) == -1) {
        check(ticket == untouched);
        check(err.status == 404 && *err.text != '\0');
    } else {
        check(size <= TICKET_MAX_BYTES && ticket != untouched);
        check_image(&ticket->image);
        check(ticket->image.is_constant == ticket->read_only);
        check(ticket_can_write(ticket) ==
              !(ticket->read_only || ticket->no_writing));
        check(ticket->idle_timeout_s > 0);
        check(!ticket_has_expired(ticket) || ticket->expires_s < UINT32_MAX);
        check_token(ticket);
        check_again(ticket);
        ticket_free(ticket);
    }
    free(text);
    return 0;
}
