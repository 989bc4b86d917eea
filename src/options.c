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

#include "image/nbd_uri.h"
#include "privilege.h"

#define PROGRAM "imageio-fcgi"
#define VARIABLE_PREFIX "IMAGEIO_FCGI_"
#define WORKERS_MAX 1024
#define WORKERS_SPARE 7 /* beside readers and writers: extents, OPTIONS */
#define TIMEOUT_MAX_S 86400
#define NBD_IDLE_MAX_S 3600
#define NBD_IDLE_S 1 /* longer than a client's pause between two requests */

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
set_image_root(struct settings *settings, const char *value)
{
    settings->image_roots = value;
    while (*value == '/') {
        value = strchrnul(value, ':');
        if (*value == '\0')
            return true;
        value++;
    }
    return false;
}

static bool
set_user(struct settings *settings, const char *value)
{
    settings->user = value;
    return *value != '\0';
}

static bool
set_sandbox(struct settings *settings, const char *value)
{
    settings->no_sandbox = strcmp(value, "off") == 0;
    return settings->no_sandbox || strcmp(value, "auto") == 0;
}

static bool
set_allow_uri(struct settings *settings, const char *value)
{
    return nbd_uri_parse_schemes(&settings->config.uri_schemes, value);
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
set_limit_scope(struct settings *settings, const char *value)
{
    settings->config.limits.per_image = strcmp(value, "image") == 0;
    return settings->config.limits.per_image || strcmp(value, "server") == 0;
}

static bool
set_queue_timeout(struct settings *settings, const char *value)
{
    return parse_number(&settings->config.limits.queue_timeout_s, value, 0,
                        TIMEOUT_MAX_S);
}

static bool
set_backend_timeout(struct settings *settings, const char *value)
{
    return parse_number(&settings->config.backend_timeout_s, value, 1,
                        TIMEOUT_MAX_S);
}

static bool
set_client_timeout(struct settings *settings, const char *value)
{
    return parse_number(&settings->config.client_timeout_s, value, 1,
                        TIMEOUT_MAX_S);
}

static bool
set_nbd_idle(struct settings *settings, const char *value)
{
    return parse_number(&settings->nbd_idle_s, value, 0, NBD_IDLE_MAX_S);
}

static bool
set_file_handoff(struct settings *settings, const char *value)
{
    return handoff_parse(&settings->config.handoff, value);
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
    {"image-root", "DIR[:DIR]...",
     "tickets name files and sockets below these folders only; repeatable "
     "(anywhere)",
     set_image_root},
    {"allow-uri", "SCHEME[,SCHEME]...",
     "let tickets name NBD servers by URIs: nbd, nbds, nbd+unix, nbds+unix "
     "(none)",
     set_allow_uri},
    {"run-dir", "DIR",
     "locks shared by the processes of one server (/run/imageio-fcgi)",
     set_run_dir},
    {"user", "NAME",
     "as whom to serve when started by root (" PRIVILEGE_USER ")", set_user},
    {"sandbox", "auto|off",
     "restrict the process to what serving needs, as far as the kernel can "
     "(auto)",
     set_sandbox},
    {"workers", "N",
     "requests served at once (readers + writers + 7, at most 1024)",
     set_workers},
    {"max-readers", "N", "readers at once, over all processes (8)",
     set_max_readers},
    {"max-writers", "N", "writers at once, over all processes (1)",
     set_max_writers},
    {"limit-scope", "server|image",
     "whether those limits are over all images or for each (server)",
     set_limit_scope},
    {"queue-timeout", "SECONDS",
     "how long a request waits for a slot or lock before it is refused (0)",
     set_queue_timeout},
    {"backend-timeout", "SECONDS",
     "longest time without progress of a backend (60)", set_backend_timeout},
    {"client-timeout", "SECONDS",
     "longest time without a byte of an upload (300)", set_client_timeout},
    {"nbd-idle", "SECONDS",
     "how long an unused connection to an NBD server is kept; 0: not (1)",
     set_nbd_idle},
    {"file-handoff", "nginx=/PREFIX|lighttpd",
     "let the web server send file images by itself (no)", set_file_handoff},
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
        *at++ = (char)(*c == '-' ? '_' : toupper((unsigned char)*c));
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

/* What an option that may come again has so far, and value.  Kept to the end,
 * as settings borrow it. */
static const char *
join(const char *so_far, const char *value)
{
    static char *joined;
    char *longer;

    if (asprintf(&longer, "%s:%s", so_far, value) == -1)
        abort();
    free(joined);
    joined = longer;
    return joined;
}

/* A request that waits keeps a worker as well: as many again. */
static unsigned
usual_workers(const struct limits *limits)
{
    const unsigned slots = limits->max_readers + limits->max_writers;
    const unsigned wanted =
        (limits->queue_timeout_s > 0 ? 2 * slots : slots) + WORKERS_SPARE;

    return wanted < WORKERS_MAX ? wanted : WORKERS_MAX;
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
                   .backend_timeout_s = 60,
                   .client_timeout_s = 300},
        .nbd_idle_s = NBD_IDLE_S,
        .log_level = LOG_LEVEL_INFO,
    };
    for (size_t o = 0; o < COUNT; o++)
        options[o] = (struct option){
            .name = table[o].name, .has_arg = required_argument, .val = (int)o};
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): before there are threads. */
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
        values[i] = values[i] != NULL && table[i].set == set_image_root
                        ? join(values[i], optarg)
                        : optarg;
    }
    if (optind < argc) {
        fprintf(stderr, PROGRAM ": unexpected argument \"%s\"\n", argv[optind]);
        return OPTIONS_USAGE;
    }
    for (size_t o = 0; o < COUNT; o++)
        if (!settle(ret, o, values[o]))
            return OPTIONS_USAGE;
    ret->config.limits.block_timeout_s =
        ret->config.limits.queue_timeout_s > ret->config.backend_timeout_s
            ? ret->config.limits.queue_timeout_s
            : ret->config.backend_timeout_s;
    if (ret->config.workers == 0)
        ret->config.workers = usual_workers(&ret->config.limits);
    return OPTIONS_RUN;
}
