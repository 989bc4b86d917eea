/* SPDX-License-Identifier: Apache-2.0 */
/* From the options of "add" to the JSON of a ticket.  Reads the token's file.
 */
#ifndef CTL_TICKET_FORM_H
#define CTL_TICKET_FORM_H

struct error;
struct invocation;
struct json;

/* *ret is the caller's.  Relative paths become absolute ones.  400: options
 * that do not go together, or values that say nothing; 500: a file that cannot
 * be read.  Whether it makes a ticket is for ticket_parse() to say. */
int ticket_form_fill(struct json **ret, const struct invocation *invocation,
                     struct error *err);

#endif
