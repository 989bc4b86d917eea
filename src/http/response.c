/* SPDX-License-Identifier: Apache-2.0 */
/* Heads and JSON bodies. */
#include "http/response.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "http/conditions.h"
#include "http/fcgi_io.h"

#define HEAD_MAX_BYTES FCGI_IO_HEAD_MAX /* about 400, less response->extra */
#define METHODS "GET, PUT, OPTIONS"
#define RETRY_AFTER_S 1

static const struct {
    int status;
    const char *reason; /* RFC 9110 15, RFC 4918 11.5 */
} reasons[] = {
    {200, "OK"},
    {206, "Partial Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {507, "Insufficient Storage"},
};

static const char *
reason_of(int status)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

struct head {
    char text[HEAD_MAX_BYTES];
    size_t length;
};

static void __attribute__((format(printf, 2, 3)))
add(struct head *head, const char *format, ...)
{
    const size_t room = sizeof(head->text) - head->length;
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(head->text + head->length, room, format, args);
    va_end(args);
    assert(length >= 0 && (size_t)length < room);
    head->length += (size_t)length;
}

static void
add_validators(struct head *head, const struct validators *validators)
{
    char date[HTTP_DATE_SIZE];

    if (validators->etag[0] != '\0')
        add(head, "ETag: %s\r\n", validators->etag);
    if (!validators->has_date || !validators->is_date_past)
        return;
    http_date_format(date, validators->modified_s);
    if (*date != '\0')
        add(head, "Last-Modified: %s\r\n", date);
}

static void
format_head(struct head *head, const struct response *response)
{
    head->length = 0;
    add(head, "Status: %d %s\r\n", response->status,
        reason_of(response->status));
    if (response->type != NULL)
        add(head, "Content-Type: %s\r\n", response->type);
    if (response->has_length)
        add(head, "Content-Length: %" PRIu64 "\r\n", response->length);
    if (!response->omits_ranges)
        add(head, "Accept-Ranges: bytes\r\n");
    add(head, "Access-Control-Allow-Methods: %s\r\n",
        response->methods != NULL ? response->methods : METHODS);
    if (response->allow != NULL)
        add(head, "Allow: %s\r\n", response->allow);
    if (response->status == 206)
        add(head,
            "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
            response->first, response->first + response->length - 1,
            response->size);
    else if (response->has_size)
        add(head, "Content-Range: bytes */%" PRIu64 "\r\n", response->size);
    if (response->validators != NULL)
        add_validators(head, response->validators);
    if (response->status == 401)
        add(head, "WWW-Authenticate: Bearer\r\n");
    if (response->status == 409 || response->status == 503)
        add(head, "Retry-After: %d\r\n", RETRY_AFTER_S);
    if (response->extra != NULL)
        add(head, "%s\r\n", response->extra);
    add(head, "\r\n");
}

int
response_send_head(struct fcgi_io *io, const struct response *response,
                   struct error *err)
{
    struct head head;

    format_head(&head, response);
    return fcgi_io_send(io, head.text, head.length, err);
}

void
response_hold_head(struct fcgi_io *io, const struct response *response)
{
    struct head head;

    format_head(&head, response);
    fcgi_io_hold(io, head.text, head.length);
}

int
response_send_text(struct fcgi_io *io, struct response *response,
                   const char *text, bool is_head, struct error *err)
{
    struct head head;

    if (response->type == NULL)
        response->type = RESPONSE_JSON;
    response->has_length = true;
    response->length = strlen(text);
    format_head(&head, response);
    /* In one piece where it fits, as most do. */
    if (!is_head && response->length < sizeof(head.text) - head.length) {
        add(&head, "%s", text);
        is_head = true;
    }
    if (fcgi_io_send(io, head.text, head.length, err) == -1)
        return -1;
    return is_head ? 0 : fcgi_io_send(io, text, strlen(text), err);
}
