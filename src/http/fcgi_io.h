/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies as whole FastCGI records (FastCGI 1.0, section 3.3), straight between
 * the connection and the caller's buffers.  Between a request's environment and
 * its end, all I/O on the connection is done here, and nothing here waits but
 * fcgi_io_send(), fcgi_io_settle(), fcgi_io_close() and fcgi_io_cut().  One
 * thread.
 */
#ifndef HTTP_FCGI_IO_H
#define HTTP_FCGI_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

#define FCGI_IO_HEADER 8
#define FCGI_IO_HEAD_MAX 2048 /* bytes, of what can be held back */

/* A record on its way out. */
struct fcgi_io_record {
    unsigned char header[FCGI_IO_HEADER];
    size_t header_left;        /* bytes of it still to send */
    size_t left;               /* bytes of content still to send */
    const unsigned char *data; /* where that content was last seen */
};

struct fcgi_io {
    int fd;          /* the connection, libfcgi's */
    uint16_t id;     /* of the request on it */
    size_t record;   /* longest record that is sent, bytes of content */

    /* Out.  Begun and not finished if anything of it is left. */
    struct fcgi_io_record out;
    unsigned char held[FCGI_IO_HEADER + FCGI_IO_HEAD_MAX]; /* a whole record */
    size_t held_at, held_end;

    /* In. */
    unsigned char in_header[FCGI_IO_HEADER]; /* a header that is not all here */
    size_t in_header_have;
    size_t in_left;    /* content of the record still to come */
    size_t in_padding; /* and the padding after it */
    bool in_skip;      /* the record is not ours: its content is dropped */
    bool in_ended;     /* the empty STDIN record has come */
    bool in_overrun;   /* and something after it, which is lost */
};

/* For request id on the connection fd, of which the environment was read and
 * nothing after it (fcgi_env.h). */
void fcgi_io_init(struct fcgi_io *io, int fd, unsigned id, bool small_records);

/* How much a long answer may be ahead of the web server.  wide: its bytes come
 * by a wire of their own, and in bursts. */
void fcgi_io_set_room(const struct fcgi_io *io, bool wide);

/* Holds back size <= FCGI_IO_HEAD_MAX bytes, to go out in front of, and in one
 * piece with, what is sent next.  Nothing may be under way or held back. */
void fcgi_io_hold(struct fcgi_io *io, const void *data, size_t size);

/* Sends what goes out without waiting, as STDOUT records.  Returns how much of
 * size was taken; 0: wait for POLLOUT and offer the same bytes again.  -1: the
 * web server has gone (ERROR_CLIENT_GONE). */
ssize_t fcgi_io_push(struct fcgi_io *io, const void *data, size_t size,
                     struct error *err);

/* The same with size bytes of a file from offset on, which do not pass through
 * memory of ours; to be called again with what was not taken.  0 with
 * *is_stuck: the file has ended, cannot be read, or not in this way; push can
 * go on. */
ssize_t fcgi_io_push_file(struct fcgi_io *io, int file_fd, uint64_t offset,
                          size_t size, bool *is_stuck, struct error *err);

/* Is that any faster, with this web server? */
bool fcgi_io_likes_files(const struct fcgi_io *io);

/* All of it, however long the client takes. */
int fcgi_io_send(struct fcgi_io *io, const void *data, size_t size,
                 struct error *err);

/* Up to size bytes of the body without waiting.  Returns how many; 0: wait for
 * POLLIN, unless io->in_ended.  -1: the connection ended before the body did
 * (ERROR_CLIENT_GONE), or broke the protocol (500). */
ssize_t fcgi_io_pull(struct fcgi_io *io, void *data, size_t size,
                     struct error *err);

/* Has the request come to its end on the connection, so that another one may
 * follow?  Reads what is left of it, if that is little and there. */
bool fcgi_io_is_used_up(struct fcgi_io *io);

/* Waits until there is room for the few bytes that end a request: libfcgi sends
 * them by a write that nothing could end. */
int fcgi_io_settle(struct fcgi_io *io, struct error *err);

/* Closes the connection after an answer.  What the web server still sends is
 * read for some seconds: a close with something unread would take the answer
 * away from it. */
void fcgi_io_close(struct fcgi_io *io);

/* Makes the answer that was begun an error at the client.  The caller then
 * closes the connection without ending the request. */
void fcgi_io_cut(struct fcgi_io *io);

#endif
