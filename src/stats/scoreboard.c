/* SPDX-License-Identifier: Apache-2.0 */
/* The file that all processes of a server have mapped. */
#include "stats/scoreboard.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "stats/counters.h"
#include "stats/transfer.h"

/* The number grows with every change of the layout: a process of an older
 * version may still run. */
#define NAME "scoreboard-1"
#define NOBODY SCOREBOARD_PROCESSES

/* The bytes that are locks: whose an area is, and, once it has been made, that
 * it can be looked at. */
#define SHOWN(index) (SCOREBOARD_PROCESSES + (index))

/* Across processes an atomic must need no lock of one of them. */
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64 bits at once");

struct area {
    _Atomic uint64_t start_ms;
    _Atomic uint64_t workers, max_readers, max_writers, per_image;
    struct transfer_slot slots[SCOREBOARD_WORKERS];
};

struct layout {
    struct counters counters;
    struct area areas[SCOREBOARD_PROCESSES];
};

struct scoreboard {
    int fd;
    struct layout *layout;
    unsigned mine; /* the area that this process holds; NOBODY: none */
};

static struct scoreboard own = {.fd = -1, .mine = NOBODY};

static void
format_path(char path[4096], const char *run_dir)
{
    snprintf(path, 4096, "%s/" NAME, run_dir);
}

static int
error_wrong_size(const char *path, struct error *err)
{
    return error_set(err, 500,
                     "%s has another size: another version has made it", path);
}

static int
map(struct scoreboard *board, const char *path, int protection,
    struct error *err)
{
    void *at =
        mmap(NULL, sizeof(struct layout), protection, MAP_SHARED, board->fd, 0);

    if (at == MAP_FAILED)
        return error_errno(err, 500, "map %s", path);
    board->layout = at;
    return 0;
}

static struct flock
byte_of(unsigned index, short type)
{
    return (struct flock){
        .l_type = type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)index,
        .l_len = 1,
    };
}

/* 1: the byte is ours; 0: somebody has it; -1: err. */
static int
try_lock(const struct scoreboard *board, unsigned index, const char *path,
         struct error *err)
{
    struct flock lock = byte_of(index, F_WRLCK);

    if (fcntl(board->fd, F_OFD_SETLK, &lock) == 0)
        return 1;
    if (errno == EAGAIN || errno == EACCES)
        return 0;
    return error_errno(err, 500, "lock byte %u of %s", index, path);
}

/* The first area that nobody holds. */
static int
take_area(struct scoreboard *board, const char *path, struct error *err)
{
    for (unsigned i = 0; i < SCOREBOARD_PROCESSES; i++) {
        const int rc = try_lock(board, i, path, err);

        if (rc == 1)
            board->mine = i;
        if (rc != 0)
            return rc == 1 ? 0 : -1;
    }
    return error_set(err, 500, "%s: %d processes are there already", path,
                     SCOREBOARD_PROCESSES);
}

/* The memory is made now: later a full file system would be a signal, in
 * whoever looks first. */
static int
allocate(const struct scoreboard *board, const char *path, unsigned workers,
         struct error *err)
{
    const size_t area =
        offsetof(struct layout, areas) + board->mine * sizeof(struct area);
    const size_t used =
        offsetof(struct area, slots) + workers * sizeof(struct transfer_slot);

    if (fallocate(board->fd, FALLOC_FL_KEEP_SIZE, 0,
                  (off_t)sizeof(struct counters)) == -1 ||
        fallocate(board->fd, FALLOC_FL_KEEP_SIZE, (off_t)area, (off_t)used) ==
            -1)
        return error_errno(err, 500, "make room in %s", path);
    return 0;
}

/* Who had the area before may have been killed. */
static void
clear(struct area *area, const struct scoreboard_process *process)
{
    for (unsigned i = 0; i < process->workers; i++)
        transfer_end(&area->slots[i]);
    atomic_store(&area->start_ms, clock_wall_ms());
    atomic_store(&area->max_readers, process->max_readers);
    atomic_store(&area->max_writers, process->max_writers);
    atomic_store(&area->per_image, process->per_image);
    atomic_store(&area->workers, process->workers);
}

static void
unmap(struct scoreboard *board)
{
    if (board->layout != NULL)
        munmap(board->layout, sizeof(struct layout));
    if (board->fd != -1)
        close(board->fd);
    *board = (struct scoreboard){.fd = -1, .mine = NOBODY};
}

/* Only a new file gets its size.  To cut one that others have mapped would end
 * them by a signal, in the middle of their transfers. */
static int
set_size(const struct scoreboard *board, const char *path, struct error *err)
{
    struct stat st;

    if (fstat(board->fd, &st) == -1)
        return error_errno(err, 500, "open %s", path);
    if (st.st_size == 0 &&
        ftruncate(board->fd, (off_t)sizeof(struct layout)) == -1)
        return error_errno(err, 500, "set the size of %s", path);
    if (st.st_size != 0 && (uint64_t)st.st_size != sizeof(struct layout))
        return error_wrong_size(path, err);
    return 0;
}

int
scoreboard_join(const char *run_dir, const struct scoreboard_process *process,
                struct error *err)
{
    char path[4096];
    int rc = -1;

    assert(process->workers <= SCOREBOARD_WORKERS);
    format_path(path, run_dir);
    own.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (own.fd == -1)
        return error_errno(err, 500, "open %s", path);
    if (set_size(&own, path, err) == -1 || take_area(&own, path, err) == -1 ||
        allocate(&own, path, process->workers, err) == -1 ||
        map(&own, path, PROT_READ | PROT_WRITE, err) == -1)
        goto out;
    clear(&own.layout->areas[own.mine], process);
    if (try_lock(&own, SHOWN(own.mine), path, err) == -1)
        goto out;
    counters_use(&own.layout->counters);
    rc = 0;
out:
    if (rc == -1)
        unmap(&own);
    return rc;
}

struct transfer_slot *
scoreboard_slot(unsigned worker)
{
    if (own.layout == NULL || worker >= SCOREBOARD_WORKERS)
        return NULL;
    return &own.layout->areas[own.mine].slots[worker];
}

struct scoreboard *
scoreboard_own(void)
{
    return own.layout != NULL ? &own : NULL;
}

int
scoreboard_open(struct scoreboard **ret, const char *run_dir, struct error *err)
{
    struct scoreboard *board = malloc(sizeof(*board));
    char path[4096];
    struct stat st;
    int rc = -1;

    format_path(path, run_dir);
    if (board == NULL)
        return error_errno(err, 500, "open %s", path);
    *board = (struct scoreboard){.mine = NOBODY};
    board->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (board->fd == -1 && errno == ENOENT && access(run_dir, F_OK) == 0) {
        rc = 0;
        goto out;
    }
    if (board->fd == -1 || fstat(board->fd, &st) == -1) {
        error_errno(err, 500, "open %s", path);
        goto out;
    }
    if (st.st_size == 0) { /* it is just being made */
        rc = 0;
        goto out;
    }
    if ((uint64_t)st.st_size != sizeof(struct layout)) {
        error_wrong_size(path, err);
        goto out;
    }
    if (map(board, path, PROT_READ, err) == 0)
        rc = 1;
out:
    if (rc == 1)
        *ret = board;
    else
        scoreboard_close(board);
    return rc;
}

void
scoreboard_close(struct scoreboard *board)
{
    if (board == NULL)
        return;
    unmap(board);
    free(board);
}

/* Does a process that lives show the area?  Our own lock is not told to us. */
static bool
is_shown(const struct scoreboard *board, unsigned index)
{
    struct flock lock = byte_of(SHOWN(index), F_WRLCK);

    return index == board->mine || (fcntl(board->fd, F_OFD_GETLK, &lock) == 0 &&
                                    lock.l_type != F_UNLCK);
}

static void
add_process(struct scoreboard_summary *summary, const struct area *area,
            uint64_t *youngest_ms)
{
    const uint64_t start_ms = atomic_load(&area->start_ms);

    summary->processes++;
    if (summary->started_ms == 0 || start_ms < summary->started_ms)
        summary->started_ms = start_ms;
    if (start_ms < *youngest_ms)
        return;
    *youngest_ms = start_ms;
    summary->process = (struct scoreboard_process){
        .workers = (unsigned)atomic_load(&area->workers),
        .max_readers = (unsigned)atomic_load(&area->max_readers),
        .max_writers = (unsigned)atomic_load(&area->max_writers),
        .per_image = atomic_load(&area->per_image) != 0,
    };
}

void
scoreboard_look(const struct scoreboard *board, struct scoreboard_summary *ret,
                scoreboard_visit *visit, void *opaque)
{
    uint64_t youngest_ms = 0;
    bool goes_on = visit != NULL;

    *ret = (struct scoreboard_summary){.processes = 0};
    if (board == NULL)
        return;
    for (unsigned i = 0; i < SCOREBOARD_PROCESSES; i++) {
        const struct area *area = &board->layout->areas[i];
        unsigned workers;

        if (!is_shown(board, i))
            continue;
        workers = (unsigned)atomic_load(&area->workers);
        if (workers > SCOREBOARD_WORKERS)
            continue;
        add_process(ret, area, &youngest_ms);
        for (unsigned w = 0; w < workers; w++) {
            struct transfer transfer;

            if (!transfer_read(&transfer, &area->slots[w]))
                continue;
            ret->readers += transfer.operation == TRANSFER_READ;
            ret->writers += transfer.operation == TRANSFER_WRITE ||
                            transfer.operation == TRANSFER_ZERO;
            goes_on = goes_on && visit(opaque, &transfer);
        }
    }
}
