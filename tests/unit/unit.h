/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test needs: cmocka, and tables of cases. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* cmocka tells the line of a failed assert, but not the row of the table. */
#define assert_row(condition, row)               \
    do {                                         \
        if (!(condition))                        \
            fail_msg("%s: %s", row, #condition); \
    } while (0)

#endif
