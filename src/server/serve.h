/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request from first to last byte: path, ticket, permission, handler, the
 * answer to a failure, and the one line in the log.  One thread.
 */
#ifndef SERVER_SERVE_H
#define SERVER_SERVE_H

#include <stdbool.h>

struct config;
struct fcgi_io;

/* What a worker lends to a request. */
struct serve_env {
    const struct config *config;
    unsigned worker;       /* its number, for the log */
    unsigned char *buffer; /* IMAGE_BUFFER_SIZE bytes */
    char *text;            /* EXCHANGE_TEXT_SIZE bytes */
};

/* Serves the request that came on io with variables ("NAME=value", NULL at the
 * end).
 * Returns whether its answer is complete; if not, it was cut (fcgi_io_cut), and
 * the connection must be closed without ending the request. */
bool serve(const struct serve_env *env, struct fcgi_io *io, char **variables);

#endif
