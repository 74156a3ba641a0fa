// Does our WAL lie on the leader's history? docs/architecture.md, "Divergence". Pure.
#pragma once
#include "common/model/server_view.h"

typedef struct {
    WalPosition local;
    bool standby;   // local.lsn is what it has replayed; else the start of a shutdown checkpoint
    Lsn record_end; // not standby: where that checkpoint's record ends; 0: not known
    uint32_t leader_timeline;
    TimelineHistory leader_history; // of leader_timeline; timeline 0: not known
} DivergenceFacts;

// *why is a constant, for people.
Divergence divergence_of(const DivergenceFacts *facts, const char **why);
// Whether record_end decides: asking for it costs a program.
bool divergence_needs_record_end(const DivergenceFacts *facts);
// The last place both histories share; timeline 0 if none.
WalPosition timeline_fork(const TimelineHistory *a, const TimelineHistory *b);
