/* SPDX-License-Identifier: Apache-2.0 */
/* The query of a URL: NAME=VALUE pairs, '&' between them.  Pure. */
#ifndef HTTP_QUERY_H
#define HTTP_QUERY_H

#include <stdbool.h>
#include <stddef.h>

/* Finds the first pair of that name and decodes its value (%XX and '+') into
 * value, a buffer of size > 1 bytes.  Returns false if there is none.  A name
 * without '=' has the value "".  A value that does not fit, holds %00 or a '%'
 * without two hex digits is given as "\x7f", which no option has as value. */
bool query_get(const char *query, const char *name, char *value, size_t size);

#endif
