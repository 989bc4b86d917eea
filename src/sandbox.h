/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process may still do once it has started, whatever a fault in it
 * lets somebody try: no new privileges, the system calls that serving needs
 * and no others (seccomp), and with --image-root no files but those that it
 * needs (landlock).  For good, and for every thread.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>

struct error;

struct sandbox {
    const char *ticket_dir; /* to be read */
    const char *run_dir;    /* to be written, like the image roots */
    bool with_network;      /* tickets may name servers on other hosts */
};

/* Both log what is in force; what the kernel does not have is done without,
 * with a warning.  500 if the kernel has it and it fails all the same. */

/* No new privileges, and with image roots no other files: before other threads
 * start, as the user who serves. */
int sandbox_restrict(const struct sandbox *sandbox, struct error *err);

/* No other system calls: once all threads have started, since none can
 * afterwards, and before anything is served. */
int sandbox_filter(const struct sandbox *sandbox, struct error *err);

#endif
