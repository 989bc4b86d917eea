/* SPDX-License-Identifier: Apache-2.0 */
/* stats/scoreboard and stats/transfer: what processes show each other. */
#include "stats/scoreboard.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "stats/counters.h"
#include "stats/transfer.h"
#include "unit.h"
#include "unit_dir.h"

#define WORKERS 3
#define SEEN_SIZE 1024

static int
remove_dir(void **state)
{
    (void)state;
    return unit_dir_remove("scoreboard-1");
}

static struct transfer
transfer_of(const char *id)
{
    struct transfer ret = {
        .operation = TRANSFER_READ,
        .id_hash = transfer_hash(id),
        .offset = 10,
        .total = 1000,
        .start_ms = 1,
    };

    snprintf(ret.id, sizeof(ret.id), "%.8s", id);
    snprintf(ret.client, sizeof(ret.client), "192.0.2.1");
    return ret;
}

/* A process of the server with a transfer in its first slot, until it is
 * killed; the parent goes on once it can be seen. */
static pid_t
start_process(const char *id)
{
    int ready[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    assert_true(pid != -1);
    if (pid == 0) {
        const struct scoreboard_process process = {
            .workers = WORKERS, .max_readers = 8, .max_writers = 2};
        struct transfer transfer = transfer_of(id);
        struct error err;

        if (scoreboard_join(unit_dir, &process, &err) == -1)
            _exit(1);
        transfer_begin(scoreboard_slot(0), &transfer);
        transfer_progress(scoreboard_slot(0), 500);
        counters_bytes(COUNTERS_NBD, COUNTERS_READ, 500);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void
end_process(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static bool
note(void *opaque, const struct transfer *transfer)
{
    char *seen = opaque;

    snprintf(seen + strlen(seen), SEEN_SIZE - strlen(seen), "%s ",
             transfer->id);
    assert_int_equal(transfer->done, 500);
    assert_int_equal(transfer->total, 1000);
    assert_string_equal(transfer->client, "192.0.2.1");
    return true;
}

static struct scoreboard_summary
look(char seen[SEEN_SIZE])
{
    struct scoreboard_summary summary;
    struct scoreboard *board;
    struct error err;

    seen[0] = '\0';
    assert_int_equal(scoreboard_open(&board, unit_dir, &err), 1);
    scoreboard_look(board, &summary, note, seen);
    scoreboard_close(board);
    return summary;
}

static void
what_others_do_is_seen_until_they_end_in_whatever_way(void **state)
{
    struct scoreboard_summary summary;
    struct scoreboard *board;
    struct error err;
    char seen[SEEN_SIZE];
    pid_t first, second;

    (void)state;
    assert_int_equal(scoreboard_open(&board, unit_dir, &err), 0);
    assert_int_equal(scoreboard_open(&board, "/nowhere", &err), -1);
    assert_int_equal(err.status, 500);
    first = start_process("first-image");
    second = start_process("second-image");
    summary = look(seen);
    assert_string_equal(seen, "first-im second-i ");
    assert_int_equal(summary.processes, 2);
    assert_int_equal(summary.readers, 2);
    assert_int_equal(summary.writers, 0);
    assert_int_equal(summary.process.max_writers, 2);
    end_process(first);
    summary = look(seen);
    assert_string_equal(seen, "second-i ");
    assert_int_equal(summary.processes, 1);
    /* Whoever takes the place shows nothing that was left there. */
    first = start_process("third");
    look(seen);
    assert_string_equal(seen, "third second-i ");
    end_process(first);
    end_process(second);
    summary = look(seen);
    assert_string_equal(seen, "");
    assert_int_equal(summary.processes, 0);
    assert_int_equal(summary.started_ms, 0);
}

static void
there_is_a_place_for_so_many_processes_and_no_more(void **state)
{
    const struct scoreboard_process process = {.workers = 1};
    pid_t pids[SCOREBOARD_PROCESSES];
    struct error err;
    char seen[SEEN_SIZE];

    (void)state;
    for (size_t i = 0; i < SCOREBOARD_PROCESSES; i++)
        pids[i] = start_process("x");
    assert_int_equal(look(seen).processes, SCOREBOARD_PROCESSES);
    assert_int_equal(scoreboard_join(unit_dir, &process, &err), -1);
    assert_non_null(strstr(err.text, "processes are there already"));
    assert_null(scoreboard_own());
    assert_null(scoreboard_slot(0));
    /* It goes on, for itself. */
    transfer_begin(scoreboard_slot(0), &(struct transfer){.total = 1});
    transfer_progress(scoreboard_slot(0), 1);
    transfer_end(scoreboard_slot(0));
    counters_refused(REFUSED_BUSY);
    for (size_t i = 0; i < SCOREBOARD_PROCESSES; i++)
        end_process(pids[i]);
}

static void
counters_are_those_of_all_and_stay(void **state)
{
    const struct scoreboard_process process = {.workers = 1};
    struct error err;
    uint64_t before;

    (void)state;
    assert_int_equal(scoreboard_join(unit_dir, &process, &err), 0);
    before = atomic_load(&counters()->bytes[COUNTERS_NBD][COUNTERS_READ]);
    assert_true(before >= 500);
    end_process(start_process("y"));
    assert_int_equal(
        atomic_load(&counters()->bytes[COUNTERS_NBD][COUNTERS_READ]),
        before + 500);
}

/* A process of another version may have it mapped: cut short, it would get a
 * signal. */
static void
a_file_of_another_size_is_not_touched(void **state)
{
    const struct scoreboard_process process = {.workers = 1};
    static const off_t sizes[] = {1, 1 << 28};
    struct scoreboard *board;
    struct error err;
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "%s/scoreboard-1", unit_dir);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        FILE *file = fopen(path, "w");
        struct stat st;

        assert_non_null(file);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(truncate(path, sizes[i]), 0);
        assert_int_equal(scoreboard_join(unit_dir, &process, &err), -1);
        assert_non_null(strstr(err.text, "has another size"));
        assert_null(scoreboard_own());
        assert_int_equal(scoreboard_open(&board, unit_dir, &err), -1);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, sizes[i]);
    }
    assert_int_equal(unlink(path), 0);
}

/* A value goes to the first bucket that holds it, bounds included. */
static void
times_are_counted_in_their_bucket(void **state)
{
    static const struct {
        uint64_t took_us;
        size_t bucket;
    } rows[] = {
        {0, 0},           {100, 0},         {101, 1},
        {1000, 3},        {1001, 4},        {1000000, 12},
        {7200000000, 20}, {7200000001, 21}, {UINT64_MAX / 2, HISTOGRAM_BOUNDS},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct histogram *h = &counters()->commands[COMMAND_ZERO];
        const uint64_t before = atomic_load(&h->counts[rows[i].bucket]);

        counters_command(COMMAND_ZERO, rows[i].took_us);
        assert_int_equal(atomic_load(&h->counts[rows[i].bucket]), before + 1);
    }
}

static void
unknown_methods_and_statuses_are_counted_as_others(void **state)
{
    struct counters *c = counters();
    const size_t m = COUNTERS_METHODS - 1, s = COUNTERS_STATUSES - 1;
    const uint64_t before = atomic_load(&c->requests[m][s]);

    (void)state;
    counters_request("BREW", 418, 1);
    counters_request("", 0, 1);
    assert_int_equal(atomic_load(&c->requests[m][s]), before + 2);
}

/* --- a slot -----------------------------------------------------------------
 */

static struct transfer_slot slot;
static _Atomic bool is_over;

static void *
change_always(void *opaque)
{
    (void)opaque;
    for (uint64_t i = 1; !is_over; i++) {
        struct transfer transfer = transfer_of("x");

        transfer.offset = i;
        transfer.total = 2 * i;
        transfer.start_ms = 3 * i;
        transfer_update(&slot, &transfer);
    }
    return NULL;
}

static void
a_reader_never_sees_half_a_change(void **state)
{
    struct transfer transfer = {.operation = TRANSFER_READ};
    unsigned seen = 0;
    pthread_t thread;

    (void)state;
    transfer_begin(&slot, &transfer);
    assert_int_equal(pthread_create(&thread, NULL, change_always, NULL), 0);
    /* However the two are scheduled, each reading that succeeds is whole. */
    for (unsigned i = 0; seen < 1000000 && i < 100000000; i++) {
        if (!transfer_read(&transfer, &slot))
            continue;
        seen += transfer.offset != 0;
        if (transfer.total != 2 * transfer.offset ||
            transfer.start_ms != 3 * transfer.offset)
            break;
    }
    is_over = true;
    pthread_join(thread, NULL);
    assert_int_equal(transfer.total, 2 * transfer.offset);
    assert_int_equal(transfer.start_ms, 3 * transfer.offset);
    assert_int_equal(seen, 1000000);
}

static void
a_slot_whose_writer_died_in_the_middle_is_passed_over_and_used_again(
    void **state)
{
    struct transfer transfer = transfer_of("x"), read;

    (void)state;
    transfer_begin(&slot, &transfer);
    atomic_fetch_add(&slot.version, 1);
    assert_false(transfer_read(&read, &slot));
    transfer_end(&slot);
    assert_false(transfer_read(&read, &slot));
    transfer_begin(&slot, &transfer);
    assert_true(transfer_read(&read, &slot));
    assert_int_equal(read.done, 0);
    transfer_end(&slot);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_another_size_is_not_touched),
        cmocka_unit_test(what_others_do_is_seen_until_they_end_in_whatever_way),
        cmocka_unit_test(there_is_a_place_for_so_many_processes_and_no_more),
        cmocka_unit_test(counters_are_those_of_all_and_stay),
        cmocka_unit_test(times_are_counted_in_their_bucket),
        cmocka_unit_test(unknown_methods_and_statuses_are_counted_as_others),
        cmocka_unit_test(a_reader_never_sees_half_a_change),
        cmocka_unit_test(
            a_slot_whose_writer_died_in_the_middle_is_passed_over_and_used_again),
    };

    return cmocka_run_group_tests(tests, unit_dir_make, remove_dir);
}
