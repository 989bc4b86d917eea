/* SPDX-License-Identifier: Apache-2.0 */
/* What a ticket says of where an image is.  Data only. */
#ifndef IMAGE_IMAGE_REF_H
#define IMAGE_IMAGE_REF_H

enum image_backend {
    IMAGE_NBD,
    IMAGE_FILE,
};

struct image_ref {
    enum image_backend backend;
    char *socket; /* nbd: path of the server's Unix socket */
    char *export; /* nbd: export name; NULL is the default export */
    char *bitmap; /* nbd: dirty bitmap's name; NULL: none */
    char *file;   /* file: path */
};

#endif
