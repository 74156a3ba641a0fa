#include "api/member_status.h"

bool member_status_is_asked(const Snapshot *snapshot)
{
    const ServerState state = snapshot->server.state;
    return state == STATE_RUNNING || state == STATE_RESTARTING || state == STATE_STARTING;
}

bool snapshot_cluster_known(const Snapshot *snapshot, Instant now)
{
    return snapshot->cluster_known &&
           instant_before(now, instant_plus_ms(snapshot->cluster.seen_at, snapshot->ttl_ms));
}

bool snapshot_leads(const Snapshot *snapshot, Instant now)
{
    return instant_before(now, snapshot->leader_until); // 0, no leader, is before everything
}

// Unlike the agent's own view of its role, Postgres's word counts: after a promotion by hand it
// says primary. A standby leader is a replica to Postgres, so there the agent's word stands.
static Role role_of(const Snapshot *snapshot, const ServerView *server)
{
    if (!server->in_recovery)
        return ROLE_PRIMARY;
    return snapshot->standby_cluster ? snapshot->server.role : ROLE_REPLICA;
}

MemberStatus member_status(const Snapshot *snapshot, const ServerView *server, bool cluster_known)
{
    MemberStatus status = {.state = snapshot->server.state, .role = snapshot->server.role};
    if (server == NULL || !server->answered || !member_status_is_asked(snapshot)) {
        if (status.state == STATE_RUNNING)
            status.state = STATE_UNKNOWN;
        return status;
    }
    status.answered = true;
    status.role = role_of(snapshot, server);
    if (server->in_recovery) {
        status.replayed = server->replay_lsn;
        status.received = server->receive_lsn != LSN_NONE ? server->receive_lsn : status.replayed;
        if (server->streaming)
            status.replication_state = "streaming";
        else if (server->archive_recovery)
            status.replication_state = "in archive recovery";
    }
    if (status.role == ROLE_REPLICA && snapshot->sync_mode && cluster_known &&
        string_list_has_ignoring_case(&snapshot->cluster.sync.voters, snapshot->name)) {
        status.quorum_standby = snapshot->quorum_mode;
        status.sync_standby = !snapshot->quorum_mode;
    }
    return status;
}
