/* SPDX-License-Identifier: Apache-2.0 */
/* The command line and the environment, as settings.  Writes to stdout and
 * stderr; before any thread. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>

#include "base/log.h"
#include "server/config.h"

struct settings {
    struct config config; /* strings are lent by argv and the environment */
    unsigned nbd_idle_s; /* 0: connections to NBD servers are not kept */
    enum log_level log_level;
    bool log_to_syslog;
    const char *user;        /* to serve as; NULL: not said */
    const char *image_roots; /* "DIR:DIR..."; NULL: none */
    bool no_sandbox;
};

enum options_result {
    OPTIONS_RUN,
    OPTIONS_EXIT,  /* --help or --version was printed */
    OPTIONS_USAGE, /* one line on stderr says what is wrong */
};

/* Defaults, then IMAGEIO_FCGI_* variables, then options. */
enum options_result options_parse(struct settings *ret, int argc, char **argv);

#endif
