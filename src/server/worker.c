/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of worker threads. */
#include "server/worker.h"

#include <errno.h>
#include <fcgiapp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "http/fcgi_env.h"
#include "http/fcgi_io.h"
#include "image/image.h"
#include "server/config.h"
#include "server/exchange.h"
#include "server/listener.h"
#include "server/serve.h"
#include "server/web_server.h"

#define NO_LISTENER (-1) /* for libfcgi: we accept */
#define BUFFER_SIZE (IMAGE_BUFFER_SIZE + EXCHANGE_TEXT_SIZE)

struct worker {
    struct pool *pool;
    pthread_t thread;
    unsigned number;
    struct fcgi_env env;
    struct fcgi_io io;
};

struct pool {
    const struct config *config;
    struct listener *listener;
    int done_fd; /* eventfd: readable once nobody works */

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

/* Lets libfcgi read the environment, which comes from fd; then fd is its own.
 * On failure fd is still the caller's. */
static int
begin_request(struct worker *worker, FCGX_Request *request, int fd,
              struct error *err)
{
    struct fcgi_env *env = &worker->env;

    if (env->fd == -1 && fcgi_env_open(env) == -1)
        return error_errno(err, 500, "memory for an environment");
    if (fcgi_env_receive(env, fd, err) == -1)
        return -1;
    FCGX_InitRequest(request, NO_LISTENER, FCGI_FAIL_ACCEPT_ON_INTR);
    request->ipcFd = env->fd;
    request->keepConnection = 1; /* else it closes ipcFd first */
    if (FCGX_Accept_r(request) < 0) {
        env->fd = -1; /* was closed */
        return error_set(err, 400, "FastCGI: malformed request");
    }
    request->ipcFd = fd;
    return 0;
}

/* Ends a request that was answered.  Its connection waits for the next one if
 * the web server wants that (FastCGI 1.0, section 3.5) and nothing of this one
 * is still to come. */
static void
end_request(struct worker *worker, FCGX_Request *request)
{
    const int fd = request->ipcFd;
    const bool keeps =
        fcgi_io_is_used_up(&worker->io) && request->keepConnection;

    /* libfcgi would read on for as long as anything comes. */
    request->keepConnection = 1;
    FCGX_Detach(request);
    FCGX_Finish_r(request); /* closes all the same if it cannot send the end */
    if (request->ipcFd == -1)
        return;
    if (keeps)
        listener_keep(worker->pool->listener, fd);
    else
        fcgi_io_close(&worker->io);
}

static void
serve_connection(struct worker *worker, int fd)
{
    struct pool *pool = worker->pool;
    FCGX_Request request;
    struct error err;
    const char *server;
    unsigned char *buffer;
    enum serve_result result;

    if (begin_request(worker, &request, fd, &err) == -1) {
        /* That the web server needs a connection no more is no event. */
        if (err.status != ERROR_CLIENT_GONE)
            log_line(err.status == 500 ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG,
                     "%s worker=%u", err.text, worker->number);
        close(fd);
        return;
    }
    server = FCGX_GetParam("SERVER_SOFTWARE", request.envp);
    fcgi_io_init(&worker->io, fd, (unsigned)request.requestId,
                 web_server_is_lighttpd(server));
    web_server_check(server);
    buffer = take_buffer(pool);
    result =
        serve(&(struct serve_env){.config = pool->config,
                                  .worker = worker->number,
                                  .buffer = buffer,
                                  .text = (char *)buffer + IMAGE_BUFFER_SIZE},
              &worker->io, request.envp);
    give_buffer(pool, buffer);
    if (result == SERVE_DONE && fcgi_io_settle(&worker->io, &err) == 0) {
        end_request(worker, &request);
    } else {
        /* At once: libfcgi would read on until the other side closes, but what
         * stays unread makes this an error there (fcgi_env.h). */
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

    while ((fd = listener_next(pool->listener)) != -1)
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
        if (fcgi_env_open(&worker->env) == -1)
            return -1;
        pthread_mutex_lock(&pool->lock);
        pool->working++;
        pthread_mutex_unlock(&pool->lock);
        errnum = pthread_create(&worker->thread, NULL, work, worker);
        if (errnum != 0) {
            pthread_mutex_lock(&pool->lock);
            pool->working--;
            pthread_mutex_unlock(&pool->lock);
            fcgi_env_close(&worker->env);
            errno = errnum;
            return -1;
        }
    }
    return 0;
}

int
pool_start(struct pool **ret, const struct config *config, int listen_fd)
{
    struct pool *pool =
        calloc(1, sizeof(*pool) + config->workers * sizeof(pool->workers[0]));

    if (pool == NULL)
        return -1;
    pool->config = config;
    pthread_mutex_init(&pool->lock, NULL);
    pool->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->done_fd == -1 ||
        listener_open(&pool->listener, listen_fd) == -1 ||
        map_buffers(pool, config->workers) == -1 || FCGX_Init() != 0 ||
        start_threads(pool, config->workers) == -1) {
        const int errnum = errno;

        if (pool->listener != NULL)
            pool_stop(pool);
        pool_free(pool);
        errno = errnum;
        return -1;
    }
    *ret = pool;
    return 0;
}

int
pool_serve(struct pool *pool)
{
    return listener_begin(pool->listener);
}

int
pool_done_fd(const struct pool *pool)
{
    return pool->done_fd;
}

void
pool_stop(struct pool *pool)
{
    listener_stop(pool->listener);
}

void
pool_free(struct pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++) {
        pthread_join(pool->workers[i].thread, NULL);
        fcgi_env_close(&pool->workers[i].env);
    }
    for (unsigned i = 0; i < pool->free_buffers; i++)
        munmap(pool->buffers[i], BUFFER_SIZE);
    free(pool->buffers);
    listener_close(pool->listener);
    if (pool->done_fd != -1)
        close(pool->done_fd);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
