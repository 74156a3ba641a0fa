// The REST API: a table of routes over a published snapshot (docs/rest.md). Answers probes from the
// snapshot alone; what must change something becomes a request that the turn completes.
#pragma once
#include "common/model/settings.h"
#include "common/model/snapshot.h"
#include "common/os/clock.h"
#include "common/os/resolver.h"

typedef enum {
    API_SWITCHOVER, // body: leader, candidate, scheduled_at
    API_FAILOVER,
    API_DELETE_SWITCHOVER,
    API_RESTART,
    API_DELETE_RESTART,
    API_RELOAD,
    API_REINITIALIZE, // body: force, from_leader (booleans)
    API_PATCH_CONFIG,
    API_PUT_CONFIG,
} ApiKind;

typedef struct ApiRequest ApiRequest;

struct ApiRequest {
    ApiKind kind;
    const Tree *body;  // a map, already checked to be one; never NULL
    Deadline deadline; // answered with 503 by the api itself when it is over
    Arena *arena;      // the request's own, for whoever works on it
    ApiRequest *next;  // for the queue of whoever holds it
    // --- for the agent's bookkeeping between turns
    Instant accepted_at;
    Instant begun_at;
    bool started;
    const char *old_leader;
    int64_t revision;
};

// What the API needs of the agent. All calls from any thread.
typedef struct ApiHost ApiHost;
struct ApiHost {
    Snapshot *(*snapshot)(ApiHost *); // a reference; NULL before the first turn
    // The store's view as of now, from the watcher's cache. False: none.
    bool (*cluster)(ApiHost *, Arena *, ClusterView *out);
    // The local server sampled after this call began (coalesced). False by the deadline.
    bool (*sample)(ApiHost *, Arena *, Deadline, ServerView *out);
    // Takes the request over; it is completed exactly once by api_complete, from any thread.
    void (*submit)(ApiHost *, ApiRequest *);
    // Optional; NULL: this member takes no part in failsafe mode. A leader that lost the store
    // (body: name, conn_url, api_url, slots) asks us to stand by for a ttl. True: recorded, and
    // *out_lsn is where our WAL ends, or 0. Must not block.
    bool (*failsafe)(ApiHost *, const Tree *body, Lsn *out_lsn);
};

typedef struct Api Api;

typedef struct {
    const RestSettings *settings; // copied
    ApiHost *host;
    Clock *clock;
    Resolver *resolver; // for allowlist names
} ApiOptions;

// Binds and serves. ERR_UNAVAILABLE: the address is taken; ERR_INVALID: certificates or settings.
bool api_start(const ApiOptions *options, Api **out, Error *err) MUST_CHECK;
// New settings: certificates are swapped, the listener is re-bound if its address changed. On error
// the old ones stay.
bool api_configure(Api *api, const RestSettings *settings, Error *err) MUST_CHECK;
// Answers what is suspended with 503, then stops.
void api_stop(Api *api);

// content_type NULL: text/html, as Patroni's plain messages have it. The request is gone after it.
void api_complete(ApiRequest *request, int status, const char *content_type, const char *body);
