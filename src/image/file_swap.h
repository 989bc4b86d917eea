/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replacing a file whole: the new content grows in an unnamed file beside the
 * old one and takes its name by rename(2), so that whoever opens the name gets
 * the old file or the new one, never a mixture.  Owns descriptors, not bytes.
 */
#ifndef IMAGE_FILE_SWAP_H
#define IMAGE_FILE_SWAP_H

#include <stdbool.h>
#include <stdint.h>

struct error;

struct file_swap {
    int dir_fd;     /* the folder, links resolved */
    int fd;         /* the new file: write here */
    char *name;     /* of the old file in it */
    char *temp;     /* name of the new file, if it has one; NULL: unnamed */
    const char *path; /* for messages; lent */
};

/* Makes the new file with the mode, owner and extended attributes of the old
 * one, if there is an old one, and reserves length bytes: 507 if they are not
 * there.  A symbolic link is followed; its last target may be missing. */
int file_swap_open(struct file_swap *swap, const char *path, uint64_t length,
                   struct error *err);

/* The new file takes the name.  flush: content and name are durable. */
int file_swap_commit(struct file_swap *swap, bool flush, struct error *err);

/* Frees all; without a commit, the old file is as it was. */
void file_swap_close(struct file_swap *swap);

/* The folder and the name that path leads to, symbolic links followed even if
 * the last target is missing.  Both are the caller's to free. */
int file_swap_resolve(const char *path, char **folder, char **name);

#endif
