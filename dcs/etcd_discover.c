// Where the cluster is: SRV records and its own member list.
#include "common/os/log.h"
#include "dcs/etcd_store.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>

// --- the cluster's member list

static bool is_loopback(const char *host)
{
    return str_ieq(host, "localhost") || str_eq(host, "::1") || str_starts(host, "127.") ||
           str_eq(host, "0.0.0.0") || str_eq(host, "::");
}

static const char *host_of(Arena *arena, const char *url)
{
    HttpUrl parsed = {0};
    Error ignored = {0};
    return http_parse_url(arena, url, &parsed, &ignored) ? parsed.host : NULL;
}

// A member that advertises localhost, as one left at its defaults does, means itself: that is of no
// use unless we have asked it there.
static bool is_usable(Arena *arena, const char *url, const char *protocol, const char *asked)
{
    const char *host = host_of(arena, url);
    const char *asked_host = host_of(arena, asked);
    return host != NULL && str_starts(url, arena_printf(arena, "%s://", protocol)) &&
           (!is_loopback(host) || (asked_host != NULL && is_loopback(asked_host)));
}

void etcd_members_read(const Tree *reply, const char *protocol, const char *asked,
                       EtcdEndpoints *out)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const Tree *members = tree_get(reply, "members");
    *out = (EtcdEndpoints){0};
    if (members == NULL || members->kind != TREE_LIST)
        return;
    for (size_t i = 0; i < members->count; i++) {
        const Tree *urls = tree_get(members->entries[i].value, "clientURLs");
        if (urls == NULL || urls->kind != TREE_LIST)
            continue; // it has not started yet
        for (size_t k = 0; k < urls->count; k++) {
            const char *url = tree_string_of(urls->entries[k].value);
            if (url != NULL && is_usable(arena, url, protocol, asked))
                (void)etcd_endpoints_add(out, url); // more than we can hold: enough
        }
    }
}

// Otherwise all members of all clusters would ask the node that is listed first.
static void shuffle(EtcdEndpoints *list, Rng *rng)
{
    for (size_t i = list->count; i > 1; i--) {
        const size_t k = (size_t)rng_below(rng, i);
        char url[ETCD_URL_SIZE];
        memcpy(url, list->url[i - 1], sizeof url);
        memcpy(list->url[i - 1], list->url[k], sizeof url);
        memcpy(list->url[k], url, sizeof url);
    }
}

static bool discovery_is_due(Etcd *etcd)
{
    EtcdShared *shared = &etcd->shared;
    pthread_mutex_lock(&shared->mutex);
    const Instant now = clock_now(shared->clock);
    const bool due = !instant_is_set(shared->discovered_at) ||
                     instant_ms_between(shared->discovered_at, now) >= ETCD_DISCOVERY_MS;
    if (due)
        shared->discovered_at = now; // whatever comes of it: the next try is due then
    pthread_mutex_unlock(&shared->mutex);
    return due;
}

void etcd_discover_members(Etcd *etcd, EtcdClient *client, Deadline deadline)
{
    if (etcd->fixed || !discovery_is_due(etcd))
        return;
    const EtcdRequest request = {.path = "/cluster/member/list", .body = "{}", .kind = ETCD_READ};
    EtcdReply reply = {0};
    Error err = {0};
    EtcdEndpoints found;
    if (!etcd_call(client, &request, deadline, &reply, &err)) {
        log_debug("etcd member list failed error='%s'", err.text);
        return;
    }
    etcd_members_read(reply.body, etcd->protocol, etcd_client_endpoint(client), &found);
    if (found.count == 0)
        return;
    shuffle(&found, &client->rng);
    etcd_shared_set_discovered(&etcd->shared, &found);
}

// --- SRV records

typedef struct {
    int priority, weight;
    const char *target; // host:port
} SrvRecord;

static int by_priority(const void *a, const void *b)
{
    const SrvRecord *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    return x->weight != y->weight ? (x->weight > y->weight ? -1 : 1) : strcmp(x->target, y->target);
}

static bool read_srv(Arena *arena, ns_msg *message, const ns_rr *record, SrvRecord *out)
{
    enum { FIXED_BYTES = 6 };
    char host[NS_MAXDNAME];
    const unsigned char *data = ns_rr_rdata(*record);
    if (ns_rr_type(*record) != ns_t_srv || ns_rr_rdlen(*record) <= FIXED_BYTES ||
        ns_name_uncompress(ns_msg_base(*message), ns_msg_end(*message), data + FIXED_BYTES, host,
                           sizeof host) < 0)
        return false;
    const int port = (int)ns_get16(data + 4);
    if (port == 0 || host[0] == '\0' || strspn(host, ".") == strlen(host))
        return false; // "." says that the service is not offered
    *out = (SrvRecord){.priority = (int)ns_get16(data),
                       .weight = (int)ns_get16(data + 2),
                       .target = arena_printf(arena, "%s:%d", host, port)};
    return true;
}

bool etcd_srv_read(Arena *arena, const unsigned char *reply, int length, StringList *out)
{
    ns_msg message;
    if (ns_initparse(reply, length, &message) < 0)
        return false;
    const int count = ns_msg_count(message, ns_s_an);
    SrvRecord *records = ARENA_ARRAY(arena, SrvRecord, (size_t)count);
    size_t found = 0;
    for (int i = 0; i < count; i++) {
        ns_rr record;
        if (ns_parserr(&message, ns_s_an, i, &record) < 0)
            return false;
        if (read_srv(arena, &message, &record, &records[found]))
            found++;
    }
    if (found > 0)
        qsort(records, found, sizeof *records, by_priority);
    for (size_t i = 0; i < found; i++)
        string_list_add(out, arena, records[i].target);
    return true;
}

// Two tries share what is left, in whole seconds as the resolver counts them.
static StringList query_srv(Arena *arena, const char *name, int64_t left_ms)
{
    enum { ANSWER_BYTES = 16 * 1024 };
    StringList targets = {0};
    struct __res_state state = {0};
    if (res_ninit(&state) != 0)
        return targets;
    const int64_t seconds = left_ms / (2 * MS_PER_S);
    state.retrans = seconds < 1 ? 1 : seconds > 5 ? 5 : (int)seconds;
    state.retry = 2;
    unsigned char *answer = arena_alloc(arena, ANSWER_BYTES);
    const int length = res_nquery(&state, name, ns_c_in, ns_t_srv, answer, ANSWER_BYTES);
    if (length > 0 && length <= ANSWER_BYTES)
        (void)etcd_srv_read(arena, answer, length, &targets); // garbage: no targets
    res_nclose(&state);
    return targets;
}

// Peers know the client addresses: GET /members of the peer API.
static void add_peers_clients(Etcd *etcd, Arena *arena, const char *peer, Deadline deadline,
                              EtcdEndpoints *out)
{
    AUTO(http_release) Http *http = http_new(etcd->resolver, &(HttpOptions){.skip_verify = true});
    const HttpRequest request = {.method = "GET", .url = arena_printf(arena, "%s/members", peer)};
    HttpReply reply = {0};
    const Tree *list = NULL;
    Error err = {0};
    if (!http_call(http, arena, &request, deadline, &reply, &err) || reply.status != 200 ||
        !tree_parse_json(arena, reply.body, &list, &err))
        return;
    Tree *wrapped = tree_map(arena);
    tree_set(arena, wrapped, "members", list);
    EtcdEndpoints found;
    etcd_members_read(wrapped, str_starts(peer, "https") ? "https" : "http", peer, &found);
    for (size_t i = 0; i < found.count; i++)
        (void)etcd_endpoints_add(out, found.url[i]);
}

static const struct {
    const char *name, *protocol;
    bool peers; // its targets are peer addresses
} services[] = {
    {"-client-ssl", "https", false}, {"-client", "http", false},
    {"-ssl", "https", false},        {"", "http", false},
    {"-server-ssl", "https", true},  {"-server", "http", true},
};

bool etcd_discover_srv(Etcd *etcd, Arena *arena, bool again, Deadline deadline, Error *err)
{
    EtcdShared *shared = &etcd->shared;
    pthread_mutex_lock(&shared->mutex);
    const bool known = shared->configured.count > 0;
    pthread_mutex_unlock(&shared->mutex);
    if ((known && !again) || etcd->srv == NULL)
        return known || error_set(err, ERR_INVALID, "no etcd endpoint is configured");

    EtcdEndpoints found = {0};
    for (size_t i = 0; i < COUNT_OF(services) && found.count == 0; i++) {
        const int64_t left = deadline_left_ms(deadline, clock_now(shared->clock));
        if (left == 0)
            break;
        const char *name = arena_printf(arena, "_etcd%s%s%s._tcp.%s", services[i].name,
                                        etcd->srv_suffix != NULL ? "-" : "",
                                        str_or(etcd->srv_suffix, ""), etcd->srv);
        const StringList targets = query_srv(arena, name, left);
        for (size_t k = 0; k < targets.count; k++) {
            const char *url =
                arena_printf(arena, "%s://%s", services[i].protocol, targets.items[k]);
            if (services[i].peers)
                add_peers_clients(etcd, arena, url, deadline, &found);
            else
                (void)etcd_endpoints_add(&found, url);
        }
    }
    if (found.count == 0)
        return known ||
               error_set(err, ERR_UNAVAILABLE, "no SRV record of etcd under '%s'", etcd->srv);
    etcd_shared_set_configured(shared, &found);
    return true;
}
