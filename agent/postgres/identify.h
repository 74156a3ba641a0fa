// IDENTIFY_SYSTEM and TIMELINE_HISTORY over a replication connection: the one way to ask a server
// for the timeline of its WAL, of a standby the one it replays.
// PostgreSQL docs, "Streaming Replication Protocol".
#pragma once
#include "agent/postgres/pg_conn.h"
#include "common/base/timeline.h"

typedef struct {
    char system_identifier[24];
    uint32_t timeline;
    Lsn lsn; // flushed; of a standby, replayed or received on that timeline
} Identity;

bool identify_system(PgConn *pg, Deadline deadline, Identity *out, Error *err) MUST_CHECK;
// Whether the server at the other end is in recovery, asked over the same connection.
bool identify_recovery(PgConn *pg, Deadline deadline, bool *out, Error *err) MUST_CHECK;
bool identify_history(PgConn *pg, Arena *arena, uint32_t timeline, Deadline deadline,
                      TimelineHistory *out, Error *err) MUST_CHECK;
