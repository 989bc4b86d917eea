/* SPDX-License-Identifier: Apache-2.0 */
/* From JSON to a command. */
#include "server/patch_command.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"

#define JSON_MAX_DEPTH 16

static int
parse_zero(struct patch_command *ret, const struct json *object,
           struct error *err)
{
    bool is_negative = false;

    if (json_get_number(object, "size", &ret->length, &is_negative) !=
        JSON_FOUND)
        return error_set(err, 400, "missing or invalid \"size\"");
    if (is_negative || ret->length == 0)
        return error_set(err, 400, "\"size\" must be positive");
    switch (json_get_number(object, "offset", &ret->offset, &is_negative)) {
    case JSON_FOUND:
        if (is_negative)
            return error_set(err, 400, "\"offset\" must be non-negative");
        break;
    case JSON_ABSENT:
        break;
    default:
        return error_set(err, 400, "invalid \"offset\"");
    }
    switch (json_get_bool(object, "flush", &ret->flush)) {
    case JSON_FOUND:
    case JSON_ABSENT:
        return 0;
    default:
        return error_set(err, 400, "\"flush\" must be a boolean");
    }
}

static int
parse_object(struct patch_command *ret, const struct json *object,
             struct error *err)
{
    const char *op = "";

    if (!json_is_object(object))
        return error_set(err, 400, "body must be a JSON object");
    json_get_string(object, "op", &op);
    if (strcmp(op, "flush") == 0) {
        ret->op = PATCH_FLUSH;
        return 0;
    }
    if (strcmp(op, "zero") == 0) {
        ret->op = PATCH_ZERO;
        return parse_zero(ret, object, err);
    }
    return error_set(
        err, 400, "unsupported op; only \"zero\" and \"flush\" are supported");
}

int
patch_command_parse(struct patch_command *ret, const char *text, size_t length,
                    struct error *err)
{
    struct patch_command command = {.offset = 0};
    struct json *object;
    int rc;

    if (json_parse(&object, text, length, JSON_MAX_DEPTH, err) == -1)
        return -1;
    rc = parse_object(&command, object, err);
    json_free(object);
    if (rc == 0)
        *ret = command;
    return rc;
}
