// Who may take the lease. Other than in Patroni, ancestry always counts: a WAL position is compared
// only along the cluster's own history, so a dead branch with a large LSN never wins, and a
// timeline number is never used twice.
#include "agent/core/rules.h"

#include "common/base/text.h"

#include <string.h>

// A preference must not cost what an absent leader costs.
#define ROLLOUT_WAIT_MS 2000

static RaceVerdict no(Reason reason, const char *who)
{
    return (RaceVerdict){.eligible = false, .reason = reason, .who = who};
}

static const RaceVerdict yes = {.eligible = true, .reason = REASON_RACE_WON};

// Our position against what the store has recorded. A newer timeline of our own is fine: we
// promoted and did not get to record it.
static bool diverged_from_cluster(const Facts *f, WalPosition position)
{
    if (f->history.timeline == 0 || position.timeline > f->history.timeline)
        return false;
    return timeline_ancestry(position, &f->history) == ANCESTRY_DIVERGED;
}

RaceVerdict race_may_stand(const Facts *f, bool manual)
{
    const ServerView *s = f->server;
    if (f->settings->tags.nofailover)
        return no(REASON_RACE_NOT_ELIGIBLE_TAG, NULL);
    ASSERT(is_standby(f) && s->role != ROLE_PROMOTED); // whatever may write has been stopped before
    const WalPosition mine = server_position(s);
    if (mine.timeline == 0 || mine.lsn == LSN_NONE)
        return no(REASON_RACE_POSITION_UNKNOWN, NULL);
    if (diverged_from_cluster(f, mine))
        return no(REASON_RACE_DIVERGED, NULL);
    if (!manual && f->memory.diverged_term != 0) // proven, and not mended since
        return no(REASON_RACE_DIVERGED, NULL);
    // Rules we do not know yet are not broken: a standby cluster has its writer elsewhere, and in
    // pause nobody is promoted unasked.
    if (f->settings->standby_cluster || (f->settings->pause && !manual))
        return no(REASON_MODE_UNSUPPORTED, NULL);
    const SyncView *sync = &f->cluster->sync;
    if (!manual && f->settings->sync_mode && sync->leader &&
        !str_ieq(sync->leader, f->settings->name) &&
        !string_list_has_ignoring_case(&sync->voters, f->settings->name))
        return no(REASON_RACE_NOT_SYNC, NULL);
    const Lsn last = f->cluster->optime;
    if (!manual && last > mine.lsn && last - mine.lsn > f->settings->maximum_lag_on_failover)
        return no(REASON_RACE_LAG, NULL);
    return yes;
}

static int64_t ordinal_of(const char *pod) // -1: none
{
    const char *dash = strrchr(pod, '-');
    int64_t number;
    return dash && parse_int64(dash + 1, &number) ? number : -1;
}

// After a handover by former: is one to lead rather than other, because its pod stays longer? A
// StatefulSet's rollout goes from the highest number down, past those that have the new template;
// which, if this is one, former does not have (docs/kubernetes.md, "Day by day").
static bool stays_longer(const Facts *f, const char *former, const char *one, const char *other)
{
    const MemberView *was = cluster_member(f->cluster, former);
    const MemberView *a = cluster_member(f->cluster, one), *b = cluster_member(f->cluster, other);
    if (!was || !a || !b || !was->revision || !a->revision || !b->revision)
        return false;
    const bool a_is_new = !str_eq(a->revision, was->revision);
    const bool b_is_new = !str_eq(b->revision, was->revision);
    if (a_is_new != b_is_new)
        return a_is_new;
    const int64_t number = ordinal_of(one);
    return !a_is_new && number >= 0 && number < ordinal_of(other);
}

// Of those that hold all of the last leader's WAL one is waited for, but not for long.
static bool makes_way(const Facts *f, const PeerAnswer *p)
{
    const Vacancy *v = &f->cluster->vacancy;
    return v->kind == VACANCY_RELEASED && v->holder && !str_ieq(p->name, v->holder) && p->running &&
           instant_ms_between(v->since, f->now) < ROLLOUT_WAIT_MS &&
           stays_longer(f, v->holder, p->name, f->settings->name);
}

// A peer that could itself win, and so has a say about our position.
static bool peer_votes(const PeerAnswer *p)
{
    return p->reachable && p->in_recovery && !p->nofailover && !p->watchdog_failed &&
           p->position.lsn != LSN_NONE;
}

// <0: the peer stands behind us, 0: equal, >0: ahead; *diverged: its branch is not ours.
static int compare_peer(const Facts *f, WalPosition mine, const PeerAnswer *p, bool *diverged)
{
    *diverged = false;
    WalPosition theirs = p->position;
    if (theirs.timeline == 0)
        theirs.timeline = mine.timeline; // an old agent that does not say: only the LSN is known
    if (diverged_from_cluster(f, theirs))
        return -1; // a dead branch has no vote
    if (theirs.timeline > mine.timeline && p->history.timeline == theirs.timeline &&
        timeline_ancestry(mine, &p->history) == ANCESTRY_DIVERGED) {
        *diverged = true;
        return 1;
    }
    return wal_position_compare(theirs, mine);
}

RaceVerdict race_judge(const Facts *f, bool manual)
{
    const RaceVerdict stand = race_may_stand(f, manual);
    if (!stand.eligible)
        return stand;
    const WalPosition mine = server_position(f->server);
    const char *former = f->cluster->vacancy.holder;
    for (size_t i = 0; i < f->peers.count; i++) {
        const PeerAnswer *p = &f->peers.answers[i];
        if (str_ieq(p->name, f->settings->name))
            continue;
        if (p->reachable && !p->in_recovery && p->running)
            return no(REASON_RACE_PRIMARY_ALIVE, p->name);
        if (manual || !peer_votes(p))
            continue;
        bool diverged;
        const int order = compare_peer(f, mine, p, &diverged);
        if (diverged)
            return no(REASON_RACE_DIVERGED, p->name);
        if (order > 0)
            return no(REASON_RACE_BEHIND, p->name);
        // The former leader's priority must not make everybody wait for it.
        if (order == 0 && p->failover_priority > f->settings->tags.failover_priority &&
            !str_ieq(p->name, former))
            return no(REASON_RACE_PRIORITY, p->name);
        if (order == 0 && p->failover_priority == f->settings->tags.failover_priority &&
            makes_way(f, p))
            return no(REASON_RACE_ROLLOUT, p->name);
    }
    return yes;
}

uint32_t race_reserve_through(const Facts *f)
{
    uint32_t highest = f->server->timeline;
    const uint32_t control = f->server->control.known ? f->server->control.timeline : 0;
    const uint32_t announced = f->cluster->term.present ? f->cluster->term.timeline : 0;
    const uint32_t candidates[] = {control, f->history.timeline, cluster_timeline(f->cluster)};
    for (size_t i = 0; i < COUNT_OF(candidates); i++)
        highest = candidates[i] > highest ? candidates[i] : highest;
    for (size_t i = 0; i < f->peers.count; i++)
        if (f->peers.answers[i].reachable && f->peers.answers[i].position.timeline > highest)
            highest = f->peers.answers[i].position.timeline;
    // The announced timeline of the term we hold is the one we are about to take; confirmed, it has
    // been taken.
    const bool free = record_is_ours(f) && !f->cluster->term.confirmed && announced > 0;
    const uint32_t taken = free ? announced - 1 : announced;
    return taken > highest ? taken : highest;
}

const PeerAnswer *race_successor(const Facts *f, const char *name, Lsn at_least)
{
    const PeerAnswer *best = NULL;
    const WalPosition mine = server_position(f->server);
    const Lsn known = mine.lsn > f->cluster->optime ? mine.lsn : f->cluster->optime;
    const Lsn lag = f->settings->maximum_lag_on_failover;
    const Lsn floor = known > lag ? known - lag : 0;
    for (size_t i = 0; i < f->peers.count; i++) {
        const PeerAnswer *p = &f->peers.answers[i];
        if (str_ieq(p->name, f->settings->name) || (name && !str_ieq(p->name, name)))
            continue;
        if (!peer_votes(p) || !p->running)
            continue;
        // at_least is where the shutdown checkpoint's record begins: it must be past it.
        if (at_least != LSN_NONE ? p->position.lsn <= at_least : p->position.lsn < floor)
            continue;
        if (p->position.timeline != 0 && mine.timeline != 0 &&
            p->position.timeline != mine.timeline)
            continue; // it does not follow our branch
        if (!best || p->position.lsn > best->position.lsn ||
            (p->position.lsn == best->position.lsn &&
             stays_longer(f, f->settings->name, p->name, best->name)))
            best = p;
    }
    return best;
}
