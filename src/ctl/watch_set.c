/* SPDX-License-Identifier: Apache-2.0 */
/* What runs, compared with what ran. */
#include "ctl/watch_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int
watch_set_init(struct watch_set *set, size_t room, struct error *err)
{
    struct watch_list *lists[] = {&set->running, &set->gone, &set->before};

    *set = (struct watch_set){.room = room};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        /* Of memory that is not touched there is none. */
        lists[i]->items = calloc(room, sizeof(struct watch_item));
        if (lists[i]->items == NULL) {
            error_errno(err, 500, "memory for %zu transfers", room);
            watch_set_done(set);
            return -1;
        }
    }
    return 0;
}

void
watch_set_done(struct watch_set *set)
{
    free(set->running.items);
    free(set->gone.items);
    free(set->before.items);
    *set = (struct watch_set){0};
}

void
watch_set_begin(struct watch_set *set)
{
    const struct watch_list before = set->running;

    set->running = set->before;
    set->before = before;
    set->running.count = 0;
    set->gone.count = 0;
}

void
watch_set_add(struct watch_set *set, const struct transfer *transfer)
{
    if (set->running.count < set->room)
        set->running.items[set->running.count++] =
            (struct watch_item){.transfer = *transfer};
}

/* A request's name is the web server's, and need not be the only one of its
 * kind: the ticket counts as well. */
static int
compare(const void *left, const void *right)
{
    const struct transfer *a = &((const struct watch_item *)left)->transfer;
    const struct transfer *b = &((const struct watch_item *)right)->transfer;
    int order = strcmp(a->request, b->request);

    if (a->start_ms != b->start_ms)
        return a->start_ms < b->start_ms ? -1 : 1;
    if (order == 0 && a->id_hash != b->id_hash)
        order = a->id_hash < b->id_hash ? -1 : 1;
    return order;
}

/* The same transfer, now and before. */
static void
go_on(struct watch_item *now, const struct watch_item *before)
{
    now->looks = before->looks + 1;
    now->told_ms = before->told_ms;
    now->told_tenths = before->told_tenths;
}

void
watch_set_end(struct watch_set *set, uint64_t now_ms)
{
    const struct watch_list *before = &set->before;
    size_t b = 0;

    qsort(set->running.items, set->running.count, sizeof(struct watch_item),
          compare);
    for (size_t i = 0; i < set->running.count; i++) {
        struct watch_item *item = &set->running.items[i];

        while (b < before->count && compare(&before->items[b], item) < 0)
            set->gone.items[set->gone.count++] = before->items[b++];
        item->looks = 1;
        item->seen_ms = now_ms;
        if (b < before->count && compare(&before->items[b], item) == 0)
            go_on(item, &before->items[b++]);
    }
    while (b < before->count)
        set->gone.items[set->gone.count++] = before->items[b++];
}

uint64_t
watch_item_age_s(const struct watch_item *item)
{
    const uint64_t start_ms = item->transfer.start_ms;

    /* Clocks are set back. */
    return item->seen_ms > start_ms ? (item->seen_ms - start_ms) / 1000 : 0;
}
