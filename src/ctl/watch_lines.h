/* SPDX-License-Identifier: Apache-2.0 */
/* What runs, for a file or a pipe: lines of key=value, few of them. */
#ifndef CTL_WATCH_LINES_H
#define CTL_WATCH_LINES_H

#include <stdint.h>
#include <stdio.h>

struct scoreboard_summary;
struct watch_set;

#define WATCH_LINES_MS 10000 /* a running transfer has one this often, at least */

/* After each look.  A transfer has a line once it was seen twice (short requests
 * would flood), one at each tenth of it or after WATCH_LINES_MS, and one when
 * it has gone. */
void watch_lines_tell(FILE *out, struct watch_set *set, uint64_t now_ms);

/* A line for each transfer that runs. */
void watch_lines_tell_all(FILE *out, const struct watch_set *set,
                          uint64_t now_ms);

/* One line about the server. */
void watch_lines_tell_server(FILE *out, const struct scoreboard_summary *summary,
                             uint64_t now_ms);

#endif
