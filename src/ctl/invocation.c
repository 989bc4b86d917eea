/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: a table of options here, one of commands at the caller's;
 * --help and the parser come from both. */
#include "ctl/invocation.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/plain.h"
#include "http/path.h"

#define GENERAL (OPTION_BIT(OPTION_TICKET_DIR) | OPTION_BIT(OPTION_RUN_DIR))

static const struct {
    const char *name;
    const char *value; /* what it takes, for --help; NULL: nothing */
    const char *help;
    const char *variable, *usual; /* where it is not given; or NULL */
} options[OPTION_COUNT] = {
    [OPTION_TICKET_DIR] = {"ticket-dir", "DIR",
                           "where tickets are (/tmp/imagetransfer)",
                           "IMAGEIO_FCGI_TICKET_DIR", "/tmp/imagetransfer"},
    [OPTION_RUN_DIR] = {"run-dir", "DIR",
                        "the server's run directory (/run/imageio-fcgi)",
                        "IMAGEIO_FCGI_RUN_DIR", "/run/imageio-fcgi"},
    [OPTION_NBD] = {"nbd", "SOCKET", "Unix socket of an NBD server", NULL,
                    NULL},
    [OPTION_EXPORT] = {"export", "NAME", "its export (the server's default)",
                       NULL, NULL},
    [OPTION_URI] = {"uri", "URI", "an NBD server and its export", NULL, NULL},
    [OPTION_FILE] = {"file", "PATH", "a file or block device", NULL, NULL},
    [OPTION_BITMAP] = {"bitmap", "NAME", "a dirty bitmap (none)", NULL, NULL},
    [OPTION_READ_ONLY] = {"read-only", NULL, "nobody may write", NULL, NULL},
    [OPTION_TOKEN_FILE] = {"token-file", "FILE",
                           "holds the token that a client has to show; -: "
                           "standard input",
                           NULL, NULL},
    [OPTION_EXPIRES] = {"expires", "WHEN",
                        "when it ends: +N, +Nm, +Nh, +Nd from now, "
                        "YYYY-MM-DDTHH:MM:SSZ, Unix seconds",
                        NULL, NULL},
    [OPTION_IDLE] = {"idle", "SECONDS",
                     "so long without a request, and it ends (never, for "
                     "serve 600)",
                     NULL, NULL},
    [OPTION_REPLACE] = {"replace", NULL, "there may be one already", NULL,
                        NULL},
    [OPTION_WAIT] = {"wait", NULL, "until no request for it runs", NULL, NULL},
    [OPTION_SOCKET] = {"socket", "PATH", "where to listen", NULL, NULL},
    [OPTION_ONCE] = {"once", NULL, "as lines, and no more than one look", NULL,
                     NULL},
};
enum { OPTION_HELP = OPTION_COUNT, OPTION_VERSION };

static void
print_help(const struct command *commands, size_t count)
{
    printf("Usage: " INVOCATION_PROGRAM " [options] COMMAND [options]\n"
           "Hands out the tickets of imageio-fcgi, and shows what "
           "runs.\n\nCommands:\n");
    for (size_t i = 0; i < count; i++)
        printf("  %s%s\n        %s\n", commands[i].name, commands[i].usage,
               commands[i].help);
    printf("\nOptions; the first two are also variables "
           "(IMAGEIO_FCGI_TICKET_DIR, IMAGEIO_FCGI_RUN_DIR):\n");
    for (size_t i = 0; i < OPTION_COUNT; i++)
        printf("  --%s%s%s\n        %s\n", options[i].name,
               options[i].value != NULL ? " " : "",
               options[i].value != NULL ? options[i].value : "",
               options[i].help);
    printf("  --help\n  --version\n");
}

/* One line, whatever the arguments hold. */
static enum invocation_result __attribute__((format(printf, 1, 2)))
usage(const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fputs(INVOCATION_PROGRAM ": ", stderr);
    plain_print(stderr, text);
    fputc('\n', stderr);
    return INVOCATION_USAGE;
}

/* Collects options; what is none goes to the end of argv, from optind on. */
static enum invocation_result
read_options(struct invocation *ret, const struct command *commands,
             size_t count, int argc, char **argv)
{
    struct option table[OPTION_COUNT + 3] = {
        [OPTION_HELP] = {.name = "help", .val = OPTION_HELP},
        [OPTION_VERSION] = {.name = "version", .val = OPTION_VERSION},
    };
    int i;

    for (int o = 0; o < OPTION_COUNT; o++)
        table[o] = (struct option){
            .name = options[o].name,
            .has_arg =
                options[o].value != NULL ? required_argument : no_argument,
            .val = o,
        };
    while ((i = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (i == OPTION_HELP) {
            print_help(commands, count);
            return INVOCATION_EXIT;
        }
        if (i == OPTION_VERSION) {
            printf(INVOCATION_PROGRAM " " IMAGEIO_VERSION "\n");
            return INVOCATION_EXIT;
        }
        /* '?': getopt_long() has said why, in one line */
        if (i == '?')
            return INVOCATION_USAGE;
        ret->values[i] = optarg != NULL ? optarg : options[i].name;
    }
    return INVOCATION_RUN;
}

static enum invocation_result
read_id(struct invocation *ret, const char *id)
{
    if (id == NULL)
        return usage("%s: the ticket's ID is missing", ret->command->name);
    if (!path_is_id(id, strlen(id)))
        return usage("%s: \"%s\" is not a valid ID", ret->command->name, id);
    ret->id = id;
    return INVOCATION_RUN;
}

static enum invocation_result
read_command(struct invocation *ret, const struct command *commands,
             size_t count, char **words)
{
    size_t i = 0;

    if (words[0] == NULL)
        return usage("which command? --help lists them");
    while (i < count && strcmp(commands[i].name, words[0]) != 0)
        i++;
    if (i == count)
        return usage("unknown command \"%s\"", words[0]);
    ret->command = &commands[i];
    words++;
    if (ret->command->takes_id == COMMAND_ID ||
        (ret->command->takes_id == COMMAND_MAYBE_ID && *words != NULL)) {
        const enum invocation_result result = read_id(ret, *words);

        if (result != INVOCATION_RUN)
            return result;
        words++;
    }
    if (*words != NULL)
        return usage("unexpected argument \"%s\"", *words);
    return INVOCATION_RUN;
}

/* One that is empty is as one that is not there. */
static const char *
unless_given(size_t i)
{
    const char *value =
        options[i].variable != NULL ? getenv(options[i].variable) : NULL;

    return value != NULL && *value != '\0' ? value : options[i].usual;
}

/* Does the command know each option?  Those not given get their usual value. */
static enum invocation_result
settle(struct invocation *ret)
{
    const unsigned known = ret->command->options | GENERAL;

    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const char **value = &ret->values[i];

        if (*value == NULL)
            *value = unless_given(i);
        else if (**value == '\0')
            return usage("--%s: \"\" is not a valid %s", options[i].name,
                         options[i].value);
        else if (!(known & OPTION_BIT(i)))
            return usage("--%s does not go with \"%s\"", options[i].name,
                         ret->command->name);
    }
    return INVOCATION_RUN;
}

enum invocation_result
invocation_parse(struct invocation *ret, const struct command *commands,
                 size_t count, int argc, char **argv)
{
    static char name[] = INVOCATION_PROGRAM;
    enum invocation_result result;

    *ret = (struct invocation){0};
    if (argc > 0)
        argv[0] = name; /* for the lines of getopt_long() */
    result = read_options(ret, commands, count, argc, argv);
    if (result == INVOCATION_RUN)
        result = read_command(ret, commands, count, argv + optind);
    return result == INVOCATION_RUN ? settle(ret) : result;
}
