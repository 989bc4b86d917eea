/* SPDX-License-Identifier: Apache-2.0 */
/* The watch on the ticket directory. */
#include "ticket/ticket_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "image/nbd_pool.h"

#define CHANGES                                                           \
    (IN_ATTRIB | IN_CLOSE_WRITE | IN_DELETE | IN_MODIFY | IN_MOVED_FROM | \
     IN_MOVED_TO)
#define LOSSES (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)
#define READ_BYTES 4096 /* several events at once */

static struct {
    int fd;

    pthread_mutex_t lock; /* guards the rest */
    int watch;            /* inotify's number; -1: none */
    dev_t dev;            /* of the folder that is watched */
    ino_t ino;
    bool has_warned;
} state = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .watch = -1};

int
ticket_watch_init(void)
{
    state.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    return state.fd == -1 ? -1 : 0;
}

int
ticket_watch_fd(void)
{
    return state.fd;
}

/* Moves the watch to the folder.  With the lock held. */
static bool
watch(int dir_fd, const struct stat *st)
{
    char path[64];

    if (state.watch != -1)
        inotify_rm_watch(state.fd, state.watch);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", dir_fd);
    state.watch = inotify_add_watch(state.fd, path,
                                    CHANGES | IN_DELETE_SELF | IN_MOVE_SELF);
    state.dev = st->st_dev;
    state.ino = st->st_ino;
    if (state.watch == -1 && !state.has_warned) {
        state.has_warned = true;
        log_warning("ticket directory cannot be watched, so no connection is "
                    "kept: %m");
    }
    return state.watch != -1;
}

uint64_t
ticket_watch_epoch(int dir_fd)
{
    struct stat st;
    bool is_watched;

    if (state.fd == -1 || fstat(dir_fd, &st) == -1)
        return 0;
    pthread_mutex_lock(&state.lock);
    is_watched =
        state.watch != -1 && state.dev == st.st_dev && state.ino == st.st_ino;
    if (!is_watched)
        is_watched = watch(dir_fd, &st);
    pthread_mutex_unlock(&state.lock);
    return is_watched ? nbd_pool_epoch() : 0;
}

static void
take_event(const struct inotify_event *event)
{
    if (event->mask & LOSSES) {
        pthread_mutex_lock(&state.lock);
        if (event->wd == state.watch)
            state.watch = -1;
        pthread_mutex_unlock(&state.lock);
    }
    /* Without a name the folder itself has gone, or events were lost. */
    nbd_pool_forget(event->len > 0 ? event->name : NULL);
}

void
ticket_watch_read(void)
{
    char events[READ_BYTES]
        __attribute__((aligned(__alignof__(struct inotify_event))));
    const ssize_t length = read(state.fd, events, sizeof(events));

    for (ssize_t at = 0; at < length;) {
        const struct inotify_event *event =
            (const struct inotify_event *)(events + at);

        take_event(event);
        at += (ssize_t)(sizeof(*event) + event->len);
    }
}
