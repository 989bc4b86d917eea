/* SPDX-License-Identifier: Apache-2.0 */
/* Look, show, wait. */
#include "ctl/watch.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "ctl/terminal.h"
#include "ctl/watch_lines.h"
#include "ctl/watch_page.h"
#include "ctl/watch_set.h"
#include "stats/scoreboard.h"
#include "stats/transfer.h"

#define SCREEN_MS 500
#define LINES_MS 1000
/* A client that sends one request after the other has not ended in between. */
#define ENDED_MS 3000

struct watch {
    const struct watch_target *target;
    uint64_t id_hash;
    struct scoreboard *board; /* NULL: there is none yet */
    struct scoreboard_summary summary;
    struct watch_set set;
    uint64_t now_ms;
    uint64_t seen_ms;       /* when a transfer was last there; 0: never */
    struct watch_item last; /* that has gone, if looks is not 0 */
};

static int
start(struct watch *watch, const struct watch_target *target, struct error *err)
{
    struct error why;

    *watch = (struct watch){.target = target};
    if (target->id != NULL)
        watch->id_hash = transfer_hash(target->id);
    if (scoreboard_open(&watch->board, target->run_dir, &why) == -1)
        return error_set(err, 500,
                         "%s (--run-dir is to be the server's, and you root or "
                         "the server's user)",
                         why.text);
    if (watch_set_init(&watch->set,
                       (size_t)SCOREBOARD_PROCESSES * SCOREBOARD_WORKERS,
                       err) == 0)
        return 0;
    scoreboard_close(watch->board);
    return -1;
}

static void
stop(struct watch *watch)
{
    watch_set_done(&watch->set);
    scoreboard_close(watch->board);
}

/* What is shown of an id can be copied from there. */
static bool
is_of(const struct watch *watch, const struct transfer *transfer)
{
    const char *id = watch->target->id;

    return id == NULL || transfer->id_hash == watch->id_hash ||
           (strlen(id) == TRANSFER_ID_CHARS && strcmp(transfer->id, id) == 0);
}

static bool
take(void *opaque, const struct transfer *transfer)
{
    struct watch *watch = opaque;

    if (is_of(watch, transfer))
        watch_set_add(&watch->set, transfer);
    return true;
}

/* A server that was restarted may have a new run directory; and one that stops
 * takes it away. */
static void
reopen(struct watch *watch)
{
    struct scoreboard *board;
    struct error ignored;

    if (scoreboard_open(&board, watch->target->run_dir, &ignored) != 1)
        return;
    scoreboard_close(watch->board);
    watch->board = board;
}

static void
look(struct watch *watch)
{
    if (watch->summary.processes == 0)
        reopen(watch);
    watch->now_ms = clock_wall_ms();
    watch_set_begin(&watch->set);
    scoreboard_look(watch->board, &watch->summary, take, watch);
    watch_set_end(&watch->set, watch->now_ms);
    if (watch->set.running.count > 0)
        watch->seen_ms = watch->now_ms;
    if (watch->set.gone.count > 0)
        watch->last = watch->set.gone.items[watch->set.gone.count - 1];
}

static bool
has_ended(const struct watch *watch)
{
    return watch->target->id != NULL && watch->seen_ms != 0 &&
           watch->now_ms >= watch->seen_ms + ENDED_MS;
}

static int
flush(struct error *err)
{
    if (fflush(stdout) == EOF)
        return error_errno(err, 500, "write to standard output");
    return 0;
}

int
watch_once(const struct watch_target *target, struct error *err)
{
    struct watch watch;
    int rc = -1;

    if (start(&watch, target, err) == -1)
        return -1;
    look(&watch);
    if (watch.summary.processes == 0) {
        error_set(err, 500, "no server runs with run directory %s",
                  target->run_dir);
        goto out;
    }
    watch_lines_tell_server(stdout, &watch.summary, watch.now_ms);
    watch_lines_tell_all(stdout, &watch.set, watch.now_ms);
    rc = flush(err);
out:
    stop(&watch);
    return rc;
}

/* --- lines ---------------------------------------------------------------- */

static int
show_lines(struct watch *watch, struct error *err)
{
    unsigned processes = UINT_MAX;

    do {
        look(watch);
        if (watch->summary.processes != processes)
            watch_lines_tell_server(stdout, &watch->summary, watch->now_ms);
        processes = watch->summary.processes;
        watch_lines_tell(stdout, &watch->set, watch->now_ms);
        if (flush(err) == -1)
            return -1;
    } while (!has_ended(watch) && terminal_wait(LINES_MS));
    return 0;
}

/* --- a screen ------------------------------------------------------------- */

static void
draw_line(void *opaque, const char *line)
{
    (void)opaque;
    terminal_draw_line(line);
}

static bool
draw(const struct watch *watch)
{
    struct watch_page page = {
        .run_dir = watch->target->run_dir,
        .id = watch->target->id,
        .summary = &watch->summary,
        .running = &watch->set.running,
        .last = watch->last.looks > 0 ? &watch->last : NULL,
    };

    terminal_size(&page.columns, &page.rows);
    terminal_begin_frame(page.rows);
    watch_page_draw(&page, draw_line, NULL);
    return terminal_end_frame();
}

/* The screen is gone when it is read. */
static void
say_what_was_last(const struct watch *watch)
{
    char line[WATCH_PAGE_COLUMNS + 1];

    if (watch->last.looks == 0)
        return;
    watch_page_format_gone(line, &watch->last);
    puts(line);
}

static int
show_screen(struct watch *watch, struct error *err)
{
    int rc = 0;

    terminal_enter();
    do {
        look(watch);
        if (!draw(watch))
            rc = error_errno(err, 500, "write to the terminal");
    } while (rc == 0 && !has_ended(watch) && terminal_wait(SCREEN_MS));
    terminal_leave();
    if (rc == 0 && watch->target->id != NULL)
        say_what_was_last(watch);
    return rc;
}

int
watch_go_on(const struct watch_target *target, struct error *err)
{
    struct watch watch;
    int rc;

    if (start(&watch, target, err) == -1)
        return -1;
    terminal_init();
    rc = terminal_can_draw() ? show_screen(&watch, err)
                             : show_lines(&watch, err);
    stop(&watch);
    return rc;
}
