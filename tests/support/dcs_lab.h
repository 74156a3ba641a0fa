// What the tests of the stores share, whichever it is: time, conditions to wait for, and calls that
// must succeed. The store comes from etcd_lab.h or from tests/kube/store_lab.h.
#pragma once
#include "common/base/arena.h"
#include "dcs/dcs.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern Arena *lab_arena;      // reset by every test's start
extern const char *lab_where; // begins every failure's text

Deadline lab_in(int64_t ms);
Instant lab_now(void);
int64_t lab_ms_since(Instant since);
void lab_sleep_ms(int64_t ms); // between two looks at a condition

void lab_check(bool ok, const Error *err, const char *what);
#define CHECK(call) lab_check((call), &err, #call)

const char *lab_open(Dcs *dcs, int64_t ttl_ms); // a session
ClusterView lab_refresh(Dcs *dcs);
// What an acquire in this view compares with.
AcquireRequest lab_request(const ClusterView *view, const char *instance);
Acquired lab_acquire(Dcs *dcs, const char *instance);

typedef bool LabCondition(const ClusterView *view, const void *context);
// Polls the cached view; fails after 15 s.
ClusterView lab_wait(Dcs *dcs, LabCondition *condition, const void *context, const char *what);
bool lab_has_leader(const ClusterView *view, const void *name);
bool lab_event(Dcs *dcs, int ms); // waits for the event, and clears it
