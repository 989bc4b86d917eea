/* SPDX-License-Identifier: Apache-2.0 */
/* Slots and locks as byte ranges of one file. */
#include "ticket/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#define LOCKS_NAME "locks"
#define READERS_START ((uint64_t)0)
#define WRITERS_START ((uint64_t)1 << 31)
#define IMAGES_START ((uint64_t)1 << 32)
#define IMAGES_COUNT ((uint64_t)1 << 62) /* all offsets stay below 2^63 */

/* A new open file description: locks of one do not conflict with each other. */
static int
open_locks(const struct limits *limits, struct error *err)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", limits->run_dir, LOCKS_NAME);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        return error_errno(err, 500, "open %s", path);
    return fd;
}

/* 1: it is ours; 0: somebody has it; -1: err is set. */
static int
try_lock(struct limits_hold *hold, const struct limits *limits, uint64_t byte,
         short type, struct error *err)
{
    struct flock lock = {
        .l_type = type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)byte,
        .l_len = 1,
    };

    if (hold->fd == -1 && (hold->fd = open_locks(limits, err)) == -1)
        return -1;
    if (fcntl(hold->fd, F_OFD_SETLK, &lock) == 0)
        return 1;
    if (errno == EAGAIN || errno == EACCES)
        return 0;
    return error_errno(err, 500, "lock byte %llu of %s/%s",
                       (unsigned long long)byte, limits->run_dir, LOCKS_NAME);
}

static int
take_slot(struct limits_hold *hold, const struct limits *limits, uint64_t start,
          unsigned count, const char *refusal, struct error *err)
{
    for (unsigned i = 0; i < count; i++) {
        const int got = try_lock(hold, limits, start + i, F_WRLCK, err);

        if (got != 0)
            return got == 1 ? 0 : -1;
    }
    return error_set(err, 503, "%s", refusal);
}

int
limits_prepare(const struct limits *limits, struct error *err)
{
    struct limits_hold hold = LIMITS_HOLD_NONE;
    int got;

    if (mkdir(limits->run_dir, 0755) == -1 && errno != EEXIST)
        return error_errno(err, 500, "make run directory %s", limits->run_dir);
    got =
        try_lock(&hold, limits, UINT64_C(0x7fffffffffffffff) - 1, F_RDLCK, err);
    limits_release(&hold);
    return got == -1 ? -1 : 0;
}

int
limits_lock_image(struct limits_hold *hold, const struct limits *limits,
                  uint64_t image_key, bool shared, struct error *err)
{
    const uint64_t byte = IMAGES_START + image_key % IMAGES_COUNT;
    const int got =
        try_lock(hold, limits, byte, shared ? F_RDLCK : F_WRLCK, err);

    if (got == 0)
        return error_set(err, 409, "image busy");
    return got == 1 ? 0 : -1;
}

int
limits_take_reader(struct limits_hold *hold, const struct limits *limits,
                   struct error *err)
{
    return take_slot(hold, limits, READERS_START, limits->max_readers,
                     "too many parallel reads", err);
}

int
limits_take_writer(struct limits_hold *hold, const struct limits *limits,
                   struct error *err)
{
    return take_slot(hold, limits, WRITERS_START, limits->max_writers,
                     "too many parallel writes", err);
}

void
limits_release(struct limits_hold *hold)
{
    if (hold->fd != -1)
        close(hold->fd);
    hold->fd = -1;
}
