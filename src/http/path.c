/* SPDX-License-Identifier: Apache-2.0 */
/* Splitting a path, and judging an image id. */
#include "http/path.h"

#include <string.h>

void
path_split(struct path *ret, const char *text)
{
    *ret = (struct path){0};
    text += strspn(text, "/");
    while (*text != '\0' && ret->count <= PATH_SEGMENTS_MAX) {
        const size_t length = strcspn(text, "/");

        if (ret->count < PATH_SEGMENTS_MAX) {
            ret->segment[ret->count].text = text;
            ret->segment[ret->count].length = length;
        }
        ret->count++;
        text += length;
        text += strspn(text, "/");
    }
}

bool
path_segment_is(const struct path *path, unsigned i, const char *text)
{
    const size_t length = strlen(text);

    return i < path->count && i < PATH_SEGMENTS_MAX &&
           path->segment[i].length == length &&
           memcmp(path->segment[i].text, text, length) == 0;
}

bool
path_is_id(const char *text, size_t length)
{
    if (length == 0 || length > PATH_ID_MAX || text[0] == '.')
        return false;
    if (length == 1 && text[0] == '*')
        return false;
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)text[i];

        if (c < ' ' || c == 0x7f || c == '/' || c == '\\')
            return false;
    }
    return true;
}
