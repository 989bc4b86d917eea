/* SPDX-License-Identifier: Apache-2.0 */
/* Slots and locks, had at once or waited for. */
#include "ticket/limits.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/wait.h"
#include "ticket/lock_file.h"

/* Between two tries of a request that waits: nothing tells when a lock of
 * another process goes. */
#define TRY_MS 5
#define US_A_SECOND UINT64_C(1000000)
#define BLOCKS_HALF (UINT64_C(1) << 59) /* of the area LOCK_BLOCKS */

/* Any of count bytes. */
struct wanted {
    uint64_t first;
    unsigned count;
    bool shared;
    int status; /* of the refusal */
    const char *refusal;
};

int
limits_prepare(const struct limits *limits, struct error *err)
{
    int fd, got;

    if (mkdir(limits->run_dir, 0755) == -1 && errno != EEXIST)
        return error_errno(err, 500, "make run directory %s", limits->run_dir);
    fd = lock_file_open(limits->run_dir, err);
    if (fd == -1)
        return -1;
    got = lock_try(fd, lock_byte(LOCK_PROBE, 0), true, err);
    close(fd);
    return got == -1 ? -1 : 0;
}

/* 1: one of them is ours; 0: others have them all; -1: err is set. */
static int
try_any(int fd, const struct wanted *wanted, struct error *err)
{
    int got = 0;

    for (unsigned i = 0; i < wanted->count && got == 0; i++)
        got = lock_try(fd, wanted->first + i, wanted->shared, err);
    return got;
}

static int
refuse(const struct wanted *wanted, struct error *err)
{
    return error_set(err, wanted->status, "%s", wanted->refusal);
}

/* A moment on the way to the deadline, which begins now if it is 0.  -1: it has
 * come, or the client left. */
static int
wait_a_moment(const struct limits_hold *hold, uint64_t *deadline_us,
              unsigned timeout_s, const struct wanted *wanted,
              struct error *err)
{
    struct pollfd client = {.fd = hold->client_fd, .events = POLLRDHUP};
    const uint64_t now_us = clock_us();
    int gone;

    if (*deadline_us == 0)
        *deadline_us = now_us + timeout_s * US_A_SECOND;
    if (now_us >= *deadline_us)
        return refuse(wanted, err);
    gone = wait_fds(&client, 1, TRY_MS, err);
    if (gone > 0)
        return error_set(err, ERROR_CLIENT_GONE,
                         "the client has gone while it waited: %s",
                         wanted->refusal);
    return gone;
}

static int
queue(struct limits_hold *hold, const struct limits *limits,
      const struct wanted *wanted, struct error *err)
{
    const uint64_t gate = lock_byte(LOCK_GATES, wanted->first);
    const int is_held = lock_is_held(hold->fd, gate, err);
    bool at_gate = false;
    int got = 0, rc = -1;

    if (is_held == -1)
        return -1;
    /* Mostly there is nobody before us, and it is free. */
    if (!is_held)
        got = try_any(hold->fd, wanted, err);
    if (got != 0)
        return got == 1 ? 0 : -1;
    for (;;) {
        if (!at_gate) {
            got = lock_try(hold->fd, gate, false, err);
            at_gate = got == 1;
        }
        if (at_gate)
            got = try_any(hold->fd, wanted, err);
        if (got == 1)
            rc = 0;
        if (got != 0 ||
            wait_a_moment(hold, &hold->deadline_us, limits->queue_timeout_s,
                          wanted, err) == -1)
            break;
        got = 0;
    }
    if (at_gate)
        lock_drop(hold->fd, gate);
    return rc;
}

static int
acquire(struct limits_hold *hold, const struct limits *limits,
        const struct wanted *wanted, struct error *err)
{
    int got;

    hold->is_locked = true;
    if (limits->queue_timeout_s > 0)
        return queue(hold, limits, wanted, err);
    got = try_any(hold->fd, wanted, err);
    if (got == 0)
        return refuse(wanted, err);
    return got == 1 ? 0 : -1;
}

int
limits_lock_image(struct limits_hold *hold, const struct limits *limits,
                  uint64_t image_key, bool shared, struct error *err)
{
    const struct wanted wanted = {lock_byte(LOCK_IMAGES, image_key), 1, shared,
                                  409, "image busy"};

    return acquire(hold, limits, &wanted, err);
}

/* The first slot of that area, or of that area for the image alone. */
static uint64_t
first_slot(const struct limits *limits, enum lock_area area, uint64_t image_key)
{
    const uint64_t id[] = {area, image_key};

    if (!limits->per_image)
        return lock_byte(area, 0);
    return lock_byte(LOCK_IMAGE_SLOTS, hash_bytes(HASH_START, id, sizeof(id)));
}

int
limits_take_reader(struct limits_hold *hold, const struct limits *limits,
                   uint64_t image_key, struct error *err)
{
    const struct wanted wanted = {first_slot(limits, LOCK_READERS, image_key),
                                  limits->max_readers, false, 503,
                                  "too many parallel reads"};

    return acquire(hold, limits, &wanted, err);
}

int
limits_take_writer(struct limits_hold *hold, const struct limits *limits,
                   uint64_t image_key, struct error *err)
{
    const struct wanted wanted = {first_slot(limits, LOCK_WRITERS, image_key),
                                  limits->max_writers, false, 503,
                                  "too many parallel writes"};

    return acquire(hold, limits, &wanted, err);
}

/* Blocks that others have are waited for without a gate: neighbours in a block
 * are few. */
static int
wait_for_blocks(struct limits_hold *hold, const struct limits *limits,
                uint64_t byte, uint64_t count, bool shared, struct error *err)
{
    static const struct wanted wanted = {.status = 409,
                                         .refusal = "image busy"};
    uint64_t deadline_us = 0;
    int got = 0;

    while (count > 0 &&
           (got = lock_try_range(hold->fd, byte, count, shared, err)) == 0)
        if (wait_a_moment(hold, &deadline_us, limits->block_timeout_s, &wanted,
                          err) == -1)
            return -1;
    return got == -1 ? -1 : 0;
}

int
limits_lock_blocks(struct limits_hold *hold, const struct limits *limits,
                   uint64_t image_key, const struct limits_blocks *blocks,
                   struct error *err)
{
    const uint64_t base = lock_byte(LOCK_BLOCKS, 0) + image_key % BLOCKS_HALF;
    /* An image with more blocks has some in common. */
    const uint64_t first = base + blocks->first % BLOCKS_HALF;
    const uint64_t last = base + blocks->last % BLOCKS_HALF;
    const bool is_one = blocks->first == blocks->last;
    const bool half_last = blocks->half_last && !is_one;
    const bool half_first = blocks->half_first || (blocks->half_last && is_one);
    const uint64_t from = first + half_first;

    if (wait_for_blocks(hold, limits, first, half_first, false, err) == -1 ||
        wait_for_blocks(hold, limits, from, last + 1 - half_last - from, true,
                        err) == -1)
        return -1;
    return wait_for_blocks(hold, limits, last, half_last, false, err);
}

void
limits_release(struct limits_hold *hold)
{
    if (hold->is_locked)
        lock_drop_limits(hold->fd);
    hold->is_locked = false;
}
