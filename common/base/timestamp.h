// Points in time as people and programs write them: ISO 8601, "T" or blanks between date and time,
// seconds and their fraction if wanted, the zone as Z, UTC, GMT, +HH, +HHMM or +HH:MM, blanks
// around it all. Pure: knows neither what time it is nor what the local zone is.
#pragma once
#include "common/base/attributes.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int year, month, day; // Gregorian, from the year 1
    int hour, minute, second, micros;
    int zone_minutes; // east of Greenwich
    bool has_zone;
} Timestamp;

// A date without a time is its midnight. A time without a date is on the day of `today`; NULL
// refuses it. False: not a point in time.
bool timestamp_parse(const char *text, const Timestamp *today, Timestamp *out) MUST_CHECK;

// Microseconds since 1970; without a zone it counts as UTC.
int64_t timestamp_us(const Timestamp *t);

typedef struct {
    char text[120]; // more than valid fields need: compilers count with any int
} TimestampText;

// "2026-01-31T12:00:00.500000+01:00"; `between` stands where the T is. Seconds always, a fraction
// unless it is zero, no zone where none is known.
TimestampText timestamp_format(const Timestamp *t, char between);
