// What a member answered when asked over REST (GET its api_url).
#pragma once
#include "common/base/time.h"
#include "common/base/timeline.h"

typedef struct {
    const char *name;
    bool reachable; // it answered, and the answer could be read
    bool in_recovery;
    WalPosition position;    // primary: location; else max(received, replayed)
    TimelineHistory history; // ours publish it; timeline 0 else
    bool nofailover;
    int failover_priority;
    bool watchdog_failed;
    bool running;      // state is running
    const char *error; // why not reachable
} PeerAnswer;
