// docs/architecture.md, "What must never be", looked at after every event by the world's own
// knowledge.
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DYING MS(70) // from SIGQUIT or SIGKILL to the last process's end

void sim_fail(Sim *sim, const char *fmt, ...)
{
    if (sim->failure[0])
        return; // the first one tells what went wrong
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(sim->failure, sizeof sim->failure, fmt, args);
    va_end(args);
    trace(sim, "BROKEN %s", sim->failure);
}

static bool just_woken(const Member *m)
{
    return actor_frozen(&m->actor) || m->sim->now - m->thawed_at < WAKE_UP;
}

// Three faults in one member: PostgreSQL is stopped (SIGSTOP), its warden is killed, and so nobody
// holds a fence over it until the next warden has come up and ended what it found.
bool is_unguarded(const Member *m)
{
    const Warden *w = &m->warden;
    const bool guarded = w->alive && m->sim->now - w->started_at > INHERITED_GRACE;
    return pg_alive(m) && m->pg.unheard && !guarded;
}

// --- one writer

static void check_writers(Sim *sim)
{
    const Member *first = NULL;
    for (int i = 0; i < sim->member_count; i++) {
        const Member *m = &sim->members[i];
        if (!pg_writes(m) || just_woken(m) || is_unguarded(m))
            continue;
        if (first)
            sim_fail(sim, "two writers: %s and %s", first->name, m->name);
        first = m;
    }
    if (first && sim->no_writer_since) {
        sim->unavailable += sim->now - sim->no_writer_since;
        sim->no_writer_since = 0;
    } else if (!first && !sim->no_writer_since && sim->commit_count > 0) {
        sim->no_writer_since = sim->now;
    }
}

// Whatever might write stands under a fence whose deadline has not passed.
static void check_fences(Sim *sim)
{
    for (int i = 0; i < sim->member_count; i++) {
        const Member *m = &sim->members[i];
        const Warden *w = &m->warden;
        if (!pg_may_write(m) || m->pg.orphan || just_woken(m))
            continue;
        if (!w->alive || !w->fence.armed)
            sim_fail(sim, "%s: a server that may write has no fence", m->name);
        else if (host_now(m).ns > w->fence.kill_at + DYING)
            sim_fail(sim, "%s: a server that may write has outlived its fence", m->name);
    }
}

static void check_leases(Sim *sim)
{
    const AgentProc *first = NULL;
    for (const AgentProc *p = sim->procs; p; p = p->next) {
        if (p->lease_until <= sim->now)
            continue;
        if (first)
            sim_fail(sim, "two valid leases: %s and %s", first->member->name, p->member->name);
        first = p;
    }
}

void check_all(Sim *sim)
{
    check_writers(sim);
    check_fences(sim);
    check_leases(sim);
}

void check_acknowledged(Member *m)
{
    Sim *sim = m->sim;
    if (sim->commit_count > 0) {
        const Commit *last = &sim->commits[sim->commit_count - 1];
        if (last->lineage != m->dir.lineage)
            sim_fail(sim, "%s acknowledges in another cluster than %s did", m->name,
                     sim->members[last->member].name);
    }
    if (m->pg.serial <= m->retired)
        sim_fail(sim, "%s acknowledges a commit after a successor did", m->name);
    if (sim->acknowledger >= 0 && sim->acknowledger != m->index)
        sim->members[sim->acknowledger].retired = sim->acknowledger_serial;
    sim->acknowledger = m->index;
    sim->acknowledger_serial = m->pg.serial;
}

// --- the lease behind it

static bool tampered_lately(const Sim *sim)
{
    return sim->store.tampered_at != 0 &&
           sim->now - sim->store.tampered_at < MS(2000) * sim->options.ttl_s;
}

// The store's own word, now: the key bears this member's name, and the lease it is bound to lasts.
static void check_lease_of(const AgentProc *proc, const char *what)
{
    Sim *sim = proc->sim;
    const StoreKey *leader = store_key(sim, "leader");
    const StoreLease *lease = leader ? store_lease(sim, leader->lease) : NULL;
    if (tampered_lately(sim) || just_woken(proc->member))
        return; // nobody's word counts then; the writers are looked at all the same
    if (!leader || !str_eq(leader->value, proc->member->name))
        sim_fail(sim, "%s: %s without the leader key", proc->member->name, what);
    else if (!lease || lease->expires_at <= sim->now)
        sim_fail(sim, "%s: %s without a lease", proc->member->name, what);
}

void check_acquired(AgentProc *proc)
{
    Sim *sim = proc->sim;
    for (int i = 0; i < sim->member_count; i++) {
        const Member *m = &sim->members[i];
        if (m != proc->member && pg_writes(m) && !just_woken(m) && !is_unguarded(m))
            sim_fail(sim, "%s gets the leader key while %s takes writes", proc->member->name,
                     m->name);
    }
    memcpy(proc->beaten, proc->peers.slots, sizeof proc->beaten);
    // Asked in this race, not before it.
    proc->beaten_count = proc->peers.asked_at >= sim->store.vacant_since ? proc->peers.count : 0;
    const char *failover = sim_key(sim, "failover");
    char named[40];
    (void)snprintf(named, sizeof named, "\"member\":\"%s\"", proc->member->name);
    proc->by_request = failover && strstr(failover, named);
}

void check_release(AgentProc *proc)
{
    const Member *m = proc->member;
    proc->lease_until = 0; // from here on it is nobody's by its own will
    if (pg_may_write(m))
        sim_fail(proc->sim, "%s gives the leader key up while its server may write", m->name);
}

// --- starting and promoting

void check_start(Member *m, bool standby)
{
    Sim *sim = m->sim;
    if (m->dir.torn)
        sim_fail(sim, "%s: starts a data directory whose rewind was broken off", m->name);
    if (!standby && !m->warden.fence.armed)
        sim_fail(sim, "%s: starts as primary without a fence", m->name);
    if (!standby && m->agent)
        check_lease_of(m->agent, "starts as primary");
}

void check_promote_asked(AgentProc *proc)
{
    const Member *m = proc->member;
    if (!m->warden.fence.armed)
        sim_fail(proc->sim, "%s: promotes without a fence", m->name);
    check_lease_of(proc, "promotes");
}

// The cluster has gone on from before that position, on a newer timeline: it is a dead branch.
static bool is_dead_branch(Sim *sim, size_t lineage, WalPosition end)
{
    const Lineage *l = &sim->lineages[lineage];
    for (size_t i = 0; i < l->count; i++)
        if (l->branches[i].timeline > end.timeline &&
            !wal_on_path(sim, lineage, end, l->branches[i].timeline))
            return true;
    return false;
}

// Of those who had answered before the key was taken, nobody eligible had more.
static void check_beaten(Member *m)
{
    Sim *sim = m->sim;
    const AgentProc *proc = m->agent;
    if (!proc || proc->by_request)
        return;
    for (size_t i = 0; i < proc->beaten_count; i++) {
        const PeerSlot *p = &proc->beaten[i];
        if (!p->answer.reachable || p->answer.nofailover || p->lineage != m->dir.lineage ||
            p->member < 0 || p->member == m->index || is_dead_branch(sim, p->lineage, p->end))
            continue;
        if (p->end.lsn > m->dir.end.lsn && wal_contains(sim, m->dir.lineage, p->end, m->dir.end))
            sim_fail(sim, "%s is promoted at %s though %s had said that it is at %s", m->name,
                     lsn_format(m->dir.end.lsn).text, sim->members[p->member].name,
                     lsn_format(p->end.lsn).text);
    }
}

void check_promoted(Member *m, uint32_t timeline)
{
    Sim *sim = m->sim;
    const Lineage *l = &sim->lineages[m->dir.lineage];
    for (size_t i = 0; i < l->count; i++)
        if (just_woken(m) ? l->branches[i].timeline == timeline
                          : l->branches[i].timeline >= timeline)
            sim_fail(sim, "%s is promoted to timeline %u, but %s has written timeline %u", m->name,
                     timeline, sim->members[l->branches[i].member].name, l->branches[i].timeline);
    check_beaten(m);
}

// --- data directories and the cluster's identity

void check_wipe(AgentProc *proc)
{
    const Member *m = proc->member;
    Sim *sim = proc->sim;
    if (m->dir.files != FILES_VALID || m->reinit_asked)
        return;
    if (!(sim->options.remove_diverged && m->proven_diverged))
        sim_fail(sim, "%s: its data directory is wiped without a proof", m->name);
}

void check_initialize(Sim *sim, const char *before, const char *after)
{
    if (before && after && initialize_is_valid(before) && !str_eq(before, after))
        sim_fail(sim, "initialize goes from %s to '%s'", before, after);
}
