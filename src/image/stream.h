/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ends that an image's bytes flow to and from.  A backend drives them
 * (it knows how to overlap its own I/O with the wire); they only take and give
 * bytes in order, and never wait: the backend waits, on `fd` and its own
 * descriptors at once.
 */
#ifndef IMAGE_STREAM_H
#define IMAGE_STREAM_H

#include <stddef.h>
#include <sys/types.h>

struct error;

struct sink {
    /* Takes up to size > 0 bytes.  Returns how many it took; 0: none now, wait
     * for POLLOUT on fd and offer the same bytes again, which must not move or
     * change until then.  -1: err is set, nothing more can be sent. */
    ssize_t (*push)(struct sink *sink, const void *data, size_t size,
                    struct error *err);
    int fd; /* the wire, not owned; also shows POLLRDHUP when it is gone */
};

struct source {
    /* Gives up to size > 0 bytes.  Returns how many; 0: none now, wait for
     * POLLIN on fd.  -1: err is set; also when the bytes end too early. */
    ssize_t (*pull)(struct source *source, void *data, size_t size,
                    struct error *err);
    int fd; /* the wire, not owned; -1: never has to be waited for */
};

/* For a backend without I/O of its own to overlap: wait as long as the client
 * takes.  sink_push_all() returns once all is taken. */
int sink_push_all(struct sink *sink, const void *data, size_t size,
                  struct error *err);
/* Returns at least 1 byte, at most size, or -1. */
ssize_t source_pull_some(struct source *source, void *data, size_t size,
                         struct error *err);

#endif
