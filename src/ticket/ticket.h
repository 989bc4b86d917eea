/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ticket: what one JSON file opens for transfer, for whom, for what and for
 * how long.  Pure but for the clock: ticket_dir.c reads the files.
 */
#ifndef TICKET_TICKET_H
#define TICKET_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image_ref.h"

struct error;

#define TICKET_MAX_BYTES 4096 /* a real one has about 300 */
#define TICKET_TOKEN_MIN 16   /* bytes */
#define TICKET_FOREVER UINT64_MAX

struct ticket {
    struct image_ref image;  /* strings are owned by the ticket */
    bool read_only;          /* the image is: nobody may change it */
    bool no_writing;         /* the holder may not ("ops") */
    char *token;             /* that a client has to show; NULL: none */
    uint64_t expires_s;      /* Unix time from when on it is none any more */
    uint64_t idle_timeout_s; /* so long without a request, and it is none */
    uint64_t changed_ms;     /* the same in milliseconds: its file's last change */
};

/* Parses length bytes of JSON.  Unknown keys are ignored; a known key of the
 * wrong type, whichever backend it belongs to, is an error.  Fails with 404,
 * and a text for the log that names the key and what is wrong with it. */
int ticket_parse(struct ticket **ret, const char *json, size_t length,
                 struct error *err);

bool ticket_has_expired(const struct ticket *ticket);
bool ticket_can_write(const struct ticket *ticket);

/* Does a client that shows this token (NULL: none) have the right one, if it
 * needs one?  Takes as long for a wrong one as for the right one. */
bool ticket_accepts(const struct ticket *ticket, const char *token);

void ticket_free(struct ticket *ticket); /* NULL is allowed */

#endif
