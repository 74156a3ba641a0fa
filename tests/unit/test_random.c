#include "common/os/random.h"

#include "tests/support/test.h"

#include <stdbool.h>

// Known answers: the reference implementations of splitmix64 and xoshiro256**.
static void test_known_numbers(void **state)
{
    (void)state;
    const Rng seeded = rng_seeded(0);
    assert_true(seeded.state[0] == UINT64_C(0xE220A8397B1DCDAF));
    assert_true(seeded.state[1] == UINT64_C(0x6E789E6AA1B965F4));
    assert_true(seeded.state[2] == UINT64_C(0x06C45D188009454F));
    assert_true(seeded.state[3] == UINT64_C(0xF88BB8A8724C81EC));

    Rng rng = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {UINT64_C(11520), UINT64_C(0), UINT64_C(1509978240),
                                        UINT64_C(1215971899390074240)};
    for (size_t i = 0; i < COUNT_OF(expected); i++)
        assert_true(rng_next(&rng) == expected[i]);
}

static void test_a_seed_replays(void **state)
{
    (void)state;
    Rng a = rng_seeded(42), b = rng_seeded(42), c = rng_seeded(43);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        const uint64_t x = rng_next(&a);
        assert_true(x == rng_next(&b));
        differs = differs || x != rng_next(&c);
    }
    assert_true(differs);
}

static void test_below_reaches_all_and_no_more(void **state)
{
    (void)state;
    Rng rng = rng_seeded(7);
    int seen[10] = {0};
    for (int i = 0; i < 10000; i++) {
        const uint64_t x = rng_below(&rng, COUNT_OF(seen));
        assert_true(x < COUNT_OF(seen));
        seen[x]++;
    }
    for (size_t i = 0; i < COUNT_OF(seen); i++)
        assert_in_range(seen[i], 800, 1200);
    assert_true(rng_below(&rng, 1) == 0);
    const uint64_t odd = (UINT64_C(1) << 63) + 1; // the worst case for uneven draws
    for (int i = 0; i < 100; i++)
        assert_true(rng_below(&rng, odd) < odd);
}

static void test_os_bytes_differ(void **state)
{
    (void)state;
    unsigned char a[32] = {0}, b[32] = {0};
    random_bytes_from_os(a, sizeof a);
    random_bytes_from_os(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    Rng x = rng_from_os(), y = rng_from_os();
    assert_memory_not_equal(&x, &y, sizeof x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_numbers),
        cmocka_unit_test(test_a_seed_replays),
        cmocka_unit_test(test_below_reaches_all_and_no_more),
        cmocka_unit_test(test_os_bytes_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
