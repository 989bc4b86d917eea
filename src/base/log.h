/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line an event, "level: key=value …", to stderr or syslog.  Lines
 * to stderr begin with "<priority>" where that is systemd's journal.
 * Usable from every thread; a line is written whole.  errno is left alone.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/* Before any thread starts.  Until then: info and above, to stderr. */
void log_init(enum log_level level, bool to_syslog);

/* "error", "warning", "info", "debug" → level; false: none of them. */
bool log_parse_level(enum log_level *ret, const char *text);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
void log_line(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Copies text from outside so that it cannot forge or break a line: what is
 * not printable ASCII, and '"' and '\', become \xNN.  Cut to size bytes, the
 * NUL included.  Returns dst. */
const char *log_escape(char *dst, size_t size, const char *text);

/* The same for a value that is not in quotes: spaces become \x20, and an empty
 * one "-". */
const char *log_word(char *dst, size_t size, const char *text);

#define LOG_ID_CHARS 8 /* of a ticket's id, which is as good as a password */
#define LOG_ID_SIZE (4 * LOG_ID_CHARS + 1)

/* The part of a ticket's id that may be logged, as log_word() does.  Returns
 * dst. */
const char *log_id(char dst[LOG_ID_SIZE], const char *id);

#endif
