#include "api/exchange.h"

#include "common/os/log.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

// What libmicrohttpd keeps for a request that is a probe: nothing.
static char probe_mark;

void log_request(struct MHD_Connection *connection, const char *method, const char *path,
                 int status)
{
    char peer[64] = "";
    if (!log_enabled(LOG_DEBUG))
        return;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info != NULL ? info->client_addr : NULL;
    const socklen_t length = address != NULL && address->sa_family == AF_INET6
                                 ? sizeof(struct sockaddr_in6)
                                 : sizeof(struct sockaddr_in);
    if (address != NULL) // numeric: nothing is looked up
        (void)getnameinfo(address, length, peer, sizeof peer, NULL, 0, NI_NUMERICHOST);
    log_debug("rest peer=%s method='%s' path='%s' status=%d", peer, method, path, status);
}

// --- replies

void exchange_reply(Exchange *x, int status, Reply *reply)
{
    ASSERT(x->state == EXCHANGE_RECEIVING);
    x->state = EXCHANGE_ANSWERED;
    x->status = status;
    x->reply = reply;
}

void exchange_text(Exchange *x, int status, const char *text)
{
    exchange_reply(x, status, reply_new(x->policy, NULL, text));
}

void exchange_json(Exchange *x, int status, const char *json)
{
    exchange_reply(x, status, reply_new(x->policy, "application/json", json));
}

void exchange_page(Exchange *x, int status)
{
    exchange_reply(x, status, reply_page(status));
}

const char *exchange_query(const Exchange *x, const char *key)
{
    const char *value = MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, key);
    return str_empty(value) ? NULL : value;
}

bool exchange_cluster(Exchange *x, ClusterView *out)
{
    enum { UNAVAILABLE = 503 };
    if (x->api->host->cluster(x->api->host, x->arena, out)) {
        const Instant stale = instant_plus_ms(out->seen_at, x->snapshot->ttl_ms);
        if (instant_before(clock_now(x->api->clock), stale))
            return true;
    }
    exchange_page(x, UNAVAILABLE);
    return false;
}

// --- suspending

static void link_suspended(Api *api, Exchange *x)
{
    x->next = api->suspended;
    if (api->suspended != NULL)
        api->suspended->previous = x;
    api->suspended = x;
}

static void unlink_suspended(Api *api, Exchange *x)
{
    if (x->previous != NULL)
        x->previous->next = x->next;
    else
        api->suspended = x->next;
    if (x->next != NULL)
        x->next->previous = x->previous;
    x->previous = x->next = NULL;
}

static void free_exchange(Exchange *x)
{
    Api *api = x->api;
    reply_unref(x->reply);
    snapshot_unref(x->snapshot);
    policy_unref(x->policy);
    arena_free(x->arena); // which holds the exchange itself
    api_unref(api);
}

static void drop(Exchange *x)
{
    pthread_mutex_lock(&x->api->lock);
    const bool last = --x->refs == 0;
    pthread_mutex_unlock(&x->api->lock);
    if (last)
        free_exchange(x);
}

// False: answered instead, because the workers are going.
static bool suspend(Exchange *x, const char *what, int64_t budget_ms)
{
    enum { UNAVAILABLE = 503 };
    Api *api = x->api;
    x->what = what;
    x->request.accepted_at = clock_now(api->clock);
    x->request.deadline = deadline_at(instant_plus_ms(x->request.accepted_at, budget_ms));
    client_is_served(x->client);

    pthread_mutex_lock(&api->lock);
    const bool possible = !api->stopping && !x->client->workers->retiring;
    if (possible) {
        x->state = EXCHANGE_SUSPENDED;
        x->was_suspended = true;
        link_suspended(api, x);
        MHD_suspend_connection(x->connection);
    }
    pthread_mutex_unlock(&api->lock);
    if (possible)
        api_wake(api); // its deadline may be the nearest
    else
        exchange_page(x, UNAVAILABLE);
    return possible;
}

void exchange_submit(Exchange *x, ApiKind kind, const Tree *body, const char *what,
                     int64_t budget_ms)
{
    Api *api = x->api;
    x->request.kind = kind;
    x->request.body = body;
    x->refs++; // the agent's; nobody else knows the exchange yet
    if (suspend(x, what, budget_ms))
        api->host->submit(api->host, &x->request);
    else
        x->refs--;
}

void exchange_sample(Exchange *x, SampleKind kind)
{
    enum { GRACE_MS = 2000 }; // for a sampler that is late; it keeps its own deadline
    x->sample = kind;
    if (suspend(x, "Sample", SAMPLE_MS + GRACE_MS))
        pthread_cond_signal(&x->api->sample_wanted);
}

void exchange_answer(Exchange *x, int status, Reply *reply)
{
    ASSERT(x->state == EXCHANGE_SUSPENDED && x->connection != NULL);
    x->state = EXCHANGE_ANSWERED;
    x->status = status;
    x->reply = reply;
    unlink_suspended(x->api, x);
    MHD_resume_connection(x->connection);
}

// Nobody knows whether it was done: patronictl looks for "status unknown".
static void give_up(Exchange *x, Instant now)
{
    enum { UNAVAILABLE = 503 };
    const int64_t seconds = instant_ms_between(x->request.accepted_at, now) / MS_PER_S;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT); // the agent may be using x's
    const char *text = arena_printf(
        arena, "%s status unknown after %lld seconds; operation may still be in progress", x->what,
        (long long)seconds);
    exchange_answer(x, UNAVAILABLE, reply_new(x->policy, NULL, text));
}

void exchanges_expire(Api *api, Instant now)
{
    for (Exchange *x = api->suspended, *next; x != NULL; x = next) {
        next = x->next;
        if (!instant_before(now, x->request.deadline.at))
            give_up(x, now);
    }
}

void exchanges_abandon(Api *api, const Workers *workers)
{
    const Instant now = clock_now(api->clock);
    for (Exchange *x = api->suspended, *next; x != NULL; x = next) {
        next = x->next;
        if (x->client->workers == workers)
            give_up(x, now);
    }
}

Instant exchanges_next_deadline(const Api *api)
{
    Instant next = {0};
    for (const Exchange *x = api->suspended; x != NULL; x = x->next)
        next = instant_earliest(next, x->request.deadline.at);
    return next;
}

void api_complete(ApiRequest *request, int status, const char *content_type, const char *body)
{
    Exchange *x = (Exchange *)request;
    Reply *reply = reply_new(x->policy, content_type, body);
    pthread_mutex_lock(&x->api->lock);
    const bool waited_for = x->state == EXCHANGE_SUSPENDED;
    if (waited_for)
        exchange_answer(x, status, reply);
    pthread_mutex_unlock(&x->api->lock);
    if (!waited_for) // the deadline was faster, or we are stopping
        reply_unref(reply);
    drop(x);
}

// --- receiving

static const char *header(const Exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

static Refusal check_access(const Exchange *x)
{
    if (!x->route->guarded)
        return (Refusal){0};
    const union MHD_ConnectionInfo *peer =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const union MHD_ConnectionInfo *tls =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    const AccessRequest request = {
        .peer = peer != NULL ? peer->client_addr : NULL,
        .authorization = header(x, MHD_HTTP_HEADER_AUTHORIZATION),
        .client_certificate = tls != NULL && identity_has_client(tls->tls_session),
        .failsafe = strcmp(x->route->segment, "failsafe") == 0,
        .cluster = x->snapshot != NULL ? &x->snapshot->cluster : NULL,
    };
    return access_check(x->policy, x->api->resolver, &request);
}

// The status to refuse it with before its body is read; 0: read on.
static int check_length(const Exchange *x)
{
    enum { LENGTH_REQUIRED = 411, TOO_LARGE = 413 };
    const char *length = header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t bytes = 0;
    if (length != NULL && (!parse_uint64(length, &bytes) || bytes > BODY_LIMIT_BYTES))
        return TOO_LARGE;
    // Taking a chunked body for an empty one would restart at once what was to be restarted later.
    if (x->route->body != BODY_IGNORED && header(x, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL)
        return LENGTH_REQUIRED;
    return x->route->body == BODY_REQUIRED && length == NULL ? LENGTH_REQUIRED : 0;
}

static Exchange *new_exchange(Api *api, struct MHD_Connection *connection, const Route *route,
                              const char *method, const char *path)
{
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Exchange *x = ARENA_NEW(arena, Exchange);
    x->api = api;
    x->refs = 1;
    x->client = client_of(connection);
    x->connection = connection;
    x->route = route;
    x->method = arena_strdup(arena, method);
    x->path = arena_strdup(arena, path);
    x->arena = x->request.arena = arena;
    x->body = text_new(arena);
    x->snapshot = api->host->snapshot(api->host);
    api_ref(api);
    pthread_mutex_lock(&api->lock);
    x->policy = policy_ref(api->policy);
    x->client->workers->exchanges++;
    pthread_mutex_unlock(&api->lock);
    return x;
}

static enum MHD_Result respond(Exchange *x)
{
    log_request(x->connection, x->method, x->path, x->status);
    client_waits(x->client, clock_now(x->api->clock));
    return reply_send(x->connection, x->status, x->reply);
}

static void refuse(Exchange *x)
{
    enum { UNAUTHORIZED = 401 };
    const bool challenge = x->refusal.status == UNAUTHORIZED;
    exchange_reply(x, x->refusal.status,
                   reply_new_with(x->policy, NULL, x->refusal.text,
                                  challenge ? MHD_HTTP_HEADER_WWW_AUTHENTICATE : NULL,
                                  "Basic realm=\"Patroni\""));
}

static enum MHD_Result begin(Exchange *x)
{
    x->refusal = check_access(x);
    const int refused = check_length(x);
    if (refused == 0)
        return MHD_YES;
    if (x->refusal.status == 0)
        exchange_page(x, refused);
    else
        refuse(x);
    return respond(x); // libmicrohttpd closes the connection after it
}

// False: answered with 400.
static bool parse_body(Exchange *x)
{
    enum { BAD_REQUEST = 400 };
    const Tree *body = NULL;
    Error ignored; // the page says what it should be
    if (x->route->body == BODY_IGNORED ||
        (x->route->body == BODY_OPTIONAL && x->body.length == 0)) {
        x->request.body = tree_map(x->arena);
        return true;
    }
    const bool whole = strlen(x->body.data) == x->body.length; // no NUL in it
    if (!whole || !tree_parse_json(x->arena, x->body.data, &body, &ignored) ||
        body->kind != TREE_MAP || (x->route->body == BODY_REQUIRED && body->count == 0)) {
        exchange_page(x, BAD_REQUEST);
        return false;
    }
    x->request.body = body;
    return true;
}

static void handle(Exchange *x)
{
    enum { UNAVAILABLE = 503 };
    snapshot_unref(x->snapshot); // the body may have taken its time
    x->snapshot = x->api->host->snapshot(x->api->host);
    if (x->refusal.status != 0)
        refuse(x);
    else if (x->snapshot == NULL)
        exchange_page(x, UNAVAILABLE);
    else if (parse_body(x))
        x->route->handle(x);
}

static enum MHD_Result receive(Exchange *x, const char *upload, size_t *upload_size)
{
    if (*upload_size > 0) {
        if (x->refusal.status == 0 && x->route->body != BODY_IGNORED &&
            x->body.length + *upload_size <= BODY_LIMIT_BYTES)
            text_add_bytes(&x->body, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    if (!x->was_suspended) {
        handle(x);
        // Perhaps answered by another thread already; we are called again once it is resumed.
        return x->was_suspended ? MHD_YES : respond(x);
    }
    pthread_mutex_lock(&x->api->lock);
    const bool answered = x->state == EXCHANGE_ANSWERED;
    pthread_mutex_unlock(&x->api->lock);
    return answered ? respond(x) : MHD_YES;
}

// libmicrohttpd calls first with the headers, then with pieces of the body, last without any.
// Answering the first call would close the connection.
enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                           const char *method, const char *version, const char *upload,
                           size_t *upload_size, void **kept)
{
    Api *api = ((Workers *)context)->api;
    (void)version;
    if (*kept == &probe_mark) {
        if (*upload_size == 0)
            return answer_probe(api, connection, method, url);
        *upload_size = 0; // a probe with a body: let it pass by
        return MHD_YES;
    }
    if (*kept != NULL)
        return receive(*kept, upload, upload_size);

    const Route *route = route_find(method, url);
    if (route == NULL) {
        *kept = &probe_mark;
        return MHD_YES;
    }
    Exchange *x = new_exchange(api, connection, route, method, url);
    *kept = x;
    return begin(x);
}

void on_completed(void *context, struct MHD_Connection *connection, void **kept,
                  enum MHD_RequestTerminationCode why)
{
    (void)connection, (void)why;
    Exchange *x = *kept;
    if (*kept == NULL || *kept == &probe_mark)
        return;
    *kept = NULL;
    pthread_mutex_lock(&x->api->lock);
    ((Workers *)context)->exchanges--;
    if (x->state == EXCHANGE_SUSPENDED)
        unlink_suspended(x->api, x);
    x->state = EXCHANGE_ANSWERED; // nobody is there any more to be answered
    x->connection = NULL;
    pthread_mutex_unlock(&x->api->lock);
    drop(x);
}
