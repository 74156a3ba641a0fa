// Announces over the Kubernetes API: see dcs/announce.h.
#pragma once
#include "common/os/resolver.h"
#include "dcs/announce.h"
#include "dcs/kubernetes/access.h"
#include "dcs/kubernetes/layout.h"

typedef struct {
    const KubernetesSettings *settings; // copied
    const char *scope, *member;         // our name is our pod's
    KubeAccess *access;                 // not ours to free, and outlives us
    int64_t ttl_ms, loop_wait_ms, retry_timeout_ms;
    Clock *clock;
    Resolver *resolver;
} KubeAnnounceOptions;

// Its thread starts at once, and does nothing until it is told something.
Announcer *kube_announcer_new(const KubeAnnounceOptions *options);
