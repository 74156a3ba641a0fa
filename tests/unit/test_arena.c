#include "common/base/arena.h"

#include "tests/support/test.h"

#include <string.h>

static int setup(void **state)
{
    *state = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int teardown(void **state)
{
    arena_free(*state);
    return 0;
}

// Sizes around the block size, twice over, so that the second round gets used memory.
static void test_values_are_zeroed_aligned_and_apart(void **state)
{
    Arena *arena = *state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 4000, 4096, 5000, 300000, 1, 1000000, 3};
    for (int round = 0; round < 2; round++) {
        unsigned char *values[COUNT_OF(sizes)];
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            values[i] = arena_alloc(arena, sizes[i]);
            assert_int_equal((uintptr_t)values[i] % _Alignof(max_align_t), 0);
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(values[i][k], 0);
            memset(values[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < COUNT_OF(sizes); i++)
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(values[i][k], i + 1);
        assert_true(arena_used(arena) >= 1300000);
        arena_reset(arena);
        assert_int_equal(arena_used(arena), 0);
    }
}

static void test_small_values_come_from_the_kept_block_after_reset(void **state)
{
    Arena *arena = *state;
    const void *first = arena_alloc(arena, 100);
    (void)arena_alloc(arena, 100000);
    arena_reset(arena);
    assert_ptr_equal(arena_alloc(arena, 100), first);
}

static void test_text_copies(void **state)
{
    Arena *arena = *state;
    assert_null(arena_strdup(arena, NULL));
    assert_null(arena_strndup(arena, NULL, 3));
    assert_string_equal(arena_strdup(arena, ""), "");
    assert_string_equal(arena_strdup(arena, "elephant"), "elephant");
    assert_string_equal(arena_strndup(arena, "elephant", 3), "ele");
    assert_string_equal(arena_strndup(arena, "ab", 30), "ab");
    assert_string_equal(arena_printf(arena, "%s-%05d", "x", 42), "x-00042");

    char longer[5000];
    memset(longer, 'y', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(strlen(arena_printf(arena, "<%s>", longer)), sizeof longer + 1);
}

static void test_free_takes_nothing(void **state)
{
    (void)state;
    arena_free(NULL);
    Arena *arena = arena_new(1024);
    arena_release(&arena);
    assert_null(arena);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values_are_zeroed_aligned_and_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_values_come_from_the_kept_block_after_reset,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_text_copies, setup, teardown),
        cmocka_unit_test(test_free_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
