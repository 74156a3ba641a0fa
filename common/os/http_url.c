#include "common/os/http.h"

#include "common/base/text.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

static void url_release(CURLU **url)
{
    curl_url_cleanup(*url);
}

static const char *part(CURLU *url, CURLUPart which, unsigned flags, Arena *arena)
{
    char *text = NULL;
    if (curl_url_get(url, which, &text, flags) != CURLUE_OK)
        return NULL;
    const char *copy = arena_strdup(arena, text);
    curl_free(text);
    return copy;
}

bool http_parse_url(Arena *arena, const char *text, HttpUrl *out, Error *err)
{
    AUTO(url_release) CURLU *url = curl_url();
    ASSERT(url != NULL); // out of memory
    const char *shown = str_empty(text) ? "(empty)" : text;
    if (str_empty(text) || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
        return error_set(err, ERR_INVALID, "not a URL like http://host:port/path: %s", shown);

    HttpUrl parsed = {
        .scheme = part(url, CURLUPART_SCHEME, 0, arena),
        .host = part(url, CURLUPART_HOST, 0, arena),
        .path = part(url, CURLUPART_PATH, 0, arena),
    };
    parsed.tls = str_ieq(parsed.scheme, "https");
    if (!parsed.tls && !str_ieq(parsed.scheme, "http"))
        return error_set(err, ERR_INVALID, "URL must start with http:// or https://: %s", shown);

    int64_t port;
    if (str_empty(parsed.host) || str_empty(parsed.path) ||
        !parse_int64(part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, arena), &port) || port < 1 ||
        port > 65535)
        return error_set(err, ERR_INVALID, "URL without a host or with a bad port: %s", shown);
    parsed.port = (int)port;

    const size_t length = strlen(parsed.host);
    if (parsed.host[0] == '[' && parsed.host[length - 1] == ']')
        parsed.host = arena_strndup(arena, parsed.host + 1, length - 2);
    *out = parsed;
    return true;
}
