// Giving the lease up on purpose: switchover, being told to stop, a server that cannot serve.
// Always in this order: the server is gone, somebody has all of its WAL, the key is released.
#include "agent/core/rules.h"

#include "common/base/text.h"

#define SUCCESSOR_WAIT_MS 3000 // after the stop, for a member to report the end of our WAL

static Decision release(Decision d, Reason reason)
{
    d = with(d, reason);
    d.key = KEY_RELEASE;
    return d;
}

static const char *wanted_candidate(const Facts *f)
{
    const FailoverView *request = &f->cluster->failover;
    return f->memory.handover == HANDOVER_SWITCHOVER && !str_empty(request->candidate)
               ? request->candidate
               : NULL;
}

static Reason handover_reason(const Memory *m)
{
    switch (m->handover) {
    case HANDOVER_SWITCHOVER:
        return REASON_SWITCHOVER;
    case HANDOVER_SHUTDOWN:
        return REASON_SHUTDOWN_HANDOVER;
    case HANDOVER_FAILING:
        return m->handover_reason;
    case HANDOVER_NONE:
        break;
    }
    return REASON_NONE;
}

// Nobody has all of our WAL, and waiting has not helped.
static Decision nobody_follows(const Facts *f, Decision d)
{
    d.memory.handover = HANDOVER_NONE;
    if (f->memory.handover == HANDOVER_SHUTDOWN) {
        // Kept: until it expires nobody promotes with less than we have, and if we come back
        // before that, nothing has happened.
        d.exit = true;
        return with(d, REASON_SHUTDOWN_KEEP);
    }
    d.clear_failover = f->memory.handover_failover_revision != 0;
    d.failover_revision = f->memory.handover_failover_revision;
    return with(d, REASON_SWITCHOVER_IMPOSSIBLE); // the next turn starts it again
}

static Decision decide_stopped(const Facts *f, Decision d)
{
    const ServerView *s = f->server;
    const Memory *m = &f->memory;
    if (m->handover == HANDOVER_FAILING)
        return release(d, m->handover_reason);
    const bool clean = s->control.known && s->control.state == CONTROL_SHUT_DOWN;
    if (!clean) {
        // It crashed instead: the WAL end is not known to anybody. Start it again.
        if (m->handover == HANDOVER_SHUTDOWN)
            return nobody_follows(f, d);
        d.memory.handover = HANDOVER_NONE;
        return with(d, REASON_LEADER_CRASHED);
    }
    if (!peers_fresh(f, s->task.ended_at)) {
        d.ask_peers = true;
        return with(d, handover_reason(m));
    }
    const PeerAnswer *next = race_successor(f, wanted_candidate(f), s->control.checkpoint_lsn);
    if (next) {
        evidence(&d, "successor=%s lsn=%s", next->name, lsn_format(s->control.checkpoint_lsn).text);
        d.to_successor = true;
        return release(d, m->handover == HANDOVER_SHUTDOWN ? REASON_SHUTDOWN_RELEASE
                                                           : REASON_SWITCHOVER_RELEASE);
    }
    const Instant until = instant_plus_ms(s->task.ended_at, SUCCESSOR_WAIT_MS);
    const bool alone = f->peers.count == 0; // nobody is known who could come
    if (!alone && instant_before(f->now, until))
        return wait_until(d, handover_reason(m), instant_plus_ms(f->now, 50));
    return nobody_follows(f, d);
}

Decision decide_handover(const Facts *f, Decision d)
{
    const ServerView *s = f->server;
    Facts now = *f;
    now.memory = d.memory;
    const TaskView *task = &s->task;
    const bool failed = task->kind == TASK_STOP && !task->running && !task->ok &&
                        !instant_before(task->began_at, d.memory.handover_at);
    // Asked for and not to be had, or taken back meanwhile: it stays the primary.
    if (s->running && d.memory.handover == HANDOVER_SWITCHOVER &&
        (failed || f->cluster->failover.mod_revision != d.memory.handover_failover_revision))
        return nobody_follows(&now, d);
    if (!s->running && s->remains && d.memory.handover != HANDOVER_FAILING)
        return wait_until(d, handover_reason(&d.memory), instant_plus_ms(f->now, 50));
    if ((!s->running && !s->remains) || (d.memory.handover == HANDOVER_FAILING && is_struck(f)))
        return decide_stopped(&now, d);
    if (d.memory.handover == HANDOVER_FAILING) {
        // A second order would only move the deadline of the first.
        d.strike = !f->warden.fence_armed || instant_before(f->now, f->warden.quit_at);
        return wait_until(d, d.memory.handover_reason, instant_plus_ms(f->now, 100));
    }
    d = with_task(d, handover_reason(&d.memory), TASK_STOP);
    d.stop_mode = STOP_FAST;
    d.checkpoint_first = s->answered && !s->in_recovery && !failed; // the plain way, once more
    return d;
}

// What we have still to say, and all that others do because we end, would hold the successor up:
// on Kubernetes that is a pod to be taken down, and two writes for each Service it is in.
static bool successor_comes(const Facts *f, const Memory *m, Instant *until)
{
    enum { STAY_MS = 1000 };
    const MemberView *next = f->cluster ? cluster_leader_member(f->cluster) : NULL;
    *until = instant_plus_ms(m->released_at, STAY_MS);
    return m->handover == HANDOVER_SHUTDOWN && instant_is_set(m->released_at) &&
           instant_before(f->now, *until) && !(next && next->role == ROLE_PRIMARY);
}

Decision decide_shutdown(const Facts *f, Decision d)
{
    Instant until;
    const ServerView *s = f->server;
    if (f->lease.held && !d.memory.bootstrapping) {
        if (d.memory.handover != HANDOVER_SHUTDOWN) {
            d.memory.handover = HANDOVER_SHUTDOWN;
            d.memory.handover_at = f->now;
            d.memory.handover_failover_revision = 0;
        }
        if (!f->store_known || !f->cluster)
            return with(d, REASON_STORE_NOT_READ);
        return decide_handover(f, d);
    }
    if (s->running)
        return with_task(d, REASON_SHUTDOWN_STOP, TASK_STOP);
    if (s->remains)
        return wait_until(d, REASON_SHUTDOWN_STOP, instant_plus_ms(f->now, 50));
    if (successor_comes(f, &d.memory, &until))
        return wait_until(d, REASON_SHUTDOWN_STAY, until);
    if (f->lease.held) { // a bootstrap broken off
        d.drop_initialize = true;
        d = release(d, REASON_SHUTDOWN_DONE);
    }
    d.exit = true;
    return with(d, REASON_SHUTDOWN_DONE);
}

static bool drop_request(const Facts *f, Decision *d, Reason reason)
{
    d->clear_failover = true;
    d->failover_revision = f->cluster->failover.mod_revision;
    *d = with(*d, reason);
    return true;
}

// A candidate that does not stream would never get the end of our WAL.
static bool streams_from_us(const Facts *f, const char *member)
{
    for (size_t i = 0; i < f->server->sender_count; i++)
        if (str_ieq(f->server->senders[i].application_name, member) &&
            str_eq(f->server->senders[i].state, "streaming"))
            return true;
    const MemberView *m = cluster_member(f->cluster, member);
    return m && m->tags.replicatefrom; // it streams from somebody who does
}

static void say_why_unfit(const Facts *f, Decision *d, const char *candidate)
{
    for (size_t i = 0; i < f->peers.count; i++) {
        const PeerAnswer *p = &f->peers.answers[i];
        if (candidate && !str_ieq(p->name, candidate))
            continue;
        evidence(d,
                 "member=%s reachable=%d running=%d in_recovery=%d nofailover=%d streams=%d "
                 "timeline=%u lsn=%s ours=%s%s%s",
                 p->name, p->reachable, p->running, p->in_recovery, p->nofailover,
                 streams_from_us(f, p->name), p->position.timeline,
                 lsn_format(p->position.lsn).text, lsn_format(server_position(f->server).lsn).text,
                 p->error ? " error=" : "", p->error ? p->error : "");
        return;
    }
    evidence(d, "no member to ask");
}

bool decide_switchover(const Facts *f, Decision *d)
{
    const FailoverView *request = &f->cluster->failover;
    switch (failover_due(f)) {
    case FAILOVER_NONE:
        return false;
    case FAILOVER_NOT_YET:
        d->wake_at = instant_earliest(
            d->wake_at, instant_plus_ms(f->now, (request->scheduled_us - f->wall_us) / 1000 + 1));
        return false;
    case FAILOVER_STALE:
        return drop_request(f, d, REASON_SWITCHOVER_STALE);
    case FAILOVER_DUE:
        break;
    }
    if ((!str_empty(request->leader) && !str_ieq(request->leader, f->settings->name)) ||
        str_ieq(request->candidate, f->settings->name))
        return drop_request(f, d, REASON_SWITCHOVER_NOT_MINE);
    if (!peers_fresh(f, f->started_at)) {
        d->ask_peers = true;
        *d = with(*d, REASON_SWITCHOVER_ASK_PEERS);
        return true;
    }
    const char *candidate = str_empty(request->candidate) ? NULL : request->candidate;
    const PeerAnswer *next = race_successor(f, candidate, LSN_NONE);
    if (!next || (candidate && !streams_from_us(f, candidate))) {
        say_why_unfit(f, d, candidate);
        return drop_request(f, d, REASON_SWITCHOVER_IMPOSSIBLE);
    }
    evidence(d, "candidate=%s", candidate ? candidate : next->name);
    d->memory.handover = HANDOVER_SWITCHOVER;
    d->memory.handover_at = f->now;
    d->memory.handover_failover_revision = request->mod_revision;
    *d = decide_handover(f, *d);
    return true;
}
