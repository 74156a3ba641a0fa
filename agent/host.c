#include "agent/host.h"

#include "common/base/text.h"

#include <stdatomic.h>
#include <unistd.h>

static AgentHost *self_of(ApiHost *base)
{
    return (AgentHost *)(void *)base;
}

static Snapshot *snapshot(ApiHost *base)
{
    return agent_snapshot(self_of(base)->agent);
}

// Our own record is as old as the others'.
static void set_own_positions(Arena *arena, const ServerView *server, const char *name,
                              ClusterView *view)
{
    MemberView *members = ARENA_ARRAY(arena, MemberView, view->member_count);
    for (size_t i = 0; i < view->member_count; i++) {
        members[i] = view->members[i];
        if (!str_ieq(members[i].name, name) || !server->answered)
            continue;
        const bool standby = server->in_recovery;
        const WalPositions at = {.location = standby ? LSN_NONE : server->flush_lsn,
                                 .received = standby ? server->receive_lsn : LSN_NONE,
                                 .replayed = standby ? server->replay_lsn : LSN_NONE};
        member_set_positions(&members[i], &at);
    }
    view->members = members;
}

static bool cluster(ApiHost *base, Arena *arena, ClusterView *out)
{
    AgentHost *self = self_of(base);
    if (!self->dcs->ops->view(self->dcs, arena, out))
        return false;
    if (self->positions)
        positions_apply(self->positions, arena, self->name, out);
    AUTO(snapshot_release) Snapshot *latest = agent_snapshot(self->agent);
    if (self->positions && latest)
        set_own_positions(arena, &latest->server, self->name, out);
    return true;
}

static bool sample(ApiHost *base, Arena *arena, Deadline deadline, ServerView *out)
{
    AgentHost *self = self_of(base);
    AUTO(snapshot_release) Snapshot *latest = agent_snapshot(self->agent);
    if (!latest)
        return false;
    server_view_copy(arena, &latest->server, out);
    return sampler_take(self->sampler, arena, deadline, out);
}

static void submit(ApiHost *base, ApiRequest *request)
{
    AgentHost *self = self_of(base);
    if (request->kind == API_RELOAD)
        atomic_store(&self->reload_asked, true);
    agent_submit(self->agent, request);
    const uint64_t one = 1;
    // Full means that the loop is about to wake anyway.
    (void)!write(self->wake_fd, &one, sizeof one);
}

void host_init(AgentHost *host, const World *world, const char *name, Agent *agent,
               Sampler *sampler, int wake_fd)
{
    host->base =
        (ApiHost){.snapshot = snapshot, .cluster = cluster, .sample = sample, .submit = submit};
    host->agent = agent;
    host->dcs = world->dcs;
    host->positions = world->positions;
    host->name = name;
    host->sampler = sampler;
    host->wake_fd = wake_fd;
    atomic_init(&host->reload_asked, false);
}
