/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line settled; read-only once workers run. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "server/handoff.h"
#include "ticket/limits.h"

struct config {
    const char *ticket_dir;
    unsigned uri_schemes; /* that tickets may use (nbd_uri.h); 0: none */
    struct limits limits;
    unsigned workers;
    unsigned backend_timeout_s;
    unsigned client_timeout_s; /* for the next byte of a body */
    struct handoff handoff;
    const char *unix_socket; /* what OPTIONS reports; NULL: null */
};

#endif
