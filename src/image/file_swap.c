/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing a file whole. */
#include "image/file_swap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "image/image_root.h"

#define LINKS_MAX 40    /* as the kernel follows */
#define NAMES_TRIED 100 /* of 2^64 for a hidden name: more means a fault */
#define FILE_MODE 0666  /* of a file that is new; less the umask */
#define PATTERN ".imageio-%016llx.part"

/* Content hashes of the old file: wrong for the new one, and the kernel's. */
static const char *const attributes_left_out[] = {"security.ima",
                                                  "security.evm"};

/* Where the link at path points, seen from its folder.  1: *ret is set; 0:
 * path is no link, or missing; -1 with errno. */
static int
read_link(char **ret, const char *path)
{
    char target[PATH_MAX];
    const ssize_t length = readlink(path, target, sizeof(target) - 1);
    const char *slash = strrchr(path, '/');

    if (length == -1)
        return errno == EINVAL || errno == ENOENT ? 0 : -1;
    target[length] = '\0';
    if (target[0] == '/' || slash == NULL)
        return (*ret = strdup(target)) != NULL ? 1 : -1;
    return asprintf(ret, "%.*s/%s", (int)(slash - path), path, target) == -1
               ? -1
               : 1;
}

/* Splits a path whose last part is no link. */
static int
split(const char *path, char **folder, char **name)
{
    const char *slash = strrchr(path, '/');
    char *parent = NULL;
    int rc = -1;

    *folder = *name = NULL;
    if (slash == NULL) {
        parent = strdup(".");
        slash = path - 1;
    } else {
        parent = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    }
    if (parent == NULL)
        goto out;
    *name = strdup(slash + 1);
    *folder = realpath(parent, NULL);
    if (*folder == NULL || *name == NULL)
        goto out;
    if (**name == '\0' || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0) {
        errno = EISDIR;
        goto out;
    }
    rc = 0;
out:
    if (rc == -1) {
        free(*folder);
        free(*name);
        *folder = *name = NULL;
    }
    free(parent);
    return rc;
}

int
file_swap_resolve(const char *path, char **folder, char **name)
{
    char *at = strdup(path);
    char *target;
    int links = 0;
    int found = -1;
    int rc = -1;

    while (at != NULL && (found = read_link(&target, at)) == 1) {
        free(at);
        at = target;
        if (++links > LINKS_MAX) {
            errno = ELOOP;
            goto out;
        }
    }
    if (at != NULL && found == 0)
        rc = split(at, folder, name);
out:
    free(at);
    return rc;
}

/* Gives swap->temp a name that nothing has, by make(), which fails with EEXIST
 * where it is taken. */
static int
name_temp(struct file_swap *swap,
          int (*make)(struct file_swap *swap, const char *temp))
{
    for (int i = 0; i < NAMES_TRIED; i++) {
        unsigned long long random;
        char *temp = NULL;

        if (getrandom(&random, sizeof(random), 0) != sizeof(random) ||
            asprintf(&temp, PATTERN, random) == -1)
            return -1;
        if (make(swap, temp) == 0) {
            swap->temp = temp;
            return 0;
        }
        free(temp);
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

static int
make_by_open(struct file_swap *swap, const char *temp)
{
    swap->fd =
        openat(swap->dir_fd, temp,
               O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    return swap->fd == -1 ? -1 : 0;
}

static int
make_by_link(struct file_swap *swap, const char *temp)
{
    char self[64];

    snprintf(self, sizeof(self), "/proc/self/fd/%d", swap->fd);
    return linkat(AT_FDCWD, self, swap->dir_fd, temp, AT_SYMLINK_FOLLOW);
}

static int
make_file(struct file_swap *swap)
{
    swap->fd =
        openat(swap->dir_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, FILE_MODE);
    if (swap->fd != -1)
        return 0;
    /* Not every file system has unnamed files. */
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
        return -1;
    return name_temp(swap, make_by_open);
}

static bool
is_left_out(const char *attribute)
{
    for (size_t i = 0;
         i < sizeof(attributes_left_out) / sizeof(attributes_left_out[0]); i++)
        if (strcmp(attributes_left_out[i], attribute) == 0)
            return true;
    return false;
}

static int
copy_attribute(int from, int to, const char *name)
{
    char *value = NULL, *there = NULL;
    ssize_t length = fgetxattr(from, name, NULL, 0);
    int rc = -1;

    if (length == -1)
        return -1;
    value = malloc((size_t)length + 1);
    there = malloc((size_t)length + 1);
    if (value == NULL || there == NULL)
        goto out;
    length = fgetxattr(from, name, value, (size_t)length);
    if (length == -1)
        goto out;
    /* What the folder or the system's policy gave already need not be allowed
     * to be set. */
    if (fgetxattr(to, name, there, (size_t)length + 1) == length &&
        memcmp(value, there, (size_t)length) == 0)
        rc = 0;
    else
        rc = fsetxattr(to, name, value, (size_t)length, 0);
out:
    free(value);
    free(there);
    return rc;
}

static int
copy_attributes(int from, int to)
{
    char *names = NULL;
    ssize_t length = flistxattr(from, NULL, 0);
    int rc = -1;

    if (length == -1)
        return errno == EOPNOTSUPP ? 0 : -1;
    if (length == 0)
        return 0;
    names = malloc((size_t)length);
    if (names == NULL)
        goto out;
    length = flistxattr(from, names, (size_t)length);
    if (length == -1)
        goto out;
    for (char *name = names; name < names + length; name += strlen(name) + 1)
        if (!is_left_out(name) && copy_attribute(from, to, name) == -1)
            goto out;
    rc = 0;
out:
    free(names);
    return rc;
}

/* Owner before mode: chown(2) clears set-id bits.  All before the body, so that
 * what cannot be kept is known before anything is sent. */
static int
copy_metadata(struct file_swap *swap, struct error *err)
{
    struct stat old;
    int rc = -1;
    int fd = openat(swap->dir_fd, swap->name,
                    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd == -1)
        return errno == ENOENT ? 0
                               : error_errno(err, 500, "open %s", swap->path);
    /* The folder's default for new files would let others in; if there is
     * none, there is nothing to remove. */
    fremovexattr(swap->fd, "system.posix_acl_access");
    if (fstat(fd, &old) == -1)
        error_errno(err, 500, "stat %s", swap->path);
    else if (fchown(swap->fd, old.st_uid, old.st_gid) == -1)
        error_errno(err, 500, "keep owner %u:%u of %s", old.st_uid, old.st_gid,
                    swap->path);
    else if (fchmod(swap->fd, old.st_mode & 07777) == -1)
        error_errno(err, 500, "keep mode %o of %s", old.st_mode & 07777,
                    swap->path);
    else if (copy_attributes(fd, swap->fd) == -1)
        error_errno(err, 500, "keep extended attributes of %s", swap->path);
    else
        rc = 0;
    close(fd);
    return rc;
}

/* The space is taken now, where the file system can; asked for, where it
 * cannot: a full disk is told before the body is read. */
static int
reserve(struct file_swap *swap, uint64_t length, struct error *err)
{
    struct statvfs fs;

    if (length == 0)
        return 0;
    if (length > INT64_MAX)
        return error_set(err, 507, "%s: no file has %llu bytes", swap->path,
                         (unsigned long long)length);
    if (fallocate(swap->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)length) == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return error_errno(err, error_status_of_errno(errno),
                           "reserve %llu bytes for %s",
                           (unsigned long long)length, swap->path);
    if (fstatvfs(swap->fd, &fs) == 0 &&
        (uint64_t)fs.f_bavail < length / fs.f_frsize)
        return error_set(err, 507, "%s: %llu bytes do not fit", swap->path,
                         (unsigned long long)length);
    return 0;
}

int
file_swap_open(struct file_swap *swap, const char *path, uint64_t length,
               struct error *err)
{
    char *folder = NULL;
    int rc = -1;

    *swap = (struct file_swap){.dir_fd = -1, .fd = -1, .path = path};
    if (file_swap_resolve(path, &folder, &swap->name) == -1) {
        error_errno(err, 500, "find the folder of %s", path);
        goto out;
    }
    swap->dir_fd = image_root_open(folder, O_RDONLY | O_DIRECTORY);
    if (swap->dir_fd == -1) {
        image_root_error(err, "open folder", folder);
        goto out;
    }
    if (make_file(swap) == -1) {
        error_errno(err, error_status_of_errno(errno),
                    "make a new file in %s as uid %u", folder, geteuid());
        goto out;
    }
    if (copy_metadata(swap, err) == -1 || reserve(swap, length, err) == -1)
        goto out;
    rc = 0;
out:
    if (rc == -1)
        file_swap_close(swap);
    free(folder);
    return rc;
}

int
file_swap_commit(struct file_swap *swap, bool flush, struct error *err)
{
    if (flush && fsync(swap->fd) == -1)
        return error_errno(err, error_status_of_errno(errno),
                           "flush new content of %s", swap->path);
    if (swap->temp == NULL && name_temp(swap, make_by_link) == -1)
        return error_errno(err, error_status_of_errno(errno),
                           "name new content of %s", swap->path);
    if (renameat(swap->dir_fd, swap->temp, swap->dir_fd, swap->name) == -1)
        return error_errno(err, error_status_of_errno(errno), "replace %s",
                           swap->path);
    free(swap->temp);
    swap->temp = NULL;
    if (flush && fsync(swap->dir_fd) == -1)
        return error_errno(err, 500, "flush folder of %s", swap->path);
    return 0;
}

void
file_swap_close(struct file_swap *swap)
{
    if (swap->temp != NULL)
        unlinkat(swap->dir_fd, swap->temp, 0);
    if (swap->fd != -1)
        close(swap->fd);
    if (swap->dir_fd != -1)
        close(swap->dir_fd);
    free(swap->temp);
    free(swap->name);
    *swap = (struct file_swap){.dir_fd = -1, .fd = -1};
}
