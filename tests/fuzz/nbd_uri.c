/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image/nbd_uri: an input is read as a URI and as a list of schemes.
 */
#include "image/nbd_uri.h"

#include <ctype.h>

#include "fuzz.h"

static const char *const schemes[] = {"nbd", "nbds", "nbd+unix", "nbds+unix"};

/* Which one it is, with ends around it; -1: none. */
static int
find(const char *text)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(schemes[i], text) == 0)
            return i;
    return -1;
}

/* A list is right if each of its parts is. */
static void
check_list(const char *text, const char *lower)
{
    struct input rest = {(const uint8_t *)lower, strlen(lower)};
    const unsigned untouched = 1U << 20;
    unsigned bits = untouched, expected = 0;
    bool is_right = true, is_last;

    do {
        const size_t before = rest.size;
        char *part = input_text(&rest, ',');
        const int i = find(part);

        is_last = before == strlen(part);
        if (i == -1)
            is_right = false;
        else
            expected |= nbd_uri_scheme((const char *[]){
                "nbd:", "nbds:", "nbd+unix:", "nbds+unix:"}[i]);
        free(part);
    } while (!is_last);
    check(nbd_uri_parse_schemes(&bits, text) == is_right);
    check(bits == (is_right ? expected : untouched));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = input_copy(data, size);
    char *lower = input_copy(data, size);
    char *colon;
    unsigned bit, all;
    int i = -1;

    for (char *at = lower; *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    check_list(text, lower);
    colon = strchr(lower, ':');
    if (colon != NULL) {
        *colon = '\0';
        i = find(lower);
        check(nbd_uri_is_local(text) == (strchr(lower, '+') != NULL));
    } else {
        check(!nbd_uri_is_local(text));
    }
    bit = nbd_uri_scheme(text);
    check((bit != 0) == (i != -1) && (bit & (bit - 1)) == 0);
    if (i != -1) {
        check(nbd_uri_parse_schemes(&all, schemes[i]) && all == bit);
        check(nbd_uri_is_local(text) == (i >= 2));
        check((bit & NBD_URI_ALL_SCHEMES) != 0);
    }
    free(lower);
    free(text);
    return 0;
}
