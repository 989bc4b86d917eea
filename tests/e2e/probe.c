/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library to be preloaded into the program: once, in the first worker that
 * takes a connection, it tries what a fault in the program might be used for,
 * and writes to descriptor $PROBE_FD a line each: "NAME ok" or "NAME ERRNO".
 *
 * $PROBE_INSIDE is a folder that the program may write in, $PROBE_OUTSIDE one
 * that it has no business in.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int out = -1;

static void
tell(const char *name, long rc)
{
    const char *cause = strerrorname_np(errno);

    dprintf(out, "%s %s\n", name, rc == -1 ? cause : "ok");
}

static void
try_files(const char *what, const char *folder)
{
    char path[4096], name[64];
    long fd;

    snprintf(path, sizeof(path), "%s/file", folder);
    snprintf(name, sizeof(name), "read-%s", what);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    tell(name, fd);
    if (fd != -1)
        close((int)fd);
    snprintf(name, sizeof(name), "write-%s", what);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    tell(name, fd);
    if (fd != -1)
        close((int)fd);
    snprintf(path, sizeof(path), "%s/made", folder);
    snprintf(name, sizeof(name), "make-%s", what);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    tell(name, fd);
    if (fd != -1)
        close((int)fd);
    snprintf(name, sizeof(name), "unlink-%s", what);
    tell(name, unlinkat(AT_FDCWD, path, 0));
    snprintf(path, sizeof(path), "%s/link", folder);
    snprintf(name, sizeof(name), "symlink-%s", what);
    tell(name, symlink("/etc/passwd", path));
}

static void
try_sockets(void)
{
    static const struct {
        const char *name;
        int family;
    } families[] = {
        {"socket-unix", AF_UNIX},       {"socket-inet", AF_INET},
        {"socket-inet6", AF_INET6},     {"socket-netlink", AF_NETLINK},
        {"socket-packet", AF_PACKET},
    };

    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        const int fd = socket(families[i].family, SOCK_STREAM, 0);

        tell(families[i].name, fd);
        if (fd != -1)
            close(fd);
    }
}

static void
try_memory(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    tell("mmap", page == MAP_FAILED ? -1 : 0);
    tell("mprotect-exec", mprotect(page, 4096, PROT_READ | PROT_EXEC));
    munmap(page, 4096);
    page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0);
    tell("mmap-exec", page == MAP_FAILED ? -1 : 0);
}

static void
try_all(void)
{
    char *const argv[] = {"/bin/true", NULL};
    pid_t child;

    try_sockets();
    try_memory();
    try_files("inside", getenv("PROBE_INSIDE"));
    try_files("outside", getenv("PROBE_OUTSIDE"));
    tell("ptrace", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    tell("kill", kill(getppid(), 0));
    tell("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
    tell("unshare", unshare(CLONE_NEWUSER));
    tell("chmod", chmod(getenv("PROBE_INSIDE"), 0777));
    tell("setuid", setuid(0));
    tell("prctl", prctl(PR_SET_DUMPABLE, 1));
    tell("io_uring", syscall(SYS_io_uring_setup, 1, NULL));
    tell("bpf", syscall(SYS_bpf, 0, NULL, 0));
    tell("memfd-run", syscall(SYS_execveat, 0, "", argv, NULL, AT_EMPTY_PATH));
    child = fork();
    if (child == 0)
        _exit(0);
    tell("fork", child);
    /* Last: where it works, nothing is left to tell. */
    tell("execve", execve(argv[0], argv, NULL));
    tell("end", 0);
}

int
accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    static int count;

    if (__atomic_fetch_add(&count, 1, __ATOMIC_SEQ_CST) == 0) {
        out = atoi(getenv("PROBE_FD"));
        try_all();
    }
    return (int)syscall(SYS_accept4, fd, address, length, flags);
}
