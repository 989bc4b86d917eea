/* SPDX-License-Identifier: Apache-2.0 */
/* Looking up a pair and decoding its value. */
#include "http/query.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define BAD_VALUE "\x7f"

/* Decodes up to the next '&' or the end. */
static bool
decode(const char *at, char *value, size_t size)
{
    size_t used = 0;

    for (; *at != '\0' && *at != '&'; at++) {
        char c = *at;

        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            if (!isxdigit((unsigned char)at[1]) ||
                !isxdigit((unsigned char)at[2]))
                return false;
            c = (char)strtoul((char[]){at[1], at[2], '\0'}, NULL, 16);
            at += 2;
        }
        if (c == '\0' || used + 1 == size)
            return false;
        value[used++] = c;
    }
    value[used] = '\0';
    return true;
}

/* Is that where the name of a pair ends? */
static bool
is_name_end(char c)
{
    return c == '=' || c == '&' || c == '\0';
}

bool
query_get(const char *query, const char *name, char *value, size_t size)
{
    const size_t length = strlen(name);
    const char *at = query;

    assert(size >= sizeof(BAD_VALUE));
    while (strncmp(at, name, length) != 0 || !is_name_end(at[length])) {
        at += strcspn(at, "&");
        if (*at == '\0')
            return false;
        at++;
    }
    at += length;
    if (*at == '=')
        at++;
    if (!decode(at, value, size))
        memcpy(value, BAD_VALUE, sizeof(BAD_VALUE));
    return true;
}
