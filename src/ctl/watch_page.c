/* SPDX-License-Identifier: Apache-2.0 */
/* The page: a head, a table, and what had no room in it. */
#include "ctl/watch_page.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "ctl/amount.h"
#include "ctl/watch_set.h"
#include "stats/scoreboard.h"

#define CELL_SIZE \
    ((size_t)4 * TRANSFER_CLIENT_SIZE) /* each byte may be a \xNN */
#define CLIENT_WIDTH 15                /* of an IPv4 address */
#define BAR_WIDTH_MAX 40

enum {
    COLUMN_TICKET,
    COLUMN_OPERATION,
    COLUMN_CLIENT,
    COLUMN_BAR,
    COLUMN_PERCENT,
    COLUMN_DONE,
    COLUMN_RATE,
    COLUMN_LEFT,
    COLUMNS,
};

static const struct {
    const char *title;
    unsigned width; /* the least that it is given */
    bool is_right;
} table[COLUMNS] = {
    [COLUMN_TICKET] = {"TICKET", TRANSFER_ID_CHARS, false},
    [COLUMN_OPERATION] = {"DOES", 5, false},
    [COLUMN_CLIENT] = {"CLIENT", 6, false},
    [COLUMN_BAR] = {"", 6, false},
    [COLUMN_PERCENT] = {"%", 4, true},
    [COLUMN_DONE] = {"DONE", sizeof("1023 MiB/1023 GiB") - 1, true},
    [COLUMN_RATE] = {"RATE", sizeof("1023 MiB/s") - 1, true},
    [COLUMN_LEFT] = {"LEFT", sizeof("23h59m") - 1, true},
};

/* What a narrow screen does without, first the client. */
static const unsigned dispensable[] = {
    COLUMN_CLIENT, COLUMN_DONE, COLUMN_BAR, COLUMN_LEFT, COLUMN_OPERATION,
};

/* A line that is being written; what is too long is cut. */
struct line {
    unsigned columns, used;
    char text[WATCH_PAGE_COLUMNS + 1];
};

struct drawing {
    const struct watch_page *page;
    watch_page_line *line;
    void *opaque;
    unsigned columns, rows_left;
    unsigned widths[COLUMNS]; /* 0: there is no such column */
};

static void __attribute__((format(printf, 2, 3)))
add(struct line *line, const char *format, ...)
{
    const unsigned room = line->columns - line->used;
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(line->text + line->used, room + 1, format, args);
    va_end(args);
    if (length > 0)
        line->used += (unsigned)length < room ? (unsigned)length : room;
}

static struct line
line_of(unsigned columns)
{
    return (struct line){
        .columns = columns < WATCH_PAGE_COLUMNS ? columns : WATCH_PAGE_COLUMNS};
}

static void
draw(struct drawing *drawing, const struct line *line)
{
    if (drawing->rows_left == 0)
        return;
    drawing->rows_left--;
    drawing->line(drawing->opaque, line->text);
}

/* --- the table ------------------------------------------------------------ */

static void
format_bar(char cell[CELL_SIZE], const struct transfer *t, unsigned width)
{
    unsigned full = 0;

    if (t->total != TRANSFER_UNKNOWN && t->done >= t->total)
        full = width;
    else if (t->total != TRANSFER_UNKNOWN)
        full = (unsigned)((double)t->done / (double)t->total * width);
    memset(cell, '#', full);
    memset(cell + full, '.', width - full);
    cell[width] = '\0';
}

static void
format_done(char cell[CELL_SIZE], const struct transfer *t)
{
    char done[AMOUNT_SIZE], total[AMOUNT_SIZE];

    snprintf(cell, CELL_SIZE, "%s/%s", amount_format(done, t->done),
             amount_format(total, t->total));
}

static void
format_percent(char cell[CELL_SIZE], const struct transfer *t)
{
    const uint64_t percent = amount_percent(t->done, t->total);

    if (percent == AMOUNT_UNKNOWN)
        snprintf(cell, CELL_SIZE, "-");
    else
        snprintf(cell, CELL_SIZE, "%" PRIu64 "%%", percent);
}

static void
format_cell(char cell[CELL_SIZE], unsigned column,
            const struct drawing *drawing, const struct watch_item *item)
{
    const struct transfer *t = &item->transfer;

    switch (column) {
    case COLUMN_TICKET:
        log_word(cell, CELL_SIZE, t->id);
        break;
    case COLUMN_OPERATION:
        snprintf(cell, CELL_SIZE, "%s", transfer_operations[t->operation]);
        break;
    case COLUMN_CLIENT:
        log_word(cell, CELL_SIZE, t->client);
        break;
    case COLUMN_BAR:
        format_bar(cell, t, drawing->widths[COLUMN_BAR]);
        break;
    case COLUMN_PERCENT:
        format_percent(cell, t);
        break;
    case COLUMN_DONE:
        format_done(cell, t);
        break;
    case COLUMN_RATE:
        amount_format_rate(cell, t->rate);
        break;
    default:
        amount_format_span(cell, amount_left_s(t->done, t->total, t->rate));
        break;
    }
}

/* One that is cut ends with a "+", as with ps(1). */
static void
add_cell(struct line *line, const struct drawing *drawing, unsigned column,
         const char *cell)
{
    const int width = (int)drawing->widths[column];

    if (width == 0)
        return;
    if (line->used > 0)
        add(line, " ");
    if (strlen(cell) > (size_t)width)
        add(line, "%.*s+", width - 1, cell);
    else
        add(line, table[column].is_right ? "%*s" : "%-*s", width, cell);
}

static unsigned
width_of(const struct drawing *drawing)
{
    unsigned width = 0;

    for (unsigned c = 0; c < COLUMNS; c++)
        if (drawing->widths[c] > 0)
            width += drawing->widths[c] + (width > 0 ? 1 : 0);
    return width;
}

static void
widen(unsigned *width, unsigned wanted, unsigned *spare)
{
    const unsigned more = wanted > *width ? wanted - *width : 0;
    const unsigned given = more < *spare ? more : *spare;

    *width += given;
    *spare -= given;
}

/* The longest text of a column in all rows. */
static unsigned
longest(const struct drawing *drawing, unsigned column)
{
    const struct watch_list *running = drawing->page->running;
    size_t ret = table[column].width;

    for (size_t i = 0; i < running->count; i++) {
        char cell[CELL_SIZE];

        format_cell(cell, column, drawing, &running->items[i]);
        if (strlen(cell) > ret)
            ret = strlen(cell);
    }
    return (unsigned)ret;
}

/* What is too much is left out; what is left goes to long addresses first, then
 * to the bar. */
static void
choose_widths(struct drawing *drawing)
{
    unsigned *widths = drawing->widths;
    const unsigned client = longest(drawing, COLUMN_CLIENT);
    unsigned spare;

    for (unsigned c = 0; c < COLUMNS; c++)
        widths[c] = table[c].width;
    widths[COLUMN_OPERATION] = longest(drawing, COLUMN_OPERATION);
    widths[COLUMN_CLIENT] = client < CLIENT_WIDTH ? client : CLIENT_WIDTH;
    for (size_t i = 0; i < sizeof(dispensable) / sizeof(dispensable[0]) &&
                       width_of(drawing) > drawing->columns;
         i++)
        widths[dispensable[i]] = 0;
    if (width_of(drawing) > drawing->columns)
        return;
    spare = drawing->columns - width_of(drawing);
    if (widths[COLUMN_CLIENT] > 0)
        widen(&widths[COLUMN_CLIENT], client, &spare);
    if (widths[COLUMN_BAR] > 0)
        widen(&widths[COLUMN_BAR], BAR_WIDTH_MAX, &spare);
}

static void
draw_titles(struct drawing *drawing)
{
    struct line line = line_of(drawing->columns);

    for (unsigned c = 0; c < COLUMNS; c++)
        add_cell(&line, drawing, c, table[c].title);
    draw(drawing, &line);
}

static void
draw_item(struct drawing *drawing, const struct watch_item *item)
{
    struct line line = line_of(drawing->columns);

    for (unsigned c = 0; c < COLUMNS; c++) {
        char cell[CELL_SIZE];

        format_cell(cell, c, drawing, item);
        add_cell(&line, drawing, c, cell);
    }
    draw(drawing, &line);
}

/* In so many rows, the titles included. */
static void
draw_table(struct drawing *drawing, unsigned rows)
{
    const struct watch_list *running = drawing->page->running;
    size_t shown = running->count;

    if (rows < 2)
        return;
    if (shown > rows - 1)
        shown = rows - 2; /* the last says how many more */
    choose_widths(drawing);
    draw_titles(drawing);
    for (size_t i = 0; i < shown; i++)
        draw_item(drawing, &running->items[i]);
    if (shown < running->count) {
        struct line line = line_of(drawing->columns);

        add(&line, "and %zu more", running->count - shown);
        draw(drawing, &line);
    }
}

/* --- around it ------------------------------------------------------------ */

static void
add_limit(struct line *line, const char *what, unsigned busy, unsigned max,
          bool per_image)
{
    if (per_image)
        add(line, "%s %u (%u an image), ", what, busy, max);
    else
        add(line, "%s %u/%u, ", what, busy, max);
}

static void
draw_head(struct drawing *drawing)
{
    const struct scoreboard_summary *summary = drawing->page->summary;
    const struct scoreboard_process *process = &summary->process;
    struct line line = line_of(drawing->columns);
    char word[WATCH_PAGE_COLUMNS];

    if (summary->processes == 0) {
        add(&line, "no server runs with %s, waiting",
            log_escape(word, sizeof(word), drawing->page->run_dir));
    } else {
        add_limit(&line, "readers", summary->readers, process->max_readers,
                  process->per_image);
        add_limit(&line, "writers", summary->writers, process->max_writers,
                  process->per_image);
        add(&line, "processes %u", summary->processes);
    }
    draw(drawing, &line);
}

static void
draw_nothing(struct drawing *drawing)
{
    struct line line = line_of(drawing->columns);
    char id[LOG_ID_SIZE];

    if (drawing->page->id != NULL)
        add(&line, "no transfer of %s runs", log_id(id, drawing->page->id));
    else
        add(&line, "no transfer runs");
    draw(drawing, &line);
}

void
watch_page_format_gone(char text[WATCH_PAGE_COLUMNS + 1],
                       const struct watch_item *item)
{
    const struct transfer *t = &item->transfer;
    char id[LOG_ID_SIZE], client[CELL_SIZE], done[CELL_SIZE], age[AMOUNT_SIZE];

    format_done(done, t);
    /* The client is what a narrow screen can do without. */
    snprintf(text, WATCH_PAGE_COLUMNS + 1, "gone: %s %s after %s, at %s, %s",
             log_id(id, t->id), transfer_operations[t->operation],
             amount_format_span(age, watch_item_age_s(item)), done,
             log_word(client, sizeof(client), t->client));
}

static void
draw_last(struct drawing *drawing)
{
    struct line line = line_of(drawing->columns);
    char text[WATCH_PAGE_COLUMNS + 1];

    watch_page_format_gone(text, drawing->page->last);
    add(&line, "%s", text);
    draw(drawing, &line);
}

void
watch_page_draw(const struct watch_page *page, watch_page_line *line,
                void *opaque)
{
    struct drawing drawing = {
        .page = page,
        .line = line,
        .opaque = opaque,
        .columns = page->columns < WATCH_PAGE_COLUMNS ? page->columns
                                                      : WATCH_PAGE_COLUMNS,
        .rows_left = page->rows,
    };
    const bool has_last = page->last != NULL && page->rows > 3;

    draw_head(&drawing);
    if (page->running->count == 0)
        draw_nothing(&drawing);
    else
        draw_table(&drawing, drawing.rows_left - (has_last ? 1 : 0));
    if (has_last)
        draw_last(&drawing);
}
