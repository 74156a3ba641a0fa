// Points in time as people and patronictl send them: ISO 8601, "T" or a blank between date and
// time, the zone as Z, UTC, +HH, +HHMM or +HH:MM. Pure.
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t wall_us;
    bool has_zone; // without one wall_us means nothing
    char iso[40];  // "2026-01-31T12:00:00+01:00", as the store keeps it
} Schedule;

bool schedule_parse(const char *text, Schedule *out); // false: not a point in time
