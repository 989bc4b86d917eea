/* SPDX-License-Identifier: Apache-2.0 */
/* The nbd backend: an export on a Unix socket.  See image.h; image.c alone
 * calls these. */
#ifndef IMAGE_IMAGE_NBD_H
#define IMAGE_IMAGE_NBD_H

#include <stdint.h>

#include "image/image.h"

/* Of the socket (links resolved) and the export's name. */
uint64_t image_nbd_key(const struct image_ref *ref);
int image_nbd_open(struct image **ret, const struct image_ref *ref,
                   enum image_use use, const struct image_env *env,
                   struct error *err);

#endif
