#include "agent/core/rules.h"

#include "common/base/text.h"

#include <stdarg.h>
#include <stdio.h>

bool may_write(const Facts *f)
{
    const ServerView *s = f->server;
    if (!s->running)
        return false;
    if (f->warden.writer)
        return true;
    if (s->answered)
        return !s->in_recovery || s->role == ROLE_PROMOTED;
    // What it was before says nothing of a server that we have started as a standby.
    if (s->task.kind == TASK_START_STANDBY && !instant_before(s->started_at, s->task.began_at))
        return false;
    return s->role == ROLE_PRIMARY || s->role == ROLE_PROMOTED;
}

bool is_struck(const Facts *f)
{
    const WardenFacts *w = &f->warden;
    return w->fence_armed && instant_is_set(w->fenced_at) &&
           !instant_before(w->fenced_at, w->quit_at) && !instant_before(f->now, w->kill_at);
}

Instant must_stop_at(const Facts *f)
{
    const FenceShare share = settings_fence(f->settings, f->lease.ttl_ms);
    if (f->lease.held)
        return instant_plus_ms(f->lease.valid_until, -(share.margin_ms + share.stop_budget_ms));
    return instant_plus_ms(f->warden.quit_at, -f->settings->howdah.stop_budget_ms);
}

bool is_standby(const Facts *f)
{
    return f->server->running && f->server->answered && f->server->in_recovery;
}

bool is_primary(const Facts *f)
{
    return f->server->running && f->server->answered && !f->server->in_recovery;
}

bool directory_usable(const Facts *f)
{
    return f->server->dir == DIR_VALID;
}

bool peers_fresh(const Facts *f, Instant since)
{
    return instant_is_set(f->peers.asked_at) && !instant_before(f->peers.asked_at, since);
}

Decision with(Decision d, Reason reason)
{
    d.reason = reason;
    return d;
}

Decision with_task(Decision d, Reason reason, TaskKind task)
{
    d.reason = reason;
    d.task = task;
    return d;
}

Decision wait_until(Decision d, Reason reason, Instant at)
{
    d.reason = reason;
    d.wake_at = instant_earliest(d.wake_at, at);
    return d;
}

void evidence(Decision *d, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(d->evidence, sizeof d->evidence, fmt, args); // cut is good enough for people
    va_end(args);
}

const MemberView *upstream_of(const Facts *f, const MemberView *leader)
{
    const Tags *tags = &f->settings->tags;
    if (tags->nostream)
        return NULL;
    if (!str_empty(tags->replicatefrom) && !str_ieq(tags->replicatefrom, f->settings->name)) {
        const MemberView *wanted = cluster_member(f->cluster, tags->replicatefrom);
        // A cascade that is not there, or has no address, must not cut this standby off.
        if (wanted && wanted->host)
            return wanted;
    }
    if (!leader || str_ieq(leader->name, f->settings->name))
        return NULL;
    return leader->host ? leader : NULL;
}

bool record_is_ours(const Facts *f)
{
    const ClusterView *c = f->cluster;
    return f->leader_is_us && f->lease.held && term_record_valid(&c->term, &c->leader) &&
           str_ieq(c->term.holder, f->settings->name);
}

FailoverDue failover_due(const Facts *f)
{
    const FailoverView *request = &f->cluster->failover;
    if (str_empty(request->leader) && str_empty(request->candidate))
        return FAILOVER_NONE;
    if (request->schedule_invalid) // also of a wrong type, when there is no text
        return FAILOVER_STALE;
    if (!request->scheduled_at)
        return FAILOVER_DUE;
    const int64_t late_ms = (f->wall_us - request->scheduled_us) / 1000;
    if (late_ms < 0)
        return FAILOVER_NOT_YET;
    // Patroni: half a loop_wait more than one. Later than this it is not what the operator meant
    // any more.
    return 2 * late_ms > 3 * f->settings->loop_wait_ms ? FAILOVER_STALE : FAILOVER_DUE;
}
