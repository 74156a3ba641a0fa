// Booleans and numbers with units, as PostgreSQL and Patroni read them.
#include "common/model/units.h"
#include "tests/support/test.h"

#include <math.h>

static void test_bool(void **state)
{
    static const struct {
        const char *text;
        int expected; // -1: refused
    } rows[] = {{"on", 1},    {"TRUE", 1}, {"Yes", 1}, {"1", 1},   {"off", 0},
                {"False", 0}, {"nO", 0},   {"0", 0},   {"2", -1},  {"", -1},
                {"o", -1},    {"t", -1},   {NULL, -1}, {"on ", -1}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool value = false;
        const bool ok = parse_bool_word(rows[i].text, &value);
        if (ok != (rows[i].expected >= 0) || (ok && value != (rows[i].expected == 1)))
            fail_msg("%s: %d %d", rows[i].text ? rows[i].text : "NULL", ok, value);
    }
}

static void test_int(void **state)
{
    static const struct {
        const char *text, *base;
        bool ok;
        int64_t expected;
    } rows[] = {
        {"10", NULL, true, 10},
        {" 10 ", NULL, true, 10},
        {"-3", NULL, true, -3},
        {"9223372036854775807", NULL, true, INT64_MAX},
        {"-9223372036854775808", NULL, true, INT64_MIN},
        {"0x1f", NULL, true, 31},
        {"0644", NULL, true, 420},
        {"-010", NULL, true, -8},
        {"1.5", NULL, true, 2},
        {"2.5", NULL, true, 2}, // half to even
        {"1e3", NULL, true, 1000},
        {".6", NULL, true, 1},
        {"1kB", NULL, false, 0}, // no unit is known here
        {"1kB", "B", true, 1024},
        {"1 kB", "kB", true, 1},
        {"64MB", "kB", true, 65536},
        {"64MB", "8kB", true, 8192},
        {"1GB", "16MB", true, 64},
        {"1TB", "MB", true, 1048576},
        {"1048576B", "MB", true, 1},
        {"1024B", "MB", true, 0},
        {"30min", "s", true, 1800},
        {"1h", "min", true, 60},
        {"1d", "s", true, 86400},
        {"1500ms", "s", true, 2},
        {"0.5s", "ms", true, 500},
        {"1s", "us", true, 1000000},
        {"1mb", "kB", false, 0}, // units have a case
        {"1min", "kB", false, 0},
        {"10x", "s", false, 0},
        {"", NULL, false, 0},
        {"abc", NULL, false, 0},
        {"inf", NULL, false, 0},
        {"nan", NULL, false, 0},
        {"1e400", NULL, false, 0},
        {"99999999999999999999", NULL, false, 0},
        {"-", NULL, false, 0},
        {NULL, NULL, false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t value = -77;
        const bool ok = parse_int_with_unit(rows[i].text, rows[i].base, &value);
        if (ok != rows[i].ok || (ok && value != rows[i].expected))
            fail_msg("%s %s: %d %lld", rows[i].text ? rows[i].text : "NULL",
                     rows[i].base ? rows[i].base : "", ok, (long long)value);
    }
}

static void test_real(void **state)
{
    double value;
    (void)state;
    assert_true(parse_real_with_unit("1.5", NULL, &value) && fabs(value - 1.5) < 1e-9);
    assert_true(parse_real_with_unit("10us", "ms", &value) && fabs(value - 0.01) < 1e-9);
    assert_true(parse_real_with_unit("1.5s", "ms", &value) && fabs(value - 1500) < 1e-9);
    assert_false(parse_real_with_unit("x", "ms", &value));
    assert_false(parse_real_with_unit("1x", "ms", &value));
    assert_false(parse_real_with_unit("0x1p3", NULL, &value));
    assert_false(parse_real_with_unit("inf", NULL, &value));
    assert_false(parse_real_with_unit(NULL, NULL, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bool),
        cmocka_unit_test(test_int),
        cmocka_unit_test(test_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
