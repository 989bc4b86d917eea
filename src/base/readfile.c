/* SPDX-License-Identifier: Apache-2.0 */
/* Small files. */
#include "base/readfile.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

ssize_t
readfile(int fd, char *data, size_t size)
{
    size_t used = 0;

    while (used < size) {
        const ssize_t got = read(fd, data + used, size - used);

        if (got == 0)
            break;
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return -1;
        used += (size_t)got;
    }
    return (ssize_t)used;
}

uint64_t
readfile_version(const struct stat *st)
{
    const uint64_t state[] = {
        st->st_dev,
        st->st_ino,
        (uint64_t)st->st_size,
        (uint64_t)st->st_mtim.tv_sec,
        (uint64_t)st->st_mtim.tv_nsec,
        (uint64_t)st->st_ctim.tv_sec,
        (uint64_t)st->st_ctim.tv_nsec,
    };

    return hash_bytes(HASH_START, state, sizeof(state));
}
