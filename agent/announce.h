// What is announced outside of the store, and when: the cluster in short while we lead it, and the
// decisions that people should hear of as Events. docs/kubernetes.md, "Watch". Pure.
#pragma once
#include "agent/core/decide.h"
#include "common/model/signs.h"
#include "dcs/announce.h"

// The cluster as its leader sees it; or, while a Patroni member leads, which has no words for it,
// as the first of our members does. False: it is not ours to say.
bool signs_of(const Facts *facts, ClusterSigns *out);

typedef struct {
    const char *name; // of the Event; NULL: none
    bool warning;
    bool of_cluster; // of the cluster, not of this member alone
    bool promotion;  // once in a term that this agent was promoted in
    bool demotion;   // once until it serves again, with the reason that came first
} AnnouncedReason;

AnnouncedReason announced_reason(Reason reason);
