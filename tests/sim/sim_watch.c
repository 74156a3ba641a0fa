// An agent's watch on the store, and what feeds its cache: listings and the store's log.
#include "tests/sim/mail.h"

#include <stdio.h>
#include <string.h>

EtcdKeys store_listing(Sim *sim, Arena *arena)
{
    EtcdKeys out = {.keys = ARENA_ARRAY(arena, RawKey, sim->store.key_count)};
    for (size_t i = 0; i < sim->store.key_count; i++) {
        const StoreKey *k = &sim->store.keys[i];
        out.keys[out.count++] = (RawKey){
            .key = arena_strdup(arena, k->key),
            .value = arena_strdup(arena, k->value),
            .length = k->length,
            .create_revision = k->create_revision,
            .mod_revision = k->mod_revision,
            .lease = k->lease ? arena_printf(arena, "%lld", (long long)k->lease) : NULL,
        };
    }
    return out;
}

bool store_reachable(const AgentProc *proc)
{
    const Sim *sim = proc->sim;
    return sim->store.state == STORE_UP && link_up(sim, proc->member->index, THE_STORE) &&
           link_up(sim, THE_STORE, proc->member->index);
}

void watch_take_listing(AgentProc *proc, const EtcdKeys *keys, int64_t revision,
                        uint64_t cluster_id, Instant sent_at)
{
    SimDcs *dcs = &proc->dcs;
    arena_reset(dcs->scratch);
    if (etcd_cache_list(&dcs->cache, dcs->scratch, keys, revision, cluster_id, false, sent_at,
                        host_now(proc->member)))
        agent_notify(proc);
}

static void watch_open(Sim *sim, void *context, uint64_t argument);

static void watch_broken(AgentProc *proc)
{
    SimDcs *dcs = &proc->dcs;
    dcs->watching = false;
    dcs->resume = chance(proc->sim, 500);
    sim_in(proc->sim, roll(proc->sim, MS(50), MS(1200)), &proc->actor, watch_open, proc, 0);
}

static void deliver(AgentProc *proc, size_t upto)
{
    Sim *sim = proc->sim;
    SimDcs *dcs = &proc->dcs;
    if (upto <= dcs->seen)
        return;
    EtcdEvent *events = calloc(upto - dcs->seen, sizeof *events);
    char(*leases)[24] = calloc(upto - dcs->seen, sizeof *leases);
    ASSERT(events && leases);
    size_t count = 0;
    for (size_t i = dcs->seen; i < upto; i++) {
        const StoreChange *c = &sim->store.log[i];
        if (c->store != dcs->cache.cluster_id)
            continue;
        (void)snprintf(leases[count], sizeof leases[count], "%lld", (long long)c->lease);
        events[count].deleted = !c->value;
        events[count].kv = (RawKey){.key = c->key,
                                    .value = c->value ? c->value : "",
                                    .length = c->value ? strlen(c->value) : 0,
                                    .create_revision = c->create_revision,
                                    .mod_revision = c->mod_revision,
                                    .lease = c->lease && c->value ? leases[count] : NULL};
        count++;
    }
    dcs->seen = upto;
    const bool news = count > 0 && etcd_cache_events(&dcs->cache, dcs->scratch, events, count,
                                                     host_now(proc->member));
    free(events);
    free(leases);
    if (news)
        agent_notify(proc);
}

static void delivery(Sim *sim, void *context, uint64_t upto)
{
    AgentProc *proc = context;
    SimDcs *dcs = &proc->dcs;
    if (proc->zombie || proc->finished || !dcs->watching)
        return;
    if (!store_reachable(proc)) {
        watch_broken(proc);
        return;
    }
    if (sim->store.cluster_id != dcs->cache.cluster_id) {
        dcs->watching = dcs->resume = false;
        watch_open(sim, proc, 0);
        return;
    }
    deliver(proc, (size_t)upto);
}

static void watch_open(Sim *sim, void *context, uint64_t argument)
{
    AgentProc *proc = context;
    SimDcs *dcs = &proc->dcs;
    (void)argument;
    if (proc->zombie || proc->finished || dcs->watching)
        return;
    if (!store_reachable(proc)) {
        sim_in(sim, roll(sim, MS(100), MS(1000)), &proc->actor, watch_open, proc, 0);
        return;
    }
    dcs->watching = true;
    if (dcs->resume && dcs->cache.filled && dcs->cache.cluster_id == sim->store.cluster_id) {
        deliver(proc, sim->store.log_count);
        return;
    }
    dcs->seen = sim->store.log_count;
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const EtcdKeys keys = store_listing(sim, arena);
    watch_take_listing(proc, &keys, sim->store.revision, sim->store.cluster_id,
                       host_now(proc->member));
    arena_free(arena);
}

void watch_begin(AgentProc *proc)
{
    sim_in(proc->sim, roll(proc->sim, MS(2), MS(40)), &proc->actor, watch_open, proc, 0);
}

void dcs_news(Sim *sim)
{
    for (int i = 0; i < sim->member_count; i++) {
        AgentProc *proc = sim->members[i].agent;
        if (!proc || proc->zombie || !proc->dcs.watching)
            continue;
        SimDcs *dcs = &proc->dcs;
        int64_t at = sim->now + roll(sim, 200 * 1000, MS(8));
        if (at < dcs->stalled_until)
            at = dcs->stalled_until;
        if (at < dcs->last_delivery)
            at = dcs->last_delivery;
        dcs->last_delivery = at;
        sim_at(sim, at, &proc->actor, delivery, proc, sim->store.log_count);
    }
}

void sim_watch_stall(Sim *sim, int member, int64_t ms)
{
    AgentProc *proc = sim->members[member].agent;
    trace(sim, "fault  %s: watch stalls for %lld ms", sim->members[member].name, (long long)ms);
    if (proc)
        proc->dcs.stalled_until = sim->now + MS(ms);
}

// Until the watch has brought what the store's log held; false: not within that time.
bool watch_wait_for(AgentProc *proc, size_t log_count, int64_t ms)
{
    const int64_t until = proc->sim->now + MS(ms);
    while (proc->dcs.seen < log_count && proc->dcs.watching && proc->sim->now < until &&
           !proc->zombie)
        proc_wait(proc, MS(2));
    return proc->dcs.seen >= log_count;
}

void watch_wait_for_own(AgentProc *proc, const Mail *reply)
{
    if (proc->dcs.watching)
        (void)watch_wait_for(proc, reply->log_count, 50);
}

// The store has said how far it is, and the watch does not come after: it is opened anew.
void watch_check(AgentProc *proc, size_t log_count, int64_t grace_ms)
{
    SimDcs *dcs = &proc->dcs;
    if (!dcs->watching || watch_wait_for(proc, log_count, grace_ms) || proc->zombie)
        return;
    trace(proc->sim, "watch  %s: is behind, opened anew", proc->member->name);
    dcs->watching = false;
    dcs->resume = true;
    dcs->stalled_until = 0;
    sim_in(proc->sim, roll(proc->sim, MS(1), MS(20)), &proc->actor, watch_open, proc, 0);
}
