// What the tests of the etcd store share: a store on a real etcd, and conditions to wait for.
#pragma once
#include "common/base/arena.h"
#include "dcs/etcd.h"
#include "tests/support/etcd_server.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE "/service/demo"

typedef struct {
    const char *member;
    const char *endpoints[4]; // NULL: the end
    const char *username, *password, *cacert, *cert, *key;
    bool watch;
    int64_t ttl_ms; // 0: 30 s
} LabOptions;

extern Arena *lab_arena; // reset by every test's start

Dcs *lab_store(const LabOptions *options);
Dcs *lab_member(EtcdServer *server, const char *member); // with a watcher
Deadline lab_in(int64_t ms);
int64_t lab_ms_since(Instant since);
Instant lab_now(void);
const char *lab_open(Dcs *dcs, int64_t ttl_ms); // a session
ClusterView lab_view(Dcs *dcs);                 // waits for the first one
ClusterView lab_refresh(Dcs *dcs);
// What an acquire in this view compares with.
AcquireRequest lab_request(const ClusterView *view, const char *instance);
Acquired lab_acquire(Dcs *dcs, const char *instance);
void lab_check(bool ok, const Error *err, const char *what);
#define CHECK(call) lab_check((call), &err, #call)

typedef bool LabCondition(const ClusterView *view, const void *context);
// Polls the cached view; fails after 15 s.
ClusterView lab_wait(Dcs *dcs, LabCondition *condition, const void *context, const char *what);
bool lab_is_vacant(const ClusterView *view, const void *kind);
bool lab_has_leader(const ClusterView *view, const void *name);
bool lab_has_revision(const ClusterView *view, const void *revision); // or a later one
bool lab_event(Dcs *dcs, int ms); // waits for the event, and clears it
void lab_sleep_ms(int64_t ms);    // between two looks at a condition
