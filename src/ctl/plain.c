/* SPDX-License-Identifier: Apache-2.0 */
/* Printing text that could hold anything. */
#include "ctl/plain.h"

void
plain_print(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;

        if (c < ' ' || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
}
