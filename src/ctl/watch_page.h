/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs, for a screen: from the state to lines that fit in.  Pure.  Lines
 * are printable ASCII, whatever ids and clients hold.
 */
#ifndef CTL_WATCH_PAGE_H
#define CTL_WATCH_PAGE_H

struct scoreboard_summary;
struct watch_item;
struct watch_list;

#define WATCH_PAGE_COLUMNS 400 /* no line is longer */

struct watch_page {
    unsigned columns, rows; /* of the screen */
    const char *run_dir;
    const char *id; /* of the ticket that is looked for; NULL: of all */
    const struct scoreboard_summary *summary;
    const struct watch_list *running;
    const struct watch_item *last; /* that has gone; NULL: none */
};

/* Gives the lines, from the top, to the caller: page->rows of them at most. */
typedef void watch_page_line(void *opaque, const char *line);
void watch_page_draw(const struct watch_page *page, watch_page_line *line,
                     void *opaque);

/* What is said of one that has gone. */
void watch_page_format_gone(char text[WATCH_PAGE_COLUMNS + 1],
                            const struct watch_item *item);

#endif
