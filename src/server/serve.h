/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request from first to last byte: path, ticket, permission, handler, the
 * answer to a failure, and the one line in the log.  One thread.
 */
#ifndef SERVER_SERVE_H
#define SERVER_SERVE_H

struct config;
struct fcgi_io;

/* What a worker lends to a request. */
struct serve_env {
    const struct config *config;
    unsigned worker;       /* its number, for the log */
    unsigned char *buffer; /* IMAGE_BUFFER_SIZE bytes */
    char *text;            /* EXCHANGE_TEXT_SIZE bytes */
};

enum serve_result {
    SERVE_DONE, /* the answer is complete: the request can be ended */
    SERVE_CUT,  /* it is not (fcgi_io_cut): close, do not end the request */
    SERVE_GONE, /* nobody is there to be told: close at once */
};

/* Serves the request that came on io with variables ("NAME=value", NULL at the
 * end).  Returns how its connection is to be ended. */
enum serve_result serve(const struct serve_env *env, struct fcgi_io *io,
                        char **variables);

#endif
