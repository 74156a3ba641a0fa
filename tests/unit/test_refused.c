// What the store refuses for good is a line in the log, and one only, however often it is asked.
#include "agent/state.h"
#include "common/os/log.h"
#include "tests/support/test.h"

static int warnings;

static void count_warnings(void *context, LogLevel level, const char *line)
{
    (void)context;
    (void)line;
    warnings += level == LOG_WARN ? 1 : 0;
}

static int begin(void **state)
{
    (void)state;
    warnings = 0;
    log_capture(count_warnings, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    log_capture(NULL, NULL);
    return 0;
}

static void test_a_refusal_is_said_once(void **state)
{
    static Agent agent;
    Error forbidden = {0}, other = {0}, lost = {0};
    (void)state;
    agent = (Agent){.world.clock = clock_system(), .store_ok = true};
    (void)error_set(&forbidden, ERR_INVALID, "forbidden: the role needs get");
    (void)error_set(&other, ERR_INVALID, "forbidden: the role needs patch");
    (void)error_set(&lost, ERR_UNAVAILABLE, "timed out");
    for (int i = 0; i < 3; i++)
        assert_false(store_outcome(&agent, false, &forbidden));
    assert_int_equal(warnings, 1);
    assert_true(agent.store_ok); // it says nothing about the store
    store_refused(&agent, REFUSED_MEMBER, "member record not written", &other);
    store_refused(&agent, REFUSED_KEY, "write not done", &other);
    assert_int_equal(warnings, 3);
    // What may yet be done is said elsewhere, if at all.
    store_refused(&agent, REFUSED_KEY, "write not done", &lost);
    for (int i = 0; i < 3; i++) {
        store_refused(&agent, REFUSED_KEY, "write not done", &other);
        (void)store_outcome(&agent, false, &forbidden);
        (void)store_outcome(&agent, true, &forbidden);
    }
    assert_int_equal(warnings, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_refusal_is_said_once, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
