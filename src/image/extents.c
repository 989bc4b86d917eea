/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merge: a cursor runs over what each context said, and every run on which
 * both keep their flags joins the extent before it or begins a new one.
 */
#include "image/extents.h"

#include <assert.h>
#include <inttypes.h>

#include "base/error.h"
#include "base/span.h"

/* Stand in for a context that said nothing: a client must read it all. */
static const struct extents_entry unknown_zero = {.length = UINT64_MAX};
static const struct extents_entry unknown_dirty = {
    .length = UINT64_MAX,
    .flags = EXTENTS_FLAG_DIRTY,
};

struct cursor {
    const struct extents_entry *next;
    uint64_t flags;
    uint64_t left; /* bytes that have these flags */
};

/* Returns how many of limit bytes the reply speaks of; if of none, the cursor
 * runs over unknown instead. */
static uint64_t
cursor_init(struct cursor *cursor, const struct extents_reply *reply,
            const struct extents_entry *unknown, uint64_t limit)
{
    uint64_t left = limit;

    for (size_t i = 0; reply != NULL && i < reply->count; i++)
        left -= span_min(reply->entries[i].length, left);
    *cursor = (struct cursor){.next = left < limit ? reply->entries : unknown};
    return limit - left;
}

/* Not to be called once all that the reply covers is taken. */
static void
cursor_fill(struct cursor *cursor)
{
    while (cursor->left == 0) {
        cursor->flags = cursor->next->flags;
        cursor->left = cursor->next->length;
        cursor->next++;
    }
}

void
extents_init(struct extents *x, uint64_t size, extents_emit *emit, void *opaque)
{
    *x = (struct extents){.size = size, .emit = emit, .opaque = opaque};
}

int
extents_add_run(struct extents *x, uint64_t length, bool zero, bool dirty,
                struct error *err)
{
    assert(length <= x->size - x->position);
    if (length == 0)
        return 0;
    if (x->has_pending && x->pending.zero == zero &&
        x->pending.dirty == dirty) {
        x->pending.length += length;
    } else {
        if (x->has_pending && x->emit(x->opaque, &x->pending, err) == -1)
            return -1;
        x->has_pending = true;
        x->pending = (struct extent){
            .start = x->position,
            .length = length,
            .zero = zero,
            .dirty = dirty,
        };
    }
    x->position += length;
    return 0;
}

int
extents_add(struct extents *x, const struct extents_reply *zero,
            const struct extents_reply *dirty, struct error *err)
{
    const uint64_t limit = x->size - x->position;
    struct cursor z, d;
    const uint64_t zero_covers = cursor_init(&z, zero, &unknown_zero, limit);
    const uint64_t dirty_covers = cursor_init(&d, dirty, &unknown_dirty, limit);
    uint64_t left = limit;

    if (zero_covers == 0 && dirty_covers == 0)
        return error_set(err, 500, "block status at %" PRIu64 ": empty answer",
                         x->position);
    if (zero_covers > 0)
        left = span_min(left, zero_covers);
    if (dirty_covers > 0)
        left = span_min(left, dirty_covers);
    while (left > 0) {
        uint64_t run;

        cursor_fill(&z);
        cursor_fill(&d);
        run = span_min(left, span_min(z.left, d.left));
        if (extents_add_run(x, run, z.flags & EXTENTS_FLAG_ZERO,
                            d.flags & EXTENTS_FLAG_DIRTY, err) == -1)
            return -1;
        z.left -= run;
        d.left -= run;
        left -= run;
    }
    return 0;
}

int
extents_end(struct extents *x, struct error *err)
{
    assert(x->position == x->size);
    return x->has_pending ? x->emit(x->opaque, &x->pending, err) : 0;
}
