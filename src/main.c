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
#include "image/image_root.h"
#include "image/nbd_pool.h"
#include "image/nbd_uri.h"
#include "options.h"
#include "privilege.h"
#include "sandbox.h"
#include "server/worker.h"
#include "stats/scoreboard.h"
#include "ticket/ticket_watch.h"

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

/* A request needs up to six descriptors, what is kept one each; what the system
 * allows decides. */
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
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 ||
        signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Until the last worker has ended: the first signal lets requests finish, the
 * second cuts them.  Meanwhile kept connections are closed in time. */
static int
supervise(struct pool *pool, int signal_fd)
{
    struct pollfd fds[] = {
        {.fd = pool_done_fd(pool), .events = POLLIN},
        {.fd = signal_fd, .events = POLLIN},
        {.fd = nbd_pool_fd(), .events = POLLIN},
        {.fd = ticket_watch_fd(), .events = POLLIN},
    };
    unsigned signals = 0;

    for (;;) {
        struct signalfd_siginfo info;
        /* Once requests are cut, nothing but their end is waited for. */
        const int ready =
            signals < 2 ? poll(fds, 4, -1) : poll(fds, 2, CUT_TIMEOUT_MS);

        if (fds[0].revents != 0 && ready > 0)
            return EXIT_SUCCESS;
        if (ready == 0) {
            log_error("requests did not end within %d s of being cut",
                      CUT_TIMEOUT_MS / 1000);
            return EXIT_FAILURE;
        }
        if (ready > 0 && signals < 2 && fds[2].revents != 0)
            nbd_pool_tend();
        if (ready > 0 && signals < 2 && fds[3].revents != 0)
            ticket_watch_read();
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

/* The folders of --image-root, "DIR:DIR...". */
static int
add_image_roots(const char *list, struct error *err)
{
    while (list != NULL) {
        const size_t length = strcspn(list, ":");
        char *folder = strndup(list, length);
        const int rc = folder != NULL ? image_root_add(folder) : -1;

        if (rc == -1)
            error_errno(err, 500, "--image-root %.*s", (int)length, list);
        free(folder);
        if (rc == -1)
            return -1;
        list = list[length] == ':' ? list + length + 1 : NULL;
    }
    return 0;
}

/* A ticket that could replace locks or tickets would undo them. */
static int
check_own_dir(const char *what, const char *path, struct error *err)
{
    char *real = realpath(path, NULL);
    const bool is_image = image_root_allows(real != NULL ? real : path);

    free(real);
    if (is_image)
        return error_set(err, 500, "%s %s is below --image-root", what, path);
    return 0;
}

static int
prepare_image_roots(const struct settings *settings, struct error *err)
{
    if (add_image_roots(settings->image_roots, err) == -1)
        return -1;
    if (image_root_is_set()) {
        if (check_own_dir("run directory", settings->config.limits.run_dir,
                          err) == -1)
            return -1;
        return check_own_dir("ticket directory", settings->config.ticket_dir,
                             err);
    }
    log_info("no --image-root: tickets may name every file and socket that "
             "uid %u can open",
             geteuid());
    return 0;
}

#ifdef IMAGEIO_INSTRUMENTED
static const bool is_instrumented = true;
#else
static const bool is_instrumented = false;
#endif

static bool
has_sandbox(const struct settings *settings)
{
    return !settings->no_sandbox && !is_instrumented;
}

/* Images can be served without. */
static void
join_scoreboard(const struct config *config)
{
    const struct scoreboard_process process = {
        .workers = config->workers,
        .max_readers = config->limits.max_readers,
        .max_writers = config->limits.max_writers,
        .per_image = config->limits.per_image,
    };
    struct error err;

    if (scoreboard_join(config->limits.run_dir, &process, &err) == -1)
        log_warning("transfers of this process are not shown: %s", err.text);
}

/* Whatever else fails: nothing is served with more rights than these. */
static int
confine(const struct settings *settings, const struct sandbox *sandbox,
        struct error *err)
{
    if (privilege_drop(settings->user, sandbox->run_dir, err) == -1)
        return -1;
    if (settings->nbd_idle_s > 0 && ticket_watch_init() == -1)
        log_warning("no connection is kept: inotify: %m");
    if (limits_prepare(&settings->config.limits, err) == -1 ||
        prepare_image_roots(settings, err) == -1)
        return -1;
    join_scoreboard(&settings->config);
    if (has_sandbox(settings))
        return sandbox_restrict(sandbox, err);
    log_info("no sandbox: %s",
             is_instrumented ? "this build measures itself" : "--sandbox off");
    return 0;
}

/* The threads, and the rest of the sandbox, which they are in from their first
 * request on. */
static int
start(struct pool **ret, const struct settings *settings,
      const struct sandbox *sandbox, struct error *err)
{
    struct pool *pool;

    if (pool_start(&pool, &settings->config, LISTEN_FD) == -1)
        return error_errno(err, 500, "start %u workers",
                           settings->config.workers);
    if ((has_sandbox(settings) && sandbox_filter(sandbox, err) == -1) ||
        (pool_serve(pool) == -1 &&
         error_errno(err, 500, "take requests from descriptor 0") == -1)) {
        pool_stop(pool);
        pool_free(pool);
        return -1;
    }
    *ret = pool;
    return 0;
}

int
main(int argc, char **argv)
{
    struct settings settings;
    struct sandbox sandbox;
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
        wait_init() == -1 || nbd_pool_init(settings.nbd_idle_s) == -1) {
        fprintf(stderr, "imageio-fcgi: prepare signals and timers: %m\n");
        return EXIT_FAILURE;
    }
    raise_fd_limit();
    log_init(settings.log_level, settings.log_to_syslog);
    sandbox = (struct sandbox){
        .ticket_dir = settings.config.ticket_dir,
        .run_dir = settings.config.limits.run_dir,
        .with_network = nbd_uri_has_network(settings.config.uri_schemes),
    };
    if (confine(&settings, &sandbox, &err) == -1 ||
        start(&pool, &settings, &sandbox, &err) == -1) {
        log_error("%s", err.text);
        return EXIT_FAILURE;
    }
    log_info("ready version=%s uid=%u workers=%u max_readers=%u max_writers=%u",
             IMAGEIO_VERSION, geteuid(), settings.config.workers,
             settings.config.limits.max_readers,
             settings.config.limits.max_writers);
    status = supervise(pool, signal_fd);
    if (status == EXIT_SUCCESS) {
        pool_free(pool);
        nbd_pool_forget(NULL);
    }
    log_info("stopped");
    close(signal_fd);
    return status;
}
