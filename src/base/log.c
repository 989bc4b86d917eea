/* SPDX-License-Identifier: Apache-2.0 */
/* The log.  Its settings are written once, before any thread starts. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static const struct {
    const char *name;
    int priority;       /* of syslog(3) */
    const char *prefix; /* the same for the journal, sd-daemon(3) */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR, "<3>"},
    [LOG_LEVEL_WARNING] = {"warning", LOG_WARNING, "<4>"},
    [LOG_LEVEL_INFO] = {"info", LOG_INFO, "<6>"},
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG, "<7>"},
};

static enum log_level log_level = LOG_LEVEL_INFO;
static bool log_to_syslog;
static bool log_to_journal; /* standard error is systemd's journal */

/* The variable is inherited also by what has another standard error: systemd
 * says which file it means (systemd.exec(5)). */
static bool
is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char own[48];
    struct stat st;

    if (stream == NULL || fstat(fd, &st) == -1)
        return false;
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev,
             (uintmax_t)st.st_ino);
    return strcmp(stream, own) == 0;
}

void
log_init(enum log_level level, bool to_syslog)
{
    log_level = level;
    log_to_syslog = to_syslog;
    log_to_journal = !to_syslog && is_journal(STDERR_FILENO);
    if (to_syslog)
        openlog("imageio-fcgi", LOG_PID, LOG_DAEMON);
}

bool
log_parse_level(enum log_level *ret, const char *text)
{
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (strcmp(levels[i].name, text) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    return false;
}

void
log_line(enum log_level level, const char *format, ...)
{
    const int errnum = errno;
    const char *prefix = log_to_journal ? levels[level].prefix : "";
    char line[LINE_MAX_BYTES];
    va_list args;
    size_t used;

    if (level > log_level)
        return;
    used = (size_t)snprintf(line, sizeof(line), "%s%s: ", prefix,
                            levels[level].name);
    va_start(args, format);
    errno = errnum; /* for %m */
    vsnprintf(line + used, sizeof(line) - used - 1, format, args);
    va_end(args);
    if (log_to_syslog) {
        syslog(levels[level].priority, "%s", line + used);
    } else {
        /* One write: lines of threads and processes do not mix.  A log that
         * cannot be written has nobody to tell. */
        ssize_t written;

        used = strlen(line);
        line[used++] = '\n';
        written = write(STDERR_FILENO, line, used);
        (void)written;
    }
    errno = errnum;
}

static const char *
escape(char *dst, size_t size, const char *text, unsigned char lowest)
{
    size_t used = 0;

    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        const bool plain = c >= lowest && c < 0x7f && c != '"' && c != '\\';

        if (used + (plain ? 1 : 4) >= size)
            break;
        if (plain)
            dst[used++] = (char)c;
        else
            used += (size_t)sprintf(dst + used, "\\x%02x", c);
    }
    dst[used] = '\0';
    return dst;
}

const char *
log_escape(char *dst, size_t size, const char *text)
{
    return escape(dst, size, text, ' ');
}

const char *
log_word(char *dst, size_t size, const char *text)
{
    return escape(dst, size, *text != '\0' ? text : "-", ' ' + 1);
}

const char *
log_id(char dst[LOG_ID_SIZE], const char *id)
{
    char start[LOG_ID_CHARS + 1];

    snprintf(start, sizeof(start), "%s", id);
    return log_word(dst, LOG_ID_SIZE, start);
}
