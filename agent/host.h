// What the REST API may ask of the agent, from its own threads.
#pragma once
#include "agent/agent.h"
#include "agent/sampler.h"

typedef struct {
    ApiHost base;
    Agent *agent;
    Dcs *dcs;
    Sampler *sampler;
    int wake_fd; // eventfd of the loop
    _Atomic bool reload_asked;
} AgentHost;

void host_init(AgentHost *host, Agent *agent, Dcs *dcs, Sampler *sampler, int wake_fd);
