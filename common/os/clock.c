#include "common/os/clock.h"

#include "common/base/attributes.h"

#include <time.h>

#define NS_PER_S INT64_C(1000000000)

static struct timespec read_clock(clockid_t id)
{
    struct timespec t;
    const int failed = clock_gettime(id, &t);
    ASSERT(failed == 0); // both clocks exist on every Linux since 2.6.39
    return t;
}

static Instant system_now(Clock *clock)
{
    (void)clock;
    const struct timespec t = read_clock(CLOCK_BOOTTIME);
    return (Instant){(int64_t)t.tv_sec * NS_PER_S + t.tv_nsec};
}

static int64_t system_wall_us(Clock *clock)
{
    (void)clock;
    const struct timespec t = read_clock(CLOCK_REALTIME);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

Clock *clock_system(void)
{
    static const ClockOps ops = {.now = system_now, .wall_us = system_wall_us};
    static Clock system = {.ops = &ops};
    return &system;
}
