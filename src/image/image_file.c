/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file backend, with file_swap.c the only one that opens image files.  A
 * regular file is replaced whole; a block device is written in place.
 */
#include "image/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/readfile.h"
#include "base/span.h"
#include "base/wait.h"
#include "image/file_swap.h"
#include "image/image_root.h"
#include "image/stream.h"
#include "stats/backend_clock.h"

/* Small enough to stay in a core's cache on its way to the wire. */
#define FILE_CHUNK ((size_t)256 << 10)
#define TICK_MS 11                     /* the longest is 10 */
#define DIRECT_MAX ((uint64_t)1 << 30) /* bytes a call; any number would do */

struct image_file {
    struct image base; /* first, and holds ->ops and ->size (bytes) */
    int fd;            /* -1: the file is missing, and will be made */
    const char *path;  /* lent by the ticket */
    unsigned char *buffer;
    size_t chunk; /* bytes */
};

static struct image_file *
from_base(struct image *im)
{
    return (struct image_file *)im;
}

/* By way of the buffer: the first bytes, whose failure can still be answered,
 * the last ones, and all that is short. */
static int
send_copied(struct image_file *self, uint64_t offset, uint64_t length,
            struct sink *sink, struct error *err)
{
    while (length > 0) {
        const size_t count = (size_t)span_min(length, self->chunk);
        const uint64_t start_us = clock_us();
        const ssize_t got = pread(self->fd, self->buffer, count, (off_t)offset);

        backend_clock_add(start_us);
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return error_errno(err, 500, "read %zu bytes at %" PRIu64 " of %s",
                               count, offset, self->path);
        if (got == 0)
            return error_set(err, 500, "%s: ends at %" PRIu64 ", was longer",
                             self->path, offset);
        if (sink_push_all(sink, self->buffer, (size_t)got, err) == -1)
            return -1;
        offset += (uint64_t)got;
        length -= (uint64_t)got;
    }
    return 0;
}

static int
send_direct(struct image_file *self, uint64_t offset, uint64_t length,
            struct sink *sink, struct error *err)
{
    while (length > 0) {
        struct pollfd wire = {.fd = sink->fd, .events = POLLOUT};
        const uint64_t start_us = clock_us();
        bool is_stuck;
        const ssize_t taken = sink->push_file(
            sink, self->fd, offset, (size_t)span_min(length, DIRECT_MAX),
            &is_stuck, err);

        backend_clock_add(start_us);
        if (taken == -1)
            return -1;
        if (is_stuck)
            return send_copied(self, offset, length, sink, err);
        if (taken == 0 && wait_fds(&wire, 1, WAIT_FOREVER, err) == -1)
            return -1;
        offset += (uint64_t)taken;
        length -= (uint64_t)taken;
    }
    return 0;
}

static int
file_send(struct image *im, uint64_t offset, uint64_t length, struct sink *sink,
          struct error *err)
{
    struct image_file *self = from_base(im);
    const uint64_t first =
        sink->push_file != NULL ? span_min(length, self->chunk) : length;
    const uint64_t last = span_min(length - first, self->chunk);
    const uint64_t direct = length - first - last;

    if (length > self->chunk)
        posix_fadvise(self->fd, (off_t)offset, (off_t)length,
                      POSIX_FADV_SEQUENTIAL);
    if (send_copied(self, offset, first, sink, err) == -1 ||
        send_direct(self, offset + first, direct, sink, err) == -1)
        return -1;
    return send_copied(self, offset + first + direct, last, sink, err);
}

static int
write_all(struct image_file *self, int fd, uint64_t offset, size_t size,
          struct error *err)
{
    const unsigned char *at = self->buffer;

    while (size > 0) {
        const uint64_t start_us = clock_us();
        const ssize_t put = pwrite(fd, at, size, (off_t)offset);

        backend_clock_add(start_us);
        if (put == -1 && errno == EINTR)
            continue;
        if (put == -1)
            return error_errno(err, error_status_of_errno(errno),
                               "write %zu bytes at %" PRIu64 " of %s", size,
                               offset, self->path);
        at += put;
        offset += (uint64_t)put;
        size -= (size_t)put;
    }
    return 0;
}

static int
copy_in(struct image_file *self, int fd, uint64_t offset, uint64_t length,
        struct source *source, struct error *err)
{
    while (length > 0) {
        const size_t room = (size_t)span_min(length, self->chunk);
        const ssize_t got = source_pull_some(source, self->buffer, room, err);

        if (got == -1 || write_all(self, fd, offset, (size_t)got, err) == -1)
            return -1;
        offset += (uint64_t)got;
        length -= (uint64_t)got;
    }
    return 0;
}

static int
file_replace(struct image *im, uint64_t length, struct source *source,
             bool flush, struct error *err)
{
    struct image_file *self = from_base(im);
    struct file_swap swap;
    uint64_t start_us;
    int rc;

    if (file_swap_open(&swap, self->path, length, err) == -1)
        return -1;
    rc = copy_in(self, swap.fd, 0, length, source, err);
    start_us = clock_us();
    if (rc == 0)
        rc = file_swap_commit(&swap, flush, err);
    backend_clock_add(start_us);
    file_swap_close(&swap);
    return rc;
}

static int
device_receive(struct image *im, uint64_t offset, uint64_t length,
               struct source *source, struct error *err)
{
    struct image_file *self = from_base(im);

    return copy_in(self, self->fd, offset, length, source, err);
}

/* A file that was replaced has its name from the folder: flush that as well. */
static int
flush_folder(const struct image_file *self, struct error *err)
{
    char *folder = NULL, *name = NULL;
    int fd = -1;
    int rc = -1;

    if (file_swap_resolve(self->path, &folder, &name) == 0 &&
        (fd = image_root_open(folder, O_RDONLY | O_DIRECTORY)) != -1)
        rc = fsync(fd);
    if (rc == -1)
        image_root_error(err, "flush folder of", self->path);
    if (fd != -1)
        close(fd);
    free(folder);
    free(name);
    return rc;
}

static int
device_flush(struct image *im, struct error *err)
{
    const struct image_file *self = from_base(im);
    const uint64_t start_us = clock_us();
    const int rc = fsync(self->fd);

    backend_clock_add(start_us);
    if (rc == -1)
        return error_errno(err, error_status_of_errno(errno), "flush %s",
                           self->path);
    return 0;
}

static int
file_flush(struct image *im, struct error *err)
{
    if (device_flush(im, err) == -1)
        return -1;
    return flush_folder(from_base(im), err);
}

static void
file_close(struct image *im)
{
    struct image_file *self = from_base(im);

    if (self->fd != -1)
        close(self->fd);
    free(self);
}

static const struct image_ops file_ops = {
    .send = file_send,
    .replace = file_replace,
    .flush = file_flush,
    .close = file_close,
};

static const struct image_ops device_ops = {
    .send = file_send,
    .receive = device_receive,
    .flush = device_flush,
    .close = file_close,
};

/* Learns all of a regular file.  Its times tell when its content or its name
 * last changed; a file that took its place has another inode as well. */
static void
examine(struct image_file *self, const struct stat *st)
{
    self->base.size = (uint64_t)st->st_size;
    self->base.is_file = true;
    self->base.version = readfile_version(st);
    self->base.modified_s = st->st_mtim.tv_sec;
    /* Else it may have come here later, with the date that it had. */
    self->base.is_date_strong = st->st_ctim.tv_sec == st->st_mtim.tv_sec;
}

/* Could it change once more without another time?  The kernel's clock for files
 * moves in ticks. */
static bool
is_fresh(const struct stat *st)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return st->st_ctim.tv_sec > now.tv_sec ||
           (st->st_ctim.tv_sec == now.tv_sec &&
            st->st_ctim.tv_nsec >= now.tv_nsec);
}

/* The same, for who may tell others its version: a file that has just changed
 * is looked at again a tick later; one that goes on changing has none. */
static int
examine_settled(struct image_file *self, struct stat *st, struct error *err)
{
    if (is_fresh(st)) {
        if (wait_fds(NULL, 0, TICK_MS, err) == -1)
            return -1;
        if (fstat(self->fd, st) == -1)
            return error_errno(err, 500, "stat %s", self->path);
    }
    examine(self, st);
    if (is_fresh(st))
        self->base.version = 0;
    return 0;
}

/* For writing, by its name: it has to be the same disk still. */
static int
reopen_device(struct image_file *self, dev_t device, struct error *err)
{
    struct stat st;

    close(self->fd);
    self->fd = image_root_open(self->path, O_RDWR | O_NONBLOCK | O_NOCTTY);
    if (self->fd == -1)
        return image_root_error(err, "open for writing", self->path);
    if (fstat(self->fd, &st) == -1)
        return error_errno(err, 500, "stat %s", self->path);
    if (!S_ISBLK(st.st_mode) || st.st_rdev != device)
        return error_set(err, 500, "%s: another file has taken its place",
                         self->path);
    return 0;
}

/* Opens without waiting (a FIFO would) and learns what the file is. */
static int
open_existing(struct image_file *self, enum image_use use, struct error *err)
{
    struct stat st;
    off_t end;

    self->fd = image_root_open(self->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (self->fd == -1)
        return image_root_error(err, "open", self->path);
    if (fstat(self->fd, &st) == -1)
        return error_errno(err, 500, "stat %s", self->path);
    if (S_ISREG(st.st_mode)) {
        if (use == IMAGE_USE_READ || use == IMAGE_USE_PROBE)
            return examine_settled(self, &st, err);
        examine(self, &st);
        return 0;
    }
    if (!S_ISBLK(st.st_mode))
        return error_set(err, 500, "%s: neither a file nor a block device",
                         self->path);
    self->base.ops = &device_ops;
    end = lseek(self->fd, 0, SEEK_END);
    if (end == -1)
        return error_errno(err, 500, "find the size of %s", self->path);
    self->base.size = (uint64_t)end;
    if (use == IMAGE_USE_WRITE || use == IMAGE_USE_FLUSH)
        return reopen_device(self, st.st_rdev, err);
    return 0;
}

int
image_file_open(struct image **ret, const struct image_ref *ref,
                enum image_use use, const struct image_env *env,
                struct error *err)
{
    struct image_file *self = calloc(1, sizeof(*self));
    struct stat st;
    bool is_missing;

    if (self == NULL)
        return error_errno(err, 500, "open %s", ref->file);
    self->base.ops = &file_ops;
    self->base.can_flush = true;
    self->base.block = 1;
    self->fd = -1;
    self->path = ref->file;
    self->buffer = env->buffer;
    self->chunk = (size_t)span_min(env->buffer_size, FILE_CHUNK);
    is_missing = image_root_stat(ref->file, &st) == -1 && errno == ENOENT;
    self->base.is_missing = use == IMAGE_USE_WRITE && is_missing;
    if (!self->base.is_missing && open_existing(self, use, err) == -1) {
        file_close(&self->base);
        return -1;
    }
    *ret = &self->base;
    return 0;
}

uint64_t
image_file_key(const struct image_ref *ref)
{
    uint64_t hash = hash_bytes(HASH_START, "file", sizeof("file"));
    char *folder = NULL, *name = NULL;
    struct stat st;

    if (image_root_stat(ref->file, &st) == 0) {
        /* Two device files of one disk are one image. */
        const bool is_device = S_ISBLK(st.st_mode);
        const uint64_t id[] = {is_device ? 1 : 0,
                               is_device ? st.st_rdev : st.st_dev,
                               is_device ? 0 : st.st_ino};

        return hash_bytes(hash, id, sizeof(id));
    }
    /* What leads out of --image-root is not followed, not even to name it. */
    if (errno != EXDEV && file_swap_resolve(ref->file, &folder, &name) == 0) {
        hash = hash_bytes(hash, folder, strlen(folder) + 1);
        hash = hash_bytes(hash, name, strlen(name) + 1);
    } else {
        hash = hash_bytes(hash, ref->file, strlen(ref->file) + 1);
    }
    free(folder);
    free(name);
    return hash;
}
