/* SPDX-License-Identifier: Apache-2.0 */
/* FNV-1a over 64 bits: spreads lock keys; a collision costs a needless 409,
 * so nothing stronger is needed.  Pure. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t
hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *at = data;

    for (size_t i = 0; i < size; i++)
        /* The analyser loses sight of the other bytes of a number.
         * NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
