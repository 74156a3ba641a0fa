// Small questions about the facts, shared by the rules. Pure.
#pragma once
#include "agent/core/decide.h"

// Could the local server be taking writes, or begin to at any moment? Silence is not "no".
bool may_write(const Facts *f);
// When a fast stop must begin to end before the fence strikes.
Instant must_stop_at(const Facts *f);
// The server is up as a standby, and has said so.
bool is_standby(const Facts *f);
bool directory_usable(const Facts *f);
// Answers asked for at or after this instant.
bool peers_fresh(const Facts *f, Instant since);
// Sets reason and evidence; returns the decision for one-line clauses.
Decision with(Decision d, Reason reason);
Decision with_task(Decision d, Reason reason, TaskKind task);
Decision wait_until(Decision d, Reason reason, Instant at);
void evidence(Decision *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
// Whom this member is to follow when leader leads: replicatefrom, nostream.
const MemberView *upstream_of(const Facts *f, const MemberView *leader);
// The term record in the view was written by the acquire whose term we hold. A create_revision
// alone does not say so: who acquires over a key that somebody wrote by hand inherits its.
bool record_is_ours(const Facts *f);
// Is the failover key a request for now (nothing scheduled, or due)?
typedef enum { FAILOVER_NONE, FAILOVER_NOT_YET, FAILOVER_DUE, FAILOVER_STALE } FailoverDue;
FailoverDue failover_due(const Facts *f);

// --- race.c
typedef struct {
    bool eligible;
    Reason reason;   // why, or why not
    const char *who; // the member that stands before us, NULL: none
} RaceVerdict;
// Before asking anybody: may this member stand at all?
RaceVerdict race_may_stand(const Facts *f, bool manual);
// With the peers' answers, ancestry always checked.
RaceVerdict race_judge(const Facts *f, bool manual);
// The highest timeline anybody has used or announced: never to be used again.
uint32_t race_reserve_through(const Facts *f);
// A member that could take over from us now: reachable, in recovery, not nofailover, its WAL beyond
// at_least (0: within maximum_lag_on_failover of what is known). name NULL: anyone. NULL: nobody.
const PeerAnswer *race_successor(const Facts *f, const char *name, Lsn at_least);

// --- the parts of decide(), each in its file
Decision decide_vacant(const Facts *f, Decision d); // vacant.c: nobody leads
Decision decide_leader(const Facts *f, Decision d); // leader.c: we hold the lease
// leader.c: a task that will not end keeps a leader from serving and from giving up. True: *d
// decides.
bool leader_is_stuck(const Facts *f, Decision *d);
Decision decide_replica(const Facts *f, Decision d);  // replica.c: somebody else leads
Decision decide_shutdown(const Facts *f, Decision d); // handover.c: told to stop
Decision decide_handover(const Facts *f, Decision d); // handover.c: begun, to be gone through with
// handover.c: the failover key, on the leader. True: *d decides this turn.
bool decide_switchover(const Facts *f, Decision *d);
// replica.c: a stopped data directory that is to follow somebody (or nobody).
Decision start_as_standby(const Facts *f, Decision d, const MemberView *leader);
// memory.c: what the end of tasks and the passing of states does to Memory.
Memory memory_digest(const Facts *f);
