// Somebody else leads: copy it, start, follow, and make sure our WAL is part of its history.
#include "agent/core/rules.h"

#include "common/base/text.h"

// Can it be copied from, compared with, followed?
static bool is_ready(const Facts *f, const MemberView *leader)
{
    return leader && leader->host && leader->role == ROLE_PRIMARY &&
           initialize_is_valid(f->cluster->initialize);
}

static bool can_rewind(const Facts *f)
{
    const ControlData *control = &f->server->control;
    return f->settings->postgresql.use_pg_rewind && control->known &&
           (control->wal_log_hints || control->checksums);
}

static bool is_dirty(const Facts *f) // stopped, but not cleanly
{
    const ControlState state = f->server->control.state;
    return !f->server->from_backup &&
           (state == CONTROL_IN_PRODUCTION || state == CONTROL_SHUTTING_DOWN ||
            state == CONTROL_IN_CRASH_RECOVERY);
}

static Decision with_upstream(Decision d, Reason reason, TaskKind task, const MemberView *upstream)
{
    d = with_task(d, reason, task);
    d.upstream = upstream;
    evidence(&d, "upstream=%s", upstream ? upstream->name : "none");
    return d;
}

// A task about the leader of now; what it finds is booked on that leader's term.
static Decision about(const Facts *f, Decision d, Reason reason, TaskKind task,
                      const MemberView *upstream)
{
    d = with_upstream(d, reason, task, upstream);
    d.memory.task_term = f->cluster->leader.create_revision;
    return d;
}

static bool is_diverged(const Facts *f, const Memory *m)
{
    return m->diverged_term != 0 && m->diverged_term == f->cluster->leader.create_revision;
}

#define REWIND_TRIES 3

static bool rewind_failed(const Facts *f, const Memory *m)
{
    return m->rewind_failures >= REWIND_TRIES &&
           m->rewind_failed_term == f->cluster->leader.create_revision;
}

// Proven divergence, server stopped (docs/architecture.md, "Divergence").
static Decision mend(const Facts *f, Decision d, const MemberView *leader)
{
    const PostgresSettings *pg = &f->settings->postgresql;
    if (can_rewind(f) && !rewind_failed(f, &d.memory)) {
        if (leader->checkpoint_pending) // its control file still says the old timeline
            return wait_until(d, REASON_REPLICA_WAIT_SOURCE, instant_plus_ms(f->now, 500));
        return about(f, d, REASON_REPLICA_REWIND, TASK_REWIND, leader);
    }
    if (pg->remove_data_directory_on_diverged_timelines ||
        (rewind_failed(f, &d.memory) && pg->remove_data_directory_on_rewind_failure))
        return with_task(d, REASON_REPLICA_WIPE, TASK_WIPE);
    return with(d, rewind_failed(f, &d.memory) ? REASON_REPLICA_REWIND_FAILED
                                               : REASON_REPLICA_REWIND_IMPOSSIBLE);
}

Decision start_as_standby(const Facts *f, Decision d, const MemberView *leader)
{
    const ServerView *s = f->server;
    if (s->remains)
        return wait_until(d, REASON_REPLICA_START, instant_plus_ms(f->now, 100));
    const MemberView *upstream = upstream_of(f, leader);
    const bool checked =
        d.memory.rewound || d.memory.checked_term == f->cluster->leader.create_revision;
    const bool may_have_diverged = leader && !checked && !s->from_backup &&
                                   (!s->standby_signal || s->control.timeline != leader->timeline ||
                                    is_diverged(f, &d.memory));
    if (!may_have_diverged)
        return with_upstream(d, REASON_REPLICA_START, TASK_START_STANDBY, upstream);

    if (!is_ready(f, leader)) { // it is still being promoted: give it a ttl
        if (!instant_is_set(d.memory.check_wait_since))
            d.memory.check_wait_since = f->now;
        if (instant_ms_between(d.memory.check_wait_since, f->now) < f->settings->ttl_ms)
            return wait_until(d, REASON_REPLICA_WAIT_SOURCE, instant_plus_ms(f->now, 500));
        d.memory.check_wait_since = (Instant){0};
        return with_upstream(d, REASON_REPLICA_START, TASK_START_STANDBY, upstream);
    }
    if (is_dirty(f) && can_rewind(f) && !d.memory.recovered)
        return with_task(d, REASON_REPLICA_CRASH_RECOVERY, TASK_CRASH_RECOVERY);
    if (is_diverged(f, &d.memory))
        return mend(f, d, leader);
    // Without pg_rewind there is no use in recovering it offline: PostgreSQL does that itself, and
    // what it then has is compared while it runs.
    if (is_dirty(f))
        return with_upstream(d, REASON_REPLICA_START, TASK_START_STANDBY, upstream);
    // A leader that cannot be asked for a ttl must not keep readers waiting: what it then streams
    // is compared again as soon as it answers.
    if (!instant_is_set(d.memory.check_wait_since))
        d.memory.check_wait_since = f->now;
    if (instant_ms_between(d.memory.check_wait_since, f->now) >= f->settings->ttl_ms) {
        d.memory.check_wait_since = (Instant){0};
        return with_upstream(d, REASON_REPLICA_START, TASK_START_STANDBY, upstream);
    }
    return about(f, d, REASON_REPLICA_CHECK_DIVERGENCE, TASK_CHECK_DIVERGENCE, leader);
}

static const MemberView *clone_source(const Facts *f, const MemberView *leader)
{
    for (size_t i = 0; i < f->cluster->member_count; i++) {
        const MemberView *m = &f->cluster->members[i];
        if (m->tags.clonefrom && m->state == STATE_RUNNING && m->host && m != leader &&
            !str_ieq(m->name, f->settings->name))
            return m;
    }
    return leader;
}

static Decision decide_reinit(const Facts *f, Decision d, const MemberView *leader)
{
    if (!is_ready(f, leader)) // what is there can still be read from
        return with(d, REASON_CLONE_WAIT);
    if (f->server->running) {
        d = with_task(d, REASON_REINITIALIZE, TASK_STOP);
        d.stop_mode = STOP_IMMEDIATE;
        return d;
    }
    // Wiped first, and by name: TASK_CLONE itself refuses a directory that is not ours to wipe.
    if (f->server->dir == DIR_VALID)
        return with_task(d, REASON_REINITIALIZE, TASK_WIPE);
    d.clone_by_basebackup = d.memory.reinit_from_leader;
    return about(f, d, REASON_REINITIALIZE, TASK_CLONE,
                 d.memory.reinit_from_leader ? leader : clone_source(f, leader));
}

// Does it stream from where it should?
static bool follows(const Facts *f, const MemberView *upstream)
{
    const ServerView *s = f->server;
    if (!upstream)
        return str_empty(s->upstream);
    if (!str_ieq(s->upstream, upstream->name))
        return false;
    // The same member at another address, as of a pod that was made anew: nobody streams from there
    // who still looks for it at the old one.
    if (s->upstream_host && upstream->host &&
        (!str_eq(s->upstream_host, upstream->host) || s->upstream_port != upstream->port))
        return false;
    // A moment after it was told, the old receiver is still there.
    if (s->task.kind == TASK_FOLLOW && instant_ms_between(s->task.ended_at, f->now) < 1000)
        return true;
    return !s->streaming || !s->receiver_host ||
           (str_eq(s->receiver_host, upstream->host) && s->receiver_port == upstream->port);
}

// Between two tries to stream PostgreSQL sleeps for up to wal_retrieve_retry_interval (5 s). For so
// long a leader that has come back from a crash would have nobody fit to succeed it. A try that is
// too early costs nothing but a reload, and what cannot stream at all is soon left alone.
static Decision decide_apart(const Facts *f, Decision d, const MemberView *upstream)
{
    enum { FIRST_MS = 250, NUDGES = 5 };
    if (upstream->state != STATE_RUNNING || d.memory.nudges >= NUDGES)
        return with(d, REASON_REPLICA_NOT_STREAMING);
    const Instant since = d.memory.nudges > 0 ? d.memory.nudged_at : d.memory.apart_since;
    const Instant due = instant_plus_ms(since, (int64_t)FIRST_MS << d.memory.nudges);
    if (instant_before(f->now, due))
        return wait_until(d, REASON_REPLICA_NOT_STREAMING, due);
    d.memory.nudges++;
    d.memory.nudged_at = f->now;
    return with_upstream(d, REASON_REPLICA_NUDGE, TASK_FOLLOW, upstream);
}

static Decision decide_running(const Facts *f, Decision d, const MemberView *leader)
{
    const ServerView *s = f->server;
    if (!s->answered)
        return with(d, REASON_REPLICA_STARTING);
    const MemberView *upstream = upstream_of(f, leader);
    if (!follows(f, upstream) && (upstream || f->settings->tags.nostream))
        return with_upstream(d, REASON_REPLICA_FOLLOW, TASK_FOLLOW, upstream);
    const int64_t term = f->cluster->leader.create_revision;
    const bool apart = upstream && !s->streaming && !s->archive_recovery;
    // A stopped server's control file knows only a lower bound of its WAL. What was compared by it,
    // and then will not stream, is compared again while it runs.
    if (apart && instant_ms_between(d.memory.apart_since, f->now) > f->settings->loop_wait_ms) {
        d.memory.checked_term = 0;
        d.memory.apart_since = f->now;
    }
    if (is_ready(f, leader) && d.memory.checked_term != term) {
        if (s->streaming && s->timeline == leader->timeline && !is_diverged(f, &d.memory))
            d.memory.checked_term = term; // PostgreSQL itself has compared the histories
        else if (is_diverged(f, &d.memory))
            return with_task(d, REASON_REPLICA_STOP_FOR_REWIND, TASK_STOP);
        else
            return about(f, d, REASON_REPLICA_CHECK_DIVERGENCE, TASK_CHECK_DIVERGENCE, leader);
    }
    if (f->request.restart) {
        d.memory.restarting = true;
        return with_task(
            d, f->request.restart_scheduled ? REASON_RESTART_SCHEDULED : REASON_RESTART, TASK_STOP);
    }
    if (f->request.reload)
        return with_task(d, REASON_RELOAD, TASK_RELOAD);
    if (!f->store_ok)
        return with(d, REASON_STORE_UNREACHABLE_STANDBY);
    return apart ? decide_apart(f, d, upstream) : with(d, REASON_REPLICA_HEALTHY);
}

Decision decide_replica(const Facts *f, Decision d)
{
    const ServerView *s = f->server;
    const MemberView *leader = cluster_leader_member(f->cluster);
    d.memory.released_at = (Instant){0};
    // The store may be out while its last word names us: a standby that follows nobody can be read
    // from meanwhile, and is promoted when the lease proves to be ours.
    if (f->leader_is_us_by_name && s->dir == DIR_VALID && !s->running)
        return start_as_standby(f, d, NULL);
    if (f->leader_is_us)
        return with(d, REASON_RACE_RESUME); // the turn is proving that it is
    if (f->leader_is_us_by_name)
        return with(d, REASON_LEADER_KEY_FOREIGN);
    if (d.memory.reinit)
        return decide_reinit(f, d, leader);
    if (s->dir == DIR_MISSING || s->dir == DIR_PARTIAL) {
        if (!is_ready(f, leader))
            return with(d, REASON_CLONE_WAIT);
        return about(f, d, REASON_CLONE, TASK_CLONE, clone_source(f, leader));
    }
    return s->running ? decide_running(f, d, leader) : start_as_standby(f, d, leader);
}
