// What the tests of the etcd store share: a store on a real etcd, and conditions to wait for.
#pragma once
#include "dcs/etcd.h"
#include "tests/support/dcs_lab.h"
#include "tests/support/etcd_server.h"

#define BASE "/service/demo"

typedef struct {
    const char *member;
    const char *endpoints[4]; // NULL: the end
    const char *username, *password, *cacert, *cert, *key;
    bool watch;
    int64_t ttl_ms; // 0: 30 s
} LabOptions;

Dcs *lab_store(const LabOptions *options);
Dcs *lab_member(EtcdServer *server, const char *member); // with a watcher
ClusterView lab_view(Dcs *dcs);                          // waits for the first one
bool lab_is_vacant(const ClusterView *view, const void *kind);
bool lab_has_revision(const ClusterView *view, const void *revision); // or a later one
