// Kubernetes as the store, in three modes: Endpoints or ConfigMaps, byte for byte as
// Patroni keeps them, or one Lease with a ConfigMap beside it. Members are pods.
#pragma once
#include "common/model/settings.h"
#include "common/os/resolver.h"
#include "dcs/dcs.h"
#include "dcs/kubernetes/access.h"

typedef struct {
    const KubernetesSettings *settings; // copied
    const char *scope;
    const char *member; // our name, which is our pod's; NULL for howdahctl, which has no session
    bool watch;         // start the threads that follow the cluster and keep the pod's labels
    KubeAccess *access; // not ours to free, and outlives us
    int64_t ttl_ms, loop_wait_ms, retry_timeout_ms;
    Clock *clock;
    Resolver *resolver;
} KubernetesOptions;

// Does not connect yet. The threads, if asked for, start at once.
//
// Where the Dcs says "lease" and "session": nothing in Kubernetes ends a session. A session is a
// random text that stands in the leader record of whoever holds; its proof says that the API server
// answers, no more. What proves the leadership is the conditional write of renew alone.
//
// What holds for acquire: sync, failover and failsafe are compared in the same write in leases
// mode. In the others they live in objects of their own: they are read right before, which is a
// check and no transaction. So is that of config, in all modes.
//
// ClusterView.other_store says whether another mode holds this cluster. It is looked at when the
// store begins and, while nobody leads, every loop_wait.
Dcs *kubernetes_new(const KubernetesOptions *options);

// The leader's name in a record that has moved to another mode; it holds for ten years, for Patroni
// too. Whoever moves a cluster writes it.
#define KUBERNETES_MOVED "howdah.io/moved"
