/* SPDX-License-Identifier: Apache-2.0 */
/* Block status of an NBD export. */
#include "image/nbd_map.h"

#include <inttypes.h>
#include <string.h>

#include "base/span.h"
#include "image/extents.h"
#include "image/nbd_slot.h"

/* NBD lengths have 32 bits; whole MiB suit every server's block size. */
#define STATUS_COMMAND_MAX ((uint64_t)4095 << 20)

/* What one block status command brought.  The arrays fill the worker's buffer;
 * entries past their end are dropped, and asked for again. */
struct status {
    const char *dirty_context;
    struct extents_entry *entries[2]; /* STATUS_ZERO, STATUS_DIRTY */
    size_t count[2];
    size_t room; /* entries in each array */
};
enum { STATUS_ZERO, STATUS_DIRTY };

/* Which array the context's answer goes to; -1: not one that we asked for. */
static int
status_index(const struct status *status, const char *context)
{
    if (strcmp(context, NBD_CONTEXT_ZERO) == 0)
        return STATUS_ZERO;
    if (status->dirty_context != NULL &&
        strcmp(context, status->dirty_context) == 0)
        return STATUS_DIRTY;
    return -1;
}

static void
status_add(struct status *status, int which, uint64_t length, uint64_t flags)
{
    if (status->count[which] < status->room)
        status->entries[which][status->count[which]++] =
            (struct extents_entry){.length = length, .flags = flags};
}

#ifdef LIBNBD_HAVE_NBD_BLOCK_STATUS_64
static int
status_callback(void *opaque, const char *context, uint64_t offset,
                nbd_extent *entries, size_t count, int *error)
{
    struct status *status = opaque;
    const int which = status_index(status, context);

    (void)offset;
    (void)error;
    for (size_t i = 0; which != -1 && i < count; i++)
        status_add(status, which, entries[i].length, entries[i].flags);
    return 0;
}
#else
/* Pairs of 32-bit length and flags (libnbd before 1.18). */
static int
status_callback(void *opaque, const char *context, uint64_t offset,
                uint32_t *entries, size_t count, int *error)
{
    struct status *status = opaque;
    const int which = status_index(status, context);

    (void)offset;
    (void)error;
    for (size_t i = 0; which != -1 && i + 1 < count; i += 2)
        status_add(status, which, entries[i], entries[i + 1]);
    return 0;
}
#endif

static int
status_ask(struct nbd_slot *slot, struct status *status, uint64_t offset,
           uint64_t size, struct error *err)
{
    const uint64_t count = span_min(size - offset, STATUS_COMMAND_MAX);
    const nbd_completion_callback done =
        nbd_slot_begin(slot, COMMAND_BLOCK_STATUS, offset, count);
    int64_t cookie;

    status->count[STATUS_ZERO] = status->count[STATUS_DIRTY] = 0;
#ifdef LIBNBD_HAVE_NBD_BLOCK_STATUS_64
    cookie = nbd_aio_block_status_64(
        slot->conn->nbd, count, offset,
        (nbd_extent64_callback){.callback = status_callback,
                                .user_data = status},
        done, 0);
#else
    cookie = nbd_aio_block_status(
        slot->conn->nbd, count, offset,
        (nbd_extent_callback){.callback = status_callback, .user_data = status},
        done, 0);
#endif
    if (nbd_slot_issued(slot, cookie, "map", err) == -1)
        return -1;
    return nbd_slot_wait(slot, "map", err);
}

int
nbd_map_step(const struct nbd_map *map, struct nbd_slot *slot,
             struct extents *x, struct error *err)
{
    const size_t room = map->buffer_size / 2 / sizeof(struct extents_entry);
    struct extents_entry *entries = map->buffer;
    struct status status = {
        .dirty_context = map->dirty_context,
        .entries = {entries, entries + room},
        .room = room,
    };
    const bool has_zero =
        nbd_can_meta_context(slot->conn->nbd, NBD_CONTEXT_ZERO) == 1;
    struct extents_reply zero, dirty;

    if (!has_zero && map->dirty_context == NULL)
        return extents_add_run(x, x->size - x->position, false, true, err);
    if (status_ask(slot, &status, x->position, x->size, err) == -1)
        return -1;
    zero = (struct extents_reply){status.entries[STATUS_ZERO],
                                  status.count[STATUS_ZERO]};
    dirty = (struct extents_reply){status.entries[STATUS_DIRTY],
                                   status.count[STATUS_DIRTY]};
    return extents_add(x, has_zero ? &zero : NULL,
                       map->dirty_context != NULL ? &dirty : NULL, err);
}
