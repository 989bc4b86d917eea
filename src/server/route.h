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

enum route_flag {
    ROUTE_IMAGE = 1,   /* below /images/{id}; else of the server */
    ROUTE_TOKEN = 2,   /* 401 without the ticket's, if it has one */
    ROUTE_CHANGES = 4, /* refused (403) for a read-only ticket */
    ROUTE_WATCHES = 8, /* does not keep a ticket from being idle */
};

struct route {
    const char *method;
    const char *resource;  /* last segment; NULL: the image itself */
    unsigned flags;        /* enum route_flag */
    const char *not_files; /* 400 for the file backend; NULL: fine there */
    int (*handle)(struct exchange *x, struct error *err);
};

/* Is it /images/{something}, or one below?  All else is 404 "not found"
 * whatever its tickets are. */
bool route_is_image_path(const struct path *path);

/* OPTIONS of "/images/" and a star: what the server can, whatever the image. */
bool route_is_star(const struct path *path, const char *method);

/* Is it one of the server itself, as /status is? */
bool route_is_server_path(const struct path *path);

/* The route of an image's path, or of the server's.  404 "not found" for a resource that no image has;
 * 405 for a method that it does not have, with its methods in allow. */
int route_find(const struct route **ret, const struct path *path,
               const char *method, char allow[ROUTE_ALLOW_SIZE],
               struct error *err);

#endif
