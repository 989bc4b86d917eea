/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that run, and the times of those that ended. */
#include "ticket/activity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/span.h"
#include "ticket/lock_file.h"
#include "ticket/ticket.h"

#define STAMPS_NAME "stamps"
#define STAMPS_COUNT 65536 /* of 8 bytes: milliseconds since 1970 */

/* Of a ticket, in whatever state its file is: a time from before its last
 * change does not count. */
static uint64_t
hash_id(const char *id)
{
    return hash_bytes(HASH_START, id, strlen(id));
}

static uint64_t
request_byte(const char *id)
{
    return lock_byte(LOCK_REQUESTS, hash_id(id));
}

static bool
is_endless(const struct ticket *ticket)
{
    return ticket->idle_timeout_s == TICKET_FOREVER;
}

/* The table; ENOENT if it is not there and may not be made. */
static int
open_stamps(const char *run_dir, int flags, struct error *err)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/" STAMPS_NAME, run_dir);
    fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        error_errno(err, 500, "open %s", path);
    return fd;
}

static off_t
stamp_offset(uint64_t transfer)
{
    return (off_t)(transfer % STAMPS_COUNT * sizeof(uint64_t));
}

/* Writes the present time. */
static int
stamp(const struct activity *activity, struct error *err)
{
    const uint64_t now_ms = clock_wall_ms();
    const int fd = open_stamps(activity->run_dir, O_RDWR | O_CREAT, err);
    int rc = 0;

    if (fd == -1)
        return -1;
    if (pwrite(fd, &now_ms, sizeof(now_ms), stamp_offset(activity->transfer)) !=
        sizeof(now_ms))
        rc = error_errno(err, 500, "write %s/" STAMPS_NAME, activity->run_dir);
    close(fd);
    return rc;
}

/* When it was last stamped; 0: never. */
static int
read_stamp(const char *run_dir, uint64_t transfer, uint64_t *ret,
           struct error *err)
{
    const int fd = open_stamps(run_dir, O_RDONLY, err);
    ssize_t got;

    *ret = 0;
    if (fd == -1)
        return errno == ENOENT ? 0 : -1;
    got = pread(fd, ret, sizeof(*ret), stamp_offset(transfer));
    if (got != sizeof(*ret))
        *ret = 0;
    close(fd);
    return got == -1 ? error_errno(err, 500, "read %s/" STAMPS_NAME, run_dir)
                     : 0;
}

/* Those that run are looked at first: one that ends is stamped before it is
 * gone. */
static int
is_idle(const char *run_dir, int lock_fd, const struct ticket *ticket,
        struct error *err)
{
    const uint64_t transfer = hash_id(ticket->image.owner);
    const int runs =
        lock_is_held(lock_fd, lock_byte(LOCK_TRANSFERS, transfer), err);
    const uint64_t now_ms = clock_wall_ms();
    uint64_t last_ms;

    if (runs != 0)
        return runs == 1 ? 0 : -1;
    if (read_stamp(run_dir, transfer, &last_ms, err) == -1)
        return -1;
    if (last_ms < ticket->changed_ms)
        last_ms = ticket->changed_ms;
    return last_ms < now_ms &&
           (now_ms - last_ms) / 1000 >= ticket->idle_timeout_s;
}

int
activity_begin(struct activity *activity, const char *run_dir, const char *id,
               struct error *err)
{
    *activity = (struct activity){.run_dir = run_dir};
    activity->fd = lock_file_open(run_dir, err);
    if (activity->fd == -1)
        return -1;
    return lock_try(activity->fd, request_byte(id), true, err) == -1 ? -1 : 0;
}

int
activity_is_idle(const struct activity *activity, const struct ticket *ticket,
                 struct error *err)
{
    if (is_endless(ticket))
        return 0;
    return is_idle(activity->run_dir, activity->fd, ticket, err);
}

int
activity_count(struct activity *activity, const struct ticket *ticket,
               struct error *err)
{
    if (is_endless(ticket))
        return 0;
    activity->transfer = hash_id(ticket->image.owner);
    if (lock_try(activity->fd, lock_byte(LOCK_TRANSFERS, activity->transfer),
                 true, err) == -1)
        return -1;
    activity->is_counted = true;
    return stamp(activity, err);
}

void
activity_end(struct activity *activity)
{
    struct error ignored; /* it was stamped when it began */

    if (activity->is_counted)
        stamp(activity, &ignored);
    if (activity->fd != -1)
        close(activity->fd);
    activity->fd = -1;
}

int
activity_has_requests(const char *run_dir, const char *id, struct error *err)
{
    const int fd = lock_file_find(run_dir, err);
    int rc;

    if (fd == -1)
        return errno == ENOENT ? 0 : -1;
    rc = lock_is_held(fd, request_byte(id), err);
    close(fd);
    return rc;
}

int
activity_has_lapsed(const char *run_dir, const struct ticket *ticket,
                    struct error *err)
{
    int fd, rc;

    if (is_endless(ticket))
        return 0;
    fd = lock_file_find(run_dir, err);
    /* No server has run: the ticket's age alone counts. */
    if (fd == -1 && errno == ENOENT)
        return clock_wall_ms() > ticket->changed_ms &&
               (clock_wall_ms() - ticket->changed_ms) / 1000 >=
                   ticket->idle_timeout_s;
    if (fd == -1)
        return -1;
    rc = is_idle(run_dir, fd, ticket, err);
    close(fd);
    return rc;
}
