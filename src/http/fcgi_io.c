/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies as FastCGI records. */
#include "http/fcgi_io.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <fcgiapp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/span.h"
#include "base/wait.h"

/* What each web server takes best (measured); a record is a multiple of 8, so
 * that none needs padding. */
#define RECORD_LARGE 65528
#define RECORD_SMALL 32768
#define RECORDS_A_CALL 32
/* For a client that reads slowly: slot and lock are free by then, but its
 * worker is not. */
#define CUT_PATIENCE_US 5000000

static_assert(FCGI_IO_HEADER == FCGI_HEADER_LEN, "FastCGI 1.0, section 3.3");

/*
 * The padding of the empty PARAMS record, which libfcgi forgets.  Its header
 * stands just before what libfcgi would read next, if it came in one piece
 * with the content before it, where stopUnget points: then it can be looked at.
 */
static size_t
padding_left(const FCGX_Stream *in)
{
    const unsigned char *header = in->rdNext - FCGI_IO_HEADER;

    if (in->rdNext - in->stopUnget < FCGI_IO_HEADER ||
        header[0] != FCGI_VERSION_1 || header[1] != FCGI_PARAMS)
        return 0;
    return header[6];
}

/*
 * What libfcgi read past the environment belongs to the body.  Its buffer is
 * private, but it can be made to walk to its end: with the descriptor hidden
 * from it, reading drains the buffer, and the stream's public rdNext passes
 * over all raw bytes of it, record headers included.  Whatever it thinks of
 * them, it stops only at the end of the body, or where it gets no further.
 */
static int
take_over(struct fcgi_io *io, FCGX_Request *request, struct error *err)
{
    FCGX_Stream *in = request->in;
    const unsigned char *start = in->rdNext, *before;
    char scrap[1024];
    size_t length;

    /* libfcgi takes a connection that fails for the environment's end: a
     * request that lacks its last headers must not be served. */
    if (FCGX_GetError(in) != 0)
        return error_set(err, 400, "FastCGI: environment is cut off");
    io->in_padding = padding_left(in);
    request->ipcFd = -1;
    do {
        before = in->rdNext;
        FCGX_ClearError(in);
        in->isClosed = 0;
        in->stop = in->wrNext = in->rdNext; /* as between two records */
        while (FCGX_GetStr(scrap, sizeof(scrap), in) == (int)sizeof(scrap))
            ;
    } while (in->rdNext != before && FCGX_GetError(in) != 0);
    request->ipcFd = io->fd;
    FCGX_ClearError(in);
    length = (size_t)(in->rdNext - start);
    if (length > sizeof(io->carry))
        return error_set(err, 500, "FastCGI: libfcgi's buffer has %zu bytes",
                         length);
    memcpy(io->carry, start, length);
    io->carry_end = length;
    return 0;
}

int
fcgi_io_init(struct fcgi_io *io, struct FCGX_Request *request,
             bool small_records, struct error *err)
{
    io->fd = request->ipcFd;
    io->id = (uint16_t)request->requestId;
    io->record = small_records ? RECORD_SMALL : RECORD_LARGE;
    io->out = (struct fcgi_io_record){.left = 0};
    io->carry_at = io->carry_end = 0;
    io->in_header_have = io->in_left = io->in_padding = 0;
    io->in_skip = io->in_ended = false;
    return take_over(io, request, err);
}

static void
record_begin(struct fcgi_io_record *record, uint16_t id, size_t length)
{
    *record = (struct fcgi_io_record){
        .header = {FCGI_VERSION_1, FCGI_STDOUT, (unsigned char)(id >> 8),
                   (unsigned char)id, (unsigned char)(length >> 8),
                   (unsigned char)length},
        .header_left = FCGI_IO_HEADER,
        .left = length,
    };
}

static bool
record_is_open(const struct fcgi_io_record *record)
{
    return record->header_left + record->left > 0;
}

static struct iovec
record_header(struct fcgi_io_record *record)
{
    return (struct iovec){
        .iov_base = record->header + FCGI_IO_HEADER - record->header_left,
        .iov_len = record->header_left,
    };
}

/* One sendmsg(2) that does not wait: bytes sent, 0 for none, -1. */
static ssize_t
send_some(const struct fcgi_io *io, struct iovec *parts, size_t count,
          struct error *err)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent;

    do
        sent = sendmsg(io->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent == -1 && errno == EINTR);
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN || errno == ENOBUFS)
        return 0;
    return error_errno(err, ERROR_CLIENT_GONE, "send to the web server");
}

ssize_t
fcgi_io_push(struct fcgi_io *io, const void *data, size_t size,
             struct error *err)
{
    struct fcgi_io_record records[RECORDS_A_CALL];
    struct iovec parts[2 * RECORDS_A_CALL]; /* header, content, header, ... */
    const unsigned char *at = data;
    size_t left = size, taken = 0;
    unsigned count = 0;
    ssize_t sent;

    for (; left > 0 && count < RECORDS_A_CALL; count++) {
        struct fcgi_io_record *record = &records[count];
        size_t length;

        if (count == 0 && record_is_open(&io->out))
            *record = io->out;
        else
            record_begin(record, io->id, (size_t)span_min(io->record, left));
        record->data = at;
        length = (size_t)span_min(record->left, left);
        parts[2 * count] = record_header(record);
        parts[2 * count + 1] =
            (struct iovec){.iov_base = (void *)at, .iov_len = length};
        at += length;
        left -= length;
    }
    sent = send_some(io, parts, 2 * count, err);
    if (sent == -1)
        return -1;
    /* The last record that anything was sent of is the one to go on with. */
    for (unsigned i = 0; sent > 0; i++) {
        struct fcgi_io_record *record = &records[i];
        size_t done = (size_t)span_min((size_t)sent, record->header_left);

        record->header_left -= done;
        sent -= (ssize_t)done;
        done = (size_t)span_min((size_t)sent, parts[2 * i + 1].iov_len);
        record->left -= done;
        record->data += done;
        taken += done;
        sent -= (ssize_t)done;
        io->out = *record;
    }
    return (ssize_t)taken;
}

int
fcgi_io_send(struct fcgi_io *io, const void *data, size_t size,
             struct error *err)
{
    const unsigned char *at = data;

    while (size > 0) {
        struct pollfd wire = {.fd = io->fd, .events = POLLOUT};
        const ssize_t taken = fcgi_io_push(io, at, size, err);

        if (taken == -1 ||
            (taken == 0 && wait_fds(&wire, 1, WAIT_FOREVER, err) == -1)) {
            io->out.data = NULL; /* the caller's bytes may go */
            return -1;
        }
        at += taken;
        size -= (size_t)taken;
    }
    return 0;
}

/* Reads a whole record header. */
static int
begin_in(struct fcgi_io *io, struct error *err)
{
    const unsigned char *header = io->in_header;
    const uint16_t id = (uint16_t)(header[2] << 8 | header[3]);
    const unsigned type = header[1];

    io->in_header_have = 0;
    io->in_left = (size_t)header[4] << 8 | header[5];
    io->in_padding = header[6];
    io->in_skip = id != io->id;
    if (header[0] != FCGI_VERSION_1)
        return error_set(err, 500, "FastCGI: record of version %u", header[0]);
    if (io->in_skip)
        return 0;
    if (type == FCGI_ABORT_REQUEST)
        return error_set(err, ERROR_CLIENT_GONE, "request aborted");
    if (type != FCGI_STDIN)
        return error_set(err, 500, "FastCGI: record of type %u in a body",
                         type);
    io->in_ended = io->in_left == 0;
    return 0;
}

/* Moves the content of raw records from *raw on to data, which may be the same
 * place, until either is used up.  Returns how much content; -1. */
static ssize_t
unwrap(struct fcgi_io *io, unsigned char *data, size_t size,
       const unsigned char **raw, const unsigned char *end, struct error *err)
{
    size_t used = 0;

    while (*raw < end && used < size && !io->in_ended) {
        const size_t there = (size_t)(end - *raw);
        size_t step;

        if (io->in_left > 0 && io->in_skip) {
            step = (size_t)span_min(there, io->in_left);
            io->in_left -= step;
        } else if (io->in_left > 0) {
            step = (size_t)span_min(span_min(there, io->in_left), size - used);
            memmove(data + used, *raw, step);
            used += step;
            io->in_left -= step;
        } else if (io->in_padding > 0) {
            step = (size_t)span_min(there, io->in_padding);
            io->in_padding -= step;
        } else {
            step = (size_t)span_min(there, FCGI_IO_HEADER - io->in_header_have);
            memcpy(io->in_header + io->in_header_have, *raw, step);
            io->in_header_have += step;
            if (io->in_header_have == FCGI_IO_HEADER && begin_in(io, err) == -1)
                return -1;
        }
        *raw += step;
    }
    return (ssize_t)used;
}

ssize_t
fcgi_io_pull(struct fcgi_io *io, void *data, size_t size, struct error *err)
{
    while (!io->in_ended) {
        const unsigned char *raw = data;
        ssize_t got;

        if (io->carry_at < io->carry_end) {
            raw = io->carry + io->carry_at;
            got = unwrap(io, data, size, &raw, io->carry + io->carry_end, err);
            io->carry_at = (size_t)(raw - io->carry);
        } else {
            /* Straight to its place; the headers in between are closed up
             * while the bytes are in the cache. */
            got = recv(io->fd, data, size, MSG_DONTWAIT);
            if (got == -1 && errno == EINTR)
                continue;
            if (got == -1 && errno == EAGAIN)
                return 0;
            if (got == -1)
                return error_errno(err, ERROR_CLIENT_GONE, "read the body");
            if (got == 0)
                return error_set(err, ERROR_CLIENT_GONE,
                                 "the body was cut off");
            got = unwrap(io, data, size, &raw, raw + got, err);
        }
        if (got != 0)
            return got;
    }
    return 0;
}

int
fcgi_io_settle(struct fcgi_io *io, struct error *err)
{
    struct pollfd wire = {.fd = io->fd, .events = POLLOUT};

    return wait_fds(&wire, 1, WAIT_FOREVER, err) == -1 ? -1 : 0;
}

/* Sends what is left of *record, if the client takes it by the moment
 * limit_us. */
static bool
finish_record(const struct fcgi_io *io, struct fcgi_io_record *record,
              uint64_t limit_us)
{
    struct error err;

    if (record->left > 0 && record->data == NULL)
        return false;
    while (record_is_open(record)) {
        struct iovec parts[] = {
            record_header(record),
            {.iov_base = (void *)record->data, .iov_len = record->left},
        };
        struct pollfd wire = {.fd = io->fd, .events = POLLOUT};
        const ssize_t sent = send_some(io, parts, 2, &err);
        const uint64_t now_us = clock_us();
        size_t of_header;

        if (sent == -1 || now_us >= limit_us)
            return false;
        if (sent == 0 &&
            wait_fds(&wire, 1, (int)((limit_us - now_us) / 1000), &err) <= 0)
            return false;
        of_header = (size_t)span_min((size_t)sent, record->header_left);
        record->header_left -= of_header;
        record->data += (size_t)sent - of_header;
        record->left -= (size_t)sent - of_header;
    }
    return true;
}

void
fcgi_io_cut(struct fcgi_io *io)
{
    /* No record has version 0.  Closing alone leaves an nginx that does not
     * buffer waiting for its keepalive_timeout, ending the request lighttpd for
     * seconds; this both pass on at once.  It has to stand where a record
     * begins. */
    struct fcgi_io_record nonsense = {.header_left = FCGI_IO_HEADER};
    const uint64_t limit_us = clock_us() + CUT_PATIENCE_US;

    if (finish_record(io, &io->out, limit_us))
        finish_record(io, &nonsense, limit_us);
}
