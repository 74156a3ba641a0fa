// What the agent publishes after each turn for everybody else to read: REST probes, metrics, /why.
//
// A Snapshot is immutable and counted; whoever takes one releases it. Any thread.
#pragma once
#include "common/model/cluster.h"
#include "common/model/ledger.h"
#include "common/model/server_view.h"

typedef struct Snapshot Snapshot;

struct Snapshot {
    Arena *arena; // owns everything below
    int refs;     // atomic
    Instant published_at;
    const char *name, *scope;
    const char *howdah_version, *patroni_version; // ours; the one we are compatible with
    const Tree *tags;                             // effective and published; NULL: none
    Tags tag_values;
    int64_t ttl_ms, loop_wait_ms;
    uint64_t maximum_lag_on_failover;
    bool cluster_known; // a view younger than ttl, and not empty
    ClusterView cluster;
    int64_t dcs_last_seen_s; // wall clock; 0: never
    Instant leader_until;    // we hold the leader key until then, proven; 0: we do not
    int64_t term;            // when we hold it
    bool fenced;             // every registered member has a fence
    bool fence_armed;
    bool paused;
    bool sync_mode, quorum_mode; // from the dynamic configuration
    bool standby_cluster;
    bool failsafe_enabled, failsafe_active;
    Instant next_turn_at;          // latest; liveness
    ServerView server;             // of that turn
    const Tree *dynamic;           // dynamic configuration in force, for GET /config
    const Tree *scheduled_restart; // NULL: none
    LedgerEntry decision;          // the last one
    const LedgerEntry *ledger;     // the last 100 that differed, oldest first
    size_t ledger_count;
    uint64_t turns, log_dropped;
};

Snapshot *snapshot_new(void); // one reference, empty arena
Snapshot *snapshot_ref(Snapshot *snapshot);
void snapshot_unref(Snapshot *snapshot);    // accepts NULL
void snapshot_release(Snapshot **snapshot); // for AUTO
// Deep copies into an arena.
void server_view_copy(Arena *arena, const ServerView *from, ServerView *to);
