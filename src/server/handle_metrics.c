/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET of /metrics: the counters of all processes, in Prometheus' text format
 * 0.0.4.  Names end in their unit, and those of counters in _total.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "server/config.h"
#include "server/exchange.h"
#include "server/handle.h"
#include "stats/counters.h"
#include "stats/scoreboard.h"

#define TYPE "text/plain; version=0.0.4; charset=utf-8"
#define NO_STORE "Cache-Control: no-store"

/* A label, and all that it can be. */
struct label {
    const char *name;
    const char *const *values;
    size_t count;
};

static void
head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "gauge", help);
    fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* A line for each value of the label. */
static void
counter(FILE *out, const char *name, const char *help,
        const struct label *label, const _Atomic uint64_t *counts)
{
    head(out, name, "counter", help);
    for (size_t i = 0; i < label->count; i++)
        fprintf(out, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label->name,
                label->values[i], atomic_load(&counts[i]));
}

/* Those that never came are left out. */
static void
requests(FILE *out, const struct counters *c)
{
    head(out, "imageio_requests_total", "counter",
         "Requests that have ended, by method and HTTP status.");
    for (size_t m = 0; m < COUNTERS_METHODS; m++) {
        for (size_t s = 0; s < COUNTERS_STATUSES; s++) {
            const uint64_t value = atomic_load(&c->requests[m][s]);
            char status[16] = "other";

            if (value == 0)
                continue;
            if (counters_statuses[s] != 0)
                snprintf(status, sizeof(status), "%d", counters_statuses[s]);
            fprintf(out,
                    "imageio_requests_total{method=\"%s\",status=\"%s\"} "
                    "%" PRIu64 "\n",
                    counters_methods[m], status, value);
        }
    }
}

static void
bytes(FILE *out, const struct counters *c)
{
    static const char *const ways[COUNTERS_WAYS] = {
        [COUNTERS_READ] = "out", [COUNTERS_WRITTEN] = "in"};

    head(out, "imageio_bytes_total", "counter",
         "Bytes of images sent to clients (out) and taken from them (in).");
    for (size_t b = 0; b < COUNTERS_BACKENDS; b++)
        for (size_t w = 0; w < COUNTERS_WAYS; w++)
            fprintf(out,
                    "imageio_bytes_total{backend=\"%s\",direction=\"%s\"} "
                    "%" PRIu64 "\n",
                    counters_backends[b], ways[w],
                    atomic_load(&c->bytes[b][w]));
}

/* Read once, so that the count is that of the buckets. */
static void
histogram(FILE *out, const char *name, const char *label, const char *value,
          const struct histogram *h)
{
    const uint64_t sum_us = atomic_load(&h->sum_us);
    uint64_t count = 0;

    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        count += atomic_load(&h->counts[i]);
        fprintf(out, "%s_bucket{%s=\"%s\",le=\"%s\"} %" PRIu64 "\n", name,
                label, value,
                i < HISTOGRAM_BOUNDS ? histogram_bounds[i].seconds : "+Inf",
                count);
    }
    fprintf(out, "%s_sum{%s=\"%s\"} %" PRIu64 ".%06" PRIu64 "\n", name, label,
            value, sum_us / 1000000, sum_us % 1000000);
    fprintf(out, "%s_count{%s=\"%s\"} %" PRIu64 "\n", name, label, value,
            count);
}

static void
histograms(FILE *out, const char *name, const char *help,
           const struct label *label, const struct histogram *h)
{
    head(out, name, "histogram", help);
    for (size_t i = 0; i < label->count; i++)
        histogram(out, name, label->name, label->values[i], &h[i]);
}

static void
now(FILE *out, const struct limits *limits)
{
    struct scoreboard_summary summary;

    scoreboard_look(scoreboard_own(), &summary, NULL, NULL);
    gauge(out, "imageio_processes", "Processes of this server.",
          summary.processes);
    gauge(out, "imageio_start_time_seconds",
          "Unix time when the oldest of them began.",
          summary.started_ms / 1000);
    gauge(out, "imageio_readers", "Requests that read now.", summary.readers);
    gauge(out, "imageio_writers", "Requests that write now.", summary.writers);
    gauge(out, "imageio_max_readers", "How many may read at once.",
          limits->max_readers);
    gauge(out, "imageio_max_writers", "How many may write at once.",
          limits->max_writers);
}

static void
write_all(FILE *out, const struct config *config)
{
    const struct label reasons = {"reason", counters_refusals,
                                  COUNTERS_REFUSALS};
    const struct label kinds = {"kind", counters_failures, COUNTERS_FAILURES};
    const struct label methods = {"method", counters_methods, COUNTERS_METHODS};
    const struct label commands = {"command", counters_commands,
                                   COUNTERS_COMMANDS};
    const struct counters *c = counters();

    head(out, "imageio_build_info", "gauge", "The version that answers.");
    fprintf(out, "imageio_build_info{version=\"" IMAGEIO_VERSION "\"} 1\n");
    now(out, &config->limits);
    requests(out, c);
    bytes(out, c);
    counter(out, "imageio_refusals_total",
            "Requests refused, by reason: clients may come again or ask "
            "otherwise.",
            &reasons, c->refusals);
    counter(out, "imageio_backend_errors_total",
            "Requests that failed on this side, by what failed.", &kinds,
            c->failures);
    head(out, "imageio_cut_responses_total", "counter",
         "Answers that this side could not complete.");
    fprintf(out, "imageio_cut_responses_total %" PRIu64 "\n",
            atomic_load(&c->cuts));
    histograms(out, "imageio_request_duration_seconds",
               "From a request's head to the end of its answer.", &methods,
               c->took);
    histograms(out, "imageio_nbd_command_duration_seconds",
               "From an NBD command to its reply.", &commands, c->commands);
}

int
handle_metrics(struct exchange *x, struct error *err)
{
    struct response response = {.status = 200, .type = TYPE, .extra = NO_STORE};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    bool failed;
    int rc;

    if (out == NULL)
        return error_errno(err, 500, "memory for /metrics");
    write_all(out, x->config);
    /* A write that failed, and not the last one, is no failure of fclose(). */
    failed = ferror(out) != 0;
    if (fclose(out) == EOF || failed)
        rc = error_errno(err, 500, "memory for /metrics");
    else
        rc = exchange_answer(x, &response, text, err);
    free(text);
    return rc;
}
