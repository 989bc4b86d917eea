/* SPDX-License-Identifier: Apache-2.0 */
/* What a request that has ended adds to the counters. */
#ifndef SERVER_ACCOUNT_H
#define SERVER_ACCOUNT_H

#include <stdint.h>

struct error;
struct exchange;

/* why: what it failed at; NULL: it did not. */
void account_request(const struct exchange *x, const struct error *why,
                     uint64_t took_us);

#endif
