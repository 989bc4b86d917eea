/* SPDX-License-Identifier: Apache-2.0 */
/* What a ticket says of where an image is, and which ticket that is.  Data
 * only. */
#ifndef IMAGE_IMAGE_REF_H
#define IMAGE_IMAGE_REF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum image_backend {
    IMAGE_NBD,
    IMAGE_FILE,
};

struct image_ref {
    enum image_backend backend;
    char *socket; /* nbd: path of the server's Unix socket, or NULL, and */
    char *uri;    /* its NBD URI (nbd_uri.h) instead */
    char *export; /* nbd: export name; NULL is the default export */
    char *bitmap; /* nbd: dirty bitmap's name; NULL: none */
    char *file;   /* file: path */

    bool is_constant; /* the ticket says that nobody changes it */

    /* Who may use a connection again (nbd_pool.h). */
    const char *owner; /* the ticket's id; lent */
    uint64_t version;  /* of the ticket's file */
    uint64_t epoch;    /* nbd_pool_epoch() before it was read; 0: nobody, as a
                          change of it could not be noticed */
};

/* Where the NBD server is: its socket's path, or its URI. */
static inline const char *
image_ref_server(const struct image_ref *ref)
{
    return ref->uri != NULL ? ref->uri : ref->socket;
}

#endif
