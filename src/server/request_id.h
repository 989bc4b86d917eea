/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name of a request in logs and in the status: the web server's, where it
 * gives a REQUEST_ID, so that its log and ours can be read together; else one
 * of our own.  Usable from every thread.
 */
#ifndef SERVER_REQUEST_ID_H
#define SERVER_REQUEST_ID_H

#define REQUEST_ID_SIZE 65 /* bytes, NUL included */

/* given: what the web server says, or NULL.  One that is empty, long or not of
 * letters, digits, '-', '_' and '.' is not taken. */
void request_id_init(char ret[REQUEST_ID_SIZE], const char *given);

#endif
