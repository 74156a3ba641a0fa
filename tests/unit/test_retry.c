#include "common/os/retry.h"

#include "tests/support/test.h"

static void test_waits_grow_to_the_maximum(void **state)
{
    (void)state;
    static const struct {
        int attempt;
        int64_t most;
    } rows[] = {{0, 100}, {1, 200}, {2, 400}, {3, 800}, {4, 1000}, {5, 1000}, {1000000, 1000}};
    Rng rng = rng_seeded(1);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t least_seen = INT64_MAX, most_seen = 0;
        for (int k = 0; k < 200; k++) {
            const int64_t wait = retry_wait_ms(&rng, rows[i].attempt, 100, 1000);
            assert_in_range(wait, rows[i].most / 2, rows[i].most);
            least_seen = wait < least_seen ? wait : least_seen;
            most_seen = wait > most_seen ? wait : most_seen;
        }
        assert_true(least_seen < most_seen); // jitter
    }
    assert_in_range(retry_wait_ms(&rng, 3, 0, 0), 1, 1); // never a busy loop
}

static void test_only_what_was_not_done_is_tried_again(void **state)
{
    (void)state;
    Clock *clock = clock_system();
    Rng rng = rng_seeded(1);
    static const ErrorKind final[] = {ERR_UNCERTAIN, ERR_CONFLICT, ERR_INVALID};
    for (size_t i = 0; i < COUNT_OF(final); i++) {
        Retry retry = {clock, &rng, deadline_in(clock, 60000), 1, 1, 0};
        const Error err = {.kind = final[i]};
        assert_false(retry_again(&retry, &err));
        assert_int_equal(retry.attempt, 0);
    }
}

static void test_tries_end_before_the_deadline(void **state)
{
    (void)state;
    Clock *clock = clock_system();
    Rng rng = rng_seeded(1);
    Retry retry = {clock, &rng, deadline_in(clock, 60), 5, 10, 0};
    const Error err = {.kind = ERR_UNAVAILABLE};
    int tries = 0;
    while (retry_again(&retry, &err)) {
        assert_false(deadline_over(clock, retry.deadline) && tries == 0);
        tries++;
        assert_int_equal(retry.attempt, tries);
    }
    assert_in_range(tries, 1, 20);

    retry.deadline = deadline_at(clock_now(clock));
    assert_false(retry_again(&retry, &err));
}

// A server has said when to come back.
static void test_a_wait_that_was_asked_for(void **state)
{
    (void)state;
    Clock *clock = clock_system();
    Rng rng = rng_seeded(1);
    Retry retry = {.clock = clock,
                   .rng = &rng,
                   .deadline = deadline_in(clock, 60000),
                   .base_ms = 1,
                   .max_ms = 1,
                   .at_least_ms = 30};
    const Error err = {.kind = ERR_UNAVAILABLE};
    const Instant before = clock_now(clock);
    assert_true(retry_again(&retry, &err));
    assert_true(instant_ms_between(before, clock_now(clock)) >= 30);
    retry.at_least_ms = 120000; // beyond the deadline: no wait at all
    assert_false(retry_again(&retry, &err));
    assert_true(instant_ms_between(before, clock_now(clock)) < 30000);
}

static void test_the_clock_advances(void **state)
{
    (void)state;
    Clock *clock = clock_system();
    const Instant before = clock_now(clock);
    assert_true(instant_is_set(before));
    assert_true(clock_wall_us(clock) > INT64_C(1600000000) * 1000000);
    const Deadline soon = deadline_in(clock, 5);
    assert_false(deadline_over(clock, soon));
    while (!deadline_over(clock, soon))
        continue;
    assert_true(instant_ms_between(before, clock_now(clock)) >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_grow_to_the_maximum),
        cmocka_unit_test(test_only_what_was_not_done_is_tried_again),
        cmocka_unit_test(test_tries_end_before_the_deadline),
        cmocka_unit_test(test_a_wait_that_was_asked_for),
        cmocka_unit_test(test_the_clock_advances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
