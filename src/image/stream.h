/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ends that an image's bytes flow to and from.  A backend drives them
 * (it knows how to overlap its own I/O with the wire); they only take and give
 * bytes in order, and never wait: the backend waits, on `fd` and its own
 * descriptors at once.
 */
#ifndef IMAGE_STREAM_H
#define IMAGE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

struct sink {
    /* Takes up to size > 0 bytes.  Returns how many it took; 0: none now, wait
     * for POLLOUT on fd and offer the same bytes again, which must not move or
     * change until then.  -1: err is set, nothing more can be sent. */
    ssize_t (*push)(struct sink *sink, const void *data, size_t size,
                    struct error *err);
    /* Takes bytes of a file without their passing through memory of ours, as
     * push does, from the offset on, up to size > 0.  Not for the last bytes
     * of all: those are pushed.  0 with *is_stuck: no more can be had in this
     * way, and reading tells why.  NULL: push is as fast. */
    ssize_t (*push_file)(struct sink *sink, int file_fd, uint64_t offset,
                         size_t size, bool *is_stuck, struct error *err);
    int fd; /* the wire, not owned; also shows POLLRDHUP when it is gone */
};

struct source {
    /* Gives up to size > 0 bytes.  Returns how many; 0: none now, wait for
     * POLLIN on fd.  -1: err is set; also when the bytes end too early. */
    ssize_t (*pull)(struct source *source, void *data, size_t size,
                    struct error *err);
    int fd; /* the wire, not owned; -1: never has to be waited for */
    /* clock_us() from when on nothing is waited for any more: pull then fails,
     * if there is still nothing.  0: for ever. */
    uint64_t deadline_us;
};

/* For a backend without I/O of its own to overlap: wait as long as the client
 * takes.  sink_push_all() returns once all is taken. */
int sink_push_all(struct sink *sink, const void *data, size_t size,
                  struct error *err);
/* How long wait_fds() may wait for more, in milliseconds. */
int source_patience_ms(const struct source *source);
/* Returns at least 1 byte, at most size, or -1. */
ssize_t source_pull_some(struct source *source, void *data, size_t size,
                         struct error *err);

#endif
