/* SPDX-License-Identifier: Apache-2.0 */
/* Blocking use of sinks and sources. */
#include "image/stream.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/wait.h"

int
sink_push_all(struct sink *sink, const void *data, size_t size,
              struct error *err)
{
    const unsigned char *at = data;

    while (size > 0) {
        struct pollfd wire = {.fd = sink->fd, .events = POLLOUT};
        const ssize_t taken = sink->push(sink, at, size, err);

        if (taken == -1)
            return -1;
        if (taken == 0 && wait_fds(&wire, 1, WAIT_FOREVER, err) == -1)
            return -1;
        at += taken;
        size -= (size_t)taken;
    }
    return 0;
}

int
source_patience_ms(const struct source *source)
{
    const uint64_t now_us = clock_us();

    if (source->deadline_us == 0)
        return WAIT_FOREVER;
    /* Rounded up: else the last millisecond is spent asking. */
    return now_us >= source->deadline_us
               ? 0
               : (int)((source->deadline_us - now_us) / 1000) + 1;
}

ssize_t
source_pull_some(struct source *source, void *data, size_t size,
                 struct error *err)
{
    for (;;) {
        struct pollfd wire = {.fd = source->fd, .events = POLLIN};
        const ssize_t got = source->pull(source, data, size, err);

        if (got != 0)
            return got;
        if (wait_fds(&wire, 1, source_patience_ms(source), err) == -1)
            return -1;
    }
}
