// Where the members' WAL is, by their own word: a cluster kept in Kubernetes does not write it down
// while nothing else changes.
#pragma once
#include "ctl/ctl.h"

// Asks all members of ours at once, for at most a second; of who does not answer nothing is known.
void positions_ask(Ctl *ctl, ClusterView *view);
