// What SIGTERM asks of an agent that shares a pod with somebody else's warden: the pod may be about
// to end, or this container alone (docs/kubernetes.md, "The pod"). Pure.
#pragma once
#include "common/base/time.h"
#include "dcs/announce.h"

typedef enum {
    TOLD_WAIT,      // not known yet
    TOLD_HAND_OVER, // hand over, stop PostgreSQL, end
    TOLD_LEAVE,     // end, and touch nothing: the next agent goes on
} ToldTo;

typedef struct {
    bool sidecar; // Kubernetes is the store, we are in a pod, and the warden is not ours to start
    Instant told_at, now;
    bool warden_terminating; // the warden was told to stop, too
    PodFate pod;
} ToldFacts;

#define TOLD_WAIT_MS 1000 // the kubelet tells both containers at the same time

ToldTo told_to(const ToldFacts *facts);
