/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one table, from which --help, the variables' names and the
 * parser come. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "imageio-fcgi"
#define VARIABLE_PREFIX "IMAGEIO_FCGI_"
#define WORKERS_MAX 1024
#define WORKERS_SPARE 7 /* beside readers and writers: extents, OPTIONS */
#define TIMEOUT_MAX_S 86400

/* Sets what value says; false if it cannot. */
typedef bool set_option(struct settings *settings, const char *value);

static bool
parse_number(unsigned *ret, const char *value, unsigned min, unsigned max)
{
    unsigned long number;

    errno = 0;
    number = strtoul(value, NULL, 10);
    if (*value == '\0' || value[strspn(value, "0123456789")] != '\0' ||
        errno != 0 || number < min || number > max)
        return false;
    *ret = (unsigned)number;
    return true;
}

static bool
set_ticket_dir(struct settings *settings, const char *value)
{
    settings->config.ticket_dir = value;
    return *value != '\0';
}

static bool
set_run_dir(struct settings *settings, const char *value)
{
    settings->config.limits.run_dir = value;
    return *value != '\0';
}

static bool
set_workers(struct settings *settings, const char *value)
{
    return parse_number(&settings->config.workers, value, 1, WORKERS_MAX);
}

static bool
set_max_readers(struct settings *settings, const char *value)
{
    return parse_number(&settings->config.limits.max_readers, value, 1,
                        LIMITS_SLOTS_MAX);
}

static bool
set_max_writers(struct settings *settings, const char *value)
{
    return parse_number(&settings->config.limits.max_writers, value, 1,
                        LIMITS_SLOTS_MAX);
}

static bool
set_backend_timeout(struct settings *settings, const char *value)
{
    return parse_number(&settings->config.backend_timeout_s, value, 1,
                        TIMEOUT_MAX_S);
}

static bool
set_unix_socket(struct settings *settings, const char *value)
{
    settings->config.unix_socket = value;
    return *value != '\0';
}

static bool
set_log_level(struct settings *settings, const char *value)
{
    return log_parse_level(&settings->log_level, value);
}

static bool
set_log_target(struct settings *settings, const char *value)
{
    settings->log_to_syslog = strcmp(value, "syslog") == 0;
    return settings->log_to_syslog || strcmp(value, "stderr") == 0;
}

static const struct {
    const char *name;
    const char *value; /* what it takes, for --help and messages */
    const char *help;
    set_option *set;
} table[] = {
    {"ticket-dir", "DIR", "where tickets are (/tmp/imagetransfer)",
     set_ticket_dir},
    {"run-dir", "DIR",
     "locks shared by the processes of one server (/run/imageio-fcgi)",
     set_run_dir},
    {"workers", "N",
     "requests served at once (readers + writers + 7, at most 1024)",
     set_workers},
    {"max-readers", "N", "readers at once, over all processes (8)",
     set_max_readers},
    {"max-writers", "N", "writers at once, over all processes (1)",
     set_max_writers},
    {"backend-timeout", "SECONDS",
     "longest time without progress of a backend (60)", set_backend_timeout},
    {"unix-socket", "PATH", "what OPTIONS reports as unix_socket (none)",
     set_unix_socket},
    {"log-level", "error|warning|info|debug", "how much is logged (info)",
     set_log_level},
    {"log-target", "stderr|syslog", "where to (stderr)", set_log_target},
};
#define COUNT (sizeof(table) / sizeof(table[0]))
enum { OPTION_HELP = COUNT, OPTION_VERSION };

static void
print_help(void)
{
    printf("Usage: " PROGRAM " [options]\n"
           "Serves disk images over FastCGI on the listening socket that is "
           "descriptor 0:\n"
           "  spawn-fcgi -n -s /run/imageio-fcgi/fcgi.sock -- "
           "/usr/local/bin/" PROGRAM "\n\n"
           "Options, each also as a variable (--ticket-dir is " VARIABLE_PREFIX
           "TICKET_DIR):\n");
    for (size_t i = 0; i < COUNT; i++)
        printf("  --%s %s\n        %s\n", table[i].name, table[i].value,
               table[i].help);
    printf("  --help\n  --version\n");
}

/* The variable of option i. */
static void
variable_name(char name[64], size_t i)
{
    char *at = stpcpy(name, VARIABLE_PREFIX);

    for (const char *c = table[i].name; *c != '\0'; c++)
        *at++ = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    *at = '\0';
}

/* Sets option i from the command line, or else from its variable; one that is
 * empty is as one that is not there. */
static bool
settle(struct settings *settings, size_t i, const char *value)
{
    char name[64];

    if (value != NULL) {
        snprintf(name, sizeof(name), "--%s", table[i].name);
    } else {
        variable_name(name, i);
        value = getenv(name);
        if (value == NULL || *value == '\0')
            return true;
    }
    if (table[i].set(settings, value))
        return true;
    fprintf(stderr, PROGRAM ": %s: \"%s\" is not a valid %s\n", name, value,
            table[i].value);
    return false;
}

enum options_result
options_parse(struct settings *ret, int argc, char **argv)
{
    struct option options[COUNT + 3] = {
        [OPTION_HELP] = {.name = "help", .val = OPTION_HELP},
        [OPTION_VERSION] = {.name = "version", .val = OPTION_VERSION},
    };
    const char *values[COUNT] = {NULL};
    int i;

    *ret = (struct settings){
        .config = {.ticket_dir = "/tmp/imagetransfer",
                   .limits = {.run_dir = "/run/imageio-fcgi",
                              .max_readers = 8,
                              .max_writers = 1},
                   .backend_timeout_s = 60},
        .log_level = LOG_LEVEL_INFO,
    };
    for (size_t o = 0; o < COUNT; o++)
        options[o] = (struct option){
            .name = table[o].name, .has_arg = required_argument, .val = (int)o};
    while ((i = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (i == OPTION_HELP) {
            print_help();
            return OPTIONS_EXIT;
        }
        if (i == OPTION_VERSION) {
            printf(PROGRAM " " IMAGEIO_VERSION "\n");
            return OPTIONS_EXIT;
        }
        /* '?': getopt_long() has said why, in one line */
        if (i == '?')
            return OPTIONS_USAGE;
        values[i] = optarg;
    }
    if (optind < argc) {
        fprintf(stderr, PROGRAM ": unexpected argument \"%s\"\n", argv[optind]);
        return OPTIONS_USAGE;
    }
    for (size_t o = 0; o < COUNT; o++)
        if (!settle(ret, o, values[o]))
            return OPTIONS_USAGE;
    if (ret->config.workers == 0) {
        const unsigned wanted = ret->config.limits.max_readers +
                                ret->config.limits.max_writers + WORKERS_SPARE;

        ret->config.workers = wanted < WORKERS_MAX ? wanted : WORKERS_MAX;
    }
    return OPTIONS_RUN;
}
