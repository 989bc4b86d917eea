/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at tickets, and sweeping. */
#include "ctl/ticket_entry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "ctl/server_user.h"
#include "ctl/ticket_store.h"
#include "http/path.h"
#include "image/nbd_uri.h"
#include "ticket/activity.h"
#include "ticket/ticket.h"
#include "ticket/ticket_dir.h"

void
ticket_entry_done(struct ticket_entry *entry)
{
    ticket_free(entry->ticket);
    free(entry->id);
}

static int
judge(struct ticket_entry *entry, const struct ticket_store *store,
      struct error *err)
{
    int lapsed;

    if (ticket_has_expired(entry->ticket)) {
        entry->state = TICKET_EXPIRED;
        return 1;
    }
    lapsed = activity_has_lapsed(store->run_dir, entry->ticket, err);
    entry->state = lapsed == 1 ? TICKET_IDLE : TICKET_VALID;
    return lapsed == -1 ? -1 : 1;
}

/* As the server's user, with entry->id set. */
static int
look(struct ticket_entry *entry, const struct ticket_store *store,
     struct error *err)
{
    int found = -1;

    if (path_is_id(entry->id, strlen(entry->id)))
        /* Which URIs it lets through is the server's affair.
         * NOLINTNEXTLINE(clang-analyzer-unix.Malloc): load() frees the id. */
        found = ticket_dir_load(&entry->ticket, store->fd, entry->id,
                                NBD_URI_ALL_SCHEMES, &entry->why);
    else
        error_set(&entry->why, 404, "its name is not an image id");
    if (found == 1)
        return judge(entry, store, err);
    entry->state = TICKET_NONE;
    return found == 0 ? 0 : 1;
}

static int
load(struct ticket_entry *ret, const struct ticket_store *store, const char *id,
     struct error *err)
{
    struct ticket_entry entry = {.id = strdup(id)};
    int rc;

    if (entry.id == NULL)
        return error_errno(err, 500, "memory for a ticket");
    rc = look(&entry, store, err);
    if (rc == 1)
        *ret = entry;
    else
        ticket_entry_done(&entry);
    return rc;
}

int
ticket_entry_load(struct ticket_entry *ret, const struct ticket_store *store,
                  const char *id, struct error *err)
{
    int rc;

    server_user_enter(store->run_dir, store->fd);
    rc = load(ret, store, id, err);
    server_user_leave();
    return rc;
}

void
ticket_entry_free_all(struct ticket_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ticket_entry_done(&entries[i]);
    free(entries);
}

static int
compare(const void *a, const void *b)
{
    return strcmp(((const struct ticket_entry *)a)->id,
                  ((const struct ticket_entry *)b)->id);
}

static int
append(struct ticket_entry **entries, size_t *count,
       const struct ticket_entry *entry, struct error *err)
{
    /* Doubled whenever it is full, at powers of two. */
    if ((*count & (*count - 1)) == 0) {
        const size_t room = *count == 0 ? 1 : 2 * *count;
        void *more = reallocarray(*entries, room, sizeof(*entry));

        if (more == NULL)
            return error_errno(err, 500, "memory for a list of tickets");
        *entries = more;
    }
    (*entries)[(*count)++] = *entry;
    return 0;
}

/* The next file that is not hidden, nor the socket of an NBD server, which
 * people put beside its ticket; NULL at the end, or with errno. */
static const char *
next_name(DIR *dir)
{
    const struct dirent *file;

    do {
        errno = 0;
        file = readdir(dir);
    } while (file != NULL &&
             (file->d_name[0] == '.' || file->d_type == DT_SOCK));
    return file != NULL ? file->d_name : NULL;
}

static int
read_dir(struct ticket_entry **entries, size_t *count, DIR *dir,
         const struct ticket_store *store, struct error *err)
{
    struct ticket_entry entry;
    const char *name;

    while ((name = next_name(dir)) != NULL) {
        const int found = load(&entry, store, name, err);

        if (found == -1)
            return -1;
        if (found == 1 && append(entries, count, &entry, err) == -1) {
            ticket_entry_done(&entry);
            return -1;
        }
    }
    return errno == 0 ? 0 : error_errno(err, 500, "read %s", store->dir);
}

int
ticket_entry_list(struct ticket_entry **ret, size_t *count,
                  const struct ticket_store *store, struct error *err)
{
    const int fd = openat(store->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd != -1 ? fdopendir(fd) : NULL;
    struct ticket_entry *entries = NULL;
    int rc;

    *count = 0;
    if (dir == NULL) {
        error_errno(err, 500, "open %s", store->dir);
        if (fd != -1)
            close(fd);
        return -1;
    }
    server_user_enter(store->run_dir, store->fd);
    rc = read_dir(&entries, count, dir, store, err);
    server_user_leave();
    closedir(dir);
    if (rc == -1) {
        ticket_entry_free_all(entries, *count);
        return -1;
    }
    if (*count > 0)
        qsort(entries, *count, sizeof(*entries), compare);
    *ret = entries;
    return 0;
}

static bool
is_over(enum ticket_state state)
{
    return state == TICKET_EXPIRED || state == TICKET_IDLE;
}

/* Once more, with the lock: it may have been replaced since it was seen.  1: it
 * is removed; 0: it is as it was; -1. */
static int
remove_if_over(const struct ticket_store *store, const char *id,
               struct error *err)
{
    char shown[LOG_ID_SIZE];
    struct ticket_entry entry;
    int rc = ticket_entry_load(&entry, store, id, err);

    if (rc != 1)
        return rc;
    rc = is_over(entry.state) ? ticket_store_unlink(store, id, err) : 0;
    if (rc == 1)
        log_info("swept ticket=%s state=%s", log_id(shown, id),
                 entry.state == TICKET_EXPIRED ? "expired" : "idle");
    ticket_entry_done(&entry);
    return rc;
}

static int
remove_those_over(const struct ticket_entry *entries, size_t count,
                  const struct ticket_store *store, struct error *err)
{
    int rc = 0;

    if (ticket_store_lock(store, err) == -1)
        return -1;
    /* One that cannot be removed keeps none of the others. */
    for (size_t i = 0; i < count; i++)
        if (is_over(entries[i].state) &&
            remove_if_over(store, entries[i].id, err) == -1)
            rc = -1;
    if (rc == 0)
        rc = ticket_store_flush(store, err);
    ticket_store_unlock(store);
    return rc;
}

int
ticket_entry_sweep(const struct ticket_store *store, struct error *err)
{
    struct ticket_entry *entries;
    size_t count, over = 0;
    int rc = 0;

    if (ticket_entry_list(&entries, &count, store, err) == -1)
        return -1;
    for (size_t i = 0; i < count; i++)
        over += is_over(entries[i].state);
    if (over > 0)
        rc = remove_those_over(entries, count, store, err);
    ticket_entry_free_all(entries, count);
    return rc;
}

int
ticket_entry_count(size_t *valid, const struct ticket_store *store,
                   struct error *err)
{
    struct ticket_entry *entries;
    size_t count;

    if (ticket_entry_list(&entries, &count, store, err) == -1)
        return -1;
    *valid = 0;
    for (size_t i = 0; i < count; i++)
        *valid += entries[i].state == TICKET_VALID;
    ticket_entry_free_all(entries, count);
    return 0;
}
