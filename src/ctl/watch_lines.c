/* SPDX-License-Identifier: Apache-2.0 */
/* Lines about transfers.  Numbers are bytes and seconds; what is not known is
 * "-"; text from outside is as in the server's log. */
#include "ctl/watch_lines.h"

#include <inttypes.h>
#include <time.h>

#include "base/log.h"
#include "ctl/amount.h"
#include "ctl/watch_set.h"
#include "stats/scoreboard.h"

static void
print_event(FILE *out, const char *event, uint64_t now_ms)
{
    const time_t now = (time_t)(now_ms / 1000);
    char text[32];
    struct tm tm;

    if (gmtime_r(&now, &tm) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        text[0] = '\0';
    fprintf(out, "time=%s event=%s", text, event);
}

static void
print_text(FILE *out, const char *key, const char *value)
{
    char word[4 * TRANSFER_REQUEST_SIZE];

    fprintf(out, " %s=%s", key, log_word(word, sizeof(word), value));
}

static void
print_number(FILE *out, const char *key, uint64_t value)
{
    if (value == AMOUNT_UNKNOWN)
        fprintf(out, " %s=-", key);
    else
        fprintf(out, " %s=%" PRIu64, key, value);
}

static void
print_item(FILE *out, const char *event, const struct watch_item *item,
           uint64_t now_ms)
{
    const struct transfer *t = &item->transfer;

    print_event(out, event, now_ms);
    print_text(out, "ticket", t->id);
    print_text(out, "operation", transfer_operations[t->operation]);
    print_text(out, "client", t->client);
    print_number(out, "percent", amount_percent(t->done, t->total));
    print_number(out, "done", t->done);
    print_number(out, "total", t->total);
    print_number(out, "rate", t->rate);
    print_number(out, "left_s", amount_left_s(t->done, t->total, t->rate));
    print_number(out, "age_s", watch_item_age_s(item));
    print_text(out, "request", t->request);
    fputc('\n', out);
}

/* What has no total has no tenths. */
static uint64_t
tenths_of(const struct watch_item *item)
{
    const uint64_t percent =
        amount_percent(item->transfer.done, item->transfer.total);

    return percent != AMOUNT_UNKNOWN ? percent / 10 : 0;
}

/* NULL: there is nothing to say. */
static const char *
find_event(const struct watch_item *item, uint64_t now_ms)
{
    if (item->looks < 2)
        return NULL;
    if (item->told_ms == 0)
        return "began";
    if (tenths_of(item) > item->told_tenths ||
        now_ms >= item->told_ms + WATCH_LINES_MS)
        return "running";
    return NULL;
}

void
watch_lines_tell(FILE *out, struct watch_set *set, uint64_t now_ms)
{
    for (size_t i = 0; i < set->gone.count; i++)
        if (set->gone.items[i].told_ms != 0)
            print_item(out, "gone", &set->gone.items[i], now_ms);
    for (size_t i = 0; i < set->running.count; i++) {
        struct watch_item *item = &set->running.items[i];
        const char *event = find_event(item, now_ms);

        if (event == NULL)
            continue;
        print_item(out, event, item, now_ms);
        item->told_ms = now_ms;
        item->told_tenths = tenths_of(item);
    }
}

void
watch_lines_tell_all(FILE *out, const struct watch_set *set, uint64_t now_ms)
{
    for (size_t i = 0; i < set->running.count; i++)
        print_item(out, "running", &set->running.items[i], now_ms);
}

void
watch_lines_tell_server(FILE *out, const struct scoreboard_summary *summary,
                        uint64_t now_ms)
{
    print_event(out, "server", now_ms);
    print_number(out, "processes", summary->processes);
    print_number(out, "readers", summary->readers);
    print_number(out, "max_readers", summary->process.max_readers);
    print_number(out, "writers", summary->writers);
    print_number(out, "max_writers", summary->process.max_writers);
    print_text(out, "scope", summary->process.per_image ? "image" : "server");
    fputc('\n', out);
}
