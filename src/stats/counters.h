/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has been counted since the run directory was made, over all threads and
 * processes of a server: they lie in the scoreboard (scoreboard.h), and only
 * grow.  Usable from every thread; never fails, never waits.
 */
#ifndef STATS_COUNTERS_H
#define STATS_COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Indexes of the names below; the last of methods and statuses stands for all
 * that have no place of their own. */
#define COUNTERS_METHODS 7
#define COUNTERS_STATUSES 20
extern const char *const counters_methods[COUNTERS_METHODS];
extern const int counters_statuses[COUNTERS_STATUSES]; /* 0: others */

enum counters_backend { COUNTERS_NBD, COUNTERS_FILE, COUNTERS_BACKENDS };
enum counters_way { COUNTERS_READ, COUNTERS_WRITTEN, COUNTERS_WAYS };
extern const char *const counters_backends[COUNTERS_BACKENDS];

/* Why a client was refused, and was to come again or to ask otherwise. */
enum counters_refusal {
    REFUSED_READERS, /* no slot */
    REFUSED_WRITERS,
    REFUSED_BUSY,      /* the image's lock */
    REFUSED_TOKEN,     /* none, or another */
    REFUSED_FORBIDDEN, /* read-only, or not in the ticket's ops */
    REFUSED_UNKNOWN,   /* no such ticket */
    COUNTERS_REFUSALS,
};
extern const char *const counters_refusals[COUNTERS_REFUSALS];

/* What the program or its backend failed at. */
enum counters_failure {
    FAILED_CONNECT, /* or open */
    FAILED_READ,
    FAILED_WRITE,
    FAILED_ZERO,
    FAILED_FLUSH,
    FAILED_EXTENTS,
    FAILED_TIMEOUT,
    FAILED_NO_SPACE,
    FAILED_SERVER, /* before any backend was asked */
    COUNTERS_FAILURES,
};
extern const char *const counters_failures[COUNTERS_FAILURES];

enum counters_command {
    COMMAND_READ,
    COMMAND_WRITE,
    COMMAND_ZERO,
    COMMAND_FLUSH,
    COMMAND_BLOCK_STATUS,
    COUNTERS_COMMANDS,
};
extern const char *const counters_commands[COUNTERS_COMMANDS];

#define HISTOGRAM_BOUNDS 21
/* Upper bounds, inclusive, in microseconds, and as Prometheus wants to read them,
 * in seconds. */
struct histogram_bound {
    uint64_t us;
    const char *seconds;
};
extern const struct histogram_bound histogram_bounds[HISTOGRAM_BOUNDS];

struct histogram {
    _Atomic uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* not cumulative */
    _Atomic uint64_t sum_us;
};

struct counters {
    _Atomic uint64_t requests[COUNTERS_METHODS][COUNTERS_STATUSES];
    _Atomic uint64_t bytes[COUNTERS_BACKENDS][COUNTERS_WAYS];
    _Atomic uint64_t refusals[COUNTERS_REFUSALS];
    _Atomic uint64_t failures[COUNTERS_FAILURES];
    _Atomic uint64_t cuts; /* answers that could not be completed */
    struct histogram took[COUNTERS_METHODS];
    struct histogram commands[COUNTERS_COMMANDS]; /* of NBD */
};

/* Until the scoreboard lends its own they are this process's alone. */
struct counters *counters(void);
void counters_use(struct counters *lent); /* before any thread starts */

/* A request has ended, after took_us microseconds. */
void counters_request(const char *method, int status, uint64_t took_us);
void counters_bytes(enum counters_backend backend, enum counters_way way,
                    uint64_t bytes);
void counters_refused(enum counters_refusal refusal);
void counters_failed(enum counters_failure failure);
void counters_cut(void);
void counters_command(enum counters_command command, uint64_t took_us);

#endif
