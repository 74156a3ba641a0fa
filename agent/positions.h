// Where the other members' WAL is, by their own word over REST, once a loop_wait. On Kubernetes a
// member's record is written when something else has changed, so that nothing is written while
// nothing happens; what is read from it would be old.
#pragma once
#include "agent/peers.h"
#include "common/os/clock.h"

typedef struct Positions Positions;

// peers is its own, and freed with it. Its thread asks nobody until it is told whom.
Positions *positions_new(Clock *clock, Peers *peers);
void positions_free(Positions *positions); // accepts NULL
// Whom to ask from now on: the members of the view that are ours, but for ourselves. The turn's.
void positions_follow(Positions *positions, const ClusterView *view, const char *self,
                      int64_t period_ms);
// Puts what they have said last into the view, whose members are copied for it; of one that has not
// answered for three periods nothing is known. Never blocks for long. Any thread.
void positions_apply(Positions *positions, Arena *arena, const char *self, ClusterView *view);
