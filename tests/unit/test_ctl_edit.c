// edit-config's changes and diff, times as people type them, and --dcs-url.
#include "ctl/config_edit.h"
#include "ctl/connect.h"
#include "ctl/diff.h"
#include "ctl/timestamps.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static Arena *arena;

static int start(void **state)
{
    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1); // Berlin, also without tzdata
    tzset();
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const Tree *json(const char *text)
{
    const Tree *tree;
    Error err = {0};
    if (!tree_parse_json(arena, text, &tree, &err))
        fail_msg("%s: %s", text, err.text);
    return tree;
}

static void test_set(void **state)
{
    (void)state;
    static const struct {
        const char *before, *prefix, *assignment, *after; // after NULL: refused
    } rows[] = {
        {"{}", "", "ttl=30", "{\"ttl\":30}"},
        {"{\"ttl\":30}", "", "ttl=null", "{}"},
        {"{\"ttl\":30}", "", "ttl=", "{}"},
        {"{\"ttl\":30}", "", "ttl=''", "{\"ttl\":\"\"}"},
        {"{}", "", "a=on", "{\"a\":true}"},
        {"{}", "", "a=false", "{\"a\":false}"},
        {"{}", "", "a={}", "{\"a\":{}}"},
        {"{}", "", "a=[1, x]", "{\"a\":[1,\"x\"]}"},
        {"{}", "", "a=b=c", "{\"a\":\"b=c\"}"},
        {"{}", "", "a.b.c=1", "{\"a\":{\"b\":{\"c\":1}}}"},
        {"{\"a\":{\"b\":{\"c\":1}},\"d\":2}", "", "a.b.c=null", "{\"d\":2}"},
        {"{\"a\":{\"b\":{\"c\":1},\"e\":3}}", "", "a.b.c=null", "{\"a\":{\"e\":3}}"},
        {"{\"ttl\":30}", "", "ttl.x=3", "{\"ttl\":{\"x\":3}}"},
        {"{}", "", "no.such.key=null", "{}"},
        {"{}", "postgresql.parameters.", "work_mem=4MB",
         "{\"postgresql\":{\"parameters\":{\"work_mem\":\"4MB\"}}}"},
        {"{}", "postgresql.parameters.", "pg_stat.max=1",
         "{\"postgresql\":{\"parameters\":{\"pg_stat.max\":1}}}"},
        {"{}", "", "postgresql.parameters.a.b.c=1",
         "{\"postgresql\":{\"parameters\":{\"a.b.c\":1}}}"},
        {"{}", "", "ttl", NULL},
        {"{}", "", "=1", NULL},
        {"{}", "", "a..b=1", NULL},
        {"{}", "", "a.=1", NULL},
        {"{}", "", "a=[1", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Tree *after;
        Error err = {0};
        const bool ok = config_set(arena, json(rows[i].before), rows[i].prefix, rows[i].assignment,
                                   &after, &err);
        if (ok != (rows[i].after != NULL))
            fail_msg("%s: %s", rows[i].assignment, ok ? "was taken" : err.text);
        if (!ok)
            assert_true(str_starts(err.text, "Invalid parameter setting "));
        else if (!tree_equal(after, json(rows[i].after)))
            fail_msg("%s gives %s", rows[i].assignment, tree_to_json(arena, after, JSON_COMPACT));
    }
}

static void test_parse(void **state)
{
    (void)state;
    const Tree *out;
    Error err = {0};
    assert_true(config_parse(arena, "ttl: 30\n", "f", &out, &err));
    assert_int_equal(tree_get_int(out, "ttl", 0), 30);
    assert_true(config_parse(arena, "", "f", &out, &err));
    assert_int_equal(out->count, 0);
    assert_false(config_parse(arena, "[1]", "f", &out, &err));
    assert_string_equal(err.text, "f: must be a mapping (key: value)");
    assert_false(config_parse(arena, "a: [", "f", &out, &err));
}

static void test_diff(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after, *diff;
    } rows[] = {
        {"a\n", "a\n", ""},
        {"a\n", "b\n", "--- \n+++ \n@@ -1 +1 @@\n-a\n+b\n"},
        {"a\nb\n", "a\n", "--- \n+++ \n@@ -1,2 +1 @@\n a\n-b\n"},
        {"", "a\n", "--- \n+++ \n@@ -0,0 +1 @@\n+a\n"},
        {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n",
         "--- \n+++ \n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n"},
        // six lines between two changes: one hunk; seven: two
        {"a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n",
         "--- \n+++ \n@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n"},
        {"a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
         "--- \n+++ \n@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n"},
        {"a\nb\nc\nd\n", "b\nx\nd\ne\n", "--- \n+++ \n@@ -1,4 +1,4 @@\n-a\n b\n-c\n+x\n d\n+e\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_string_equal(diff_unified(arena, rows[i].before, rows[i].after, false),
                            rows[i].diff);
    assert_string_equal(diff_unified(arena, "a\n", "b\n", true),
                        "--- \n+++ \n\033[36m@@ -1 +1 @@\033[0m\n\033[31m-a\033[0m\n"
                        "\033[32m+b\033[0m\n");
}

// Too long for the table: the difference is still right, if not the shortest.
static void test_diff_of_long_texts(void **state)
{
    (void)state;
    Text before = text_new(arena), after = text_new(arena);
    for (int i = 0; i < 2500; i++) {
        text_addf(&before, "a%d\n", i);
        text_addf(&after, "b%d\n", i);
    }
    const char *diff = diff_unified(arena, before.data, after.data, false);
    assert_true(str_starts(diff, "--- \n+++ \n@@ -1,2500 +1,2500 @@\n-a0\n"));
    assert_true(str_ends(diff, "\n+b2499\n"));
}

enum { NOW_S = 1764000000 }; // 2025-11-24 17:00:00 in Berlin

static void test_schedule(void **state)
{
    (void)state;
    static const struct {
        const char *text, *iso; // iso NULL: refused
    } rows[] = {
        {"2026-12-12T10:00", "2026-12-12T10:00:00+01:00"},
        {"2026-07-12T10:00", "2026-07-12T10:00:00+02:00"}, // summer time
        {"2026-12-12 10:00:30", "2026-12-12T10:00:30+01:00"},
        {"2026-12-12T10:00:30.5", "2026-12-12T10:00:30.500000+01:00"},
        {"2026-12-12T10:00:30.1234567Z", "2026-12-12T10:00:30.123456+00:00"},
        {"2026-12-12T10:00Z", "2026-12-12T10:00:00+00:00"},
        {"2026-12-12T10:00 UTC", "2026-12-12T10:00:00+00:00"},
        {"2026-12-12T10:00+0530", "2026-12-12T10:00:00+05:30"},
        {"2026-12-12T10:00-03", "2026-12-12T10:00:00-03:00"},
        {"2026-12-12T10:00:00-09:30", "2026-12-12T10:00:00-09:30"},
        {"2026-12-12", "2026-12-12T00:00:00+01:00"},
        {"23:15", "2025-11-24T23:15:00+01:00"},
        {"2028-02-29T00:00", "2028-02-29T00:00:00+01:00"},
        {"2026-02-29T00:00", NULL},
        {"2026-13-01T00:00", NULL},
        {"2026-12-32", NULL},
        {"2026-12-12T24:00", NULL},
        {"2026-12-12T10:60", NULL},
        {"2026-12-12T10:00x", NULL},
        {"2026-12-12T10:00+5", NULL},
        {"2026-12-12T10:00+24:00", NULL},
        {"tomorrow", NULL},
        {"n", NULL},
        {"10", NULL},
        {" ", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Schedule schedule = {0};
        Error err = {0};
        const bool ok =
            schedule_parse(arena, rows[i].text, NOW_S * INT64_C(1000000), &schedule, &err);
        if (ok != (rows[i].iso != NULL) || (ok && !str_eq(schedule.iso, rows[i].iso)))
            fail_msg("%s gives %s", rows[i].text, ok ? schedule.iso : err.text);
    }
}

static void test_schedule_at_once(void **state)
{
    (void)state;
    static const char *const texts[] = {NULL, "", "now", "NOW"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        Schedule schedule = {0};
        Error err = {0};
        assert_true(schedule_parse(arena, texts[i], 5, &schedule, &err));
        assert_true(schedule.now);
    }
    Schedule schedule = {0};
    Error err = {0};
    assert_true(schedule_parse(arena, "2026-12-12T10:00Z", 0, &schedule, &err));
    assert_string_equal(schedule.shown, "2026-12-12 10:00:00+00:00");
    assert_true(schedule.wall_us == INT64_C(1797069600000000));
    assert_true(schedule_parse(arena, "2026-12-12T11:00", 0, &schedule, &err));
    assert_true(schedule.wall_us == INT64_C(1797069600000000));
}

static void test_times(void **state)
{
    (void)state;
    const int64_t us = NOW_S * INT64_C(1000000) + 58163;
    assert_string_equal(time_with_fraction(arena, us), "2025-11-24 17:00:00.05816");
    assert_string_equal(time_in_seconds(arena, us), "2025-11-24 17:00:00");
    assert_string_equal(time_in_minutes(arena, us), "2025-11-24T17:00");
}

static void test_dcs_url(void **state)
{
    (void)state;
    static const struct {
        const char *url, *local; // local NULL: refused
    } rows[] = {
        {"h", "{\"etcd3\":{\"host\":\"h:2379\"}}"},
        {"h:1", "{\"etcd3\":{\"host\":\"h:1\"}}"},
        {":1", "{\"etcd3\":{\"host\":\"localhost:1\"}}"},
        {"etcd3://h:1/ns", "{\"etcd3\":{\"host\":\"h:1\"},\"namespace\":\"ns\"}"},
        {"etcd://h:1/", "{\"etcd3\":{\"host\":\"h:1\"}}"},
        {"etcd3://[::1]/a/b", "{\"etcd3\":{\"host\":\"[::1]:2379\"},\"namespace\":\"a/b\"}"},
        {"etcd3://[::1]:7", "{\"etcd3\":{\"host\":\"[::1]:7\"}}"},
        {"consul://h:1", NULL},
        {"foo://h:1", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Tree *local;
        Error err = {0};
        const bool ok = dcs_url_apply(
            arena, json("{\"consul\":{},\"etcd3\":{\"host\":\"x\",\"username\":\"u\"}}"),
            rows[i].url, &local, &err);
        if (ok != (rows[i].local != NULL) || (ok && !tree_equal(local, json(rows[i].local))))
            fail_msg("%s gives %s", rows[i].url,
                     ok ? tree_to_json(arena, local, JSON_COMPACT) : err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),      cmocka_unit_test(test_parse),
        cmocka_unit_test(test_diff),     cmocka_unit_test(test_diff_of_long_texts),
        cmocka_unit_test(test_schedule), cmocka_unit_test(test_schedule_at_once),
        cmocka_unit_test(test_times),    cmocka_unit_test(test_dcs_url),
    };
    return cmocka_run_group_tests(tests, start, end);
}
