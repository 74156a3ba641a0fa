#include "common/base/error.h"

#include "tests/support/test.h"

#include <string.h>

static void test_set_and_wrap(void **state)
{
    (void)state;
    Error err = {0};
    assert_false(error_set(&err, ERR_CONFLICT, "key %s has moved on", "leader"));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_string_equal(err.text, "key leader has moved on");

    assert_false(error_wrap(&err, "POST %s", "/v3/kv/txn"));
    assert_false(error_wrap(&err, "renew leader key"));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_string_equal(err.text, "renew leader key: POST /v3/kv/txn: key leader has moved on");
}

static void test_arguments_may_be_the_old_text(void **state)
{
    (void)state;
    Error err = {0};
    error_set(&err, ERR_INVALID, "inner");
    assert_false(error_set(&err, ERR_UNAVAILABLE, "<%s>", err.text));
    assert_string_equal(err.text, "<inner>");
    assert_false(error_wrap(&err, "again %s", err.text));
    assert_string_equal(err.text, "again <inner>: <inner>");
}

// The outer steps say where it happened, so the inner end is what is cut; "..." shows the cut.
static void test_long_texts_are_cut_at_the_end(void **state)
{
    (void)state;
    char longer[400];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';

    Error err = {0};
    error_set(&err, ERR_UNCERTAIN, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);

    error_wrap(&err, "outer step");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "outer step: xxx", 15);
    assert_string_equal(err.text + sizeof err.text - 4, "...");
    assert_int_equal(err.kind, ERR_UNCERTAIN);

    error_wrap(&err, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_string_equal(err.text + sizeof err.text - 5, "x...");
}

// One byte less, exactly full, one byte more.
static void test_wrap_at_the_edge(void **state)
{
    (void)state;
    for (size_t total = 238; total <= 240; total++) {
        char inner[240] = "";
        memset(inner, 'i', total - 7);
        Error err = {0};
        error_set(&err, ERR_INVALID, "%s", inner);
        error_wrap(&err, "outer");
        assert_int_equal(strlen(err.text), total < 240 ? total : 239);
        assert_int_equal(err.text[strlen(err.text) - 1], total < 240 ? 'i' : '.');
    }
}

static void test_kinds_have_names(void **state)
{
    (void)state;
    assert_string_equal(error_kind_name(ERR_NONE), "none");
    assert_string_equal(error_kind_name(ERR_UNAVAILABLE), "unavailable");
    assert_string_equal(error_kind_name(ERR_UNCERTAIN), "uncertain");
    assert_string_equal(error_kind_name(ERR_CONFLICT), "conflict");
    assert_string_equal(error_kind_name(ERR_INVALID), "invalid");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_wrap),
        cmocka_unit_test(test_arguments_may_be_the_old_text),
        cmocka_unit_test(test_long_texts_are_cut_at_the_end),
        cmocka_unit_test(test_wrap_at_the_edge),
        cmocka_unit_test(test_kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
