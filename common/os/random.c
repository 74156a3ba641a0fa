#include "common/os/random.h"

#include "common/base/attributes.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

// splitmix64 (Steele, Lea, Flood 2014): spreads one word over the state, which must not be zero.
static uint64_t splitmix64(uint64_t *x)
{
    *x += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = *x;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static uint64_t rotate_left(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

Rng rng_seeded(uint64_t seed)
{
    Rng rng;
    for (size_t i = 0; i < COUNT_OF(rng.state); i++)
        rng.state[i] = splitmix64(&seed);
    return rng;
}

Rng rng_from_os(void)
{
    uint64_t seed;
    random_bytes_from_os(&seed, sizeof seed);
    return rng_seeded(seed);
}

// xoshiro256** (Blackman, Vigna 2018).
uint64_t rng_next(Rng *rng)
{
    uint64_t *s = rng->state;
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    const uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rng_below(Rng *rng, uint64_t limit)
{
    ASSERT(limit > 0);
    // The lowest 2^64 mod limit values would make small results more likely: drawn again.
    const uint64_t uneven = (UINT64_MAX - limit + 1) % limit;
    uint64_t drawn;
    do {
        drawn = rng_next(rng);
    } while (drawn < uneven);
    return drawn % limit;
}

void random_bytes_from_os(void *to, size_t count)
{
    char *next = to;
    while (count > 0) {
        const ssize_t got = getrandom(next, count, 0);
        if (got < 0) {
            ASSERT(errno == EINTR); // nothing else can happen since Linux 3.17
            continue;
        }
        next += got;
        count -= (size_t)got;
    }
}
