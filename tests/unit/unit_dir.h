/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of its own for a group of tests, and one file in it. */
#ifndef UNIT_DIR_H
#define UNIT_DIR_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char unit_dir[] = "/tmp/unit.XXXXXX";

/* For cmocka_run_group_tests(). */
static int
unit_dir_make(void **state)
{
    (void)state;
    return mkdtemp(unit_dir) == NULL ? -1 : 0;
}

static int
unit_dir_remove(const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/%s", unit_dir, name);
    unlink(path);
    return rmdir(unit_dir);
}

#endif
