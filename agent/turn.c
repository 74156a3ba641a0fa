// One turn: renew, observe, decide, act, publish.
#include "agent/state.h"

#include "common/base/text.h"
#include "common/os/log.h"
#include "dcs/records.h"

#include <stdlib.h>

#define PASSES_MAX 4

static void settle_peers_wish(Agent *agent, Decision *d)
{
    // "Ask the peers, then decide on the same store revision": at most once in a pass.
    PeerFacts peers;
    const ClusterView asked_on = agent->view;
    ask_peers(agent, &peers);
    agent->view = asked_on;
    agent->memory = d->memory;
    // The local server went on replaying meanwhile, and a peer's answer is younger than our own
    // position: compare like with like.
    ServerView server = {0};
    Server *s = agent->world.server;
    s->ops->observe(s, agent->turn_arena, deadline_in(agent->world.clock, 1000), &server);
    agent->server = server;
    const Facts facts = facts_of(agent, &peers);
    *d = decide(&facts);
    // Still asking means that the answers came too early for what has happened since.
    d->ask_peers = false;
}

static bool pass(Agent *agent)
{
    // Renewal comes before observing, and tells the store what the last pass has seen.
    agent->turn_arena = agent->arenas[agent->passes++ % 2];
    arena_reset(agent->turn_arena);
    observe_warden(agent); // its note says which session is ours to continue
    lease_keep(agent);
    observe(agent);
    lease_notice(agent);
    if (agent->lease.check_now || (agent->lease.resuming && !agent->lease.held))
        lease_keep(agent);
    configure_from_store(agent);
    requests_take(agent);
    const Facts facts = facts_of(agent, NULL);
    Decision d = decide(&facts);
    if (d.ask_peers)
        settle_peers_wish(agent, &d);
    bool again;
    act(agent, &d, &again);
    requests_settle(agent);
    return again;
}

static Instant next_wake(const Agent *agent)
{
    const Instant now = now_of(agent);
    Instant at = instant_plus_ms(now, settings_of(agent)->loop_wait_ms);
    at = instant_earliest(at, agent->last.wake_at);
    at = instant_earliest(at, lease_due(agent));
    if (agent->store_ok && agent->lease.session[0])
        at = instant_earliest(at, agent->member_retry_at);
    at = instant_earliest(at, requests_due(agent));
    if (agent->server.running && !agent->server.answered) // starting: look often, it is cheap
        at = instant_min(at, instant_plus_ms(now, 50));
    if (!agent->warden.connected)
        at = instant_min(at, instant_plus_ms(now, 100));
    const Instant soonest = instant_plus_ms(now, 5); // never spin
    return instant_before(at, soonest) ? soonest : at;
}

Instant agent_turn(Agent *agent)
{
    agent->turns++;
    if (agent->leave) {
        agent->ended = true;
        return now_of(agent);
    }
    for (int i = 0; i < PASSES_MAX && pass(agent) && !agent->ended; i++)
        continue;
    if (agent->warden.replaced) {
        log_error("another agent has taken over this PostgreSQL: leaving it alone");
        agent->ended = true;
        agent->exit_code = 1;
    }
    publish(agent);
    if (agent->ended)
        requests_done(agent);
    return next_wake(agent);
}

bool agent_ended(const Agent *agent, int *exit_code)
{
    *exit_code = agent->exit_code;
    return agent->ended;
}

void agent_shutdown(Agent *agent)
{
    agent->shutdown = true;
}

void agent_leave(Agent *agent)
{
    agent->leave = true;
}

const Settings *agent_settings(const Agent *agent)
{
    return settings_of(agent);
}

Snapshot *agent_snapshot(Agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    Snapshot *snapshot = agent->snapshot ? snapshot_ref(agent->snapshot) : NULL;
    pthread_mutex_unlock(&agent->lock);
    return snapshot;
}

bool agent_take_settings_changed(Agent *agent)
{
    const bool changed = agent->settings_changed;
    agent->settings_changed = false;
    return changed;
}

bool agent_new(const World *world, const AgentOptions *options, Agent **out, Error *err)
{
    Agent *agent = calloc(1, sizeof *agent);
    ASSERT(agent);
    agent->world = *world;
    agent->arenas[0] = arena_new(ARENA_CAP_DEFAULT);
    agent->arenas[1] = arena_new(ARENA_CAP_DEFAULT);
    agent->turn_arena = agent->arenas[0];
    agent->members_arena = arena_new(ARENA_CAP_DEFAULT);
    agent->memory_arena = arena_new(ARENA_CAP_DEFAULT);
    agent->scheduled_arena = arena_new(ARENA_CAP_DEFAULT);
    agent->lease.release_arena = arena_new(ARENA_CAP_DEFAULT);
    agent->instance = arena_strdup(agent->memory_arena, options->instance);
    agent->started_at = clock_now(world->clock);
    agent->store_ok = true;
    pthread_mutex_init(&agent->lock, NULL);
    if (!configure(agent, options->local, NULL, 0, err)) {
        agent_free(agent);
        return false;
    }
    *out = agent;
    return true;
}

void agent_free(Agent *agent)
{
    if (!agent)
        return;
    requests_done(agent);
    configure_done(agent);
    snapshot_unref(agent->snapshot);
    arena_free(agent->arenas[0]);
    arena_free(agent->arenas[1]);
    arena_free(agent->members_arena);
    arena_free(agent->memory_arena);
    arena_free(agent->scheduled_arena);
    arena_free(agent->lease.release_arena);
    arena_free(agent->local_arena);
    free(agent->member_text);
    free(agent->member_fixed);
    pthread_mutex_destroy(&agent->lock);
    free(agent);
}
