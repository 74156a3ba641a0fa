// One real server, and then two: the tasks of an ordinary life, under the real warden.
#include "tests/support/pg_lab.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

// initdb, first start, roles; then what the view shows of a primary; then a fast stop.
static void test_life_of_a_primary(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(1);
    PgNode *n = &lab->nodes[0];

    ServerView v = pg_node_run(n, &(ServerTask){.kind = TASK_INSPECT});
    assert_true(v.task.ok);
    assert_int_equal(v.dir, DIR_MISSING);
    assert_int_equal(v.role, ROLE_UNINITIALIZED);
    assert_int_equal(v.state, STATE_STOPPED);

    v = pg_node_run(n, &(ServerTask){.kind = TASK_BOOTSTRAP});
    assert_string_equal(v.task.error, "");
    assert_true(v.task.ok);
    assert_int_equal(v.dir, DIR_VALID);
    assert_true(v.control.known);
    assert_int_equal(v.control.state, CONTROL_SHUT_DOWN);
    assert_int_equal(v.control.major, 15);
    assert_false(v.running);

    pg_node_must(n, &(ServerTask){.kind = TASK_START_PRIMARY});
    v = pg_node_wait(n, "primary", pg_is_primary);
    assert_int_equal(v.role, ROLE_PRIMARY);
    assert_int_equal(v.state, STATE_RUNNING);
    assert_int_equal(v.timeline, 1);
    assert_int_equal(v.history.timeline, 1);
    assert_true(v.flush_lsn > 0);
    assert_true(v.slots_known);
    assert_false(v.checkpoint_pending);
    assert_true(v.server_version / 10000 == 15);

    pg_node_must(n, &(ServerTask){.kind = TASK_POST_BOOTSTRAP});
    assert_string_equal(pg_node_value(n, "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM "
                                         "pg_roles WHERE rolname IN ('replicator', 'rewind_user') "
                                         "AND rolcanlogin AND rolreplication = (rolname = "
                                         "'replicator')"),
                        "replicator,rewind_user");
    assert_string_equal(pg_node_value(n, "SELECT has_function_privilege('rewind_user', "
                                         "'pg_read_binary_file(text)', 'execute')"),
                        "t");
    assert_string_equal(pg_node_value(n, "SHOW wal_level"), "replica");

    const char *sysid = arena_strdup(lab->arena, v.control.system_identifier);
    assert_string_equal(pg_node_value(n, "SELECT system_identifier FROM pg_control_system()"),
                        sysid);

    v = pg_node_run(n, &(ServerTask){.kind = TASK_STOP, .checkpoint_first = true});
    assert_string_equal(v.task.error, "");
    assert_false(v.running);
    assert_int_equal(v.control.state, CONTROL_SHUT_DOWN);
    assert_int_equal(v.role, ROLE_DEMOTED);
    assert_int_equal(v.state, STATE_STOPPED);
    assert_false(v.exited_by_itself);
    pg_lab_free(lab);
}

// Nothing that POST_BOOTSTRAP sent may stand in the server's log, whatever it logs.
static void test_passwords_stay_out_of_the_log(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(1);
    PgNode *n = &lab->nodes[0];
    Tree *parameters = tree_copy(lab->arena, n->settings.postgresql.parameters);
    tree_set(lab->arena, parameters, "log_statement", tree_string(lab->arena, "all"));
    tree_set(lab->arena, parameters, "log_min_duration_statement", tree_int(lab->arena, 0));
    n->settings.postgresql.parameters = parameters;
    n->settings.bootstrap.post_bootstrap = arena_printf(
        lab->arena,
        "sh -c 'psql \"$0\" -c \"create table public.made_by_script ()\" && env > %s/env'", n->dir);
    n->server->ops->configure(n->server, &n->settings);
    pg_node_become_primary(n);
    assert_string_equal(pg_node_value(n, "SELECT count(*) FROM public.made_by_script"), "0");
    const char *log = pg_node_read(n, "../log");
    assert_non_null(log);
    assert_non_null(strstr(log, "statement: SET log_statement"));
    assert_null(strstr(log, "secret"));
    assert_null(strstr(log, "rep:pass"));
    assert_null(strstr(log, "SCRAM-SHA-256$"));
    assert_null(strstr(log, "ROLE \"replicator\""));
    assert_non_null(strstr(pg_node_read(n, "../env"), "PGPASSFILE="));
    pg_lab_free(lab);
}

// kill -9 of the postmaster: seen as a crash of a primary; then it starts again in place, on the
// same timeline, although its pid file and its shared memory are still there.
static void test_crash_and_restart_in_place(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(1);
    PgNode *n = &lab->nodes[0];
    pg_node_become_primary(n);
    pg_node_exec(n, "CREATE TABLE t AS SELECT 1 AS a");
    assert_int_equal(kill(pg_node_postmaster(n), SIGKILL), 0);

    ServerView v = pg_node_wait(n, "down", pg_is_down);
    assert_true(v.exited_by_itself);
    assert_int_equal(v.state, STATE_CRASHED);
    assert_int_equal(v.role, ROLE_PRIMARY);
    // How it ended is not known before somebody has looked; who it is, is.
    assert_true(v.control.known);
    assert_int_equal(v.control.state, CONTROL_UNKNOWN);
    assert_int_equal(server_position(&v).lsn, LSN_NONE);
    v = pg_node_run(n, &(ServerTask){.kind = TASK_INSPECT});
    assert_int_equal(v.control.state, CONTROL_IN_PRODUCTION);
    assert_int_equal(v.state, STATE_CRASHED);

    pg_node_must(n, &(ServerTask){.kind = TASK_START_PRIMARY});
    v = pg_node_wait(n, "primary", pg_is_primary);
    assert_int_equal(v.timeline, 1);
    assert_string_equal(pg_node_value(n, "SELECT a FROM t"), "1");
    pg_lab_free(lab);
}

// Clone, stream, stop the primary, promote the standby, and let the old primary follow.
static void test_clone_stream_switch_over(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    pg_node_exec(a, "CREATE TABLE t AS SELECT 42 AS a");
    pg_node_become_standby(b, a);
    pg_node_exec(a, "INSERT INTO t VALUES (43)");
    ServerView v = pg_node_look(b);
    assert_int_equal(v.role, ROLE_REPLICA);
    assert_int_equal(v.timeline, 1);
    assert_string_equal(v.upstream, "pg-0");
    assert_true(v.standby_signal);
    assert_int_equal(v.receiver_port, a->port);
    v = pg_node_look(a);
    assert_int_equal(v.sender_count, 1);
    assert_string_equal(v.senders[0].application_name, "pg-1");
    assert_string_equal(v.senders[0].state, "streaming");
    assert_int_equal(v.slot_count, 1);
    assert_true(v.slots[0].active && v.slots[0].physical);

    const Instant before = clock_now(lab->clock);
    v = pg_node_run(a, &(ServerTask){.kind = TASK_STOP, .checkpoint_first = true});
    assert_string_equal(v.task.error, "");
    const Instant stopped = clock_now(lab->clock);
    pg_node_must(b, &(ServerTask){.kind = TASK_PROMOTE, .reserve_through = 1});
    v = pg_node_wait(b, "promoted", pg_is_primary);
    printf("stop %lld ms, promotion %lld ms\n", (long long)instant_ms_between(before, stopped),
           (long long)instant_ms_between(stopped, clock_now(lab->clock)));
    assert_int_equal(v.timeline, 2);
    assert_int_equal(v.role, ROLE_PRIMARY);
    // The checkpoint that lets others be rewound comes by itself, at once.
    (void)pg_node_wait(b, "checkpoint", pg_is_checkpointed);

    const Upstream to_b = pg_upstream(a, b);
    const SlotStep slot = {.action = SLOT_CREATE, .name = to_b.slot};
    Error err = {0};
    assert_true(
        b->server->ops->sync_slots(b->server, &slot, 1, deadline_in(lab->clock, 2000), &err));
    v = pg_node_run(a, &(ServerTask){.kind = TASK_CHECK_DIVERGENCE, .upstream = to_b});
    assert_string_equal(v.task.error, "");
    assert_int_equal(v.task.divergence, DIVERGENCE_NONE);
    pg_node_must(a, &(ServerTask){.kind = TASK_START_STANDBY, .upstream = to_b});
    v = pg_node_wait(a, "streaming", pg_is_streaming);
    pg_node_exec(b, "INSERT INTO t VALUES (44)");
    pg_lab_free(lab);
}

// The user's hooks: one that fails keeps the promotion from being asked for; what it does at a stop
// does not count. Nothing of ours reaches the children's environment.
static void test_hooks_and_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("PATRONI_SECRET", "1", 1), 0);
    assert_int_equal(setenv("KUBERNETES_SERVICE_HOST", "1", 1), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", "/run/x", 1), 0);
    assert_int_equal(setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 1), 0);
    assert_int_equal(setenv("PG_MALLOC_ARENA_MAX", "3", 1), 0);
    assert_int_equal(setenv("SOMETHING_ELSE", "kept", 1), 0);
    PgLab *lab = pg_lab_new(1);
    PgNode *n = &lab->nodes[0];
    Tree *section = tree_map(lab->arena);
    tree_set(lab->arena, section, "pre_promote", tree_string(lab->arena, "false"));
    const char *script = arena_printf(
        lab->arena,
        "sh -c 'env > %s/env; tr \"\\0\" \"\\n\" < /proc/$(head -n 1 %s/postmaster.pid)/environ "
        "> %s/postmaster; exit 1'",
        n->dir, n->data, n->dir);
    tree_set(lab->arena, section, "before_stop", tree_string(lab->arena, script));
    n->settings.postgresql.section = section;
    n->server->ops->configure(n->server, &n->settings);
    pg_node_become_primary(n);
    pg_node_must(n, &(ServerTask){.kind = TASK_STOP});
    const char *env = pg_node_read(n, "../env");
    const char *postmaster = pg_node_read(n, "../postmaster");
    assert_non_null(env);
    assert_non_null(postmaster);
    assert_non_null(strstr(postmaster, "SOMETHING_ELSE=kept\n"));
    assert_non_null(strstr(postmaster, "\nMALLOC_ARENA_MAX=3\n"));
    assert_null(strstr(postmaster, "PATRONI_"));
    assert_null(strstr(postmaster, "KUBERNETES_"));
    assert_null(strstr(postmaster, "NOTIFY_SOCKET"));
    assert_null(strstr(postmaster, "GLIBC_TUNABLES"));
    assert_null(strstr(env, "PATRONI_"));
    assert_null(strstr(env, "KUBERNETES_"));
    assert_null(strstr(env, "NOTIFY_SOCKET"));
    assert_non_null(strstr(env, "SOMETHING_ELSE=kept\n"));

    pg_node_must(n, &(ServerTask){.kind = TASK_START_STANDBY});
    (void)pg_node_wait(n, "answer", pg_is_answering);
    ServerView v = pg_node_run(n, &(ServerTask){.kind = TASK_PROMOTE});
    assert_false(v.task.ok);
    assert_true(v.task.unchanged && v.in_recovery);
    assert_int_equal(v.role, ROLE_REPLICA);
    assert_non_null(strstr(v.task.error, "pre_promote"));
    pg_lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PG_TEST(test_life_of_a_primary),          PG_TEST(test_passwords_stay_out_of_the_log),
        PG_TEST(test_crash_and_restart_in_place), PG_TEST(test_hooks_and_environment),
        PG_TEST(test_clone_stream_switch_over),
    };
    return pg_lab_main(tests, COUNT_OF(tests));
}
