// Positions of the local server, sampled on request for the REST API, on a connection of its own:
// members in a race wait for each other's answers, so this must not wait for the turn.
#pragma once
#include "common/model/server_view.h"
#include "common/model/settings.h"
#include "common/os/clock.h"
#include "common/os/resolver.h"

typedef struct Sampler Sampler;

Sampler *sampler_new(Clock *clock, Resolver *resolver, const Settings *settings);
void sampler_free(Sampler *sampler);
void sampler_configure(Sampler *sampler, const Settings *settings);
// view comes with what the last turn saw, and leaves with the positions as they are now. False by
// the deadline, or when the server does not answer. Any thread, one at a time.
bool sampler_take(Sampler *sampler, Arena *arena, Deadline deadline, ServerView *view);
