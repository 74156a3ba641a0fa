#include "common/base/timestamp.h"

#include "tests/support/test.h"

#include <string.h>

static const struct {
    const char *text;
    int64_t us; // since 1970
    bool has_zone;
    const char *iso;
} good[] = {
    {"1970-01-01T00:00:00Z", 0, true, "1970-01-01T00:00:00+00:00"},
    {"1969-12-31T23:59:59Z", -1000000, true, "1969-12-31T23:59:59+00:00"},
    {"0001-01-01T00:00Z", INT64_C(-62135596800000000), true, "0001-01-01T00:00:00+00:00"},
    {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999), true,
     "9999-12-31T23:59:59.999999+00:00"},
    {"2000-02-29T00:00Z", INT64_C(951782400000000), true, "2000-02-29T00:00:00+00:00"},
    {"2024-02-29T00:00:00.1234567Z", INT64_C(1709164800123456), true,
     "2024-02-29T00:00:00.123456+00:00"},
    {"2026-01-31T12:00:00+00:00", INT64_C(1769860800000000), true, "2026-01-31T12:00:00+00:00"},
    {"2026-01-31 12:00 UTC", INT64_C(1769860800000000), true, "2026-01-31T12:00:00+00:00"},
    {"  2026-01-31t12:00  gmt ", INT64_C(1769860800000000), true, "2026-01-31T12:00:00+00:00"},
    {"2026-01-31T12:00:00,5z", INT64_C(1769860800500000), true, "2026-01-31T12:00:00.500000+00:00"},
    {"2026-01-31T13:30+01:30", INT64_C(1769860800000000), true, "2026-01-31T13:30:00+01:30"},
    {"2026-01-31T07:00:00.5-0500", INT64_C(1769860800500000), true,
     "2026-01-31T07:00:00.500000-05:00"},
    {"2026-01-31 14:00:00.1234567 +02", INT64_C(1769860800123456), true,
     "2026-01-31T14:00:00.123456+02:00"},
    {"2030-01-02T03:04:05.5-00:30", INT64_C(1893555245500000), true,
     "2030-01-02T03:04:05.500000-00:30"},
    {"2026-01-31T12:00:00", INT64_C(1769860800000000), false, "2026-01-31T12:00:00"},
    {"2026-01-31", INT64_C(1769817600000000), false, "2026-01-31T00:00:00"},
    {"2026-01-31 ", INT64_C(1769817600000000), false, "2026-01-31T00:00:00"},
};

static void test_points_in_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        Timestamp t, again;
        if (!timestamp_parse(good[i].text, NULL, &t))
            fail_msg("'%s' was refused", good[i].text);
        const TimestampText iso = timestamp_format(&t, 'T');
        if (timestamp_us(&t) != good[i].us || t.has_zone != good[i].has_zone ||
            strcmp(iso.text, good[i].iso) != 0)
            fail_msg("'%s': %lld %s", good[i].text, (long long)timestamp_us(&t), iso.text);
        // What we print is what we read.
        assert_true(timestamp_parse(iso.text, NULL, &again));
        assert_string_equal(timestamp_format(&again, 'T').text, iso.text);
        assert_true(timestamp_parse(timestamp_format(&t, ' ').text, NULL, &again));
        assert_string_equal(timestamp_format(&again, 'T').text, iso.text);
    }
}

static void test_what_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {NULL,
                                      "",
                                      " ",
                                      "now",
                                      "tomorrow",
                                      "0000-01-01T00:00Z",
                                      "2026-00-01T00:00Z",
                                      "2026-13-01T00:00Z",
                                      "2026-01-00T00:00Z",
                                      "2026-04-31T00:00Z",
                                      "2025-02-29T00:00Z",
                                      "2100-02-29T00:00Z",
                                      "2026-01-31T24:00Z",
                                      "2026-01-31T12:60Z",
                                      "2026-01-31T12:00:60Z",
                                      "2026-01-31T12:00:00+24:00",
                                      "2026-01-31T12:00:00+01:60",
                                      "2026-01-31T12:00:00+2:00",
                                      "2026-01-31T12:00:00+02:0",
                                      "2026-01-31T12:00:00+02:",
                                      "2026-01-31T12:00:00+020",
                                      "2026-01-31T12:00:00+",
                                      "2026-01-31T12:00:00Zx",
                                      "2026-01-31T12:00:00UTC+1",
                                      "2026-01-31T12:00:00.Z",
                                      "2026-01-31T12:00:Z",
                                      "2026-01-31T12Z",
                                      "2026-01-31T",
                                      "2026-01-31 Z",
                                      "2026-01-31Z",
                                      "2026-01-3112:00Z",
                                      "2026-1-31T12:00Z",
                                      "-026-01-31T12:00Z",
                                      "20260131T120000Z",
                                      "12/31/2026",
                                      "12:00Z",
                                      "10"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        Timestamp t = {.year = 7};
        if (timestamp_parse(bad[i], NULL, &t))
            fail_msg("'%s' was taken for %s", bad[i], timestamp_format(&t, 'T').text);
        assert_int_equal(t.year, 7);
    }
}

// howdahctl takes "23:15" for today.
static void test_a_time_alone(void **state)
{
    (void)state;
    const Timestamp today = {.year = 2026, .month = 3, .day = 4, .hour = 9, .has_zone = true};
    Timestamp t;
    assert_true(timestamp_parse("23:15", &today, &t));
    assert_string_equal(timestamp_format(&t, 'T').text, "2026-03-04T23:15:00");
    assert_true(timestamp_parse(" 23:15:01.5 +02:00", &today, &t));
    assert_string_equal(timestamp_format(&t, 'T').text, "2026-03-04T23:15:01.500000+02:00");
    assert_true(timestamp_parse("2026-01-31", &today, &t));
    assert_string_equal(timestamp_format(&t, 'T').text, "2026-01-31T00:00:00");
    assert_false(timestamp_parse("10", &today, &t));
    assert_false(timestamp_parse("24:00", &today, &t));
    assert_false(timestamp_parse("T23:15", &today, &t));
    assert_false(timestamp_parse("", &today, &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_points_in_time),
                                       cmocka_unit_test(test_what_is_none),
                                       cmocka_unit_test(test_a_time_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
