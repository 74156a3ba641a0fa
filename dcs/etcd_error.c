// What etcd's error bodies mean. By the exact text first, because one gRPC code covers both
// "nothing happened" and "something may have"; then by the code.
#include "common/base/text.h"
#include "dcs/etcd_http.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    EtcdVerdict verdict;
} by_text[] = {
    {"etcdserver: requested lease not found", ETCD_SAYS_LEASE_GONE},
    {"etcdserver: user name is empty", ETCD_SAYS_AUTHENTICATE},
    {"etcdserver: revision of auth store is old", ETCD_SAYS_AUTHENTICATE},
    {"etcdserver: permission denied", ETCD_SAYS_AUTHENTICATE},
    {"etcdserver: invalid auth token", ETCD_SAYS_AUTHENTICATE},
    {"etcdserver: authentication failed, invalid user ID or password", ETCD_SAYS_INVALID},
    {"etcdserver: authentication is not enabled", ETCD_SAYS_NO_AUTH},
    {"etcdserver: mvcc: database space exceeded", ETCD_SAYS_FULL},
    // Refused before they were proposed to the cluster.
    {"etcdserver: no leader", ETCD_SAYS_RETRY},
    {"etcdserver: too many requests", ETCD_SAYS_RETRY},
    {"etcdserver: rpc not supported for learner", ETCD_SAYS_RETRY},
    // etcd lost its leader and labels it code 2.
    {"not a primary lessor", ETCD_SAYS_UNKNOWN},
    {"context deadline exceeded", ETCD_SAYS_UNKNOWN},
};

static const struct {
    int64_t code; // google.golang.org/grpc/codes
    EtcdVerdict verdict;
} by_code[] = {
    {3, ETCD_SAYS_INVALID},       // InvalidArgument
    {5, ETCD_SAYS_INVALID},       // NotFound
    {7, ETCD_SAYS_AUTHENTICATE},  // PermissionDenied
    {8, ETCD_SAYS_RETRY},         // ResourceExhausted
    {9, ETCD_SAYS_RETRY},         // FailedPrecondition
    {12, ETCD_SAYS_INVALID},      // Unimplemented
    {16, ETCD_SAYS_AUTHENTICATE}, // Unauthenticated
};

static EtcdVerdict judge(int64_t code, const char *text)
{
    for (size_t i = 0; i < COUNT_OF(by_text); i++) {
        if (str_eq(text, by_text[i].text))
            return by_text[i].verdict;
    }
    for (size_t i = 0; i < COUNT_OF(by_code); i++) {
        if (code == by_code[i].code)
            return by_code[i].verdict;
    }
    return ETCD_SAYS_UNKNOWN;
}

// {"error": text, "code": …, "message": …} or {"error": {"grpc_code" or "code", "message"}}.
EtcdVerdict etcd_error_of(const Tree *document, const char **out_text)
{
    const Tree *error = tree_get(document, "error");
    if (error == NULL)
        error = tree_get(document, "Error");
    if (error == NULL)
        return ETCD_SAYS_OK;
    const Tree *fields = error->kind == TREE_MAP ? error : document;
    const char *text = tree_get_string(fields, "message", NULL);
    if (text == NULL)
        text = error->kind == TREE_STRING ? error->text : "error without a text";
    int64_t code = tree_get_int(fields, "grpc_code", 0);
    if (code == 0)
        code = tree_get_int(fields, "code", tree_get_int(fields, "Code", 2));
    *out_text = text;
    return judge(code, text);
}

EtcdVerdict etcd_read_error(Arena *arena, int http_status, const char *body, const char **out_text)
{
    const Tree *document = NULL;
    Error ignored = {0};
    if (tree_parse_json(arena, body, &document, &ignored)) {
        const EtcdVerdict verdict = etcd_error_of(document, out_text);
        if (verdict != ETCD_SAYS_OK)
            return verdict;
    }
    // Not etcd's own words: a proxy in front of it, or not etcd at all. A 4xx is a refusal.
    *out_text = arena_printf(arena, "HTTP status %d", http_status);
    return http_status >= 400 && http_status < 500 ? ETCD_SAYS_RETRY : ETCD_SAYS_UNKNOWN;
}

// --- cutting a stream into documents

enum { DOCUMENT_MAX = 8 * 1024 * 1024 };

static bool keep(EtcdSplitter *splitter, char c)
{
    if (splitter->length >= DOCUMENT_MAX)
        return false;
    if (splitter->length + 1 >= splitter->capacity) {
        const size_t capacity = splitter->capacity == 0 ? 4096 : splitter->capacity * 2;
        char *data = realloc(splitter->data, capacity);
        ASSERT(data != NULL); // out of memory
        splitter->data = data;
        splitter->capacity = capacity;
    }
    splitter->data[splitter->length++] = c;
    splitter->data[splitter->length] = '\0';
    return true;
}

static void follow(EtcdSplitter *splitter, char c)
{
    if (splitter->in_string) {
        if (splitter->escaped)
            splitter->escaped = false;
        else if (c == '\\')
            splitter->escaped = true;
        else if (c == '"')
            splitter->in_string = false;
        return;
    }
    if (c == '"')
        splitter->in_string = true;
    else if (c == '{' || c == '[')
        splitter->depth++;
    else if (c == '}' || c == ']')
        splitter->depth--;
}

bool etcd_split(EtcdSplitter *splitter, const char *bytes, size_t length, EtcdDocument *on_document,
                void *context)
{
    for (size_t i = 0; i < length; i++) {
        const char c = bytes[i];
        if (splitter->length == 0) { // between documents
            if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
                continue;
            if (c != '{')
                return false;
        }
        if (c == '\0' || !keep(splitter, c))
            return false;
        follow(splitter, c);
        if (splitter->depth > 0)
            continue;
        const bool go_on = on_document(context, splitter->data);
        splitter->length = 0;
        splitter->depth = 0;
        if (!go_on)
            return false;
    }
    return true;
}

void etcd_splitter_done(EtcdSplitter *splitter)
{
    free(splitter->data);
    *splitter = (EtcdSplitter){0};
}
