// Time, real or simulated. Nothing outside common/os reads a clock.
#pragma once
#include "common/base/time.h"

typedef struct Clock Clock;

typedef struct {
    Instant (*now)(Clock *clock); // CLOCK_BOOTTIME
    int64_t (*wall_us)(
        Clock *clock); // microseconds since 1970; only for what humans and the store read
} ClockOps;

struct Clock {
    const ClockOps *ops; // first member of every implementation's own struct
};

Clock *clock_system(void); // shared, thread-safe, never freed

static inline Instant clock_now(Clock *clock)
{
    return clock->ops->now(clock);
}
static inline int64_t clock_wall_us(Clock *clock)
{
    return clock->ops->wall_us(clock);
}
static inline Deadline deadline_in(Clock *clock, int64_t ms)
{
    return deadline_at(instant_plus_ms(clock_now(clock), ms));
}
static inline bool deadline_over(Clock *clock, Deadline d)
{
    return !instant_before(clock_now(clock), d.at);
}
