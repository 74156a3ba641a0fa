// Health checks as a truth table (docs/rest.md, "Health checks"): path, query and what the agent
// published in, HTTP status out. Pure, and allocates nothing: probes come by the ten thousand.
#pragma once
#include "common/model/snapshot.h"

typedef struct {
    const char *key, *value;
} QueryItem;

typedef struct {
    const QueryItem *items; // blank values are left out; of a repeated key the first counts
    size_t count;
} Query;

const char *query_get(const Query *query, const char *key); // NULL: not given

// GET, HEAD and OPTIONS on every path that has no handler of its own.
int health_status(const Snapshot *snapshot, Instant now, const char *path, const Query *query);
int liveness_status(const Snapshot *snapshot, Instant now);
int readiness_status(const Snapshot *snapshot, Instant now, const Query *query);
