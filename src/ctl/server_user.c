/* SPDX-License-Identifier: Apache-2.0 */
/* Becoming the server's user, and root again. */
#include "ctl/server_user.h"

#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "ticket/lock_file.h"

static bool has_entered;
static gid_t own_gid;

/* Only the server makes the lock file, with a mode of 0600. */
static int
find_owner(struct stat *st, const char *run_dir, int dir_fd)
{
    struct error ignored; /* there may be none yet */
    const int fd = lock_file_find(run_dir, &ignored);
    const int rc = fstat(fd != -1 ? fd : dir_fd, st);

    if (fd != -1)
        close(fd);
    return rc;
}

/* Root needs no groups of its own, so they stay; and asking for them can take
 * long where users come over the network. */
static void
take_groups(const struct stat *owner)
{
    static uid_t uid; /* whose groups these are; 0: root's */
    struct passwd *passwd;
    int rc;

    if (uid == owner->st_uid)
        return;
    passwd = getpwuid(owner->st_uid);
    rc = passwd != NULL ? initgroups(passwd->pw_name, owner->st_gid)
                        : setgroups(1, &owner->st_gid);
    if (rc == 0)
        uid = owner->st_uid;
}

void
server_user_leave(void)
{
    if (!has_entered)
        return;
    /* The real user is still root, so neither can fail. */
    if (seteuid(0) == -1 || setegid(own_gid) == -1)
        abort();
    has_entered = false;
}

void
server_user_enter(const char *run_dir, int dir_fd)
{
    struct stat owner;

    if (geteuid() != 0 || find_owner(&owner, run_dir, dir_fd) == -1 ||
        owner.st_uid == 0)
        return;
    take_groups(&owner);
    own_gid = getegid();
    has_entered = setegid(owner.st_gid) == 0;
    if (has_entered && seteuid(owner.st_uid) == -1)
        server_user_leave();
}
