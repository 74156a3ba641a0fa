// Random numbers, seedable: a seed replays a run. One user at a time.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t state[4];
} Rng;

Rng rng_seeded(uint64_t seed);
Rng rng_from_os(void); // getrandom()
uint64_t rng_next(Rng *rng);
uint64_t rng_below(Rng *rng, uint64_t limit);      // 0 <= x < limit; limit > 0
void random_bytes_from_os(void *to, size_t count); // for identifiers and secrets
