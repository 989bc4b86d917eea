/* SPDX-License-Identifier: Apache-2.0 */
/* Text from outside, on its way to a terminal or into a column.  Writes to the
 * stream that it is given. */
#ifndef CTL_PLAIN_H
#define CTL_PLAIN_H

#include <stdio.h>

/* Writes text, but what could break a line or a column (control characters) as
 * \xNN.  All else stays as it is, so that an id can be copied. */
void plain_print(FILE *out, const char *text);

#endif
