#include "dcs/etcd_http.h"
#include "common/os/retry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    AUTHENTICATIONS_MAX = 3, // in one call
    AUTHENTICATE_MS = 2000,
    TRY_FLOOR_MS = 1000, // a try shorter than this fails on a slow day
    SHORT_TRY_FLOOR_MS = 100,
    TRY_LEAST_MS = 10, // one more in less would not get an answer, and hide what the last one said
    SHORT_TRY_MAX_MS = 500,
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 1000,
};

// --- what the clients share

bool etcd_endpoints_add(EtcdEndpoints *list, const char *url)
{
    char cut[ETCD_URL_SIZE];
    if (list->count >= ETCD_ENDPOINTS_MAX || !copy_text(cut, sizeof cut, url))
        return false;
    size_t length = strlen(cut);
    while (length > 0 && cut[length - 1] == '/')
        cut[--length] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        if (str_eq(list->url[i], cut))
            return false;
    }
    memcpy(list->url[list->count++], cut, sizeof cut);
    return true;
}

static char *heap_copy(const char *text)
{
    if (text == NULL)
        return NULL;
    char *copy = strdup(text);
    ASSERT(copy != NULL); // out of memory
    return copy;
}

void etcd_shared_init(EtcdShared *shared, Clock *clock)
{
    *shared = (EtcdShared){.clock = clock, .endpoints_generation = 1, .credentials_generation = 1};
    const int failed = pthread_mutex_init(&shared->mutex, NULL);
    ASSERT(failed == 0);
}

void etcd_shared_done(EtcdShared *shared)
{
    free(shared->username);
    free(shared->password);
    pthread_mutex_destroy(&shared->mutex);
}

void etcd_shared_set_credentials(EtcdShared *shared, const char *username, Secret password)
{
    pthread_mutex_lock(&shared->mutex);
    free(shared->username);
    free(shared->password);
    shared->username = str_empty(username) ? NULL : heap_copy(username);
    shared->password = heap_copy(str_or(secret_reveal(password), ""));
    shared->credentials_generation++;
    pthread_mutex_unlock(&shared->mutex);
}

void etcd_shared_set_configured(EtcdShared *shared, const EtcdEndpoints *endpoints)
{
    pthread_mutex_lock(&shared->mutex);
    shared->configured = *endpoints;
    shared->endpoints_generation++;
    pthread_mutex_unlock(&shared->mutex);
}

static bool same_endpoints(const EtcdEndpoints *a, const EtcdEndpoints *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        bool found = false;
        for (size_t k = 0; k < b->count; k++)
            found = found || str_eq(a->url[i], b->url[k]);
        same = found;
    }
    return same;
}

void etcd_shared_set_discovered(EtcdShared *shared, const EtcdEndpoints *endpoints)
{
    pthread_mutex_lock(&shared->mutex);
    if (!same_endpoints(&shared->discovered, endpoints)) { // the order alone changes nothing
        shared->discovered = *endpoints;
        shared->endpoints_generation++;
    }
    shared->discovered_at = clock_now(shared->clock);
    pthread_mutex_unlock(&shared->mutex);
}

bool etcd_guard_check(EtcdShared *shared, uint64_t cluster_id, int64_t raft_term)
{
    const Instant now = clock_now(shared->clock);
    pthread_mutex_lock(&shared->mutex);
    const bool behind = shared->cluster_id == cluster_id && raft_term < shared->raft_term &&
                        instant_ms_between(shared->term_seen_at, now) < ETCD_TERM_MEMORY_MS;
    if (!behind) { // also the first answer, and the first of another store
        shared->cluster_id = cluster_id;
        shared->raft_term = raft_term;
        shared->term_seen_at = now;
    }
    pthread_mutex_unlock(&shared->mutex);
    return !behind;
}

// --- a client

void etcd_client_init(EtcdClient *client, EtcdShared *shared, Resolver *resolver,
                      const HttpOptions *options)
{
    *client = (EtcdClient){
        .shared = shared,
        .http = http_new(resolver, options),
        .scratch = arena_new(ARENA_CAP_DEFAULT),
        .rng = rng_from_os(),
    };
}

void etcd_client_done(EtcdClient *client)
{
    http_free(client->http);
    arena_release(&client->scratch);
    client->http = NULL;
}

static void forget_token(EtcdClient *client)
{
    client->authenticated = false;
    client->token[0] = '\0';
}

// Takes the shared list over when it has changed, and stays with the endpoint it has if it can.
static void refresh_endpoints(EtcdClient *client, bool all)
{
    EtcdShared *shared = client->shared;
    char url[ETCD_URL_SIZE] = "";
    if (client->current < client->endpoints.count)
        (void)copy_text(url, sizeof url, client->endpoints.url[client->current]); // it fits

    pthread_mutex_lock(&shared->mutex);
    const bool changed = client->endpoints_generation != shared->endpoints_generation;
    if (changed || all) {
        const bool known = shared->discovered.count > 0;
        client->endpoints = known ? shared->discovered : shared->configured;
        for (size_t i = 0; all && known && i < shared->configured.count; i++)
            (void)etcd_endpoints_add(&client->endpoints, shared->configured.url[i]);
        client->endpoints_generation = shared->endpoints_generation;
    }
    pthread_mutex_unlock(&shared->mutex);
    if (!changed && !all)
        return;

    client->current = 0;
    for (size_t i = 0; i < client->endpoints.count; i++) {
        if (str_eq(client->endpoints.url[i], url))
            client->current = i;
    }
}

void etcd_client_next_endpoint(EtcdClient *client)
{
    if (client->endpoints.count > 0)
        client->current = (client->current + 1) % client->endpoints.count;
}

const char *etcd_client_endpoint(EtcdClient *client)
{
    refresh_endpoints(client, false);
    return client->endpoints.count > 0 ? client->endpoints.url[client->current] : "";
}

// --- one try at one endpoint

typedef struct {
    EtcdClient *client;
    Arena *arena;
    const char *endpoint;
    Deadline whole;    // of the call
    int64_t budget_ms; // of the try
    Deadline deadline; // of the try
    Error *err;
} Try;

static int64_t now_left_ms(const EtcdClient *client, Deadline deadline)
{
    return deadline_left_ms(deadline, clock_now(client->shared->clock));
}

static ErrorKind kind_of(EtcdVerdict verdict)
{
    switch (verdict) {
    case ETCD_SAYS_OK:
        return ERR_NONE;
    case ETCD_SAYS_UNKNOWN:
        return ERR_UNCERTAIN;
    case ETCD_SAYS_RETRY:
    case ETCD_SAYS_AUTHENTICATE:
    case ETCD_SAYS_NO_AUTH:
    case ETCD_SAYS_FULL:
        return ERR_UNAVAILABLE;
    case ETCD_SAYS_LEASE_GONE:
        return ERR_CONFLICT;
    case ETCD_SAYS_INVALID:
        return ERR_INVALID;
    }
    return ERR_UNCERTAIN;
}

static EtcdVerdict say(const Try *t, EtcdVerdict verdict, const char *path, const char *text)
{
    (void)error_set(t->err, kind_of(verdict), "%s%s: %s", t->endpoint, path, text);
    return verdict;
}

static EtcdVerdict exchange(const Try *t, const HttpRequest *request, HttpReply *out)
{
    if (http_call(t->client->http, t->arena, request, t->deadline, out, t->err))
        return ETCD_SAYS_OK;
    // A reply that is no HTTP leaves open what became of the request.
    return t->err->kind == ERR_UNAVAILABLE ? ETCD_SAYS_RETRY : ETCD_SAYS_UNKNOWN;
}

// The API's path depends on the cluster's version. We need 3.3 for comparing leases.
static EtcdVerdict probe_version(const Try *t)
{
    const HttpRequest request = {.method = "GET",
                                 .url = arena_printf(t->arena, "%s/version", t->endpoint)};
    HttpReply reply = {0};
    const EtcdVerdict verdict = exchange(t, &request, &reply);
    if (verdict != ETCD_SAYS_OK) // nothing of the call itself was sent
        return say(t, ETCD_SAYS_RETRY, "/version", arena_strdup(t->arena, t->err->text));

    const Tree *document = NULL;
    Error ignored = {0};
    const char *version = NULL;
    if (reply.status == 200 && tree_parse_json(t->arena, reply.body, &document, &ignored))
        version = tree_get_string(document, "etcdcluster", NULL);
    char *end = NULL;
    const long major = version != NULL ? strtol(version, &end, 10) : 0;
    if (major == 0) { // a proxy that hides it, or a member that is still joining
        if (reply.status == 200)
            return say(t, ETCD_SAYS_RETRY, "/version", "cluster version not known yet");
        t->client->prefix = "/v3";
        return ETCD_SAYS_OK;
    }
    const long minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    if (major < 3 || (major == 3 && minor < 3))
        return say(
            t, ETCD_SAYS_INVALID, "/version",
            arena_printf(t->arena, "etcd %s is too old, 3.3 is the oldest that works", version));
    t->client->prefix = major > 3 || minor >= 4 ? "/v3" : "/v3beta";
    return ETCD_SAYS_OK;
}

// The bare token, no scheme, and a call to authenticate never carries one.
static EtcdVerdict post(const Try *t, const char *path, const EtcdRequest *request, bool with_token,
                        HttpReply *out)
{
    const EtcdClient *client = t->client;
    const HttpRequest http = {
        .method = "POST",
        .url = arena_printf(t->arena, "%s%s%s", t->endpoint, client->prefix, path),
        .body = request->body,
        .content_type = "application/json",
        .authorization = with_token && client->token[0] != '\0' ? client->token : NULL,
        .repeatable = request->kind == ETCD_READ || request->kind == ETCD_REPEATABLE,
    };
    const EtcdVerdict verdict = exchange(t, &http, out);
    if (verdict != ETCD_SAYS_OK || out->status == 200)
        return verdict;
    if (out->status == 404 && strstr(out->body, "code") == NULL && !str_eq(client->prefix, "/v3"))
        t->client->prefix = NULL; // upgraded under us: probe again
    const char *text = NULL;
    const EtcdVerdict said = etcd_read_error(t->arena, out->status, out->body, &text);
    return say(t, said, path, arena_strdup(t->arena, text));
}

static EtcdVerdict authenticate(const Try *t)
{
    EtcdClient *client = t->client;
    EtcdShared *shared = client->shared;
    Tree *body = tree_map(t->arena);

    pthread_mutex_lock(&shared->mutex);
    const bool wanted = shared->username != NULL;
    if (client->credentials_generation != shared->credentials_generation)
        forget_token(client);
    client->credentials_generation = shared->credentials_generation;
    if (wanted) {
        tree_set(t->arena, body, "name", tree_string(t->arena, shared->username));
        tree_set(t->arena, body, "password", tree_string(t->arena, shared->password));
    }
    pthread_mutex_unlock(&shared->mutex);
    if (client->authenticated || !wanted)
        return ETCD_SAYS_OK;

    const EtcdRequest request = {.body = tree_to_json(t->arena, body, JSON_COMPACT),
                                 .kind = ETCD_READ};
    HttpReply reply = {0};
    const EtcdVerdict verdict = post(t, "/auth/authenticate", &request, false, &reply);
    const Tree *document = NULL;
    Error ignored = {0};
    if (verdict == ETCD_SAYS_NO_AUTH) {
        client->authenticated = true;
        client->token[0] = '\0';
        return ETCD_SAYS_OK;
    }
    if (verdict == ETCD_SAYS_INVALID)
        return verdict;
    if (verdict != ETCD_SAYS_OK) // nothing of the call itself was sent
        return say(t, ETCD_SAYS_RETRY, "", arena_strdup(t->arena, t->err->text));
    if (!tree_parse_json(t->arena, reply.body, &document, &ignored) ||
        !copy_text(client->token, sizeof client->token, tree_get_string(document, "token", "")) ||
        strpbrk(client->token, "\r\n") != NULL || client->token[0] == '\0') {
        client->token[0] = '\0';
        return say(t, ETCD_SAYS_RETRY, "/auth/authenticate", "reply without a usable token");
    }
    client->authenticated = true;
    return ETCD_SAYS_OK;
}

static bool keep_document(void *context, const char *text)
{
    char **out = context;
    *out = heap_copy(text);
    return false; // the first one is all there is to a unary reply
}

static void text_release(char **text)
{
    free(*text);
}

static bool first_document(Arena *arena, const HttpReply *reply, const Tree **out)
{
    EtcdSplitter splitter = {0};
    AUTO(text_release) char *text = NULL;
    Error ignored = {0};
    (void)etcd_split(&splitter, reply->body, reply->length, keep_document, &text);
    etcd_splitter_done(&splitter);
    return text != NULL && tree_parse_json(arena, text, out, &ignored);
}

static uint64_t cluster_of(const Tree *header)
{
    uint64_t id = 0;
    return parse_uint64(tree_get_string(header, "cluster_id", ""), &id) ? id : 0;
}

// What a reply with status 200 says.
static EtcdVerdict read_reply(const Try *t, const EtcdRequest *request, const HttpReply *reply,
                              EtcdReply *out)
{
    const Tree *document = NULL;
    if (!first_document(t->arena, reply, &document))
        return say(t, ETCD_SAYS_UNKNOWN, request->path, "reply is no JSON document");
    const char *text = NULL;
    const EtcdVerdict verdict = etcd_error_of(document, &text);
    if (verdict != ETCD_SAYS_OK)
        return say(t, verdict, request->path, text);

    const Tree *result = tree_get(document, "result");
    out->body = result != NULL ? result : document;
    const Tree *header = tree_get(out->body, "header");
    out->revision = tree_get_int(header, "revision", 0);
    out->cluster_id = cluster_of(header);
    if (header == NULL || out->cluster_id == 0)
        return say(t, ETCD_SAYS_UNKNOWN, request->path, "reply without a header");
    // What a node that was left behind has read or believes of a lease may be long over. What it
    // has written went through the cluster's consensus.
    const bool current =
        etcd_guard_check(t->client->shared, out->cluster_id, tree_get_int(header, "raft_term", 0));
    if (!current && (request->kind == ETCD_READ || request->kind == ETCD_REPEATABLE))
        return say(t, ETCD_SAYS_UNKNOWN, request->path, "node is behind the cluster (raft term)");
    return ETCD_SAYS_OK;
}

static void set_deadline(Try *t, int64_t ms)
{
    t->deadline = deadline_min(deadline_in(t->client->shared->clock, ms), t->whole);
}

static EtcdVerdict attempt(Try *t, const EtcdRequest *request, EtcdReply *out)
{
    EtcdVerdict verdict = ETCD_SAYS_OK;
    set_deadline(t, t->budget_ms);
    if (t->client->prefix == NULL)
        verdict = probe_version(t);
    // etcd takes its time over a password on purpose; a short try would never get through.
    set_deadline(t, t->budget_ms > AUTHENTICATE_MS ? t->budget_ms : AUTHENTICATE_MS);
    if (verdict == ETCD_SAYS_OK)
        verdict = authenticate(t);
    if (verdict != ETCD_SAYS_OK)
        return verdict;
    set_deadline(t, t->budget_ms);
    HttpReply reply = {0};
    out->sent_at = clock_now(t->client->shared->clock);
    verdict = post(t, request->path, request, true, &reply);
    return verdict == ETCD_SAYS_OK ? read_reply(t, request, &reply, out) : verdict;
}

// --- the call

// How long one try may take, in the first pass over the endpoints.
static int64_t try_ms(const EtcdClient *client, int64_t left_ms)
{
    const int64_t n = (int64_t)client->endpoints.count;
    const int64_t tries = n == 1 ? 3 : n == 2 ? 2 : 1;
    const bool quick = atomic_load(&client->shared->short_tries);
    int64_t ms = left_ms / (n * tries);
    int64_t floor = quick ? SHORT_TRY_FLOOR_MS : TRY_FLOOR_MS;
    if (left_ms < 2 * floor)
        floor = left_ms / 2; // so that there is a second try
    if (ms < floor)
        ms = floor;
    if (quick && ms > SHORT_TRY_MAX_MS)
        ms = SHORT_TRY_MAX_MS;
    return ms < left_ms ? ms : left_ms;
}

typedef struct {
    const EtcdRequest *request;
    Deadline deadline;
    bool unknown; // an earlier copy may have been applied
    int tries, authentications;
} Call;

static bool settles(const Call *call, EtcdVerdict verdict)
{
    switch (verdict) {
    case ETCD_SAYS_OK:
    case ETCD_SAYS_LEASE_GONE:
    case ETCD_SAYS_FULL:
    case ETCD_SAYS_INVALID:
        return true;
    case ETCD_SAYS_UNKNOWN:
        return call->request->kind == ETCD_ONCE;
    case ETCD_SAYS_RETRY:
    case ETCD_SAYS_AUTHENTICATE:
    case ETCD_SAYS_NO_AUTH:
        return false;
    }
    return true;
}

// One endpoint, again with a new token if the old one is no longer good. False: try another one.
static bool try_endpoint(EtcdClient *client, Call *call, size_t index, int64_t budget_ms,
                         EtcdReply *out, EtcdVerdict *verdict, Error *err)
{
    for (;;) {
        Try t = {.client = client,
                 .arena = client->scratch,
                 .endpoint = client->endpoints.url[index],
                 .whole = call->deadline,
                 .budget_ms = budget_ms,
                 .err = err};
        arena_reset(client->scratch);
        *verdict = attempt(&t, call->request, out);
        if (*verdict == ETCD_SAYS_OK)
            out->perhaps_before = call->unknown;
        call->unknown = call->unknown || *verdict == ETCD_SAYS_UNKNOWN;
        if (*verdict != ETCD_SAYS_AUTHENTICATE)
            return settles(call, *verdict);

        forget_token(client);
        pthread_mutex_lock(&client->shared->mutex);
        const bool has_user = client->shared->username != NULL;
        pthread_mutex_unlock(&client->shared->mutex);
        if (!has_user || ++call->authentications > AUTHENTICATIONS_MAX) {
            *verdict = ETCD_SAYS_INVALID;
            err->kind = ERR_INVALID;
            return true;
        }
    }
}

static bool try_all(EtcdClient *client, Call *call, EtcdReply *out, EtcdVerdict *verdict,
                    Error *err)
{
    const size_t first = client->current, count = client->endpoints.count;
    const int64_t budget_ms = try_ms(client, now_left_ms(client, call->deadline));
    for (size_t i = 0; i < count; i++) {
        if (budget_ms < (call->tries > 0 ? TRY_LEAST_MS : 1) ||
            now_left_ms(client, call->deadline) == 0)
            return false;
        const size_t index = (first + i) % count;
        const Error before = *err;
        const bool settled = try_endpoint(client, call, index, budget_ms, out, verdict, err);
        // The last one had perhaps no time to leave; what is wrong was said by the one before.
        if (call->tries++ > 0 && *verdict == ETCD_SAYS_RETRY &&
            now_left_ms(client, call->deadline) == 0)
            *err = before;
        // Whoever failed is not asked first the next time, also not by the next call.
        const bool failed = !settled || *verdict == ETCD_SAYS_UNKNOWN;
        client->current = failed ? (index + 1) % count : index;
        if (settled)
            return true;
    }
    return false;
}

static bool finish(const Call *call, EtcdVerdict verdict, Error *err)
{
    if (call->request->kind == ETCD_READ) {
        err->kind = verdict == ETCD_SAYS_INVALID      ? ERR_INVALID
                    : verdict == ETCD_SAYS_LEASE_GONE ? ERR_CONFLICT
                                                      : ERR_UNAVAILABLE;
    } else if (call->unknown && verdict != ETCD_SAYS_LEASE_GONE) {
        err->kind = ERR_UNCERTAIN; // whatever was said last, an earlier copy may have been applied
    } else if (err->kind == ERR_UNCERTAIN) {
        err->kind = ERR_UNAVAILABLE;
    }
    return false;
}

bool etcd_call(EtcdClient *client, const EtcdRequest *request, Deadline deadline, EtcdReply *out,
               Error *err)
{
    Call call = {.request = request, .deadline = deadline};
    Retry retry = {.clock = client->shared->clock,
                   .rng = &client->rng,
                   .deadline = deadline,
                   .base_ms = BACKOFF_MS,
                   .max_ms = BACKOFF_MAX_MS};
    EtcdVerdict verdict = ETCD_SAYS_RETRY;
    (void)error_set(err, ERR_UNAVAILABLE, "POST %s: the deadline is over", request->path);
    for (;;) {
        refresh_endpoints(client, retry.attempt > 0);
        if (client->endpoints.count == 0)
            (void)error_set(err, ERR_UNAVAILABLE, "no etcd endpoint is known yet");
        else if (try_all(client, &call, out, &verdict, err))
            return verdict == ETCD_SAYS_OK || finish(&call, verdict, err);

        const Error again = {.kind = ERR_UNAVAILABLE};
        if (!retry_again(&retry, &again))
            return finish(&call, verdict, err);
    }
}

bool etcd_stream(EtcdClient *client, const char *path, const char *body, int64_t idle_ms,
                 HttpSink *sink, void *context, int *out_status, Error *err)
{
    char url[ETCD_URL_SIZE + 64];
    const char *endpoint = etcd_client_endpoint(client);
    if (endpoint[0] == '\0' || client->prefix == NULL)
        return error_set(err, ERR_UNAVAILABLE, "no etcd endpoint has answered yet");
    const int length = snprintf(url, sizeof url, "%s%s%s", endpoint, client->prefix, path);
    ASSERT(length > 0 && (size_t)length < sizeof url);
    const HttpRequest request = {
        .method = "POST",
        .url = url,
        .body = body,
        .content_type = "application/json",
        // A node that has lost its leader then ends the stream, instead of keeping it open and
        // silent (etcd's clientv3.WithRequireLeader).
        .header = "Grpc-Metadata-hasleader: true",
        .authorization = client->token[0] != '\0' ? client->token : NULL,
        .repeatable = true,
    };
    return http_stream(client->http, &request, idle_ms, sink, context, out_status, err);
}
