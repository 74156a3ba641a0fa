#include "dcs/kubernetes/client.h"

#include "common/os/log.h"
#include "common/os/retry.h"
#include "dcs/kubernetes/answer.h"

#include <string.h>

enum {
    AUTHENTICATIONS_MAX = 1, // further tries with a token that was read anew, in one call
    TRY_FLOOR_MS = 1000,     // a try shorter than this fails on a slow day
    SHORT_TRY_FLOOR_MS = 100,
    SHORT_TRY_MAX_MS = 500,
    CONNECT_FLOOR_MS = 250,
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 1000,
    STREAM_ANSWER_MS = 5000,   // within which a server accepts a watch or refuses it
    FAST_TTL_BELOW_MS = 20000, // Patroni's minimum: below it, timers are the fast ones
};

// --- what the clients share

void kube_shared_init(KubeShared *shared, Clock *clock, Resolver *resolver, KubeAccess *access,
                      const KubernetesSettings *settings)
{
    *shared = (KubeShared){.clock = clock,
                           .resolver = resolver,
                           .access = access,
                           .servers_generation = 1,
                           .timers_generation = 1,
                           .bypass = settings != NULL && settings->bypass_api_service};
    const size_t count = settings == NULL ? 0 : settings->retriable_http_code_count;
    for (size_t i = 0; i < count && i < KUBE_CODES_MAX; i++)
        shared->codes[shared->code_count++] = settings->retriable_http_codes[i];
    const int failed = pthread_mutex_init(&shared->mutex, NULL);
    ASSERT(failed == 0);
}

void kube_shared_done(KubeShared *shared)
{
    pthread_mutex_destroy(&shared->mutex);
}

void kube_shared_set_timers(KubeShared *shared, int64_t ttl_ms, int64_t loop_wait_ms,
                            int64_t retry_timeout_ms)
{
    pthread_mutex_lock(&shared->mutex);
    if (shared->ttl_ms != ttl_ms || shared->loop_wait_ms != loop_wait_ms ||
        shared->retry_timeout_ms != retry_timeout_ms)
        shared->timers_generation++;
    shared->ttl_ms = ttl_ms;
    shared->loop_wait_ms = loop_wait_ms;
    shared->retry_timeout_ms = retry_timeout_ms;
    pthread_mutex_unlock(&shared->mutex);
    atomic_store(&shared->short_tries, ttl_ms < FAST_TTL_BELOW_MS);
}

static bool add_server(KubeServers *list, const char *url)
{
    if (list->count >= KUBE_SERVERS_MAX ||
        !copy_text(list->url[list->count], KUBE_SERVER_SIZE, url))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(list->url[i], list->url[list->count]))
            return false;
    list->count++;
    return true;
}

// --- a client

void kube_client_init(KubeClient *client, KubeShared *shared)
{
    *client = (KubeClient){
        .shared = shared,
        .http = http_new(shared->resolver, NULL),
        .scratch = arena_new(ARENA_CAP_DEFAULT),
        .kept = arena_new(ARENA_CAP_DEFAULT),
        .rng = rng_from_os(),
    };
}

void kube_client_done(KubeClient *client)
{
    http_release(&client->http);
    arena_release(&client->scratch);
    arena_release(&client->kept);
}

// Certificates that were replaced, timers that were changed.
static void refresh_options(KubeClient *client)
{
    KubeShared *shared = client->shared;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    HttpOptions tls = {0};
    const bool tls_changed = kube_access_tls(shared->access, &client->tls_generation, arena, &tls);
    if (tls_changed) {
        Arena *old = client->kept;
        client->tls = tls;
        client->kept = TAKE(arena);
        arena_free(old);
    }
    pthread_mutex_lock(&shared->mutex);
    const bool timers_changed = client->timers_generation != shared->timers_generation;
    client->timers_generation = shared->timers_generation;
    const int64_t connect_ms = shared->retry_timeout_ms / 4;
    HttpOptions options = client->tls;
    options.keepalive_idle_ms = shared->loop_wait_ms + shared->retry_timeout_ms;
    options.tcp_user_timeout_ms = shared->ttl_ms;
    if (connect_ms > 0)
        options.connect_ms = connect_ms > CONNECT_FLOOR_MS ? connect_ms : CONNECT_FLOOR_MS;
    pthread_mutex_unlock(&shared->mutex);
    if (tls_changed || timers_changed)
        http_set_options(client->http, &options);
}

static void shuffle(KubeServers *servers, Rng *rng)
{
    for (size_t i = servers->count; i > 1; i--) {
        const size_t k = (size_t)rng_below(rng, i);
        char swapped[KUBE_SERVER_SIZE];
        memcpy(swapped, servers->url[k], sizeof swapped);
        memcpy(servers->url[k], servers->url[i - 1], sizeof swapped);
        memcpy(servers->url[i - 1], swapped, sizeof swapped);
    }
}

// Takes the shared list over when it has changed, and stays with the server it has if it can. The
// service's own address stands in when there are no others, and helps out when these have failed.
static void refresh_servers(KubeClient *client, bool all)
{
    KubeShared *shared = client->shared;
    char url[KUBE_SERVER_SIZE] = "";
    if (client->current < client->servers.count)
        (void)copy_text(url, sizeof url, client->servers.url[client->current]); // it fits

    pthread_mutex_lock(&shared->mutex);
    const bool changed = client->servers_generation != shared->servers_generation;
    if (changed) {
        client->servers = shared->direct;
        client->servers_generation = shared->servers_generation;
    }
    pthread_mutex_unlock(&shared->mutex);
    if (changed)
        shuffle(&client->servers, &client->rng);
    const char *service = kube_access_server(shared->access);
    if (client->servers.count == 0 || all)
        (void)add_server(&client->servers, service); // false: it is in the list
    if (!changed)
        return;
    client->current = 0;
    for (size_t i = 0; i < client->servers.count; i++)
        if (str_eq(client->servers.url[i], url))
            client->current = i;
}

static void refresh(KubeClient *client, bool all)
{
    refresh_options(client);
    refresh_servers(client, all);
}

void kube_client_next_server(KubeClient *client)
{
    if (client->servers.count > 0)
        client->current = (client->current + 1) % client->servers.count;
}

// Direct addresses are not in the certificates of some clusters.
static bool is_direct(const KubeClient *client, const char *server)
{
    return !str_eq(server, kube_access_server(client->shared->access));
}

static const char *url_of(Arena *arena, const char *server, const char *path, const char *query)
{
    return arena_printf(arena, "%s%s%s%s", server, path, query == NULL ? "" : "?",
                        str_or(query, ""));
}

// --- one try at one server

typedef struct {
    const KubeRequest *request;
    Deadline deadline;
    Arena *arena; // the caller's
    bool unknown; // an earlier copy may have been applied
    int authentications;
    int64_t wait_ms; // the last answer asked for
    KubeReply *out;
    Error *err;
} Call;

static int64_t left_ms(const KubeClient *client, Deadline deadline)
{
    return deadline_left_ms(deadline, clock_now(client->shared->clock));
}

static ErrorKind kind_of(KubeVerdict verdict, const KubeRequest *request)
{
    switch (verdict) {
    case KUBE_DONE:
    case KUBE_ABSENT:
        return ERR_NONE;
    case KUBE_LOST:
        return ERR_CONFLICT;
    case KUBE_BUSY:
        return ERR_UNAVAILABLE;
    case KUBE_OPEN:
    case KUBE_UNKNOWN:
        return request->method == KUBE_GET ? ERR_UNAVAILABLE : ERR_UNCERTAIN;
    case KUBE_FORBIDDEN:
        return request->retry_forbidden ? ERR_UNAVAILABLE : ERR_INVALID;
    case KUBE_UNAUTHORIZED:
    case KUBE_REFUSED:
        return ERR_INVALID;
    }
    return ERR_UNCERTAIN;
}

static KubeVerdict send_request(KubeClient *client, Call *call, const char *server,
                                int64_t budget_ms, HttpReply *reply)
{
    const KubeRequest *request = call->request;
    Arena *scratch = client->scratch;
    const HttpRequest http = {
        .method = kube_method_name(request->method),
        .url = url_of(scratch, server, request->path, request->query),
        .body = request->body,
        .content_type = request->body == NULL ? NULL
                        : request->method == KUBE_PATCH
                            ? str_or(request->content_type, KUBE_STRATEGIC_MERGE)
                            : "application/json",
        .authorization = kube_access_authorization(client->shared->access, scratch),
        .header = "Accept: application/json",
        .repeatable = request->method == KUBE_GET || request->method == KUBE_DELETE,
        .any_host = is_direct(client, server),
    };
    Clock *clock = client->shared->clock;
    call->out->sent_at = clock_now(clock);
    const Deadline deadline = deadline_min(deadline_in(clock, budget_ms), call->deadline);
    Error why = {0};
    if (http_call(client->http, scratch, &http, deadline, reply, &why))
        return KUBE_DONE;
    // A try that had little time says less than what was answered before.
    if (budget_ms >= TRY_FLOOR_MS || call->out->status == 0)
        *call->err = why;
    // A reply that is no HTTP leaves open what became of the request.
    return why.kind == ERR_UNAVAILABLE ? KUBE_BUSY : KUBE_UNKNOWN;
}

static void take_reply(Call *call, const KubeAnswer *answer)
{
    // scratch goes with the end of the call.
    call->out->body = answer->body == NULL ? NULL : tree_copy(call->arena, answer->body);
    call->out->resource_version =
        tree_get_string(tree_get(call->out->body, "metadata"), "resourceVersion", "");
}

static KubeVerdict attempt(KubeClient *client, Call *call, const char *server, int64_t budget_ms)
{
    HttpReply reply = {0};
    KubeAnswer answer = {0};
    arena_reset(client->scratch);
    call->wait_ms = call->out->asked_wait_ms = 0;
    KubeVerdict verdict = send_request(client, call, server, budget_ms, &reply);
    if (verdict != KUBE_DONE)
        return verdict; // err says why
    call->out->status = reply.status;
    verdict = kube_judge(client->scratch, call->request, &reply, client->shared->codes,
                         client->shared->code_count, &answer);
    call->wait_ms = call->out->asked_wait_ms = answer.wait_ms;
    if (verdict == KUBE_DONE || verdict == KUBE_ABSENT)
        take_reply(call, &answer);
    else if (verdict == KUBE_FORBIDDEN) // it says all about the request
        (void)error_set(call->err, ERR_INVALID, "%s", answer.text);
    else
        (void)error_set(call->err, ERR_INVALID, "%s %s: %s",
                        kube_method_name(call->request->method), call->request->path, answer.text);
    return verdict;
}

// --- the call

// How long one try may take: docs/kubernetes-api.md, "Tries".
static int64_t try_ms(const KubeClient *client, int64_t left)
{
    const int64_t n = (int64_t)client->servers.count;
    const bool quick = atomic_load(&client->shared->short_tries);
    int64_t ms = left / (n == 1 ? 2 : n);
    int64_t floor = quick ? SHORT_TRY_FLOOR_MS : TRY_FLOOR_MS;
    if (left < 2 * floor)
        floor = left / 2; // so that there is a second try
    if (ms < floor)
        ms = floor;
    if (quick && ms > SHORT_TRY_MAX_MS)
        ms = SHORT_TRY_MAX_MS;
    return ms < left ? ms : left;
}

static bool settles(const Call *call, KubeVerdict verdict)
{
    switch (verdict) {
    case KUBE_DONE:
    case KUBE_ABSENT:
    case KUBE_LOST:
    case KUBE_UNAUTHORIZED:
    case KUBE_REFUSED:
        return true;
    case KUBE_UNKNOWN:
        return call->request->method == KUBE_POST || call->request->method == KUBE_PATCH;
    case KUBE_FORBIDDEN:
        return !call->request->retry_forbidden;
    case KUBE_BUSY:
    case KUBE_OPEN:
        return false;
    }
    return true;
}

// One server, once more with a fresh token if it did not accept ours.
static KubeVerdict try_server(KubeClient *client, Call *call, size_t index, int64_t budget_ms)
{
    for (;;) {
        const KubeVerdict verdict = attempt(client, call, client->servers.url[index], budget_ms);
        call->unknown = call->unknown || verdict == KUBE_OPEN || verdict == KUBE_UNKNOWN;
        if (verdict != KUBE_UNAUTHORIZED || call->authentications >= AUTHENTICATIONS_MAX ||
            left_ms(client, call->deadline) == 0)
            return verdict;
        call->authentications++;
        kube_access_unauthorized(client->shared->access);
    }
}

static bool try_all(KubeClient *client, Call *call, KubeVerdict *verdict)
{
    const size_t first = client->current, count = client->servers.count;
    const int64_t budget_ms = try_ms(client, left_ms(client, call->deadline));
    for (size_t i = 0; i < count; i++) {
        if (left_ms(client, call->deadline) == 0)
            return false;
        const size_t index = (first + i) % count;
        *verdict = try_server(client, call, index, budget_ms);
        const bool settled = settles(call, *verdict);
        // Whoever failed is not asked first the next time, also not by the next call.
        const bool failed = !settled || *verdict == KUBE_UNKNOWN;
        client->current = failed ? (index + 1) % count : index;
        if (settled)
            return true;
        if (call->wait_ms > 0)
            return false; // it speaks for the others too
    }
    return false;
}

static bool finish(const Call *call, KubeVerdict verdict)
{
    // Whatever was said last, an earlier copy may have been applied.
    call->err->kind = call->unknown && call->request->method != KUBE_GET
                          ? ERR_UNCERTAIN
                          : kind_of(verdict, call->request);
    return false;
}

static bool call_until(KubeClient *client, Call *call)
{
    Retry retry = {.clock = client->shared->clock,
                   .rng = &client->rng,
                   .deadline = call->deadline,
                   .base_ms = BACKOFF_MS,
                   .max_ms = BACKOFF_MAX_MS};
    KubeVerdict verdict = KUBE_BUSY;
    (void)error_set(call->err, ERR_UNAVAILABLE, "%s %s: the deadline is over",
                    kube_method_name(call->request->method), call->request->path);
    for (;;) {
        refresh(client, retry.attempt > 0);
        if (try_all(client, call, &verdict))
            return verdict == KUBE_DONE || verdict == KUBE_ABSENT || finish(call, verdict);
        const Error again = {.kind = ERR_UNAVAILABLE};
        retry.at_least_ms = call->wait_ms;
        if (http_has_ended(client->http) || !retry_again(&retry, &again))
            return finish(call, verdict);
    }
}

bool kube_call(KubeClient *client, Arena *arena, const KubeRequest *request, Deadline deadline,
               KubeReply *out, Error *err)
{
    Error why = {0}; // of tries: one that failed is no failure if a later one does not
    Call call = {.request = request, .deadline = deadline, .arena = arena, .out = out, .err = &why};
    *out = (KubeReply){.resource_version = ""};
    const bool ok = call_until(client, &call);
    if (!ok)
        *err = why;
    arena_reset(client->scratch); // the next call may be minutes away
    return ok;
}

bool kube_stream(KubeClient *client, const char *path, const char *query, int64_t idle_ms,
                 void (*on_status)(void *context, int status), HttpSink *sink, void *context,
                 int *out_status, Error *err)
{
    refresh(client, false);
    arena_reset(client->scratch);
    const char *server = client->servers.url[client->current];
    const HttpRequest request = {
        .method = "GET",
        .url = url_of(client->scratch, server, path, query),
        .authorization = kube_access_authorization(client->shared->access, client->scratch),
        .header = "Accept: application/json",
        .repeatable = true,
        .any_host = is_direct(client, server),
        .answer_ms = STREAM_ANSWER_MS,
        .on_status = on_status,
        .on_status_context = context,
    };
    return http_stream(client->http, &request, idle_ms, sink, context, out_status, err);
}

// --- the API servers' own addresses

static int64_t https_port(const Tree *subset)
{
    const Tree *ports = tree_get(subset, "ports");
    for (size_t i = 0; ports != NULL && ports->kind == TREE_LIST && i < ports->count; i++) {
        const Tree *port = ports->entries[i].value;
        if (str_eq(tree_get_string(port, "name", ""), "https") &&
            str_eq(tree_get_string(port, "protocol", "TCP"), "TCP"))
            return tree_get_int(port, "port", 0);
    }
    return 0;
}

static KubeServers servers_of(Arena *arena, const Tree *endpoints)
{
    KubeServers servers = {0};
    const Tree *subsets = tree_get(endpoints, "subsets");
    for (size_t i = 0; subsets != NULL && subsets->kind == TREE_LIST && i < subsets->count; i++) {
        const Tree *subset = subsets->entries[i].value;
        const Tree *addresses = tree_get(subset, "addresses");
        const int64_t port = https_port(subset);
        for (size_t k = 0; port >= 1 && port <= 65535 && addresses != NULL &&
                           addresses->kind == TREE_LIST && k < addresses->count;
             k++) {
            const char *ip = tree_get_string(addresses->entries[k].value, "ip", "");
            if (host_is_numeric(ip))
                (void)add_server(
                    &servers, // full: those that fit are enough
                    arena_printf(arena,
                                 strchr(ip, ':') == NULL ? "https://%s:%d" : "https://[%s]:%d", ip,
                                 (int)port));
        }
    }
    return servers;
}

static bool same_servers(const KubeServers *a, const KubeServers *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = false;
        for (size_t k = 0; k < b->count; k++)
            same = same || str_eq(a->url[i], b->url[k]);
    }
    return same;
}

static bool is_due(KubeShared *shared, bool again)
{
    const Instant now = clock_now(shared->clock);
    pthread_mutex_lock(&shared->mutex);
    const bool fresh = instant_is_set(shared->direct_at) &&
                       instant_ms_between(shared->direct_at, now) < KUBE_DISCOVERY_MS;
    const bool due = shared->bypass && (again || !fresh);
    pthread_mutex_unlock(&shared->mutex);
    return due;
}

void kube_client_discover(KubeClient *client, bool again, Deadline deadline)
{
    KubeShared *shared = client->shared;
    if (!is_due(shared, again))
        return;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const KubeRequest request = {.method = KUBE_GET,
                                 .path = "/api/v1/namespaces/default/endpoints/kubernetes"};
    KubeReply reply;
    Error err = {0};
    const bool ok = kube_call(client, arena, &request, deadline, &reply, &err);
    const KubeServers found = ok ? servers_of(arena, reply.body) : (KubeServers){0};
    const bool refused = !ok && reply.status == 403;

    pthread_mutex_lock(&shared->mutex);
    const bool tell = refused && shared->bypass; // two watches may have asked
    shared->bypass = shared->bypass && !refused;
    if (refused || (found.count > 0 && !same_servers(&found, &shared->direct))) {
        shared->direct = found;
        shared->servers_generation++;
    }
    if (found.count > 0)
        shared->direct_at = clock_now(shared->clock);
    pthread_mutex_unlock(&shared->mutex);
    if (tell)
        log_warn("API servers' addresses are refused to us, the service's address is used instead "
                 "error='%s'",
                 err.text);
}

// --- texts

char *kube_escape(Arena *arena, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    Text out = text_new(arena);
    for (const char *s = text; *s != '\0'; s++) {
        const unsigned char c = (unsigned char)*s;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr("-_.~", c) != NULL) {
            text_add_char(&out, *s);
        } else {
            text_add_char(&out, '%');
            text_add_char(&out, hex[c >> 4]);
            text_add_char(&out, hex[c & 15]);
        }
    }
    return out.data;
}

char *kube_label_query(Arena *arena, const KubernetesLabels *labels, const char *scope_label,
                       const char *scope)
{
    Text selector = text_new(arena);
    for (size_t i = 0; i < labels->count; i++)
        text_addf(&selector, "%s=%s,", labels->items[i].key, labels->items[i].value);
    text_addf(&selector, "%s=%s", scope_label, scope);
    return arena_printf(arena, "labelSelector=%s", kube_escape(arena, selector.data));
}

char *kube_name_query(Arena *arena, const char *name)
{
    return arena_printf(arena, "fieldSelector=%s",
                        kube_escape(arena, arena_printf(arena, "metadata.name=%s", name)));
}
