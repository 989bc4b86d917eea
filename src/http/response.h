/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads and JSON bodies, as CGI wants them (RFC 3875 6): the web server makes
 * the status line and the connection's headers.  Waits for the client.
 */
#ifndef HTTP_RESPONSE_H
#define HTTP_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct fcgi_io;
struct validators;

struct response {
    int status;
    const char *type; /* Content-Type; NULL: none */
    bool has_length;
    uint64_t length;     /* Content-Length, bytes */
    const char *methods; /* Access-Control-Allow-Methods; NULL: the usual */
    const char *allow;   /* Allow; NULL: none */
    bool has_size;       /* 416: Content-Range with the size alone */
    uint64_t size;       /* 206, 416: of the whole image, bytes */
    uint64_t first;      /* 206: of the part, bytes */
    const struct validators *validators; /* ETag and Last-Modified; NULL: none */
    const char *extra;   /* one more line, "Name: value"; NULL: none */
    bool omits_ranges;   /* the web server says Accept-Ranges itself */
};

#define RESPONSE_BINARY "application/octet-stream"
#define RESPONSE_JSON "application/json"

/* Sends the head.  499: the web server has gone. */
int response_send_head(struct fcgi_io *io, const struct response *response,
                       struct error *err);

/* The head goes out in one piece with the first bytes of the body. */
void response_hold_head(struct fcgi_io *io, const struct response *response);

/* Sends head and body, a text; sets its length, and the type if there is none to
 * JSON.  A HEAD request gets the same head and no body. */
int response_send_text(struct fcgi_io *io, struct response *response,
                       const char *text, bool is_head, struct error *err);

#endif
