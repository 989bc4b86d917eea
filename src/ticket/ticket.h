/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ticket: what one JSON file opens for transfer, and what it allows.  Pure:
 * ticket_dir.c reads the files.
 */
#ifndef TICKET_TICKET_H
#define TICKET_TICKET_H

#include <stdbool.h>
#include <stddef.h>

#include "image/image_ref.h"

struct error;

#define TICKET_MAX_BYTES 4096 /* a real one has about 300 */

struct ticket {
    struct image_ref image; /* strings are owned by the ticket */
    bool read_only;         /* no writer is let in */
};

/* Parses length bytes of JSON.  Unknown keys are ignored; a known key of the
 * wrong type, whichever backend it belongs to, is an error.  Fails with 404,
 * and a text for the log that names the key and what is wrong with it. */
int ticket_parse(struct ticket **ret, const char *json, size_t length,
                 struct error *err);
void ticket_free(struct ticket *ticket); /* NULL is allowed */

#endif
