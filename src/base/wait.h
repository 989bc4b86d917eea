/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for descriptors.  Every wait of a request goes through wait_fds(),
 * so that a second SIGTERM ends all of them at once and no signal has to
 * interrupt a system call.  Usable from every thread.
 */
#ifndef BASE_WAIT_H
#define BASE_WAIT_H

#include <poll.h>

struct error;

/* Before any thread starts.  0, or -1 with errno set. */
int wait_init(void);

/* From now on every wait_fds(), running or to come, fails. */
void wait_cut(void);

#define WAIT_FOREVER (-1)
#define WAIT_FDS_MAX 4

/* poll(2) over count <= WAIT_FDS_MAX descriptors; negative ones are passed
 * over.  Returns how many are ready, 0 when timeout_ms milliseconds went by,
 * -1 with err set (500) when the server cuts its requests. */
int wait_fds(struct pollfd *fds, unsigned count, int timeout_ms,
             struct error *err);

#endif
