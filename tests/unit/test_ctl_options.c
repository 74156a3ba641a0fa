// The command line: what is taken, and what is refused with which words.
#include "ctl/commands.h"
#include "tests/support/test.h"

#include <string.h>

static Arena *arena;

static int start(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

// words are separated by one blank.
static bool parse(const char *words, Args *out, const char **out_problem)
{
    char *argv[16] = {arena_strdup(arena, "howdahctl")};
    int argc = 1;
    char *rest = arena_strdup(arena, words);
    for (char *word = strtok_r(rest, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    const CommandLine line = command_line("howdahctl");
    return options_parse(&line, arena, argc, argv, out, out_problem);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *words, *error;
    } rows[] = {
        {"", "Missing command."},
        {"bogus", "No such command 'bogus'."},
        {"--bogus list", "No such option: --bogus"},
        {"list --bogus", "No such option: --bogus"},
        {"list -x", "No such option: -x"},
        {"list -ex", "No such option: -x"},
        {"list -f xx", "Invalid value for '--format' / '-f': 'xx' is not one of 'pretty', 'tsv', "
                       "'json', 'yaml', 'yml'."},
        {"list -f", "Option '-f' requires an argument."},
        {"list --format", "Option '--format' requires an argument."},
        {"list --extended=1", "Option '--extended' does not take a value."},
        {"list -w soon", "Invalid value for '--watch' / '-w': 'soon' is not a valid float."},
        {"list -w -1", "Invalid value for '--watch' / '-w': '-1' is not a valid float."},
        {"list -w nan", "Invalid value for '--watch' / '-w': 'nan' is not a valid float."},
        {"demote-cluster --port x", "Invalid value for '--port': 'x' is not a valid integer."},
        {"reload", "Missing argument 'CLUSTER_NAME'."},
        {"reload -r boss x", "Invalid value for '--role' / '-r': 'boss' is not one of 'leader', "
                             "'primary', 'standby-leader', 'replica', 'standby', 'any'."},
        {"dsn a b", "Got unexpected extra argument (b)"},
        {"flush", "Missing argument 'CLUSTER_NAME'."},
        {"flush demo", "Missing argument '{restart|switchover}'."},
        {"flush demo a", "Invalid value for '{restart|switchover}': 'a' is not one of 'restart', "
                         "'switchover'."},
        {"query -f /no/such/file", "Invalid value for '--file' / '-f': '/no/such/file': No such "
                                   "file, or it cannot be read"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Args args;
        const char *problem = NULL;
        if (parse(rows[i].words, &args, &problem))
            fail_msg("'%s' was taken", rows[i].words);
        const char *expected = arena_printf(arena, "\n\nError: %s\n", rows[i].error);
        if (!str_starts(problem, "Usage: howdahctl ") || !str_ends(problem, expected))
            fail_msg("'%s' gives %s instead of %s", rows[i].words, problem, rows[i].error);
    }
}

static Args taken(const char *words)
{
    Args args;
    const char *problem = NULL;
    if (!parse(words, &args, &problem))
        fail_msg("'%s': %s", words, problem);
    return args;
}

static void test_taken(void **state)
{
    (void)state;
    Args args = taken("-c x.yml list -et -fjson demo -w 2.5 other --api http://h:1");
    assert_string_equal(args.command->name, "list");
    assert_true(args_has(&args, OPT_EXTENDED) && args_has(&args, OPT_TIMESTAMP));
    assert_string_equal(args_text(&args, OPT_FORMAT), "json");
    assert_string_equal(args_text(&args, OPT_CONFIG), "x.yml");
    assert_string_equal(args_text(&args, OPT_API), "http://h:1");
    assert_true(args.values[OPT_WATCH].number > 2.4 && args.values[OPT_WATCH].number < 2.6);
    assert_int_equal(args.words.count, 2);
    assert_string_equal(args_word(&args, 1), "other");
    assert_null(args_word(&args, 2));

    args = taken("edit-config -s a=1 --set=b=2 -p c=3 --force");
    assert_int_equal(args.values[OPT_SET].all.count, 2);
    assert_string_equal(args.values[OPT_SET].all.items[1], "b=2");
    assert_string_equal(args.values[OPT_PG].all.items[0], "c=3");

    args = taken("flush demo a b switchover -k");
    assert_string_equal(args.action, "switchover");
    assert_int_equal(args.words.count, 3);
    assert_true(args_has(&args, OPT_INSECURE));

    args = taken("switchover --primary a --candidate b");
    assert_string_equal(args_text(&args, OPT_LEADER), "a");

    args = taken("dsn -- -odd-name");
    assert_string_equal(args_word(&args, 0), "-odd-name");

    // Before the command -c and -d are the settings and the store, behind query they are its own.
    args = taken("-c x.yml -d host query -c select -d base");
    assert_string_equal(args_text(&args, OPT_CONFIG), "x.yml");
    assert_string_equal(args_text(&args, OPT_DCS), "host");
    assert_string_equal(args_text(&args, OPT_COMMAND), "select");
    assert_string_equal(args_text(&args, OPT_DBNAME), "base");

    args = taken("list --dcs h:1");
    assert_string_equal(args_text(&args, OPT_DCS), "h:1");

    args = taken("--help");
    assert_true(args_has(&args, OPT_HELP));
    args = taken("reload --help"); // although an argument is missing
    assert_true(args_has(&args, OPT_HELP));
    args = taken("--version");
    assert_true(args_has(&args, OPT_VERSION));
}

// Each command's help names each of its options.
static void test_help(void **state)
{
    (void)state;
    const CommandLine line = command_line("howdahctl");
    const char *all = options_help(&line, arena, NULL);
    for (size_t i = 0; i < line.command_count; i++) {
        const Command *command = &line.commands[i];
        assert_non_null(strstr(all, arena_printf(arena, "\n  %s ", command->name)));
        const char *help = options_help(&line, arena, command);
        assert_true(
            str_starts(help, arena_printf(arena, "Usage: howdahctl %s [OPTIONS]", command->name)));
        for (const Option *o = command->options; o != NULL && o->kind != OPTION_END; o++)
            for (size_t n = 0; n < COUNT_OF(o->names) && o->names[n] != NULL; n++)
                assert_non_null(strstr(help, o->names[n]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, start, end);
}
