/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request as the web server tells it, out of the FastCGI environment.  Pure:
 * strings are lent by the environment and live as long as the request.
 */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "http/path.h"

struct error;

struct request {
    const char *method;        /* "" if the web server gave none */
    const char *query;         /* "" if there is none */
    const char *content_type;  /* "" if there is none */
    const char *range;         /* NULL if there is none */
    const char *content_range; /* NULL if there is none */
    const char *length_text;   /* CONTENT_LENGTH; "" if there is none */
    /* Conditions (conditions.h); NULL if there is none. */
    const char *if_match, *if_none_match;
    const char *if_modified_since, *if_unmodified_since;
    const char *if_range;
    const char *authorization; /* NULL if there is none */
    const char *client; /* its address; "" if the web server gave none */
    const char *id;     /* the web server's name for it; NULL: none */
    bool is_chunked;           /* the body's length is not known (RFC 9112 7.1) */
    struct path path;
};

/* variables: NULL-terminated "NAME=value" strings. */
void request_init(struct request *ret, char **variables);

bool request_is_head(const struct request *request);
bool request_is_get_or_head(const struct request *request);

/* Is the Content-Type this one, parameters and case aside (RFC 9110 8.3.1)? */
bool request_has_type(const struct request *request, const char *type);

/* The bearer token that it shows (RFC 6750 2.1); NULL: none. */
const char *request_token(const struct request *request);

/* The body's length in bytes.  400 "Content-Length required" where there is
 * none or it is chunked, 400 "Invalid Content-Length" where it is no number. */
int request_length(const struct request *request, uint64_t *ret,
                   struct error *err);

#endif
