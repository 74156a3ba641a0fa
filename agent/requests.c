// What came in over REST, already checked as far as the API can (api/actions.c): taken from the
// queue, begun, and answered when it has happened. Two kinds have a file of their own.
#include "agent/requests.h"

#include "common/base/text.h"

void request_answer(Agent *agent, ApiRequest *r, int status, const char *text)
{
    agent->world.complete(r, status, NULL, text);
}

TaskKind request_obstacle(const Agent *agent)
{
    // A checkpoint is called off by what comes after it.
    static const bool brief[TASK_COUNT] = {[TASK_INSPECT] = true,
                                           [TASK_FOLLOW] = true,
                                           [TASK_RELOAD] = true,
                                           [TASK_CHECK_DIVERGENCE] = true,
                                           [TASK_CHECKPOINT] = true};
    const TaskView *task = &agent->server.task;
    return task->running && !brief[task->kind] ? task->kind : TASK_NONE;
}

// --- configuration

static void change_config(Agent *agent, ApiRequest *r)
{
    const ClusterView *v = &agent->view;
    const bool patch = r->kind == API_PATCH_CONFIG;
    if (patch && !v->config) {
        request_answer(agent, r, 503, "the cluster has no configuration yet");
        return;
    }
    bool changed = true;
    const Tree *wanted = r->body;
    if (patch)
        wanted = tree_patch(r->arena, v->config, r->body, &changed);
    else
        changed = !v->config || !tree_equal(v->config, wanted);
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    const bool ok =
        !changed ||
        store_outcome(agent,
                      dcs->ops->write(dcs, KEY_CONFIG, tree_to_json(r->arena, wanted, JSON_COMPACT),
                                      patch ? v->config_revision : REVISION_ANY,
                                      deadline_in(agent->world.clock, 2000), NULL, &err),
                      &err);
    if (!ok) {
        request_answer(agent, r, patch ? 409 : 502, err.text);
        return;
    }
    agent->world.complete(r, 200, "application/json", tree_to_json(r->arena, wanted, JSON_SPACED));
}

// --- reinitialize

static void reinitialize(Agent *agent, ApiRequest *r)
{
    const bool force = tree_get_bool(r->body, "force", false);
    const TaskKind obstacle = request_obstacle(agent);
    if (!agent->view.leader.name)
        request_answer(agent, r, 503, "Cluster has no leader, can not reinitialize");
    else if (agent->lease.held)
        request_answer(agent, r, 503, "I am the leader, can not reinitialize");
    else if ((obstacle != TASK_NONE || agent->memory.reinit) && !force)
        request_answer(agent, r, 503,
                       arena_printf(r->arena, "%s already in progress",
                                    agent->memory.reinit ? "reinitialize" : task_name(obstacle)));
    else {
        agent->reinit_wanted = true;
        agent->reinit_force = force;
        agent->reinit_from_leader = tree_get_bool(r->body, "from_leader", false);
        request_answer(agent, r, 200, "reinitialize started");
    }
}

// --- the queue

// True: answered.
static bool begin(Agent *agent, ApiRequest *r)
{
    if (!agent->view_known) {
        request_answer(agent, r, 503, "the store cannot be read");
        return true;
    }
    switch (r->kind) {
    case API_SWITCHOVER:
    case API_FAILOVER:
        return handover_begin(agent, r);
    case API_RESTART:
        return restart_begin(agent, r);
    case API_DELETE_SWITCHOVER:
        handover_delete(agent, r);
        return true;
    case API_DELETE_RESTART:
        restart_delete(agent, r);
        return true;
    case API_REINITIALIZE:
        reinitialize(agent, r);
        return true;
    case API_PATCH_CONFIG:
    case API_PUT_CONFIG:
        change_config(agent, r);
        return true;
    case API_RELOAD: // answered by the loop, which reads the files
        request_answer(agent, r, 202, "reload scheduled");
        return true;
    }
    ASSERT(false);
}

void requests_take(Agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    ApiRequest *fresh = agent->queue;
    agent->queue = NULL;
    pthread_mutex_unlock(&agent->lock);
    ApiRequest *in_order = NULL;
    while (fresh) {
        ApiRequest *next = fresh->next;
        fresh->next = in_order;
        in_order = fresh;
        fresh = next;
    }
    int moves = 0;
    while (in_order) {
        ApiRequest *r = in_order;
        in_order = r->next;
        // Each of these may wait for peers and store: one a pass, or renewal would wait for them.
        const bool move = r->kind == API_SWITCHOVER || r->kind == API_FAILOVER;
        if (move && moves++ > 0) {
            agent_submit(agent, r);
            continue;
        }
        r->begun_at = now_of(agent);
        if (begin(agent, r))
            continue;
        r->next = agent->pending;
        agent->pending = r;
    }
}

void requests_settle(Agent *agent)
{
    // A wish is a fact for one turn; what came of it is in Memory.
    agent->reinit_wanted = agent->reinit_force = agent->reinit_from_leader = false;
    ApiRequest **at = &agent->pending;
    while (*at) {
        ApiRequest *r = *at;
        ApiRequest *next = r->next;
        const bool done =
            r->kind == API_RESTART ? restart_settle(agent, r) : handover_settle(agent, r);
        if (done)
            *at = next;
        else
            at = &r->next;
    }
    restart_settle_scheduled(agent);
}

Instant requests_due(const Agent *agent)
{
    const Instant at = restart_due(agent);
    return agent->pending ? instant_earliest(at, instant_plus_ms(now_of(agent), 100)) : at;
}

void requests_done(Agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    ApiRequest *rest = agent->queue; // what has not begun does not begin any more
    agent->queue = NULL;
    pthread_mutex_unlock(&agent->lock);
    ApiRequest *lists[] = {rest, agent->pending};
    agent->pending = NULL;
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        while (lists[i]) {
            ApiRequest *r = lists[i];
            lists[i] = r->next;
            request_answer(agent, r, 503, "the agent is stopping");
        }
}

void agent_submit(Agent *agent, ApiRequest *request)
{
    pthread_mutex_lock(&agent->lock);
    request->next = agent->queue;
    agent->queue = request;
    pthread_mutex_unlock(&agent->lock);
}
