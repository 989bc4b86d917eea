/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of worker threads. */
#include "server/worker.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "http/fcgi_io.h"
#include "image/image.h"
#include "server/config.h"
#include "server/exchange.h"
#include "server/serve.h"

/* A web server connects when it has a request to send: one that then sends no
 * complete environment must not keep a worker. */
#define ENVIRONMENT_TIMEOUT_S 5
#define ACCEPT_PAUSE_MS 100 /* when descriptors or memory have run out */
#define NO_LISTENER (-1)    /* for libfcgi: we accept */
#define BUFFER_SIZE (IMAGE_BUFFER_SIZE + EXCHANGE_TEXT_SIZE)

struct worker {
    struct pool *pool;
    pthread_t thread;
    unsigned number;
    struct fcgi_io io;
};

struct pool {
    const struct config *config;
    int listen_fd;
    int stop_fd; /* eventfd: readable for ever once no request is taken */
    int done_fd; /* eventfd: readable once nobody works */

    pthread_mutex_t accept_lock; /* one worker waits, so that one wakes up */

    /* Buffers that no request uses.  The one given back last goes out first:
     * it is warm, and memory follows the load instead of the worker count. */
    pthread_mutex_t lock; /* guards the three below */
    unsigned char **buffers;
    unsigned free_buffers;
    unsigned working; /* workers that have not ended */

    unsigned count;
    struct worker workers[];
};

static unsigned char *
take_buffer(struct pool *pool)
{
    unsigned char *buffer;

    pthread_mutex_lock(&pool->lock);
    buffer = pool->buffers[--pool->free_buffers];
    pthread_mutex_unlock(&pool->lock);
    return buffer;
}

static void
give_buffer(struct pool *pool, unsigned char *buffer)
{
    pthread_mutex_lock(&pool->lock);
    pool->buffers[pool->free_buffers++] = buffer;
    pthread_mutex_unlock(&pool->lock);
}

/* Failures of accept(2) that say nothing about the listening socket. */
static bool
is_passing(int errnum)
{
    return errnum == EAGAIN || errnum == EINTR || errnum == ECONNABORTED ||
           errnum == EPROTO;
}

/* The next connection; -1 when the server stops. */
static int
accept_next(struct pool *pool)
{
    struct pollfd fds[] = {
        {.fd = pool->stop_fd, .events = POLLIN},
        {.fd = pool->listen_fd, .events = POLLIN},
    };
    int fd = -1;

    pthread_mutex_lock(&pool->accept_lock);
    while (fd == -1) {
        if (poll(fds, 2, -1) == -1)
            continue; /* EINTR */
        if (fds[0].revents != 0)
            break;
        fd = accept4(pool->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd == -1 && !is_passing(errno)) {
            log_error("accept: %s", strerror(errno));
            poll(fds, 1, ACCEPT_PAUSE_MS);
        }
    }
    pthread_mutex_unlock(&pool->accept_lock);
    return fd;
}

/* Lets libfcgi read the environment from fd, which it then owns. */
static bool
begin_request(FCGX_Request *request, int fd)
{
    const struct timeval timeout = {.tv_sec = ENVIRONMENT_TIMEOUT_S};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    FCGX_InitRequest(request, NO_LISTENER, FCGI_FAIL_ACCEPT_ON_INTR);
    request->ipcFd = fd;
    request->keepConnection = 1; /* else it closes fd first */
    if (FCGX_Accept_r(request) < 0)
        return false;
    request->keepConnection = 0; /* one request a connection */
    return true;
}

static void
serve_connection(struct worker *worker, int fd)
{
    struct pool *pool = worker->pool;
    FCGX_Request request;
    struct error err;
    const char *server;
    enum serve_result result = SERVE_GONE;

    if (!begin_request(&request, fd)) {
        log_debug("connection without a request worker=%u", worker->number);
        return;
    }
    server = FCGX_GetParam("SERVER_SOFTWARE", request.envp);
    if (fcgi_io_init(&worker->io, &request,
                     server != NULL && strncmp(server, "lighttpd", 8) == 0,
                     &err) == -1) {
        log_error("%s worker=%u", err.text, worker->number);
    } else {
        unsigned char *buffer = take_buffer(pool);
        const struct serve_env env = {
            .config = pool->config,
            .worker = worker->number,
            .buffer = buffer,
            .text = (char *)buffer + IMAGE_BUFFER_SIZE,
        };

        result = serve(&env, &worker->io, request.envp);
        give_buffer(pool, buffer);
    }
    if (result == SERVE_DONE && fcgi_io_settle(&worker->io, &err) == 0) {
        FCGX_Finish_r(&request);
    } else {
        /* libfcgi waits up to 2 s for the other side to close, so that it can
         * read what it was sent; not if there is nobody. */
        if (result == SERVE_GONE)
            FCGX_Detach(&request);
        FCGX_Free(&request, 1);
    }
}

static void *
work(void *opaque)
{
    struct worker *worker = opaque;
    struct pool *pool = worker->pool;
    bool is_last;
    int fd;

    while ((fd = accept_next(pool)) != -1)
        serve_connection(worker, fd);

    pthread_mutex_lock(&pool->lock);
    is_last = --pool->working == 0;
    pthread_mutex_unlock(&pool->lock);
    if (is_last)
        eventfd_write(pool->done_fd, 1);
    return NULL;
}

static int
map_buffers(struct pool *pool, unsigned count)
{
    pool->buffers = calloc(count, sizeof(*pool->buffers));
    if (pool->buffers == NULL)
        return -1;
    while (pool->free_buffers < count) {
        void *buffer = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (buffer == MAP_FAILED)
            return -1;
        pool->buffers[pool->free_buffers++] = buffer;
    }
    return 0;
}

static int
start_threads(struct pool *pool, unsigned count)
{
    for (; pool->count < count; pool->count++) {
        struct worker *worker = &pool->workers[pool->count];
        int errnum;

        worker->pool = pool;
        worker->number = pool->count;
        pthread_mutex_lock(&pool->lock);
        pool->working++;
        pthread_mutex_unlock(&pool->lock);
        errnum = pthread_create(&worker->thread, NULL, work, worker);
        if (errnum != 0) {
            pthread_mutex_lock(&pool->lock);
            pool->working--;
            pthread_mutex_unlock(&pool->lock);
            errno = errnum;
            return -1;
        }
    }
    return 0;
}

int
pool_start(struct pool **ret, const struct config *config, int listen_fd)
{
    const int flags = fcntl(listen_fd, F_GETFL);
    struct pool *pool =
        calloc(1, sizeof(*pool) + config->workers * sizeof(pool->workers[0]));

    if (pool == NULL)
        return -1;
    pool->config = config;
    pool->listen_fd = listen_fd;
    pthread_mutex_init(&pool->accept_lock, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pool->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pool->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Another process on the socket may be faster at the same connection. */
    if (pool->stop_fd == -1 || pool->done_fd == -1 || flags == -1 ||
        fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
        map_buffers(pool, config->workers) == -1 || FCGX_Init() != 0 ||
        start_threads(pool, config->workers) == -1) {
        const int errnum = errno;

        pool_stop(pool);
        pool_free(pool);
        errno = errnum;
        return -1;
    }
    *ret = pool;
    return 0;
}

int
pool_done_fd(const struct pool *pool)
{
    return pool->done_fd;
}

void
pool_stop(struct pool *pool)
{
    eventfd_write(pool->stop_fd, 1);
}

void
pool_free(struct pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++)
        pthread_join(pool->workers[i].thread, NULL);
    for (unsigned i = 0; i < pool->free_buffers; i++)
        munmap(pool->buffers[i], BUFFER_SIZE);
    free(pool->buffers);
    if (pool->stop_fd != -1)
        close(pool->stop_fd);
    if (pool->done_fd != -1)
        close(pool->done_fd);
    pthread_mutex_destroy(&pool->accept_lock);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
