// howdahctl query against a real PostgreSQL, found through a member's GET /cluster.
#include "tests/unit/test_ctl_lab.h"

#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/tcp_server.h"

static char root[64];
static int port;
static pid_t postmaster;
static LabMember *member;

extern char **environ;

static const char *server_programs(void)
{
    glob_t found;
    ASSERT(glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) == 0 && found.gl_pathc > 0);
    const char *path = arena_strdup(lab_arena, found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    return path;
}

// PostgreSQL refuses root.
static pid_t spawn_as_postgres(const char *command)
{
    const char *as =
        geteuid() == 0 ? "setpriv --reuid=postgres --regid=postgres --init-groups " : "";
    char *argv[] = {arena_strdup(lab_arena, "sh"), arena_strdup(lab_arena, "-c"),
                    arena_printf(lab_arena, "exec %s%s", as, command), NULL};
    pid_t pid;
    ASSERT(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) == 0);
    return pid;
}

static bool succeeds(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        ASSERT(errno == EINTR);
    return status == 0;
}

static void start_postgres(void)
{
    snprintf(root, sizeof root, "/tmp/howdah-query-XXXXXX");
    ASSERT(mkdtemp(root) != NULL);
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (user != NULL)
        ASSERT(chown(root, user->pw_uid, user->pw_gid) == 0);
    const char *programs = server_programs();
    const char *make = arena_printf(
        lab_arena, "%s/initdb -D %s/data -U postgres -A trust -N >/dev/null", programs, root);
    ASSERT(succeeds(spawn_as_postgres(make)));
    port = tcp_refused_port();
    postmaster = spawn_as_postgres(arena_printf(
        lab_arena, "%s/postgres -D %s/data -p %d -h 127.0.0.1 -k %s -c fsync=off >%s/log 2>&1",
        programs, root, port, root, root));
    const char *look =
        arena_printf(lab_arena, "%s/pg_isready -q -t 1 -h 127.0.0.1 -p %d", programs, port);
    for (int tries = 0; system(look) != 0; tries++) {
        if (tries > 300)
            fail_msg("PostgreSQL does not start; see %s/log", root);
        usleep(100 * 1000); // between two looks
    }
}

static int start_group(void **state)
{
    (void)state;
    lab_start();
    lab_settings(NULL);
    start_postgres();
    member = lab_member_start();
    setenv("HOWDAHCTL_API", lab_member_url(member), 1);
    setenv("PGUSER", "postgres", 1);
    lab_member_answer(member, "GET /patroni", 200,
                      "{\"patroni\":{\"scope\":\"demo\",\"name\":\"a\"}}");
    // b is said to be a replica, and is the primary itself.
    lab_member_answer(member, "GET /cluster", 200,
                      arena_printf(lab_arena,
                                   "{\"members\":[{\"name\":\"a\",\"role\":\"leader\",\"host\":"
                                   "\"127.0.0.1\",\"port\":%d},{\"name\":\"b\",\"role\":"
                                   "\"replica\",\"host\":\"127.0.0.1\",\"port\":%d}],"
                                   "\"scope\":\"demo\"}",
                                   port, port));
    return 0;
}

static int end_group(void **state)
{
    (void)state;
    kill(postmaster, SIGINT);
    (void)succeeds(postmaster);
    ASSERT(
        succeeds(spawn_as_postgres(arena_printf(lab_arena, "rm -rf %s/data %s/log", root, root))));
    ASSERT(rmdir(root) == 0);
    lab_member_free(member);
    lab_end();
    return 0;
}

static void test_rows(void **state)
{
    (void)state;
    static const struct {
        const char *format, *sql, *out;
    } rows[] = {
        {"tsv", "select 1 as a, null as b union all select 2, 'ü'", "a\tb\n1\tNone\n2\tü\n"},
        {"tsv", "select true as t, 2.50 as n, '{1,2}'::int[] as l", "t\tn\tl\nTrue\t2.50\t{1,2}\n"},
        {"tsv", "select 1 as a; select 2 as b", "b\n2\n"},
        {"tsv", "select 1 as a where false", "a\n"},
        {"pretty", "select 1 as a, null as b",
         "+---+------+\n| a | b    |\n+---+------+\n"
         "| 1 | None |\n+---+------+\n"},
        {"json", "select 1 as a, null as b, 2.50 as c, true as d, '{\"k\":[1]}'::jsonb as e",
         "[{\"a\": 1, \"b\": null, \"c\": 2.50, \"d\": true, \"e\": {\"k\": [1]}}]\n"},
        {"json", "select 'NaN'::float8 as a", "[{\"a\": \"NaN\"}]\n"},
        {"json", "select 1 as a where false", "[]\n"},
        {"yaml", "select 'on' as a, -9223372036854775808 as b",
         "- a: 'on'\n  b: -9223372036854775808\n\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const LabRun run = lab_run("", "query", "--format", rows[i].format, "-c", rows[i].sql);
        EXPECT(run, 0);
        assert_string_equal(run.out, rows[i].out);
    }
}

static void test_sources_and_targets(void **state)
{
    (void)state;
    LabRun run = lab_run("select 5 as five", "query", "-f", "-");
    EXPECT(run, 0);
    assert_string_equal(run.out, "five\n5\n");
    run = lab_run("", "query", "-f", lab_file("a.yml", "select 6 as six"), "--delimiter", "|");
    EXPECT(run, 0);
    assert_string_equal(run.out, "six\n6\n");
    run = lab_run("", "query", "-m", "b", "-c", "select 7 as s");
    EXPECT(run, 0);
    run = lab_run("", "query", "-r", "primary", "-d", "template1", "-c",
                  "select current_database() as d");
    EXPECT(run, 0);
    assert_string_equal(run.out, "d\ntemplate1\n");
    run = lab_run("", "query", "-r", "replica", "-c", "select 1");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "\tNo connection to role 'replica' is available\n");
    run = lab_run("secret\n", "query", "--password", "-c", "select 1 as a");
    EXPECT(run, 0);
    assert_string_equal(run.out, "Password: a\n1\n");
}

static void test_failures(void **state)
{
    (void)state;
    LabRun run = lab_run("", "query", "-c", "select 1/0");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "\tERROR, SQLSTATE: 22012\n");
    EXPECT_IN(run.err, "division by zero");
    run = lab_run("", "query", "--format", "json", "-c", "selec");
    EXPECT(run, 1);
    assert_string_equal(run.out, "[]\n");
    EXPECT_IN(run.err, "ERROR, SQLSTATE: 42601\n");
    run = lab_run("", "query", "-d", "nosuch", "-c", "select 1");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "database \"nosuch\" does not exist");
    run = lab_run("", "query", "-c", "");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "can't execute an empty query");
    run = lab_run_as("patronictl", "", (const char *const[]){"query", "-c", "selec", NULL});
    EXPECT(run, 0);
    run = lab_run("", "query", "-c", "create table t (i int)");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "\tCREATE TABLE\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_sources_and_targets),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, start_group, end_group);
}
