/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal of this process: a screen on standard output, keys on standard
 * input, and the signals that end or stop the process, before which the terminal
 * is put back as it was.  One thread.
 */
#ifndef CTL_TERMINAL_H
#define CTL_TERMINAL_H

#include <stdbool.h>

/* Is standard output one that can be drawn on? */
bool terminal_can_draw(void);

/* Before anything is written.  SIGINT, SIGTERM and SIGHUP end the process with
 * status 0 from here on, whatever it waits for; those that are ignored stay so.
 * Standard output is written when it is flushed. */
void terminal_init(void);

/* The other screen, without a cursor, and keys that come at once and are not
 * shown.  After terminal_init(). */
void terminal_enter(void);
void terminal_leave(void); /* does nothing if it was not entered */

void terminal_size(unsigned *columns, unsigned *rows);

/* A frame is begin, lines within the size, end: false, it could not be written. */
void terminal_begin_frame(unsigned rows);
void terminal_draw_line(const char *line);
bool terminal_end_frame(void);

/* Waits for so long, or less if a key comes or the size has changed.  false: the
 * key was "q". */
bool terminal_wait(unsigned ms);

#endif
