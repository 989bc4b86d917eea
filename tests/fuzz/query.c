/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/query: a name in the first line, a query in the rest.  The value is read
 * into buffers of several sizes, and once more pair by pair.
 */
#include "http/query.h"

#include <stdbool.h>

#include "fuzz.h"

#define BAD "\x7f"

static int
digit(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *found = c == '\0' ? NULL : strchr(digits, c);

    return found == NULL ? -1 : (int)(found - digits) % 16;
}

/* Decodes all of a pair's value in its place.  false: it cannot be. */
static bool
decode(char *text)
{
    char *to = text;

    for (const char *at = text; *at != '\0'; at++, to++) {
        *to = *at;
        if (*at == '+')
            *to = ' ';
        if (*at != '%')
            continue;
        if (digit(at[1]) == -1 || digit(at[2]) == -1)
            return false;
        *to = (char)(digit(at[1]) * 16 + digit(at[2]));
        if (*to == '\0')
            return false;
        at += 2;
    }
    *to = '\0';
    return true;
}

/* The value of the first pair of that name, decoded; NULL: there is none. */
static char *
model(const char *query, const char *name)
{
    struct input rest = {(const uint8_t *)query, strlen(query)};
    bool is_last;

    do {
        const size_t before = rest.size;
        char *pair = input_text(&rest, '&');
        char *equals = strchr(pair, '=');

        is_last = before == strlen(pair); /* no '&' behind it */
        if (equals != NULL)
            *equals = '\0';
        if (strcmp(pair, name) == 0) {
            char *value = strdup(equals != NULL ? equals + 1 : "");

            check(value != NULL);
            if (!decode(value))
                strcpy(value, BAD); /* it had a '%' at least */
            free(pair);
            return value;
        }
        free(pair);
    } while (!is_last);
    return NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    char *name = input_text(&input, '\n');
    char *query = input_copy(input.data, input.size);
    const size_t sizes[] = {2, 3, 8, 64, strlen(query) + 2};
    char *expected;

    name[strcspn(name, "&=")] = '\0'; /* names are ours, and have none */
    expected = model(query, name);
    check(expected == NULL || strlen(expected) <= strlen(query));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *value = malloc(sizes[i]);
        bool found;

        check(value != NULL);
        memset(value, 'x', sizes[i]);
        found = query_get(query, name, value, sizes[i]);
        check(found == (expected != NULL));
        if (found && strlen(expected) < sizes[i])
            check(strcmp(value, expected) == 0);
        else if (found)
            check(strcmp(value, BAD) == 0);
        free(value);
    }
    free(expected);
    free(query);
    free(name);
    return 0;
}
