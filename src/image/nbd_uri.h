/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NBD URIs (the NBD project's doc/uri.md): which scheme one has.  libnbd reads
 * the rest.  Pure.
 */
#ifndef IMAGE_NBD_URI_H
#define IMAGE_NBD_URI_H

#include <stdbool.h>

#define NBD_URI_SCHEMES "nbd, nbds, nbd+unix, nbds+unix" /* for messages */
#define NBD_URI_ALL_SCHEMES (~0U)

/* The bit that stands for the URI's scheme, in any case (RFC 3986 3.1); 0: none
 * that is known here. */
unsigned nbd_uri_scheme(const char *uri);

/* Does it name a Unix socket? */
bool nbd_uri_is_local(const char *uri);

/* Does any of those schemes lead to other hosts? */
bool nbd_uri_has_network(unsigned bits);

/* The bits of a list like "nbd,nbds+unix".  false: something else is in it. */
bool nbd_uri_parse_schemes(unsigned *ret, const char *list);

#endif
