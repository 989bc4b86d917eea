/* SPDX-License-Identifier: Apache-2.0 */
/* The command line and the environment: which command, with what.  Writes to
 * stdout and stderr. */
#ifndef CTL_INVOCATION_H
#define CTL_INVOCATION_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct invocation;

#define INVOCATION_PROGRAM "imageio-fcgi-ctl"

enum invocation_option {
    OPTION_TICKET_DIR,
    OPTION_RUN_DIR,
    OPTION_NBD,
    OPTION_EXPORT,
    OPTION_URI,
    OPTION_FILE,
    OPTION_BITMAP,
    OPTION_READ_ONLY,
    OPTION_TOKEN_FILE,
    OPTION_EXPIRES,
    OPTION_IDLE,
    OPTION_REPLACE,
    OPTION_WAIT,
    OPTION_SOCKET,
    OPTION_ONCE,
    OPTION_COUNT,
};

#define OPTION_BIT(option) (1U << (option))

enum command_id {
    COMMAND_NO_ID,
    COMMAND_ID,
    COMMAND_MAYBE_ID, /* it may be left out */
};

struct command {
    const char *name;
    const char *usage, *help; /* what follows the name; what it does */
    enum command_id takes_id;
    unsigned options; /* OPTION_BIT()s; the first two go with all */
    /* 0, or -1; an error of status 400 is one of the command line. */
    int (*run)(const struct invocation *invocation, struct error *err);
};

struct invocation {
    const struct command *command;
    const char *id; /* path_is_id(); NULL: there is none */
    /* Never empty; NULL: not given.  A flag is its own name.  All is lent by
     * argv and the environment. */
    const char *values[OPTION_COUNT];
};

enum invocation_result {
    INVOCATION_RUN,
    INVOCATION_EXIT,  /* --help or --version was printed */
    INVOCATION_USAGE, /* one line on stderr says what is wrong */
};

enum invocation_result invocation_parse(struct invocation *ret,
                                        const struct command *commands,
                                        size_t count, int argc, char **argv);

static inline bool
invocation_has(const struct invocation *invocation,
               enum invocation_option option)
{
    return invocation->values[option] != NULL;
}

#endif
