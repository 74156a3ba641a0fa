#include "agent/warden/fence_rules.h"

static int64_t fence_margin(const Fence *fence)
{
    return 2 * (fence->kill_at - fence->quit_at);
}

static int64_t min_time(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

const char *fence_refusal(const Fence *fence, const FenceOrder *order, int64_t now)
{
    if (fence->striking)
        return "the fence has struck and is still killing";
    if (order->quit_at <= 0 || order->kill_at <= 0 ||
        order->kill_at - order->quit_at < FENCE_HALF_MIN)
        return "kill_at must be at least 10 ms after quit_at";
    if (order->ttl_ms <= 0 || order->ttl_ms > FENCE_TTL_MAX_MS)
        return "ttl must be between 1 ms and 1 day";
    if (order->kill_at > now + order->ttl_ms * NS_PER_MS)
        return "kill_at is more than a ttl ahead";
    return 0;
}

void fence_arm(Fence *fence, const FenceOrder *order, int64_t now, int64_t wall)
{
    *fence = (Fence){.armed = true,
                     .quit_at = order->quit_at,
                     .kill_at = order->kill_at,
                     .seen_at = now,
                     .wall_offset = wall - now};
}

Strike fence_tick(Fence *fence, int64_t now, int64_t wall)
{
    if (!fence->armed || fence->struck)
        return STRIKE_NONE;

    const int64_t gap = now - fence->seen_at;
    const int64_t step = wall - now - fence->wall_offset;
    const int64_t margin = fence_margin(fence);
    // Only a step counts, not what slewing adds up to: each tick compares with the one before.
    fence->seen_at = now;
    fence->wall_offset = wall - now;

    const Strike strike = now >= fence->quit_at             ? STRIKE_DEADLINE
                          : gap > margin                    ? STRIKE_FROZEN
                          : step > margin || step < -margin ? STRIKE_CLOCK_STEP
                                                            : STRIKE_NONE;
    if (strike != STRIKE_NONE)
        fence->struck = fence->striking = true;
    return strike;
}

int64_t fence_kill_time(const Fence *fence, int64_t now)
{
    return min_time(fence->kill_at, now + fence_margin(fence) / 2);
}

int64_t fence_next_tick(const Fence *fence, int64_t now)
{
    if (!fence->armed || fence->struck)
        return 0;
    // Half of what is allowed, so that being scheduled late does not look like a freeze.
    return min_time(fence->quit_at, now + fence_margin(fence) / 4);
}

const char *strike_name(Strike strike)
{
    static const char *const names[] = {
        [STRIKE_NONE] = "none",
        [STRIKE_DEADLINE] = "deadline",
        [STRIKE_FROZEN] = "was-frozen",
        [STRIKE_CLOCK_STEP] = "clock-step",
    };
    return names[strike];
}
