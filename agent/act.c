// Carries a decision out: the key first; if that fails, the rest waits for the next turn.
#include "agent/state.h"

#include "common/base/text.h"
#include "common/os/log.h"
#include "dcs/records.h"

#define WARDEN_MS 500

static bool nothing_of_ours_writes(Agent *agent)
{
    const ServerView *s = &agent->server;
    const Facts facts = facts_of(agent, NULL);
    if ((!s->running && !s->remains) || is_struck(&facts))
        return true;
    return s->answered && s->in_recovery && s->role != ROLE_PROMOTED && !agent->fence_writer;
}

// A key is given up only when nothing of ours can write any more.
static bool act_on_key(Agent *agent, const Decision *d, Error *err)
{
    switch (d->key) {
    case KEY_KEEP:
        return true;
    case KEY_ACQUIRE:
        if (!lease_acquire(agent, d, err))
            return false;
        if (d->acquire_bootstrap)
            agent->memory.bootstrapping = true;
        return true;
    case KEY_RELEASE:
        if (!nothing_of_ours_writes(agent))
            return error_set(err, ERR_INVALID, "release: PostgreSQL is still there");
        if (d->drop_initialize) {
            // Our empty claim, and only that: it goes before the key that guards it.
            Dcs *dcs = agent->world.dcs;
            Error ignored = {0};
            if (agent->view.initialize && !*agent->view.initialize)
                (void)dcs->ops->write(dcs, KEY_INITIALIZE, NULL, agent->view.initialize_revision,
                                      deadline_in(agent->world.clock, 1000), NULL, &ignored);
        }
        publish_no_leader(agent); // probes must not send anybody here any more
        return lease_release(agent, d, err);
    }
    ASSERT(false);
}

static Upstream upstream_for(Agent *agent, const MemberView *m)
{
    if (!m)
        return (Upstream){0};
    const Settings *s = settings_of(agent);
    return (Upstream){
        .member = m->name,
        .host = m->host,
        .port = m->port,
        .slot = s->postgresql.use_slots ? slot_name_of(agent->turn_arena, s->name) : NULL,
        .conn_url = m->conn_url,
        .checkpoint_pending = m->checkpoint_pending,
    };
}

// In this order: proven right before, then the fence, then the start or the promote.
static bool arm_for_writing(Agent *agent, Error *err)
{
    const int64_t age_ms = instant_ms_between(agent->lease.proof.sent_at, now_of(agent));
    // The acquire of this very wake-up was such a txn itself.
    if (!agent->lease.held || age_ms > settings_of(agent)->howdah.margin_ms / 2) {
        if (!lease_prove(agent, err))
            return false;
    }
    return lease_fence(agent, true, err);
}

static bool act_on_task(Agent *agent, const Decision *d, Error *err)
{
    if (d->task == TASK_NONE)
        return true;
    if ((d->task == TASK_START_PRIMARY || d->task == TASK_PROMOTE) && !arm_for_writing(agent, err))
        return false;
    const ServerTask task = {
        .kind = d->task,
        .upstream = upstream_for(agent, d->upstream),
        .stop_mode = d->stop_mode,
        .checkpoint_first = d->checkpoint_first,
        .clone_method = d->clone_by_basebackup ? "basebackup" : NULL,
        .reserve_through = d->reserve_through,
        .system_identifier =
            initialize_is_valid(agent->view.initialize) ? agent->view.initialize : NULL,
        .keep_running = agent->server.running,
    };
    if (!agent->world.server->ops->begin(agent->world.server, &task, err))
        return error_wrap(err, "begin %s", task_name(d->task));
    // All of these write the files anew.
    if (d->task == TASK_RELOAD || d->task == TASK_FOLLOW || d->task == TASK_START_PRIMARY ||
        d->task == TASK_START_STANDBY)
        agent->reload_files = false;
    return true;
}

static bool act_on_fence(Agent *agent, const Decision *d, Error *err)
{
    Processes *p = agent->world.processes;
    const Deadline deadline = deadline_in(agent->world.clock, WARDEN_MS);
    if (d->arm && !d->strike && !lease_fence(agent, true, err))
        return false;
    if (d->unfence && !d->strike) {
        // Whatever is started from here on arms it anew.
        // Sure of a running standby; that nothing is left the warden sees for itself.
        if (!p->ops->unfence(p, "", agent->server.running, deadline, err))
            return error_wrap(err, "unfence");
        agent->fence_writer = false;
        p->ops->view(p, &agent->warden);
    }
    if (d->strike) {
        const Instant now = now_of(agent);
        const Instant kill_at = instant_plus_ms(now, settings_of(agent)->howdah.margin_ms / 2);
        char *note = arena_printf(agent->turn_arena, "session= term=0 writer=1 instance=%s",
                                  agent->instance);
        if (!p->ops->fence(p, now, kill_at, note, deadline, err))
            return error_wrap(err, "stop PostgreSQL at once");
    }
    return true;
}

static void retry_later(Agent *agent, Decision *wish)
{
    // 0.1 s doubling to 1 s, with jitter.
    const int shift = agent->act_failures < 4 ? agent->act_failures : 4;
    agent->act_failures++;
    int64_t wait = (int64_t)100 << shift;
    wait = wait > 1000 ? 1000 : wait;
    wait += (int64_t)rng_below(agent->world.rng, 50);
    agent->act_retry_at = instant_plus_ms(now_of(agent), wait);
    wish->wake_at = instant_earliest(wish->wake_at, agent->act_retry_at);
}

void act(Agent *agent, const Decision *decision, bool *again)
{
    Decision d = *decision;
    Error err = {0};
    const Memory before = agent->memory;
    *again = false;
    if (d.key != KEY_KEEP && instant_before(now_of(agent), agent->act_retry_at)) {
        agent->last.wake_at = instant_earliest(d.wake_at, agent->act_retry_at);
        return;
    }
    agent->memory = d.memory;
    if (d.cancel_task)
        agent->world.server->ops->cancel(agent->world.server);
    bool ok = act_on_fence(agent, &d, &err) && act_on_key(agent, &d, &err);
    if (ok) {
        *again = d.key != KEY_KEEP;
        ok = act_on_task(agent, &d, &err);
    }
    if (ok) {
        agent->act_failures = 0;
        agent->act_retry_at = (Instant){0};
        write_upkeep(agent, &d);
        if (d.exit) {
            agent->ended = true;
            agent->exit_code = d.exit_code;
        }
    } else {
        log_warn("action failed reason=%s error='%s'", reason_name(d.reason), err.text);
        // What was only intended has not happened: a promote that was not sent is asked for again.
        if (d.task == TASK_PROMOTE) {
            agent->memory.promoted_term = before.promoted_term;
            agent->memory.promote_at = before.promote_at;
        }
        if (d.task == TASK_STOP)
            agent->memory.restarting = before.restarting;
        *again = false;
        retry_later(agent, &d);
    }
    agent->last.wake_at = d.wake_at;
    ledger_add(agent, &d, ok ? "" : err.text);
}
