/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a file is a ticket depends on who asks: the server wants it to be
 * root's or its own, and has to be able to read it.  So root looks at tickets
 * as the server's user.  Changes the process's effective user and group: one
 * thread.
 */
#ifndef CTL_SERVER_USER_H
#define CTL_SERVER_USER_H

/* From here on the process is the server's user: the owner of its lock file, or
 * while there is none, that of the folder dir_fd.  Does nothing unless root
 * calls it, or where that cannot be. */
void server_user_enter(const char *run_dir, int dir_fd);
void server_user_leave(void); /* root again, if it was */

#endif
