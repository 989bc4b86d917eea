/* SPDX-License-Identifier: Apache-2.0 */
/* The file backend: a regular file, or a block device.  See image.h; image.c
 * alone calls these. */
#ifndef IMAGE_IMAGE_FILE_H
#define IMAGE_IMAGE_FILE_H

#include <stdint.h>

#include "image/image.h"

/* Of device and inode; of the folder and the name while there is no file. */
uint64_t image_file_key(const struct image_ref *ref);
int image_file_open(struct image **ret, const struct image_ref *ref,
                    enum image_use use, const struct image_env *env,
                    struct error *err);

#endif
