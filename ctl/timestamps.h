// Points in time as people type and read them, in the local zone. Pure but for the zone.
#pragma once
#include "common/base/arena.h"
#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    bool now; // "now" or nothing: at once
    int64_t wall_us;
    const char *iso;   // "2026-12-12T10:00:00+00:00", as the API wants it
    const char *shown; // the same with a blank, as Python's str() shows it
} Schedule;

// ISO 8601 with or without seconds and zone, a date alone, or a time alone (today: now_us); without
// a zone it is local time. ERR_INVALID with patronictl's text.
bool schedule_parse(Arena *arena, const char *text, int64_t now_us, Schedule *out, Error *err)
    MUST_CHECK;

const char *time_with_fraction(Arena *arena, int64_t wall_us); // "2026-11-23 03:43:00.05816"
const char *time_in_seconds(Arena *arena, int64_t wall_us);    // "2026-11-23 03:43:00"
const char *time_in_minutes(Arena *arena, int64_t wall_us);    // "2026-11-23T03:43"
