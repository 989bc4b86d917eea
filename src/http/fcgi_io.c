/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies as FastCGI records. */
#include "http/fcgi_io.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/span.h"
#include "base/wait.h"

/* What each web server takes best (measured); a record is a multiple of 8, so
 * that none needs padding. */
#define RECORD_LARGE 65528
#define RECORD_SMALL 32768
#define RECORDS_A_CALL 32
#define ROOM_WIDE (208 << 10)  /* what Linux allows everybody */
#define ROOM_USUAL (104 << 10) /* what it gives unasked */
#define SCRAPS_MAX 16          /* of 4 KiB, of a body that nobody wanted */
/* For a client that reads slowly: slot and lock are free by then, but its
 * worker is not. */
#define CUT_PATIENCE_US 5000000
/* For a web server that has the answer and still sends. */
#define CLOSE_PATIENCE_US 5000000
#define CLOSE_SILENCE_MS 2000

static_assert(FCGI_IO_HEADER == FCGI_HEADER_LEN, "FastCGI 1.0, section 3.3");

void
fcgi_io_init(struct fcgi_io *io, int fd, unsigned id, bool small_records)
{
    *io = (struct fcgi_io){
        .fd = fd,
        .id = (uint16_t)id,
        .record = small_records ? RECORD_SMALL : RECORD_LARGE,
    };
}

void
fcgi_io_set_room(const struct fcgi_io *io, bool wide)
{
    /* The kernel doubles it.  Measured behind nginx: the wide one is worth a
     * tenth of an NBD image's rate, and costs a file's a sixth; lighttpd
     * likes neither. */
    const int size = wide ? ROOM_WIDE : ROOM_USUAL;

    if (io->record == RECORD_LARGE)
        setsockopt(io->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
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
          int flags, struct error *err)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent;

    do
        sent = sendmsg(io->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL | flags);
    while (sent == -1 && errno == EINTR);
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN || errno == ENOBUFS)
        return 0;
    return error_errno(err, ERROR_CLIENT_GONE, "send to the web server");
}

void
fcgi_io_hold(struct fcgi_io *io, const void *data, size_t size)
{
    struct fcgi_io_record record;

    assert(size <= FCGI_IO_HEAD_MAX && io->held_at == io->held_end &&
           !record_is_open(&io->out));
    record_begin(&record, io->id, size);
    memcpy(io->held, record.header, FCGI_IO_HEADER);
    memcpy(io->held + FCGI_IO_HEADER, data, size);
    io->held_at = 0;
    io->held_end = FCGI_IO_HEADER + size;
}

ssize_t
fcgi_io_push(struct fcgi_io *io, const void *data, size_t size,
             struct error *err)
{
    struct fcgi_io_record records[RECORDS_A_CALL];
    /* What is held back, then header, content, header, ... */
    struct iovec all[1 + 2 * RECORDS_A_CALL], *parts = all + 1;
    const unsigned char *at = data;
    size_t left = size, taken = 0, count = 0;
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
    all[0] = (struct iovec){.iov_base = io->held + io->held_at,
                            .iov_len = io->held_end - io->held_at};
    sent = send_some(io, all, 1 + 2 * count, 0, err);
    if (sent == -1)
        return -1;
    io->held_at += (size_t)span_min((size_t)sent, all[0].iov_len);
    sent -= (ssize_t)span_min((size_t)sent, all[0].iov_len);
    /* The last record that anything was sent of is the one to go on with. */
    for (size_t i = 0; sent > 0; i++) {
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

/* Sends what has to go before the content of the open record: what is held
 * back, and the record's header.  1: done; 0: the wire takes no more; -1. */
static int
send_front(struct fcgi_io *io, struct error *err)
{
    struct iovec parts[] = {
        {.iov_base = io->held + io->held_at,
         .iov_len = io->held_end - io->held_at},
        record_header(&io->out),
    };
    const size_t size = parts[0].iov_len + parts[1].iov_len;
    ssize_t sent;
    size_t of_held;

    if (size == 0)
        return 1;
    sent = send_some(io, parts, 2, MSG_MORE, err);
    if (sent == -1)
        return -1;
    of_held = (size_t)span_min((size_t)sent, parts[0].iov_len);
    io->held_at += of_held;
    io->out.header_left -= (size_t)sent - of_held;
    return (size_t)sent == size;
}

bool
fcgi_io_likes_files(const struct fcgi_io *io)
{
    /* Measured: lighttpd 0.80 of its static files in place of 0.53; nginx,
     * which reads as much as there is, 0.7 in place of 1.0, as each record
     * wakes it up twice. */
    return io->record == RECORD_SMALL;
}

ssize_t
fcgi_io_push_file(struct fcgi_io *io, int file_fd, uint64_t offset, size_t size,
                  bool *is_stuck, struct error *err)
{
    size_t taken = 0;

    *is_stuck = false;
    while (taken < size) {
        off_t at = (off_t)(offset + taken);
        ssize_t sent;
        int ready;

        if (!record_is_open(&io->out))
            record_begin(&io->out, io->id,
                         (size_t)span_min(io->record, size - taken));
        io->out.data = NULL; /* cannot be finished without the file */
        ready = send_front(io, err);
        if (ready == -1)
            return -1;
        if (ready == 0)
            break;
        sent = sendfile(io->fd, file_fd, &at,
                        (size_t)span_min(io->out.left, size - taken));
        if (sent == -1 && (errno == EAGAIN || errno == EINTR))
            break;
        if (sent == -1 && (errno == EPIPE || errno == ECONNRESET))
            return error_errno(err, ERROR_CLIENT_GONE,
                               "send to the web server");
        if (sent <= 0) {
            *is_stuck = taken == 0;
            break;
        }
        io->out.left -= (size_t)sent;
        taken += (size_t)sent;
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
        const unsigned char *raw = data, *end;
        ssize_t got;

        /* Straight to its place; the headers in between are closed up while
         * the bytes are in the cache. */
        got = recv(io->fd, data, size, MSG_DONTWAIT);
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1 && errno == EAGAIN)
            return 0;
        if (got == -1)
            return error_errno(err, ERROR_CLIENT_GONE, "read the body");
        if (got == 0)
            return error_set(err, ERROR_CLIENT_GONE, "the body was cut off");
        end = raw + got;
        got = unwrap(io, data, size, &raw, end, err);
        io->in_overrun = raw < end;
        if (got != 0)
            return got;
    }
    return 0;
}

bool
fcgi_io_is_used_up(struct fcgi_io *io)
{
    char scrap[4096];
    struct error err;

    for (unsigned i = 0; i < SCRAPS_MAX && !io->in_ended; i++)
        if (fcgi_io_pull(io, scrap, sizeof(scrap), &err) <= 0)
            break;
    return io->in_ended && io->in_padding == 0 && !io->in_overrun;
}

int
fcgi_io_settle(struct fcgi_io *io, struct error *err)
{
    struct pollfd wire = {.fd = io->fd, .events = POLLOUT};

    return wait_fds(&wire, 1, WAIT_FOREVER, err) == -1 ? -1 : 0;
}

void
fcgi_io_close(struct fcgi_io *io)
{
    const uint64_t limit_us = clock_us() + CLOSE_PATIENCE_US;
    struct pollfd wire = {.fd = io->fd, .events = POLLIN};
    char scrap[4096];
    struct error err;

    shutdown(io->fd, SHUT_WR);
    while (clock_us() < limit_us &&
           wait_fds(&wire, 1, CLOSE_SILENCE_MS, &err) == 1)
        if (recv(io->fd, scrap, sizeof(scrap), MSG_DONTWAIT) <= 0)
            break;
    close(io->fd);
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
        const ssize_t sent = send_some(io, parts, 2, 0, &err);
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
    /* No record has version 0.  Ending the request leaves lighttpd waiting for
     * seconds; this both web servers pass on at once.  It has to stand where a
     * record begins.  Where it cannot, the reset of the connection is all that
     * tells them (fcgi_env.h). */
    struct fcgi_io_record nonsense = {.header_left = FCGI_IO_HEADER};
    struct fcgi_io_record held = {
        .left = io->held_end - io->held_at,
        .data = io->held + io->held_at,
    };
    const uint64_t limit_us = clock_us() + CUT_PATIENCE_US;

    if (finish_record(io, &held, limit_us) &&
        finish_record(io, &io->out, limit_us))
        finish_record(io, &nonsense, limit_us);
}
