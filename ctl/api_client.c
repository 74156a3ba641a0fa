#include "ctl/api_client.h"

#include "common/base/base64.h"

#include <string.h>

enum { CALL_MS = 10000, REPLY_LIMIT = 8 * 1024 * 1024 };

static const char *authorization(const Ctl *ctl)
{
    const CtlSettings *own = &ctl->settings.ctl;
    if (str_empty(own->username))
        return NULL;
    const char *password = str_or(secret_reveal(own->password), "");
    const char *pair = arena_printf(ctl->arena, "%s:%s", own->username, password);
    return arena_printf(ctl->arena, "Basic %s", base64_of(ctl->arena, pair, strlen(pair)));
}

// "http://10.0.0.1:8008" of "http://10.0.0.1:8008/patroni"
static const char *origin_of(Arena *arena, const char *url)
{
    const char *mark = strstr(url, "://");
    const char *host = mark != NULL ? mark + 3 : url;
    return arena_strndup(arena, url, (size_t)(host - url) + strcspn(host, "/?#"));
}

bool api_call(Ctl *ctl, const char *base, const ApiCall *call, HttpReply *out, Error *err)
{
    const char *url = arena_printf(ctl->arena, "%s%s", origin_of(ctl->arena, base), call->path);
    const HttpRequest request = {
        .method = call->method,
        .url = url,
        .body = call->body != NULL ? tree_to_json(ctl->arena, call->body, JSON_SPACED) : NULL,
        .content_type = call->body != NULL ? "application/json" : NULL,
        .authorization = authorization(ctl),
        .header = "User-Agent: howdahctl/" HOWDAH_VERSION,
        .limit_bytes = REPLY_LIMIT};
    const Deadline deadline =
        deadline_in(ctl->clock, call->timeout_ms > 0 ? call->timeout_ms : CALL_MS);
    return http_call(ctl->http, ctl->arena, &request, deadline, out, err); // it names the URL
}

bool api_call_member(Ctl *ctl, const MemberInfo *member, const ApiCall *call, HttpReply *out,
                     Error *err)
{
    if (ctl->api_url != NULL && str_eq(member->name, ctl->api_member))
        return api_call(ctl, ctl->api_url, call, out, err);
    if (str_empty(member->api_url))
        return error_set(err, ERR_UNAVAILABLE, "member %s has published no api_url", member->name);
    return api_call(ctl, member->api_url, call, out, err);
}

bool api_member_status(Ctl *ctl, const MemberInfo *member, const Tree **out, Error *err)
{
    HttpReply reply;
    const ApiCall call = {.method = "GET", .path = "/patroni"};
    return api_call_member(ctl, member, &call, &reply, err) &&
           tree_parse_json(ctl->arena, reply.body, out, err);
}

bool api_read(Ctl *ctl, const char *base, const char *path, const Tree **out, Error *err)
{
    HttpReply reply;
    const ApiCall call = {.method = "GET", .path = path};
    if (!api_call(ctl, base, &call, &reply, err))
        return false;
    if (reply.status != 200)
        return error_set(err, ERR_INVALID, "GET %s of %s: status %d, %.*s", path, base,
                         reply.status, (int)strcspn(reply.body, "\r\n"), reply.body);
    if (!tree_parse_json(ctl->arena, reply.body, out, err))
        return error_wrap(err, "GET %s of %s", path, base);
    return true;
}
