/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transfers that run, look after look: which ones are new, and which
 * have gone.  Pure; one thread.  A look is begin, add for each, end.
 */
#ifndef CTL_WATCH_SET_H
#define CTL_WATCH_SET_H

#include <stddef.h>
#include <stdint.h>

#include "stats/transfer.h"

struct error;

struct watch_item {
    struct transfer transfer; /* as it was last seen */
    unsigned looks;           /* at which it was there */
    uint64_t seen_ms;         /* when that was; Unix time, as all here */
    /* What watch_lines has said of it: when (0: nothing), and how much was done,
     * in tenths. */
    uint64_t told_ms;
    uint64_t told_tenths;
};

struct watch_list {
    struct watch_item *items;
    size_t count;
};

struct watch_set {
    size_t room;
    struct watch_list running; /* by start, then by request */
    struct watch_list gone;    /* since the look before, in the same order */
    struct watch_list before;  /* inner: what ran at that look */
};

/* Room for so many; more are not taken. */
int watch_set_init(struct watch_set *set, size_t room, struct error *err);
void watch_set_done(struct watch_set *set);

void watch_set_begin(struct watch_set *set);
void watch_set_add(struct watch_set *set, const struct transfer *transfer);
void watch_set_end(struct watch_set *set, uint64_t now_ms);

/* How long it had been running when it was seen. */
uint64_t watch_item_age_s(const struct watch_item *item);

#endif
