/* SPDX-License-Identifier: Apache-2.0 */
/* The head's line that hands a file to the web server. */
#include "server/handoff.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/image_root.h"

#define NGINX_WORD "nginx="

/* Go as they are into a URI's path (RFC 3986 2.3); the rest is encoded. */
#define PLAIN                    \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ" \
    "abcdefghijklmnopqrstuvwxyz" \
    "0123456789-._~/"

bool
handoff_parse(struct handoff *ret, const char *text)
{
    const char *prefix = text + strlen(NGINX_WORD);

    if (strcmp(text, "lighttpd") == 0) {
        *ret = (struct handoff){.kind = HANDOFF_LIGHTTPD};
        return true;
    }
    if (strncmp(text, NGINX_WORD, strlen(NGINX_WORD)) != 0 ||
        prefix[0] != '/' || prefix[strspn(prefix, PLAIN)] != '\0' ||
        prefix[strlen(prefix) - 1] == '/')
        return false;
    *ret = (struct handoff){.kind = HANDOFF_NGINX, .prefix = prefix};
    return true;
}

/* Percent-encodes path.  false: no room, or a byte that is not printable
 * ASCII, which lighttpd would refuse unless all is UTF-8. */
static bool
encode(char *to, size_t size, const char *path)
{
    size_t used = 0;

    for (const char *c = path; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e || used + sizeof("%00") > size)
            return false;
        if (strchr(PLAIN, *c) != NULL)
            to[used++] = *c;
        else
            used += (size_t)snprintf(to + used, size - used, "%%%02X",
                                     (unsigned)*c);
    }
    to[used] = '\0';
    return true;
}

bool
handoff_format(char line[HANDOFF_LINE_SIZE], const struct handoff *handoff,
               const char *path, uint64_t offset, uint64_t length)
{
    char encoded[HANDOFF_LINE_SIZE];
    char *real;
    bool is_plain;
    int used;

    if (handoff->kind == HANDOFF_NONE)
        return false;
    /* lighttpd follows a link that takes the file's place meanwhile; nginx does
     * not, by disable_symlinks in its example. */
    if (handoff->kind == HANDOFF_LIGHTTPD && image_root_is_set())
        return false;
    /* Neither web server takes "..", or follows links as we do. */
    real = realpath(path, NULL);
    is_plain = real != NULL && image_root_allows(real) &&
               encode(encoded, sizeof(encoded), real);
    free(real);
    if (!is_plain)
        return false;
    if (handoff->kind == HANDOFF_NGINX)
        used = snprintf(line, HANDOFF_LINE_SIZE, "X-Accel-Redirect: %s%s",
                        handoff->prefix, encoded);
    else
        used = snprintf(line, HANDOFF_LINE_SIZE,
                        "X-Sendfile2: %s %" PRIu64 "-%" PRIu64, encoded, offset,
                        offset + length - 1);
    return used < HANDOFF_LINE_SIZE;
}
