/* SPDX-License-Identifier: Apache-2.0 */
/* Start and stop: options, descriptor 0, signals.  The workers do the rest. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/wait.h"
#include "options.h"
#include "server/worker.h"

#define LISTEN_FD 0
#define EXIT_USAGE 2
#define CUT_TIMEOUT_MS 10000 /* for requests to end once they are cut */

static bool
is_listening(int fd)
{
    int value = 0;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 &&
           value != 0;
}

/* A log line must never end up in a descriptor that an image got. */
static int
fill_standard_fds(void)
{
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDWR) == -1)
            return -1;
    return 0;
}

/* A request needs three descriptors; what the system allows decides. */
static void
raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Signals come through a descriptor: nothing is ever interrupted by one. */
static int
open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) == -1 ||
        signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Until the last worker has ended: the first signal lets requests finish, the
 * second cuts them. */
static int
supervise(struct pool *pool, int signal_fd)
{
    struct pollfd fds[] = {
        {.fd = pool_done_fd(pool), .events = POLLIN},
        {.fd = signal_fd, .events = POLLIN},
    };
    unsigned signals = 0;

    for (;;) {
        struct signalfd_siginfo info;
        const int ready = poll(fds, 2, signals < 2 ? -1 : CUT_TIMEOUT_MS);

        if (fds[0].revents != 0 && ready > 0)
            return EXIT_SUCCESS;
        if (ready == 0) {
            log_error("requests did not end within %d s of being cut",
                      CUT_TIMEOUT_MS / 1000);
            return EXIT_FAILURE;
        }
        if (ready == -1 || read(signal_fd, &info, sizeof(info)) == -1)
            continue;
        if (++signals == 1) {
            log_info("stopping signal=%u: requests that run are finished",
                     info.ssi_signo);
            pool_stop(pool);
        } else {
            log_warning("stopping signal=%u: requests are cut", info.ssi_signo);
            wait_cut();
        }
    }
}

int
main(int argc, char **argv)
{
    struct settings settings;
    struct pool *pool = NULL;
    struct error err;
    int signal_fd;
    int status;

    switch (options_parse(&settings, argc, argv)) {
    case OPTIONS_USAGE:
        return EXIT_USAGE;
    case OPTIONS_EXIT:
        return EXIT_SUCCESS;
    case OPTIONS_RUN:
        break;
    }
    if (!is_listening(LISTEN_FD)) {
        fprintf(stderr,
                "imageio-fcgi: descriptor 0 is not a listening socket; start "
                "it so: spawn-fcgi -n -s /run/imageio-fcgi/fcgi.sock -- %s\n",
                argv[0]);
        return EXIT_USAGE;
    }
    if (fill_standard_fds() == -1 || (signal_fd = open_signals()) == -1 ||
        wait_init() == -1) {
        fprintf(stderr, "imageio-fcgi: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    raise_fd_limit();
    log_init(settings.log_level, settings.log_to_syslog);
    if (limits_prepare(&settings.config.limits, &err) == -1) {
        log_error("%s", err.text);
        return EXIT_FAILURE;
    }
    if (pool_start(&pool, &settings.config, LISTEN_FD) == -1) {
        log_error("start %u workers: %s", settings.config.workers,
                  strerror(errno));
        return EXIT_FAILURE;
    }
    log_info("ready version=%s workers=%u max_readers=%u max_writers=%u",
             IMAGEIO_VERSION, settings.config.workers,
             settings.config.limits.max_readers,
             settings.config.limits.max_writers);
    status = supervise(pool, signal_fd);
    if (status == EXIT_SUCCESS)
        pool_free(pool);
    log_info("stopped");
    close(signal_fd);
    return status;
}
