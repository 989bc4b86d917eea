/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A web server's side of a connection: bytes that come in pieces.  In an input
 * their sizes come first: a byte that says how many, and so many bytes.  They
 * are used over and over; 0 stands for all there is.
 */
#ifndef WIRE_H
#define WIRE_H

#include <errno.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

struct sizes {
    const uint8_t *bytes;
    size_t count, next;
};

static inline struct sizes
sizes_take(struct input *input)
{
    struct sizes sizes = {.count = input_byte(input)};

    if (sizes.count > input->size)
        sizes.count = input->size;
    sizes.bytes = input->data;
    if (sizes.count > 0)
        input->data += sizes.count;
    input->size -= sizes.count;
    return sizes;
}

/* The next one, of what is left. */
static inline size_t
sizes_next(struct sizes *sizes, size_t left)
{
    const size_t size =
        sizes->count == 0 ? 0 : sizes->bytes[sizes->next++ % sizes->count];

    return size == 0 || size > left ? left : size;
}

struct wire {
    int ours, theirs; /* the ends of a pair of sockets */
    struct sizes sizes;
    const uint8_t *data; /* to be sent; lent */
    size_t size, sent;   /* bytes of it */
    bool is_closed;      /* all is sent, and their end is shut */
};

static inline void
wire_open(struct wire *wire, struct sizes sizes, const uint8_t *data,
          size_t size)
{
    int fds[2];

    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    *wire = (struct wire){.ours = fds[0],
                          .theirs = fds[1],
                          .sizes = sizes,
                          .data = data,
                          .size = size};
}

static inline void
wire_close(struct wire *wire)
{
    close(wire->ours);
    close(wire->theirs);
}

/* Sends size bytes, or as many as there is room for. */
static inline void
wire_send(struct wire *wire, size_t size)
{
    ssize_t sent;

    if (size == 0)
        return;
    sent = send(wire->theirs, wire->data + wire->sent, size,
                MSG_DONTWAIT | MSG_NOSIGNAL);
    check(sent >= 0 || errno == EAGAIN);
    if (sent > 0)
        wire->sent += (size_t)sent;
}

/* Sends the next piece; after the last one shuts their end. */
static inline void
wire_go_on(struct wire *wire)
{
    if (wire->sent < wire->size) {
        wire_send(wire, sizes_next(&wire->sizes, wire->size - wire->sent));
    } else {
        check(!wire->is_closed); /* or it waits for ever */
        wire->is_closed = true;
        check(shutdown(wire->theirs, SHUT_WR) == 0);
    }
}

/* How much of what is sent was taken out of our end. */
static inline size_t
wire_taken(const struct wire *wire)
{
    int waiting = -1;

    check(ioctl(wire->ours, FIONREAD, &waiting) == 0 && waiting >= 0);
    return wire->sent - (size_t)waiting;
}

#endif
