// Tries that share one deadline.
#pragma once
#include "common/base/error.h"
#include "common/base/time.h"
#include "common/os/clock.h"
#include "common/os/random.h"

typedef struct {
    Clock *clock;
    Rng *rng;
    Deadline deadline;
    int64_t base_ms, max_ms;
    int attempt;         // counts from 0; retry_again adds one
    int64_t at_least_ms; // the next wait is not shorter: the server has named a time
} Retry;

// Sleeps and returns true when another attempt makes sense: err is ERR_UNAVAILABLE and the
// deadline leaves room. Waits grow from base_ms to max_ms with jitter from retry->rng.
// Never for ERR_UNCERTAIN: only the caller knows how to find out what happened.
bool retry_again(Retry *retry, const Error *err) MUST_CHECK;
// The growing wait without the sleep, for whoever waits in an event loop: attempt counts from 0.
int64_t retry_wait_ms(Rng *rng, int attempt, int64_t base_ms, int64_t max_ms);
