/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in and out, the only includer of json-c: strict parsing with limits,
 * lookups that tell an absent key from one of the wrong type, and compact
 * output.  A struct json is one value with all below it; lookups lend from it.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct json;

enum json_lookup {
    JSON_ABSENT,
    JSON_NULL,
    JSON_WRONG, /* there, but not of the type asked for */
    JSON_FOUND, /* *ret is set; it is not touched otherwise */
};

/* Parses exactly one value of length bytes by RFC 8259: valid UTF-8, at most
 * max_depth containers within each other (a plain object is depth 1), nothing
 * but white space after it.  Fails with 400 "invalid JSON: <why>". */
int json_parse(struct json **ret, const char *text, size_t length,
               int max_depth, struct error *err);
void json_free(struct json *json); /* NULL is allowed */

bool json_is_object(const struct json *json);

bool json_has(const struct json *object, const char *key); /* null counts */

/* A string, lent; one that holds a NUL is JSON_WRONG. */
enum json_lookup json_get_string(const struct json *object, const char *key,
                                 const char **ret);
enum json_lookup json_get_bool(const struct json *object, const char *key,
                               bool *ret);
/* A JSON integer (no fraction, no exponent), or a string of decimal digits.
 * Below zero: *negative is set and *ret is its absolute value.  Too large for
 * 64 bits: UINT64_MAX. */
enum json_lookup json_get_number(const struct json *object, const char *key,
                                 uint64_t *ret, bool *negative);

/* A JSON integer that is not negative, and nothing else.  Too large for 64 bits:
 * UINT64_MAX. */
enum json_lookup json_get_count(const struct json *object, const char *key,
                                uint64_t *ret);
/* The string at an index of an array, lent.  Past its end: JSON_ABSENT; no
 * array, or something else in it: JSON_WRONG. */
enum json_lookup json_get_item(const struct json *object, const char *key,
                               size_t index, const char **ret);

/* The member, with all below it: lent.  NULL unless it is an object. */
const struct json *json_get_object(const struct json *object, const char *key);

/* Building an object; members keep the order in which they are added.  An
 * allocation that fails ends the process, as json-c has no better word. */
struct json *json_new_object(void);
void json_add_string(struct json *object, const char *key, const char *value);
void json_add_number(struct json *object, const char *key, uint64_t value);
void json_add_bool(struct json *object, const char *key, bool value);
void json_add_null(struct json *object, const char *key);
/* An array of count strings. */
void json_add_strings(struct json *object, const char *key,
                      const char *const *values, size_t count);

/* A value of any kind, which the object, or the array, owns from then on. */
void json_add(struct json *object, const char *key, struct json *value);
struct json *json_new_array(void);
void json_append(struct json *array, struct json *item);

/* Adds all members of another object, but those that object has. */
void json_add_members(struct json *object, const struct json *other);
void json_remove(struct json *object, const char *key); /* may be absent */

/* The compact text: no spaces, "/" not escaped, UTF-8 (bytes that are not are
 * replaced by "?").  Lent until the object is changed or freed. */
const char *json_text(struct json *json);

#endif
