/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validators of an image and conditional requests (RFC 9110 8.8 and 13).  Pure.
 */
#ifndef HTTP_CONDITIONS_H
#define HTTP_CONDITIONS_H

#include <stdbool.h>
#include <stdint.h>

struct request;

#define ETAG_SIZE 40 /* bytes, quotes and NUL included */
#define HTTP_DATE_SIZE 32

/* What an image can be recognised by. */
struct validators {
    bool exists;          /* false: a file that is still to be made */
    char etag[ETAG_SIZE]; /* a strong one, in its quotes; "": none */
    bool has_date;
    bool is_date_past;   /* its second is over: only then it is told, since
                            the next version could have the same date */
    int64_t modified_s;  /* Unix time */
    bool is_date_strong; /* no other version can have had that date */
};

/* The tag of a version of so many bytes. */
void etag_format(char etag[ETAG_SIZE], uint64_t version, uint64_t size);

/* IMF-fixdate (RFC 9110 5.6.7); "" before the year 1000 and after 9999, which
 * it cannot say. */
void http_date_format(char date[HTTP_DATE_SIZE], int64_t time_s);

enum conditions_result {
    CONDITIONS_MET,
    CONDITIONS_NOT_MODIFIED, /* 304; GET and HEAD only */
    CONDITIONS_FAILED,       /* 412 */
};

/* If-Match or else If-Unmodified-Since, then If-None-Match or else
 * If-Modified-Since (RFC 9110 13.2.2).  A date that is none is as no header; a
 * list of tags that is none has no tag in it, and lets nobody write. */
enum conditions_result conditions_check(const struct request *request,
                                        const struct validators *validators);

/* Does the request's Range, if it has one, apply?  Not if an If-Range does not
 * match (RFC 9110 13.1.5): then all of the image is meant. */
bool conditions_want_range(const struct request *request,
                           const struct validators *validators);

/* Has it any of those headers? */
bool conditions_are_there(const struct request *request);

#endif
