/* SPDX-License-Identifier: Apache-2.0 */
/* The slot of a running transfer: one writer, any number of readers. */
#include "stats/transfer.h"

#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

#define MARK_US UINT64_C(1000000)
#define STILL_US (2 * MARK_US) /* without progress: it stands still */
#define TRIES 100 /* at a slot whose writer may have died in the middle */

const char *const transfer_operations[TRANSFER_OPERATIONS] = {
    [TRANSFER_NONE] = "none",   [TRANSFER_READ] = "read",
    [TRANSFER_WRITE] = "write", [TRANSFER_ZERO] = "zero",
    [TRANSFER_FLUSH] = "flush", [TRANSFER_EXTENTS] = "extents",
};

uint64_t
transfer_hash(const char *id)
{
    return hash_bytes(HASH_START, id, strlen(id));
}

/* A reader that sees any part of a change also sees that the version was odd
 * before it: hence acquire and release everywhere. */
static uint64_t
get(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_acquire);
}

static void
put(_Atomic uint64_t *to, uint64_t value)
{
    atomic_store_explicit(to, value, memory_order_release);
}

/* A change lies between an odd version and the next even one.  A slot whose
 * writer was killed is odd when the next one begins. */
static void
change(struct transfer_slot *slot)
{
    put(&slot->version, get(&slot->version) | 1);
}

static void
changed(struct transfer_slot *slot)
{
    put(&slot->version, get(&slot->version) + 1);
}

static void
put_words(struct transfer_slot *slot, const struct transfer *transfer)
{
    uint64_t words[TRANSFER_WORDS] = {0};

    memcpy(words, transfer, sizeof(*transfer));
    for (size_t i = 0; i < TRANSFER_WORDS; i++)
        put(&slot->words[i], words[i]);
}

void
transfer_begin(struct transfer_slot *slot, const struct transfer *transfer)
{
    const uint64_t now_us = clock_us();

    if (slot == NULL)
        return;
    change(slot);
    put(&slot->done, 0);
    put(&slot->done_us, now_us);
    put(&slot->older_us, now_us);
    put(&slot->older_done, 0);
    put(&slot->newer_us, now_us);
    put(&slot->newer_done, 0);
    put_words(slot, transfer);
    changed(slot);
}

void
transfer_update(struct transfer_slot *slot, const struct transfer *transfer)
{
    if (slot == NULL)
        return;
    change(slot);
    put_words(slot, transfer);
    changed(slot);
}

void
transfer_progress(struct transfer_slot *slot, uint64_t done)
{
    uint64_t now_us;

    if (slot == NULL)
        return;
    now_us = clock_us();
    put(&slot->done, done);
    put(&slot->done_us, now_us);
    if (now_us - get(&slot->newer_us) < MARK_US)
        return;
    change(slot);
    put(&slot->older_us, get(&slot->newer_us));
    put(&slot->older_done, get(&slot->newer_done));
    put(&slot->newer_us, now_us);
    put(&slot->newer_done, done);
    changed(slot);
}

void
transfer_end(struct transfer_slot *slot)
{
    const struct transfer none = {.operation = TRANSFER_NONE};

    transfer_update(slot, &none);
}

static void
find_rate(struct transfer *transfer, uint64_t done_us, uint64_t since_us,
          uint64_t since_done)
{
    const uint64_t now_us = clock_us();

    transfer->rate = 0;
    if (now_us > since_us && now_us < done_us + STILL_US &&
        transfer->done > since_done)
        transfer->rate = (uint64_t)((double)(transfer->done - since_done) *
                                    1e6 / (double)(now_us - since_us));
}

/* The memory is another process's: its strings end, and its operation is one.
 */
static bool
make_sound(struct transfer *transfer)
{
    transfer->id[sizeof(transfer->id) - 1] = '\0';
    transfer->request[sizeof(transfer->request) - 1] = '\0';
    transfer->method[sizeof(transfer->method) - 1] = '\0';
    transfer->client[sizeof(transfer->client) - 1] = '\0';
    return transfer->operation > TRANSFER_NONE &&
           transfer->operation < TRANSFER_OPERATIONS;
}

bool
transfer_read(struct transfer *ret, const struct transfer_slot *slot)
{
    for (int i = 0; i < TRIES; i++) {
        const uint64_t version = get(&slot->version);
        uint64_t words[TRANSFER_WORDS];
        uint64_t older_us, older_done, done, done_us;

        for (size_t w = 0; w < TRANSFER_WORDS; w++)
            words[w] = get(&slot->words[w]);
        older_us = get(&slot->older_us);
        older_done = get(&slot->older_done);
        done = get(&slot->done);
        done_us = get(&slot->done_us);
        if (version % 2 != 0 || get(&slot->version) != version)
            continue;
        memcpy(ret, words, sizeof(*ret));
        if (!make_sound(ret))
            return false;
        ret->done = done;
        find_rate(ret, done_us, older_us, older_done);
        return true;
    }
    return false;
}
