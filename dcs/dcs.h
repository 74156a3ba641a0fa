// The distributed configuration store, as the agent and howdahctl need it. One file per
// implementation (dcs/etcd.c, dcs/kubernetes/), and the simulator's own.
//
// Every call returns by its deadline. A failed write says what is known: ERR_CONFLICT (not applied:
// the world has moved on), ERR_UNAVAILABLE (not applied), ERR_UNCERTAIN (perhaps applied: look
// before acting on it), ERR_INVALID (refused for good: permissions, garbage). docs/store.md.
//
// Calls are made by one thread, the turn's; view by others too, REST's. The implementation's
// watcher thread keeps it.
#pragma once
#include "common/model/cluster.h"

typedef struct Dcs Dcs;

// What a keepalive, or a keepalive and a proving txn, has shown. valid_until is
// sent_at + min(ttl asked, ttl in the reply): counted from before the request left.
typedef struct {
    Instant sent_at;
    int64_t ttl_ms;
    Instant valid_until;
} LeaseProof;

typedef struct {
    const char *text; // JSON, to be put into the key; NULL: not written
} RecordWrite;

typedef struct {
    // The snapshot this was decided from: these keys must still be at these revisions (0: absent).
    int64_t sync_revision, failover_revision, failsafe_revision, config_revision, term_revision;
    // 0: the leader key must be absent. Else it must be at this mod_revision: a key that somebody
    // wrote by hand, without a lease, or ours that was tampered with.
    int64_t over_leader_revision;
    bool bootstrap; // also: initialize must be absent and is put, empty, bound to our lease
    const char *instance;
    uint32_t parent_timeline, timeline; // of the term record
} AcquireRequest;

typedef struct {
    int64_t term; // create_revision of the leader key
    LeaseProof proof;
} Acquired;

typedef struct {
    int64_t term;
    const char *status; // JSON of the final status, NULL: leave as it is
    const char *instance;
    uint32_t timeline;
    Lsn lsn; // end of our WAL, for the marker
    // Somebody is about to acquire it: where clients are led by the same object, that is left to
    // them.
    bool to_successor;
} ReleaseRequest;

typedef enum {
    KEY_INITIALIZE,
    KEY_CONFIG,
    KEY_FAILOVER,
    KEY_SYNC,
    KEY_HISTORY,
    KEY_FAILSAFE,
    KEY_STATUS,
    KEY_TERM
} DcsKey;

#define REVISION_ANY (-1) // an unconditional write

typedef struct {
    // The cached view, copied into the arena. Never blocks; false while none has been read yet.
    bool (*view)(Dcs *, Arena *, ClusterView *out);
    // A linearizable read; the cache is updated too.
    bool (*refresh)(Dcs *, Arena *, Deadline, ClusterView *out, Error *);
    // Opens our session (a lease). resume: the id of one we had, "" or NULL for a new one. Resuming
    // a session that is gone gives ERR_CONFLICT; of one that goes on, out->ttl_ms is what others
    // count by, and renewals leave it so until a session is opened with resume "".
    // *out_session lives as long as the Dcs.
    bool (*open_session)(Dcs *, int64_t ttl_ms, const char *resume, Deadline,
                         const char **out_session, LeaseProof *out, Error *);
    // ERR_CONFLICT: the session is gone, and all keys bound to it.
    bool (*keep_session)(Dcs *, Deadline, LeaseProof *out, Error *);
    // Sends its own keepalive first; then one txn. ERR_CONFLICT: lost the race, or decided from
    // what is no longer so.
    bool (*acquire)(Dcs *, const AcquireRequest *, Deadline, Acquired *out, Error *);
    // A proven renewal: keepalive, then a txn that compares LEASE and create_revision of the leader
    // key with ours and writes status (NULL: does not). ERR_CONFLICT: the key is not ours any more.
    bool (*renew)(Dcs *, int64_t term, const char *status, Deadline, LeaseProof *out, Error *);
    // Deletes the leader key if it is ours, with marker and final status in the same txn.
    bool (*release)(Dcs *, const ReleaseRequest *, Deadline, Error *);
    // Puts our member record, bound to the session.
    bool (*put_member)(Dcs *, const char *json, Deadline, Error *);
    // Compare-and-swap by mod_revision (0: must be absent; REVISION_ANY). value NULL deletes.
    // *out_revision may be NULL.
    bool (*write)(Dcs *, DcsKey, const char *value, int64_t expected_revision, Deadline,
                  int64_t *out_revision, Error *);
    // Deletes everything of this cluster (howdahctl remove).
    bool (*remove_cluster)(Dcs *, Deadline, Error *);
    int (*event_fd)(Dcs *); // readable when a key that wakes turns has changed; read it to clear
    void (*set_ttl)(Dcs *, int64_t ttl_ms, int64_t loop_wait_ms, int64_t retry_timeout_ms);
    void (*free)(Dcs *);
} DcsOps;

struct Dcs {
    const DcsOps *ops; // first member of every implementation's own struct
};

static inline void dcs_free(Dcs *dcs)
{
    if (dcs)
        dcs->ops->free(dcs);
}
