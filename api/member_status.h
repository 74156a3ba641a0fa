// What this member says of itself over REST: its Postgres as last seen, put into the words of the
// status document. Shared by health checks, document and metrics. Pure.
#pragma once
#include "common/model/snapshot.h"

typedef struct {
    ServerState state;
    Role role;
    bool answered; // the query went through: only then is anything below known
    bool sync_standby, quorum_standby;
    const char *replication_state; // "streaming", "in archive recovery", NULL: neither
    Lsn received, replayed;        // in recovery only; received falls back to replayed
} MemberStatus;

// server: the snapshot's own, or a fresher sample; NULL: sampled, and no answer came.
MemberStatus member_status(const Snapshot *snapshot, const ServerView *server, bool cluster_known);
// Is the server in a state in which it is worth asking? Else it is reported as the agent knows it.
bool member_status_is_asked(const Snapshot *snapshot);
// A store's view younger than ttl, as of now: a turn that hangs must not keep it young.
bool snapshot_cluster_known(const Snapshot *snapshot, Instant now);
// We hold the leader key, by the last proven renewal.
bool snapshot_leads(const Snapshot *snapshot, Instant now);
