// Rows in all formats: what patronictl shows, given the same cells.
#include "ctl/table.h"
#include "tests/support/test.h"

#include <locale.h>

static Arena *arena;

static int start(void **state)
{
    (void)state;
    setlocale(LC_CTYPE, "C.UTF-8");
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const Column columns[] = {{"Name"}, {"Receive Lag", "Lag", true}};

// Texts two a row; one that is a number becomes one, NULL is an empty cell.
static Table table_of(const char *const *texts, size_t rows)
{
    const size_t count = 2 * rows;
    const Tree **cells = ARENA_ARRAY(arena, const Tree *, count);
    for (size_t i = 0; i < count; i++) {
        int64_t number;
        cells[i] = texts[i] == NULL                 ? NULL
                   : parse_int64(texts[i], &number) ? tree_int(arena, number)
                                                    : tree_string(arena, texts[i]);
    }
    return (Table){.columns = columns, .column_count = 2, .cells = cells, .row_count = rows};
}

static void test_pretty(void **state)
{
    (void)state;
    const struct {
        const char *given, *title;
        const char *const *texts;
        size_t rows;
        const char *shown;
    } rows[] = {
        {"borders and alignment", NULL, (const char *const[]){"a", "7", "longer", NULL}, 2,
         "+--------+-----+\n"
         "| Name   | Lag |\n"
         "+--------+-----+\n"
         "| a      |   7 |\n"
         "| longer |     |\n"
         "+--------+-----+\n"},
        {"no rows", NULL, NULL, 0,
         "+------+-----+\n"
         "| Name | Lag |\n"
         "+------+-----+\n"
         "+------+-----+\n"},
        {"a title over the border", " x (1) ", (const char *const[]){"a", "7"}, 1,
         "+ x (1) -----+\n"
         "| Name | Lag |\n"
         "+------+-----+\n"
         "| a    |   7 |\n"
         "+------+-----+\n"},
        {"a title that hides a corner of the border", " twelve (1) ", NULL, 0,
         "+ twelve (1) +\n"
         "| Name | Lag |\n"
         "+------+-----+\n"
         "+------+-----+\n"},
        {"a title that does not fit", " Cluster: longer than that ", NULL, 0,
         "+ Cluster: lo+\n"
         "| Name | Lag |\n"
         "+------+-----+\n"
         "+------+-----+\n"},
        {"a title beyond ASCII is cut between characters", " Clüster: ß語語語語 ", NULL, 0,
         "+ Clüster: ß-+\n"
         "| Name | Lag |\n"
         "+------+-----+\n"
         "+------+-----+\n"},
        {"several lines in a cell put rules between all rows", NULL,
         (const char *const[]){"a", "1", "b\nbb", "2\n3\n4", "c", NULL}, 3,
         "+------+-----+\n"
         "| Name | Lag |\n"
         "+------+-----+\n"
         "| a    |   1 |\n"
         "+------+-----+\n"
         "| b    |   2 |\n"
         "| bb   |   3 |\n"
         "|      |   4 |\n"
         "+------+-----+\n"
         "| c    |     |\n"
         "+------+-----+\n"},
        {"wide and narrow characters", NULL, (const char *const[]){"語", "1", "münchen", "2"}, 2,
         "+---------+-----+\n"
         "| Name    | Lag |\n"
         "+---------+-----+\n"
         "| 語      |   1 |\n"
         "| münchen |   2 |\n"
         "+---------+-----+\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Table table = table_of(rows[i].texts, rows[i].rows);
        table.title = rows[i].title;
        const char *shown = table_format(arena, &table, FORMAT_PRETTY);
        if (!str_eq(shown, rows[i].shown))
            fail_msg("%s:\n%s\ninstead of\n%s", rows[i].given, shown, rows[i].shown);
    }
}

static void test_tsv(void **state)
{
    (void)state;
    const char *const texts[] = {"a\nb", "7", "c", NULL};
    Table table = table_of(texts, 2);
    assert_string_equal(table_format(arena, &table, FORMAT_TSV),
                        "Name\tReceive Lag\na\nb\t7\nc\t\n");
    table.delimiter = "|";
    assert_string_equal(table_format(arena, &table, FORMAT_TSV), "Name|Receive Lag\na\nb|7\nc|\n");
    table.row_count = 0;
    assert_string_equal(table_format(arena, &table, FORMAT_TSV), "Name|Receive Lag\n");
}

static void test_json(void **state)
{
    (void)state;
    const char *const texts[] = {"\"q\" ü\n", "7", "c", NULL};
    Table table = table_of(texts, 2);
    assert_string_equal(table_format(arena, &table, FORMAT_JSON),
                        "[{\"Name\": \"\\\"q\\\" \\u00fc\\n\", \"Receive Lag\": 7}, "
                        "{\"Name\": \"c\", \"Receive Lag\": \"\"}]\n");
    table.omit_empty = true;
    table.cells[0] = tree_int(arena, 0); // is not empty
    assert_string_equal(table_format(arena, &table, FORMAT_JSON),
                        "[{\"Name\": 0, \"Receive Lag\": 7}, {\"Name\": \"c\"}]\n");
    table.row_count = 0;
    assert_string_equal(table_format(arena, &table, FORMAT_JSON), "[]\n");
}

// Keys sorted, quotes where YAML 1.1 would read something else, a blank line at the end.
static void test_yaml(void **state)
{
    (void)state;
    static const struct {
        const char *value, *shown;
    } rows[] = {
        {"plain", "plain"},
        {"*", "'*'"},
        {"on", "'on'"},
        {"a: b", "'a: b'"},
        {"0/3000060", "0/3000060"},
        {"1.10", "'1.10'"},
        {"it's", "it's"},
        {"ü", "ü"},
        {"~", "'~'"},
        {"2026-01-01", "'2026-01-01'"},
        {"a #b", "'a #b'"},
        {"a\nb", "'a\n\n    b'"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *const texts[] = {rows[i].value, "7"};
        const Table table = table_of(texts, 1);
        const char *expected =
            arena_printf(arena, "- Name: %s\n  Receive Lag: 7\n\n", rows[i].shown);
        assert_string_equal(table_format(arena, &table, FORMAT_YAML), expected);
    }
    const Table empty = table_of(NULL, 0);
    assert_string_equal(table_format(arena, &empty, FORMAT_YAML), "[]\n\n");
}

static void test_width(void **state)
{
    (void)state;
    assert_int_equal(display_width("abc", 3), 3);
    assert_int_equal(display_width("abc", 2), 2);
    assert_int_equal(display_width("ü", 2), 1);
    assert_int_equal(display_width("語", 3), 2);
    assert_int_equal(display_width("a\xFF"
                                   "b",
                                   3),
                     3);                               // not UTF-8: a column each
    assert_int_equal(display_width("\xE8\xAA", 2), 2); // cut in the middle
}

static void test_formats(void **state)
{
    (void)state;
    assert_int_equal(format_parse(NULL), FORMAT_PRETTY);
    assert_int_equal(format_parse("yml"), FORMAT_YAML);
    assert_int_equal(format_parse("yaml"), FORMAT_YAML);
    assert_int_equal(format_parse("tsv"), FORMAT_TSV);
    assert_int_equal(format_parse("json"), FORMAT_JSON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pretty), cmocka_unit_test(test_tsv),   cmocka_unit_test(test_json),
        cmocka_unit_test(test_yaml),   cmocka_unit_test(test_width), cmocka_unit_test(test_formats),
    };
    return cmocka_run_group_tests(tests, start, end);
}
