/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/fcgi_env: a request's beginning in raw FastCGI records, in pieces
 * (wire.h).  Two bytes after the sizes say how many times 8 bytes of PARAMS are
 * put behind the first record, if the highest bit of them is set: so an input
 * can be short and what is sent too long.
 */
#include "http/fcgi_env.h"

#include "base/error.h"
#include "base/wait.h"
#include "fuzz.h"
#include "wire.h"

#define HEADER 8
#define FIRST_BYTES 16   /* BEGIN_REQUEST with its header */
#define FILLER_MAX 16384 /* bytes of such a record */

static struct wire wire;
static size_t filling_start, filling_end; /* in what is sent */

/* In place of base/wait: where we wait, the web server goes on. */
int
wait_fds(struct pollfd *fds, unsigned count, int timeout_ms, struct error *err)
{
    (void)err;
    check(count == 1 && fds[0].fd == wire.ours && fds[0].events == POLLIN);
    check(timeout_ms > 0 && !wire.is_closed);
    if (wire.sent >= filling_start && wire.sent < filling_end)
        wire_send(&wire, filling_end - wire.sent);
    else
        wire_go_on(&wire);
    return 1;
}

/* A size at data[*at], which moves behind it.  false: it is not all there. */
static bool
read_size(uint64_t *ret, const uint8_t *data, size_t size, size_t *at)
{
    const size_t width = *at < size && data[*at] >= 0x80 ? 4 : 1;

    if (size - *at < width)
        return false;
    *ret = data[*at] & (width == 4 ? 0x7f : 0xff);
    for (size_t i = 1; i < width; i++)
        *ret = *ret * 256 + data[*at + i];
    *at += width;
    return true;
}

/* Are these whole variables?  0: the last one is not; -1: one is too long. */
static int
model_variables(const uint8_t *data, size_t size)
{
    size_t at = 0;

    while (at < size) {
        uint64_t name, value;

        if (!read_size(&name, data, size, &at) ||
            !read_size(&value, data, size, &at))
            return 0;
        if (name + value > FCGI_ENV_MAX_BYTES)
            return -1;
        if (name + value > size - at)
            return 0;
        at += (size_t)(name + value);
    }
    return 1;
}

/* How long the beginning is that data starts with.  0: it ends too early; -1:
 * it is none.  What there is of its variables is gathered. */
static ssize_t
model_records(uint8_t *variables, size_t *gathered, const uint8_t *data,
              size_t size)
{
    size_t at = 0;

    for (unsigned i = 0; size - at >= HEADER; i++) {
        const uint8_t *header = data + at;
        const size_t length = header[4] * 256u + header[5];
        const size_t there =
            length < size - at - HEADER ? length : size - at - HEADER;

        if (header[0] != 1 || header[1] != (i == 0 ? 1 : 4) ||
            header[2] != data[2] || header[3] != data[3] ||
            (header[2] == 0 && header[3] == 0))
            return -1;
        at += HEADER;
        if (i == 0 && (length != 8 || header[6] != 0))
            return -1;
        if (i == 0 && there == 8 && (data[at] != 0 || data[at + 1] != 1))
            return -1;
        if (i > 0 && length == 0 && model_variables(variables, *gathered) == 0)
            return -1;
        if (i > 0) {
            memcpy(variables + *gathered, data + at, there);
            *gathered += there;
        }
        if (length + header[6] > size - at)
            return 0;
        at += length + header[6];
        if (i > 0 && length == 0)
            return (ssize_t)at;
    }
    return 0;
}

static ssize_t
model(const uint8_t *data, size_t size)
{
    uint8_t *variables = malloc(size + 1);
    size_t gathered = 0;
    ssize_t end;

    check(variables != NULL);
    end = model_records(variables, &gathered, data, size);
    if (model_variables(variables, gathered) == -1)
        end = -1;
    free(variables);
    return end;
}

/* What is sent.  To be freed. */
static uint8_t *
spread(struct input *input, size_t *size)
{
    const unsigned high = input_byte(input), low = input_byte(input);
    const size_t filling =
        (high & 0x80) != 0 ? ((high & 0x7f) << 8 | low) * (size_t)8 : 0;
    uint8_t *data = calloc(1, input->size + filling + 1);
    size_t at = input->size < FIRST_BYTES ? input->size : (size_t)FIRST_BYTES;

    check(data != NULL);
    filling_start = at;
    filling_end = at + filling;
    if (input->size > 0) {
        memcpy(data, input->data, at);
        memcpy(data + filling_end, input->data + at, input->size - at);
    }
    while (at < filling_end) {
        const size_t left = filling_end - at;
        const size_t step = left < FILLER_MAX ? left : FILLER_MAX;
        const size_t length = step - HEADER;

        memcpy(data + at,
               (uint8_t[]){1, 4, 0, 1, (uint8_t)(length >> 8), (uint8_t)length},
               6);
        at += step;
    }
    *size = input->size + filling;
    return data;
}

/* The file has the beginning and no more, and can be read from its start. */
static void
check_file(const struct fcgi_env *env, const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);

    check(copy != NULL && env->size == size);
    check(read(env->fd, copy, size + 1) == (ssize_t)size);
    check(memcmp(copy, data, size) == 0);
    free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct error err = {.status = 0};
    const struct sizes sizes = sizes_take(&input);
    size_t length;
    uint8_t *sent = spread(&input, &length);
    const ssize_t expected = model(sent, length);
    struct fcgi_env env;
    int rc;

    wire_open(&wire, sizes, sent, length);
    check(fcgi_env_open(&env) == 0);
    /* What an earlier and longer request left. */
    check(pwrite(env.fd, "before", 6, 40) == 6);
    env.size = 46;
    rc = fcgi_env_receive(&env, wire.ours, &err);
    if (rc == 0) {
        check(expected > 0 && (size_t)expected <= FCGI_ENV_MAX_BYTES);
        check_file(&env, sent, (size_t)expected);
        check(wire_taken(&wire) == (size_t)expected);
    } else if (expected == 0 && length <= FCGI_ENV_MAX_BYTES) {
        check(err.status == ERROR_CLIENT_GONE);
    } else {
        check(expected <= 0 || (size_t)expected > FCGI_ENV_MAX_BYTES);
        check(err.status == 400);
    }
    check(env.size <= FCGI_ENV_MAX_BYTES);
    fcgi_env_close(&env);
    wire_close(&wire);
    free(sent);
    return 0;
}
