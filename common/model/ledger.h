// One decision, as it is kept and explained afterwards (docs/rest.md, "Looking").
#pragma once
#include "common/base/text.h"
#include "common/base/time.h"
#include "common/model/reason.h"

#define LEDGER_KEPT 100

typedef struct {
    int64_t wall_us; // when
    uint64_t turn;
    Reason reason;
    const char *key_action; // "keep", "acquire", "release"
    const char *pg_action;  // "none", "promote", …
    const char *evidence;   // "lease_left_ms=23110 tl=3 lsn=0/5000060 leader=a …"
    const char *outcome;    // "", or what became of it: an error's text
} LedgerEntry;

// One line of JSON, without the newline.
char *ledger_format(Arena *arena, const LedgerEntry *entry);
// The way we write points in time for people: "2026-01-31T12:00:00.123456+00:00".
char *ledger_time(Arena *arena, int64_t wall_us);
