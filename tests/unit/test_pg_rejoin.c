// Ways back into the cluster, on real servers: a new upstream, a rewind, and timeline numbers that
// must never be used twice.
#include "tests/support/pg_lab.h"

#include "common/os/files.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

static const char *only_entry(PgLab *lab, const char *directory)
{
    DIR *dir = opendir(directory);
    const char *found = NULL;
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        assert_null(found);
        found = path_join(lab->arena, directory, e->d_name);
    }
    (void)closedir(dir);
    return found;
}

static void make_slot(PgNode *on, const char *name)
{
    Error err = {0};
    const SlotStep step = {.action = SLOT_CREATE, .name = name};
    (void)pg_node_look(on);
    if (!on->server->ops->sync_slots(on->server, &step, 1, deadline_in(on->lab->clock, 2000), &err))
        fail_msg("%s", err.text);
}

// A pg_rewind that does this instead.
static void replace_pg_rewind(PgNode *node, const char *script)
{
    Error err = {0};
    const char *path = path_join(node->lab->arena, node->lab->root, "pg_rewind");
    const char *text = arena_printf(node->lab->arena, "#!/bin/sh\n%s\n", script);
    if (!file_write(path, text, 0700, &err))
        fail_msg("%s", err.text);
    node->settings.postgresql.bin_name_pg_rewind =
        arena_printf(node->lab->arena, "../../../../../../..%s", path);
    node->server->ops->configure(node->server, &node->settings);
}

// What ended it is told apart: the rewind itself, or its source.
static void rewind_fails(PgNode *node, PgNode *source, const Upstream *upstream)
{
    static const char begins[] = "echo 'pg_rewind: rewinding from last common checkpoint'";
    const ServerTask rewind = {.kind = TASK_REWIND, .upstream = *upstream};
    replace_pg_rewind(node, "exit 1");
    ServerView v = pg_node_run(node, &rewind);
    assert_true(!v.task.ok && v.task.unchanged && !v.task.source_lost);
    replace_pg_rewind(node, arena_printf(node->lab->arena, "%s; exit 1", begins));
    v = pg_node_run(node, &rewind);
    assert_true(!v.task.ok && !v.task.unchanged && !v.task.source_lost);
    replace_pg_rewind(
        node, arena_printf(node->lab->arena,
                           "%s; kill -INT %d; while [ -e %s/postmaster.pid ]; do sleep 0.05; done;"
                           " exit 1",
                           begins, (int)pg_node_postmaster(source), source->data));
    v = pg_node_run(node, &rewind);
    assert_true(!v.task.ok && !v.task.unchanged && v.task.source_lost);
    (void)pg_node_wait(source, "down", pg_is_down);
    pg_node_must(source, &(ServerTask){.kind = TASK_START_PRIMARY});
    (void)pg_node_wait(source, "up again", pg_is_primary);
    node->settings.postgresql.bin_name_pg_rewind = "pg_rewind";
    node->server->ops->configure(node->server, &node->settings);
}

// A primary dies by kill, its standby is promoted, and the old one comes back with writes that the
// new one never had: they are found, kept, and rewound away.
static void test_rewind_keeps_lost_writes(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    pg_node_exec(a, "CREATE TABLE t AS SELECT 1 AS a");
    pg_node_become_standby(b, a);

    // b stops receiving, so that what a writes now is a's alone.
    pg_node_must(b, &(ServerTask){.kind = TASK_FOLLOW});
    assert_null(pg_node_look(b).receiver_host);
    pg_node_exec(a, "INSERT INTO t SELECT generate_series(1, 1000)");
    pg_node_must(a, &(ServerTask){.kind = TASK_STOP, .stop_mode = STOP_IMMEDIATE});
    pg_node_must(b, &(ServerTask){.kind = TASK_PROMOTE});
    (void)pg_node_wait(b, "promoted", pg_is_primary);
    make_slot(b, "pg_0");

    Upstream to_b = pg_upstream(a, b);
    // Also of a crashed primary, whose end is nowhere written down.
    ServerView v = pg_node_run(a, &(ServerTask){.kind = TASK_CHECK_DIVERGENCE, .upstream = to_b});
    assert_string_equal(v.task.error, "");
    assert_int_equal(v.task.divergence, DIVERGENCE_FOUND);
    assert_int_equal(v.control.state, CONTROL_IN_PRODUCTION);
    pg_node_must(a, &(ServerTask){.kind = TASK_CRASH_RECOVERY});
    v = pg_node_run(a, &(ServerTask){.kind = TASK_CHECK_DIVERGENCE, .upstream = to_b});
    assert_string_equal(v.task.error, "");
    assert_int_equal(v.task.divergence, DIVERGENCE_FOUND);
    assert_int_equal(v.control.state, CONTROL_SHUT_DOWN);

    to_b.checkpoint_pending = true;
    v = pg_node_run(a, &(ServerTask){.kind = TASK_REWIND, .upstream = to_b});
    assert_false(v.task.ok);
    assert_true(v.task.unchanged);
    to_b.checkpoint_pending = false;
    pg_node_must(b, &(ServerTask){.kind = TASK_CHECKPOINT});
    v = pg_node_run(
        a,
        &(ServerTask){.kind = TASK_REWIND, .upstream = to_b, .system_identifier = "1234567890123"});
    assert_false(v.task.ok);
    assert_non_null(strstr(v.task.error, "another cluster"));
    rewind_fails(a, b, &to_b);
    v = pg_node_run(a, &(ServerTask){.kind = TASK_REWIND, .upstream = to_b});
    assert_string_equal(v.task.error, "");
    assert_true(v.standby_signal);
    assert_false(v.running);

    const char *saved = only_entry(lab, path_join(lab->arena, a->state, "lost-writes"));
    char *summary = NULL;
    Error err;
    assert_true(file_read(lab->arena, path_join(lab->arena, saved, "summary.txt"), 1 << 20,
                          &summary, &err));
    assert_non_null(summary);
    assert_non_null(strstr(summary, "timeline: 1\n"));
    assert_non_null(strstr(summary, "rewound to follow: pg-1\n"));
    assert_non_null(strstr(summary, "segment: 0000000100000000"));
    assert_non_null(strstr(summary, "Heap"));

    pg_node_must(a, &(ServerTask){.kind = TASK_START_STANDBY, .upstream = to_b});
    v = pg_node_wait(a, "streaming", pg_is_streaming);
    assert_string_equal(pg_node_value(a, "SELECT count(*) FROM t"), "1");
    assert_int_equal(v.timeline, 2);
    assert_int_equal(v.history.timeline, 2);
    pg_lab_free(lab);
}

// Numbers up to 5 may have been used elsewhere: the new timeline is 6, its parent is 1, and a
// standby finds its way along the numbers that were skipped.
static void test_reserved_timelines_are_skipped(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(3);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1], *c = &lab->nodes[2];
    pg_node_become_primary(a);
    pg_node_become_standby(b, a);
    pg_node_become_standby(c, a);
    pg_node_must(a, &(ServerTask){.kind = TASK_STOP, .checkpoint_first = true});
    pg_node_must(b, &(ServerTask){.kind = TASK_PROMOTE, .reserve_through = 5});
    ServerView v = pg_node_wait(b, "promoted", pg_is_primary);
    assert_int_equal(v.timeline, 6);
    const char *history = pg_node_read(b, "pg_wal/00000006.history");
    assert_non_null(history);
    assert_true(str_starts(history, "1\t"));
    assert_null(strchr(strchr(history, '\n') + 1, '\t')); // one parent only
    make_slot(b, "pg_2");

    // The running standby follows by reload and arrives on timeline 6.
    pg_node_must(c, &(ServerTask){.kind = TASK_FOLLOW, .upstream = pg_upstream(c, b)});
    pg_node_exec(b, "CREATE TABLE t AS SELECT 7 AS a");
    const Deadline deadline = deadline_in(lab->clock, LAB_WAIT_MS);
    do {
        v = pg_node_look(c);
        assert_false(deadline_over(lab->clock, deadline));
        // Whatever it shows on the way must lie on the new history.
        const TimelineSwitch parent[] = {{1, 0}};
        (void)parent;
        assert_true(v.timeline == 1 || v.timeline == 6);
        (void)usleep(10000);
    } while (v.timeline != 6 || !v.streaming);
    assert_string_equal(v.upstream, "pg-1");
    for (int i = 0;
         !str_eq(pg_node_value(c, "SELECT count(*) FROM pg_class WHERE relname = 't'"), "1"); i++) {
        assert_true(i < 1000);
        (void)usleep(10000);
    }

    // A promotion that never came: trailing tombstones do not keep the server from starting.
    pg_node_must(c, &(ServerTask){.kind = TASK_STOP});
    Error err;
    assert_true(file_write(path_join(lab->arena, c->data, "pg_wal/00000007.history"),
                           "# reserved by Howdah: this timeline was never used here\n", 0600,
                           &err));
    pg_node_must(c, &(ServerTask){.kind = TASK_START_STANDBY, .upstream = pg_upstream(c, b)});
    v = pg_node_wait(c, "streaming", pg_is_streaming);
    assert_int_equal(v.timeline, 6);
    assert_null(pg_node_read(c, "pg_wal/00000007.history"));

    // The old primary too, which knows nothing of 2 to 6.
    make_slot(b, "pg_0");
    pg_node_must(a, &(ServerTask){.kind = TASK_START_STANDBY, .upstream = pg_upstream(a, b)});
    do {
        v = pg_node_look(a);
        assert_false(deadline_over(lab->clock, deadline));
        (void)usleep(10000);
    } while (v.timeline != 6 || !v.streaming);
    pg_lab_free(lab);
}

// A standby without any upstream tells its timeline, too, also to an agent that has just come.
static void test_timeline_without_receiver(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    pg_node_become_standby(b, a);
    pg_node_must(a, &(ServerTask){.kind = TASK_STOP});
    pg_node_restart_agent(b);
    pg_node_must(b, &(ServerTask){.kind = TASK_INSPECT});
    ServerView v = pg_node_wait(b, "answer", pg_is_answering);
    assert_int_equal(v.timeline, 1);
    assert_false(v.streaming);
    assert_int_equal(v.role, ROLE_REPLICA);
    assert_int_equal(server_position(&v).timeline, 1);
    assert_string_equal(v.upstream, "pg-0");
    // A reload by the new agent keeps whom it follows.
    pg_node_must(b, &(ServerTask){.kind = TASK_RELOAD, .keep_running = true});
    assert_non_null(strstr(pg_node_read(b, "postgresql.conf"), "primary_conninfo = '"));
    pg_node_must(a, &(ServerTask){.kind = TASK_START_PRIMARY});
    (void)pg_node_wait(b, "streaming", pg_is_streaming);
    pg_lab_free(lab);
}

// A primary that crashed with nothing that its successor lacks: it may simply follow.
static void test_crash_without_divergence(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    pg_node_become_standby(b, a);
    pg_node_exec(a, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a");
    pg_node_exec(a, "SELECT pg_switch_wal()");
    pg_node_exec(a, "INSERT INTO t VALUES (0)");
    const char *end = pg_node_value(a, "SELECT pg_current_wal_flush_lsn()");
    const char *sql = arena_printf(lab->arena, "SELECT pg_last_wal_replay_lsn() >= '%s'", end);
    for (int i = 0; !str_eq(pg_node_value(b, sql), "t"); i++) {
        assert_true(i < 1000);
        (void)usleep(10000);
    }
    pg_node_must(a, &(ServerTask){.kind = TASK_STOP, .stop_mode = STOP_IMMEDIATE});
    pg_node_must(b, &(ServerTask){.kind = TASK_PROMOTE});
    (void)pg_node_wait(b, "promoted", pg_is_primary);
    make_slot(b, "pg_0");
    const Upstream to_b = pg_upstream(a, b);
    const ServerView v =
        pg_node_run(a, &(ServerTask){.kind = TASK_CHECK_DIVERGENCE, .upstream = to_b});
    assert_string_equal(v.task.error, "");
    assert_int_equal(v.task.divergence, DIVERGENCE_NONE);
    pg_node_must(a, &(ServerTask){.kind = TASK_START_STANDBY, .upstream = to_b});
    (void)pg_node_wait(a, "streaming", pg_is_streaming);
    assert_string_equal(pg_node_value(a, "SELECT count(*) FROM t"), "1001");
    pg_lab_free(lab);
}

// It has found no more WAL on the old timeline, and would sleep on that: whoever tells it that
// there is a new one wakes it. One that is on its leader's timeline is left alone.
static void test_a_new_timeline_wakes_a_standby(void **state)
{
    static const char since[] = "SELECT pg_conf_load_time()";
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    pg_node_become_standby(b, a);
    pg_node_must(b, &(ServerTask){.kind = TASK_FOLLOW});
    const ServerTask check = {.kind = TASK_CHECK_DIVERGENCE, .upstream = pg_upstream(b, a)};
    const char *before = pg_node_value(b, since);
    pg_node_must(b, &check);
    (void)usleep(200000); // nothing is to come of it
    assert_string_equal(pg_node_value(b, since), before);

    pg_node_must(a, &(ServerTask){.kind = TASK_STOP});
    pg_node_must(a, &(ServerTask){.kind = TASK_START_STANDBY});
    pg_node_must(a, &(ServerTask){.kind = TASK_PROMOTE});
    assert_int_equal(pg_node_wait(a, "promoted", pg_is_primary).timeline, 2);
    const ServerView v = pg_node_run(b, &check);
    assert_string_equal(v.task.error, "");
    assert_int_equal(v.task.divergence, DIVERGENCE_NONE);
    for (int i = 0; str_eq(pg_node_value(b, since), before); i++) {
        if (i == 500)
            fail_msg("it was not woken");
        (void)usleep(10000);
    }
    pg_lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PG_TEST(test_rewind_keeps_lost_writes),       PG_TEST(test_crash_without_divergence),
        PG_TEST(test_reserved_timelines_are_skipped), PG_TEST(test_timeline_without_receiver),
        PG_TEST(test_a_new_timeline_wakes_a_standby),
    };
    return pg_lab_main(tests, COUNT_OF(tests));
}
