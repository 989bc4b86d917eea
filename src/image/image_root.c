/* SPDX-License-Identifier: Apache-2.0 */
/* Opening what is below a folder. */
#include "image/image_root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

#define RACES_MAX 16

struct root {
    int fd;
    char *given; /* no slash at its end; "" is "/" */
    char *real;  /* the same without links: what realpath(3) finds below it */
};

static struct root roots[IMAGE_ROOTS_MAX];
static size_t count;

/* openat2(2), which glibc 2.36 does not wrap. */
static int
open_beneath(int fd, const char *path, int flags)
{
    struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int opened;

    if ((flags & O_PATH) == 0)
        how.flags |= O_LARGEFILE; /* as the C library's wrappers do */
    /* A folder that was renamed meanwhile may have led out: once more. */
    for (unsigned i = 0; i < RACES_MAX; i++) {
        opened = (int)syscall(SYS_openat2, fd, path, &how, sizeof(how));
        if (opened != -1 || errno != EAGAIN)
            break;
    }
    return opened;
}

static char *
without_end(char *path)
{
    if (path != NULL)
        for (size_t at = strlen(path); at > 0 && path[at - 1] == '/'; at--)
            path[at - 1] = '\0';
    return path;
}

/* Fills root; the probe tells whether the kernel has openat2. */
static int
open_root(struct root *root, const char *folder)
{
    int probe;

    root->fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root->fd == -1)
        return -1;
    probe = open_beneath(root->fd, ".", O_PATH);
    if (probe == -1)
        return -1;
    close(probe);
    root->given = without_end(strdup(folder));
    root->real = without_end(realpath(folder, NULL));
    return root->given != NULL && root->real != NULL ? 0 : -1;
}

int
image_root_add(const char *folder)
{
    struct root *root = &roots[count];
    int errnum;

    if (*folder != '/') {
        errno = EINVAL;
        return -1;
    }
    if (count == IMAGE_ROOTS_MAX) {
        errno = E2BIG;
        return -1;
    }
    *root = (struct root){.fd = -1};
    if (open_root(root, folder) == 0) {
        count++;
        return 0;
    }
    errnum = errno;
    free(root->given);
    free(root->real);
    if (root->fd != -1)
        close(root->fd);
    errno = errnum;
    return -1;
}

int
image_root_fd(size_t i)
{
    return i < count ? roots[i].fd : -1;
}

/* The rest of path below folder, "" for the folder; NULL if it is elsewhere. */
static const char *
below(const char *path, const char *folder)
{
    const size_t length = strlen(folder);

    if (strncmp(path, folder, length) != 0)
        return NULL;
    path += length;
    return *path == '/' || *path == '\0' ? path + strspn(path, "/") : NULL;
}

/* The same for both spellings of a root. */
static const char *
below_root(const char *path, const struct root *root)
{
    const char *rest = below(path, root->given);

    return rest != NULL ? rest : below(path, root->real);
}

bool
image_root_is_set(void)
{
    return count > 0;
}

bool
image_root_allows(const char *path)
{
    for (size_t i = 0; i < count; i++)
        if (below_root(path, &roots[i]) != NULL)
            return true;
    return count == 0;
}

int
image_root_open(const char *path, int flags)
{
    int fd = -1;

    if (count == 0)
        return open(path, flags | O_CLOEXEC);
    errno = EXDEV;
    /* What leads out of one may be below another one inside it. */
    for (size_t i = 0; i < count && fd == -1 && errno == EXDEV; i++) {
        const char *rest = below_root(path, &roots[i]);

        if (rest != NULL)
            fd = open_beneath(roots[i].fd, *rest != '\0' ? rest : ".", flags);
    }
    return fd;
}

int
image_root_stat(const char *path, struct stat *ret)
{
    int fd, rc;

    if (count == 0)
        return stat(path, ret);
    fd = image_root_open(path, O_PATH);
    if (fd == -1)
        return -1;
    rc = fstat(fd, ret);
    close(fd);
    return rc;
}

int
image_root_error(struct error *err, const char *action, const char *path)
{
    if (count > 0 && errno == EXDEV)
        return error_set(err, 500, "%s %s: it leads out of --image-root",
                         action, path);
    if (errno == EACCES)
        return error_set(err, 500, "%s %s: %m: may uid %u do that?", action,
                         path, geteuid());
    return error_errno(err, 500, "%s %s", action, path);
}
