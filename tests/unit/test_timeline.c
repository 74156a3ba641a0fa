#include "common/base/timeline.h"

#include "common/base/text.h"
#include "tests/support/test.h"

#include <string.h>

static TimelineHistory parse(Arena *arena, uint32_t timeline, const char *text)
{
    TimelineHistory history = {0};
    Error err = {0};
    if (!timeline_parse_history(arena, timeline, text, &history, &err))
        fail_msg("%s", err.text);
    return history;
}

static void test_parse(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const TimelineHistory history = parse(arena, 5,
                                          "# comment\n"
                                          "1\t0/3000148\tno recovery target specified\n"
                                          "\n"
                                          "  \t \n"
                                          "  3 \t 16/b374d848  before 2026-11-23 03:18:00+00\r\n"
                                          "4\t16/C0000000"); // no reason, no newline
    assert_int_equal(history.timeline, 5);
    assert_int_equal(history.parent_count, 3);
    assert_int_equal(history.parents[0].timeline, 1);
    assert_true(history.parents[0].switch_lsn == 0x3000148);
    assert_int_equal(history.parents[1].timeline, 3);
    assert_true(history.parents[1].switch_lsn == UINT64_C(0x16B374D848));
    assert_int_equal(history.parents[2].timeline, 4);

    assert_int_equal(parse(arena, 1, "").parent_count, 0);
    assert_int_equal(parse(arena, 1, NULL).parent_count, 0);
    assert_int_equal(parse(arena, 1, "# nothing\n").parent_count, 0);
}

static void test_garbage_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t timeline;
        const char *text;
        const char *says;
    } rows[] = {
        {0, "", "timeline 0"},
        {2, "", "names no parent"},
        {2, "# only a comment\n", "names no parent"},
        {2, "one\t0/1\n", "line 1: expected a timeline number, found 'one'"},
        {2, "0\t0/1\n", "line 1: expected a timeline number"},
        {2, "-1\t0/1\n", "line 1: expected a timeline number"},
        {9, "4294967296\t0/1\n", "line 1: expected a timeline number"},
        {3, "\n1\t0/1\n2\n", "line 3: expected a position"},
        {3, "1\t01\n", "line 1: expected a position like 0/3000148, found '01'"},
        {3, "1,0/1\n", "line 1: expected a timeline number"},
        {3, "2\t0/1\n1\t0/2\n", "line 2: timeline 1 does not follow 2"},
        {3, "1\t0/1\n1\t0/2\n", "line 2: timeline 1 does not follow 1"},
        {3, "1\t0/1\n3\t0/2\n", "line 2: 3 cannot be a parent of timeline 3"},
        {3, "7\t0/1\n", "line 1: 7 cannot be a parent of timeline 3"},
        {1, "1\t0/1\n", "line 1: 1 cannot be a parent of timeline 1"},
        {3, "11111111111111111111111111111111111111111\t0/1\n", "expected a timeline number"},
        {3, "1\t0/11111111111111111111111111111111111111\n", "expected a position"},
        {3, "\xff\xfe\x01\n", "expected a timeline number"},
        {3, "[[1, 83886408, \"no recovery target specified\"]]", "expected a timeline number"},
    };
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        TimelineHistory history = {.timeline = 77};
        Error err = {0};
        if (timeline_parse_history(arena, rows[i].timeline, rows[i].text, &history, &err))
            fail_msg("accepted: %s", rows[i].text);
        assert_int_equal(err.kind, ERR_INVALID);
        assert_int_equal(history.timeline, 77);
        if (strstr(err.text, rows[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.text, rows[i].says);
    }
}

// A cluster that failed over every hour for months.
static void test_thousands_of_timelines(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Text text = text_new(arena);
    for (unsigned i = 1; i < 5000; i++)
        text_addf(&text, "%u\t0/%X\tno recovery target specified\n", i, i * 0x100);
    const TimelineHistory history = parse(arena, 5000, text.data);
    assert_int_equal(history.parent_count, 4999);
    for (uint32_t i = 1; i < 5000; i++) {
        const Lsn end = i * UINT64_C(0x100);
        assert_int_equal(timeline_ancestry((WalPosition){i, end}, &history), ANCESTRY_ON_PATH);
        assert_int_equal(timeline_ancestry((WalPosition){i, end + 1}, &history), ANCESTRY_DIVERGED);
    }
}

// The tree:  1 --100--> 2 --200--> 4      and   1 --150--> 3 --250--> 5 (a sibling branch)
static const TimelineSwitch parents_of_4[] = {{1, 0x100}, {2, 0x200}};
static const TimelineSwitch parents_of_5[] = {{1, 0x150}, {3, 0x250}};
// Aimed at timeline 2, promoted before the fork: timeline 6 left the path at 80, on timeline 1.
static const TimelineSwitch parents_of_6[] = {{1, 0x100}, {2, 0x80}};
static const TimelineHistory one = {1, NULL, 0};
static const TimelineHistory four = {4, parents_of_4, 2};
static const TimelineHistory five = {5, parents_of_5, 2};
static const TimelineHistory six = {6, parents_of_6, 2};
static const TimelineHistory none = {0};

static const struct {
    const char *given;
    WalPosition position;
    const TimelineHistory *history;
    Ancestry expected;
} ancestry_rows[] = {
    {"same timeline", {4, 0x900}, &four, ANCESTRY_ON_PATH},
    {"same timeline, position not known", {4, LSN_NONE}, &four, ANCESTRY_ON_PATH},
    {"parent, before the switch", {2, 0x199}, &four, ANCESTRY_ON_PATH},
    {"parent, at the switch", {2, 0x200}, &four, ANCESTRY_ON_PATH},
    {"parent, behind the switch", {2, 0x201}, &four, ANCESTRY_DIVERGED},
    {"grandparent, at its switch", {1, 0x100}, &four, ANCESTRY_ON_PATH},
    {"grandparent, behind its switch", {1, 0x101}, &four, ANCESTRY_DIVERGED},
    {"on 2, but not yet past the fork 1 -> 2", {2, 0x50}, &four, ANCESTRY_ON_PATH},
    {"parent, position not known", {2, LSN_NONE}, &four, ANCESTRY_UNKNOWN},
    {"sibling, lower number", {3, 0x120}, &four, ANCESTRY_DIVERGED},
    {"sibling, higher number", {4, 0x120}, &five, ANCESTRY_DIVERGED},
    {"sibling's parent", {2, 0x110}, &five, ANCESTRY_DIVERGED},
    {"sibling, position not known", {3, LSN_NONE}, &four, ANCESTRY_DIVERGED},
    {"common ancestor, between the forks", {1, 0x120}, &five, ANCESTRY_ON_PATH},
    {"common ancestor, between the forks", {1, 0x120}, &four, ANCESTRY_DIVERGED},
    {"newer than the history", {7, 0x900}, &four, ANCESTRY_DIVERGED},
    {"first timeline", {1, 0x900}, &one, ANCESTRY_ON_PATH},
    {"descendant of the first", {2, 0x900}, &one, ANCESTRY_DIVERGED},
    {"left before the fork it aimed at", {1, 0x80}, &six, ANCESTRY_ON_PATH},
    {"left before the fork it aimed at", {1, 0x90}, &six, ANCESTRY_DIVERGED},
    {"left before the fork it aimed at", {2, 0x150}, &six, ANCESTRY_DIVERGED},
    {"history not known", {1, 0x100}, &none, ANCESTRY_UNKNOWN},
    {"timeline not known", {0, 0x100}, &four, ANCESTRY_UNKNOWN},
    {"nothing known", {0, 0}, &none, ANCESTRY_UNKNOWN},
};

static void test_ancestry(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ancestry_rows); i++)
        if (timeline_ancestry(ancestry_rows[i].position, ancestry_rows[i].history) !=
            ancestry_rows[i].expected)
            fail_msg("row %zu: %s", i, ancestry_rows[i].given);
}

static void test_compare(void **state)
{
    (void)state;
    const WalPosition ordered[] = {{0, 0}, {1, 5}, {1, 6}, {2, 1}, {2, UINT64_MAX}, {9, 0}};
    for (size_t i = 0; i < COUNT_OF(ordered); i++)
        for (size_t k = 0; k < COUNT_OF(ordered); k++) {
            const int sign = wal_position_compare(ordered[i], ordered[k]);
            assert_int_equal((sign > 0) - (sign < 0), (i > k) - (i < k));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_garbage_is_refused),
        cmocka_unit_test(test_thousands_of_timelines),
        cmocka_unit_test(test_ancestry),
        cmocka_unit_test(test_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
