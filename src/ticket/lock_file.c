/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a file as locks. */
#include "ticket/lock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"

#define NAME "locks"
#define POWER(n) (UINT64_C(1) << (n))

/* One after the other, and all below 2^63, the end of every file. */
static const struct {
    uint64_t start, count;
} areas[] = {
    [LOCK_READERS] = {0, POWER(31)},
    [LOCK_WRITERS] = {POWER(31), POWER(31)},
    [LOCK_IMAGES] = {POWER(32), POWER(62) - POWER(32)},
    [LOCK_IMAGE_SLOTS] = {POWER(62), POWER(60)},
    [LOCK_BLOCKS] = {POWER(62) + POWER(60), POWER(60)},
    [LOCK_GATES] = {POWER(62) + 2 * POWER(60), POWER(59)},
    [LOCK_REQUESTS] = {POWER(62) + 5 * POWER(59), POWER(59)},
    [LOCK_TRANSFERS] = {POWER(62) + 6 * POWER(59), POWER(59)},
    [LOCK_PROBE] = {POWER(63) - 2, 1},
};

uint64_t
lock_byte(enum lock_area area, uint64_t index)
{
    return areas[area].start + index % areas[area].count;
}

static int
open_file(const char *run_dir, int flags, struct error *err)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/" NAME, run_dir);
    fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (fd == -1)
        return error_errno(err, 500, "open %s", path);
    return fd;
}

int
lock_file_open(const char *run_dir, struct error *err)
{
    return open_file(run_dir, O_CREAT, err);
}

int
lock_file_find(const char *run_dir, struct error *err)
{
    return open_file(run_dir, 0, err);
}

static struct flock
bytes(uint64_t start, uint64_t count, short type)
{
    return (struct flock){
        .l_type = type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)start,
        .l_len = (off_t)count,
    };
}

int
lock_try_range(int fd, uint64_t byte, uint64_t count, bool shared,
               struct error *err)
{
    struct flock lock = bytes(byte, count, shared ? F_RDLCK : F_WRLCK);

    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 1;
    if (errno == EAGAIN || errno == EACCES)
        return 0;
    return error_errno(err, 500, "lock byte %llu of run-dir/" NAME,
                       (unsigned long long)byte);
}

int
lock_try(int fd, uint64_t byte, bool shared, struct error *err)
{
    return lock_try_range(fd, byte, 1, shared, err);
}

void
lock_drop(int fd, uint64_t byte)
{
    struct flock lock = bytes(byte, 1, F_UNLCK);

    fcntl(fd, F_OFD_SETLK, &lock);
}

void
lock_drop_limits(int fd)
{
    /* The areas before LOCK_REQUESTS are all that is meant. */
    struct flock lock = bytes(0, areas[LOCK_REQUESTS].start, F_UNLCK);

    fcntl(fd, F_OFD_SETLK, &lock);
}

int
lock_is_held(int fd, uint64_t byte, struct error *err)
{
    struct flock lock = bytes(byte, 1, F_WRLCK);

    if (fcntl(fd, F_OFD_GETLK, &lock) == -1)
        return error_errno(err, 500, "look at byte %llu of run-dir/" NAME,
                           (unsigned long long)byte);
    return lock.l_type != F_UNLCK;
}
