// Nobody leads: create the cluster, start what is there, or race.
#include "agent/core/rules.h"

#include "common/base/text.h"

static Decision acquire(const Facts *f, Decision d, Reason reason)
{
    d = with(d, reason);
    d.key = KEY_ACQUIRE;
    // A key that somebody wrote by hand, without a lease, would never go by itself.
    d.acquire_over_revision = f->cluster->leader.mod_revision;
    d.reserve_through = race_reserve_through(f);
    return d;
}

// Its holder may still be writing under a lease that has not ended: nobody may pass, and no request
// either.
static bool is_reserved(const Facts *f, Decision *d)
{
    const Vacancy *v = &f->cluster->vacancy;
    const Instant free_at = instant_plus_ms(v->since, f->settings->ttl_ms);
    if (v->kind != VACANCY_TAMPERED || !instant_before(f->now, free_at))
        return false;
    evidence(d, "holder=%s", str_or(v->holder, "?"));
    *d = wait_until(*d, REASON_RACE_RESERVED, free_at);
    return true;
}

// Somebody who looks in another place may lead this cluster, or have made it (docs/kubernetes.md,
// "The store"). Nobody may pass, and no request either.
static bool is_kept_elsewhere(const Facts *f, Decision *d)
{
    const char *why = f->cluster->other_store;
    if (why == NULL)
        return false;
    evidence(d, "found='%s'", why);
    *d = with(*d, REASON_OTHER_STORE_IN_USE);
    return true;
}

// With no data of our own: wait for somebody who has some, or create the cluster.
static Decision decide_empty(const Facts *f, Decision d)
{
    const ClusterView *c = f->cluster;
    if (c->initialize && !initialize_is_valid(c->initialize))
        return with(d, REASON_BOOTSTRAP_WAIT);
    // A creation that was given up leaves a record behind, of a term that never led anything.
    const bool led = c->term.present && (c->term.confirmed || c->term.parent_timeline != 0);
    if (c->initialize || led)
        return with(d, REASON_CLONE_WAIT);
    if (!f->settings->bootstrap.present || f->settings->tags.nofailover)
        return with(d, REASON_BOOTSTRAP_NOT_ALLOWED);
    // A store that was emptied, or a leader key written, by hand: whoever led before has its ttl to
    // put things right. After that such a key stands for nobody, and bars nobody.
    if (is_kept_elsewhere(f, &d) || is_reserved(f, &d))
        return d;
    d = acquire(f, d, REASON_BOOTSTRAP_CLAIM);
    d.acquire_bootstrap = true;
    d.memory.bootstrap_failed = d.memory.post_bootstrap_done = false;
    return d;
}

// The key is free, but others may be about to show up who should have it.
static bool must_wait(const Facts *f, Decision *d)
{
    const Vacancy *v = &f->cluster->vacancy;
    const int64_t ttl = f->settings->ttl_ms;
    // Without having seen how the leader went, and who else is there: after a power failure the
    // first agent to come up must not win with the oldest data.
    // Nor must one that came up in time to see the dead leader's lease end.
    if (v->kind != VACANCY_RELEASED) {
        const Instant ready_at = instant_plus_ms(f->started_at, ttl);
        if (instant_before(f->now, ready_at)) {
            *d = wait_until(*d, REASON_RACE_FRESH_AGENT, ready_at);
            return true;
        }
    }
    if (instant_is_set(f->memory.released_at)) {
        const Instant ready_at =
            instant_plus_ms(f->memory.released_at, 2 * f->settings->loop_wait_ms);
        if (instant_before(f->now, ready_at)) {
            *d = wait_until(*d, REASON_RACE_BACKOFF, ready_at);
            return true;
        }
    }
    return false;
}

static const PeerAnswer *fit_peer(const Facts *f, const char *name)
{
    for (size_t i = 0; i < f->peers.count; i++) {
        const PeerAnswer *p = &f->peers.answers[i];
        if ((!name || str_ieq(p->name, name)) && !str_ieq(p->name, f->settings->name) &&
            p->reachable && p->in_recovery && p->running && !p->nofailover && !p->watchdog_failed)
            return p;
    }
    return NULL;
}

// A request in the failover key steers the race. True: somebody else goes first.
static bool request_yields(const Facts *f, Decision *d)
{
    const FailoverView *request = &f->cluster->failover;
    const Instant since = f->cluster->vacancy.since;
    // Whoever was asked for has had its time.
    if (instant_ms_between(instant_is_set(since) ? since : f->started_at, f->now) >
        f->settings->ttl_ms)
        return false;
    if (!str_empty(request->candidate)) {
        if (fit_peer(f, request->candidate)) {
            evidence(d, "candidate=%s", request->candidate);
            *d = with(*d, REASON_RACE_CANDIDATE_OTHER);
            return true;
        }
        return false;
    }
    if (str_ieq(request->leader, f->settings->name) && fit_peer(f, NULL)) {
        *d = with(*d, REASON_RACE_SWITCHOVER_SOURCE);
        return true;
    }
    return false;
}

static Decision look_again(const Facts *f, Decision d)
{
    d.wake_at = instant_earliest(d.wake_at, instant_plus_ms(f->now, 500));
    return d;
}

static Decision race(const Facts *f, Decision d)
{
    const bool requested = failover_due(f) == FAILOVER_DUE;
    const bool manual = requested && str_ieq(f->cluster->failover.candidate, f->settings->name);
    if (is_kept_elsewhere(f, &d) || is_reserved(f, &d) || (!manual && must_wait(f, &d)))
        return d;
    const RaceVerdict stand = race_may_stand(f, manual);
    if (!stand.eligible)
        return look_again(f, with(d, stand.reason));
    if (!peers_fresh(f, f->cluster->vacancy.since)) {
        d.ask_peers = true;
        return with(d, REASON_RACE_ASK_PEERS);
    }
    if (requested && !manual && request_yields(f, &d))
        return look_again(f, d);
    const RaceVerdict verdict = race_judge(f, manual);
    const WalPosition mine = server_position(f->server);
    evidence(&d, "timeline=%u lsn=%s peers=%zu%s%s", mine.timeline, lsn_format(mine.lsn).text,
             f->peers.count, verdict.who ? " before_us=" : "", verdict.who ? verdict.who : "");
    if (!verdict.eligible)
        return look_again(f, with(d, verdict.reason));
    return acquire(f, d, manual ? REASON_FAILOVER_MANUAL : REASON_RACE_WON);
}

Decision decide_vacant(const Facts *f, Decision d)
{
    const ServerView *s = f->server;
    if (!f->store_ok)
        return with(d, REASON_STORE_UNREACHABLE_STANDBY);
    if (s->dir == DIR_MISSING || s->dir == DIR_PARTIAL)
        return decide_empty(f, d);
    if (is_primary(f)) // guard_writes let it pass: nobody has registered this cluster yet
        return is_kept_elsewhere(f, &d) ? d : acquire(f, d, REASON_ADOPT_CLUSTER);
    if (!s->running) {
        // A moment after releasing, the successor is about to appear: then start following it.
        if (instant_is_set(f->memory.released_at) &&
            instant_before(f->now, instant_plus_ms(f->memory.released_at, 3000)))
            return wait_until(d, REASON_REPLICA_NO_LEADER,
                              instant_plus_ms(f->memory.released_at, 3000));
        return start_as_standby(f, d, NULL);
    }
    if (!s->answered)
        return with(d, REASON_REPLICA_STARTING);
    return race(f, d);
}
