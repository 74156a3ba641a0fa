#include "api/reply.h"

#include <stdlib.h>
#include <string.h>

struct Reply {
    int refs; // atomic
    struct MHD_Response *response;
};

static Reply *wrap(struct MHD_Response *response)
{
    ASSERT(response != NULL); // allocation is all that can fail
    Reply *reply = calloc(1, sizeof *reply);
    ASSERT(reply != NULL);
    *reply = (Reply){.refs = 1, .response = response};
    return reply;
}

static struct MHD_Response *body_of(const char *body)
{
    // libmicrohttpd copies it and takes it for writable only with another mode.
    return MHD_create_response_from_buffer(strlen(body), (void *)(uintptr_t)body,
                                           MHD_RESPMEM_MUST_COPY);
}

static void add(struct MHD_Response *response, const char *name, const char *value)
{
    // False for what libmicrohttpd keeps to itself; the reply goes out without it.
    (void)MHD_add_response_header(response, name, value);
}

Reply *reply_new_with(const Policy *policy, const char *content_type, const char *body,
                      const char *header, const char *value)
{
    struct MHD_Response *response = body_of(body);
    ASSERT(response != NULL);
    add(response, MHD_HTTP_HEADER_SERVER, "Howdah/" HOWDAH_VERSION);
    add(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type != NULL ? content_type : "text/html");
    if (header != NULL)
        add(response, header, value);
    for (size_t i = 0; i < policy->header_count; i++)
        add(response, policy->headers[i].name, policy->headers[i].value);
    return wrap(response);
}

Reply *reply_new(const Policy *policy, const char *content_type, const char *body)
{
    return reply_new_with(policy, content_type, body, NULL, NULL);
}

// What happened, for people. patronictl looks for the words of 501.
static const struct {
    int status;
    const char *reason, *sentence;
} pages[] = {
    {400, "Bad Request", "The body must be a JSON object that is not empty"},
    {409, "Conflict", "It has been changed by somebody else meanwhile"},
    {411, "Length Required", "The request must have a Content-Length"},
    {413, "Content Too Large", "The body must not be larger than 1 MiB"},
    {501, "Not Implemented", "Server does not support this operation"},
    {502, "Bad Gateway", "The store does not have it, or what it has cannot be used"},
    {503, "Service Unavailable", "The store does not answer, or the agent is not ready yet"},
};

Reply *reply_page(int status)
{
    size_t i = 0;
    while (pages[i].status != status) {
        i++;
        ASSERT(i < COUNT_OF(pages));
    }
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const char *body = arena_printf(
        arena,
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>%d %s</title></head>\n"
        "<body><h1>%d %s</h1><p>%s.</p></body></html>\n",
        status, pages[i].reason, status, pages[i].reason, pages[i].sentence);
    struct MHD_Response *response = body_of(body);
    ASSERT(response != NULL);
    add(response, MHD_HTTP_HEADER_SERVER, "Howdah/" HOWDAH_VERSION);
    add(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/html;charset=utf-8");
    add(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return wrap(response);
}

Reply *reply_empty(void)
{
    return wrap(body_of(""));
}

Reply *reply_ref(Reply *reply)
{
    (void)__atomic_add_fetch(&reply->refs, 1, __ATOMIC_RELAXED); // nobody needs the count
    return reply;
}

void reply_unref(Reply *reply)
{
    if (reply == NULL || __atomic_sub_fetch(&reply->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    MHD_destroy_response(reply->response); // connections still sending it hold their own count
    free(reply);
}

void reply_release(Reply **reply)
{
    reply_unref(*reply);
    *reply = NULL;
}

enum MHD_Result reply_send(struct MHD_Connection *connection, int status, const Reply *reply)
{
    return MHD_queue_response(connection, (unsigned)status, reply->response);
}
