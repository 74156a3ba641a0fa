#include "tests/support/test.h"

#include "common/base/base64.h"

#include <stdio.h>
#include <string.h>

static void test_base64(void **state)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    (void)state;
    static const char *const rows[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"},
    };
    char *out = NULL;
    size_t length = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_string_equal(base64_of(arena, rows[i][0], strlen(rows[i][0])), rows[i][1]);
        assert_true(base64_parse(arena, rows[i][1], &out, &length));
        assert_string_equal(out, rows[i][0]);
        assert_int_equal(length, strlen(rows[i][0]));
    }
    char all[256], encoded[400];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    snprintf(encoded, sizeof encoded, "%s", base64_of(arena, all, sizeof all));
    assert_true(base64_parse(arena, encoded, &out, &length));
    assert_int_equal(length, sizeof all);
    assert_memory_equal(out, all, sizeof all);

    static const char *const bad[] = {"Z",        "Zg",   "Zg=",    "Zg=a",    "=AAA",    "====",
                                      "Zm9v====", "Zm 9", "Zm9v\n", "Z\xff==", "Zg==Zg=="};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (base64_parse(arena, bad[i], &out, &length))
            fail_msg("'%s' was taken for base64", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_base64)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
