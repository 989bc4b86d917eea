/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every fuzz target needs: its entry point, a check that holds in every
 * build, and a reader that takes an input apart.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One input.  What it does must depend on nothing else; it ends by abort() if a
 * property does not hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert() that NDEBUG does not take away. */
#define check(condition)                                                   \
    do {                                                                   \
        if (!(condition)) {                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__,        \
                    __LINE__, #condition);                                 \
            abort();                                                       \
        }                                                                  \
    } while (0)

/* What is left of an input.  Reading past its end gives zeroes. */
struct input {
    const uint8_t *data;
    size_t size;
};

static inline uint8_t
input_byte(struct input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

/* A copy that ends where it ends: a read past it is seen.  To be freed. */
static inline char *
input_bytes(const uint8_t *data, size_t size)
{
    char *bytes = calloc(1, size);

    check(bytes != NULL || size == 0);
    if (size > 0)
        memcpy(bytes, data, size);
    return bytes;
}

/* The same with a NUL behind it. */
static inline char *
input_copy(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1);

    check(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    return text;
}

/* The text up to the first of the byte end, which is passed over, or up to the
 * end of the input.  A NUL cuts it short.  To be freed. */
static inline char *
input_text(struct input *input, char end)
{
    const uint8_t *found =
        input->size == 0 ? NULL : memchr(input->data, end, input->size);
    const size_t length =
        found != NULL ? (size_t)(found - input->data) : input->size;
    char *text = input_copy(input->data, length);

    if (length > 0)
        input->data += length;
    input->size -= length;
    if (found != NULL)
        input_byte(input);
    return text;
}

#endif
