/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and what it holds on the way to its answer: ticket, locks, open
 * image, and whether the head has gone out.  Handlers get one; serve.c makes
 * it and frees it.  One thread.
 */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/conditions.h"
#include "http/path.h"
#include "http/request.h"
#include "http/response.h"
#include "image/image.h"
#include "server/request_id.h"
#include "stats/transfer.h"
#include "ticket/activity.h"
#include "ticket/limits.h"

struct config;
struct error;
struct fcgi_io;
struct json;
struct route;
struct ticket;

struct exchange {
    const struct config *config;
    struct fcgi_io *io;
    struct image_env env;
    char *text; /* EXCHANGE_TEXT_SIZE bytes for JSON, in and out; lent */
    struct request request;
    char id[PATH_ID_MAX + 1]; /* "" if the path has none */

    struct activity activity;
    struct ticket *ticket;
    struct image *image;
    struct validators validators; /* of the image */
    struct limits_hold hold;
    bool is_shared; /* the image's lock */

    bool head_sent; /* nothing can be answered any more, only cut */
    int status;     /* that was answered */

    /* For the log and for who watches. */
    char request_id[REQUEST_ID_SIZE];
    const struct route *route;   /* NULL: none was found */
    struct transfer transfer;    /* what it does; TRANSFER_NONE: nothing yet */
    struct transfer_slot *slot;  /* where it is shown; NULL: nowhere */
    bool is_shown;
    bool was_open;               /* the image */
    uint64_t bytes;              /* of the image that were moved */
};

#define EXCHANGE_TEXT_SIZE ((size_t)128 << 10)

/* Opens the ticket's image for use, and learns its validators.  A use that writes
 * or flushes fails with 403 if the image is read-only, and with 412 if the
 * request's conditions are not met. */
int exchange_open(struct exchange *x, enum image_use use, struct error *err);

/* 412, always -1. */
int exchange_fail_conditions(struct error *err);

/* A reader's slot: 503 if there is none. */
int exchange_take_reader(struct exchange *x, struct error *err);

/* Locks the ticket's image: 409 if it cannot be.  Exclusive locks come with a
 * writer's slot: 503 if there is none. */
int exchange_lock_shared(struct exchange *x, struct error *err);
int exchange_lock_exclusive(struct exchange *x, struct error *err);

/* For a writer of a part: locks the image, takes a writer's slot, and opens the
 * image.  Where several writers may run, they share it. */
int exchange_begin_part(struct exchange *x, struct error *err);

/* Once its part is known, of length > 0: a block of the server that it fills only
 * by half is read before it is written, and nobody else may write to it
 * meanwhile.  May wait for another such writer.  409 if that takes too long. */
int exchange_own_blocks(struct exchange *x, uint64_t offset, uint64_t length,
                        struct error *err);

/* From here on it is a transfer that others can see, until exchange_release(). */
void exchange_begin_transfer(struct exchange *x,
                             enum transfer_operation operation);

/* What it is about is known now, in bytes of the image. */
void exchange_set_span(struct exchange *x, uint64_t offset, uint64_t total);

/* So many bytes of the image were moved, further ones; so much of the span is
 * done in all. */
void exchange_moved(struct exchange *x, uint64_t bytes);
void exchange_set_done(struct exchange *x, uint64_t done);

/* Gives back image, lock and slot.  Called before the last byte of an answer
 * goes out, so that no client is refused because of its own last request. */
void exchange_release(struct exchange *x);

/* Releases, then answers with a text, JSON if response names no type.  A failure
 * to send is ERROR_CLIENT_GONE. */
int exchange_answer(struct exchange *x, struct response *response,
                    const char *text, struct error *err);
/* 200 and object, which it frees. */
int exchange_answer_json(struct exchange *x, struct json *object,
                         struct error *err);
/* 200 {"ok":true} */
int exchange_answer_ok(struct exchange *x, struct error *err);

/* Sends an answer that is a head alone. */
int exchange_send_head(struct exchange *x, const struct response *response,
                       struct error *err);

/* Begins an answer whose body follows piece by piece: the head goes out with
 * the first one. */
void exchange_begin(struct exchange *x, const struct response *response);

#endif
