// The status document: body of GET /patroni and of GET health checks. Peers read it in a race,
// patronictl and HAProxy's operators read it too. Pure.
#pragma once
#include "common/model/snapshot.h"

typedef struct {
    const Snapshot *snapshot;
    const ServerView *server; // NULL: asked, and no answer came
    bool cluster_known;
    // How old the positions are; -1: not said. Health checks do not say it: they show what the last
    // turn saw, and their page is kept for as long as that stands.
    int64_t position_age_ms;
} StatusInput;

char *status_document(Arena *arena, const StatusInput *input);
