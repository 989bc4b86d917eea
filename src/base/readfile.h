/* SPDX-License-Identifier: Apache-2.0 */
/* Reading small files, and telling their states apart.  Keeps nothing. */
#ifndef BASE_READFILE_H
#define BASE_READFILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stat;

/* What is left of fd, at most size bytes; how many, or -1 with errno. */
ssize_t readfile(int fd, char *data, size_t size);

/* Another number for each file, and for each state that its size and times tell
 * apart. */
uint64_t readfile_version(const struct stat *st);

#endif
