/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON on top of json-c: a struct json is a json_object under another name.
 * json-c's strict mode still takes things that RFC 8259 does not know; a scan
 * of the text finds those first.
 */
#include "base/json.h"

#include <ctype.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DIGITS "0123456789"

static struct json_object *
from_json(const struct json *json)
{
    return (struct json_object *)json;
}

/* All that json-c can fail at is an allocation. */
static void *
must(void *pointer)
{
    if (pointer == NULL)
        abort();
    return pointer;
}

/* The bytes of the character at the start of text; 0: it is not UTF-8 (RFC 3629
 * section 4).  Does not read past a NUL. */
static size_t
utf8_length(const char *text)
{
    static const struct {
        unsigned char first_min, first_max, second_min, second_max;
        size_t length; /* the third and fourth byte are 80..BF */
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    const unsigned char *at = (const unsigned char *)text;
    size_t i = 0, n;

    if (at[0] < 0x80)
        return 1;
    while (i < COUNT(forms) &&
           (at[0] < forms[i].first_min || at[0] > forms[i].first_max))
        i++;
    if (i == COUNT(forms) || at[1] < forms[i].second_min ||
        at[1] > forms[i].second_max)
        return 0;
    for (n = 2; n < forms[i].length; n++)
        if (at[n] < 0x80 || at[n] > 0xbf)
            return 0;
    return n;
}

/* json-c takes "-01", "-.1" and "1." too. */
static bool
is_strict_number(const char *at)
{
    size_t whole;

    if (*at == '-')
        at++;
    whole = strspn(at, DIGITS);
    if (whole == 0 || (whole > 1 && *at == '0'))
        return false;
    return at[whole] != '.' || isdigit((unsigned char)at[whole + 1]);
}

/* What json-c would not find wrong with text; NULL: nothing.  Its own UTF-8
 * check lets overlong forms and surrogates through, its depth counts scalars
 * but not empty containers. */
static const char *
scan(const char *text, int max_depth)
{
    bool in_string = false;
    int depth = 0;
    size_t step;

    for (const char *at = text; *at != '\0'; at += step) {
        step = utf8_length(at);
        if (step == 0)
            return "not UTF-8";
        if (in_string) {
            if ((unsigned char)*at < ' ')
                return "control character in a string";
            if (*at == '\\' && (at[1] == '\\' || at[1] == '"'))
                step = 2;
            in_string = *at != '"';
        } else if (*at == '"') {
            in_string = true;
        } else if (*at == '[' || *at == '{') {
            if (++depth > max_depth)
                return "nesting too deep";
        } else if (*at == ']' || *at == '}') {
            depth--;
        } else if (*at == '-' || isdigit((unsigned char)*at)) {
            if (!is_strict_number(at))
                return "not a number";
            step = strspn(at, DIGITS "+-.eE");
        } else if (*at == '\'' || *at == 'N' || *at == 'I') {
            /* {'key':NaN}, Infinity */
            return "unexpected character";
        }
    }
    return NULL;
}

int
json_parse(struct json **ret, const char *text, size_t length, int max_depth,
           struct error *err)
{
    /* One more, as a scalar counts for json-c. */
    struct json_tokener *tokener = must(json_tokener_new_ex(max_depth + 1));
    char *copy = must(strndup(text, length));
    struct json_object *json = NULL;
    const char *fault =
        strlen(copy) == length ? scan(copy, max_depth) : "NUL byte";

    if (fault == NULL) {
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
        /* With its NUL, which tells that the text ends here. */
        json = json_tokener_parse_ex(tokener, copy, (int)length + 1);
        if (json_tokener_get_error(tokener) != json_tokener_success)
            fault = json_tokener_error_desc(json_tokener_get_error(tokener));
    }
    free(copy);
    json_tokener_free(tokener);
    if (fault != NULL)
        return error_set(err, 400, "invalid JSON: %s", fault);
    *ret = (struct json *)json; /* NULL stands for null */
    return 0;
}

void
json_free(struct json *json)
{
    json_object_put(from_json(json));
}

bool
json_is_object(const struct json *json)
{
    return json_object_is_type(from_json(json), json_type_object);
}

/* The member, if it is there and not null. */
static enum json_lookup
find(const struct json *object, const char *key, struct json_object **ret)
{
    if (!json_object_object_get_ex(from_json(object), key, ret))
        return JSON_ABSENT;
    return *ret == NULL ? JSON_NULL : JSON_FOUND;
}

bool
json_has(const struct json *object, const char *key)
{
    return json_object_object_get_ex(from_json(object), key, NULL);
}

/* A string that C can hold. */
static bool
is_string(struct json_object *value)
{
    return json_object_is_type(value, json_type_string) &&
           strlen(json_object_get_string(value)) ==
               (size_t)json_object_get_string_len(value);
}

enum json_lookup
json_get_string(const struct json *object, const char *key, const char **ret)
{
    struct json_object *value;
    const enum json_lookup found = find(object, key, &value);

    if (found != JSON_FOUND)
        return found;
    if (!is_string(value))
        return JSON_WRONG;
    *ret = json_object_get_string(value);
    return JSON_FOUND;
}

enum json_lookup
json_get_bool(const struct json *object, const char *key, bool *ret)
{
    struct json_object *value;
    const enum json_lookup found = find(object, key, &value);

    if (found != JSON_FOUND)
        return found;
    if (!json_object_is_type(value, json_type_boolean))
        return JSON_WRONG;
    *ret = json_object_get_boolean(value);
    return JSON_FOUND;
}

enum json_lookup
json_get_number(const struct json *object, const char *key, uint64_t *ret,
                bool *negative)
{
    struct json_object *value;
    const enum json_lookup found = find(object, key, &value);

    if (found != JSON_FOUND)
        return found;
    if (json_object_is_type(value, json_type_int)) {
        /* Each of json-c's two getters cuts what the other one is for. */
        const int64_t number = json_object_get_int64(value);

        *negative = number < 0;
        *ret = *negative ? -(uint64_t)number : json_object_get_uint64(value);
        return JSON_FOUND;
    }
    if (is_string(value)) {
        const char *text = json_object_get_string(value);

        if (*text == '\0' || text[strspn(text, DIGITS)] != '\0')
            return JSON_WRONG;
        *negative = false;
        *ret = strtoull(text, NULL, 10); /* too large: ULLONG_MAX */
        return JSON_FOUND;
    }
    return JSON_WRONG;
}

enum json_lookup
json_get_count(const struct json *object, const char *key, uint64_t *ret)
{
    struct json_object *value;
    const enum json_lookup found = find(object, key, &value);

    if (found != JSON_FOUND)
        return found;
    if (!json_object_is_type(value, json_type_int) ||
        json_object_get_int64(value) < 0)
        return JSON_WRONG;
    *ret = json_object_get_uint64(value);
    return JSON_FOUND;
}

enum json_lookup
json_get_item(const struct json *object, const char *key, size_t index,
              const char **ret)
{
    struct json_object *value;
    const enum json_lookup found = find(object, key, &value);

    if (found != JSON_FOUND)
        return found;
    if (!json_object_is_type(value, json_type_array))
        return JSON_WRONG;
    if (index >= json_object_array_length(value))
        return JSON_ABSENT;
    value = json_object_array_get_idx(value, index);
    if (!is_string(value))
        return JSON_WRONG;
    *ret = json_object_get_string(value);
    return JSON_FOUND;
}

const struct json *
json_get_object(const struct json *object, const char *key)
{
    struct json_object *value;

    if (find(object, key, &value) != JSON_FOUND ||
        !json_object_is_type(value, json_type_object))
        return NULL;
    return (const struct json *)value;
}

struct json *
json_new_object(void)
{
    return must(json_object_new_object());
}

/* value is NULL for null; it belongs to object from now on. */
static void
add(struct json *object, const char *key, struct json_object *value)
{
    if (json_object_object_add(from_json(object), key, value) == -1)
        abort();
}

static struct json_object *
new_string(const char *value)
{
    char *copy = must(strdup(value));
    struct json_object *string;

    for (char *at = copy; *at != '\0';) {
        const size_t length = utf8_length(at);

        if (length == 0)
            *at = '?';
        at += length != 0 ? length : 1;
    }
    string = must(json_object_new_string(copy));
    free(copy);
    return string;
}

void
json_add_string(struct json *object, const char *key, const char *value)
{
    add(object, key, new_string(value));
}

void
json_add_number(struct json *object, const char *key, uint64_t value)
{
    add(object, key, must(json_object_new_uint64(value)));
}

void
json_add_bool(struct json *object, const char *key, bool value)
{
    add(object, key, must(json_object_new_boolean(value)));
}

void
json_add_null(struct json *object, const char *key)
{
    add(object, key, NULL);
}

void
json_add_strings(struct json *object, const char *key,
                 const char *const *values, size_t count)
{
    struct json_object *array = must(json_object_new_array());

    for (size_t i = 0; i < count; i++)
        if (json_object_array_add(array, new_string(values[i])) == -1)
            abort();
    add(object, key, array);
}

void
json_add(struct json *object, const char *key, struct json *value)
{
    add(object, key, from_json(value));
}

struct json *
json_new_array(void)
{
    return must(json_object_new_array());
}

void
json_append(struct json *array, struct json *item)
{
    if (json_object_array_add(from_json(array), from_json(item)) == -1)
        abort();
}

void
json_add_members(struct json *object, const struct json *other)
{
    json_object_object_foreach(from_json(other), key, value)
    {
        if (!json_object_object_get_ex(from_json(object), key, NULL))
            add(object, key, json_object_get(value));
    }
}

void
json_remove(struct json *object, const char *key)
{
    json_object_object_del(from_json(object), key);
}

const char *
json_text(struct json *json)
{
    return json_object_to_json_string_ext(from_json(json),
                                          JSON_C_TO_STRING_PLAIN |
                                              JSON_C_TO_STRING_NOSLASHESCAPE);
}
