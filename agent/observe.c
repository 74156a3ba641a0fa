// Gathers the facts. Cannot fail: what does not answer is an observation too.
#include "agent/state.h"

#include "common/base/text.h"
#include "common/os/log.h"
#include "dcs/records.h"

#include <string.h>

#define OBSERVE_MS 1000 // for the monitoring query; a local server answers in one or two
#define PEERS_MS   2000
// Of those remembered while nobody leads: names that come and go must not pile up.
#define REMEMBERED_MAX 256

void observe_warden(Agent *agent)
{
    const bool was_connected = agent->warden.connected;
    const uint64_t epoch = agent->warden.epoch;
    Processes *p = agent->world.processes;
    p->ops->view(p, &agent->warden);
    const WardenView *w = &agent->warden;
    if (w->connected && (!was_connected || w->epoch != epoch)) {
        log_info("attached to the warden epoch=%llu fence_armed=%d", (unsigned long long)w->epoch,
                 w->fence_armed);
        lease_attach(agent);
    }
    if (w->fenced_count > agent->fenced_count) {
        log_error("the warden stopped PostgreSQL at the fence's deadline");
        agent->fenced_count = w->fenced_count;
    }
    if (w->connected && !w->fence_armed && !w->remains)
        agent->fence_writer = false;
}

static void add_target(PeerTarget *targets, size_t *count, Arena *arena, const char *name,
                       const char *api_url)
{
    for (size_t i = 0; i < *count; i++)
        if (str_ieq(targets[i].name, name))
            return;
    targets[(*count)++] = (PeerTarget){arena_strdup(arena, name), arena_strdup(arena, api_url)};
}

// Who is to be asked in a race: member keys go with the leader key when a machine dies, and all of
// them when the store was away for long. Only a view with a leader says who has left.
static void remember_members(Agent *agent)
{
    const ClusterView *v = &agent->view;
    if (v->revision == agent->old_members_revision || v->member_count == 0)
        return;
    agent->old_members_revision = v->revision;
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    PeerTarget *targets = ARENA_ARRAY(arena, PeerTarget, v->member_count + agent->old_member_count);
    size_t count = 0;
    for (size_t i = 0; i < v->member_count; i++)
        if (v->members[i].api_url)
            add_target(targets, &count, arena, v->members[i].name, v->members[i].api_url);
    for (size_t i = 0; !v->leader.name && i < agent->old_member_count && count < REMEMBERED_MAX;
         i++)
        add_target(targets, &count, arena, agent->old_members[i].name,
                   agent->old_members[i].api_url);
    arena_free(agent->members_arena);
    agent->members_arena = arena;
    agent->old_members = targets;
    agent->old_member_count = count;
}

static void observe_store(Agent *agent)
{
    Dcs *dcs = agent->world.dcs;
    ClusterView view;
    if (agent->refresh_wanted) {
        Error err = {0};
        agent->refresh_wanted = !dcs->ops->refresh(
            dcs, agent->turn_arena, deadline_in(agent->world.clock, OBSERVE_MS), &view, &err);
    }
    if (dcs->ops->view(dcs, agent->turn_arena, &view)) {
        agent->view = view;
        agent->view_known = true;
    } else { // no cache yet
        Error err = {0};
        const Deadline d = deadline_in(agent->world.clock, OBSERVE_MS);
        agent->view_known =
            store_outcome(agent, dcs->ops->refresh(dcs, agent->turn_arena, d, &view, &err), &err);
        agent->view = agent->view_known ? view : (ClusterView){0};
    }
    if (!agent->view_known)
        return;
    if (!instant_is_set(agent->first_view_at))
        agent->first_view_at = now_of(agent);
    remember_members(agent);
    Positions *positions = agent->world.positions;
    if (positions) {
        const char *self = settings_of(agent)->name;
        positions_follow(positions, &agent->view, self, settings_of(agent)->loop_wait_ms);
        positions_apply(positions, agent->turn_arena, self, &agent->view);
    }
}

void observe(Agent *agent)
{
    observe_store(agent);
    Server *server = agent->world.server;
    ServerView view = {0};
    server->ops->observe(server, agent->turn_arena, deadline_in(agent->world.clock, OBSERVE_MS),
                         &view);
    agent->server = view;
    const TaskView *task = &agent->server.task;
    if (!task->running && task->kind != TASK_NONE && !task->ok &&
        task->number != agent->task_told) {
        agent->task_told = task->number;
        log_warn("task failed task=%s error='%s'", task_name(task->kind), task->error);
    }
}

// /history, or the confirmed term record where that is newer: the promoter's own word.
static TimelineHistory history_of(Agent *agent)
{
    TimelineHistory history = cluster_history(agent->turn_arena, &agent->view);
    const TermRecord *t = &agent->view.term;
    if (!t->present || !t->confirmed || t->timeline < history.timeline)
        return history;
    if (agent->server.history.timeline == t->timeline)
        return agent->server.history;
    // Numbers may have been skipped: the last line tells the parent, the record what came of it.
    if (history.parent_count > 0 &&
        history.parents[history.parent_count - 1].timeline == t->parent_timeline)
        history.timeline = t->timeline;
    return history;
}

static bool store_fresh(const Agent *agent)
{
    return agent->store_ok && agent->view_known;
}

static WardenFacts warden_facts(const Agent *agent)
{
    const WardenView *w = &agent->warden;
    return (WardenFacts){.connected = w->connected,
                         .terminating = w->terminating,
                         .fence_armed = w->fence_armed,
                         .fence_weak = w->fence_weak,
                         .writer = agent->fence_writer,
                         .quit_at = w->quit_at,
                         .kill_at = w->kill_at,
                         .fenced_at = w->fenced_at};
}

static bool scheduled_restart_due(const Agent *agent)
{
    return agent->scheduled_restart && clock_wall_us(agent->world.clock) >= agent->scheduled_us;
}

Facts facts_of(Agent *agent, const PeerFacts *peers)
{
    const Lease *lease = &agent->lease;
    const LeaderView *leader = &agent->view.leader;
    const Instant now = now_of(agent);
    const bool by_name =
        agent->view_known && leader->name && str_ieq(leader->name, settings_of(agent)->name);
    Facts f = {
        .now = now,
        .started_at =
            instant_is_set(agent->first_view_at) ? agent->first_view_at : agent->started_at,
        .wall_us = clock_wall_us(agent->world.clock),
        .settings = settings_of(agent),
        .store_known = agent->view_known,
        .store_ok = store_fresh(agent),
        .cluster = agent->view_known ? &agent->view : NULL,
        .lease = {.held = lease->held && instant_before(now, lease->proof.valid_until),
                  .resuming = lease->resuming,
                  .term = lease->term,
                  .proven_at = lease->proof.sent_at,
                  .valid_until = lease->proof.valid_until,
                  .ttl_ms = lease->proof.ttl_ms,
                  .tampered = lease->tampered,
                  .tampered_revision = lease->tampered_revision},
        .leader_is_us_by_name = by_name,
        .leader_is_us = by_name && str_eq(leader->session, lease->session) &&
                        (lease->held || lease->resuming) && leader->create_revision == lease->term,
        .warden = warden_facts(agent),
        .server = &agent->server,
        .request = {.shutdown = agent->shutdown,
                    .restart = agent->restart_wanted || scheduled_restart_due(agent),
                    .restart_scheduled = scheduled_restart_due(agent),
                    .reinit = agent->reinit_wanted,
                    .reinit_force = agent->reinit_force,
                    .reinit_from_leader = agent->reinit_from_leader,
                    .reload = agent->reload_files},
        .memory = agent->memory,
    };
    if (agent->view_known)
        f.history = history_of(agent);
    if (peers)
        f.peers = *peers;
    return f;
}

// The race does not wait for a dead machine: whose lease is over, and who has a fence, cannot
// write.
static bool is_former_holder(const Agent *agent, const char *name)
{
    const Vacancy *v = &agent->view.vacancy;
    return (v->kind == VACANCY_EXPIRED || v->kind == VACANCY_RELEASED) &&
           str_ieq(v->holder, name) && str_ieq(agent->view.term.holder, name);
}

void ask_peers(Agent *agent, PeerFacts *out)
{
    Arena *arena = agent->turn_arena;
    const ClusterView *v = &agent->view;
    PeerTarget *targets = ARENA_ARRAY(arena, PeerTarget, v->member_count + agent->old_member_count);
    size_t count = 0;
    for (size_t i = 0; i < v->member_count; i++)
        if (v->members[i].api_url && !str_ieq(v->members[i].name, settings_of(agent)->name))
            targets[count++] = (PeerTarget){v->members[i].name, v->members[i].api_url};
    const size_t current = count;
    for (size_t i = 0; i < agent->old_member_count; i++) {
        const PeerTarget *old = &agent->old_members[i];
        bool known =
            str_ieq(old->name, settings_of(agent)->name) || is_former_holder(agent, old->name);
        for (size_t k = 0; k < current && !known; k++)
            known = str_ieq(targets[k].name, old->name);
        if (!known)
            targets[count++] = *old;
    }
    PeerAnswer *answers = ARENA_ARRAY(arena, PeerAnswer, count);
    const Instant asked_at = now_of(agent);
    Deadline deadline = deadline_in(agent->world.clock, PEERS_MS);
    if (agent->lease.held)
        deadline = deadline_min(deadline, deadline_at(lease_stop_at(agent)));
    if (count > 0)
        agent->world.peers->ops->ask(agent->world.peers, arena, targets, count, deadline, answers);
    *out = (PeerFacts){.asked_at = asked_at, .answers = answers, .count = count};
}
