/* SPDX-License-Identifier: Apache-2.0 */
/* Making and removing the control socket. */
#include "ctl/listen_path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

#define BACKLOG 64

static int
fill_address(struct sockaddr_un *address, const char *path, struct error *err)
{
    const size_t length = strlen(path);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (length >= sizeof(address->sun_path))
        return error_set(err, 500, "listen on %s: longer than %zu bytes", path,
                         sizeof(address->sun_path) - 1);
    memcpy(address->sun_path, path, length + 1);
    return 0;
}

static int
new_socket(const char *path, struct error *err)
{
    const int fd =
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1)
        return error_errno(err, 500, "listen on %s", path);
    return fd;
}

/* The folder, locked: of two that start at once, one finds the other's socket
 * listening. */
static int
lock_folder(const struct sockaddr_un *address, struct error *err)
{
    struct sockaddr_un copy = *address;
    const char *path = address->sun_path;
    const int fd =
        open(dirname(copy.sun_path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd == -1)
        return error_errno(err, 500, "open the folder of %s", path);
    if (flock(fd, LOCK_EX) == -1) {
        error_errno(err, 500, "lock the folder of %s", path);
        close(fd);
        return -1;
    }
    return fd;
}

/* Removes a socket whose server has died. */
static int
make_room(const struct sockaddr_un *address, struct error *err)
{
    const char *path = address->sun_path;
    struct stat st;
    int fd, rc;

    if (lstat(path, &st) == -1)
        return errno == ENOENT ? 0 : error_errno(err, 500, "stat %s", path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, 500, "listen on %s: it exists and is no socket",
                         path);
    fd = new_socket(path, err);
    if (fd == -1)
        return -1;
    rc = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    if (rc == 0 || errno != ECONNREFUSED)
        rc = error_set(err, 500, "listen on %s: another process does", path);
    else if (unlink(path) == -1)
        rc = error_errno(err, 500, "remove %s", path);
    else
        rc = 0;
    close(fd);
    return rc;
}

static int
bind_and_listen(struct listen_path *ret, const struct sockaddr_un *address,
                struct error *err)
{
    const mode_t old = umask(0117);
    const int rc =
        bind(ret->fd, (const struct sockaddr *)address, sizeof(*address));
    struct stat st;

    umask(old);
    if (rc == -1 || lstat(ret->path, &st) == -1 ||
        listen(ret->fd, BACKLOG) == -1)
        return error_errno(err, 500, "listen on %s", ret->path);
    ret->dev = st.st_dev;
    ret->ino = st.st_ino;
    return 0;
}

int
listen_path_open(struct listen_path *ret, const char *path, struct error *err)
{
    struct sockaddr_un address;
    int folder, rc = -1;

    if (fill_address(&address, path, err) == -1)
        return -1;
    *ret = (struct listen_path){.path = path, .fd = new_socket(path, err)};
    if (ret->fd == -1)
        return -1;
    folder = lock_folder(&address, err);
    if (folder != -1) {
        rc = make_room(&address, err);
        if (rc == 0)
            rc = bind_and_listen(ret, &address, err);
        close(folder);
    }
    if (rc == -1)
        close(ret->fd);
    return rc;
}

void
listen_path_close(struct listen_path *listener)
{
    struct stat st;

    if (lstat(listener->path, &st) == 0 && st.st_dev == listener->dev &&
        st.st_ino == listener->ino)
        unlink(listener->path);
    close(listener->fd);
}
