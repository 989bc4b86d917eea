/* SPDX-License-Identifier: Apache-2.0 */
/* Printing tickets. */
#include "ctl/ticket_view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "ctl/plain.h"
#include "ctl/ticket_entry.h"
#include "ctl/ticket_store.h"
#include "ctl/when.h"
#include "ticket/activity.h"
#include "ticket/ticket.h"

#define HIDDEN "…"

/* "ok", or what there is to say of it, with commas between. */
static void
print_state(const struct ticket_entry *entry, bool is_running)
{
    static const char *const words[] = {
        [TICKET_VALID] = NULL,
        [TICKET_EXPIRED] = "expired",
        [TICKET_IDLE] = "idle",
    };
    const uint64_t now_s = clock_wall_ms() / 1000;
    const uint64_t end_s = entry->ticket->expires_s;
    char left[WHEN_SPAN_SIZE];
    const char *between = "";

    if (words[entry->state] != NULL) {
        fputs(words[entry->state], stdout);
        between = ", ";
    }
    if (is_running) {
        printf("%srunning", between);
        between = ", ";
    }
    if (end_s != TICKET_FOREVER && end_s > now_s) {
        printf("%sexpires in %s", between,
               when_format_span(left, end_s - now_s));
        between = ", ";
    }
    puts(*between == '\0' ? "ok" : "");
}

static void
print_column(const char *text)
{
    plain_print(stdout, text != NULL ? text : "-");
    putchar('\t');
}

static void
print_image(const struct image_ref *image)
{
    const bool is_file = image->backend == IMAGE_FILE;

    print_column(is_file ? "file" : "nbd");
    print_column(is_file ? image->file : image_ref_server(image));
    print_column(is_file ? NULL : image->export);
}

static int
print_line(const struct ticket_entry *entry, const struct ticket_store *store,
           struct error *err)
{
    const int running = activity_has_requests(store->run_dir, entry->id, err);

    if (running == -1)
        return -1;
    print_column(entry->id);
    if (entry->state == TICKET_NONE) {
        printf("-\t-\t-\tnot a ticket: ");
        plain_print(stdout, entry->why.text);
        putchar('\n');
        return 0;
    }
    print_image(&entry->ticket->image);
    print_state(entry, running == 1);
    return 0;
}

int
ticket_view_list(const struct ticket_store *store, struct error *err)
{
    struct ticket_entry *entries;
    size_t count;
    int rc = 0;

    if (ticket_entry_list(&entries, &count, store, err) == -1)
        return -1;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = print_line(&entries[i], store, err);
    ticket_entry_free_all(entries, count);
    return rc;
}

/* The JSON of what has just been seen to be a ticket. */
static int
read_json(struct json **ret, const struct ticket_store *store, const char *id,
          struct error *err)
{
    char text[TICKET_MAX_BYTES];
    ssize_t length;
    const int fd =
        openat(store->fd, id, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd == -1)
        return error_errno(err, 500, "open the ticket");
    length = read(fd, text, sizeof(text));
    if (length == -1)
        error_errno(err, 500, "read the ticket");
    close(fd);
    if (length == -1)
        return -1;
    if (json_parse(ret, text, (size_t)length, TICKET_MAX_BYTES, err) == -1) {
        err->status = 500;
        return -1;
    }
    return 0;
}

static int
print_json(const struct ticket_store *store, const char *id, struct error *err)
{
    struct json *json;

    if (read_json(&json, store, id, err) == -1)
        return -1;
    if (json_has(json, "token"))
        json_add_string(json, "token", HIDDEN);
    puts(json_text(json));
    json_free(json);
    return 0;
}

int
ticket_view_show(const struct ticket_store *store, const char *id,
                 struct error *err)
{
    struct ticket_entry entry;
    int running, rc = -1;
    const int found = ticket_entry_load(&entry, store, id, err);

    if (found == -1)
        return -1;
    if (found == 0)
        return error_set(err, 500, "there is no such ticket in %s", store->dir);
    running = activity_has_requests(store->run_dir, id, err);
    if (entry.state == TICKET_NONE)
        error_set(err, 500, "not a ticket: %s", entry.why.text);
    else if (running != -1 && print_json(store, id, err) == 0)
        rc = 0;
    if (rc == 0)
        print_state(&entry, running == 1);
    ticket_entry_done(&entry);
    return rc;
}
