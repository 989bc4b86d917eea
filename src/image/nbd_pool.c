/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are kept between requests. */
#include "image/nbd_pool.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/wait.h"
#include "image/image_ref.h"
#include "image/image_root.h"
#include "image/nbd_conn.h"
#include "image/nbd_uri.h"

#define US_A_SECOND UINT64_C(1000000)
/* A server that greets no sooner may be one that serves a single client, and
 * what we keep is that client.  (Most need less than a millisecond.) */
#define GREETING_MS 20

#define AGE_MAX 10 /* times the idle time */

struct member {
    struct nbd_conn conn; /* first */
    struct member *next;  /* of those that are kept */
    char *key;            /* what a request has to have in common; NULL: never
                             to be kept */
    char *owner;          /* the ticket's id; NULL as key */
    uint64_t epoch;       /* in which the ticket was read */
    uint64_t born_us;     /* clock_us() of its beginning */
    uint64_t idle_us;     /* the same of its coming back */
    bool is_watched;      /* in the epoll set, also while it is lent */
};

/* A request that has waited for a greeting for longer than usual. */
struct waiter {
    const char *server;
    struct waiter *next;
};

static struct {
    uint64_t idle_limit_us; /* 0: nothing is kept */
    int timer_fd;
    int epoll_fd; /* the timer, and the servers of what was ever kept */

    pthread_mutex_t lock; /* guards the rest */
    struct member *kept;  /* the one that came back last is first */
    unsigned kept_count;
    bool is_armed; /* the timer, while anything is kept and perhaps longer */
    struct waiter *waiters;
    uint64_t epoch;
} pool = {
    .timer_fd = -1,
    .epoll_fd = -1,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .epoch = 1,
};

/* Begins to watch fd for what makes nbd_pool_tend() necessary. */
static int
watch(int fd, unsigned events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    return epoll_ctl(pool.epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

int
nbd_pool_init(unsigned idle_s)
{
    pool.idle_limit_us = idle_s * US_A_SECOND;
    pool.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    pool.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (pool.timer_fd == -1 || pool.epoll_fd == -1)
        return -1;
    return watch(pool.timer_fd, EPOLLIN);
}

int
nbd_pool_fd(void)
{
    return pool.epoll_fd;
}

static void
member_free(struct member *member)
{
    if (member == NULL)
        return;
    nbd_conn_close(&member->conn);
    free(member->key);
    free(member->owner);
    free(member);
}

static void
free_list(struct member *list)
{
    while (list != NULL) {
        struct member *next = list->next;

        member_free(list);
        list = next;
    }
}

/* Removes what *at points to from the kept ones.  With the lock held. */
static struct member *
unlink_member(struct member **at)
{
    struct member *member = *at;

    *at = member->next;
    pool.kept_count--;
    return member;
}

/* The same, to be closed without the lock. */
static void
move_member(struct member **list, struct member **at)
{
    struct member *member = unlink_member(at);

    member->next = *list;
    *list = member;
}

/* Moves those that match from the kept ones to *list: of owner, to server, or
 * idle since before_us.  NULL and 0: any. */
static void
take_out(struct member **list, const char *owner, const char *server,
         uint64_t before_us)
{
    struct member **at = &pool.kept;

    while (*at != NULL) {
        const struct member *member = *at;

        if ((owner != NULL && strcmp(member->owner, owner) != 0) ||
            (server != NULL && strcmp(member->conn.server, server) != 0) ||
            (before_us != 0 && member->idle_us > before_us))
            at = &(*at)->next;
        else
            move_member(list, at);
    }
}

static void
arm_timer(uint64_t after_us)
{
    const struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(after_us / US_A_SECOND),
                     .tv_nsec = (long)(after_us % US_A_SECOND * 1000)},
    };

    timerfd_settime(pool.timer_fd, 0, &when, NULL);
    pool.is_armed = true;
}

/* With the lock held. */
static void
expire(struct member **over)
{
    uint64_t expirations, now_us, oldest_us;

    if (read(pool.timer_fd, &expirations, sizeof(expirations)) == -1)
        return;
    pool.is_armed = false;
    oldest_us = now_us = clock_us();
    take_out(over, NULL, NULL, now_us - pool.idle_limit_us);
    for (const struct member *at = pool.kept; at != NULL; at = at->next)
        oldest_us = at->idle_us;
    if (pool.kept != NULL) /* 1: zero would disarm it */
        arm_timer(pool.idle_limit_us - (now_us - oldest_us) + 1);
}

void
nbd_pool_tend(void)
{
    struct epoll_event event;
    struct member *over = NULL;

    pthread_mutex_lock(&pool.lock);
    while (epoll_wait(pool.epoll_fd, &event, 1, 0) == 1) {
        struct member **at = &pool.kept;

        if (event.data.fd == pool.timer_fd) {
            expire(&over);
            continue;
        }
        while (*at != NULL && nbd_aio_get_fd((*at)->conn.nbd) != event.data.fd)
            at = &(*at)->next;
        if (*at != NULL) /* else it is lent, and that request will see */
            move_member(&over, at);
    }
    pthread_mutex_unlock(&pool.lock);
    free_list(over);
}

void
nbd_pool_forget(const char *owner)
{
    struct member *gone = NULL;

    pthread_mutex_lock(&pool.lock);
    pool.epoch++;
    take_out(&gone, owner, NULL, 0);
    pthread_mutex_unlock(&pool.lock);
    free_list(gone);
}

uint64_t
nbd_pool_epoch(void)
{
    uint64_t epoch;

    pthread_mutex_lock(&pool.lock);
    epoch = pool.epoch;
    pthread_mutex_unlock(&pool.lock);
    return epoch;
}

/* With the lock held. */
static bool
is_wanted(const char *server)
{
    for (struct waiter *at = pool.waiters; at != NULL; at = at->next)
        if (strcmp(at->server, server) == 0)
            return true;
    return false;
}

bool
nbd_pool_is_wanted(const char *server)
{
    bool wanted;

    pthread_mutex_lock(&pool.lock);
    wanted = is_wanted(server);
    pthread_mutex_unlock(&pool.lock);
    return wanted;
}

/* The state of the server's socket file: a server that was replaced has bound
 * another one to the same path.  -1: not known. */
static int
stat_server(const struct image_ref *ref, struct stat *ret)
{
    if (ref->uri == NULL)
        return image_root_stat(ref->socket, ret);
    *ret = (struct stat){.st_dev = 0};
    return nbd_uri_is_local(ref->uri) ? -1 : 0;
}

/* What has to be equal.  NULL: not to be kept. */
static char *
format_key(const struct image_ref *ref)
{
    const char *export = ref->export != NULL ? ref->export : "";
    const char *bitmap = ref->bitmap != NULL ? ref->bitmap : "";
    const char *server = image_ref_server(ref);
    struct stat st;
    char *key;

    if (pool.idle_limit_us == 0 || ref->epoch == 0 ||
        stat_server(ref, &st) == -1)
        return NULL;
    /* Lengths, as names may hold any byte. */
    if (asprintf(&key,
                 "%" PRIx64 " %zu:%s %zu:%s %zu:%s %zu:%s %jx %jx %jx.%lx",
                 ref->version, strlen(ref->owner), ref->owner, strlen(server),
                 server, strlen(export), export, strlen(bitmap), bitmap,
                 (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
                 (uintmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec) == -1)
        return NULL;
    return key;
}

/* A kept connection that is still alive, or NULL. */
static struct member *
take_kept(const char *key, const struct image_env *env, uint64_t epoch)
{
    struct member *found = NULL, *dead = NULL;

    if (key == NULL)
        return NULL;
    pthread_mutex_lock(&pool.lock);
    for (struct member **at = &pool.kept; *at != NULL && found == NULL;) {
        if (strcmp((*at)->key, key) != 0)
            at = &(*at)->next;
        else if (nbd_conn_is_alive(&(*at)->conn))
            found = unlink_member(at);
        else
            move_member(&dead, at);
    }
    pthread_mutex_unlock(&pool.lock);
    free_list(dead);
    if (found != NULL) {
        nbd_conn_lend(&found->conn, env);
        found->conn.is_kept = true;
        found->epoch = epoch;
    }
    return found;
}

/* A new connection that has begun to greet. */
static int
begin(struct member **ret, char *key, const struct image_ref *ref,
      const struct image_env *env, struct error *err)
{
    struct member *member = calloc(1, sizeof(*member));

    if (member == NULL) {
        free(key);
        return error_errno(err, 500, "open nbd %s", image_ref_server(ref));
    }
    member->key = key;
    member->epoch = ref->epoch;
    member->born_us = clock_us();
    member->conn.connecting_fd = -1;
    if (key != NULL)
        member->owner = strdup(ref->owner);
    if (key != NULL && member->owner == NULL) {
        error_errno(err, 500, "open nbd %s", image_ref_server(ref));
        member_free(member);
        return -1;
    }
    if (nbd_conn_start(&member->conn, ref, env, err) == -1) {
        member_free(member);
        return -1;
    }
    *ret = member;
    return 0;
}

/* Waits for a greeting that is late.  If that is because of what we keep, it
 * goes, and what others give back meanwhile goes as well. */
static int
greet_late(struct member *member, struct error *err)
{
    struct waiter self = {.server = member->conn.server};
    struct waiter **at = &pool.waiters;
    struct member *in_the_way = NULL;
    int ready;

    pthread_mutex_lock(&pool.lock);
    self.next = pool.waiters;
    pool.waiters = &self;
    take_out(&in_the_way, NULL, self.server, 0);
    pthread_mutex_unlock(&pool.lock);
    free_list(in_the_way);

    ready = nbd_conn_greet(&member->conn, WAIT_FOREVER, err);

    pthread_mutex_lock(&pool.lock);
    while (*at != &self)
        at = &(*at)->next;
    *at = self.next;
    pthread_mutex_unlock(&pool.lock);
    return ready;
}

/* With key, which it takes.  may_be_kept: one that comes back while the server
 * lets us wait will do. */
static int
connect_anew(struct nbd_conn **ret, char *key, bool may_be_kept,
             const struct image_ref *ref, const struct image_env *env,
             struct error *err)
{
    struct member *member = NULL, *kept = NULL;
    int ready;

    if (begin(&member, key, ref, env, err) == -1)
        return -1;
    ready = nbd_conn_greet(&member->conn, GREETING_MS, err);
    if (ready == 0 && may_be_kept)
        kept = take_kept(key, env, ref->epoch);
    if (kept != NULL) {
        /* What the server was busy with was one of ours. */
        member_free(member);
        member = kept;
    } else if (ready == 0) {
        ready = greet_late(member, err);
    }
    if (ready == -1) {
        member_free(member);
        return -1;
    }
    *ret = &member->conn;
    return 0;
}

int
nbd_pool_take(struct nbd_conn **ret, const struct image_ref *ref,
              const struct image_env *env, struct error *err)
{
    char *key = format_key(ref);
    struct member *member = take_kept(key, env, ref->epoch);

    if (member == NULL)
        return connect_anew(ret, key, true, ref, env, err);
    free(key);
    *ret = &member->conn;
    return 0;
}

int
nbd_pool_take_fresh(struct nbd_conn **ret, const struct image_ref *ref,
                    const struct image_env *env, struct error *err)
{
    return connect_anew(ret, format_key(ref), false, ref, env, err);
}

struct nbd_conn *
nbd_pool_start_more(const struct image_ref *ref, const struct image_env *env)
{
    struct member *member = NULL;
    struct error ignored;

    return begin(&member, NULL, ref, env, &ignored) == 0 ? &member->conn : NULL;
}

/* Puts it in front of the others; what is too many then goes to *over.  With
 * the lock held. */
static bool
keep(struct member *member, struct member **over)
{
    struct member **last = &pool.kept;

    const uint64_t now_us = clock_us();

    if (member->epoch != pool.epoch || is_wanted(member->conn.server) ||
        now_us - member->born_us > AGE_MAX * pool.idle_limit_us)
        return false;
    /* Only the end is of interest (one event): what the server says while the
     * connection is lent is not. */
    if (!member->is_watched &&
        watch(nbd_aio_get_fd(member->conn.nbd), EPOLLRDHUP | EPOLLET) == -1)
        return false;
    member->is_watched = true;
    if (!pool.is_armed)
        arm_timer(pool.idle_limit_us);
    member->idle_us = now_us;
    member->next = pool.kept;
    pool.kept = member;
    pool.kept_count++;
    if (pool.kept_count > NBD_POOL_KEPT_MAX) {
        while ((*last)->next != NULL)
            last = &(*last)->next;
        move_member(over, last);
    }
    return true;
}

void
nbd_pool_give(struct nbd_conn *conn)
{
    struct member *member = (struct member *)conn;
    struct member *over = NULL;
    bool is_kept = false;

    if (conn != NULL && member->key != NULL && nbd_conn_is_clean(conn) &&
        nbd_can_multi_conn(conn->nbd) == 1) {
        pthread_mutex_lock(&pool.lock);
        is_kept = keep(member, &over);
        pthread_mutex_unlock(&pool.lock);
    }
    free_list(over);
    if (!is_kept)
        member_free(member);
}
