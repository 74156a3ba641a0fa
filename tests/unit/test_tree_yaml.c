// YAML as PyYAML's safe loader reads it and safe_dump writes it.
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

static const Tree *yaml(const char *text)
{
    const Tree *tree;
    Error err = {0};
    if (!tree_parse_yaml(arena, text, NULL, &tree, &err))
        fail_msg("%s: %s", text, err.text);
    return tree;
}

// Scalars and structures, shown as JSON. The expectations come from PyYAML 6.
static void test_reading(void **state)
{
    static const struct {
        const char *given, *json;
    } rows[] = {
        // booleans of YAML 1.1, and what only looks like one
        {"[yes, Yes, YES, no, on, On, ON, off, true, FALSE]",
         "[true,true,true,false,true,true,true,false,true,false]"},
        {"[y, n, yEs, oN, tRue, 'on', \"no\"]",
         "[\"y\",\"n\",\"yEs\",\"oN\",\"tRue\",\"on\",\"no\"]"},
        {"[~, null, Null, NULL, '', '~', nUll]", "[null,null,null,null,\"\",\"~\",\"nUll\"]"},
        {"a:", "{\"a\":null}"},
        // integers: octal, hexadecimal, binary, base 60, underscores, signs
        {"[0644, 00, 0o17, 08, 0x1F, 0b101, 1_000, +5, -0x10, -010]",
         "[420,0,\"0o17\",\"08\",31,5,1000,5,-16,-8]"},
        {"[12:30:45, 5433:22, 1:60, 127.0.0.1:80]", "[45045,326002,\"1:60\",\"127.0.0.1:80\"]"},
        {"[9223372036854775807, -9223372036854775808, 18446744073709551615, "
         "123456789012345678901234567890, 0xFFFFFFFFFFFFFFFF]",
         "[9223372036854775807,-9223372036854775808,18446744073709551615,"
         "123456789012345678901234567890,18446744073709551615]"},
        // reals: an exponent needs its point and its sign
        {"[1.5, 1e3, 1.0e3, 1.0e+3, .5, 1., -.5, 1_0.5, 1.10, 1.e+2]",
         "[1.5,\"1e3\",\"1.0e3\",1.0e+3,0.5,1.0,\"-.5\",10.5,1.10,1.0e+2]"},
        {"[.inf, -.INF, +.inf, .NaN, 1:30.5]", "[\".inf\",\"-.inf\",\".inf\",\".nan\",90.5]"},
        {"[2024-01-31, 2024-01-31T10:00:00Z, =]",
         "[\"2024-01-31\",\"2024-01-31T10:00:00Z\",\"=\"]"},
        // keys are texts
        {"{1: a, on: b, ~: c, 0x10: d, 1.5: e, '': f}",
         "{\"1\":\"a\",\"true\":\"b\",\"null\":\"c\",\"16\":\"d\",\"1.5\":\"e\",\"\":\"f\"}"},
        {"a: 1\nb: 2\na: 3", "{\"a\":3,\"b\":2}"},
        // anchors, aliases, merge keys: own keys win, then the earlier map
        {"a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3",
         "{\"a\":{\"p\":1,\"q\":2},\"b\":{\"p\":1,\"q\":3}}"},
        {"- &x {p: 1}\n- &y {p: 2, r: 3}\n- {<<: [*x, *y]}",
         "[{\"p\":1},{\"p\":2,\"r\":3},{\"p\":1,\"r\":3}]"},
        {"- &x on\n- *x\n- '<<': 1", "[true,true,{\"<<\":1}]"},
        {"*x : 1", NULL},
        // tags
        {"[!!str 12, !!str on, !!int '012', !!float 3, !!bool 'yes', !!null '', ! 12]",
         "[\"12\",\"on\",10,3.0,true,null,12]"},
        {"[!!map {}, !!seq []]", "[{},[]]"},
        // block scalars and folding
        {"a: |\n  one\n  two\nb: >-\n  one\n  two\nc: \"x\\ty\\u00e9\"\nd: 'it''s'",
         "{\"a\":\"one\\ntwo\\n\",\"b\":\"one two\",\"c\":\"x\\ty\\u00e9\",\"d\":\"it's\"}"},
        {"", "null"},
        {"---\na: 1\n...\n", "{\"a\":1}"},
        {"# nothing but a comment\n", "null"},
        {"\xEF\xBB\xBF"
         "a: 1",
         "{\"a\":1}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Tree *tree;
        Error err = {0};
        const bool ok = tree_parse_yaml(arena, rows[i].given, NULL, &tree, &err);
        if (ok != (rows[i].json != NULL))
            fail_msg("%s: %s", rows[i].given, ok ? "accepted" : err.text);
        if (ok && strcmp(tree_to_json(arena, tree, JSON_COMPACT), rows[i].json) != 0)
            fail_msg("%s: %s, expected %s", rows[i].given, tree_to_json(arena, tree, JSON_COMPACT),
                     rows[i].json);
    }
    assert_int_equal(yaml(NULL)->kind, TREE_NULL);
}

static void test_errors(void **state)
{
    static const struct {
        const char *given, *message;
    } rows[] = {
        {"a: [1\nb: 2", "f.yml: line 2, column 2: did not find expected ',' or ']'"},
        {"a: 1\n b: 2", "f.yml: line 2, column 3: mapping values are not allowed in this context"},
        {"a: *nobody", "f.yml: line 1, column 4: alias of an unknown anchor: nobody"},
        {"a: &x [*x]", "f.yml: line 1, column 8: alias of an unknown anchor: x"},
        {"[&x 1, &x 2]", "f.yml: line 1, column 8: anchor given twice: x"},
        {"a: 1\n---\nb: 1", "f.yml: line 2, column 1: a second document begins; one is read"},
        {"? [1]\n: 2", "f.yml: line 1, column 3: a list or map cannot be a key"},
        {"<<: 1", "f.yml: line 1, column 5: '<<' takes a map or a list of maps"},
        {"<<: [{}, 1]", "f.yml: line 1, column 5: '<<' takes a map or a list of maps"},
        {"a: !!int x",
         "f.yml: line 1, column 4: value does not fit its tag: tag:yaml.org,2002:int"},
        {"a: !!python/name:os.system x", "f.yml: line 1, column 4: unsupported tag: "
                                         "tag:yaml.org,2002:python/name:os.system"},
        {"a: !mine {}", "f.yml: line 1, column 4: unsupported tag: !mine"},
        {"a: \"x\\0y\"", "f.yml: line 1, column 4: a string holds a NUL character"},
        {"a: 0xFFFFFFFFFFFFFFFFFF", "f.yml: line 1, column 4: number out of range: "
                                    "0xFFFFFFFFFFFFFFFFFF"},
        {"a: \xff", "f.yml: byte 3: invalid leading UTF-8 octet"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Tree *tree;
        Error err = {0};
        if (tree_parse_yaml(arena, rows[i].given, "f.yml", &tree, &err))
            fail_msg("%s was accepted", rows[i].given);
        assert_int_equal(err.kind, ERR_INVALID);
        if (strcmp(err.text, rows[i].message) != 0)
            fail_msg("%s: '%s', expected '%s'", rows[i].given, err.text, rows[i].message);
    }
}

static void test_places(void **state)
{
    (void)state;
    const Tree *tree;
    Error err = {0};
    assert_true(tree_parse_yaml(arena, "a: 1\nb:\n  c: x\n", "some.yml", &tree, &err));
    assert_int_equal(tree_get(tree, "a")->line, 1);
    assert_int_equal(tree_path(tree, "b.c")->line, 3);
    assert_string_equal(tree_path(tree, "b.c")->file, "some.yml");
}

// Aliases make a small text a huge tree, or a deep one: both are refused while they are small.
static void test_alias_bombs(void **state)
{
    (void)state;
    Text bomb = text_new(arena);
    text_add(&bomb, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 10; i++)
        text_addf(&bomb, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
                  i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    const Tree *tree;
    Error err = {0};
    assert_false(tree_parse_yaml(arena, bomb.data, NULL, &tree, &err));
    assert_non_null(strstr(err.text, "too many values"));

    Text deep = text_new(arena);
    text_add(&deep, "a0: &a0 x\n");
    for (int i = 1; i < 150; i++)
        text_addf(&deep, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    assert_false(tree_parse_yaml(arena, deep.data, NULL, &tree, &err));
    assert_non_null(strstr(err.text, "nested too deeply"));

    Text nested = text_new(arena);
    for (int i = 0; i < 500; i++)
        text_add(&nested, "[");
    assert_false(tree_parse_yaml(arena, nested.data, NULL, &tree, &err));

    Text anchors = text_new(arena);
    for (int i = 0; i < 1001; i++)
        text_addf(&anchors, "- &b%d x\n", i);
    assert_false(tree_parse_yaml(arena, anchors.data, NULL, &tree, &err));
    assert_non_null(strstr(err.text, "too many anchors"));

    Text long_text = text_new(arena);
    for (int i = 0; i < 900 * 1000; i++)
        text_add(&long_text, "          ");
    assert_false(tree_parse_yaml(arena, long_text.data, NULL, &tree, &err));
}

// What safe_dump(allow_unicode=True, width=200) makes of it: taken from PyYAML 6.
static void test_printing(void **state)
{
    static const struct {
        const char *given, *block, *flow;
    } rows[] = {
        {"{b: 1, a: [x, {k: v}], e: {}, l: []}", "a:\n- x\n- k: v\nb: 1\ne: {}\nl: []\n",
         "{a: [x, {k: v}], b: 1, e: {}, l: []}"},
        {"{a: {b: {c: ~}}}", "a:\n  b:\n    c: null\n", "{a: {b: {c: null}}}"},
        {"[[1, 2], [on, 1.5]]", "- - 1\n  - 2\n- - true\n  - 1.5\n", "[[1, 2], [true, 1.5]]"},
        // what would read back as something else is quoted
        {"['on', '1', '1.5', '~', '', '2024-01-31', '0x1', '=', '<<', '12:30']",
         "- 'on'\n- '1'\n- '1.5'\n- '~'\n- ''\n- '2024-01-31'\n- '0x1'\n- '='\n- '<<'\n- '12:30'\n",
         "['on', '1', '1.5', '~', '', '2024-01-31', '0x1', '=', '<<', '12:30']"},
        {"['a: b', 'a #b', '- a', 'it''s', ' x', 'x ', '{', '@a', 1e3]",
         "- 'a: b'\n- 'a #b'\n- '- a'\n- it's\n- ' x'\n- 'x '\n- '{'\n- '@a'\n- 1e3\n", NULL},
        {"[\"a\\tb\", \"a\\nb\", \"\\e\", é]", "- \"a\\tb\"\n- 'a\n\n  b'\n- \"\\e\"\n- é\n", NULL},
        {"{'1': a, 'on': b}", "'1': a\n'on': b\n", "{'1': a, 'on': b}"},
        {"[.inf, -.inf, .nan, 18446744073709551615]",
         "- .inf\n- -.inf\n- .nan\n- 18446744073709551615\n", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Tree *tree = yaml(rows[i].given);
        const char *block = tree_to_yaml(arena, tree), *flow = tree_to_yaml_flow(arena, tree);
        if (strcmp(block, rows[i].block) != 0)
            fail_msg("%s: '%s', expected '%s'", rows[i].given, block, rows[i].block);
        if (rows[i].flow != NULL && strcmp(flow, rows[i].flow) != 0)
            fail_msg("%s: '%s', expected '%s'", rows[i].given, flow, rows[i].flow);
    }
    assert_string_equal(tree_to_yaml_flow(arena, NULL), "null");
}

// JSON's reals and broken bytes, as YAML readers must see them.
static void test_printing_json(void **state)
{
    (void)state;
    const Tree *tree;
    Error err = {0};
    assert_true(tree_parse_json(arena, "[1e5, 1E+22, -1.5e-7, 1e400]", &tree, &err));
    assert_string_equal(tree_to_yaml_flow(arena, tree), "[100000.0, 1.0e+22, -1.5e-7, .inf]");
    assert_true(tree_parse_json(arena, "\"a\xff\"", &tree, &err));
    assert_string_equal(tree_to_yaml_flow(arena, tree), "a\xEF\xBF\xBD");
}

static void test_long_lines(void **state)
{
    (void)state;
    Text words = text_new(arena);
    for (int i = 0; i < 60; i++)
        text_add(&words, i == 0 ? "word" : " word");
    Tree *map = tree_map(arena);
    tree_set(arena, map, "k", tree_string(arena, words.data));
    const char *printed = tree_to_yaml(arena, map);
    assert_true(strchr(printed, '\n') - printed >= 200); // folded behind column 200
    assert_true(strchr(printed, '\n') - printed < 210);
    assert_true(tree_equal(yaml(printed), map));
    assert_null(strchr(tree_to_yaml_flow(arena, map), '\n'));
}

// Random documents: refused or reprinted so that they read back the same, in both styles.
static void test_random(void **state)
{
    static const char *const pieces[] = {
        "a",  "b: ", "- ", "\n", "  ", "1",  "0",   "_",      ":",  ".",  "e",     "-",
        "on", "~",   "'",  "\"", "{",  "}",  "[",   "]",      ", ", "# ", "&x ",   "*x",
        "<<", "|\n", ">",  "\\", "é",  "0x", "12:", "!!str ", "? ", "%",  "2024-", "\t",
    };
    (void)state;
    unsigned seed = 7;
    int accepted = 0;
    for (int round = 0; round < 4000; round++) {
        Text text = text_new(arena);
        for (int i = rand_r(&seed) % 12; i >= 0; i--)
            text_add(&text, pieces[(size_t)rand_r(&seed) % COUNT_OF(pieces)]);
        const Tree *tree;
        Error err = {0};
        if (!tree_parse_yaml(arena, text.data, NULL, &tree, &err))
            continue;
        accepted++;
        if (!tree_equal(yaml(tree_to_yaml(arena, tree)), tree) ||
            !tree_equal(yaml(tree_to_yaml_flow(arena, tree)), tree))
            fail_msg("'%s' was printed as '%s'", text.data, tree_to_yaml(arena, tree));
        arena_reset(arena);
    }
    assert_true(accepted > 100); // or the test proves nothing
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_alias_bombs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_printing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_printing_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
