/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON body of a PATCH: what is to be done to which bytes.  Pure.
 */
#ifndef SERVER_PATCH_COMMAND_H
#define SERVER_PATCH_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define PATCH_COMMAND_MAX_BYTES 65536

struct patch_command {
    enum patch_op {
        PATCH_ZERO,
        PATCH_FLUSH, /* the rest is unused */
    } op;
    uint64_t offset, length; /* bytes, length never 0; may be past the end */
    bool flush;
};

/* Parses length bytes.  Unknown keys are ignored.  Fails with 400 and what the
 * client has to change. */
int patch_command_parse(struct patch_command *ret, const char *text,
                        size_t length, struct error *err);

#endif
