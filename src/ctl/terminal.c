/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing by the few sequences that every terminal of today has: no library. */
#include "ctl/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define CSI "\x1b["
#define ENTER CSI "?1049h" CSI "?25l" CSI "H" CSI "2J"
/* A terminal without another screen has the cursor at its end. */
#define LEAVE CSI "999;1H" CSI "?1049l" CSI "?25h"
#define FAILURE_FLAGS (int)(SA_RESETHAND | SA_NODEFER)
#define STOP_FLAGS (int)(SA_RESETHAND | SA_NODEFER | SA_RESTART)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A signal's handler uses these as well. */
static struct {
    volatile sig_atomic_t is_on;
    bool has_keys;
    unsigned lines, rows; /* of this frame, of the screen */
    struct termios before;
} terminal;

bool
terminal_can_draw(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && term != NULL && *term != '\0' &&
           strcmp(term, "dumb") != 0;
}

static void
put(const char *text)
{
    const ssize_t written = write(STDOUT_FILENO, text, strlen(text));

    (void)written; /* who would be told? */
}

/* Both may be called by a handler: no stdio, and what is on is what may have to
 * be undone. */
void
terminal_enter(void)
{
    struct termios keys;

    terminal.has_keys = tcgetattr(STDIN_FILENO, &terminal.before) == 0;
    terminal.is_on = 1;
    if (terminal.has_keys) {
        keys = terminal.before;
        keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        keys.c_cc[VMIN] = 1;
        keys.c_cc[VTIME] = 0;
        /* In the background it stops here, until it is in the foreground. */
        tcsetattr(STDIN_FILENO, TCSANOW, &keys);
    }
    put(ENTER);
}

/* Somebody else has the terminal, with settings of his own. */
static bool
is_in_background(void)
{
    const pid_t group = tcgetpgrp(STDIN_FILENO); /* -1: we have none */

    return group != -1 && group != getpgrp();
}

void
terminal_leave(void)
{
    if (terminal.is_on && !is_in_background()) {
        put(LEAVE);
        if (terminal.has_keys)
            tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
    }
    terminal.is_on = 0;
}

static void
on_end(int number)
{
    (void)number;
    terminal_leave();
    _exit(EXIT_SUCCESS);
}

/* For the next two SA_RESETHAND and SA_NODEFER have brought back the signal's
 * usual action, which is taken. */
static void
on_failure(int number)
{
    terminal_leave();
    kill(getpid(), number);
}

static void
on_stop(int number)
{
    const struct sigaction again = {.sa_handler = on_stop,
                                    .sa_flags = STOP_FLAGS};
    const int errnum = errno;
    const bool was_on = terminal.is_on;

    terminal_leave();
    kill(getpid(), number); /* comes back when the process goes on */
    sigaction(number, &again, NULL);
    if (was_on)
        terminal_enter();
    errno = errnum;
}

/* Ends the wait. */
static void
on_size(int number)
{
    (void)number;
}

void
terminal_init(void)
{
    static char buffer[65536];
    static const struct {
        int number, flags;
        void (*handler)(int number);
    } rows[] = {
        {SIGINT, 0, on_end},
        {SIGTERM, 0, on_end},
        {SIGHUP, 0, on_end},
        {SIGTSTP, STOP_FLAGS, on_stop},
        {SIGWINCH, SA_RESTART, on_size},
        {SIGQUIT, FAILURE_FLAGS, on_failure},
        {SIGABRT, FAILURE_FLAGS, on_failure},
        {SIGBUS, FAILURE_FLAGS, on_failure},
        {SIGSEGV, FAILURE_FLAGS, on_failure},
    };

    /* A frame is one write. */
    (void)setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sigaction action = {.sa_handler = rows[i].handler,
                                   .sa_flags = rows[i].flags};
        struct sigaction before;

        if (sigaction(rows[i].number, NULL, &before) == 0 &&
            before.sa_handler != SIG_IGN)
            sigaction(rows[i].number, &action, NULL);
    }
}

void
terminal_size(unsigned *columns, unsigned *rows)
{
    struct winsize size;

    *columns = 80;
    *rows = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == -1)
        return;
    if (size.ws_col > 0)
        *columns = size.ws_col;
    if (size.ws_row > 0)
        *rows = size.ws_row;
}

void
terminal_begin_frame(unsigned rows)
{
    terminal.rows = rows;
    terminal.lines = 0;
    fputs(CSI "H", stdout);
}

/* A line is cleared before it is written: after its last column the cursor is
 * still there. */
void
terminal_draw_line(const char *line)
{
    fprintf(stdout, "%s" CSI "K%s", terminal.lines > 0 ? "\n" : "", line);
    terminal.lines++;
}

bool
terminal_end_frame(void)
{
    if (terminal.lines < terminal.rows)
        fputs("\n" CSI "J", stdout);
    return fflush(stdout) == 0;
}

/* false: the key to end was among them. */
static bool
read_keys(void)
{
    char keys[64];
    const ssize_t got = read(STDIN_FILENO, keys, sizeof(keys));

    if (got <= 0) /* it has gone */
        terminal.has_keys = false;
    return got <= 0 || memchr(keys, 'q', (size_t)got) == NULL;
}

bool
terminal_wait(unsigned ms)
{
    struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};

    if (!terminal.is_on || !terminal.has_keys)
        keys.fd = -1;
    return poll(&keys, 1, (int)ms) != 1 || read_keys();
}
