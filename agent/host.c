#include "agent/host.h"

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

static bool cluster(ApiHost *base, Arena *arena, ClusterView *out)
{
    Dcs *dcs = self_of(base)->dcs;
    return dcs->ops->view(dcs, arena, out);
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

void host_init(AgentHost *host, Agent *agent, Dcs *dcs, Sampler *sampler, int wake_fd)
{
    host->base =
        (ApiHost){.snapshot = snapshot, .cluster = cluster, .sample = sample, .submit = submit};
    host->agent = agent;
    host->dcs = dcs;
    host->sampler = sampler;
    host->wake_fd = wake_fd;
    atomic_init(&host->reload_asked, false);
}
