/* SPDX-License-Identifier: Apache-2.0 */
/* What the web server's name and version (SERVER_SOFTWARE) tell.  Usable from
 * every thread. */
#ifndef SERVER_WEB_SERVER_H
#define SERVER_WEB_SERVER_H

#include <stdbool.h>

/* software: as it came, or NULL. */
bool web_server_is_lighttpd(const char *software);

/* Warns in the log, once, of a version that is known to fail transfers. */
void web_server_check(const char *software);

#endif
