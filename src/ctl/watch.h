/* SPDX-License-Identifier: Apache-2.0 */
/* Showing what runs, from the scoreboard, which is only read: a screen where
 * standard output is a terminal, else lines.  One thread. */
#ifndef CTL_WATCH_H
#define CTL_WATCH_H

struct error;

struct watch_target {
    const char *run_dir;
    /* Of this ticket only: its id, or the part of it that is shown; NULL: of
     * all. */
    const char *id;
};

/* One look, as lines.  -1 if no server runs, too. */
int watch_once(const struct watch_target *target, struct error *err);

/* Until the user or a signal ends it, or, with an id, until its transfers have
 * ended.  Waits for a server if there is none yet. */
int watch_go_on(const struct watch_target *target, struct error *err);

#endif
