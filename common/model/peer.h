// What a member answered when asked over REST (GET its api_url).
#pragma once
#include "common/base/time.h"
#include "common/base/timeline.h"
#include "common/model/cluster.h"

// LSN_NONE: not told.
typedef struct {
    Lsn location;           // of a primary
    Lsn received, replayed; // of a standby
} WalPositions;

// Reads them from a status document (docs/rest.md, "Looking"); false: it has none.
bool wal_positions_of(const Tree *status, WalPositions *out);
// As the member's own record would have them.
void member_set_positions(MemberView *member, const WalPositions *positions);

typedef struct {
    const char *name;
    bool reachable; // it answered, and the answer could be read
    bool in_recovery;
    WalPosition position; // primary: location; else max(received, replayed)
    WalPositions positions;
    TimelineHistory history; // ours publish it; timeline 0 else
    bool nofailover;
    int failover_priority;
    bool watchdog_failed;
    bool running;      // state is running
    const char *error; // why not reachable
} PeerAnswer;
