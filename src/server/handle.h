/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each resource means in HTTP: one function a route, in handle_*.c.  Each
 * checks the request's form, takes what it needs (lock, slot, image), does it,
 * and answers; or fails, for serve.c to answer.  The ticket is there, if it is
 * about one, and route, permission and backend were checked.
 */
#ifndef SERVER_HANDLE_H
#define SERVER_HANDLE_H

struct error;
struct exchange;

int handle_options(struct exchange *x, struct error *err);
int handle_options_server(struct exchange *x, struct error *err); /* no image */
int handle_get(struct exchange *x, struct error *err); /* HEAD as well */
int handle_put(struct exchange *x, struct error *err);
int handle_patch(struct exchange *x, struct error *err);
int handle_extents(struct exchange *x, struct error *err); /* HEAD as well */
int handle_flush(struct exchange *x, struct error *err);
int handle_image_status(struct exchange *x, struct error *err);

/* Without a ticket. */
int handle_status(struct exchange *x, struct error *err);
int handle_metrics(struct exchange *x, struct error *err);

#endif
