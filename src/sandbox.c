/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call that is not in the tables is an error of the request that makes it
 * (EPERM; the kernel's audit log has it), not the end of all others.
 */
#include "sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "image/image_root.h"

#define NAME_SIZE 32 /* of a system call */
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* --- system calls -------------------------------------------------------- */

/* By name, since not every architecture has each: those are passed over. */
static const char *const calls[] = {
    /* bytes */
    "read write readv writev pread64 pwrite64 lseek _llseek sendfile "
    "sendfile64 recv recvfrom recvmsg send sendto sendmsg sendmmsg",
    /* files */
    "open openat openat2 close stat stat64 lstat lstat64 fstat fstat64 "
    "newfstatat fstatat64 statx fstatfs fstatfs64 statfs statfs64 readlink "
    "readlinkat access faccessat faccessat2 getcwd mkdir mkdirat linkat "
    "unlinkat renameat renameat2 ftruncate ftruncate64 fallocate fadvise64 "
    "fadvise64_64 arm_fadvise64_64 fsync fdatasync fchown fchown32 fchmod "
    "fgetxattr flistxattr fsetxattr "
    "fremovexattr fcntl fcntl64 memfd_create inotify_add_watch "
    "inotify_rm_watch",
    /* waiting */
    "poll ppoll ppoll_time64 epoll_create1 epoll_ctl epoll_wait epoll_pwait "
    "eventfd2 timerfd_settime timerfd_settime64 futex futex_time64 nanosleep "
    "clock_nanosleep clock_nanosleep_time64 sched_yield restart_syscall",
    /* connections; socket(2) is below */
    "accept accept4 connect shutdown getsockopt setsockopt getsockname "
    "getpeername",
    /* memory; mmap(2) and mprotect(2) are below */
    "brk munmap mremap madvise",
    /* threads, which may begin after the filter does, and the process */
    "set_robust_list rseq gettid getpid rt_sigaction rt_sigprocmask "
    "rt_sigreturn sigreturn sched_getaffinity getuid geteuid getgid getegid "
    "getuid32 geteuid32 getgid32 getegid32 uname sysinfo exit exit_group",
    /* time and chance */
    "clock_gettime clock_gettime64 gettimeofday time getrandom",
};

/* What a name server's answer or a TLS handshake takes besides: libnbd, the
 * resolver and their plugins. */
static const char *const network_calls[] = {
    "socketpair bind getdents64 pipe2 getppid",
};

/* The next name of *list; false at its end. */
static bool
next_name(char name[NAME_SIZE], const char **list)
{
    size_t length;

    *list += strspn(*list, " ");
    length = strcspn(*list, " ");
    assert(length < NAME_SIZE);
    memcpy(name, *list, length);
    name[length] = '\0';
    *list += length;
    return length > 0;
}

static int
allow(scmp_filter_ctx filter, const char *const *lists, size_t count)
{
    char name[NAME_SIZE];
    int rc = 0;

    for (size_t i = 0; i < count; i++)
        for (const char *list = lists[i]; rc == 0 && next_name(name, &list);) {
            const int number = seccomp_syscall_resolve_name(name);

            if (number >= 0)
                rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
        }
    return rc;
}

/* Calls that are allowed where the bits of mask in one argument are value: no
 * memory that can be written and run, and without a network none that can be
 * run; sockets of these families only.  (No processes or threads can be made in
 * any case.) */
struct condition {
    const char *name;
    unsigned argument;
    uint64_t mask, value;
};

static const struct condition local_conditions[] = {
    {"mmap", 2, PROT_EXEC, 0},
    {"mmap2", 2, PROT_EXEC, 0},
    {"mprotect", 2, PROT_EXEC, 0},
    {"socket", 0, UINT32_MAX, AF_UNIX},
};

static const struct condition network_conditions[] = {
    {"mmap", 2, PROT_EXEC, 0},
    {"mmap", 2, PROT_EXEC | PROT_WRITE, PROT_EXEC},
    {"mmap2", 2, PROT_EXEC, 0},
    {"mmap2", 2, PROT_EXEC | PROT_WRITE, PROT_EXEC},
    {"mprotect", 2, PROT_EXEC, 0},
    {"mprotect", 2, PROT_EXEC | PROT_WRITE, PROT_EXEC},
    {"socket", 0, UINT32_MAX, AF_UNIX},
    {"socket", 0, UINT32_MAX, AF_INET},
    {"socket", 0, UINT32_MAX, AF_INET6},
    {"socket", 0, UINT32_MAX, AF_NETLINK},
    {"ioctl", 1, UINT32_MAX, FIONREAD},
};

static int
allow_where(scmp_filter_ctx filter, const struct condition *condition)
{
    const int number = seccomp_syscall_resolve_name(condition->name);

    if (number < 0)
        return 0;
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1,
                            SCMP_CMP64(condition->argument, SCMP_CMP_MASKED_EQ,
                                       condition->mask, condition->value));
}

static int
allow_conditions(scmp_filter_ctx filter, const struct condition *conditions,
                 size_t count)
{
    /* abort(3) ends this process, not others of the same user. */
    const struct condition own = {"tgkill", 0, UINT32_MAX, (uint64_t)getpid()};
    int rc = allow_where(filter, &own);

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = allow_where(filter, &conditions[i]);
    return rc;
}

static int
add_rules(scmp_filter_ctx filter, bool with_network)
{
    int rc = allow(filter, calls, COUNT(calls));

    if (rc != 0)
        return rc;
    if (!with_network)
        return allow_conditions(filter, local_conditions,
                                COUNT(local_conditions));
    rc = allow(filter, network_calls, COUNT(network_calls));
    if (rc != 0)
        return rc;
    return allow_conditions(filter, network_conditions,
                            COUNT(network_conditions));
}

int
sandbox_filter(const struct sandbox *sandbox, struct error *err)
{
    scmp_filter_ctx filter;
    int rc;

    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == -1 && errno == EINVAL) {
        log_warning("sandbox seccomp=0: the kernel has none");
        return 0;
    }
    filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL)
        return error_set(err, 500, "seccomp: no filter can be made");
    rc = add_rules(filter, sandbox->with_network);
    /* For all threads; and what is refused is in the kernel's audit log. */
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0) {
        seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
        rc = seccomp_load(filter);
    }
    seccomp_release(filter);
    if (rc < 0) {
        errno = -rc;
        return error_errno(err, 500, "seccomp: load the filter");
    }
    log_info("sandbox seccomp=1");
    return 0;
}

/* --- files --------------------------------------------------------------- */

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* In a run directory and image roots; the rest is for nobody. */
#define WRITE                                                                \
    (READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REFER)
/* All that the first version of landlock knows. */
#define ALL ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

/* What the resolver and TLS read: settings, plugins, authorities. */
static const char *const network_folders[] = {"/etc", "/usr", "/lib", "/lib64",
                                              "/run"};

static int
allow_below(int rules, int folder, uint64_t access)
{
    const struct landlock_path_beneath_attr below = {
        .parent_fd = folder,
        .allowed_access = access,
    };

    return (int)syscall(SYS_landlock_add_rule, rules,
                        LANDLOCK_RULE_PATH_BENEATH, &below, 0);
}

static int
allow_folder(int rules, const char *path, uint64_t access, struct error *err)
{
    const int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int rc = -1;

    if (fd == -1)
        return error_errno(err, 500, "landlock: open folder %s", path);
    rc = allow_below(rules, fd, access);
    if (rc == -1)
        error_errno(err, 500, "landlock: allow folder %s", path);
    close(fd);
    return rc;
}

static int
allow_folders(int rules, const struct sandbox *sandbox, uint64_t known,
              struct error *err)
{
    struct error ignored; /* not every system has each */
    int folder;

    if (allow_folder(rules, sandbox->ticket_dir, READ, err) == -1 ||
        allow_folder(rules, sandbox->run_dir, WRITE & known, err) == -1)
        return -1;
    for (size_t i = 0; (folder = image_root_fd(i)) != -1; i++)
        if (allow_below(rules, folder, WRITE & known) == -1)
            return error_errno(
                err, 500, "landlock: allow folder %zu of --image-root", i + 1);
    for (size_t i = 0; sandbox->with_network && i < COUNT(network_folders); i++)
        allow_folder(rules, network_folders[i], READ, &ignored);
    return 0;
}

/* The version that is in force; 0: the kernel has none; -1. */
static int
restrict_files(const struct sandbox *sandbox, struct error *err)
{
    const int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
                                     LANDLOCK_CREATE_RULESET_VERSION);
    struct landlock_ruleset_attr attr = {.handled_access_fs = ALL};
    int rules;
    int rc;

    if (version <= 0)
        return 0;
    if (version >= 2)
        attr.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
    rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (rules == -1)
        return error_errno(err, 500, "landlock: make rules");
    rc = allow_folders(rules, sandbox, attr.handled_access_fs, err);
    if (rc == 0 && syscall(SYS_landlock_restrict_self, rules, 0) == -1)
        rc = error_errno(err, 500, "landlock: restrict the process");
    close(rules);
    return rc == -1 ? -1 : version;
}

int
sandbox_restrict(const struct sandbox *sandbox, struct error *err)
{
    int version;

    tzset(); /* reads /etc/localtime, which syslog(3) would do later */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
        return error_errno(err, 500, "set no_new_privs");
    if (!image_root_is_set())
        return 0;
    version = restrict_files(sandbox, err);
    if (version == 0)
        log_warning("sandbox landlock=0: the kernel has none");
    else if (version > 0)
        log_info("sandbox landlock=%d", version);
    return version == -1 ? -1 : 0;
}
