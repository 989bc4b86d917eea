/* SPDX-License-Identifier: Apache-2.0 */
/* From root to an unprivileged user. */
#include "privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

/* A user, and where getpwnam_r() keeps what belongs to it. */
struct user {
    struct passwd passwd;
    char text[16384];
};

static int
find_user(struct user *user, const char *name, struct error *err)
{
    struct passwd *found;

    errno =
        getpwnam_r(name, &user->passwd, user->text, sizeof(user->text), &found);
    if (errno != 0)
        return error_errno(err, 500, "look up user %s", name);
    if (found == NULL)
        return error_set(err, 500,
                         "there is no user %s to serve as: make it (useradd "
                         "--system --user-group %s), or name another one by "
                         "--user; \"--user root\" serves as root",
                         name, name);
    return 0;
}

/* A directory that is there already keeps its owner. */
static int
make_run_dir(const char *run_dir, const struct passwd *user, struct error *err)
{
    int fd, rc;

    if (mkdir(run_dir, 0755) == -1)
        return errno == EEXIST
                   ? 0
                   : error_errno(err, 500, "make run directory %s", run_dir);
    /* Who may write beside it could have put a link in its place. */
    fd = open(run_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    rc = fd == -1 ? -1 : fchown(fd, user->pw_uid, user->pw_gid);
    if (rc == -1)
        error_errno(err, 500, "give run directory %s to user %s", run_dir,
                    user->pw_name);
    if (fd != -1)
        close(fd);
    return rc;
}

static int
become(const struct passwd *user, struct error *err)
{
    if (initgroups(user->pw_name, user->pw_gid) == -1 ||
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) == -1 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) == -1)
        return error_errno(err, 500, "become user %s", user->pw_name);
    if (setuid(0) == 0)
        return error_set(err, 500, "root is still within reach of user %s",
                         user->pw_name);
    return 0;
}

int
privilege_drop(const char *name, const char *run_dir, struct error *err)
{
    const bool is_root = geteuid() == 0;
    struct user user;

    if (!is_root && name == NULL)
        return 0;
    if (find_user(&user, name != NULL ? name : PRIVILEGE_USER, err) == -1)
        return -1;
    if (user.passwd.pw_uid == geteuid())
        return 0;
    if (!is_root)
        return error_set(err, 500,
                         "only root can serve as user %s: leave --user out, or "
                         "start it as root",
                         name);
    if (make_run_dir(run_dir, &user.passwd, err) == -1)
        return -1;
    return become(&user.passwd, err);
}
