// What the REST API may ask of the agent, from its own threads.
#pragma once
#include "agent/agent.h"
#include "agent/sampler.h"

typedef struct {
    ApiHost base;
    Agent *agent;
    Dcs *dcs;
    Positions *positions; // NULL: the members' records have them
    const char *name;     // ours
    Sampler *sampler;
    int wake_fd; // eventfd of the loop
    _Atomic bool reload_asked;
} AgentHost;

void host_init(AgentHost *host, const World *world, const char *name, Agent *agent,
               Sampler *sampler, int wake_fd);
