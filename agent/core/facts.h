// Everything a decision may depend on, as plain data. Gathered by agent/observe.c, or by a test.
#pragma once
#include "common/model/cluster.h"
#include "common/model/peer.h"
#include "common/model/reason.h"
#include "common/model/server_view.h"
#include "common/model/settings.h"

// What was begun and has to be gone through with, over several turns.
typedef enum {
    HANDOVER_NONE,
    HANDOVER_SWITCHOVER, // asked for by the failover key
    HANDOVER_SHUTDOWN,   // we are told to stop
    HANDOVER_FAILING,    // our server cannot serve: start timeout, promotion stuck, disk hung
} Handover;

// Carried between turns; decide() returns the next one. Lost with the process: every field starts
// at zero in a new agent, and every rule must be right then too.
typedef struct {
    int64_t promoted_term; // the term in which promote was asked for
    Instant promote_at;
    int64_t primary_term;    // the term in which our server was seen as primary
    int64_t checkpoint_term; // the term in which the checkpoint after promotion was asked for
    Handover handover;
    Instant handover_at;
    int64_t handover_failover_revision; // the request it obeys
    Reason handover_reason;             // HANDOVER_FAILING: why
    Instant released_at;                // gave the lease up, and nobody has led since
    Instant trying_to_start_since;      // leader: the server is not serving since then
    Instant silent_since;               // the running server has not answered since then
    Instant apart_since;                // the standby has not streamed since then
    int nudges;                         // … and has been told so often to try at once,
    Instant nudged_at;                  // the last time then
    Instant remains_since;              // no postmaster, but processes of it since then
    int64_t checked_term;  // the leader's term our WAL was compared with, and found to be part of
    int64_t diverged_term; // … and found not to be part of; until rewound or copied again
    int64_t task_term;     // the leader's term the task begun last is about
    Instant check_wait_since;   // waiting for the leader to become a source
    int64_t rewind_failed_term; // the leader's term towards which pg_rewind failed
    int rewind_failures;        // … and how often
    bool rewound;               // pg_rewind has succeeded, the server has not been started since
    bool recovered;             // single-user recovery was tried since the server last ran
    bool reinit;                // asked for, not yet done
    bool reinit_from_leader;    // … by a base backup of the leader, whatever else is configured
    bool restarting;            // stopped for a restart, not yet up again
    bool bootstrapping;         // we hold the key to create the cluster
    bool post_bootstrap_done;
    bool bootstrap_failed;
    uint64_t task_seen; // number of the last task whose end was digested
    int task_failures;  // in a row
    Instant task_retry_at;
} Memory;

typedef struct {
    bool held;     // the leader key is ours by the last proof
    bool resuming; // a fence is armed by our predecessor, whose lease is not yet proven ours
    int64_t term;
    Instant proven_at; // send time of the last proof
    Instant valid_until;
    int64_t ttl_ms;            // by which it was proven: the settings' may be another since
    bool tampered;             // the key was changed behind our back while our lease lasts
    int64_t tampered_revision; // 0: it is gone; else the mod_revision it has now
} LeaseFacts;

typedef struct {
    bool connected, terminating, fence_armed, fence_weak;
    // The fence's note says that a promote or a start without standby.signal was sent, or was about
    // to be: only the end of every process takes that back (pg_is_in_recovery() proves nothing).
    bool writer;
    Instant quit_at, kill_at;
    Instant fenced_at; // the last time the fence struck: by then everything was told to die
} WardenFacts;

typedef struct {
    Instant asked_at; // 0: not asked
    const PeerAnswer *answers;
    size_t count;
} PeerFacts;

// What people asked of this member alone.
typedef struct {
    bool shutdown; // SIGTERM or SIGINT on a VM; a terminating pod
    bool restart;  // conditions are met, and it is due
    bool restart_scheduled;
    bool reinit, reinit_force, reinit_from_leader;
    bool reload; // settings differ from what the files say
} RequestFacts;

typedef struct {
    Instant now;
    Instant started_at; // since when this agent sees the store
    int64_t wall_us;
    const Settings *settings;
    bool store_known; // a view has been read since the agent started
    bool store_ok;    // the last word from the store is younger than the session's proof demands
    const ClusterView *cluster; // NULL while not known
    TimelineHistory history;    // the cluster's, from /history and a confirmed term record
    LeaseFacts lease;
    bool leader_is_us_by_name; // the key bears our name
    bool leader_is_us;         // and our instance
    WardenFacts warden;
    const ServerView *server;
    PeerFacts peers;
    RequestFacts request;
    Memory memory;
} Facts;
