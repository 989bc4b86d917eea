/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records are looked at in what the connection has (MSG_PEEK), and then as
 * much is taken out of it as belongs to the beginning.  libfcgi trusts what it
 * reads: it gets nothing that is not in order.
 */
#include "http/fcgi_env.h"

#include <errno.h>
#include <fastcgi.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/span.h"
#include "base/wait.h"

/* A web server sends it in one piece: a peer that begins one and does not go
 * on must not keep a worker. */
#define TIMEOUT_MS 5000
#define PIECE_BYTES 16384

/* The name-value pairs of the environment (FastCGI 1.0, section 3.4), as far as
 * they have come.  libfcgi allocates whatever a length says, and ends the
 * program if it cannot. */
struct pairs {
    unsigned char sizes[8]; /* of a name and a value, one or four bytes each */
    size_t have;            /* bytes of them */
    uint64_t left;          /* of the name and the value still to come */
};

/* How far a beginning has come. */
struct scan {
    unsigned char header[FCGI_HEADER_LEN];
    size_t have;    /* bytes of the header */
    size_t content; /* of its record still to come */
    size_t padding; /* and after that */
    FCGI_BeginRequestBody begin;
    unsigned id;  /* of the request; 0: not begun */
    bool is_last; /* the record is the empty PARAMS */
    bool in_params;
    struct pairs pairs;
};

static bool
is_done(const struct scan *scan)
{
    return scan->is_last && scan->padding == 0;
}

/* The size at the start of sizes. */
static uint64_t
take_size(const unsigned char **sizes)
{
    const unsigned char *at = *sizes;

    *sizes += at[0] < 0x80 ? 1 : 4;
    if (at[0] < 0x80)
        return at[0];
    return (uint64_t)(at[0] & 0x7f) << 24 | (uint64_t)at[1] << 16 |
           (uint64_t)at[2] << 8 | at[3];
}

static bool
has_sizes(const struct pairs *pairs)
{
    const size_t name = pairs->sizes[0] < 0x80 ? 1 : 4;

    return pairs->have > name &&
           pairs->have == name + (pairs->sizes[name] < 0x80 ? 1 : 4);
}

static int
take_pairs(struct pairs *pairs, const unsigned char *data, size_t size,
           struct error *err)
{
    while (size > 0) {
        const unsigned char *sizes = pairs->sizes;
        size_t step = 1;

        if (pairs->left > 0) {
            step = (size_t)span_min(pairs->left, size);
            pairs->left -= step;
        } else {
            pairs->sizes[pairs->have++] = *data;
            if (has_sizes(pairs)) {
                pairs->left = take_size(&sizes);
                pairs->left += take_size(&sizes);
                pairs->have = 0;
            }
            if (pairs->left > FCGI_ENV_MAX_BYTES)
                return error_set(err, 400, "FastCGI: variable is too long");
        }
        data += step;
        size -= step;
    }
    return 0;
}

/* libfcgi would take an authorizer's or a filter's request for a plain one, and
 * loses its place after padding here. */
static int
check_begin(const struct scan *scan, struct error *err)
{
    const unsigned role =
        (unsigned)scan->begin.roleB1 << 8 | scan->begin.roleB0;

    if (role != FCGI_RESPONDER)
        return error_set(err, 400, "FastCGI: request of role %u", role);
    return 0;
}

static int
take_header(struct scan *scan, struct error *err)
{
    const unsigned char *header = scan->header;
    const unsigned id = (unsigned)header[2] << 8 | header[3];
    const int expected = scan->id != 0 ? FCGI_PARAMS : FCGI_BEGIN_REQUEST;

    scan->have = 0;
    scan->content = (size_t)header[4] << 8 | header[5];
    scan->padding = header[6];
    if (header[0] != FCGI_VERSION_1 || header[1] != expected)
        return error_set(err, 400,
                         "FastCGI: record of version %u and type %u "
                         "where a request begins",
                         header[0], header[1]);
    /* To libfcgi an id of 0 is a question, which it answers into its copy. */
    if (id == 0 || (scan->id != 0 && id != scan->id))
        return error_set(err, 400,
                         "FastCGI: record of request %u where %u begins", id,
                         scan->id);
    if (scan->id == 0) {
        if (scan->content != sizeof(scan->begin) || scan->padding != 0)
            return error_set(err, 400, "FastCGI: malformed beginning");
        scan->id = id;
        return 0;
    }
    scan->in_params = true;
    scan->is_last = scan->content == 0;
    if (scan->is_last && (scan->pairs.have > 0 || scan->pairs.left > 0))
        return error_set(err, 400, "FastCGI: environment ends in a variable");
    return 0;
}

static int
take_content(struct scan *scan, const unsigned char *data, size_t size,
             struct error *err)
{
    if (scan->in_params) {
        scan->content -= size;
        return take_pairs(&scan->pairs, data, size, err);
    }
    memcpy((unsigned char *)&scan->begin + sizeof(scan->begin) - scan->content,
           data, size);
    scan->content -= size;
    return scan->content == 0 ? check_begin(scan, err) : 0;
}

/* Returns how many of size bytes belong to the beginning; -1. */
static ssize_t
scan_bytes(struct scan *scan, const unsigned char *data, size_t size,
           struct error *err)
{
    size_t used = 0;

    while (used < size && !is_done(scan)) {
        const size_t there = size - used;
        size_t step;

        if (scan->content > 0) {
            step = (size_t)span_min(scan->content, there);
            if (take_content(scan, data + used, step, err) == -1)
                return -1;
        } else if (scan->padding > 0) {
            step = (size_t)span_min(scan->padding, there);
            scan->padding -= step;
        } else {
            step = (size_t)span_min(FCGI_HEADER_LEN - scan->have, there);
            memcpy(scan->header + scan->have, data + used, step);
            scan->have += step;
            if (scan->have == FCGI_HEADER_LEN && take_header(scan, err) == -1)
                return -1;
        }
        used += step;
    }
    return (ssize_t)used;
}

/* What the connection has, which stays there; at least a byte. */
static ssize_t
peek(int fd, void *data, size_t size, uint64_t limit_us, struct error *err)
{
    for (;;) {
        struct pollfd wire = {.fd = fd, .events = POLLIN};
        const ssize_t got = recv(fd, data, size, MSG_PEEK | MSG_DONTWAIT);
        const uint64_t now_us = clock_us();

        if (got > 0)
            return got;
        if (got == 0)
            return error_set(err, ERROR_CLIENT_GONE,
                             "FastCGI: connection without a request");
        if (errno != EAGAIN && errno != EINTR)
            return error_errno(err, ERROR_CLIENT_GONE, "read a request");
        if (now_us >= limit_us)
            return error_set(err, 400, "FastCGI: request is not complete");
        if (wait_fds(&wire, 1, (int)((limit_us - now_us) / 1000) + 1, err) ==
            -1)
            return -1;
    }
}

int
fcgi_env_open(struct fcgi_env *env)
{
    env->size = 0;
    env->fd = memfd_create("environment", MFD_CLOEXEC);
    return env->fd == -1 ? -1 : 0;
}

void
fcgi_env_close(struct fcgi_env *env)
{
    if (env->fd != -1)
        close(env->fd);
    env->fd = -1;
}

int
fcgi_env_receive(struct fcgi_env *env, int connection, struct error *err)
{
    const uint64_t limit_us = clock_us() + TIMEOUT_MS * UINT64_C(1000);
    unsigned char piece[PIECE_BYTES];
    struct scan scan = {.id = 0};
    size_t size = 0;

    while (!is_done(&scan)) {
        ssize_t got = peek(connection, piece, sizeof(piece), limit_us, err);

        if (got == -1 ||
            (got = scan_bytes(&scan, piece, (size_t)got, err)) == -1)
            return -1;
        if (size + (size_t)got > FCGI_ENV_MAX_BYTES)
            return error_set(err, 400, "FastCGI: environment is too long");
        /* What was seen is there: it comes at once and whole. */
        if (recv(connection, piece, (size_t)got, 0) != got)
            return error_errno(err, 500, "read a request");
        if (pwrite(env->fd, piece, (size_t)got, (off_t)size) != got)
            return error_errno(err, 500, "keep an environment");
        size += (size_t)got;
        if (size > env->size)
            env->size = size;
    }
    if (size < env->size && ftruncate(env->fd, (off_t)size) == -1)
        return error_errno(err, 500, "cut an environment");
    env->size = size;
    if (lseek(env->fd, 0, SEEK_SET) == -1)
        return error_errno(err, 500, "rewind an environment");
    return 0;
}
