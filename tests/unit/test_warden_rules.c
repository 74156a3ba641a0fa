// The pure parts: when the fence strikes, what /proc says, what a frame holds.
#include "tests/support/test.h"

#include "agent/warden/data_dir.h"
#include "agent/warden/fence_rules.h"
#include "agent/warden/proc_parse.h"
#include "agent/warden/protocol.h"

#include <string.h>

#define MS(n)  ((int64_t)(n)*NS_PER_MS)
#define NOW    MS(1000000)
#define WALL   MS(900000000)
#define MARGIN 1000

static Fence armed_fence(void)
{
    Fence fence = {0};
    const FenceOrder order = {NOW + MS(20000), NOW + MS(20000 + MARGIN / 2), 30000};
    assert_null(fence_refusal(&fence, &order, NOW));
    fence_arm(&fence, &order, NOW, WALL);
    return fence;
}

static void test_orders(void **state)
{
    static const struct {
        const char *given;
        int64_t quit_ms, kill_ms, ttl_ms;
        bool striking, fine;
    } rows[] = {
        {"a usual one", 20000, 20500, 30000, false, true},
        {"exactly a ttl ahead", 29500, 30000, 30000, false, true},
        {"further than a ttl", 29501, 30001, 30000, false, false},
        {"already over: strike now", -2000, -1000, 30000, false, true},
        {"no time between", 20000, 20009, 30000, false, false},
        {"backwards", 20500, 20000, 30000, false, false},
        {"no ttl", 20000, 20500, 0, false, false},
        {"an absurd ttl", 20000, 20500, INT64_MAX, false, false},
        {"while it kills", 20000, 20500, 30000, true, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Fence fence = {
            .armed = true, .struck = rows[i].striking, .striking = rows[i].striking};
        const FenceOrder order = {NOW + MS(rows[i].quit_ms), NOW + MS(rows[i].kill_ms),
                                  rows[i].ttl_ms};
        if ((fence_refusal(&fence, &order, NOW) == NULL) != rows[i].fine)
            fail_msg("%s", rows[i].given);
    }
    const Fence none = {0};
    const FenceOrder extreme = {INT64_MIN, INT64_MAX, 30000};
    assert_non_null(fence_refusal(&none, &extreme, NOW));
}

static void test_strikes(void **state)
{
    static const struct {
        const char *given;
        int64_t gap_ms, step_ms;
        Strike strike;
    } rows[] = {
        {"the next tick", 250, 0, STRIKE_NONE},
        {"late by less than the margin", 1000, 0, STRIKE_NONE},
        {"frozen for longer than the margin", 1001, 0, STRIKE_FROZEN},
        {"the deadline itself", 20000, 0, STRIKE_DEADLINE},
        {"frozen beyond the deadline", 50000, 0, STRIKE_DEADLINE},
        {"wall clock stepped a little", 250, 1000, STRIKE_NONE},
        {"wall clock stepped ahead", 250, 1001, STRIKE_CLOCK_STEP},
        {"wall clock stepped back", 250, -1001, STRIKE_CLOCK_STEP},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Fence fence = armed_fence();
        const int64_t now = NOW + MS(rows[i].gap_ms);
        const int64_t wall = WALL + MS(rows[i].gap_ms + rows[i].step_ms);
        const Strike strike = fence_tick(&fence, now, wall);
        if (strike != rows[i].strike)
            fail_msg("%s: %s", rows[i].given, strike_name(strike));
        assert_int_equal(fence.struck, strike != STRIKE_NONE);
        assert_int_equal(fence_tick(&fence, now, wall), STRIKE_NONE); // once is enough
    }
}

// Slewing adds up to any amount; only what happens between two ticks is a step.
static void test_slewing_is_no_step(void **state)
{
    Fence fence = armed_fence();
    (void)state;
    for (int64_t ms = 100; ms < 19000; ms += 100)
        assert_int_equal(fence_tick(&fence, NOW + MS(ms), WALL + MS(ms + ms / 10)), STRIKE_NONE);
}

static void test_times(void **state)
{
    Fence fence = armed_fence();
    (void)state;
    assert_int_equal(fence_next_tick(&fence, NOW), NOW + MS(MARGIN / 4));
    assert_int_equal(fence_next_tick(&fence, NOW + MS(19900)), NOW + MS(20000));
    // Frozen: SIGKILL follows after half a margin, never after the deadline that was given.
    assert_int_equal(fence_kill_time(&fence, NOW), NOW + MS(MARGIN / 2));
    assert_int_equal(fence_kill_time(&fence, NOW + MS(60000)), NOW + MS(20000 + MARGIN / 2));
    fence.struck = true;
    assert_int_equal(fence_next_tick(&fence, NOW), 0);
}

#define REST "0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0 18446744073709551615 0 0 0 0 0 "
static void test_proc_stat(void **state)
{
    ProcStat seen;
    (void)state;
    assert_true(proc_parse_stat("12 (postgres) S 7 12 12 0 -1 4194560 " REST "0 0 0 0\n", &seen));
    assert_int_equal(seen.parent, 7);
    assert_int_equal(seen.start_time, 4711);
    assert_true(proc_can_run(&seen));
    // A name is whatever its owner likes.
    assert_true(proc_parse_stat("12 (a) S 1 (b) R 8 1 1 0 -1 0 " REST "0 0 0\n", &seen));
    assert_int_equal(seen.parent, 8);
    assert_int_equal(seen.state, 'R');
    // Uninterruptible sleep: it counts as running until SIGKILL is pending.
    assert_true(proc_parse_stat("12 (p) D 7 12 12 0 -1 0 " REST "0 0 0 0\n", &seen));
    assert_true(proc_can_run(&seen));
    assert_true(proc_parse_stat("12 (p) D 7 12 12 0 -1 0 " REST "256 0 0 0\n", &seen));
    assert_false(proc_can_run(&seen));
    assert_true(proc_parse_stat("12 (p) R 7 12 12 0 -1 0 " REST "256 0 0 0\n", &seen));
    assert_true(proc_can_run(&seen));
    assert_true(proc_parse_stat("12 (p) Z 7 12 12 0 -1 0 " REST "0 0 0 0\n", &seen));
    assert_false(proc_can_run(&seen));

    assert_false(proc_parse_stat("", &seen));
    assert_false(proc_parse_stat("12 (p)", &seen));
    assert_false(proc_parse_stat("12 (p) S 7", &seen));
    assert_false(proc_parse_stat("12 (p) S x 12 12 0 -1 0 " REST "0\n", &seen));
}

static void test_wire(void **state)
{
    uint8_t buffer[64];
    WireHead head;
    size_t size = 0;
    (void)state;
    WireWriter out = {buffer, sizeof buffer, 0, false};
    wire_put_head(&out, WIRE_FENCE, 0x01020304);
    wire_put_i64(&out, -5);
    wire_put_i32(&out, -6);
    wire_put_text(&out, "note");
    assert_true(wire_finish(&out, 0));
    assert_memory_equal(buffer, "HW\x02\x00\x04\x03\x02\x01\x15\x00\x00\x00\xfb\xff", 14);

    assert_false(wire_peek(buffer, WIRE_HEAD - 1, &head));
    assert_true(wire_peek(buffer, out.used, &head) && wire_head_ok(&head));
    assert_int_equal(head.length, 21);
    WireReader in = {buffer + WIRE_HEAD, head.length, 0, false};
    assert_int_equal(wire_get_i64(&in), -5);
    assert_int_equal(wire_get_i32(&in), -6);
    assert_string_equal(wire_get_text(&in), "note");
    assert_false(in.bad);
    // Past the end there is nothing, said once and for all.
    assert_int_equal(wire_get_u16(&in), 0);
    assert_true(in.bad);
    assert_string_equal(wire_get_sized(&in, &size), "");

    // A text whose length or end is not what it says.
    WireReader cut = {(const uint8_t *)"\x09\0\0\0note", 9, 0, false};
    assert_string_equal(wire_get_text(&cut), "");
    assert_true(cut.bad);
    WireReader open_end = {(const uint8_t *)"\x04\0\0\0notes", 9, 0, false};
    (void)wire_get_text(&open_end);
    assert_true(open_end.bad);
    WireReader inner = {(const uint8_t *)"\x04\0\0\0n\0te", 9, 0, false};
    (void)wire_get_text(&inner);
    assert_true(inner.bad);
    WireReader huge = {(const uint8_t *)"\xff\xff\xff\xff", 4, 0, false};
    (void)wire_get_text(&huge);
    assert_true(huge.bad);

    // What does not fit is not written in part.
    WireWriter small = {buffer, 15, 0, false};
    wire_put_head(&small, WIRE_FENCE, 1);
    wire_put_text(&small, "too long");
    assert_false(wire_finish(&small, 0));
}

static void test_data_dir(void **state)
{
    static const struct {
        const char *argv[7], *env[3], *dir;
    } rows[] = {
        {{"postgres", "-D", "/d"}, {"PGDATA=/e"}, "/d"},
        {{"postgres", "-D/d", "-D", "/f"}, {"PGDATA=/e"}, "/f"},
        {{"postgres", "-i"}, {"X=1", "PGDATA=/e"}, "/e"},
        {{"postgres", "-D", "/d", "--data-directory=/s"}, {NULL}, "/s"},
        {{"postgres", "-cdata_directory=/s", "-D", "/d"}, {NULL}, "/s"},
        {{"postgres", "-c", "data_directory=/s"}, {NULL}, "/s"},
        {{"postgres", "-D", "/d", "-c", "data_directory_mode=0700"}, {NULL}, "/d"},
        {{"postgres", "-D", "/d", "-c", "port=1", "--data_dir=/s"}, {NULL}, "/d"},
        {{"postgres", "--", "/d"}, {"PGDATA="}, NULL},
        {{"postgres", "-D"}, {NULL}, NULL},
        {{"postgres", "-"}, {"PGDATA_X=/e"}, NULL},
        {{NULL}, {NULL}, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *argv[7], *env[3];
        memcpy(argv, rows[i].argv, sizeof argv); // exec's types have no const
        memcpy(env, rows[i].env, sizeof env);
        const char *dir = data_dir_of(argv, env);
        if (!dir != !rows[i].dir || (dir && strcmp(dir, rows[i].dir) != 0))
            fail_msg("row %zu: %s", i, dir ? dir : "none");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_strikes),
        cmocka_unit_test(test_slewing_is_no_step),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_proc_stat),
        cmocka_unit_test(test_wire),
        cmocka_unit_test(test_data_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
