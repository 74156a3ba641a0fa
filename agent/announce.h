// What is announced outside of the store, and when: the cluster in short while we lead it, and the
// decisions that people should hear of as Events. docs/kubernetes.md, "Watch". Pure.
#pragma once
#include "agent/core/decide.h"
#include "common/model/signs.h"
#include "dcs/announce.h"

// The cluster as its leader sees it.
ClusterSigns signs_of(const Facts *facts);

typedef struct {
    const char *name; // of the Event; NULL: none
    bool warning;
    bool of_cluster; // of the cluster, not of this member alone
    bool promotion;  // once in a term that this agent was promoted in
} AnnouncedReason;

AnnouncedReason announced_reason(Reason reason);
