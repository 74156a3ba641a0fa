// etcd v3 over its JSON gateway.
#pragma once
#include "common/model/settings.h"
#include "common/os/clock.h"
#include "common/os/resolver.h"
#include "dcs/dcs.h"

typedef struct {
    const EtcdSettings *settings; // copied
    const char *base_path;        // "/service/demo"
    const char *member;           // our name; NULL for howdahctl, which has no session
    bool watch;                   // start the watcher thread
    int64_t ttl_ms, loop_wait_ms, retry_timeout_ms;
    Clock *clock;
    Resolver *resolver;
} EtcdOptions;

// Does not connect yet. The watcher, if asked for, starts at once.
Dcs *etcd_new(const EtcdOptions *options);
// User or password changed on reload.
void etcd_set_credentials(Dcs *dcs, const char *username, Secret password);
