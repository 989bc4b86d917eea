/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing a file image over to the web server, which then sends it by itself
 * (--file-handoff): the line of the answer's head that says so.  Pure but for
 * resolving the path.
 */
#ifndef SERVER_HANDOFF_H
#define SERVER_HANDOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum handoff_kind {
    HANDOFF_NONE,
    HANDOFF_NGINX,    /* X-Accel-Redirect: nginx does the range */
    HANDOFF_LIGHTTPD, /* X-Sendfile2: we say the range */
};

struct handoff {
    enum handoff_kind kind;
    const char *prefix; /* nginx: an internal location whose alias is "/" */
};

/* "nginx=/prefix" or "lighttpd"; lends text.  false: neither. */
bool handoff_parse(struct handoff *ret, const char *text);

#define HANDOFF_LINE_SIZE 768 /* bytes; a longer path is not handed over */

/* The line, without its end, for [offset, offset + length) of the file at path.
 * false: we send it ourselves, as the path has bytes or a length that not
 * every web server takes, or handoff is none. */
bool handoff_format(char line[HANDOFF_LINE_SIZE], const struct handoff *handoff,
                    const char *path, uint64_t offset, uint64_t length);

#endif
