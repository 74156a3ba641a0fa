// The store that the settings name, whichever it is, and what comes with it.
#pragma once
#include "common/model/settings.h"
#include "common/os/clock.h"
#include "common/os/resolver.h"
#include "dcs/announce.h"
#include "dcs/dcs.h"

typedef struct {
    const Settings *settings; // what is needed of them is copied
    const char *scope;        // NULL: the settings'
    const char *base_path;    // of etcd; NULL: the settings'
    bool for_ctl;             // neither a member nor watches
    int64_t ttl_ms, loop_wait_ms, retry_timeout_ms;
    Clock *clock;
    Resolver *resolver;
} StoreOptions;

struct KubeAccess;

typedef struct {
    Dcs *dcs;
    Announcer *announcer;      // NULL: there is nobody to announce to
    struct KubeAccess *access; // NULL: not Kubernetes
    bool in_pod;               // by the service account of the pod that we run in
} Store;

// Does not connect yet. ERR_INVALID: how to reach the store cannot be found out.
bool store_open(const StoreOptions *options, Store *out, Error *err) MUST_CHECK;
void store_close(Store *store); // accepts one that is all zero
// User or password may have changed on reload.
void store_set_credentials(Store *store, const Settings *settings);
