// One logical call to an etcd cluster: which endpoint, how long, as whom, and what its answer
// means. A client is used by one thread; the threads of a store share an EtcdShared.
#pragma once
#include "common/base/arena.h"
#include "common/model/settings.h"
#include "common/os/clock.h"
#include "common/os/http.h"
#include "common/os/random.h"

#include <pthread.h>
#include <stdatomic.h>

#define ETCD_ENDPOINTS_MAX 24
#define ETCD_URL_SIZE      320
#define ETCD_TOKEN_SIZE    4096

typedef struct {
    size_t count;
    char url[ETCD_ENDPOINTS_MAX][ETCD_URL_SIZE]; // "http://host:port", no slash at the end
} EtcdEndpoints;

bool etcd_endpoints_add(EtcdEndpoints *list, const char *url); // false: full, too long or known

// What the clients of one store have in common. Everything behind the mutex.
typedef struct {
    pthread_mutex_t mutex;
    Clock *clock;
    EtcdEndpoints configured; // settings or SRV
    EtcdEndpoints discovered; // the cluster's own member list; empty: not asked
    uint64_t endpoints_generation;
    Instant discovered_at;
    // The guard against a node that was left behind: the highest raft term seen of this cluster.
    uint64_t cluster_id; // 0: none seen yet
    int64_t raft_term;
    Instant term_seen_at;      // the last time
    char *username, *password; // NULL: no authentication
    uint64_t credentials_generation;
    atomic_bool short_tries; // fast timers: a dead endpoint may not eat the budget
} EtcdShared;

void etcd_shared_init(EtcdShared *shared, Clock *clock);
void etcd_shared_done(EtcdShared *shared);
void etcd_shared_set_credentials(EtcdShared *shared, const char *username, Secret password);
void etcd_shared_set_configured(EtcdShared *shared, const EtcdEndpoints *endpoints);
void etcd_shared_set_discovered(EtcdShared *shared, const EtcdEndpoints *endpoints);

typedef struct {
    EtcdShared *shared;
    Http *http;
    Arena *scratch; // of one try: emptied by the next one
    Rng rng;
    EtcdEndpoints endpoints; // a copy of what is shared
    uint64_t endpoints_generation;
    size_t current;     // tried first
    const char *prefix; // "/v3"; NULL: not known yet
    char token[ETCD_TOKEN_SIZE];
    bool authenticated; // token is what the credentials gave; "" when etcd wants none
    uint64_t credentials_generation;
} EtcdClient;

void etcd_client_init(EtcdClient *client, EtcdShared *shared, Resolver *resolver,
                      const HttpOptions *options);
void etcd_client_done(EtcdClient *client);

typedef enum {
    ETCD_READ,       // changes nothing: asked again until the deadline
    ETCD_REPEATABLE, // a second time does no harm: the same, but an unknown outcome is told
    ETCD_GUARDED,    // its compares let it happen once: the same, and perhaps_before is told
    ETCD_ONCE,       // ends with the first unknown outcome
} EtcdCallKind;

typedef struct {
    const char *path; // below the prefix: "/kv/txn"
    const char *body;
    EtcdCallKind kind;
} EtcdRequest;

typedef struct {
    const Tree *body; // of a stream endpoint: its first "result". Gone with the client's next call
    int64_t revision; // of the header; 0: none
    uint64_t cluster_id;
    Instant sent_at;     // before the answered request left
    bool perhaps_before; // an earlier copy of the request may have been applied
} EtcdReply;

// ERR_UNAVAILABLE: surely not applied. ERR_UNCERTAIN: perhaps applied (never of ETCD_READ).
// ERR_CONFLICT: the lease is gone. ERR_INVALID: refused for good.
bool etcd_call(EtcdClient *client, const EtcdRequest *request, Deadline deadline, EtcdReply *out,
               Error *err) MUST_CHECK;

// A stream at the current endpoint, which has to have answered a call before. Returns when it ends.
bool etcd_stream(EtcdClient *client, const char *path, const char *body, int64_t idle_ms,
                 HttpSink *sink, void *context, int *out_status, Error *err) MUST_CHECK;
void etcd_client_next_endpoint(EtcdClient *client);
// The endpoint that is tried first, "" when none is known.
const char *etcd_client_endpoint(EtcdClient *client);

// Takes note of a reply's header; false when the node is behind what the cluster has shown already.
// A term that nobody has shown for a minute is forgotten: a store restored from a backup may begin
// again below it.
#define ETCD_TERM_MEMORY_MS INT64_C(60000)
bool etcd_guard_check(EtcdShared *shared, uint64_t cluster_id, int64_t raft_term);

// What an error body says.
typedef enum {
    ETCD_SAYS_OK,
    ETCD_SAYS_UNKNOWN,      // perhaps applied; another node may know more
    ETCD_SAYS_RETRY,        // not applied, later or elsewhere it may be
    ETCD_SAYS_AUTHENTICATE, // not applied, a new token may help
    ETCD_SAYS_NO_AUTH,      // authentication is off
    ETCD_SAYS_LEASE_GONE,
    ETCD_SAYS_FULL,    // not applied, out of space: nothing to gain elsewhere
    ETCD_SAYS_INVALID, // not applied, and never will be
} EtcdVerdict;

EtcdVerdict etcd_read_error(Arena *arena, int http_status, const char *body, const char **out_text);
EtcdVerdict etcd_error_of(const Tree *document, const char **out_text); // ETCD_SAYS_OK: no error

// --- documents

// Cuts a stream of JSON documents, which may be split anywhere, into one document at a time.
typedef struct {
    char *data;
    size_t length, capacity;
    int depth;
    bool in_string, escaped;
} EtcdSplitter;

typedef bool EtcdDocument(void *context, const char *text); // false: stop
// False when the document asked to stop, or grew beyond 8 MiB, or this is no JSON.
bool etcd_split(EtcdSplitter *splitter, const char *bytes, size_t length, EtcdDocument *on_document,
                void *context);
void etcd_splitter_done(EtcdSplitter *splitter);
