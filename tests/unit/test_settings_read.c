// Files, directories and variables on a real file system.
#include "common/model/io/settings_read.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Arena *arena;
static SettingsNotes notes;
static char directory[64];

static const char *const variables[] = {
    "HOME",          "XDG_CONFIG_HOME",      "HOWDAHCTL_CONFIG_FILE", "PATRONICTL_CONFIG_FILE",
    "PATRONI_SCOPE", "HOWDAH_CONFIGURATION", "PATRONI_CONFIGURATION", "PATRONI_NAME",
};

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    notes = (SettingsNotes){0};
    strcpy(directory, "/tmp/settings-XXXXXX");
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        unsetenv(variables[i]);
    return mkdtemp(directory) == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        unsetenv(variables[i]);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command);
}

static const char *path_of(const char *name)
{
    return arena_printf(arena, "%s/%s", directory, name);
}

static void put(const char *name, const char *content, mode_t mode)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path_of(name), mode), 0);
}

// As JSON, or the error.
static const char *read_back(const char *path, bool for_ctl)
{
    const Tree *tree;
    Error err = {0};
    const SettingsSource source = {.path = path, .for_ctl = for_ctl};
    if (!settings_read_local(arena, &source, &tree, &notes, &err))
        return arena_strdup(arena, err.text);
    return tree_to_json(arena, tree, JSON_COMPACT);
}

static void test_file_and_environment(void **state)
{
    (void)state;
    put("a.yml", "scope: file\npostgresql: {pgpass: ~/pp, data_dir: /d}\n", 0600);
    setenv("HOME", "/home/me", 1);
    setenv("PATRONI_SCOPE", "env", 1);
    assert_string_equal(read_back(path_of("a.yml"), false),
                        "{\"scope\":\"env\",\"postgresql\":{\"pgpass\":\"/home/me/pp\","
                        "\"data_dir\":\"/d\"}}");
    assert_int_equal(notes.warnings.count, 0);
    assert_string_equal(getenv("PATRONI_SCOPE"), "env"); // still there for a reload
}

static void test_exposed_passwords(void **state)
{
    (void)state;
    put("a.yml", "x: [{password: p}]\n", 0644);
    put("b.yml", "x: {password: p}\n", 0640);
    put("c.yml", "x: {user: p}\n", 0644);
    (void)read_back(path_of("b.yml"), false);
    (void)read_back(path_of("c.yml"), false);
    assert_int_equal(notes.warnings.count, 0);
    (void)read_back(path_of("a.yml"), false);
    assert_int_equal(notes.warnings.count, 1);
    assert_non_null(strstr(notes.warnings.items[0], "can be read by everybody"));
}

static void test_directory(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path_of("d"), 0700), 0);
    put("d/10.yml", "scope: one\na: {b: 1, c: 2}\n", 0600);
    put("d/20.yaml", "scope: two\na: {b: null}\n", 0600);
    put("d/30.txt", "scope: three\n", 0600);
    put("d/.hidden.yml", "scope: four\n", 0600);
    assert_int_equal(mkdir(path_of("d/40.yml"), 0700), 0);
    assert_string_equal(read_back(path_of("d"), false), "{\"scope\":\"two\",\"a\":{\"c\":2}}");
    put("d/50.yml", "- a list\n", 0600);
    assert_non_null(strstr(read_back(path_of("d"), false),
                           "/d/50.yml: expected a map of options (key: value) at the top"));
}

static void test_bad_files(void **state)
{
    (void)state;
    put("a.yml", "a: [1\n", 0600);
    assert_non_null(strstr(read_back(path_of("a.yml"), false), "/a.yml: line 2, column 1: "));
    put("empty.yml", "", 0600);
    assert_string_equal(read_back(path_of("empty.yml"), false), "{}");
}

static void test_variable(void **state)
{
    (void)state;
    setenv("PATRONI_SCOPE", "ignored", 1); // beside a whole document, as in Patroni
    setenv("PATRONI_CONFIGURATION", "scope: theirs", 1);
    assert_string_equal(read_back(NULL, false), "{\"scope\":\"theirs\"}");
    setenv("HOWDAH_CONFIGURATION", "scope: ours", 1);
    assert_string_equal(read_back(NULL, false), "{\"scope\":\"ours\"}");
    setenv("HOWDAH_CONFIGURATION", "[1]", 1);
    assert_non_null(strstr(read_back(NULL, false), "expected a map"));
}

static void test_environment_alone(void **state)
{
    (void)state;
    setenv("PATRONI_SCOPE", "env", 1);
    assert_string_equal(read_back(path_of("nothing.yml"), false), "{\"scope\":\"env\"}");
    assert_int_equal(notes.warnings.count, 1); // the file that was named is missing
    unsetenv("PATRONI_SCOPE");
    assert_non_null(strstr(read_back(path_of("nothing.yml"), false), "no settings found"));
}

static void test_ctl_places(void **state)
{
    (void)state;
    setenv("HOME", directory, 1);
    assert_int_equal(mkdir(path_of(".config"), 0700), 0);
    assert_int_equal(mkdir(path_of(".config/patroni"), 0700), 0);
    put(".config/patroni/patronictl.yaml", "scope: theirs\n", 0600);
    assert_string_equal(read_back(NULL, true), "{\"scope\":\"theirs\"}");
    assert_int_equal(mkdir(path_of(".config/howdah"), 0700), 0);
    put(".config/howdah/howdahctl.yml", "scope: ours\n", 0600);
    assert_string_equal(read_back(NULL, true), "{\"scope\":\"ours\"}");
    put("p.yml", "scope: patronictl\n", 0600);
    setenv("PATRONICTL_CONFIG_FILE", path_of("p.yml"), 1);
    assert_string_equal(read_back(NULL, true), "{\"scope\":\"patronictl\"}");
    put("h.yml", "scope: howdahctl\n", 0600);
    setenv("HOWDAHCTL_CONFIG_FILE", path_of("h.yml"), 1);
    assert_string_equal(read_back(NULL, true), "{\"scope\":\"howdahctl\"}");
    put("c.yml", "scope: given\n", 0600);
    assert_string_equal(read_back(path_of("c.yml"), true), "{\"scope\":\"given\"}");
    assert_non_null(strstr(read_back(path_of("no.yml"), true), "missing or cannot be read"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_and_environment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_exposed_passwords, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_variable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_environment_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ctl_places, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
