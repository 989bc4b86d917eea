/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for descriptors, and the one eventfd that ends all waits. */
#include "base/wait.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

static int cut_fd = -1; /* readable for ever once requests are cut */

int
wait_init(void)
{
    cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return cut_fd == -1 ? -1 : 0;
}

void
wait_cut(void)
{
    eventfd_write(cut_fd, 1);
}

int
wait_fds(struct pollfd *fds, unsigned count, int timeout_ms, struct error *err)
{
    struct pollfd all[WAIT_FDS_MAX + 1];
    const uint64_t start_us = clock_us();
    int left_ms = timeout_ms;
    int ready;

    assert(count <= WAIT_FDS_MAX);
    if (count > 0)
        memcpy(all, fds, count * sizeof(*fds));
    all[count] = (struct pollfd){.fd = cut_fd, .events = POLLIN};
    while ((ready = poll(all, count + 1, left_ms)) == -1) {
        if (errno != EINTR)
            return error_errno(err, 500, "wait for bytes");
        if (timeout_ms != WAIT_FOREVER) {
            const uint64_t spent_ms = (clock_us() - start_us) / 1000;

            left_ms = spent_ms < (uint64_t)timeout_ms
                          ? timeout_ms - (int)spent_ms
                          : 0;
        }
    }
    if (all[count].revents != 0)
        return error_set(err, 500, "request cut: the server is stopping");
    if (count > 0)
        memcpy(fds, all, count * sizeof(*fds));
    return ready;
}
