/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/fcgi_io, in: a request's body in raw FastCGI records, in pieces
 * (wire.h).  After the sizes of what is sent come those of what is read, in the
 * same way; then a byte, after how many reads nobody wants more (0: to the
 * end); then the records.
 */
#include "http/fcgi_io.h"

#include "base/error.h"
#include "fuzz.h"
#include "wire.h"

#define HEADER 8
#define ID 1
#define SCRAPS_BYTES (16 * 4096) /* of an unwanted body, read all the same */

/* What the records mean. */
struct model {
    uint8_t *body;
    size_t size;     /* bytes of body */
    int status;      /* that it ends with; 0: as it should */
    size_t end;      /* where in the stream, and */
    uint8_t padding; /* that of the last record */
};

static void
model_init(struct model *model, const uint8_t *data, size_t size)
{
    size_t at = 0;

    *model = (struct model){.body = malloc(size + 1), .status = 499};
    check(model->body != NULL);
    while (size - at >= HEADER) {
        const uint8_t *header = data + at;
        const size_t length = header[4] * 256u + header[5];
        const size_t there = size - at - HEADER;
        const size_t step = length < there ? length : there;

        model->padding = header[6];
        model->end = at + HEADER;
        if (header[0] != 1) {
            model->status = 500;
            return;
        }
        if (header[2] * 256u + header[3] == ID) {
            if (header[1] != 5) {
                model->status = header[1] == 2 ? 499 : 500;
                return;
            }
            if (length == 0) {
                model->status = 0;
                return;
            }
            memcpy(model->body + model->size, header + HEADER, step);
            model->size += step;
        }
        if (there - step < header[6] || step < length)
            break;
        at += HEADER + length + header[6];
    }
    model->end = size;
}

/* Reads to the end (1) or an error (-1), or limit times (0). */
static int
pull_all(struct fcgi_io *io, struct wire *wire, struct sizes *sizes,
         const struct model *model, unsigned limit, struct error *err)
{
    size_t have = 0;
    ssize_t got = 0;

    for (unsigned i = 0; limit == 0 || i < limit; i++) {
        const size_t size = sizes_next(sizes, 4096);
        uint8_t *data = malloc(size);

        check(data != NULL);
        got = fcgi_io_pull(io, data, size, err);
        check(got <= (ssize_t)size);
        if (got > 0) {
            check(have + (size_t)got <= model->size);
            check(memcmp(data, model->body + have, (size_t)got) == 0);
            have += (size_t)got;
        }
        free(data);
        if (got == -1 || io->in_ended)
            break;
        if (got == 0) {
            check(wire_taken(wire) == wire->sent); /* there was nothing */
            wire_go_on(wire);
        }
    }
    check(!io->in_ended || have == model->size);
    return got == -1 ? -1 : io->in_ended;
}

/* Nobody wants more: may another request follow? */
static void
check_used_up(struct fcgi_io *io, struct wire *wire, const struct model *model)
{
    bool is_used_up;

    wire_send(wire, wire->size - wire->sent);
    is_used_up = fcgi_io_is_used_up(io);
    check(is_used_up == (model->status == 0 && model->padding == 0 &&
                         wire_taken(wire) == model->end));
    if (model->status == 0 && wire->sent == wire->size &&
        wire->size <= SCRAPS_BYTES)
        check(wire_taken(wire) >= model->end);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    const struct sizes sent = sizes_take(&input);
    struct sizes wanted = sizes_take(&input);
    const unsigned limit = input_byte(&input);
    struct error err = {.status = 0};
    struct fcgi_io io;
    struct model model;
    struct wire wire;

    wire_open(&wire, sent, input.data, input.size);
    model_init(&model, input.data, input.size);
    fcgi_io_init(&io, wire.ours, ID, false);
    switch (pull_all(&io, &wire, &wanted, &model, limit, &err)) {
    case 1:
        check(model.status == 0);
        /* fall through */
    case 0:
        check_used_up(&io, &wire, &model);
        break;
    default:
        check(err.status == model.status);
    }
    free(model.body);
    wire_close(&wire);
    return 0;
}
