#include "common/base/text.h"

#include "tests/support/test.h"

#include <string.h>

static void test_builder(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Text text = text_new(arena);
    assert_string_equal(text.data, "");
    text_add(&text, NULL);
    text_add(&text, "");
    text_add(&text, "one");
    text_add_char(&text, ' ');
    text_add_bytes(&text, "twofold", 3);
    text_addf(&text, " %d", 3);
    assert_string_equal(text.data, "one two 3");
    assert_int_equal(text.length, 9);

    for (int i = 0; i < 5000; i++)
        text_addf(&text, ",%04d", i);
    assert_int_equal(text.length, 9 + 5 * 5000);
    assert_int_equal(strlen(text.data), text.length);
    assert_memory_equal(text.data, "one two 3,0000,0001", 19);
    assert_string_equal(text.data + text.length - 5, ",4999");
}

static void test_list(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    static const char *const words[] = {"zero", "one", "two", "three", "four", "five"};
    StringList list = {0};
    assert_false(string_list_has_ignoring_case(&list, "one"));
    for (size_t i = 0; i < 100; i++)
        string_list_add(&list, arena, words[i % COUNT_OF(words)]);
    assert_int_equal(list.count, 100);
    for (size_t i = 0; i < 100; i++)
        assert_ptr_equal(list.items[i], words[i % COUNT_OF(words)]);
    assert_true(string_list_has_ignoring_case(&list, "THREE"));
    assert_false(string_list_has_ignoring_case(&list, "thre"));
    const StringList copy = string_list_copy(arena, &list);
    assert_int_equal(copy.count, 100);
    assert_string_equal(copy.items[99], list.items[99]);
    assert_ptr_not_equal(copy.items[99], list.items[99]);
}

// A list over somebody else's array, without room for more, is copied before it grows.
static void test_list_grows_from_a_foreign_array(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const char *items[] = {"a", "b", "c", "untouched"};
    StringList list = {.items = items, .count = 3};
    string_list_add(&list, arena, "d");
    assert_int_equal(list.count, 4);
    assert_string_equal(list.items[0], "a");
    assert_string_equal(list.items[3], "d");
    assert_string_equal(items[3], "untouched");
}

static void test_comparisons(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same, same_ignoring_case;
    } rows[] = {
        {"a", "a", true, true},   {"a", "A", false, true},   {"Zebra", "zEBRA", false, true},
        {"a", "b", false, false}, {"a", "ab", false, false}, {"", "", true, true},
        {"", NULL, false, false}, {NULL, NULL, true, true},  {"[", "{", false, false},
        {"@", "`", false, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(str_eq(rows[i].a, rows[i].b), rows[i].same);
        assert_int_equal(str_eq(rows[i].b, rows[i].a), rows[i].same);
        assert_int_equal(str_ieq(rows[i].a, rows[i].b), rows[i].same_ignoring_case);
        assert_int_equal(str_ieq(rows[i].b, rows[i].a), rows[i].same_ignoring_case);
    }
}

static void test_parts(void **state)
{
    (void)state;
    assert_true(str_empty(NULL) && str_empty("") && !str_empty(" "));
    assert_true(str_starts("timeline", "time") && str_starts("x", ""));
    assert_false(str_starts("tim", "time") || str_starts(NULL, ""));
    assert_true(str_ends("a.conf", ".conf") && str_ends("x", ""));
    assert_false(str_ends("conf", ".conf") || str_ends(NULL, ""));
    assert_string_equal(str_or(NULL, "f"), "f");
    assert_string_equal(str_or("", "f"), "f");
    assert_string_equal(str_or("s", "f"), "s");
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_signed, is_unsigned;
        int64_t value;
    } rows[] = {
        {"0", true, true, 0},
        {"-0", true, false, 0},
        {"42", true, true, 42},
        {"-42", true, false, -42},
        {"007", true, true, 7},
        {"9223372036854775807", true, true, INT64_MAX},
        {"-9223372036854775808", true, false, INT64_MIN},
        {"9223372036854775808", false, true, INT64_MIN}, // as bits
        {"-9223372036854775809", false, false, 0},
        {"18446744073709551615", false, true, -1}, // as bits
        {"18446744073709551616", false, false, 0},
        {"99999999999999999999999", false, false, 0},
        {"", false, false, 0},
        {NULL, false, false, 0},
        {"-", false, false, 0},
        {"--1", false, false, 0},
        {"+1", false, false, 0},
        {" 1", false, false, 0},
        {"1 ", false, false, 0},
        {"1.0", false, false, 0},
        {"0x10", false, false, 0},
        {"1e3", false, false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *shown = rows[i].text == NULL ? "(null)" : rows[i].text;
        int64_t number = 77;
        uint64_t natural = 77;
        if (parse_int64(rows[i].text, &number) != rows[i].is_signed ||
            number != (rows[i].is_signed ? rows[i].value : 77))
            fail_msg("parse_int64(%s)", shown);
        if (parse_uint64(rows[i].text, &natural) != rows[i].is_unsigned ||
            natural != (rows[i].is_unsigned ? (uint64_t)rows[i].value : 77))
            fail_msg("parse_uint64(%s)", shown);
    }
}

static void test_copy_text(void **state)
{
    (void)state;
    char to[5] = "";
    assert_true(copy_text(to, sizeof to, "four"));
    assert_string_equal(to, "four");
    assert_false(copy_text(to, sizeof to, "fives"));
    assert_string_equal(to, "five");
    assert_true(copy_text(to, sizeof to, NULL));
    assert_string_equal(to, "");
    assert_false(copy_text(to, 1, "x"));
    assert_string_equal(to, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builder),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_grows_from_a_foreign_array),
        cmocka_unit_test(test_comparisons),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_copy_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
