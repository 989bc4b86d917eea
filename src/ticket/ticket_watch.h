/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Noticing that a ticket changed or went, by inotify(7), so that what is kept
 * open for it is closed at once.  The folder is watched as soon as a ticket of
 * it was asked for, and again when another folder has taken its place.
 */
#ifndef TICKET_TICKET_WATCH_H
#define TICKET_TICKET_WATCH_H

#include <stdint.h>

/* Before any thread starts.  -1 with errno: nothing can be watched, so nothing
 * is kept; the rest works. */
int ticket_watch_init(void);

/* Readable after changes: call ticket_watch_read().  -1: never. */
int ticket_watch_fd(void);
void ticket_watch_read(void);

/* The epoch (nbd_pool.h) to note before a ticket is read in the folder that
 * dir_fd is, which may be an O_PATH descriptor.  0: changes in it go unnoticed.
 * Usable from every thread. */
uint64_t ticket_watch_epoch(int dir_fd);

#endif
