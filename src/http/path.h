/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path of a request, percent-decoded by the web server, as segments; and
 * which of them may be an image id.  Pure.
 */
#ifndef HTTP_PATH_H
#define HTTP_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_SEGMENTS_MAX 3 /* prefix, id, sub-resource: more is never known */
#define PATH_ID_MAX 255     /* bytes; NAME_MAX, as an id is a file name */

struct path {
    unsigned count; /* segments; PATH_SEGMENTS_MAX + 1 stands for more */
    struct {
        const char *text; /* lent, not NUL-terminated */
        size_t length;    /* bytes, never 0 */
    } segment[PATH_SEGMENTS_MAX];
};

/* Empty segments are dropped: "//images///demo/" has two. */
void path_split(struct path *ret, const char *text);

/* Is segment i there, and equal to text? */
bool path_segment_is(const struct path *path, unsigned i, const char *text);

/* 1 to PATH_ID_MAX bytes, no '/', no '\', no control character (below 0x20,
 * 0x7f), not starting with '.': a plain file name, never a way out of the
 * ticket directory and never a hidden file.  Nor "*", which stands for the
 * server itself. */
bool path_is_id(const char *text, size_t length);

#endif
