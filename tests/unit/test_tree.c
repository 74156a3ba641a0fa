// Trees: JSON both ways, patching, comparing.
#include "common/model/tree.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

static Arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
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

// What goes in as JSON and how it comes out, compact.
static void test_json_round_trip(void **state)
{
    static const struct {
        const char *given, *compact;
    } rows[] = {
        {"null", "null"},
        {" [ true , false ] ", "[true,false]"},
        {"{}", "{}"},
        {"[]", "[]"},
        {"0", "0"},
        {"-0", "0"},
        {"9007199254740993", "9007199254740993"}, // 2^53 + 1, where a double loses its last digit
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"18446744073709551615", "18446744073709551615"},
        {"[1,-2,{\"a\":3.50,\"b\":[4e5,-1.0E-2]},\"-7\",8]",
         "[1,-2,{\"a\":3.50,\"b\":[4e5,-1.0E-2]},\"-7\",8]"},
        {"{\"1\":2,\"x\\\"3\":4,\"\\\\\":5}", "{\"1\":2,\"x\\\"3\":4,\"\\\\\":5}"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}"},
        {"\"\\u00e9\\ud83d\\ude00\\u007f\\/\\b\\f\\n\\r\\t\\u0001\"",
         "\"\\u00e9\\ud83d\\ude00\\u007f/\\b\\f\\n\\r\\t\\u0001\""},
        {"\"\xc3\xa9\xf0\x9f\x98\x80\"", "\"\\u00e9\\ud83d\\ude00\""},
        {"\"\xff\xc3\"", "\"\\ufffd\\ufffd\""}, // bytes that are not UTF-8
        {"{\"\xff\":1,\"\xc3\":2}", "{\"\\ufffd\":2}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *found = tree_to_json(arena, json(rows[i].given), JSON_COMPACT);
        if (strcmp(found, rows[i].compact) != 0)
            fail_msg("%s: %s, expected %s", rows[i].given, found, rows[i].compact);
    }
    assert_string_equal(tree_to_json(arena, json("{\"a\":[1,2],\"b\":{}}"), JSON_SPACED),
                        "{\"a\": [1, 2], \"b\": {}}");
}

static void test_json_numbers_keep_their_kind(void **state)
{
    (void)state;
    const Tree *list = json("[1, 9223372036854775807, 9223372036854775808, 1.10, 1e3]");
    static const TreeKind kinds[] = {TREE_INT, TREE_INT, TREE_REAL, TREE_REAL, TREE_REAL};
    assert_int_equal(list->count, COUNT_OF(kinds));
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        assert_int_equal(list->entries[i].value->kind, kinds[i]);
    assert_true(list->entries[1].value->integer == INT64_MAX);
    assert_string_equal(tree_string_of(list->entries[2].value), "9223372036854775808");
    assert_string_equal(tree_string_of(list->entries[3].value), "1.10");
}

static void test_json_errors(void **state)
{
    static const struct {
        const char *given, *message; // how it begins
    } rows[] = {
        {"", "JSON is malformed at line 1, column 1"},
        {"{", "JSON is malformed at line 1"},
        {"{\"a\":1,\n \"b\":}", "JSON is malformed at line 2, column 6"},
        {"[1] x", "JSON is malformed at line 1, column 5"},
        {"01", "JSON number '01' is malformed"},
        {"[1.]", "JSON number '1.]' is malformed"},
        {"\"a\\u0000b\"", "JSON string holds a NUL character"},
        {"'a'", "JSON is malformed at line 1, column 1"},
        {"NaN", "JSON is malformed"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Tree *tree;
        Error err = {0};
        if (tree_parse_json(arena, rows[i].given, &tree, &err))
            fail_msg("%s was accepted", rows[i].given);
        assert_int_equal(err.kind, ERR_INVALID);
        if (strncmp(err.text, rows[i].message, strlen(rows[i].message)) != 0)
            fail_msg("%s: %s, expected %s", rows[i].given, err.text, rows[i].message);
    }
}

static char *repeated(const char *head, const char *piece, int times)
{
    Text text = text_new(arena);
    text_add(&text, head);
    for (int i = 0; i < times; i++)
        text_add(&text, piece);
    return text.data;
}

// What a hostile writer could send: refused before it costs anything.
static void test_json_limits(void **state)
{
    (void)state;
    const Tree *tree;
    Error err = {0};
    assert_false(tree_parse_json(arena, repeated("", "[", 101), &tree, &err));
    assert_string_equal(err.text, "JSON is nested deeper than 100");
    assert_false(tree_parse_json(arena, repeated("[0", ",0", 100000), &tree, &err));
    assert_string_equal(err.text, "JSON has more than 100000 values");
    assert_false(tree_parse_json(arena, repeated("", "          ", 900 * 1000), &tree, &err));
    assert_non_null(strstr(err.text, "larger than the limit"));
    assert_false(tree_parse_json(arena, NULL, &tree, &err));
}

static void test_patch(void **state)
{
    static const struct {
        const char *target, *patch, *result;
        bool changed;
    } rows[] = {
        {"{\"a\":1}", "{}", "{\"a\":1}", false},
        {"{\"a\":1}", "{\"a\":2}", "{\"a\":2}", true},
        {"{\"a\":1}", "{\"a\":\"1\"}", "{\"a\":1}", false}, // the same when printed
        {"{\"a\":true}", "{\"a\":\"True\"}", "{\"a\":true}", false},
        {"{\"a\":true}", "{\"a\":\"true\"}", "{\"a\":\"true\"}", true},
        {"{\"a\":1}", "{\"a\":null}", "{}", true},
        {"{\"a\":1}", "{\"b\":null}", "{\"a\":1}", false},
        {"{\"a\":null}", "{\"a\":null}", "{}", false},
        {"{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":null}}", "{\"a\":{\"c\":2}}", true},
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"b\":null}}", "{\"a\":{}}", true}, // an emptied map stays
        {"{}", "{\"a\":{\"b\":null}}", "{\"a\":{\"b\":null}}", true},      // new: null is stored
        {"{\"a\":[1,2]}", "{\"a\":[1,2]}", "{\"a\":[1,2]}", false},
        {"{\"a\":[1,2]}", "{\"a\":[1,\"2\"]}", "{\"a\":[1,\"2\"]}", true},
        {"{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}", true},
        {"{\"a\":1}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", true},
        {"{\"a\":{\"b\":1}}", "{\"a\":7}", "{\"a\":7}", true},
        {"[1]", "{\"a\":7}", "{\"a\":7}", true}, // what is no map counts as an empty one
        {"{\"a\":7}", "[1]", "{\"a\":7}", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool changed = !rows[i].changed;
        const Tree *target = json(rows[i].target);
        const Tree *result = tree_patch(arena, target, json(rows[i].patch), &changed);
        const char *found = tree_to_json(arena, result, JSON_COMPACT);
        if (strcmp(found, rows[i].result) != 0 || changed != rows[i].changed)
            fail_msg("%s + %s: %s changed=%d", rows[i].target, rows[i].patch, found, changed);
        // The target is shared by others and stays as it was.
        assert_true(tree_equal(target, json(rows[i].target)));
    }
}

static void test_equal(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } rows[] = {
        {"1", "\"1\"", true},
        {"true", "\"True\"", true},
        {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":\"1\"}", true},
        {"{\"a\":1}", "{\"b\":1}", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":1}", false},
        {"[1,2]", "[2,1]", false},
        {"[]", "{}", false},
        {"null", "\"None\"", true},
        {"{\"a\":[{\"b\":1}]}", "{\"a\":[{\"b\":1}]}", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (tree_equal(json(rows[i].a), json(rows[i].b)) != rows[i].equal)
            fail_msg("%s, %s", rows[i].a, rows[i].b);
    assert_true(tree_equal(NULL, NULL));
    assert_false(tree_equal(NULL, json("null")));
}

static void test_reading(void **state)
{
    (void)state;
    const Tree *map = json("{\"a\":{\"b\":{\"c\":5}},\"on\":\"ON\",\"off\":\"no\",\"one\":1,"
                           "\"two\":2,\"text\":\"12\",\"real\":10.9,\"huge\":1e300,\"nil\":null}");
    assert_int_equal(tree_path(map, "a.b.c")->integer, 5);
    assert_null(tree_path(map, "a.b.x"));
    assert_null(tree_path(map, "a.b.c.d"));
    assert_null(tree_path(NULL, "a"));
    assert_null(tree_get(NULL, "a"));
    assert_true(tree_get_bool(map, "on", false));
    assert_false(tree_get_bool(map, "off", true));
    assert_true(tree_get_bool(map, "one", false));
    assert_true(tree_get_bool(map, "two", true)); // neither: the fallback
    assert_true(tree_get_bool(NULL, "two", true));
    assert_int_equal(tree_get_int(map, "text", 0), 12);
    assert_int_equal(tree_get_int(map, "real", 0), 10);
    assert_int_equal(tree_get_int(map, "huge", 7), 7);
    assert_int_equal(tree_get_int(map, "nil", 7), 7);
    assert_string_equal(tree_get_string(map, "text", ""), "12");
    assert_string_equal(tree_get_string(map, "one", "x"), "x");
    assert_string_equal(tree_scalar_text(arena, tree_get(map, "nil")), "None");
    assert_string_equal(tree_scalar_text(arena, tree_get(map, "one")), "1");
    assert_null(tree_scalar_text(arena, map));
}

static void test_building(void **state)
{
    (void)state;
    Tree *map = tree_map(arena);
    for (int i = 0; i < 20; i++)
        tree_set(arena, map, arena_printf(arena, "k%d", i), tree_int(arena, i));
    tree_set(arena, map, "k3", tree_string(arena, "three"));
    tree_remove(map, "k0");
    tree_remove(map, "k19");
    tree_remove(map, "nobody");
    assert_int_equal(map->count, 18);
    assert_string_equal(tree_get_string(map, "k3", ""), "three");
    assert_null(tree_get(map, "k19"));
    Tree *copy = tree_copy(arena, map);
    assert_true(tree_equal(copy, map));
    tree_set(arena, copy, "k5", tree_null(arena));
    assert_false(tree_equal(copy, map));
    assert_int_equal(tree_string(arena, NULL)->kind, TREE_NULL);
    assert_string_equal(tree_to_json(arena, NULL, JSON_COMPACT), "null");
}

// Random bytes made of what matters to the parser: it must refuse or round-trip, never crash.
static void test_json_random(void **state)
{
    static const char alphabet[] = "{}[]\",:\\u0019.-+eEtrufalsn \n\xc3\xa9";
    (void)state;
    unsigned seed = 20240607;
    int accepted = 0;
    for (int round = 0; round < 20000; round++) {
        char text[24];
        const size_t length = (size_t)(rand_r(&seed) % (int)(sizeof text - 1));
        for (size_t i = 0; i < length; i++)
            text[i] = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
        text[length] = '\0';
        const Tree *tree, *again;
        Error err = {0};
        if (!tree_parse_json(arena, text, &tree, &err))
            continue;
        accepted++;
        const char *printed = tree_to_json(arena, tree, JSON_COMPACT);
        assert_true(tree_parse_json(arena, printed, &again, &err));
        assert_string_equal(tree_to_json(arena, again, JSON_COMPACT), printed);
        if (round % 100 == 0)
            arena_reset(arena);
    }
    assert_true(accepted > 10); // or the test proves nothing
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_json_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json_numbers_keep_their_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_patch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_equal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_building, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json_random, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
