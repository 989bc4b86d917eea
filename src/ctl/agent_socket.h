/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: clients that send a line, get one, and are closed; and a
 * sweep every second.  One thread in one poll(2), so no client may ever block
 * it: none does, as an answer fits into a new socket's buffer.
 */
#ifndef CTL_AGENT_SOCKET_H
#define CTL_AGENT_SOCKET_H

struct agent;
struct error;

/* Until SIGTERM or SIGINT: 0.  -1: it could not begin. */
int agent_socket_serve(struct agent *agent, const char *path,
                       struct error *err);

#endif
