/* SPDX-License-Identifier: Apache-2.0 */
/* A ticket directory, from the side of who writes it. */
#include "ctl/ticket_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "ctl/server_user.h"
#include "image/nbd_uri.h"
#include "ticket/ticket.h"
#include "ticket/ticket_dir.h"

/* One is enough, as who writes it has the lock; what is there at the beginning
 * was left by one that was killed. */
#define NEW_NAME ".imageio-fcgi-ctl.new"
#define TRY_MS 10

int
ticket_store_open(struct ticket_store *store, struct error *err)
{
    store->fd = open(store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->fd == -1)
        return error_errno(err, 500, "open ticket directory %s", store->dir);
    return 0;
}

void
ticket_store_close(struct ticket_store *store)
{
    close(store->fd);
    store->fd = -1;
}

int
ticket_store_lock(const struct ticket_store *store, struct error *err)
{
    const uint64_t deadline_us =
        clock_us() + store->patience_ms * UINT64_C(1000);

    while (flock(store->fd, LOCK_EX | LOCK_NB) == -1) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_errno(err, 500, "lock %s", store->dir);
        if (clock_us() >= deadline_us)
            return error_set(err, 500, "lock %s: another process has it",
                             store->dir);
        usleep(TRY_MS * 1000);
    }
    return 0;
}

void
ticket_store_unlock(const struct ticket_store *store)
{
    flock(store->fd, LOCK_UN);
}

/* It must be a ticket now: what is written stays one. */
static int
check(struct json *json, struct error *err)
{
    const char *text = json_text(json);
    struct ticket *ticket;
    struct error why;
    int rc = 0;

    if (ticket_parse(&ticket, text, strlen(text), &why) == -1)
        return error_set(err, 500, "not a ticket: %s", why.text);
    if (ticket_has_expired(ticket))
        rc = error_set(err, 500, "\"expires\" is a time that has passed");
    ticket_free(ticket);
    return rc;
}

/* The group reads it once it is the right one: nobody else's is let in. */
static int
give_away(const struct ticket_store *store, int fd, struct error *err)
{
    const bool is_root = geteuid() == 0;
    struct stat dir;

    if (fstat(store->fd, &dir) == -1)
        return error_errno(err, 500, "stat %s", store->dir);
    if (fchown(fd, is_root ? dir.st_uid : (uid_t)-1, dir.st_gid) == 0)
        return fchmod(fd, 0640) == -1
                   ? error_errno(err, 500, "change mode of %s/" NEW_NAME,
                                 store->dir)
                   : 0;
    return is_root ? error_errno(err, 500, "change owner of %s/" NEW_NAME,
                                 store->dir)
                   : 0;
}

static int
write_all(int fd, const char *text)
{
    size_t left = strlen(text);

    while (left > 0) {
        const ssize_t written = write(fd, text, left);

        if (written == -1 && errno == EINTR)
            continue;
        if (written == -1)
            return -1;
        text += written;
        left -= (size_t)written;
    }
    return 0;
}

/* Makes the new file, with all that it holds. */
static int
make(const struct ticket_store *store, const char *text, struct error *err)
{
    int rc = -1;
    const int fd =
        openat(store->fd, NEW_NAME,
               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd == -1)
        return error_errno(err, 500, "make %s/" NEW_NAME, store->dir);
    if (give_away(store, fd, err) == -1)
        goto out;
    if (write_all(fd, text) == -1 || fsync(fd) == -1) {
        error_errno(err, 500, "write %s/" NEW_NAME, store->dir);
        goto out;
    }
    rc = 0;
out:
    close(fd);
    return rc;
}

/* Will it be a ticket to the server as well? */
static int
check_readable(const struct ticket_store *store, struct error *err)
{
    struct ticket *ticket = NULL;
    struct error why;
    int found;

    server_user_enter(store->run_dir, store->fd);
    found = ticket_dir_load(&ticket, store->fd, NEW_NAME, NBD_URI_ALL_SCHEMES,
                            &why);
    server_user_leave();
    ticket_free(ticket);
    if (found == 1)
        return 0;
    return error_set(err, 500,
                     "the server's user could not use a ticket in %s: %s",
                     store->dir, found == 0 ? "it does not see it" : why.text);
}

static int
put_in_place(const struct ticket_store *store, const char *id, bool can_replace,
             struct error *err)
{
    const unsigned flags = can_replace ? 0 : RENAME_NOREPLACE;

    if (renameat2(store->fd, NEW_NAME, store->fd, id, flags) == 0)
        return ticket_store_flush(store, err);
    if (errno == EEXIST && !can_replace)
        return error_set(err, 500, "there is such a ticket already in %s",
                         store->dir);
    return error_errno(err, 500, "rename %s/" NEW_NAME " to the ticket's name",
                       store->dir);
}

int
ticket_store_write(const struct ticket_store *store, const char *id,
                   struct json *ticket, bool can_replace, struct error *err)
{
    int rc = -1;

    if (check(ticket, err) == -1 || ticket_store_lock(store, err) == -1)
        return -1;
    unlinkat(store->fd, NEW_NAME, 0);
    if (make(store, json_text(ticket), err) == 0 &&
        check_readable(store, err) == 0)
        rc = put_in_place(store, id, can_replace, err);
    if (rc == -1)
        unlinkat(store->fd, NEW_NAME, 0);
    ticket_store_unlock(store);
    return rc;
}

int
ticket_store_unlink(const struct ticket_store *store, const char *id,
                    struct error *err)
{
    if (unlinkat(store->fd, id, 0) == 0)
        return 1;
    if (errno == ENOENT)
        return 0;
    return error_errno(err, 500, "remove the ticket from %s", store->dir);
}

int
ticket_store_flush(const struct ticket_store *store, struct error *err)
{
    if (fsync(store->fd) == -1)
        return error_errno(err, 500, "flush %s", store->dir);
    return 0;
}

int
ticket_store_remove(const struct ticket_store *store, const char *id,
                    struct error *err)
{
    int rc;

    if (ticket_store_lock(store, err) == -1)
        return -1;
    rc = ticket_store_unlink(store, id, err);
    if (rc == 1 && ticket_store_flush(store, err) == -1)
        rc = -1;
    ticket_store_unlock(store);
    return rc;
}
