/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which handler serves a method on a path, what it needs, and what else the
 * path allows: one table.  Pure.
 */
#ifndef SERVER_ROUTE_H
#define SERVER_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct exchange;
struct path;

#define ROUTE_ALLOW_SIZE 64 /* bytes, of a list of methods */

struct route {
    const char *method;
    const char *resource;   /* third segment; NULL: the image itself */
    bool needs_token;       /* 401 without the ticket's, if it has one */
    bool changes;           /* refused (403) for a read-only ticket */
    const char *not_files;  /* 400 for the file backend; NULL: fine there */
    int (*handle)(struct exchange *x, struct error *err);
};

/* Is it /images/{something}, or one below?  All else is 404 "not found"
 * whatever its tickets are. */
bool route_is_image_path(const struct path *path);

/* OPTIONS of "/images/" and a star: what the server can, whatever the image. */
bool route_is_server(const struct path *path, const char *method);

/* The route of such a path.  404 "not found" for a resource that no image has;
 * 405 for a method that it does not have, with its methods in allow. */
int route_find(const struct route **ret, const struct path *path,
               const char *method, char allow[ROUTE_ALLOW_SIZE],
               struct error *err);

#endif
