// We hold the lease: create the cluster, start, promote, serve; or give it up when we cannot.
#include "agent/core/rules.h"

#include "common/base/text.h"

static Decision start_primary(const Facts *f, Decision d, Reason reason)
{
    (void)f;
    return with_task(d, reason, TASK_START_PRIMARY);
}

static Decision decide_bootstrap(const Facts *f, Decision d)
{
    const ServerView *s = f->server;
    d.memory.bootstrapping = true;
    if (d.memory.bootstrap_failed) {
        evidence(&d, "error='%.150s'", s->task.error);
        if (s->running) {
            d = with_task(d, REASON_BOOTSTRAP_FAILED, TASK_STOP);
            d.stop_mode = STOP_IMMEDIATE;
            return d;
        }
        d = with(d, REASON_BOOTSTRAP_FAILED);
        d.key = KEY_RELEASE;
        d.drop_initialize = true;
        d.exit = true;
        d.exit_code = 1;
        return d;
    }
    if (s->dir == DIR_MISSING || s->dir == DIR_PARTIAL)
        return with_task(d, REASON_BOOTSTRAP_RUNNING, TASK_BOOTSTRAP);
    if (!s->running)
        return start_primary(f, d, REASON_BOOTSTRAP_RUNNING);
    if (!is_primary(f))
        return with(d, REASON_LEADER_STARTING);
    if (!d.memory.post_bootstrap_done)
        return with_task(d, REASON_BOOTSTRAP_POST, TASK_POST_BOOTSTRAP);
    d.write_initialize = d.write_config = d.confirm_term = true;
    d.memory.bootstrapping = false;
    return with(d, REASON_BOOTSTRAP_DONE);
}

// Does the history key lack the line about the timeline we are on?
static bool history_is_old(const Facts *f)
{
    const ClusterView *c = f->cluster;
    const uint32_t timeline = f->server->timeline;
    if (timeline == 0 || f->server->history.timeline != timeline)
        return false; // not known yet
    if (timeline == 1)
        return c->history_count > 0 || (c->history_revision != 0 && !c->history_known);
    if (c->history_count == 0)
        return true;
    const HistoryLine *last = &c->history[c->history_count - 1];
    return last->timeline != timeline - 1 &&
                   last->timeline !=
                       f->server->history.parents[f->server->history.parent_count - 1].timeline
               ? true
               : last->new_leader == NULL;
}

// Keys the leader keeps right (docs/store.md, "Keys"). Best effort, by compare-and-swap.
static void upkeep(const Facts *f, Decision *d)
{
    const ClusterView *c = f->cluster;
    if (!f->store_ok || !is_primary(f) || !f->server->control.known)
        return;
    d->write_initialize = !initialize_is_valid(c->initialize);
    d->write_config = !c->config && !c->config_invalid && f->settings->dynamic;
    if (f->server->history.parent_count > 0 || f->server->timeline == 1)
        d->write_history = history_is_old(f);
    if (f->server->timeline != 0 && f->leader_is_us)
        d->confirm_term =
            !record_is_ours(f) || !c->term.confirmed || c->term.timeline != f->server->timeline;
}

static bool cannot_start(const Facts *f)
{
    const Instant since = f->memory.trying_to_start_since;
    return instant_is_set(since) &&
           instant_ms_between(since, f->now) > f->settings->primary_start_timeout_ms;
}

// Our server cannot serve: is there anybody who could? Without one, holding on is the better half.
static bool fail_over(const Facts *f, Decision *d, Reason reason)
{
    if (!peers_fresh(f, f->started_at)) {
        d->ask_peers = true;
        *d = with(*d, reason);
        return true;
    }
    const PeerAnswer *successor = race_successor(f, NULL, LSN_NONE);
    if (!successor)
        return false;
    evidence(d, "successor=%s", successor->name);
    d->memory.handover = HANDOVER_FAILING;
    d->memory.handover_at = f->now;
    d->memory.handover_reason = reason;
    *d = decide_handover(f, *d);
    d->reason = reason;
    return true;
}

static Decision decide_stopped(const Facts *f, Decision d)
{
    const ServerView *s = f->server;
    const ClusterView *c = f->cluster;
    // We have stopped it ourselves, and nothing is started on what is left of a lease: the proof
    // that has to come before would make it whole again.
    const bool runs_out = !instant_before(f->now, must_stop_at(f));
    const Reason why = runs_out ? REASON_LEASE_RUNNING_OUT : REASON_LEADER_CRASHED;
    if (s->remains) // the warden is still clearing up after it
        return wait_until(d, why, instant_plus_ms(f->now, 100));
    if (s->dir == DIR_MISSING || s->dir == DIR_PARTIAL) {
        d = with(d, REASON_LEADER_DIRECTORY_LOST);
        d.key = KEY_RELEASE;
        return d;
    }
    if (cannot_start(f) && fail_over(f, &d, REASON_LEADER_START_TIMEOUT))
        return d;
    if (runs_out)
        return wait_until(d, why, f->lease.valid_until);
    // In the term in which it became a primary it goes on with its timeline; anybody else comes up
    // as a standby and is promoted, which gives it a timeline of its own.
    const bool was_primary =
        f->memory.primary_term == f->lease.term ||
        (record_is_ours(f) && c->term.confirmed && c->term.timeline == s->control.timeline);
    if (was_primary && !s->standby_signal)
        return start_primary(f, d, f->memory.restarting ? REASON_RESTART : REASON_LEADER_CRASHED);
    d.memory.promoted_term = 0;
    return with_task(d, REASON_LEADER_START_STANDBY_FIRST, TASK_START_STANDBY);
}

static Decision decide_silent(const Facts *f, Decision d)
{
    const ServerView *s = f->server;
    if (cannot_start(f) && fail_over(f, &d, REASON_LEADER_START_TIMEOUT))
        return d;
    if (s->refused)
        return with(d, REASON_LEADER_STARTING);
    const Instant since = f->memory.silent_since;
    // A postmaster that takes no connections and does not say why, for a ttl: start it anew.
    const int64_t patience = instant_is_set(s->answered_at) ? f->settings->ttl_ms
                                                            : f->settings->primary_start_timeout_ms;
    if (instant_is_set(since) && instant_ms_between(since, f->now) > patience) {
        d = with_task(d, REASON_LEADER_STOPPED_SERVER, TASK_STOP);
        d.stop_mode = STOP_IMMEDIATE;
        return d;
    }
    return with(d, instant_is_set(s->answered_at) ? REASON_LEADER_NOT_ANSWERING
                                                  : REASON_LEADER_STARTING);
}

static Decision decide_promotion(const Facts *f, Decision d)
{
    const int64_t timeout = f->settings->primary_start_timeout_ms > 60000
                                ? f->settings->primary_start_timeout_ms
                                : 60000;
    if (f->settings->standby_cluster) // its writer is elsewhere
        return with(d, REASON_MODE_UNSUPPORTED);
    // The record of our own acquire says which timelines are taken: without it none may be chosen.
    if (!f->leader_is_us)
        return wait_until(d, REASON_RACE_WON, instant_plus_ms(f->now, 20));
    if (f->memory.promoted_term == f->lease.term) {
        if (instant_ms_between(f->memory.promote_at, f->now) > timeout &&
            fail_over(f, &d, REASON_LEADER_PROMOTION_STUCK))
            return d;
        return wait_until(d, REASON_LEADER_PROMOTING, instant_plus_ms(f->now, 20));
    }
    if (!f->store_ok) // the proof that must come before a promote cannot be had
        return with(d, REASON_STORE_UNREACHABLE);
    d.reserve_through = race_reserve_through(f);
    // A second promotion in one term: whoever comes after us must know of this number, too.
    const TermRecord *term = &f->cluster->term;
    if (!record_is_ours(f) || term->confirmed || term->timeline != d.reserve_through + 1) {
        d.announce = d.reserve_through + 1;
        evidence(&d, "announce=%u", d.announce);
        return wait_until(d, REASON_LEADER_PROMOTE, instant_plus_ms(f->now, 50));
    }
    d = with_task(d, REASON_LEADER_PROMOTE, TASK_PROMOTE);
    evidence(&d, "timeline=%u reserve_through=%u", f->server->timeline, d.reserve_through);
    d.memory.promoted_term = f->lease.term;
    d.memory.promote_at = f->now;
    return d;
}

static Decision decide_serving(const Facts *f, Decision d)
{
    upkeep(f, &d);
    if (!f->store_ok)
        return with(d, REASON_STORE_UNREACHABLE);
    if (decide_switchover(f, &d))
        return d;
    if (f->request.restart) {
        d = with_task(d, f->request.restart_scheduled ? REASON_RESTART_SCHEDULED : REASON_RESTART,
                      TASK_STOP);
        d.checkpoint_first = true;
        d.memory.restarting = true;
        return d;
    }
    if (f->request.reload)
        return with_task(d, REASON_RELOAD, TASK_RELOAD);
    // PostgreSQL spreads its own over minutes, and until then nobody can rewind from here.
    if (f->server->checkpoint_pending && d.memory.checkpoint_term != f->lease.term) {
        d.memory.checkpoint_term = f->lease.term;
        return with_task(d, REASON_LEADER_CHECKPOINT, TASK_CHECKPOINT);
    }
    return with(d, REASON_LEADER_HEALTHY);
}

#define STOP_PATIENCE_MS 60000 // of a hand-over, with a server that will not end

bool leader_is_stuck(const Facts *f, Decision *d)
{
    const TaskView *task = &f->server->task;
    if (!task->running)
        return false;
    if (d->memory.handover == HANDOVER_FAILING) {
        *d = decide_handover(f, *d);
        d->task = TASK_NONE;
        d->cancel_task = true;
        return true;
    }
    const bool starting = task->kind == TASK_START_PRIMARY || task->kind == TASK_START_STANDBY;
    const bool hung = f->server->disk_busy_ms > f->settings->ttl_ms;
    if (hung || (starting && cannot_start(f))) {
        if (fail_over(f, d, hung ? REASON_DISK_HUNG : REASON_LEADER_START_TIMEOUT)) {
            d->cancel_task = d->memory.handover == HANDOVER_FAILING;
            return true;
        }
    }
    if (task->kind == TASK_STOP && d->memory.handover != HANDOVER_NONE &&
        instant_ms_between(task->began_at, f->now) > STOP_PATIENCE_MS) {
        d->strike = true;
        *d = with(*d, d->memory.handover == HANDOVER_SHUTDOWN ? REASON_SHUTDOWN_HANDOVER
                                                              : REASON_SWITCHOVER);
        return true;
    }
    return false;
}

// Our claim to create the cluster, still open? An `initialize` that somebody emptied by hand is
// not.
static bool is_bootstrap(const Facts *f, const Memory *m)
{
    const ClusterView *c = f->cluster;
    if (m->bootstrapping)
        return true;
    const bool led = term_record_valid(&c->term, &c->leader) && c->term.confirmed;
    return c->initialize && !*c->initialize && !led && m->primary_term != f->lease.term;
}

Decision decide_leader(const Facts *f, Decision d)
{
    const ServerView *s = f->server;
    if (is_bootstrap(f, &d.memory))
        return decide_bootstrap(f, d);
    if (d.memory.handover != HANDOVER_NONE)
        return decide_handover(f, d);
    // A disk that does not answer will not come back by waiting, and no write gets through it.
    if (s->disk_busy_ms > f->settings->ttl_ms && fail_over(f, &d, REASON_DISK_HUNG))
        return d;
    if (!s->running)
        return decide_stopped(f, d);
    if (!s->answered)
        return decide_silent(f, d);
    return s->in_recovery ? decide_promotion(f, d) : decide_serving(f, d);
}
