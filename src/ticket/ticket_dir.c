/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a ticket by its id. */
#include "ticket/ticket_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/readfile.h"
#include "image/image_root.h"
#include "image/nbd_uri.h"
#include "ticket/ticket.h"
#include "ticket/ticket_watch.h"

int
ticket_dir_unknown(struct error *err)
{
    return error_set(err, 404, "unknown image_id");
}

/* Is this a file that only someone we trust can have written? */
static int
check(const struct stat *st, struct error *err)
{
    if (!S_ISREG(st->st_mode))
        return error_set(err, 404, "not a regular file");
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return error_set(err, 404, "owned by uid %u, not by root or uid %u",
                         st->st_uid, geteuid());
    if (st->st_mode & S_IWOTH)
        return error_set(err, 404, "writable by others (mode %04o)",
                         st->st_mode & 07777);
    if (st->st_size > TICKET_MAX_BYTES)
        return error_set(err, 404, "%" PRIuMAX " bytes, at most %d are allowed",
                         (uintmax_t)st->st_size, TICKET_MAX_BYTES);
    return 0;
}

static int
load(struct ticket **ret, int fd, struct error *err)
{
    char json[TICKET_MAX_BYTES + 1]; /* one more: the file may be growing */
    struct stat st;
    ssize_t length;

    if (fstat(fd, &st) == -1)
        return error_errno(err, 404, "stat the ticket");
    if (check(&st, err) == -1)
        return -1;
    length = readfile(fd, json, sizeof(json));
    if (length == -1)
        return error_errno(err, 404, "read the ticket");
    if (ticket_parse(ret, json, (size_t)length, err) == -1)
        return -1;
    (*ret)->image.version = readfile_version(&st);
    (*ret)->changed_ms = (uint64_t)st.st_ctim.tv_sec * 1000 +
                         (uint64_t)st.st_ctim.tv_nsec / 1000000;
    return 0;
}

/* Does the server's configuration let tickets name such an image? */
static int
check_image(const struct image_ref *image, unsigned uri_schemes,
            struct error *err)
{
    const bool is_file = image->backend == IMAGE_FILE;

    if (!is_file && image->uri != NULL) {
        if (!(nbd_uri_scheme(image->uri) & uri_schemes))
            return error_set(err, 404,
                             "\"uri\" has a scheme that --allow-uri does "
                             "not name");
        if (image_root_is_set() && nbd_uri_is_local(image->uri))
            return error_set(err, 404,
                             "\"uri\" names a socket, which --image-root "
                             "allows as \"socket\" only");
        return 0;
    }
    if (!image_root_allows(is_file ? image->file : image->socket))
        return error_set(err, 404, "\"%s\" is not below --image-root",
                         is_file ? "file" : "socket");
    return 0;
}

static int
cannot_open(struct error *err)
{
    if (errno == ELOOP)
        return error_set(err, 404, "a symbolic link, not a regular file");
    return error_errno(err, 404, "open the ticket as uid %u", geteuid());
}

int
ticket_dir_load(struct ticket **ret, int dir_fd, const char *id,
                unsigned uri_schemes, struct error *err)
{
    struct ticket *ticket = NULL;
    int rc;
    const int fd = openat(
        dir_fd, id, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

    if (fd == -1)
        return errno == ENOENT ? 0 : cannot_open(err);
    rc = load(&ticket, fd, err);
    close(fd);
    if (rc == 0)
        rc = check_image(&ticket->image, uri_schemes, err);
    if (rc == -1) {
        ticket_free(ticket);
        return -1;
    }
    ticket->image.owner = id;
    *ret = ticket;
    return 1;
}

/* As ticket_dir_load(), but not an expired one. */
static int
find(struct ticket **ret, int dir_fd, const char *id, unsigned uri_schemes,
     struct error *err)
{
    const uint64_t epoch = ticket_watch_epoch(dir_fd); /* before it is read */
    const int found = ticket_dir_load(ret, dir_fd, id, uri_schemes, err);

    if (found != 1)
        return found;
    (*ret)->image.epoch = epoch;
    if (ticket_has_expired(*ret)) {
        ticket_free(*ret);
        *ret = NULL;
        return error_set(err, 404, "it has expired");
    }
    return 1;
}

int
ticket_dir_find(struct ticket **ret, const char *dir, const char *id,
                unsigned uri_schemes, struct error *err)
{
    const int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int found = -1;

    if (dir_fd == -1) {
        error_errno(err, 404, "open ticket directory %s", dir);
    } else {
        found = find(ret, dir_fd, id, uri_schemes, err);
        close(dir_fd);
    }
    /* No line for what is not there: anybody can ask for anything. */
    if (found == -1) {
        char shown[LOG_ID_SIZE], cause[sizeof(err->text)];

        log_warning("ticket=%s refused=\"%s\"", log_id(shown, id),
                    log_escape(cause, sizeof(cause), err->text));
    }
    return found == 1 ? 0 : ticket_dir_unknown(err);
}
