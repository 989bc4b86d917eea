/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range and Content-Range in units of bytes (RFC 9110 14.1.2, 14.4).  Pure.
 * Parsing needs no image; only resolving does.
 */
#ifndef HTTP_RANGE_H
#define HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

struct error;

/* A number too large for 64 bits is kept as UINT64_MAX: past every end. */
struct range {
    bool is_suffix;  /* bytes=-N: the last `last` bytes; first is unused */
    bool has_last;   /* false: bytes=A- */
    uint64_t first;  /* bytes, inclusive */
    uint64_t last;   /* bytes, inclusive */
};

/* bytes=A-B, bytes=A-, bytes=-N with N > 0; the unit in any case (RFC 9110
 * 14.1), white space around the whole value only, one range only.  Fails with
 * 400 "invalid Range header". */
int range_parse(struct range *ret, const char *value, struct error *err);

/* The bytes of an image of size bytes that are meant; the end is cut to the
 * image's.  416 (error_range) when first >= size, last < first or size is 0. */
int range_resolve(const struct range *range, uint64_t size, uint64_t *offset,
                  uint64_t *length, struct error *err);

struct content_range {
    bool has_last;  /* false: A-* / *, as long as the body is */
    uint64_t first; /* bytes, inclusive */
    uint64_t last;  /* bytes, inclusive */
};

/* "bytes A-B/STAR", "bytes A-B/SIZE", "bytes A-STAR/STAR".  Fails with 400
 * "invalid Content-Range header", also for B < A and B >= SIZE. */
int content_range_parse(struct content_range *ret, const char *value,
                        struct error *err);

#endif
