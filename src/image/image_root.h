/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folders below which tickets may name files and sockets (--image-root).
 * Every path of a ticket is opened here, so that no link below such a folder
 * leads out of it (openat2(2), RESOLVE_BENEATH).  While there is none, every
 * path is allowed.  Set before any thread starts, and then only read.
 */
#ifndef IMAGE_IMAGE_ROOT_H
#define IMAGE_IMAGE_ROOT_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct stat;

#define IMAGE_ROOTS_MAX 16

/* Adds a folder, by its absolute path.  0, or -1 with errno: E2BIG above
 * IMAGE_ROOTS_MAX, ENOSYS where the kernel has no openat2 (before 5.6). */
int image_root_add(const char *folder);

/* Folder i (an O_PATH descriptor), or -1 beyond the last one. */
int image_root_fd(size_t i);

bool image_root_is_set(void);

/* Is the path, as it is spelled, below a folder?  true if none is set. */
bool image_root_allows(const char *path);

/* open(2) with O_CLOEXEC, without a mode.  EXDEV: the path is, or leads,
 * elsewhere. */
int image_root_open(const char *path, int flags);

/* stat(2) likewise. */
int image_root_stat(const char *path, struct stat *ret);

/* The error (500) for one of the above that has failed, with errno.  Returns
 * -1. */
int image_root_error(struct error *err, const char *action, const char *path);

#endif
