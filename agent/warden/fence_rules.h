// When the fence strikes: pure, so that a test can freeze the clock and step it.
//
// The agent arms it with two deadlines that lie margin/2 apart. It strikes at the first one, and at
// once when this process was not running for longer than the margin, or when the wall clock has
// moved against the clock that counts (a paused machine): then nobody knows whose lease it is.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define NS_PER_MS        INT64_C(1000000)
#define FENCE_HALF_MIN   (10 * NS_PER_MS) // between the two deadlines
#define FENCE_TTL_MAX_MS INT64_C(86400000)

typedef struct {
    bool armed;    // a deadline stands; a passed one too, until it is moved or lifted
    bool struck;   // it has come
    bool striking; // and what it kills is not all dead yet
    int64_t quit_at, kill_at;
    int64_t seen_at;     // the last tick
    int64_t wall_offset; // CLOCK_REALTIME - CLOCK_BOOTTIME at the last tick
} Fence;

typedef enum { STRIKE_NONE, STRIKE_DEADLINE, STRIKE_FROZEN, STRIKE_CLOCK_STEP } Strike;

typedef struct {
    int64_t quit_at, kill_at, ttl_ms;
} FenceOrder;

// NULL: fine. Else what is wrong with the order, and the fence stays as it is.
const char *fence_refusal(const Fence *fence, const FenceOrder *order, int64_t now);
void fence_arm(Fence *fence, const FenceOrder *order, int64_t now, int64_t wall);
// To be called before anything else is done with what arrived while we may have been frozen: a
// renewal that waited in the socket all that time renews nothing.
Strike fence_tick(Fence *fence, int64_t now, int64_t wall);
// When SIGKILL follows a strike now.
int64_t fence_kill_time(const Fence *fence, int64_t now);
// The latest time for the next tick; 0: no hurry.
int64_t fence_next_tick(const Fence *fence, int64_t now);
const char *strike_name(Strike strike);
