/* SPDX-License-Identifier: Apache-2.0 */
/* The schemes of NBD URIs. */
#include "image/nbd_uri.h"

#include <string.h>
#include <strings.h>

static const char *const schemes[] = {"nbd", "nbds", "nbd+unix", "nbds+unix"};

/* The bit of the scheme that text begins with, for length bytes. */
static unsigned
bit_of(const char *text, size_t length)
{
    for (unsigned i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strlen(schemes[i]) == length &&
            strncasecmp(schemes[i], text, length) == 0)
            return 1U << i;
    return 0;
}

unsigned
nbd_uri_scheme(const char *uri)
{
    const size_t length = strcspn(uri, ":");

    return uri[length] == ':' ? bit_of(uri, length) : 0;
}

bool
nbd_uri_is_local(const char *uri)
{
    const char *plus = strchr(uri, '+');

    return plus != NULL && plus < strchr(uri, ':');
}

bool
nbd_uri_has_network(unsigned bits)
{
    for (unsigned i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (bits & 1U << i && strchr(schemes[i], '+') == NULL)
            return true;
    return false;
}

bool
nbd_uri_parse_schemes(unsigned *ret, const char *list)
{
    unsigned bits = 0;

    for (;; list++) {
        const size_t length = strcspn(list, ",");
        const unsigned bit = bit_of(list, length);

        if (bit == 0)
            return false;
        bits |= bit;
        list += length;
        if (*list == '\0')
            break;
    }
    *ret = bits;
    return true;
}
