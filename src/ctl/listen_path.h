/* SPDX-License-Identifier: Apache-2.0 */
/* A listening Unix socket at a path: made, taken over from one that died, and
 * removed.  One thread. */
#ifndef CTL_LISTEN_PATH_H
#define CTL_LISTEN_PATH_H

#include <sys/types.h>

struct error;

struct listen_path {
    const char *path; /* lent */
    int fd;           /* does not block */
    dev_t dev;        /* of the socket's file */
    ino_t ino;
};

/* Mode 0660 from its first moment.  A socket that nobody listens on makes room;
 * any other file, or a socket that is in use, is an error. */
int listen_path_open(struct listen_path *ret, const char *path,
                     struct error *err);

/* Removes the file too, if it is still that one. */
void listen_path_close(struct listen_path *listener);

#endif
