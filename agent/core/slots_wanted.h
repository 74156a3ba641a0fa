// Which physical replication slots this server is to have, and which ones the leader tells the
// others of. Pure, like decide(); the agent carries the steps out.
//
// Every member keeps a slot for every other one. The leader's slots move with those who stream
// from them; a standby moves its own by what the leader publishes in /status, so that whoever is
// promoted has them at once and nobody has to wait for one.
#pragma once
#include "common/model/cluster.h"
#include "common/model/server_view.h"
#include "common/model/settings.h"

typedef struct {
    Instant now;
    const Settings *settings;
    const ClusterView *cluster;
    const ServerView *server;
    int64_t term; // of the leader key that we hold; 0: we do not
} SlotFacts;

#define RETAINED_SLOTS_MAX 128

// The leader's memory of whose slot was last of use when. By time and not by membership: a member's
// key is gone a ttl after its machine. Zeroed, it is right for a new agent.
typedef struct {
    int64_t term; // in which it was gathered
    size_t count;
    struct {
        char name[64];
        bool member; // a member's slot, to be kept by everybody; else somebody's on this server
        bool lost;   // and nobody is there whom a new one could serve
        Instant seen_at;
    } slots[RETAINED_SLOTS_MAX];
} RetainedSlots;

typedef struct {
    const SlotStep *steps;
    size_t count;
    // Two members whose names give the same slot name; NULL: none.
    const char *clash, *clash_with;
} SlotPlan;

// What this leader sees now, and in a new term what its predecessor left in /status. Must have run
// in a term before that term's first write of /status.
void slots_remember(Arena *arena, const SlotFacts *facts, RetainedSlots *retained);
// Nothing to do is an empty plan. Its strings live in the arena, or as long as the facts.
SlotPlan slots_wanted(Arena *arena, const SlotFacts *facts, const RetainedSlots *retained);
// For /status: slot name -> LSN, with the leader's own position under its own slot's name.
const Tree *slots_published(Arena *arena, const SlotFacts *facts);
// For /status: the names of members' slots, sorted.
StringList slots_retained(Arena *arena, const SlotFacts *facts, const RetainedSlots *retained);
