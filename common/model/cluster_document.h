// The cluster as GET /cluster and `howdahctl list` show it.
#pragma once
#include "common/model/cluster.h"

typedef struct {
    bool known; // false: "unknown" in both columns
    Lsn lsn;
    uint64_t lag_bytes; // behind the cluster's last known position; never negative
} LagColumn;

typedef struct {
    const MemberView *member; // name, host, port, timeline, tags, pending restart, …
    bool leader;              // holds the leader key
    const char *role;  // "leader", "standby_leader", "sync_standby", "quorum_standby", "replica"
    const char *state; // "" if nothing is published
    LagColumn receive, replay, location; // of everybody but the leader
} MemberRow;

typedef struct {
    const MemberRow *rows; // sorted by name
    size_t count;
} MemberRows;

// What the dynamic configuration in the store says of the cluster as a whole. Any member may be
// asked, so it is read from the view and not from this member's own settings.
typedef struct {
    bool paused;
    bool sync_mode;   // synchronous_mode is on (quorum included), and this is no standby cluster
    bool quorum_mode; // synchronous_mode: quorum
    bool standby_cluster;
} ClusterModes;

ClusterModes cluster_modes(const ClusterView *view);
MemberRows cluster_rows(Arena *arena, const ClusterView *view);
// {"members": […], "pause"?, "scheduled_switchover"?}; the caller adds what it wants behind.
Tree *cluster_document(Arena *arena, const ClusterView *view);
