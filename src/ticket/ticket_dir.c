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
#include "ticket/ticket.h"

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

/* Up to size bytes of fd; how many, or -1. */
static ssize_t
read_all(int fd, char *data, size_t size, struct error *err)
{
    size_t used = 0;

    while (used < size) {
        const ssize_t got = read(fd, data + used, size - used);

        if (got == 0)
            break;
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return error_errno(err, 404, "read");
        used += (size_t)got;
    }
    return (ssize_t)used;
}

static int
load(struct ticket **ret, int fd, struct error *err)
{
    char json[TICKET_MAX_BYTES + 1]; /* one more: the file may be growing */
    struct stat st;
    ssize_t length;

    if (fstat(fd, &st) == -1)
        return error_errno(err, 404, "stat");
    if (check(&st, err) == -1)
        return -1;
    length = read_all(fd, json, sizeof(json), err);
    if (length == -1)
        return -1;
    return ticket_parse(ret, json, (size_t)length, err);
}

int
ticket_dir_find(struct ticket **ret, const char *dir, const char *id,
                struct error *err)
{
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool is_missing = false;
    int fd = -1;
    int rc = -1;

    if (dir_fd == -1) {
        error_errno(err, 404, "open ticket directory %s", dir);
        goto out;
    }
    fd = openat(dir_fd, id,
                O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    is_missing = fd == -1 && errno == ENOENT;
    if (fd == -1)
        error_errno(err, 404, "open");
    else
        rc = load(ret, fd, err);
out:
    /* No line for what is not there: anybody can ask for anything. */
    if (rc == -1 && !is_missing) {
        char shown[LOG_ID_SIZE], cause[sizeof(err->text)];

        log_warning("ticket=%s refused=\"%s\"", log_id(shown, id),
                    log_escape(cause, sizeof(cause), err->text));
    }
    if (rc == -1)
        ticket_dir_unknown(err);
    if (fd != -1)
        close(fd);
    if (dir_fd != -1)
        close(dir_fd);
    return rc;
}
