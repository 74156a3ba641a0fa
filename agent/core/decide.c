#include "agent/core/decide.h"

#include "agent/core/rules.h"
#include "common/base/text.h"

const char *key_action_name(KeyAction action)
{
    switch (action) {
    case KEY_KEEP:
        return "keep";
    case KEY_ACQUIRE:
        return "acquire";
    case KEY_RELEASE:
        return "release";
    }
    ASSERT(false);
}

// The fence is lifted only when no process is left to fence, or for a standby that was never told
// to become a primary (docs/architecture.md, "The lease and the fence"). While a task runs, the
// process it is starting may not be seen yet.
static bool fence_may_go(const Facts *f)
{
    const ServerView *s = f->server;
    if (!f->warden.fence_armed || s->task.running)
        return false;
    if (!s->running && !s->remains)
        return true;
    return !f->lease.held && !f->lease.resuming && is_standby(f) && !may_write(f);
}

// A server that was there before us and before any cluster was registered: it may stay a primary
// until it has claimed the cluster, because nobody else can have been one. Where another store may
// hold this cluster, that is found out within a ttl.
static bool may_adopt(const Facts *f)
{
    const Instant known_at = instant_plus_ms(f->started_at, f->settings->ttl_ms);
    if (f->store_known && f->cluster->other_store && !instant_before(f->now, known_at))
        return false;
    return f->store_known && f->store_ok && is_primary(f) && !f->warden.writer &&
           f->cluster->vacancy.kind == VACANCY_NEVER && !f->cluster->leader.name &&
           !initialize_is_valid(f->cluster->initialize);
}

// Whatever stops writes. True: *d is the decision of this turn.
static bool guard_writes(const Facts *f, Decision *d)
{
    // A warden that was killed leaves behind what did not die at once, and the next one does not
    // know of it: backends of a frozen postmaster may still acknowledge when they wake.
    if (instant_is_set(f->memory.remains_since) && !f->server->task.running &&
        instant_ms_between(f->memory.remains_since, f->now) >= 1000) {
        *d = with(*d, REASON_LEFTOVERS);
        d->strike = !is_struck(f);
        if (d->strike || !f->lease.held) {
            d->wake_at = instant_earliest(d->wake_at, instant_plus_ms(f->now, 1000));
            return true;
        }
        return false; // stuck in the kernel: the lease is for somebody whose disk answers
    }
    // A start as primary that is under way writes before it is seen.
    const bool begins = f->server->task.running && f->server->task.kind == TASK_START_PRIMARY;
    if (!may_write(f) && !(begins && !f->lease.held && !f->lease.resuming))
        return false;
    const bool stopping = f->server->task.running && f->server->task.kind == TASK_STOP;
    if (!f->lease.held && f->lease.resuming) {
        // Our predecessor's fence counts on: nothing is at stake before its deadline.
        if (instant_before(f->now, must_stop_at(f))) {
            *d = wait_until(*d, REASON_RACE_RESUME, must_stop_at(f));
            return true;
        }
        *d = with(*d, REASON_LEASE_RUNNING_OUT);
        if (!stopping)
            *d = with_task(*d, REASON_LEASE_RUNNING_OUT, TASK_STOP);
        return true;
    }
    if (!f->lease.held) {
        if (may_adopt(f))
            return false;
        *d = with(*d,
                  f->memory.primary_term != 0 ? REASON_LEASE_LOST : REASON_PRIMARY_WITHOUT_LEASE);
        d->strike = !is_struck(f); // a second order would only move the deadline of the first
        d->cancel_task = f->server->task.running && !stopping;
        return true;
    }
    if (instant_before(f->now, must_stop_at(f))) {
        d->wake_at = instant_earliest(d->wake_at, must_stop_at(f));
        return false;
    }
    evidence(d, "lease_left_ms=%lld", (long long)instant_ms_between(f->now, f->lease.valid_until));
    d->cancel_task = f->server->task.running && !stopping;
    *d = with(*d, REASON_LEASE_RUNNING_OUT);
    if (!f->server->task.running)
        d->task = TASK_STOP; // fast; the warden's deadline stands behind it
    return true;
}

// It could not be compared with a leader who is one no longer: that must hold up neither the race
// for its key nor the way to its successor.
static bool failure_is_outdated(const Facts *f)
{
    return f->server->task.kind == TASK_CHECK_DIVERGENCE && f->cluster &&
           f->memory.task_term != f->cluster->leader.create_revision;
}

// A task under way: mostly it is waited for.
static bool task_in_the_way(const Facts *f, Decision *d)
{
    const TaskView *task = &f->server->task;
    if (task->running) {
        const bool told_to_stop = f->request.shutdown || f->warden.terminating;
        const bool long_one = task->kind == TASK_CLONE || task->kind == TASK_REWIND ||
                              task->kind == TASK_BOOTSTRAP || task->kind == TASK_CRASH_RECOVERY;
        if ((told_to_stop && long_one) ||
            (f->request.reinit && f->request.reinit_force && task->kind != TASK_STOP))
            d->cancel_task = true;
        // A cluster must not be made without the claim to it.
        if (task->kind == TASK_BOOTSTRAP && !f->lease.held && !f->lease.resuming)
            d->cancel_task = true;
        // Nobody waits for a checkpoint of ours.
        if (task->kind == TASK_CHECKPOINT &&
            (told_to_stop || f->request.restart || (f->cluster && failover_due(f) == FAILOVER_DUE)))
            d->cancel_task = true;
        evidence(d, "task=%s", task_name(task->kind));
        *d = with(*d, REASON_TASK_RUNNING);
        return true;
    }
    const bool urgent = f->request.shutdown || f->warden.terminating;
    if (!urgent && instant_before(f->now, f->memory.task_retry_at) && !failure_is_outdated(f)) {
        evidence(d, "task=%s error='%.120s'", task_name(task->kind), task->error);
        *d = wait_until(*d, REASON_TASK_FAILED_WAITING, f->memory.task_retry_at);
        return true;
    }
    return false;
}

static bool foreign_data(const Facts *f)
{
    return f->server->dir == DIR_VALID && f->server->control.known && f->cluster &&
           initialize_is_valid(f->cluster->initialize) &&
           !str_eq(f->cluster->initialize, f->server->control.system_identifier);
}

// What must be known of the data directory before anything is done with it.
static bool directory_unknown(const Facts *f, Decision *d)
{
    const ServerView *s = f->server;
    if (s->dir == DIR_UNKNOWN) {
        *d = with_task(*d, REASON_INSPECTING, TASK_INSPECT);
        return true;
    }
    if (s->dir == DIR_INACCESSIBLE) {
        *d = with(*d, REASON_DIRECTORY_INACCESSIBLE);
        d->task = TASK_INSPECT;
        // Nothing to serve from: let somebody else. Not while it still runs.
        if (f->lease.held && !s->running && !s->remains)
            d->key = KEY_RELEASE;
        return true;
    }
    // How it ended decides what may be done with it.
    if (s->dir == DIR_VALID && !s->running && !s->remains && s->control.state == CONTROL_UNKNOWN) {
        *d = with_task(*d, REASON_INSPECTING, TASK_INSPECT);
        return true;
    }
    if (s->dir == DIR_VALID && !s->control.known) {
        *d = with_task(*d, REASON_SYSTEM_ID_UNKNOWN, TASK_INSPECT);
        return true;
    }
    return false;
}

static Decision decide_foreign(const Facts *f, Decision d)
{
    evidence(&d, "ours=%s cluster=%s", f->server->control.system_identifier,
             f->cluster->initialize);
    d = with(d, REASON_SYSTEM_ID_FOREIGN);
    if (f->lease.held && !may_write(f))
        d.key = KEY_RELEASE;
    d.exit = !f->lease.held;
    d.exit_code = 1;
    return d;
}

static Decision decide_known(const Facts *f, Decision d)
{
    if (directory_unknown(f, &d))
        return d;
    if (foreign_data(f) && !d.memory.bootstrapping)
        return decide_foreign(f, d);
    if (f->lease.held)
        return decide_leader(f, d);
    if (f->cluster->leader.name && f->cluster->leader.session)
        return decide_replica(f, d);
    return decide_vacant(f, d);
}

Decision decide(const Facts *facts)
{
    Decision d = {.memory = memory_digest(facts)};
    Facts now = *facts; // the rules read the digested memory
    now.memory = d.memory;
    const Facts *f = &now;

    if (!f->warden.connected)
        return with(d, REASON_WARDEN_UNREACHABLE);
    d.unfence = fence_may_go(f);
    d.arm = f->lease.held && may_write(f) && !f->warden.fence_armed;
    if (guard_writes(f, &d))
        return d;
    if (f->lease.held && f->lease.tampered && f->store_known) {
        d = with(d, REASON_RACE_RECREATE);
        d.key = KEY_ACQUIRE;
        d.acquire_over_revision = f->lease.tampered_revision;
        d.reserve_through = race_reserve_through(f);
        return d;
    }
    if (f->lease.held && f->store_known && leader_is_stuck(f, &d))
        return d;
    if (task_in_the_way(f, &d))
        return d;
    if (f->request.shutdown || f->warden.terminating)
        return decide_shutdown(f, d);
    if (!f->store_known)
        return with(d, REASON_STORE_NOT_READ);
    return decide_known(f, d);
}
