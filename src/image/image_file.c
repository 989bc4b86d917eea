/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file backend, with file_swap.c the only one that opens image files.  A
 * regular file is replaced whole; a block device is written in place.
 */
#include "image/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/span.h"
#include "image/file_swap.h"
#include "image/stream.h"

/* Small enough to stay in a core's cache on its way to the wire. */
#define FILE_CHUNK ((size_t)256 << 10)

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

static int
file_send(struct image *im, uint64_t offset, uint64_t length, struct sink *sink,
          struct error *err)
{
    struct image_file *self = from_base(im);

    posix_fadvise(self->fd, (off_t)offset, (off_t)length,
                  POSIX_FADV_SEQUENTIAL);
    while (length > 0) {
        const size_t count = (size_t)span_min(length, self->chunk);
        const ssize_t got = pread(self->fd, self->buffer, count, (off_t)offset);

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
write_all(struct image_file *self, int fd, uint64_t offset, size_t size,
          struct error *err)
{
    const unsigned char *at = self->buffer;

    while (size > 0) {
        const ssize_t put = pwrite(fd, at, size, (off_t)offset);

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
    int rc;

    if (file_swap_open(&swap, self->path, length, err) == -1)
        return -1;
    rc = copy_in(self, swap.fd, 0, length, source, err);
    if (rc == 0)
        rc = file_swap_commit(&swap, flush, err);
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
        (fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) != -1)
        rc = fsync(fd);
    if (rc == -1)
        error_errno(err, 500, "flush folder of %s", self->path);
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

    if (fsync(self->fd) == -1)
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

/* Opens without waiting (a FIFO would) and learns what the file is. */
static int
open_existing(struct image_file *self, enum image_use use, struct error *err)
{
    struct stat st;
    off_t end;

    self->fd = open(self->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (self->fd == -1)
        return error_errno(err, 500, "open %s", self->path);
    if (fstat(self->fd, &st) == -1)
        return error_errno(err, 500, "stat %s", self->path);
    if (S_ISREG(st.st_mode)) {
        self->base.size = (uint64_t)st.st_size;
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
    if (use == IMAGE_USE_WRITE || use == IMAGE_USE_FLUSH) {
        close(self->fd);
        self->fd = open(self->path, O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (self->fd == -1)
            return error_errno(err, 500, "open %s for writing", self->path);
    }
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
    is_missing = stat(ref->file, &st) == -1 && errno == ENOENT;
    if (!(use == IMAGE_USE_WRITE && is_missing) &&
        open_existing(self, use, err) == -1) {
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

    if (stat(ref->file, &st) == 0) {
        /* Two device files of one disk are one image. */
        const bool is_device = S_ISBLK(st.st_mode);
        const uint64_t id[] = {is_device ? 1 : 0,
                               is_device ? st.st_rdev : st.st_dev,
                               is_device ? 0 : st.st_ino};

        return hash_bytes(hash, id, sizeof(id));
    }
    if (file_swap_resolve(ref->file, &folder, &name) == 0) {
        hash = hash_bytes(hash, folder, strlen(folder) + 1);
        hash = hash_bytes(hash, name, strlen(name) + 1);
    } else {
        hash = hash_bytes(hash, ref->file, strlen(ref->file) + 1);
    }
    free(folder);
    free(name);
    return hash;
}
