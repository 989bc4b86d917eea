/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic on spans of bytes that cannot overflow.  Pure. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stdint.h>

/* Does [offset, offset + count) lie within [0, size)?  All in bytes. */
static inline bool
span_fits(uint64_t offset, uint64_t count, uint64_t size)
{
    return offset <= size && count <= size - offset;
}

static inline uint64_t
span_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
