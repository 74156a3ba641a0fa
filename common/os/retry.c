#include "common/os/retry.h"

#include <errno.h>
#include <time.h>

int64_t retry_wait_ms(Rng *rng, int attempt, int64_t base_ms, int64_t max_ms)
{
    int64_t wait = base_ms > 0 ? base_ms : 1;
    for (int i = 0; i < attempt && wait < max_ms; i++)
        wait *= 2;
    if (wait > max_ms)
        wait = max_ms > 0 ? max_ms : 1;

    // Half of it is random, so that members that failed together do not come back together.
    const int64_t half = wait / 2;
    return wait - half + (int64_t)rng_below(rng, (uint64_t)half + 1);
}

static void sleep_ms(int64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / MS_PER_S),
                            .tv_nsec = (long)(ms % MS_PER_S * NS_PER_MS)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

bool retry_again(Retry *retry, const Error *err)
{
    if (err->kind != ERR_UNAVAILABLE)
        return false;
    int64_t wait = retry_wait_ms(retry->rng, retry->attempt, retry->base_ms, retry->max_ms);
    if (wait < retry->at_least_ms)
        wait = retry->at_least_ms;
    if (deadline_left_ms(retry->deadline, clock_now(retry->clock)) <= wait)
        return false;
    sleep_ms(wait);
    retry->attempt++;
    return true;
}
