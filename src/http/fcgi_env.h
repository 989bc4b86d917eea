/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of a FastCGI request, from BEGIN_REQUEST to the empty PARAMS
 * record (FastCGI 1.0, section 6.2), and not a byte more.  libfcgi parses it,
 * but reads ahead whatever there is: it gets its own copy, and the body stays
 * in the connection.
 *
 * That what follows stays unread has a second use.  A process that dies with
 * unread data has its connections reset, which every web server takes for a
 * failure; the end alone nginx takes for the answer's, if it does not buffer.
 * One thread.
 */
#ifndef HTTP_FCGI_ENV_H
#define HTTP_FCGI_ENV_H

#include <stddef.h>

struct error;

#define FCGI_ENV_MAX_BYTES ((size_t)256 << 10) /* nginx sends 40 KiB at most */

/* A file in memory for what libfcgi is to read. */
struct fcgi_env {
    int fd;      /* -1: none */
    size_t size; /* bytes in it */
};

int fcgi_env_open(struct fcgi_env *env); /* 0, or -1 with errno */
void fcgi_env_close(struct fcgi_env *env);

/* Moves the beginning of a request from the connection to env->fd, to be read
 * from its start.  Fails, and the connection is of no more use, if that does
 * not come within seconds, is too long, or is something else. */
int fcgi_env_receive(struct fcgi_env *env, int connection, struct error *err);

#endif
