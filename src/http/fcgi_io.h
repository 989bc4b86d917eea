/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies as whole FastCGI records (FastCGI 1.0, section 3.3), straight between
 * the connection and the caller's buffers.  libfcgi accepts a request and ends
 * it; between the two, all I/O on the connection is done here, and nothing
 * here waits but fcgi_io_send(), fcgi_io_settle() and fcgi_io_cut().  One thread.
 */
#ifndef HTTP_FCGI_IO_H
#define HTTP_FCGI_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct FCGX_Request;
struct error;

#define FCGI_IO_HEADER 8
#define FCGI_IO_CARRY 8192 /* libfcgi's input buffer: what it may have read */

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

    /* In. */
    unsigned char carry[FCGI_IO_CARRY]; /* raw bytes that libfcgi had read */
    size_t carry_at, carry_end;
    unsigned char in_header[FCGI_IO_HEADER]; /* a header that is not all here */
    size_t in_header_have;
    size_t in_left;    /* content of the record still to come */
    size_t in_padding; /* and the padding after it */
    bool in_skip;      /* the record is not ours: its content is dropped */
    bool in_ended;     /* the empty STDIN record has come */
};

/* After FCGX_Accept_r.  400 if the environment is not all there, 500 if
 * libfcgi's buffer cannot be taken over: nothing can be answered then. */
int fcgi_io_init(struct fcgi_io *io, struct FCGX_Request *request,
                 bool small_records, struct error *err);

/* Sends what goes out without waiting, as STDOUT records.  Returns how much of
 * size was taken; 0: wait for POLLOUT and offer the same bytes again.  -1: the
 * web server has gone (ERROR_CLIENT_GONE). */
ssize_t fcgi_io_push(struct fcgi_io *io, const void *data, size_t size,
                     struct error *err);

/* All of it, however long the client takes. */
int fcgi_io_send(struct fcgi_io *io, const void *data, size_t size,
                 struct error *err);

/* Up to size bytes of the body without waiting.  Returns how many; 0: wait for
 * POLLIN, unless io->in_ended.  -1: the connection ended before the body did
 * (ERROR_CLIENT_GONE), or broke the protocol (500). */
ssize_t fcgi_io_pull(struct fcgi_io *io, void *data, size_t size,
                     struct error *err);

/* Waits until there is room for the few bytes that end a request: libfcgi sends
 * them by a write that nothing could end. */
int fcgi_io_settle(struct fcgi_io *io, struct error *err);

/* Makes the answer that was begun an error at the client.  The caller then
 * closes the connection without ending the request. */
void fcgi_io_cut(struct fcgi_io *io);

#endif
