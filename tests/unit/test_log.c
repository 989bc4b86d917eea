/* SPDX-License-Identifier: Apache-2.0 */
/* base/log: what a line looks like, to a file and to the journal. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

static int saved_stderr;
static FILE *file; /* in the place of standard error */

static int
set_up(void **state)
{
    (void)state;
    file = tmpfile();
    saved_stderr = dup(STDERR_FILENO);
    return file == NULL || saved_stderr == -1 ||
           dup2(fileno(file), STDERR_FILENO) == -1;
}

static int
tear_down(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    (void)fclose(file);
    unsetenv("JOURNAL_STREAM");
    log_init(LOG_LEVEL_INFO, false);
    return 0;
}

/* As systemd does for a service whose standard error has this inode. */
static void
set_journal_stream(uintmax_t inode_offset)
{
    char stream[64];
    struct stat st;

    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
             (uintmax_t)st.st_ino + inode_offset);
    assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
}

static void
assert_logged(const char *text)
{
    char logged[8192] = "";

    rewind(file);
    logged[fread(logged, 1, sizeof(logged) - 1, file)] = '\0';
    assert_string_equal(logged, text);
}

static void
a_line_begins_with_its_level(void **state)
{
    (void)state;
    log_init(LOG_LEVEL_INFO, false);
    log_info("ready workers=%d", 16);
    log_debug("not this one");
    log_error("open %s", "/x");
    assert_logged("info: ready workers=16\nerror: open /x\n");
}

static void
a_line_to_the_journal_begins_with_its_priority(void **state)
{
    (void)state;
    set_journal_stream(0);
    log_init(LOG_LEVEL_DEBUG, false);
    log_error("e");
    log_warning("w");
    log_info("i");
    log_debug("d");
    assert_logged("<3>error: e\n<4>warning: w\n<6>info: i\n<7>debug: d\n");
}

static void
a_journal_that_is_another_file_is_none_of_ours(void **state)
{
    static const char *const strange[] = {"", "1", "x:y", "0:0"};

    (void)state;
    set_journal_stream(1);
    log_init(LOG_LEVEL_INFO, false);
    log_info("first");
    for (size_t i = 0; i < COUNT(strange); i++) {
        setenv("JOURNAL_STREAM", strange[i], 1);
        log_init(LOG_LEVEL_INFO, false);
        log_info("%zu", i);
    }
    assert_logged("info: first\ninfo: 0\ninfo: 1\ninfo: 2\ninfo: 3\n");
}

static void
a_line_that_is_too_long_is_cut_and_ended(void **state)
{
    char text[4096];
    struct stat st;
    char last;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    set_journal_stream(0);
    log_init(LOG_LEVEL_INFO, false);
    log_warning("%s", text);
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    assert_in_range(st.st_size, 1024, 2048);
    assert_int_equal(pread(STDERR_FILENO, &last, 1, st.st_size - 1), 1);
    assert_int_equal(last, '\n');
}

static void
errno_is_left_alone_and_can_be_logged(void **state)
{
    (void)state;
    log_init(LOG_LEVEL_INFO, false);
    errno = ENOENT;
    log_error("open: %m");
    assert_int_equal(errno, ENOENT);
    assert_logged("error: open: No such file or directory\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_begins_with_its_level),
        TEST(a_line_to_the_journal_begins_with_its_priority),
        TEST(a_journal_that_is_another_file_is_none_of_ours),
        TEST(a_line_that_is_too_long_is_cut_and_ended),
        TEST(errno_is_left_alone_and_can_be_logged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
