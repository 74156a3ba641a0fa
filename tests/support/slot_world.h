// A cluster of a, b and c at t = 5000 s, in which we are "a", for what there is to say of slots.
#pragma once
#include "agent/core/slots_wanted.h"
#include "common/base/text.h"

#define S(seconds) ((int64_t)(seconds)*1000000000)

typedef struct {
    Arena *arena; // the test's
    SlotFacts f;
    Settings settings;
    ClusterView cluster;
    ServerView server;
    MemberView members[4];
    SlotView slots[6];
    RetainedSlots kept;
    Tree *status;
} SlotWorld;

// A standby that has the slots it needs; b leads.
void standby(SlotWorld *w);
// We lead; b and c stream from us.
void leader(SlotWorld *w);
SlotView *add_slot(SlotWorld *w, const char *name, Lsn restart);
void publish(SlotWorld *w, const char *slot, int64_t lsn);
// The next plan: "+x" create, "-x" drop, "~x" renew, "x>lsn" advance.
const char *plan_text(SlotWorld *w);
