/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line settled; read-only once workers run. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "ticket/limits.h"

struct config {
    const char *ticket_dir;
    struct limits limits;
    unsigned workers;
    unsigned backend_timeout_s;
    const char *unix_socket; /* what OPTIONS reports; NULL: null */
};

#endif
