// The session, the leader lease and the fence that is counted by it: docs/architecture.md, "The
// lease and the fence".
#include "agent/state.h"

#include "common/base/text.h"
#include "common/os/log.h"
#include "common/os/retry.h"
#include "dcs/records.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRY_MIN_MS 500
#define TRY_MAX_MS 2000

void store_refused(Agent *agent, RefusedKind kind, const char *what, const Error *err)
{
    char *told = agent->refused_told[kind];
    if (err->kind != ERR_INVALID || str_eq(told, err->text)) {
        log_debug("%s error='%s'", what, err->text);
        return;
    }
    log_warn("%s error='%s'", what, err->text);
    (void)copy_text(told, sizeof agent->refused_told[kind], err->text); // the same size
}

bool store_outcome(Agent *agent, bool ok, const Error *err)
{
    // What it refuses for good says nothing either way.
    if (!ok && err->kind == ERR_INVALID) {
        store_refused(agent, REFUSED_LEASE, "store refuses", err);
        return false;
    }
    // A refusal is an answer: the store is there.
    const bool answered = ok || err->kind == ERR_CONFLICT;
    if (answered != agent->store_ok) {
        if (answered)
            log_info("store answers again");
        else
            log_warn("store does not answer error='%s'", err->text);
    }
    agent->store_ok = answered;
    if (answered)
        agent->dcs_last_seen_s = clock_wall_us(agent->world.clock) / 1000000;
    return ok;
}

// One try: long enough for a slow store, short enough that a crash of Postgres is not kept waiting,
// and never past the moment at which a stop has to begin.
static Deadline try_deadline(const Agent *agent)
{
    const Settings *s = settings_of(agent);
    int64_t ms = s->retry_timeout_ms / 3;
    ms = ms > TRY_MAX_MS ? TRY_MAX_MS : ms < TRY_MIN_MS ? TRY_MIN_MS : ms;
    const Deadline d = deadline_in(agent->world.clock, ms);
    if (!agent->lease.held)
        return d;
    // Past that, a last short try must not keep the stop waiting.
    const Deadline brief = deadline_in(agent->world.clock, 200);
    const Deadline until = deadline_at(lease_stop_at(agent));
    return deadline_min(d, instant_before(brief.at, until.at) ? until : brief);
}

Instant lease_stop_at(const Agent *agent)
{
    const LeaseProof *proof = &agent->lease.proof;
    const FenceShare share = settings_fence(settings_of(agent), proof->ttl_ms);
    return instant_plus_ms(proof->valid_until, -(share.margin_ms + share.stop_budget_ms));
}

// The store counts by the ttl of the session, we by the settings', which may have changed since.
static int64_t least_ttl_ms(const Agent *agent)
{
    const int64_t ttl = settings_of(agent)->ttl_ms, session = agent->lease.session_ttl_ms;
    return session > 0 && session < ttl ? session : ttl;
}

static int64_t renewal_period_ms(const Agent *agent)
{
    // Of what is proven, too: it lasts no longer for a ttl that was raised since.
    const int64_t least = least_ttl_ms(agent), proven = agent->lease.proof.ttl_ms;
    const int64_t third = (agent->lease.held && proven < least ? proven : least) / 3;
    return settings_of(agent)->loop_wait_ms < third ? settings_of(agent)->loop_wait_ms : third;
}

static int64_t session_period_ms(const Agent *agent)
{
    const Settings *s = settings_of(agent);
    const bool every_second = 2 * s->loop_wait_ms + s->retry_timeout_ms <= least_ttl_ms(agent);
    return every_second ? 2 * s->loop_wait_ms : renewal_period_ms(agent);
}

static void lease_lost(Agent *agent, const char *why)
{
    Lease *lease = &agent->lease;
    if (lease->held || lease->resuming)
        log_warn("leader lease is gone term=%lld why='%s'", (long long)lease->term, why);
    lease->held = lease->resuming = lease->tampered = false;
    lease->failures = 0;
    agent->refresh_wanted = true; // the cache may be what has misled us
}

static void session_proven(Agent *agent, const LeaseProof *proof)
{
    agent->lease.session_sent_at = proof->sent_at;
    agent->lease.session_valid_until = lease_capped(agent, *proof).valid_until;
    agent->lease.session_failures = 0;
    agent->lease.session_retry_at = (Instant){0};
}

// --- the view against what we believe

void lease_notice(Agent *agent)
{
    Lease *lease = &agent->lease;
    if (!agent->view_known)
        return;
    const LeaderView *leader = &agent->view.leader;
    if (lease->held) {
        if (agent->view.revision > 0 && !lease->tampered &&
            (!leader->name || leader->create_revision != lease->term ||
             !str_eq(leader->session, lease->session)) &&
            agent->view.revision >= lease->term)
            lease->check_now = true; // a view proves nothing: ask
        return;
    }
    if (lease->resuming || !leader->name || !leader->session ||
        leader->create_revision == lease->abandoned_term)
        return;
    // Ours by name and instance, though we hold nothing: the reply to our acquire was lost, or a
    // predecessor of ours acquired it and left no fence behind.
    const bool ours = str_ieq(leader->name, settings_of(agent)->name) &&
                      term_record_valid(&agent->view.term, leader) &&
                      str_eq(agent->view.term.instance, agent->instance);
    if (!ours)
        return;
    if (!str_eq(leader->session, lease->session)) {
        (void)copy_text(lease->session, sizeof lease->session, leader->session);
        lease->session_valid_until = (Instant){0};
    }
    lease->term = leader->create_revision;
    lease->resuming = true;
    lease->retry_at = (Instant){0};
}

// --- renewal

// The leader key is not ours by the store's word. Tampered with while our lease lasts, or lost?
static void examine_conflict(Agent *agent)
{
    Lease *lease = &agent->lease;
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    LeaseProof proof;
    if (!store_outcome(agent, dcs->ops->keep_session(dcs, try_deadline(agent), &proof, &err),
                       &err)) {
        if (err.kind == ERR_CONFLICT) {
            lease->session[0] = '\0';
            lease_lost(agent, "the session has expired");
        }
        return; // no answer: the next turn asks again
    }
    session_proven(agent, &proof);
    ClusterView view;
    if (!store_outcome(agent,
                       dcs->ops->refresh(dcs, agent->turn_arena, try_deadline(agent), &view, &err),
                       &err))
        return;
    agent->view = view;
    agent->view_known = true;
    const LeaderView *leader = &view.leader;
    const bool ours = leader->name && leader->create_revision == lease->term &&
                      str_eq(leader->session, lease->session) &&
                      str_ieq(leader->name, settings_of(agent)->name);
    if (ours) { // it was a stale view, or somebody put it back
        lease->tampered = false;
        return;
    }
    const bool by_hand =
        !leader->name || !leader->session || leader->create_revision == lease->term;
    // Gone because somebody led meanwhile, and released, is gone for good.
    const bool passed_on = view.term.present && !str_eq(view.term.instance, agent->instance);
    if (!by_hand || passed_on || lease->resuming) {
        lease_lost(agent, leader->name ? leader->name : "the key has gone");
        return;
    }
    if (!lease->tampered)
        log_warn("leader key was tampered with now='%s' term=%lld", str_or(leader->name, ""),
                 (long long)lease->term);
    lease->tampered = true;
    lease->tampered_revision = leader->mod_revision; // 0 when it has gone
}

char *lease_status_text(Agent *agent)
{
    const ServerView *s = &agent->server;
    // A cluster still being made has no position worth remembering: it may yet be given up.
    if (!s->answered || s->in_recovery || s->flush_lsn == LSN_NONE || agent->memory.bootstrapping ||
        !agent->view_known)
        return NULL;
    Arena *arena = agent->turn_arena;
    const SlotFacts f = slot_facts(agent);
    slots_remember(arena, &f, &agent->retained_slots); // before the predecessor's list is gone
    const StringList retain = slots_retained(arena, &f, &agent->retained_slots);
    char *text = records_status(arena, s->flush_lsn, slots_published(arena, &f), &retain);
    return str_eq(text, agent->view.status_text) ? NULL : text;
}

static bool renew_try(Agent *agent, Error *err)
{
    Lease *lease = &agent->lease;
    Dcs *dcs = agent->world.dcs;
    const Instant now = now_of(agent);
    char *status = lease->held && !instant_before(now, lease->status_retry_at)
                       ? lease_status_text(agent)
                       : NULL;
    LeaseProof proof;
    bool ok = dcs->ops->renew(dcs, lease->term, status, try_deadline(agent), &proof, err);
    if (!ok && status && err->kind != ERR_CONFLICT) {
        // A full store takes no write, yet it proves a lease: the proof counts, not the status.
        lease->status_retry_at = instant_plus_ms(now, settings_of(agent)->loop_wait_ms);
        *err = (Error){0};
        ok = dcs->ops->renew(dcs, lease->term, NULL, try_deadline(agent), &proof, err);
    }
    if (!store_outcome(agent, ok, err))
        return false;
    if (!instant_before(now_of(agent), proof.valid_until))
        return error_set(err, ERR_UNCERTAIN, "renewal came back after its own lease");
    if (lease->resuming)
        log_info("continuing our term session=%s term=%lld", lease->session,
                 (long long)lease->term);
    session_proven(agent, &proof);
    lease->proof = lease_capped(agent, proof);
    lease->held = true;
    lease->resuming = lease->check_now = lease->tampered = false;
    lease->failures = 0;
    lease->retry_at = (Instant){0};
    // Its fence moves with it. If that fails the old deadline stands, which is the safe side.
    Error fence_err = {0};
    if (fence_may_move(agent) && !lease_fence(agent, agent->fence_writer, &fence_err))
        log_warn("fence not moved error='%s'", fence_err.text);
    return true;
}

static void renew(Agent *agent)
{
    Lease *lease = &agent->lease;
    Error err = {0};
    lease->check_now = false;
    if (renew_try(agent, &err))
        return;
    if (err.kind == ERR_CONFLICT)
        examine_conflict(agent);
    lease->failures++;
    // Near the end every moment counts in which the store may be back.
    const bool late = lease->held && instant_ms_between(now_of(agent), lease_stop_at(agent)) < 3000;
    lease->retry_at =
        instant_plus_ms(now_of(agent), retry_wait_ms(agent->world.rng, lease->failures - 1, 100,
                                                     late ? 200 : 1000));
}

static void open_session(Agent *agent)
{
    Lease *lease = &agent->lease;
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    LeaseProof proof;
    const char *session = NULL;
    const bool ok = dcs->ops->open_session(dcs, settings_of(agent)->ttl_ms, lease->session,
                                           try_deadline(agent), &session, &proof, &err);
    if (store_outcome(agent, ok, &err)) {
        const bool resumed = str_eq(lease->session, session);
        (void)copy_text(lease->session, sizeof lease->session, session);
        lease->session_ttl_ms = resumed ? proof.ttl_ms : settings_of(agent)->ttl_ms;
        session_proven(agent, &proof);
        agent->member_dirty = true;
        return;
    }
    if (err.kind == ERR_CONFLICT) { // the one we wanted to go on with has expired
        lease->session[0] = '\0';
        lease->abandoned_term = lease->resuming ? lease->term : lease->abandoned_term;
        lease_lost(agent, "the session has expired");
    }
    lease->session_failures++;
    lease->session_retry_at = instant_plus_ms(
        now_of(agent), retry_wait_ms(agent->world.rng, lease->session_failures - 1, 100, 1000));
}

static void keep_session(Agent *agent)
{
    Lease *lease = &agent->lease;
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    LeaseProof proof;
    if (store_outcome(agent, dcs->ops->keep_session(dcs, try_deadline(agent), &proof, &err),
                      &err)) {
        session_proven(agent, &proof);
        return;
    }
    if (err.kind == ERR_CONFLICT) {
        lease->session[0] = '\0';
        lease->session_valid_until = (Instant){0};
        lease_lost(agent, "the session has expired");
        return;
    }
    lease->session_failures++;
    lease->session_retry_at = instant_plus_ms(
        now_of(agent), retry_wait_ms(agent->world.rng, lease->session_failures - 1, 100, 1000));
}

static bool session_open(const Agent *agent)
{
    return agent->lease.session[0] && instant_is_set(agent->lease.session_valid_until);
}

static Instant after(Instant due, Instant retry_at)
{
    return instant_is_set(retry_at) && instant_before(due, retry_at) ? retry_at : due;
}

// The ttl has changed: a session of the new one. A leader key is put anew, bound to it; its old
// lease stands until then, and so does what we have proven by it.
static void change_session(Agent *agent)
{
    Lease *lease = &agent->lease;
    char old[sizeof lease->session];
    (void)copy_text(old, sizeof old, lease->session);
    lease->session[0] = '\0';
    open_session(agent);
    if (!lease->session[0]) {
        (void)copy_text(lease->session, sizeof lease->session, old);
        return;
    }
    log_info("session has a ttl of %lld ms now", (long long)settings_of(agent)->ttl_ms);
    if (!lease->held)
        return;
    if (str_eq(lease->session, old)) {
        // The store keeps the session, and a renewal tells the new ttl. At once: what is proven
        // lasts for the old one, and may be over before the next renewal of a longer one would be
        // due.
        lease->check_now = true;
    } else {
        lease->tampered = true;
        lease->tampered_revision = agent->view.leader.mod_revision;
    }
}

static bool fence_is_bound(const Agent *agent)
{
    const WardenView *w = &agent->warden;
    return w->connected && (!w->fence_armed || !instant_before(fence_quit_at(agent), w->quit_at));
}

static bool proof_is_bound(const Agent *agent)
{
    const LeaseProof *proof = &agent->lease.proof;
    return !instant_before(lease_capped(agent, *proof).valid_until, proof->valid_until);
}

// Others count by a lowered ttl from the write on that tells it, whether or not its reply arrives:
// before that, what we have proven, what probes are told of it and the fence have to end by the
// lowered one.
static bool bound_by_ttl(const Agent *agent)
{
    const Lease *lease = &agent->lease;
    const Snapshot *told = agent->snapshot; // this thread's own
    return !lease->held ||
           (proof_is_bound(agent) && fence_is_bound(agent) &&
            (!told || !instant_before(lease->proof.valid_until, told->leader_until)));
}

// A renewal of the old session, which is capped, and moves the fence. The end of the turn tells
// probes.
static void bind_by_ttl(Agent *agent)
{
    Error err = {0};
    if (!proof_is_bound(agent))
        agent->lease.check_now = true;
    else if (!fence_is_bound(agent) && fence_may_move(agent) &&
             !lease_fence(agent, agent->fence_writer, &err))
        log_warn("fence not moved error='%s'", err.text);
}

static bool session_outdated(const Agent *agent)
{
    const Lease *lease = &agent->lease;
    return session_open(agent) && agent->store_ok && !lease->resuming && !lease->tampered &&
           !lease->release_unknown && lease->session_ttl_ms != settings_of(agent)->ttl_ms &&
           (!lease->held || agent->view.leader.create_revision == lease->term);
}

// A release of unknown outcome: the same again until it is known. That is safe, because it was sent
// only after every process had ended.
static void finish_release(Agent *agent)
{
    Lease *lease = &agent->lease;
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    const bool ok = store_outcome(
        agent, dcs->ops->release(dcs, &lease->release, try_deadline(agent), &err), &err);
    if (ok || err.kind == ERR_CONFLICT) {
        lease->release_unknown = false;
        lease->failures = 0;
        lease->retry_at = (Instant){0};
        return;
    }
    lease->failures++;
    lease->retry_at = instant_plus_ms(
        now_of(agent), retry_wait_ms(agent->world.rng, lease->failures - 1, 100, 1000));
}

// A store that hears us while its answers are lost would keep a lease alive that is of no use to
// us, and bar everybody else: after one that ran out, a read must succeed before the next
// keepalive.
static bool store_hears_and_speaks(Agent *agent)
{
    Lease *lease = &agent->lease;
    if (!lease->probe_first)
        return true;
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    ClusterView view;
    lease->probe_first = !store_outcome(
        agent, dcs->ops->refresh(dcs, agent->turn_arena, try_deadline(agent), &view, &err), &err);
    if (lease->probe_first)
        lease->session_retry_at = lease->retry_at = instant_plus_ms(
            now_of(agent), retry_wait_ms(agent->world.rng, lease->session_failures++, 100, 1000));
    return !lease->probe_first;
}

Instant lease_due(const Agent *agent)
{
    const Lease *lease = &agent->lease;
    if (!session_open(agent))
        return after((Instant){1}, lease->session_retry_at);
    if (lease->check_now || lease->resuming || lease->release_unknown)
        return after((Instant){1}, lease->retry_at);
    if (lease->held && session_outdated(agent) && bound_by_ttl(agent))
        return after(after((Instant){1}, lease->session_retry_at), lease->retry_at);
    if (lease->held)
        return lease->failures > 0
                   ? lease->retry_at
                   : instant_plus_ms(lease->proof.sent_at, renewal_period_ms(agent));
    if (!agent->store_ok) // ask, rather than believe for a whole period that it is gone
        return after((Instant){1}, lease->session_retry_at);
    return after(instant_plus_ms(lease->session_sent_at, session_period_ms(agent)),
                 lease->session_retry_at);
}

void lease_keep(Agent *agent)
{
    Lease *lease = &agent->lease;
    const Instant now = now_of(agent);
    if (lease->held && !instant_before(now, lease->proof.valid_until)) {
        lease_lost(agent, "it could not be renewed in time");
        lease->probe_first = true;
    }
    fence_catch_up(agent);
    if (session_outdated(agent)) {
        if (bound_by_ttl(agent))
            change_session(agent);
        else
            bind_by_ttl(agent);
    }
    if (instant_before(now, lease_due(agent)) || !store_hears_and_speaks(agent))
        return;
    if (!session_open(agent)) {
        open_session(agent);
        if (!session_open(agent))
            return;
    }
    if (lease->release_unknown)
        finish_release(agent);
    if (lease->held || lease->resuming)
        renew(agent);
    else
        keep_session(agent);
}

bool lease_prove(Agent *agent, Error *err)
{
    if (renew_try(agent, err))
        return true;
    if (err->kind == ERR_CONFLICT)
        examine_conflict(agent);
    return error_wrap(err, "prove the lease");
}

// --- taking and giving

// Refused: what we decided from is no longer so, or our session has gone. A cache that has fallen
// behind would have us refused for ever.
static void look_again(Agent *agent)
{
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    ClusterView view;
    keep_session(agent);
    (void)store_outcome(
        agent, dcs->ops->refresh(dcs, agent->turn_arena, try_deadline(agent), &view, &err), &err);
}

bool lease_acquire(Agent *agent, const Decision *d, Error *err)
{
    Lease *lease = &agent->lease;
    Dcs *dcs = agent->world.dcs;
    if (!session_open(agent))
        return error_set(err, ERR_UNAVAILABLE, "acquire: no session yet");
    const ClusterView *v = &agent->view;
    const AcquireRequest request = {
        .sync_revision = v->sync.mod_revision,
        .failover_revision = v->failover.mod_revision,
        .failsafe_revision = v->failsafe_revision,
        .config_revision = v->config_revision,
        .term_revision = v->term.mod_revision,
        .over_leader_revision = d->acquire_over_revision,
        .bootstrap = d->acquire_bootstrap,
        .instance = agent->instance,
        .parent_timeline = agent->server.timeline,
        .timeline = d->reserve_through + 1,
    };
    Acquired won;
    const bool was_held = lease->held;
    if (!store_outcome(agent, dcs->ops->acquire(dcs, &request, try_deadline(agent), &won, err),
                       err)) {
        if (err->kind == ERR_CONFLICT && was_held)
            examine_conflict(agent);
        else if (err->kind == ERR_CONFLICT)
            look_again(agent);
        return error_wrap(err, "acquire the leader key");
    }
    lease->held = true;
    lease->resuming = lease->tampered = lease->check_now = false;
    lease->term = won.term;
    lease->proof = lease_capped(agent, won.proof);
    lease->failures = 0;
    session_proven(agent, &won.proof);
    log_info("acquired the leader key term=%lld", (long long)won.term);
    // A primary that we adopt, or whose key we wrote again, is fenced by the new term at once.
    if (was_held) {
        if (agent->memory.primary_term != 0)
            agent->memory.primary_term = won.term;
        if (agent->memory.promoted_term != 0)
            agent->memory.promoted_term = won.term;
    }
    if (agent->server.running && agent->server.answered && !agent->server.in_recovery) {
        agent->memory.primary_term = won.term;
        return lease_fence(agent, true, err);
    }
    if (fence_may_move(agent))
        return lease_fence(agent, agent->fence_writer, err);
    return true;
}

bool lease_release(Agent *agent, const Decision *d, Error *err)
{
    Lease *lease = &agent->lease;
    Dcs *dcs = agent->world.dcs;
    const ServerView *s = &agent->server;
    // A final position never goes back: that would let somebody far behind win.
    const bool clean = s->control.known && s->control.state == CONTROL_SHUT_DOWN &&
                       s->control.checkpoint_lsn >= agent->view.optime;
    const Lsn end = clean ? s->control.checkpoint_lsn : LSN_NONE;
    const ReleaseRequest request = {
        .term = lease->term,
        .status = clean ? records_status(agent->turn_arena, end, agent->view.slots,
                                         &agent->view.retain_slots)
                        : NULL,
        .instance = agent->instance,
        .timeline = s->control.known ? s->control.timeline : s->timeline,
        .lsn = end,
        .to_successor = d->to_successor,
    };
    const bool ok =
        store_outcome(agent, dcs->ops->release(dcs, &request, try_deadline(agent), err), err);
    if (!ok && err->kind == ERR_UNAVAILABLE)
        return error_wrap(err, "release the leader key"); // surely still ours
    // Done, refused (it was not ours), or unknown: whatever it was, this term is over for us.
    lease->abandoned_term = lease->term;
    lease->held = lease->tampered = false;
    agent->memory.released_at = now_of(agent);
    agent->memory.handover =
        agent->memory.handover == HANDOVER_SHUTDOWN ? HANDOVER_SHUTDOWN : HANDOVER_NONE;
    if (!ok) {
        lease->release_unknown = err->kind == ERR_UNCERTAIN;
        arena_reset(lease->release_arena);
        lease->release = request;
        lease->release.status = arena_strdup(lease->release_arena, request.status);
        return error_wrap(err, "release the leader key");
    }
    log_info("released the leader key term=%lld lsn=%s", (long long)request.term,
             lsn_format(end).text);
    return true;
}
