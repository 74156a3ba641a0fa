// One logical call to the Kubernetes API: at which server, how long, as whom, and what the answer
// means: docs/kubernetes-api.md, "Tries". A client is used by one thread; the threads of a store
// share a KubeShared.
#pragma once
#include "common/model/settings.h"
#include "common/os/random.h"
#include "common/os/resolver.h"
#include "dcs/kubernetes/access.h"

#include <pthread.h>
#include <stdatomic.h>

#define KUBE_SERVERS_MAX 16
#define KUBE_SERVER_SIZE 280
#define KUBE_CODES_MAX   32

typedef struct {
    size_t count;
    char url[KUBE_SERVERS_MAX][KUBE_SERVER_SIZE]; // "https://10.0.0.1:6443"
} KubeServers;

// What the clients of one store have in common. Everything behind the mutex.
typedef struct {
    pthread_mutex_t mutex;
    Clock *clock;
    Resolver *resolver;
    KubeAccess *access; // not ours to free
    KubeServers direct; // the API servers' own addresses; empty: not asked, or not wanted
    uint64_t servers_generation;
    Instant direct_at;
    bool bypass; // wanted, and not refused so far
    int codes[KUBE_CODES_MAX];
    size_t code_count;
    // Timers, for sockets and tries; kube_shared_set_timers.
    int64_t ttl_ms, loop_wait_ms, retry_timeout_ms;
    uint64_t timers_generation;
    atomic_bool short_tries; // fast timers: a dead server may not eat the budget
} KubeShared;

// settings: bypass_api_service and retriable_http_codes are what counts here; NULL: neither.
void kube_shared_init(KubeShared *shared, Clock *clock, Resolver *resolver, KubeAccess *access,
                      const KubernetesSettings *settings);
void kube_shared_done(KubeShared *shared);
// Sockets made from now on: given up when the peer is silent for ttl. Any thread.
void kube_shared_set_timers(KubeShared *shared, int64_t ttl_ms, int64_t loop_wait_ms,
                            int64_t retry_timeout_ms);

typedef struct {
    KubeShared *shared;
    Http *http;
    Arena *scratch; // of one try: emptied by the next one
    Arena *kept;    // the strings of tls
    HttpOptions tls;
    Rng rng;
    KubeServers servers; // a copy of what is shared, with the service's own address
    uint64_t servers_generation, tls_generation, timers_generation;
    size_t current; // tried first
} KubeClient;

void kube_client_init(KubeClient *client, KubeShared *shared);
void kube_client_done(KubeClient *client); // accepts one that is all zero

typedef enum { KUBE_GET, KUBE_POST, KUBE_PATCH, KUBE_DELETE } KubeMethod;

// PATCH bodies. Built-in objects take both; lists like subsets differ: replaced whole by both, for
// Endpoints have no merge keys.
#define KUBE_STRATEGIC_MERGE "application/strategic-merge-patch+json"
#define KUBE_MERGE           "application/merge-patch+json"

typedef struct {
    KubeMethod method;
    const char *path;         // "/api/v1/namespaces/ns/endpoints/demo"
    const char *query;        // escaped, without '?': "labelSelector=…"; NULL: none
    const char *body;         // NULL: none
    const char *content_type; // of a PATCH, NULL: KUBE_STRATEGIC_MERGE
    // 403 is tried again until the deadline, and is then ERR_UNAVAILABLE: a leader does not step
    // down because a role was being written anew.
    bool retry_forbidden;
} KubeRequest;

typedef struct {
    // Of the last answer, 0: none came. These two are also written when the call fails.
    int status;
    int64_t asked_wait_ms; // its Retry-After; 0: none
    const Tree *body;      // in the caller's arena; NULL: 404
    // metadata.resourceVersion: of the object, or of the list. "" if there is none.
    const char *resource_version;
    Instant sent_at; // before the answered request left
} KubeReply;

// True: the server has done it (200 to 205), or the object of a GET or DELETE is not there (status
// 404, body NULL). Otherwise the kind says what is known:
//  ERR_CONFLICT     not done: 409 (resourceVersion moved on; POST: exists already), a PATCH of what
//                   is not there (status 404), 410 (a list or watch from too old a version)
//  ERR_UNAVAILABLE  not done, nobody could be reached or would do it before the deadline
//  ERR_UNCERTAIN    perhaps done: read before acting on it. The connection of a PATCH or POST was
//                   lost after it was sent (told at once: time may be left for the reading), or an
//                   answer like 504 left it open and no later try settled it: a 409 after one may
//                   be due to our own first copy. Never of a GET
//  ERR_INVALID      refused for good: 401 with a fresh token too, 403 (the text names the rule that
//                   the role lacks), 4xx, or garbage
// 429, 500, 502, 503, 504, the settings' own codes, and whatever carries Retry-After are tried
// again until the deadline; a GET also after every lost connection. Returns by the deadline.
bool kube_call(KubeClient *client, Arena *arena, const KubeRequest *request, Deadline deadline,
               KubeReply *out, Error *err) MUST_CHECK;

// With bypass_api_service: asks for the API servers' addresses if that was long ago (5 minutes), or
// again. A watch does it whenever it opens a stream, so nobody else has to. Failure is no matter:
// what is known stays; a refusal (403) ends the bypass for the life of the store, with a line in
// the log.
#define KUBE_DISCOVERY_MS INT64_C(300000)
void kube_client_discover(KubeClient *client, bool again, Deadline deadline);

// A stream at the server that answered last. Returns when it ends, as http_stream does.
bool kube_stream(KubeClient *client, const char *path, const char *query, int64_t idle_ms,
                 void (*on_status)(void *context, int status), HttpSink *sink, void *context,
                 int *out_status, Error *err) MUST_CHECK;
void kube_client_next_server(KubeClient *client);

// --- texts

// Percent-encoded for a query: "a=b" becomes "a%3Db".
char *kube_escape(Arena *arena, const char *text);
// "labelSelector=application%3Dpatroni%2Ccluster-name%3Ddemo"
char *kube_label_query(Arena *arena, const KubernetesLabels *labels, const char *scope_label,
                       const char *scope);
// "fieldSelector=metadata.name%3Ddemo": a watch of one object.
char *kube_name_query(Arena *arena, const char *name);
