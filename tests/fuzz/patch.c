/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server/patch_command and base/json: an input is the body of a PATCH.  What is
 * taken for JSON is what the grammar says, read here once more; and a command
 * that is taken is the same when written out in another way.
 */
#include "server/patch_command.h"

#include <inttypes.h>

#include "base/error.h"
#include "base/json.h"
#include "fuzz.h"

#define DEPTH_MAX 16

/* --- RFC 8259, a function a rule; each moves at past what it reads. ---------
 */

struct text {
    const uint8_t *at, *end;
    unsigned depth;
};

static bool
take(struct text *text, const char *word)
{
    const size_t length = strlen(word);

    if ((size_t)(text->end - text->at) < length ||
        memcmp(text->at, word, length) != 0)
        return false;
    text->at += length;
    return true;
}

static int
next(const struct text *text)
{
    return text->at < text->end ? *text->at : -1;
}

static void
take_white(struct text *text)
{
    while (take(text, " ") || take(text, "\t") || take(text, "\n") ||
           take(text, "\r"))
        ;
}

static bool
take_digits(struct text *text)
{
    const uint8_t *start = text->at;

    while (next(text) >= '0' && next(text) <= '9')
        text->at++;
    return text->at > start;
}

static bool
take_number(struct text *text)
{
    take(text, "-");
    if (!take(text, "0") && !take_digits(text))
        return false;
    if (take(text, ".") && !take_digits(text))
        return false;
    if (take(text, "e") || take(text, "E")) {
        if (!take(text, "+"))
            take(text, "-");
        return take_digits(text);
    }
    return true;
}

/* By decoding it: not the shortest form, a surrogate, past U+10FFFF are wrong
 * (RFC 3629). */
static bool
take_character(struct text *text)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const int first = next(text);
    const unsigned more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0;
    uint32_t code = (uint32_t)first;

    if (first == -1 || first > 0xf7 || (first >= 0x80 && first < 0xc0))
        return false;
    if (more > 0)
        code &= 0x3fu >> more;
    text->at++;
    for (unsigned i = 0; i < more; i++, text->at++) {
        if (next(text) == -1 || (next(text) & 0xc0) != 0x80)
            return false;
        code = code << 6 | (uint32_t)(next(text) & 0x3f);
    }
    return code >= least[more] && code <= 0x10ffff &&
           (code < 0xd800 || code > 0xdfff);
}

static bool
take_string(struct text *text)
{
    if (!take(text, "\""))
        return false;
    while (!take(text, "\"")) {
        if (take(text, "\\u")) {
            for (unsigned i = 0; i < 4; i++, text->at++)
                if (next(text) == -1 ||
                    strchr("0123456789abcdefABCDEF", next(text)) == NULL ||
                    next(text) == 0)
                    return false;
        } else if (take(text, "\\")) {
            if (next(text) <= 0 || strchr("\"\\/bfnrt", next(text)) == NULL)
                return false;
            text->at++;
        } else if (next(text) < ' ' || !take_character(text)) {
            return false;
        }
    }
    return true;
}

static bool take_value(struct text *text);

static bool
take_members(struct text *text, bool have_keys, const char *end)
{
    if (++text->depth > DEPTH_MAX)
        return false;
    take_white(text);
    if (!take(text, end)) {
        do {
            take_white(text);
            if (have_keys) {
                if (!take_string(text))
                    return false;
                take_white(text);
                if (!take(text, ":"))
                    return false;
            }
            if (!take_value(text))
                return false;
        } while (take(text, ","));
        if (!take(text, end))
            return false;
    }
    text->depth--;
    return true;
}

/* With the white space around it. */
static bool
take_value(struct text *text)
{
    bool ok;

    take_white(text);
    if (take(text, "{"))
        ok = take_members(text, true, "}");
    else if (take(text, "["))
        ok = take_members(text, false, "]");
    else if (next(text) == '"')
        ok = take_string(text);
    else
        ok = take(text, "true") || take(text, "false") || take(text, "null") ||
             take_number(text);
    take_white(text);
    return ok;
}

/* --- checks ----------------------------------------------------------------
 */

/* Is taken if and only if it is right, and survives being written out. */
static void
check_json(const char *data, size_t size)
{
    struct text text = {(const uint8_t *)data, (const uint8_t *)data + size, 0};
    const bool is_right = take_value(&text) && text.at == text.end;
    struct json *json = NULL, *again;
    struct error err = {.status = 0};
    char *once;

    if (json_parse(&json, data, size, DEPTH_MAX, &err) == -1) {
        check(!is_right && json == NULL);
        check(err.status == 400 &&
              strncmp(err.text, "invalid JSON: ", 14) == 0);
        return;
    }
    check(is_right);
    once = strdup(json_text(json));
    check(once != NULL);
    check(json_parse(&again, once, strlen(once), DEPTH_MAX, &err) == 0);
    check(strcmp(json_text(again), once) == 0);
    free(once);
    json_free(again);
    json_free(json);
}

static void
check_again(const struct patch_command *command, const char *format)
{
    struct patch_command again;
    struct error err = {.status = 0};
    char text[256];

    snprintf(text, sizeof(text), format, command->length, command->offset,
             command->flush ? "true" : "false");
    check(patch_command_parse(&again, text, strlen(text), &err) == 0);
    check(again.op == PATCH_ZERO && again.offset == command->offset &&
          again.length == command->length && again.flush == command->flush);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* No NUL need follow a body. */
    char *text = input_bytes(data, size);
    struct patch_command command = {.offset = 7};
    struct error err = {.status = 0};

    check_json(text, size);
    if (patch_command_parse(&command, text, size, &err) == -1) {
        check(err.status == 400 && *err.text != '\0');
        check(command.offset == 7);
    } else if (command.op == PATCH_ZERO) {
        check(command.length > 0);
        check_again(&command, "{\"op\":\"zero\",\"size\":%" PRIu64
                              ",\"offset\":%" PRIu64 ",\"flush\":%s}");
        check_again(&command, " {\"more\":[{}],\"size\":\"%" PRIu64
                              "\",\"offset\":\"0%" PRIu64
                              "\",\"flush\":%s,\"op\":\"\\u007aero\"}");
    } else {
        check(command.op == PATCH_FLUSH);
    }
    free(text);
    return 0;
}
