#include "dcs/kubernetes/answer.h"

#include <string.h>

// --- what was asked for, in the words of RBAC

KubePath kube_path_parse(Arena *arena, const char *path)
{
    enum { PARTS_MAX = 8 };
    const char *parts[PARTS_MAX] = {0};
    size_t count = 0;
    for (const char *s = path; *s != '\0' && count < PARTS_MAX;) {
        s += *s == '/' ? 1 : 0;
        const size_t length = strcspn(s, "/");
        parts[count++] = arena_strndup(arena, s, length);
        s += length;
    }
    // api/v1/… or apis/GROUP/VERSION/…; then [namespaces/NS/]RESOURCE[/NAME].
    const bool core = str_eq(parts[0], "api");
    if (!core && !str_eq(parts[0], "apis"))
        return (KubePath){0};
    size_t at = core ? 2 : 3;
    KubePath out = {.group = core ? "" : str_or(parts[1], "")};
    if (at + 2 < count && str_eq(parts[at], "namespaces")) {
        out.namespace = parts[at + 1];
        at += 2;
    }
    out.resource = at < count ? parts[at] : NULL;
    out.name = at + 1 < count ? parts[at + 1] : NULL;
    return out;
}

const char *kube_method_name(KubeMethod method)
{
    switch (method) {
    case KUBE_GET:
        return "GET";
    case KUBE_POST:
        return "POST";
    case KUBE_PATCH:
        return "PATCH";
    case KUBE_DELETE:
        return "DELETE";
    }
    return "";
}

static const char *verb_of(const KubeRequest *request, const KubePath *path)
{
    switch (request->method) {
    case KUBE_GET:
        return path->name != NULL ? "get" : "list";
    case KUBE_POST:
        return "create";
    case KUBE_PATCH:
        return "patch";
    case KUBE_DELETE:
        return path->name != NULL ? "delete" : "deletecollection";
    }
    return "";
}

// The error's buffer is short: the rule comes first.
const char *kube_forbidden_text(Arena *arena, const char *verb, const char *path)
{
    const KubePath at = kube_path_parse(arena, path);
    if (at.resource == NULL)
        return arena_printf(arena, "forbidden: %s %s", verb, path);
    Text text = text_new(arena);
    text_addf(&text,
              "forbidden: the role needs {apiGroups: [\"%s\"], resources: [%s], verbs: [%s]} for "
              "%s",
              at.group, at.resource, verb, at.resource);
    if (at.name != NULL)
        text_addf(&text, " '%s'", at.name);
    if (at.namespace != NULL)
        text_addf(&text, " in namespace '%s'", at.namespace);
    return text.data;
}

// --- what came back

typedef struct {
    Arena *arena;
    const KubeRequest *request;
    const HttpReply *reply;
    const Tree *document; // NULL: the body is no JSON
    KubeAnswer *out;
} Judge;

static KubeVerdict say(const Judge *judge, KubeVerdict verdict, const char *what)
{
    const char *message = tree_get_string(judge->document, "message", NULL);
    judge->out->text = message == NULL ? arena_printf(judge->arena, "%s (HTTP status %d)", what,
                                                      judge->reply->status)
                                       : arena_printf(judge->arena, "%s (HTTP status %d): %.160s",
                                                      what, judge->reply->status, message);
    return verdict;
}

static KubeVerdict judge_success(const Judge *judge)
{
    // A server of the API answers in JSON; who does not may be something in between.
    if (judge->document == NULL || judge->document->kind != TREE_MAP)
        return say(judge, KUBE_UNKNOWN, "the answer is no JSON object");
    judge->out->body = judge->document;
    return KUBE_DONE;
}

// The object, its namespace, or the whole kind may be what is not there.
static KubeVerdict judge_missing(const Judge *judge)
{
    const Tree *details = tree_get(judge->document, "details");
    const char *name = tree_get_string(details, "name", NULL);
    const char *kind = tree_get_string(details, "kind", NULL);
    if (str_empty(name))
        return say(judge, KUBE_REFUSED, "this API server does not have such a path");
    if (str_eq(kind, "namespaces"))
        return say(judge, KUBE_REFUSED, "the namespace does not exist");
    switch (judge->request->method) {
    case KUBE_GET:
    case KUBE_DELETE:
        return say(judge, KUBE_ABSENT, "not there");
    case KUBE_PATCH:
        return say(judge, KUBE_LOST, "not there any more");
    case KUBE_POST:
        break;
    }
    return say(judge, KUBE_REFUSED, "not found");
}

// By the role, whose refusal names what "cannot" be done, or by a policy that looks at the object.
static KubeVerdict judge_forbidden(const Judge *judge)
{
    const KubePath path = kube_path_parse(judge->arena, judge->request->path);
    const char *message = tree_get_string(judge->document, "message", "");
    if (message[0] != '\0' && strstr(message, " cannot ") == NULL)
        return say(judge, KUBE_FORBIDDEN, "forbidden by a policy");
    judge->out->text =
        kube_forbidden_text(judge->arena, verb_of(judge->request, &path), judge->request->path);
    return KUBE_FORBIDDEN;
}

// Who is too busy, or cannot reach etcd. What of a write has come through, a 5xx leaves open.
static bool is_retriable(int status, const int *codes, size_t code_count)
{
    static const int known[] = {429, 500, 502, 503, 504};
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (known[i] == status)
            return true;
    for (size_t i = 0; i < code_count; i++)
        if (codes[i] == status)
            return true;
    return false;
}

KubeVerdict kube_judge(Arena *arena, const KubeRequest *request, const HttpReply *reply,
                       const int *codes, size_t code_count, KubeAnswer *out)
{
    const int status = reply->status;
    Judge judge = {.arena = arena, .request = request, .reply = reply, .out = out};
    Error ignored = {0};
    *out = (KubeAnswer){.text = ""};
    if (!tree_parse_json(arena, reply->body, &judge.document, &ignored))
        judge.document = NULL;

    if (status >= 200 && status <= 205)
        return judge_success(&judge);
    if (status == 404)
        return judge_missing(&judge);
    if (status == 409)
        return say(&judge, KUBE_LOST, "conflict");
    if (status == 410)
        return say(&judge, KUBE_LOST, "too old a version");
    if (status == 401)
        return say(&judge, KUBE_UNAUTHORIZED, "our credentials are not accepted");
    if (reply->retry_after_ms > 0 || is_retriable(status, codes, code_count)) {
        out->wait_ms = reply->retry_after_ms;
        return say(&judge, status >= 500 ? KUBE_OPEN : KUBE_BUSY, "not served at the moment");
    }
    if (status == 403)
        return judge_forbidden(&judge);
    if (status >= 500)
        return say(&judge, KUBE_UNKNOWN, "the server failed");
    return say(&judge, KUBE_REFUSED, "refused");
}
