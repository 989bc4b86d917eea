/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scoreboard: run-dir/scoreboard-N (N: its layout), a file that all
 * processes of a server have mapped.  In it are the counters, and an area for each
 * process with a slot for each worker.  A process holds a lock on its area's byte
 * (OFD, fcntl(2)), which the kernel drops however it ends: what is in an area
 * that nobody holds is not looked at, and its next holder clears it.
 */
#ifndef STATS_SCOREBOARD_H
#define STATS_SCOREBOARD_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct transfer;
struct transfer_slot;

#define SCOREBOARD_PROCESSES 64
#define SCOREBOARD_WORKERS 1024 /* of each */

/* What a process says of itself. */
struct scoreboard_process {
    unsigned workers, max_readers, max_writers;
    bool per_image; /* those two are for each image, not over all */
};

/* Takes an area for this process, once, before any thread starts.  -1: it is not
 * to be seen by others, and counts for itself alone; err says why. */
int scoreboard_join(const char *run_dir,
                    const struct scoreboard_process *process,
                    struct error *err);

/* The slot of a worker of this process; NULL: it has none. */
struct transfer_slot *scoreboard_slot(unsigned worker);

/* --- looking at it -------------------------------------------------------- */

struct scoreboard; /* of any process; one thread */

/* Of run_dir.  1; 0: no server has run there yet; -1. */
int scoreboard_open(struct scoreboard **ret, const char *run_dir,
                    struct error *err);
void scoreboard_close(struct scoreboard *board); /* NULL is allowed */

/* The one that this process has joined; not to be closed.  NULL: none. */
struct scoreboard *scoreboard_own(void);

struct scoreboard_summary {
    unsigned processes;
    uint64_t started_ms;               /* Unix time, of the oldest; 0: none */
    struct scoreboard_process process; /* of the youngest */
    unsigned readers, writers;         /* transfers of these kinds */
};

/* All that runs, in no order: visit returns false to end it.  With visit NULL
 * only the summary is made.  A board that is NULL shows nothing. */
typedef bool scoreboard_visit(void *opaque, const struct transfer *transfer);
void scoreboard_look(const struct scoreboard *board,
                     struct scoreboard_summary *ret, scoreboard_visit *visit,
                     void *opaque);

#endif
