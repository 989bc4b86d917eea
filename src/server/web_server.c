/* SPDX-License-Identifier: Apache-2.0 */
/* Web servers by name and version. */
#include "server/web_server.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/log.h"

/* SECURITY.md says the same. */
static const struct {
    const char *software;
    const char *why;
} known_bad[] = {
    {"lighttpd/1.4.83", "large uploads fail at random: use 1.4.85 or later"},
    {"lighttpd/1.4.84", "large uploads fail at random: use 1.4.85 or later"},
};

bool
web_server_is_lighttpd(const char *software)
{
    return software != NULL && strncmp(software, "lighttpd", 8) == 0;
}

void
web_server_check(const char *software)
{
    static atomic_flag is_told = ATOMIC_FLAG_INIT;

    for (size_t i = 0; i < sizeof(known_bad) / sizeof(known_bad[0]); i++)
        if (software != NULL && strcmp(software, known_bad[i].software) == 0 &&
            !atomic_flag_test_and_set(&is_told))
            log_warning("%s is known to be bad: %s", known_bad[i].software,
                        known_bad[i].why);
}
