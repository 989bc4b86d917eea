/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put before every file by tests/lint: what holds everywhere, and what an
 * analyser that sees a file at a time cannot know. No other build has it.
 */
#ifndef TESTS_ANALYZER_H
#define TESTS_ANALYZER_H

#include "base/error.h"

static inline int
always_fails(int rc)
{
    (void)rc;
    return -1;
}

#define error_set(...) always_fails(error_set(__VA_ARGS__))
#define error_errno(...) always_fails(error_errno(__VA_ARGS__))
#define error_range(...) always_fails(error_range(__VA_ARGS__))

#endif
