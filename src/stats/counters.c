/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and histograms. */
#include "stats/counters.h"

#include <string.h>

const char *const counters_methods[COUNTERS_METHODS] = {
    "GET", "HEAD", "PUT", "PATCH", "POST", "OPTIONS", "other",
};

const int counters_statuses[COUNTERS_STATUSES] = {
    200, 206, 304, 400, 401, 403, 404, 405, 408, 409,
    411, 412, 415, 416, 499, 500, 503, 504, 507, 0,
};

const char *const counters_backends[COUNTERS_BACKENDS] = {"nbd", "file"};

const char *const counters_refusals[COUNTERS_REFUSALS] = {
    [REFUSED_READERS] = "no_reader_slot", [REFUSED_WRITERS] = "no_writer_slot",
    [REFUSED_BUSY] = "image_busy",        [REFUSED_TOKEN] = "token",
    [REFUSED_FORBIDDEN] = "forbidden",    [REFUSED_UNKNOWN] = "unknown_image",
};

const char *const counters_failures[COUNTERS_FAILURES] = {
    [FAILED_CONNECT] = "connect", [FAILED_READ] = "read",
    [FAILED_WRITE] = "write",     [FAILED_ZERO] = "zero",
    [FAILED_FLUSH] = "flush",     [FAILED_EXTENTS] = "extents",
    [FAILED_TIMEOUT] = "timeout", [FAILED_NO_SPACE] = "no_space",
    [FAILED_SERVER] = "server",
};

const char *const counters_commands[COUNTERS_COMMANDS] = {
    [COMMAND_READ] = "read",
    [COMMAND_WRITE] = "write",
    [COMMAND_ZERO] = "zero",
    [COMMAND_FLUSH] = "flush",
    [COMMAND_BLOCK_STATUS] = "block_status",
};

const struct histogram_bound histogram_bounds[HISTOGRAM_BOUNDS] = {
    {100, "0.0001"},    {250, "0.00025"},     {500, "0.0005"},
    {1000, "0.001"},    {2500, "0.0025"},     {5000, "0.005"},
    {10000, "0.01"},    {25000, "0.025"},     {50000, "0.05"},
    {100000, "0.1"},    {250000, "0.25"},     {500000, "0.5"},
    {1000000, "1"},     {2500000, "2.5"},     {5000000, "5"},
    {10000000, "10"},   {30000000, "30"},     {60000000, "60"},
    {300000000, "300"}, {1800000000, "1800"}, {7200000000, "7200"},
};

static struct counters own;
static struct counters *used = &own;

struct counters *
counters(void)
{
    return used;
}

void
counters_use(struct counters *lent)
{
    used = lent != NULL ? lent : &own;
}

/* Nothing is read by who adds, and nobody acts on an order among them. */
static void
add(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

static void
observe(struct histogram *histogram, uint64_t took_us)
{
    size_t i = 0;

    while (i < HISTOGRAM_BOUNDS && took_us > histogram_bounds[i].us)
        i++;
    add(&histogram->counts[i], 1);
    add(&histogram->sum_us, took_us);
}

static size_t
method_index(const char *method)
{
    size_t i = 0;

    while (i < COUNTERS_METHODS - 1 && strcmp(method, counters_methods[i]) != 0)
        i++;
    return i;
}

static size_t
status_index(int status)
{
    size_t i = 0;

    while (i < COUNTERS_STATUSES - 1 && status != counters_statuses[i])
        i++;
    return i;
}

void
counters_request(const char *method, int status, uint64_t took_us)
{
    const size_t m = method_index(method);

    add(&used->requests[m][status_index(status)], 1);
    observe(&used->took[m], took_us);
}

void
counters_bytes(enum counters_backend backend, enum counters_way way,
               uint64_t bytes)
{
    add(&used->bytes[backend][way], bytes);
}

void
counters_refused(enum counters_refusal refusal)
{
    add(&used->refusals[refusal], 1);
}

void
counters_failed(enum counters_failure failure)
{
    add(&used->failures[failure], 1);
}

void
counters_cut(void)
{
    add(&used->cuts, 1);
}

void
counters_command(enum counters_command command, uint64_t took_us)
{
    observe(&used->commands[command], took_us);
}
