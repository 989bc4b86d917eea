/* SPDX-License-Identifier: Apache-2.0 */
/* A request out of the FastCGI environment. */
#include "http/request.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"

/* A header that came twice is one with both values, a comma between them (RFC
 * 9110 5.3): no single value is meant, and no parser here takes one. */
#define TWICE ", "
#define BEARER "Bearer"

static const char *
variable(char **variables, const char *name)
{
    const size_t length = strlen(name);
    const char *value = NULL;

    for (char **at = variables; *at != NULL; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            value = value == NULL ? *at + length + 1 : TWICE;
    return value;
}

static const char *
variable_or_empty(char **variables, const char *name)
{
    const char *value = variable(variables, name);

    return value != NULL ? value : "";
}

/* lighttpd says "0" where the client said nothing, and a PUT of nothing would
 * empty a file: a length of 0 has to be the client's word.  Its variable is
 * made of a field like Content_Length as well, whose number means nothing. */
static const char *
length_text(char **variables)
{
    const char *text = variable_or_empty(variables, "CONTENT_LENGTH");
    const char *said = variable_or_empty(variables, "HTTP_CONTENT_LENGTH");

    if (strcmp(text, "0") == 0 &&
        (*said == '\0' || said[strspn(said, "0")] != '\0'))
        return "";
    return text;
}

void
request_init(struct request *ret, char **variables)
{
    *ret = (struct request){
        .method = variable_or_empty(variables, "REQUEST_METHOD"),
        .query = variable_or_empty(variables, "QUERY_STRING"),
        .content_type = variable_or_empty(variables, "CONTENT_TYPE"),
        .range = variable(variables, "HTTP_RANGE"),
        .content_range = variable(variables, "HTTP_CONTENT_RANGE"),
        .if_match = variable(variables, "HTTP_IF_MATCH"),
        .if_none_match = variable(variables, "HTTP_IF_NONE_MATCH"),
        .if_modified_since = variable(variables, "HTTP_IF_MODIFIED_SINCE"),
        .if_unmodified_since = variable(variables, "HTTP_IF_UNMODIFIED_SINCE"),
        .if_range = variable(variables, "HTTP_IF_RANGE"),
        .authorization = variable(variables, "HTTP_AUTHORIZATION"),
        .client = variable_or_empty(variables, "REMOTE_ADDR"),
        .id = variable(variables, "REQUEST_ID"),
        .length_text = length_text(variables),
        .is_chunked = *variable_or_empty(variables, "HTTP_TRANSFER_ENCODING"),
    };
    path_split(&ret->path, variable_or_empty(variables, "PATH_INFO"));
}

bool
request_is_head(const struct request *request)
{
    return strcmp(request->method, "HEAD") == 0;
}

bool
request_is_get_or_head(const struct request *request)
{
    return strcmp(request->method, "GET") == 0 || request_is_head(request);
}

bool
request_has_type(const struct request *request, const char *type)
{
    const char *start = request->content_type;
    size_t length;

    start += strspn(start, " \t");
    length = strcspn(start, "; \t");
    return length == strlen(type) && strncasecmp(start, type, length) == 0;
}

const char *
request_token(const struct request *request)
{
    const char *text = request->authorization;
    const size_t length = strlen(BEARER);

    /* The scheme's case does not matter (RFC 9110 11.1). */
    if (text == NULL || strncasecmp(text, BEARER, length) != 0 ||
        text[length] != ' ')
        return NULL;
    return text + length + strspn(text + length, " ");
}

int
request_length(const struct request *request, uint64_t *ret, struct error *err)
{
    const char *text = request->length_text;
    unsigned long long value;

    if (request->is_chunked || *text == '\0')
        return error_set(err, 400, "Content-Length required");
    errno = 0;
    value = strtoull(text, NULL, 10);
    if (text[strspn(text, "0123456789")] != '\0' || errno == ERANGE)
        return error_set(err, 400, "Invalid Content-Length");
    *ret = value;
    return 0;
}
