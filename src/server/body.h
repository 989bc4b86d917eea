/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bodies of a request and its answer as source and sink of an image: the
 * head goes out with the first bytes, what is held is given back before the
 * last.  One thread.
 */
#ifndef SERVER_BODY_H
#define SERVER_BODY_H

#include <stdint.h>

#include "http/response.h"
#include "image/stream.h"

struct error;
struct exchange;

struct body_out {
    struct sink sink; /* first */
    struct exchange *x;
    struct response head;
    uint64_t left; /* bytes that still have to be pushed */
};

/* head.length bytes will follow. */
void body_out_init(struct body_out *out, struct exchange *x,
                   const struct response *head);

struct body_in {
    struct source source; /* first */
    struct exchange *x;
    uint64_t left; /* bytes that still have to be pulled */
};

/* length bytes were announced.  Pulling fails with 400 "request body ended
 * early at N bytes" if there are less, and with 408 once none has come for
 * --client-timeout seconds. */
void body_in_init(struct body_in *in, struct exchange *x, uint64_t length);

#endif
