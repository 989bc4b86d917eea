/* SPDX-License-Identifier: Apache-2.0 */
/* ctl/watch_set, ctl/watch_page, ctl/watch_lines: what is said of transfers,
 * look after look, without a server, a terminal or a clock. */
#include "ctl/watch_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "ctl/watch_lines.h"
#include "ctl/watch_set.h"
#include "stats/scoreboard.h"
#include "unit.h"

#define ROOM 100
#define NOW UINT64_C(1795690000000)
#define MIB (UINT64_C(1024) * 1024)

static const struct scoreboard_summary server = {
    .processes = 4,
    .process = {.workers = 16, .max_readers = 8, .max_writers = 1},
    .readers = 2,
    .writers = 1,
};

/* All that is drawn, with a newline after each line. */
static char screen[65536];

static void
keep_line(void *opaque, const char *line)
{
    const size_t used = strlen(screen);

    snprintf(screen + used, sizeof(screen) - used, "%s\n", line);
    (void)opaque;
}

/* With an id of a ticket to look for, and one that has gone; or NULL. */
static const char *
draw(const struct watch_set *set, unsigned columns, unsigned rows,
     const char *id, const struct watch_item *last)
{
    const struct watch_page page = {
        .columns = columns,
        .rows = rows,
        .run_dir = "/run/imageio-fcgi",
        .id = id,
        .summary = &server,
        .running = &set->running,
        .last = last,
    };

    screen[0] = '\0';
    watch_page_draw(&page, keep_line, NULL);
    return screen;
}

/* A read, of 100 MiB at 10 MiB/s. */
static struct transfer
transfer_of(const char *request, uint64_t done)
{
    struct transfer ret = {
        .operation = TRANSFER_READ,
        .id = "3f2a1b0c",
        .client = "192.0.2.7",
        .start_ms = NOW,
        .total = 100 * MIB,
        .done = done,
        .rate = 10 * MIB,
    };

    snprintf(ret.request, sizeof(ret.request), "%s", request);
    return ret;
}

static void
look(struct watch_set *set, uint64_t now_ms, const struct transfer *transfers,
     size_t count)
{
    watch_set_begin(set);
    for (size_t i = 0; i < count; i++)
        watch_set_add(set, &transfers[i]);
    watch_set_end(set, now_ms);
}

static int
open_set(void **state)
{
    static struct watch_set set;
    struct error err;

    *state = &set;
    return watch_set_init(&set, ROOM, &err);
}

static int
close_set(void **state)
{
    watch_set_done(*state);
    return 0;
}

static void
what_runs_is_in_order_and_what_has_gone_is_told_apart(void **state)
{
    struct watch_set *set = *state;
    struct transfer t[] = {transfer_of("c", 0), transfer_of("a", 0),
                           transfer_of("b", 0)};

    t[2].start_ms = NOW - 1;
    look(set, NOW, t, 3);
    assert_int_equal(set->running.count, 3);
    assert_string_equal(set->running.items[0].transfer.request, "b");
    assert_string_equal(set->running.items[1].transfer.request, "a");
    assert_string_equal(set->running.items[2].transfer.request, "c");
    assert_int_equal(set->gone.count, 0);

    look(set, NOW + 1000, t, 2);
    assert_int_equal(set->running.count, 2);
    assert_int_equal(set->running.items[1].looks, 2);
    assert_int_equal(set->gone.count, 1);
    assert_string_equal(set->gone.items[0].transfer.request, "b");
    assert_int_equal(set->gone.items[0].seen_ms, NOW);

    look(set, NOW + 2000, t, 0);
    assert_int_equal(set->running.count, 0);
    assert_int_equal(set->gone.count, 2);
    /* One that is there again is another one. */
    look(set, NOW + 3000, t, 1);
    assert_int_equal(set->running.items[0].looks, 1);
    assert_int_equal(set->gone.count, 0);
}

static void
more_than_there_is_room_for_are_not_taken(void **state)
{
    struct watch_set *set = *state;
    const struct transfer t = transfer_of("a", 0);

    watch_set_begin(set);
    for (int i = 0; i < ROOM + 1; i++)
        watch_set_add(set, &t);
    watch_set_end(set, NOW);
    assert_int_equal(set->running.count, ROOM);
    look(set, NOW, NULL, 0);
    assert_int_equal(set->gone.count, ROOM);
}

static void
what_stands_still_has_no_time_left(void **state)
{
    struct watch_set *set = *state;
    struct transfer t = transfer_of("a", MIB);

    t.rate = 0;
    look(set, NOW + 2500, &t, 1);
    assert_non_null(strstr(draw(set, 80, 10, NULL, NULL),
                           "1%  1.00 MiB/100 MiB      0 B/s      -\n"));
    assert_int_equal(watch_item_age_s(&set->running.items[0]), 2);
    /* A clock that was set back. */
    look(set, NOW - 5000, &t, 1);
    assert_int_equal(watch_item_age_s(&set->running.items[0]), 0);
}

static void
a_page_has_what_its_width_has_room_for(void **state)
{
    struct watch_set *set = *state;
    struct transfer t[] = {transfer_of("a", 50 * MIB), transfer_of("b", 0)};

    t[1].operation = TRANSFER_FLUSH;
    t[1].total = TRANSFER_UNKNOWN;
    t[1].rate = 0;
    look(set, NOW, t, 2);
    assert_string_equal(
        draw(set, 80, 24, NULL, NULL),
        "readers 2/8, writers 1/1, processes 4\n"
        "TICKET   DOES  CLIENT                      %              DONE       "
        "RATE   LEFT\n"
        "3f2a1b0c read  192.0.2.7 #######.......  50%  50.0 MiB/100 MiB 10.0 "
        "MiB/s   0:05\n"
        "3f2a1b0c flush 192.0.2.7 ..............    -             0 B/-      "
        "0 B/s      -\n");
    assert_string_equal(draw(set, 40, 24, NULL, NULL),
                        "readers 2/8, writers 1/1, processes 4\n"
                        "TICKET   DOES     %       RATE   LEFT\n"
                        "3f2a1b0c read   50% 10.0 MiB/s   0:05\n"
                        "3f2a1b0c flush    -      0 B/s      -\n");
    assert_string_equal(
        draw(set, 120, 24, NULL, NULL),
        "readers 2/8, writers 1/1, processes 4\n"
        "TICKET   DOES  CLIENT                                                "
        "%              DONE       RATE   LEFT\n"
        "3f2a1b0c read  192.0.2.7 ####################....................  "
        "50%  50.0 MiB/100 MiB 10.0 MiB/s   0:05\n"
        "3f2a1b0c flush 192.0.2.7 ........................................    "
        "-             0 B/-      0 B/s      -\n");
}

/* Every width and height: nothing is longer, and nothing is more. */
static void
a_page_never_leaves_its_screen(void **state)
{
    struct watch_set *set = *state;
    struct transfer t[40];

    for (size_t i = 0; i < COUNT(t); i++) {
        char request[8];

        snprintf(request, sizeof(request), "%02zu", i);
        t[i] = transfer_of(request, i * MIB);
        strcpy(t[i].client, "2001:0db8:0000:0000:0000:ff00:0042:8329");
    }
    look(set, NOW, t, COUNT(t));
    for (unsigned columns = 1; columns < 450; columns++)
        for (unsigned rows = 1; rows < 48; rows++) {
            unsigned lines = 0;
            const char *line =
                draw(set, columns, rows, NULL, &set->running.items[0]);

            for (; *line != '\0'; line += strcspn(line, "\n") + 1) {
                assert_true(strcspn(line, "\n") <= columns);
                lines++;
            }
            assert_true(lines <= rows);
            assert_true(lines == rows || lines == COUNT(t) + 3 || rows < 4);
        }
}

static void
a_long_address_takes_what_room_there_is(void **state)
{
    struct watch_set *set = *state;
    struct transfer t = transfer_of("a", 0);

    strcpy(t.client, "2001:0db8:0000:0000:0000:ff00:0042:8329");
    look(set, NOW, &t, 1);
    assert_non_null(strstr(draw(set, 120, 24, NULL, NULL),
                           " 2001:0db8:0000:0000:0000:"
                           "ff00:0042:8329 ......"));
    assert_non_null(strstr(draw(set, 80, 24, NULL, NULL),
                           " 2001:0db8:0000:0+ ......   0%"));
}

static void
what_has_no_line_is_counted(void **state)
{
    struct watch_set *set = *state;
    struct transfer t[9];

    for (size_t i = 0; i < COUNT(t); i++) {
        t[i] = transfer_of("a", 0);
        t[i].start_ms += i;
    }
    look(set, NOW, t, COUNT(t));
    draw(set, 40, 11, NULL, NULL);
    assert_null(strstr(screen, "more"));
    draw(set, 40, 10, NULL, NULL);
    assert_non_null(strstr(screen, "\nand 2 more\n"));
    draw(set, 40, 11, NULL, &set->running.items[0]);
    assert_non_null(strstr(screen, "\nand 2 more\ngone: 3f2a1b0c read after "));
    draw(set, 40, 3, NULL, &set->running.items[0]);
    assert_non_null(strstr(screen, "\nand 9 more\n"));
    assert_null(strstr(screen, "gone"));
    assert_string_equal(draw(set, 40, 1, NULL, NULL),
                        "readers 2/8, writers 1/1, processes 4\n");
}

static void
a_page_says_that_nothing_runs(void **state)
{
    struct watch_set *set = *state;
    struct watch_item last = {.transfer = transfer_of("a", 50 * MIB),
                              .seen_ms = NOW + 12345};
    struct scoreboard_summary other = {.processes = 0};
    struct watch_page page = {.columns = 80,
                              .rows = 24,
                              .run_dir = "/run/\x1b[2J",
                              .summary = &other,
                              .running = &set->running};

    assert_string_equal(draw(set, 80, 24, NULL, NULL),
                        "readers 2/8, writers 1/1, processes 4\n"
                        "no transfer runs\n");
    assert_string_equal(draw(set, 80, 24, "5d01e7aa-0000-secret", &last),
                        "readers 2/8, writers 1/1, processes 4\n"
                        "no transfer of 5d01e7aa runs\n"
                        "gone: 3f2a1b0c read after 0:12, "
                        "at 50.0 MiB/100 MiB, 192.0.2.7\n");

    screen[0] = '\0';
    watch_page_draw(&page, keep_line, NULL);
    assert_string_equal(screen, "no server runs with /run/\\x1b[2J, waiting\n"
                                "no transfer runs\n");
    other = server;
    other.process.per_image = true;
    screen[0] = '\0';
    watch_page_draw(&page, keep_line, NULL);
    assert_string_equal(
        screen, "readers 2 (8 an image), writers 1 (1 an image), processes 4\n"
                "no transfer runs\n");
}

/* Nothing that a terminal would obey, and no space that would be a column. */
static void
text_from_outside_is_plain(void **state)
{
    struct watch_set *set = *state;
    struct transfer t = transfer_of("a\x1b[2J\nb", 0);
    char *lines;
    size_t size;
    FILE *out = open_memstream(&lines, &size);

    strcpy(t.id, "\x1b]0;x\x07\x9b");
    strcpy(t.client, "1 \xc2\x9b\"\\\r\n\x7f");
    look(set, NOW, &t, 1);
    assert_non_null(strstr(draw(set, 200, 24, NULL, &set->running.items[0]),
                           "\n\\x1b]0;+ read  1\\x20\\xc2\\x9b\\x22\\x5c"
                           "\\x0d\\x0a\\x7f "));
    for (const char *c = screen; *c != '\0'; c++)
        assert_true((*c >= ' ' && *c < 0x7f) || *c == '\n');

    watch_lines_tell_all(out, set, NOW);
    (void)fclose(out);
    assert_string_equal(
        lines,
        "time=2026-11-26T10:46:40Z event=running "
        "ticket=\\x1b]0;x\\x07\\x9b operation=read "
        "client=1\\x20\\xc2\\x9b\\x22\\x5c\\x0d\\x0a\\x7f percent=0 done=0 "
        "total=104857600 rate=10485760 left_s=10 age_s=0 "
        "request=a\\x1b[2J\\x0ab\n");
    free(lines);
}

/* What the lines of a look begin with, "event percent " each. */
static const char *
tell(struct watch_set *set, uint64_t now_ms)
{
    static char ret[1024];
    char *lines, *word, *rest = NULL;
    size_t size, used = 0;
    FILE *out = open_memstream(&lines, &size);

    watch_lines_tell(out, set, now_ms);
    (void)fclose(out);
    ret[0] = '\0';
    for (word = strtok_r(lines, " \n", &rest); word != NULL;
         word = strtok_r(NULL, " \n", &rest))
        if (strncmp(word, "event=", 6) == 0 ||
            strncmp(word, "percent=", 8) == 0)
            used += (size_t)snprintf(ret + used, sizeof(ret) - used, "%s ",
                                     strchr(word, '=') + 1);
    free(lines);
    return ret;
}

static void
lines_are_few(void **state)
{
    struct watch_set *set = *state;
    static const struct {
        unsigned at_s;
        uint64_t done_mib; /* of 100 */
        const char *said;
    } rows[] = {
        {0, 0, ""}, /* it may have gone at the next look */
        {1, 3, "began 3 "},
        {2, 9, ""},
        {3, 10, "running 10 "},
        {4, 19, ""},
        {5, 55, "running 55 "},
        {6, 59, ""},
        {14, 59, ""},
        {15, 59, "running 59 "},
        {24, 59, ""},
        {25, 59, "running 59 "},
        {26, 100, "running 100 "},
        {27, 100, ""},
    };
    struct transfer t = transfer_of("a", 0);

    for (size_t i = 0; i < COUNT(rows); i++) {
        const uint64_t now_ms = NOW + rows[i].at_s * UINT64_C(1000);

        t.done = rows[i].done_mib * MIB;
        look(set, now_ms, &t, 1);
        assert_string_equal(tell(set, now_ms), rows[i].said);
    }
    look(set, NOW + 28000, NULL, 0);
    assert_string_equal(tell(set, NOW + 28000), "gone 100 ");
    look(set, NOW + 29000, NULL, 0);
    assert_string_equal(tell(set, NOW + 29000), "");
    /* Seen once, and not worth two lines. */
    look(set, NOW + 30000, &t, 1);
    assert_string_equal(tell(set, NOW + 30000), "");
    look(set, NOW + 31000, NULL, 0);
    assert_string_equal(tell(set, NOW + 31000), "");
    /* What has no total has a line every ten seconds. */
    t.total = TRANSFER_UNKNOWN;
    look(set, NOW + 32000, &t, 1);
    look(set, NOW + 33000, &t, 1);
    assert_string_equal(tell(set, NOW + 33000), "began - ");
    look(set, NOW + 42999, &t, 1);
    assert_string_equal(tell(set, NOW + 42999), "");
    look(set, NOW + 43000, &t, 1);
    assert_string_equal(tell(set, NOW + 43000), "running - ");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_set, close_set)
    const struct CMUnitTest tests[] = {
        TEST(what_runs_is_in_order_and_what_has_gone_is_told_apart),
        TEST(more_than_there_is_room_for_are_not_taken),
        TEST(what_stands_still_has_no_time_left),
        TEST(a_page_has_what_its_width_has_room_for),
        TEST(a_page_never_leaves_its_screen),
        TEST(a_long_address_takes_what_room_there_is),
        TEST(what_has_no_line_is_counted),
        TEST(a_page_says_that_nothing_runs),
        TEST(text_from_outside_is_plain),
        TEST(lines_are_few),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
