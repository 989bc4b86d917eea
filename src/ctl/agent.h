/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent may ask for: one line of JSON in, one object out.  Touches the
 * ticket directory, which it opens anew each time, and the log; no socket.  One
 * thread.
 */
#ifndef CTL_AGENT_H
#define CTL_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/ticket_store.h"

struct json;

struct agent {
    struct ticket_store store; /* not open */
    uint64_t idle_s;           /* of a ticket that does not say */
    bool has_trouble;          /* the last sweep failed, and the log says so */
};

/* Sets *active to the number of valid tickets.  -1: the directories cannot be
 * used. */
int agent_begin(struct agent *agent, size_t *active, struct error *err);

/* The answer, which is the caller's; never NULL. */
struct json *agent_answer(struct agent *agent, const char *line, size_t length);

/* The answer to what is no line at all. */
struct json *agent_refusal(const char *message);

/* Now and then: removes what has ended. */
void agent_tend(struct agent *agent);

#endif
