/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of web servers: the listening socket, and those that are
 * open and wait for their next request (FCGI_KEEP_CONN).  All are in one epoll
 * set, so that a waiting connection costs a descriptor and never a worker, and
 * a request wakes up one thread.  Usable from every thread.
 */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

struct listener;

/* listen_fd is lent, made non-blocking, and may be shared with other
 * processes.  0, or -1 with errno. */
int listener_open(struct listener **ret, int listen_fd);
void listener_close(struct listener *listener); /* NULL is allowed */

/* From now on connections are taken.  0, or -1 with errno. */
int listener_begin(struct listener *listener);

/* A connection with something to read, be it its end; the caller's to close or
 * to keep.
 * Waits; -1 once the listener was stopped. */
int listener_next(struct listener *listener);

/* Takes fd: it waits for its next request, or is closed if the listener was
 * stopped or as many wait already as there may. */
void listener_keep(struct listener *listener, int fd);

/* No new connection is taken from now on, and those that wait are closed, but
 * for those that have a request already or are about to.  Returns at once. */
void listener_stop(struct listener *listener);

#endif
