// Timeline histories and the one question we ask of them: does this position lie on that history?
// PostgreSQL docs, "Timelines"; the file format is that of pg_wal/0000000N.history.
#pragma once
#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/lsn.h"

#include <stddef.h>

typedef struct {
    uint32_t timeline; // the parent
    Lsn switch_lsn;    // where it was left
} TimelineSwitch;

// A timeline and how it came about: its ancestors, oldest first.
typedef struct {
    uint32_t timeline; // 0: not known
    const TimelineSwitch *parents;
    size_t parent_count;
} TimelineHistory;

// A place in the WAL of one server.
typedef struct {
    uint32_t timeline; // 0: not known
    Lsn lsn;
} WalPosition;

typedef enum {
    ANCESTRY_UNKNOWN,  // one of them is not known: never "no"
    ANCESTRY_ON_PATH,  // the position is part of that history
    ANCESTRY_DIVERGED, // it is not: the server holds WAL that history does not
} Ancestry;

// Lines "tli <tab> lsn <tab> reason"; '#' and blank lines are skipped. ERR_INVALID names the line.
bool timeline_parse_history(Arena *arena, uint32_t timeline, const char *text, TimelineHistory *out,
                            Error *err) MUST_CHECK;
Ancestry timeline_ancestry(WalPosition position, const TimelineHistory *history);
// Orders positions that lie on one history: the timeline first, then the LSN. <0, 0, >0.
int wal_position_compare(WalPosition a, WalPosition b);
