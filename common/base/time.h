// Points in time and spans, as types that cannot be mixed up. Reads no clock: see
// common/os/clock.h.
#pragma once
#include <stdbool.h>
#include <stdint.h>

// CLOCK_BOOTTIME in nanoseconds: counts through suspend. 0 means "never" or "not known".
typedef struct {
    int64_t ns;
} Instant;

// The instant by which a call has returned. Handed down, so that nested tries share one budget.
typedef struct {
    Instant at;
} Deadline;

#define MS_PER_S  INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)

static inline bool instant_is_set(Instant t)
{
    return t.ns != 0;
}
static inline Instant instant_plus_ms(Instant t, int64_t ms)
{
    return (Instant){t.ns + ms * NS_PER_MS};
}
// later - earlier; negative when the arguments are the other way round.
static inline int64_t instant_ms_between(Instant earlier, Instant later)
{
    return (later.ns - earlier.ns) / NS_PER_MS;
}
static inline bool instant_before(Instant a, Instant b)
{
    return a.ns < b.ns;
}
static inline Instant instant_min(Instant a, Instant b)
{
    return a.ns < b.ns ? a : b;
}
// The earlier of two wake-ups, where 0 means none.
static inline Instant instant_earliest(Instant a, Instant b)
{
    if (!instant_is_set(a))
        return b;
    return instant_is_set(b) ? instant_min(a, b) : a;
}
static inline Deadline deadline_at(Instant at)
{
    return (Deadline){at};
}
static inline Deadline deadline_min(Deadline a, Deadline b)
{
    return (Deadline){instant_min(a.at, b.at)};
}
static inline int64_t deadline_left_ms(Deadline d, Instant now) // never negative
{
    const int64_t left = instant_ms_between(now, d.at);
    return left > 0 ? left : 0;
}
