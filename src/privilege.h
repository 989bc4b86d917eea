/* SPDX-License-Identifier: Apache-2.0 */
/* The user as whom requests are served.  Before any thread starts. */
#ifndef PRIVILEGE_H
#define PRIVILEGE_H

struct error;

#define PRIVILEGE_USER "imageio" /* who serves if root starts the program */

/* Root becomes the user name (NULL: PRIVILEGE_USER) with its groups, for good;
 * before that it makes run_dir for that user if it is missing.  "root" stays
 * root.  Who is not root can only name itself.  500 if there is no such user,
 * or it cannot be done. */
int privilege_drop(const char *name, const char *run_dir, struct error *err);

#endif
