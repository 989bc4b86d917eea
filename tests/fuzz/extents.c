/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image/extents: the replies of a server, merged, against a map of every unit
 * of the image.  An input is the size in units (2 bytes), what one unit is, at
 * which extent the client leaves (0: never), and the replies: for each context
 * a byte (how many entries, whether it was granted), and for each entry its
 * length in units and its flags.
 */
#include "image/extents.h"

#include "base/error.h"
#include "fuzz.h"

#define UNITS_MAX 2048
#define ENTRIES_MAX 31
#define GONE 499

/* What the map knows of a unit. */
#define KNOWN 1
#define ZERO 2
#define DIRTY 4

struct map {
    uint8_t units[UNITS_MAX];
    size_t size, position; /* in units */
    uint64_t unit;         /* bytes */
};

/* What came out. */
struct list {
    struct map *map;
    uint64_t end;
    unsigned count, leave_at;
    bool has_last, zero, dirty;
};

static int
emit(void *opaque, const struct extent *extent, struct error *err)
{
    struct list *list = opaque;
    struct map *map = list->map;

    check(extent->start == list->end && extent->length > 0);
    check(extent->start % map->unit == 0 && extent->length % map->unit == 0);
    check(extent->length / map->unit <= map->size - list->end / map->unit);
    check(!list->has_last || list->zero != extent->zero ||
          list->dirty != extent->dirty);
    list->end += extent->length;
    for (uint64_t i = extent->start / map->unit; i < list->end / map->unit; i++)
        check(map->units[i] == (KNOWN | (extent->zero ? ZERO : 0) |
                                (extent->dirty ? DIRTY : 0)));
    list->has_last = true;
    list->zero = extent->zero;
    list->dirty = extent->dirty;
    if (++list->count == list->leave_at)
        return error_set(err, GONE, "gone");
    return 0;
}

/* What one context says. */
struct answer {
    bool is_granted;
    size_t count;
    struct extents_entry *entries;
};

static void
answer_take(struct answer *ret, struct input *input, uint64_t unit)
{
    const uint8_t head = input_byte(input);

    ret->is_granted = (head & 0x80) == 0;
    ret->count = head % (ENTRIES_MAX + 1);
    /* No longer than it is, so that a read past its end is seen. */
    ret->entries = malloc(ret->count * sizeof(*ret->entries));
    check(ret->entries != NULL || ret->count == 0);
    for (size_t i = 0; i < ret->count; i++) {
        const uint8_t length = input_byte(input);

        ret->entries[i].flags = input_byte(input);
        switch (length) {
        case 0xff:
            ret->entries[i].length = UINT64_MAX;
            break;
        case 0xfe:
            ret->entries[i].length = UINT64_C(1) << 63;
            break;
        case 0xfd:
            ret->entries[i].length = UNITS_MAX * unit;
            break;
        default:
            ret->entries[i].length = length * unit;
        }
    }
}

/* Puts down at to[], a unit each, what the context says; how many units. */
static size_t
answer_spell(const struct answer *answer, uint64_t unit, uint64_t *to,
             size_t limit)
{
    size_t used = 0;

    for (size_t i = 0; answer->is_granted && i < answer->count; i++)
        for (uint64_t left = answer->entries[i].length / unit;
             left > 0 && used < limit; left--)
            to[used++] = answer->entries[i].flags;
    return used;
}

/* The same with the map.  false: the answer says nothing. */
static bool
map_add(struct map *map, const struct answer *zero, const struct answer *dirty)
{
    static uint64_t zeroes[UNITS_MAX], dirts[UNITS_MAX];
    const size_t limit = map->size - map->position;
    const size_t zero_covers = answer_spell(zero, map->unit, zeroes, limit);
    const size_t dirty_covers = answer_spell(dirty, map->unit, dirts, limit);
    size_t covered = zero_covers > dirty_covers ? zero_covers : dirty_covers;

    if (zero_covers > 0 && zero_covers < covered)
        covered = zero_covers;
    if (dirty_covers > 0 && dirty_covers < covered)
        covered = dirty_covers;
    for (size_t i = 0; i < covered; i++) {
        uint8_t unit = KNOWN;

        if (zero_covers > 0 && (zeroes[i] & 2) != 0)
            unit |= ZERO;
        if (dirty_covers == 0 || (dirts[i] & 1) != 0)
            unit |= DIRTY;
        map->units[map->position++] = unit;
    }
    return covered > 0;
}

/* One reply.  false: the walk has ended. */
static bool
step(struct extents *x, struct map *map, struct list *list, struct input *input)
{
    struct error err = {.status = 0};
    struct answer zero, dirty;
    struct extents_reply z, d;
    bool says, ok;

    answer_take(&zero, input, map->unit);
    answer_take(&dirty, input, map->unit);
    z = (struct extents_reply){zero.entries, zero.count};
    d = (struct extents_reply){dirty.entries, dirty.count};
    says = map_add(map, &zero, &dirty);
    ok = extents_add(x, zero.is_granted ? &z : NULL,
                     dirty.is_granted ? &d : NULL, &err) == 0;
    if (ok)
        check(says && x->position == map->position * map->unit);
    else if (list->leave_at > 0 && list->count == list->leave_at)
        check(says && err.status == GONE);
    else
        check(!says && err.status == 500);
    free(zero.entries);
    free(dirty.entries);
    return ok;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t units[] = {1, 512, 65536, UINT64_C(1) << 52};
    struct input input = {data, size};
    struct map map = {.size = 0};
    struct list list = {.map = &map};
    struct error err = {.status = 0};
    struct extents x;
    bool ok = true;

    map.size = input_byte(&input) * 256u;
    map.size = (map.size + input_byte(&input)) % (UNITS_MAX + 1);
    map.unit = units[input_byte(&input) % 4];
    list.leave_at = input_byte(&input);
    extents_init(&x, map.size * map.unit, emit, &list);
    while (ok && map.position < map.size && input.size > 0)
        ok = step(&x, &map, &list, &input);
    if (!ok)
        return 0;
    /* What nobody said anything about. */
    if (map.position < map.size) {
        const uint64_t rest = (map.size - map.position) * map.unit;

        memset(map.units + map.position, KNOWN | DIRTY,
               map.size - map.position);
        ok = extents_add_run(&x, rest, false, true, &err) == 0;
    }
    ok = ok && extents_end(&x, &err) == 0;
    check(ok || (err.status == GONE && list.count == list.leave_at));
    check(!ok || list.end == x.size);
    return 0;
}
