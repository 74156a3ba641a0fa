// The process around the Agent: one epoll loop on one thread, the warden kept attached, signals.
#pragma once
#include "agent/agent.h"
#include "agent/places.h"
#include "common/model/io/settings_read.h"

typedef struct Loop Loop;

typedef struct {
    const Places *places;
    const Tree *local;            // checked already
    const SettingsSource *source; // read again on SIGHUP
    const Settings *settings;     // for what must exist before the agent does
} LoopOptions;

// Runs until the agent has ended; returns the exit code.
int loop_run(const LoopOptions *options);
