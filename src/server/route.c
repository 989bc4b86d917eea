/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes. */
#include "server/route.h"

#include <string.h>

#include "base/error.h"
#include "http/path.h"
#include "server/handle.h"

#define PREFIX "images"
#define NO_PATCH                                              \
    "range writes and PATCH not supported for file backend; " \
    "use PUT for full upload"
#define NO_EXTENTS "extents not supported for file backend"

/* An Allow header lists a resource's methods in this order. */
static const struct route routes[] = {
    {"OPTIONS", NULL, ROUTE_IMAGE, NULL, handle_options},
    {"GET", NULL, ROUTE_IMAGE | ROUTE_TOKEN, NULL, handle_get},
    {"HEAD", NULL, ROUTE_IMAGE | ROUTE_TOKEN, NULL, handle_get},
    {"PUT", NULL, ROUTE_IMAGE | ROUTE_TOKEN | ROUTE_CHANGES, NULL, handle_put},
    {"PATCH", NULL, ROUTE_IMAGE | ROUTE_TOKEN | ROUTE_CHANGES, NO_PATCH,
     handle_patch},
    {"GET", "extents", ROUTE_IMAGE | ROUTE_TOKEN, NO_EXTENTS, handle_extents},
    {"HEAD", "extents", ROUTE_IMAGE | ROUTE_TOKEN, NO_EXTENTS, handle_extents},
    {"POST", "flush", ROUTE_IMAGE | ROUTE_TOKEN | ROUTE_CHANGES, NULL,
     handle_flush},
    {"GET", "status", ROUTE_IMAGE | ROUTE_TOKEN | ROUTE_WATCHES, NULL,
     handle_image_status},
    {"HEAD", "status", ROUTE_IMAGE | ROUTE_TOKEN | ROUTE_WATCHES, NULL,
     handle_image_status},
    {"GET", "status", ROUTE_WATCHES, NULL, handle_status},
    {"HEAD", "status", ROUTE_WATCHES, NULL, handle_status},
    {"GET", "metrics", ROUTE_WATCHES, NULL, handle_metrics},
    {"HEAD", "metrics", ROUTE_WATCHES, NULL, handle_metrics},
};
#define COUNT (sizeof(routes) / sizeof(routes[0]))

bool
route_is_image_path(const struct path *path)
{
    return (path->count == 2 || path->count == 3) &&
           path_segment_is(path, 0, PREFIX);
}

bool
route_is_star(const struct path *path, const char *method)
{
    return path->count == 2 && path_segment_is(path, 1, "*") &&
           strcmp(method, "OPTIONS") == 0;
}

static bool
is_resource(const struct route *route, const struct path *path)
{
    if ((route->flags & ROUTE_IMAGE) == 0)
        return path->count == 1 && path_segment_is(path, 0, route->resource);
    if (route->resource == NULL)
        return path->count == 2;
    return path->count == 3 && path_segment_is(path, 2, route->resource);
}

bool
route_is_server_path(const struct path *path)
{
    for (size_t i = 0; i < COUNT; i++)
        if ((routes[i].flags & ROUTE_IMAGE) == 0 &&
            is_resource(&routes[i], path))
            return true;
    return false;
}

int
route_find(const struct route **ret, const struct path *path,
           const char *method, char allow[ROUTE_ALLOW_SIZE], struct error *err)
{
    size_t used = 0;

    allow[0] = '\0';
    for (size_t i = 0; i < COUNT; i++) {
        const struct route *route = &routes[i];

        if (!is_resource(route, path))
            continue;
        if (strcmp(route->method, method) == 0) {
            *ret = route;
            return 0;
        }
        if (used > 0)
            used = (size_t)(stpcpy(allow + used, ", ") - allow);
        used = (size_t)(stpcpy(allow + used, route->method) - allow);
    }
    if (used == 0)
        return error_set(err, 404, "not found");
    return error_set(err, 405, "method not allowed");
}
