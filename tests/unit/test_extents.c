/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image/extents: whatever a server answers, the list is exact.  First answers
 * one by one, then random ones against a model that knows each byte.
 */
#include "image/extents.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/span.h"
#include "unit.h"

#define LIST_MAX 64
#define ENTRIES_MAX 8
#define REPLIES_MAX 4
#define HOLE 1u /* base:allocation: NBD_STATE_HOLE */
#define Z EXTENTS_FLAG_ZERO
#define D EXTENTS_FLAG_DIRTY
#define HALF ((uint64_t)1 << 63)

/* What was emitted. */
struct list {
    size_t count;
    struct extent extents[LIST_MAX];
    size_t fail_at; /* the emit that fails, counted from 1; 0: none */
};

static int
collect(void *opaque, const struct extent *extent, struct error *err)
{
    struct list *list = opaque;

    assert_true(list->count < LIST_MAX);
    list->extents[list->count++] = *extent;
    if (list->count == list->fail_at)
        return error_set(err, 499, "the client has gone");
    return 0;
}

/* What one context answers. */
struct answer {
    bool is_granted;
    size_t count;
    struct extents_entry entries[ENTRIES_MAX];
};
#define NOT_GRANTED         \
    {                       \
        .is_granted = false \
    }
#define NOTHING            \
    {                      \
        .is_granted = true \
    }
#define SAYS(n, ...)    \
    {                   \
        true, n,        \
        {               \
            __VA_ARGS__ \
        }               \
    }

static const struct extents_reply *
reply_of(struct extents_reply *storage, const struct answer *answer)
{
    *storage = (struct extents_reply){answer->entries, answer->count};
    return answer->is_granted ? storage : NULL;
}

static int
add(struct extents *x, const struct answer *zero, const struct answer *dirty,
    struct error *err)
{
    struct extents_reply z, d;

    return extents_add(x, reply_of(&z, zero), reply_of(&d, dirty), err);
}

static void
the_list_is_exact_whatever_the_server_answers(void **state)
{
    static const struct {
        const char *name;
        uint64_t size;
        struct {
            struct answer zero, dirty;
        } replies[REPLIES_MAX];
        size_t count;
        struct extent list[ENTRIES_MAX];
    } rows[] = {
        {"one entry",
         10,
         {{SAYS(1, {10, 0}), NOT_GRANTED}},
         1,
         {{0, 10, false, true}}},
        {"neighbours that differ",
         10,
         {{SAYS(3, {4, 0}, {4, HOLE | Z}, {2, 0}), NOT_GRANTED}},
         3,
         {{0, 4, false, true}, {4, 4, true, true}, {8, 2, false, true}}},
        {"equal neighbours are merged, flags that do not count aside",
         10,
         {{SAYS(4, {2, Z}, {2, Z | HOLE}, {3, Z | 4}, {3, Z}), NOT_GRANTED}},
         1,
         {{0, 10, true, true}}},
        {"a hole that does not read as zeroes is data",
         10,
         {{SAYS(2, {5, HOLE}, {5, 0}), NOT_GRANTED}},
         1,
         {{0, 10, false, true}}},
        {"shorter than asked; merged over replies",
         10,
         {{SAYS(1, {3, Z}), NOT_GRANTED},
          {SAYS(1, {3, Z}), NOT_GRANTED},
          {SAYS(1, {4, 0}), NOT_GRANTED}},
         2,
         {{0, 6, true, true}, {6, 4, false, true}}},
        {"past the image's end",
         10,
         {{SAYS(1, {11, Z}), NOT_GRANTED}},
         1,
         {{0, 10, true, true}}},
        {"far past the image's end, and more after it",
         10,
         {{SAYS(3, {4, 0}, {UINT64_MAX, Z}, {UINT64_MAX, 0}), NOT_GRANTED}},
         2,
         {{0, 4, false, true}, {4, 6, true, true}}},
        {"zero-length entries are passed over",
         10,
         {{SAYS(5, {0, 0}, {4, Z}, {0, 0}, {6, Z}, {0, 0}),
           SAYS(3, {0, 0}, {0, D}, {10, D})}},
         1,
         {{0, 10, true, true}}},
        {"two contexts with other borders",
         10,
         {{SAYS(2, {4, 0}, {6, Z}), SAYS(2, {7, D}, {3, 0})}},
         3,
         {{0, 4, false, true}, {4, 3, true, true}, {7, 3, true, false}}},
        {"each context has its own flags",
         10,
         {{SAYS(1, {10, D}), SAYS(1, {10, Z})}},
         1,
         {{0, 10, false, false}}},
        {"zero is shorter than dirty",
         10,
         {{SAYS(1, {4, 0}), SAYS(1, {10, D})},
          {SAYS(1, {6, Z}), SAYS(1, {6, D})}},
         2,
         {{0, 4, false, true}, {4, 6, true, true}}},
        {"dirty is shorter than zero, and another one later",
         10,
         {{SAYS(1, {10, Z}), SAYS(1, {4, 0})},
          {SAYS(1, {6, Z}), SAYS(2, {3, 0}, {3, D})}},
         2,
         {{0, 7, true, false}, {7, 3, true, true}}},
        {"zero said nothing: it is unknown",
         10,
         {{NOTHING, SAYS(2, {4, 0}, {6, D})}},
         2,
         {{0, 4, false, false}, {4, 6, false, true}}},
        {"dirty said nothing: it is unknown",
         10,
         {{SAYS(2, {4, 0}, {6, Z}), NOTHING}},
         2,
         {{0, 4, false, true}, {4, 6, true, true}}},
        {"no length is nothing",
         10,
         {{SAYS(1, {0, Z}), SAYS(1, {10, 0})}},
         1,
         {{0, 10, false, false}}},
        {"unknown only where the other one spoke",
         10,
         {{NOTHING, SAYS(1, {4, 0})}, {SAYS(1, {6, Z}), SAYS(1, {6, 0})}},
         2,
         {{0, 4, false, false}, {4, 6, true, false}}},
        {"zero is not granted",
         10,
         {{NOT_GRANTED, SAYS(2, {4, 0}, {6, D})}},
         2,
         {{0, 4, false, false}, {4, 6, false, true}}},
        {"as large as it gets",
         UINT64_MAX,
         {{SAYS(2, {HALF, 0}, {HALF, Z}), SAYS(1, {UINT64_MAX, 0})}},
         2,
         {{0, HALF, false, false}, {HALF, HALF - 1, true, false}}},
        {"lengths whose sum has more than 64 bits",
         HALF,
         {{SAYS(3, {1, 0}, {UINT64_MAX, Z}, {UINT64_MAX, 0}),
           SAYS(3, {HALF - 1, 0}, {UINT64_MAX, D}, {HALF, 0})}},
         3,
         {{0, 1, false, false},
          {1, HALF - 2, true, false},
          {HALF - 1, 1, true, true}}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct list list = {0};
        struct extents x;
        struct error err;

        extents_init(&x, rows[i].size, collect, &list);
        for (size_t j = 0; x.position < x.size; j++) {
            assert_row(j < REPLIES_MAX, rows[i].name);
            assert_row(add(&x, &rows[i].replies[j].zero,
                           &rows[i].replies[j].dirty, &err) == 0,
                       rows[i].name);
        }
        assert_row(extents_end(&x, &err) == 0, rows[i].name);
        assert_row(list.count == rows[i].count, rows[i].name);
        for (size_t j = 0; j < list.count; j++) {
            const struct extent *is = &list.extents[j];
            const struct extent *should = &rows[i].list[j];

            assert_row(is->start == should->start, rows[i].name);
            assert_row(is->length == should->length, rows[i].name);
            assert_row(is->zero == should->zero, rows[i].name);
            assert_row(is->dirty == should->dirty, rows[i].name);
        }
    }
}

static void
an_answer_that_covers_nothing_is_500_and_moves_nothing(void **state)
{
    static const struct {
        struct answer zero, dirty;
    } rows[] = {
        {NOT_GRANTED, NOT_GRANTED},
        {NOTHING, NOT_GRANTED},
        {NOT_GRANTED, NOTHING},
        {NOTHING, NOTHING},
        {SAYS(2, {0, Z}, {0, 0}), NOT_GRANTED},
        {SAYS(2, {0, Z}, {0, 0}), SAYS(1, {0, D})},
        {NOTHING, SAYS(1, {0, D})},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct list list = {0};
        struct extents x;
        struct error err;

        extents_init(&x, 10, collect, &list);
        assert_int_equal(extents_add_run(&x, 4, true, true, &err), 0);
        assert_int_equal(add(&x, &rows[i].zero, &rows[i].dirty, &err), -1);
        assert_int_equal(err.status, 500);
        assert_int_equal(x.position, 4);
        assert_int_equal(list.count, 0);
    }
}

static void
an_image_without_bytes_has_no_extents(void **state)
{
    struct list list = {0};
    struct extents x;
    struct error err;

    (void)state;
    extents_init(&x, 0, collect, &list);
    assert_int_equal(extents_add_run(&x, 0, false, true, &err), 0);
    assert_int_equal(extents_end(&x, &err), 0);
    assert_int_equal(list.count, 0);
}

static void
runs_and_replies_are_merged_with_each_other(void **state)
{
    static const struct answer zero = SAYS(1, {4, Z}), none = NOT_GRANTED;
    struct list list = {0};
    struct extents x;
    struct error err;

    (void)state;
    extents_init(&x, HALF, collect, &list);
    assert_int_equal(extents_add_run(&x, 3, true, true, &err), 0);
    assert_int_equal(add(&x, &zero, &none, &err), 0);
    assert_int_equal(x.position, 7);
    assert_int_equal(extents_add_run(&x, 1, true, false, &err), 0);
    assert_int_equal(extents_add_run(&x, HALF - 8, false, false, &err), 0);
    assert_int_equal(extents_end(&x, &err), 0);
    assert_int_equal(list.count, 3);
    assert_int_equal(list.extents[0].length, 7);
    assert_int_equal(list.extents[1].start, 7);
    assert_int_equal(list.extents[1].length, 1);
    assert_int_equal(list.extents[2].start, 8);
    assert_true(list.extents[2].length == HALF - 8);
}

static void
an_extent_is_emitted_as_soon_as_its_neighbour_differs(void **state)
{
    struct list list = {0};
    struct extents x;
    struct error err;

    (void)state;
    extents_init(&x, 10, collect, &list);
    extents_add_run(&x, 2, true, true, &err);
    extents_add_run(&x, 2, true, true, &err);
    assert_int_equal(list.count, 0);
    extents_add_run(&x, 2, false, true, &err);
    assert_int_equal(list.count, 1);
    extents_add_run(&x, 4, false, false, &err);
    assert_int_equal(list.count, 2);
}

static void
an_emit_that_fails_ends_the_walk(void **state)
{
    static const struct answer dirty = NOT_GRANTED;
    static const struct answer zero = SAYS(4, {2, 0}, {3, Z}, {1, 0}, {4, Z});

    (void)state;
    for (size_t fail_at = 1; fail_at <= 4; fail_at++) {
        struct list list = {.fail_at = fail_at};
        struct extents x;
        struct error err;
        int rc;

        extents_init(&x, 10, collect, &list);
        rc = add(&x, &zero, &dirty, &err);
        assert_int_equal(rc, fail_at < 4 ? -1 : 0);
        if (rc == 0)
            rc = extents_end(&x, &err);
        assert_int_equal(rc, -1);
        assert_int_equal(err.status, 499);
        assert_int_equal(list.count, fail_at);
    }
}

/* The model: an image of a few bytes, each with its own state. */
#define MODEL_MAX 40
#define ROUNDS 200000

static unsigned
pick(unsigned n)
{
    return (unsigned)rand() % n;
}

/* Now and then nothing, too little, too much; entries of no length; entries
 * that could have been one; flags that mean nothing. */
static void
answer_at_random(struct answer *answer)
{
    answer->is_granted = pick(8) != 0;
    answer->count = pick(ENTRIES_MAX);
    for (size_t i = 0; i < answer->count; i++) {
        answer->entries[i].flags = pick(8);
        answer->entries[i].length =
            pick(50) == 0 ? UINT64_MAX - pick(50) : pick(8);
    }
}

/* The flags that answer has for each byte from its start on.  Returns for how
 * many bytes there are any. */
static size_t
spread(unsigned *flags, size_t room, const struct answer *answer)
{
    size_t used = 0;

    if (!answer->is_granted)
        return 0;
    for (size_t i = 0; i < answer->count; i++)
        for (uint64_t n = answer->entries[i].length; n > 0 && used < room; n--)
            flags[used++] = (unsigned)answer->entries[i].flags;
    return used;
}

static void
check_list(const struct list *list, const bool *zero, const bool *dirty,
           size_t size)
{
    uint64_t at = 0;

    for (size_t i = 0; i < list->count; i++) {
        const struct extent *extent = &list->extents[i];

        assert_int_equal(extent->start, at);
        assert_true(extent->length > 0);
        assert_true(span_fits(at, extent->length, size));
        if (i > 0)
            assert_true(extent->zero != extent[-1].zero ||
                        extent->dirty != extent[-1].dirty);
        for (; at < extent->start + extent->length; at++) {
            assert_int_equal(extent->zero, zero[at]);
            assert_int_equal(extent->dirty, dirty[at]);
        }
    }
    assert_int_equal(at, size);
}

static void
random_answers_give_what_a_model_of_each_byte_gives(void **state)
{
    (void)state;
    srand(20240229);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const size_t size = pick(MODEL_MAX + 1);
        bool zero[MODEL_MAX] = {0}, dirty[MODEL_MAX] = {0};
        struct list list = {0};
        struct extents x;
        struct error err;
        size_t at = 0;

        extents_init(&x, size, collect, &list);
        while (at < size) {
            unsigned z_flags[MODEL_MAX], d_flags[MODEL_MAX];
            struct answer z, d;
            size_t z_count, d_count;

            answer_at_random(&z);
            answer_at_random(&d);
            z_count = spread(z_flags, size - at, &z);
            d_count = spread(d_flags, size - at, &d);
            assert_int_equal(add(&x, &z, &d, &err),
                             z_count + d_count == 0 ? -1 : 0);
            for (size_t i = 0;
                 (i < z_count || z_count == 0) &&
                 (i < d_count || d_count == 0) && z_count + d_count > 0;
                 i++, at++) {
                zero[at] = z_count > 0 && (z_flags[i] & Z);
                dirty[at] = d_count == 0 || (d_flags[i] & D);
            }
            assert_int_equal(x.position, at);
        }
        assert_int_equal(extents_end(&x, &err), 0);
        check_list(&list, zero, dirty, size);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_is_exact_whatever_the_server_answers),
        cmocka_unit_test(
            an_answer_that_covers_nothing_is_500_and_moves_nothing),
        cmocka_unit_test(an_image_without_bytes_has_no_extents),
        cmocka_unit_test(runs_and_replies_are_merged_with_each_other),
        cmocka_unit_test(an_extent_is_emitted_as_soon_as_its_neighbour_differs),
        cmocka_unit_test(an_emit_that_fails_ends_the_walk),
        cmocka_unit_test(random_answers_give_what_a_model_of_each_byte_gives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
