/* SPDX-License-Identifier: Apache-2.0 */
/* Setting and reading struct error. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int errnum;
    int status;
} errno_status[] = {
    {ENOSPC, 507},
    {EDQUOT, 507},
    {EFBIG, 507}, /* the file system cannot hold a file of this size */
};

/* Failures whose text stays in the log. */
static const struct {
    int status;
    const char *reply;
} replies[] = {
    {500, "backend error"},
    {504, "backend timed out"},
    {507, "no space left"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
fill(struct error *err, int status, const char *format, va_list args)
{
    *err = (struct error){.status = status};
    vsnprintf(err->text, sizeof(err->text), format, args);
}

int
error_set(struct error *err, int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fill(err, status, format, args);
    va_end(args);
    return -1;
}

int
error_errno(struct error *err, int status, const char *format, ...)
{
    const int errnum = errno;
    char buffer[128];
    va_list args;
    size_t used;

    va_start(args, format);
    fill(err, status, format, args);
    va_end(args);
    used = strlen(err->text);
    snprintf(err->text + used, sizeof(err->text) - used, ": %s",
             strerror_r(errnum, buffer, sizeof(buffer))); /* GNU's */
    errno = errnum;
    return -1;
}

int
error_range(struct error *err, uint64_t size)
{
    error_set(err, 416, "range not satisfiable");
    err->has_size = true;
    err->size = size;
    return -1;
}

int
error_status_of_errno(int errnum)
{
    for (size_t i = 0; i < COUNT(errno_status); i++)
        if (errno_status[i].errnum == errnum)
            return errno_status[i].status;
    return 500;
}

const char *
error_reply(const struct error *err)
{
    for (size_t i = 0; i < COUNT(replies); i++)
        if (replies[i].status == err->status)
            return replies[i].reply;
    return err->text;
}
