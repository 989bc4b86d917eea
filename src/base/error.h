/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An error is a value: the HTTP status to answer, and one sentence with the
 * action, the object and the cause.  It is set once, where the cause is known,
 * and passed up; serve.c alone logs and answers it.  No I/O, no threads.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>

/* Not an HTTP status: the client has gone, so nobody can be answered. */
#define ERROR_CLIENT_GONE 499

struct error {
    int status;    /* HTTP status, or ERROR_CLIENT_GONE; 0: not set */
    bool has_size; /* 416: answer Content-Range: bytes * / size */
    uint64_t size; /* bytes */
    char text[512];
};

/* Both set *err and return -1 always, so that a caller can return them.
 * error_errno() appends the text of errno. */
int error_set(struct error *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int error_errno(struct error *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* 416 for an image of size bytes (RFC 9110 15.5.17).  Returns -1. */
int error_range(struct error *err, uint64_t size);

/* The status for a failed write or allocation of disk space: 507 if the
 * errno value says that there is no room, else 500. */
int error_status_of_errno(int errnum);

/* What the client may read: the text of a refusal, a fixed sentence for a
 * failure of the server's side, whose text is for the log only. */
const char *error_reply(const struct error *err);

#endif
