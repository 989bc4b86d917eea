/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epoll set.  Every member but the one that stops it is one-shot: whoever
 * gets it is alone with it until it is armed again.
 */
#include "server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define ACCEPT_PAUSE_MS 100 /* when descriptors or memory have run out */
#define WAITING_MAX 4096 /* a web server keeps some for each worker */

struct waiting {
    int fd;
    bool is_new; /* has not had a request yet, so that one is on its way */
};

struct listener {
    int listen_fd;
    int epoll_fd;
    int stop_fd; /* eventfd: readable for ever once stopped */

    pthread_mutex_t lock; /* guards the three below */
    bool is_stopped;
    unsigned waiting_count;
    struct waiting waiting[WAITING_MAX]; /* connections without a request */
};

/* Adds fd, or arms it again. */
static int
arm(struct listener *listener, int fd, unsigned flags)
{
    struct epoll_event event = {.events = EPOLLIN | flags, .data.fd = fd};

    if (epoll_ctl(listener->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
        return 0;
    return errno == ENOENT
               ? epoll_ctl(listener->epoll_fd, EPOLL_CTL_ADD, fd, &event)
               : -1;
}

int
listener_open(struct listener **ret, int listen_fd)
{
    const int flags = fcntl(listen_fd, F_GETFL);
    struct listener *listener = calloc(1, sizeof(*listener));
    int errnum;

    if (listener == NULL)
        return -1;
    listener->listen_fd = listen_fd;
    pthread_mutex_init(&listener->lock, NULL);
    listener->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    listener->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Another process on the socket may be faster at the same connection. */
    if (listener->epoll_fd != -1 && listener->stop_fd != -1 && flags != -1 &&
        fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
        arm(listener, listener->stop_fd, 0) == 0) {
        *ret = listener;
        return 0;
    }
    errnum = errno;
    listener_close(listener);
    errno = errnum;
    return -1;
}

int
listener_begin(struct listener *listener)
{
    return arm(listener, listener->listen_fd, EPOLLONESHOT);
}

void
listener_close(struct listener *listener)
{
    if (listener == NULL)
        return;
    for (unsigned i = 0; i < listener->waiting_count; i++)
        close(listener->waiting[i].fd);
    if (listener->stop_fd != -1)
        close(listener->stop_fd);
    if (listener->epoll_fd != -1)
        close(listener->epoll_fd);
    pthread_mutex_destroy(&listener->lock);
    free(listener);
}

/* Failures of accept(2) that say nothing about the listening socket. */
static bool
is_passing(int errnum)
{
    return errnum == EAGAIN || errnum == EINTR || errnum == ECONNABORTED ||
           errnum == EPROTO;
}

/* A new connection, or -1. */
static int
accept_one(struct listener *listener)
{
    const int fd =
        accept4(listener->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd == -1 && !is_passing(errno)) {
        struct pollfd stop = {.fd = listener->stop_fd, .events = POLLIN};

        log_error("accept: %m");
        poll(&stop, 1, ACCEPT_PAUSE_MS);
    }
    arm(listener, listener->listen_fd, EPOLLONESHOT);
    return fd;
}

/* No longer waits.  false: it was closed meanwhile. */
static bool
forget(struct listener *listener, int fd)
{
    bool is_here = false;

    pthread_mutex_lock(&listener->lock);
    for (unsigned i = 0; i < listener->waiting_count && !is_here; i++) {
        if (listener->waiting[i].fd == fd) {
            listener->waiting[i] = listener->waiting[--listener->waiting_count];
            is_here = true;
        }
    }
    pthread_mutex_unlock(&listener->lock);
    return is_here;
}

/* Lets fd wait for a request.  false: it cannot. */
static bool
let_wait(struct listener *listener, int fd, bool is_new)
{
    bool can_wait = false;

    /* Armed under the lock: a stop closes it before or finds it after. */
    pthread_mutex_lock(&listener->lock);
    if (!listener->is_stopped && listener->waiting_count < WAITING_MAX &&
        arm(listener, fd, EPOLLONESHOT) == 0) {
        listener->waiting[listener->waiting_count++] =
            (struct waiting){.fd = fd, .is_new = is_new};
        can_wait = true;
    }
    pthread_mutex_unlock(&listener->lock);
    return can_wait;
}

void
listener_keep(struct listener *listener, int fd)
{
    if (!let_wait(listener, fd, false))
        close(fd);
}

static bool
has_request(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static bool
is_stopped(struct listener *listener)
{
    bool stopped;

    pthread_mutex_lock(&listener->lock);
    stopped = listener->is_stopped;
    pthread_mutex_unlock(&listener->lock);
    return stopped;
}

/* One of those that a stop has left, or -1. */
static int
take_left(struct listener *listener)
{
    int fd = -1;

    pthread_mutex_lock(&listener->lock);
    if (listener->waiting_count > 0)
        fd = listener->waiting[--listener->waiting_count].fd;
    pthread_mutex_unlock(&listener->lock);
    return fd;
}

int
listener_next(struct listener *listener)
{
    for (;;) {
        struct epoll_event event;
        int fd;

        if (epoll_wait(listener->epoll_fd, &event, 1, -1) != 1)
            continue; /* EINTR */
        fd = event.data.fd;
        if (fd == listener->stop_fd)
            return take_left(listener);
        if (fd != listener->listen_fd) {
            if (forget(listener, fd))
                return fd;
            continue;
        }
        if (is_stopped(listener))
            return take_left(listener);
        fd = accept_one(listener);
        /* One that cannot wait here is waited for where it is read. */
        if (fd != -1 && (has_request(fd) || !let_wait(listener, fd, true)))
            return fd;
    }
}

void
listener_stop(struct listener *listener)
{
    unsigned left = 0;

    pthread_mutex_lock(&listener->lock);
    listener->is_stopped = true;
    for (unsigned i = 0; i < listener->waiting_count; i++) {
        const struct waiting waiting = listener->waiting[i];

        if (waiting.is_new || has_request(waiting.fd))
            listener->waiting[left++] = waiting;
        else
            close(waiting.fd);
    }
    listener->waiting_count = left;
    pthread_mutex_unlock(&listener->lock);
    eventfd_write(listener->stop_fd, 1);
}
