// Why a decision was taken, or why nothing was done. Stable names: they are logged, kept in the
// ledger, shown by REST and howdahctl explain, and asserted by tests. The text is for people.
#pragma once

// X(NAME, "what it means")
#define REASON_TABLE(X)                                                                            \
    X(NONE, "nothing decided yet")                                                                 \
    /* store and warden */                                                                         \
    X(STORE_NOT_READ, "the store has not been read yet")                                           \
    X(STORE_UNREACHABLE, "the store does not answer; the lease still has time")                    \
    X(STORE_UNREACHABLE_STANDBY, "the store does not answer; the standby goes on")                 \
    X(WARDEN_UNREACHABLE, "the warden does not answer")                                            \
    X(TASK_RUNNING, "a task is under way")                                                         \
    X(TASK_FAILED_WAITING, "the last task failed; waiting before the next try")                    \
    X(DISK_HUNG, "the data disk does not answer")                                                  \
    /* data directory and identity */                                                              \
    X(INSPECTING, "looking at the data directory")                                                 \
    X(DIRECTORY_INACCESSIBLE, "the data directory cannot be read")                                 \
    X(SYSTEM_ID_UNKNOWN, "the data directory's system identifier cannot be read")                  \
    X(SYSTEM_ID_FOREIGN, "the data directory belongs to another cluster")                          \
    X(LEADER_KEY_FOREIGN, "the leader key bears our name but is another instance's")               \
    X(LEADER_DIRECTORY_LOST, "the leader's data directory is gone")                                \
    /* bootstrap and joining */                                                                    \
    X(BOOTSTRAP_CLAIM, "no cluster yet: claiming the right to create it")                          \
    X(BOOTSTRAP_RUNNING, "creating the cluster")                                                   \
    X(BOOTSTRAP_POST, "creating roles and running post_bootstrap")                                 \
    X(BOOTSTRAP_DONE, "the new cluster is ready: publishing identifier and configuration")         \
    X(BOOTSTRAP_FAILED, "creating the cluster failed: giving up the claim")                        \
    X(BOOTSTRAP_WAIT, "another member is creating the cluster")                                    \
    X(BOOTSTRAP_NOT_ALLOWED, "no cluster yet, and this member may not create it")                  \
    X(ADOPT_CLUSTER, "no cluster registered: claiming it with the data we have")                   \
    X(CLONE, "the data directory is empty: copying the leader")                                    \
    X(CLONE_WAIT, "the data directory is empty, and nobody to copy from")                          \
    X(REINITIALIZE, "asked to copy the leader again")                                              \
    /* race */                                                                                     \
    X(RACE_ASK_PEERS, "no leader: asking the members how far they are")                            \
    X(RACE_WON, "no leader, and nobody is ahead: acquiring the lease")                             \
    X(RACE_RESUME, "the leader key is ours still: going on")                                       \
    X(RACE_RECREATE, "our leader key was tampered with: writing it again")                         \
    X(RACE_RESERVED, "no leader, but the key is reserved for its holder")                          \
    X(RACE_FRESH_AGENT, "no leader; a freshly started agent waits for a ttl")                      \
    X(RACE_NOT_ELIGIBLE_TAG, "nofailover is set")                                                  \
    X(RACE_BEHIND, "another member is ahead")                                                      \
    X(RACE_PRIORITY, "another member as far has a higher failover_priority")                       \
    X(RACE_ROLLOUT, "another member is as far, and a rollout comes to its pod later or never")     \
    X(RACE_PRIMARY_ALIVE, "another member runs as primary")                                        \
    X(RACE_LAG, "too far behind the last leader (maximum_lag_on_failover)")                        \
    X(RACE_DIVERGED, "our WAL is not part of the cluster's history")                               \
    X(RACE_POSITION_UNKNOWN, "our own position is not known")                                      \
    X(RACE_CANDIDATE_OTHER, "another member is the named candidate")                               \
    X(RACE_SWITCHOVER_SOURCE, "switched over from here; the others go first")                      \
    X(OTHER_STORE_IN_USE, "this cluster is kept in another store, or that is not known yet")       \
    X(RACE_NOT_SYNC, "/sync is in force: only its members may lead")                               \
    X(MODE_UNSUPPORTED, "pause or standby_cluster is set, which this version cannot honour")       \
    X(RACE_BACKOFF, "gave the lease up a moment ago")                                              \
    /* leading */                                                                                  \
    X(LEADER_HEALTHY, "leading")                                                                   \
    X(LEADER_PROMOTE, "holds the lease: promoting")                                                \
    X(LEADER_PROMOTING, "promotion is under way")                                                  \
    X(LEADER_PROMOTION_STUCK, "promotion does not complete: giving the lease up")                  \
    X(LEADER_CHECKPOINT, "promoted: a checkpoint, so that others can rewind from here")            \
    X(LEADER_STARTING, "holds the lease; PostgreSQL is starting")                                  \
    X(LEADER_START_TIMEOUT, "PostgreSQL did not start within primary_start_timeout")               \
    X(LEADER_CRASHED, "PostgreSQL crashed: starting it again, the lease is held")                  \
    X(LEADER_START_STANDBY_FIRST, "holds the lease: starting as standby, to be promoted")          \
    X(LEADER_NOT_ANSWERING, "PostgreSQL does not answer; the lease is renewed meanwhile")          \
    X(LEADER_STOPPED_SERVER, "the primary stopped answering for too long: failing over")           \
    /* losing it */                                                                                \
    X(LEASE_RUNNING_OUT, "the lease cannot be renewed in time: stopping")                          \
    X(LEFTOVERS, "processes of a server that has ended are still there: stopping them")            \
    X(LEASE_LOST, "the leader key is somebody else's: stopping at once")                           \
    X(PRIMARY_WITHOUT_LEASE, "running as primary without the lease: stopping at once")             \
    /* manual */                                                                                   \
    X(SWITCHOVER_ASK_PEERS, "switchover asked for: looking for a candidate")                       \
    X(SWITCHOVER, "switchover: stopping, to hand over")                                            \
    X(SWITCHOVER_RELEASE, "switchover: stopped cleanly, releasing the lease")                      \
    X(SWITCHOVER_IMPOSSIBLE, "switchover asked for, but no candidate is fit: request dropped")     \
    X(SWITCHOVER_STALE, "the switchover's time has passed: request dropped")                       \
    X(SWITCHOVER_NOT_MINE, "the request names another leader: dropped")                            \
    X(FAILOVER_MANUAL, "manual failover to this member")                                           \
    X(RESTART, "restart asked for")                                                                \
    X(RESTART_SCHEDULED, "scheduled restart is due")                                               \
    X(SHUTDOWN_HANDOVER, "told to stop: handing over")                                             \
    X(SHUTDOWN_RELEASE, "told to stop: stopped, releasing the lease")                              \
    X(SHUTDOWN_KEEP, "told to stop: stopped, and nobody holds all of our WAL: lease kept")         \
    X(SHUTDOWN_STAY, "told to stop: handed over, staying until the successor is primary")          \
    X(SHUTDOWN_STOP, "told to stop")                                                               \
    X(SHUTDOWN_DONE, "stopped")                                                                    \
    /* following */                                                                                \
    X(REPLICA_HEALTHY, "following the leader")                                                     \
    X(REPLICA_NOT_STREAMING, "a standby that does not stream from the member it follows")          \
    X(REPLICA_NUDGE, "the member it follows serves: telling the standby to try to stream")         \
    X(REPLICA_NO_LEADER, "no leader to follow")                                                    \
    X(REPLICA_START, "starting as standby")                                                        \
    X(REPLICA_STARTING, "the standby is starting")                                                 \
    X(REPLICA_FOLLOW, "following another member from now on")                                      \
    X(REPLICA_CHECK_DIVERGENCE, "comparing our WAL with the leader's history")                     \
    X(REPLICA_STOP_FOR_REWIND, "our WAL diverged: stopping for pg_rewind")                         \
    X(REPLICA_REWIND, "our WAL diverged: pg_rewind")                                               \
    X(REPLICA_CRASH_RECOVERY, "making the data directory clean for pg_rewind")                     \
    X(REPLICA_REWIND_IMPOSSIBLE, "our WAL diverged, and pg_rewind cannot be used: reinit needed")  \
    X(REPLICA_REWIND_FAILED, "pg_rewind failed: reinit needed")                                    \
    X(REPLICA_WIPE, "our WAL diverged: removing the data directory to copy it again")              \
    X(REPLICA_WAIT_SOURCE, "waiting for the leader to be ready as a source")                       \
    X(RELOAD, "settings changed: writing and reloading them")

typedef enum {
#define REASON_ENUM(name, text) REASON_##name,
    REASON_TABLE(REASON_ENUM)
#undef REASON_ENUM
        REASON_COUNT
} Reason;

const char *reason_name(Reason reason); // "LEADER_HEALTHY"
const char *reason_text(Reason reason);
