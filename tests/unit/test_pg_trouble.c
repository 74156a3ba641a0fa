// A server, a disk or a user that does not do what one would like.
#include "tests/support/pg_lab.h"

#include "common/os/files.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_silent(const ServerView *v)
{
    return v->running && !v->answered;
}

// One that has gone meanwhile is none of our business.
static void signal_all(const char *pids, int signal)
{
    char *rest;
    for (const char *s = pids; *s != '\0'; s = rest) {
        const pid_t pid = (pid_t)strtol(s, &rest, 10);
        assert_true(rest != s && pid > 1);
        (void)kill(pid, signal);
    }
}

// A stopped postmaster: observe() comes back by its deadline with no answer, although a cached
// connection would still give one; it never looks like a server that is gone.
static void test_hung_postmaster(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(1);
    PgNode *n = &lab->nodes[0];
    pg_node_become_primary(n);
    const pid_t pid = pg_node_postmaster(n);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    (void)pg_node_wait(n, "silence", is_silent);
    for (int i = 0; i < 3; i++) {
        ServerView v;
        const Instant before = clock_now(lab->clock);
        n->server->ops->observe(n->server, lab->arena, deadline_in(lab->clock, 300), &v);
        assert_true(instant_ms_between(before, clock_now(lab->clock)) < 3000);
        assert_true(v.running && v.warden && !v.answered && !v.refused);
        assert_int_equal(v.role, ROLE_PRIMARY);
        assert_int_equal(v.state, STATE_RUNNING);
    }
    assert_int_equal(kill(pid, SIGCONT), 0);
    (void)pg_node_wait(n, "answer", pg_is_answering);

    // Every process stopped: the same through the cached connection itself.
    const char *backend =
        pg_node_value(n, "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity "
                         "WHERE application_name = 'Howdah'");
    assert_non_null(backend);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    signal_all(backend, SIGSTOP);
    (void)pg_node_wait(n, "silence", is_silent);
    signal_all(backend, SIGCONT);
    assert_int_equal(kill(pid, SIGCONT), 0);
    (void)pg_node_wait(n, "answer", pg_is_answering);
    pg_lab_free(lab);
}

// An immediate stop of a postmaster that is stopped itself: it is killed in the end.
static void test_stop_of_a_hung_postmaster(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(1);
    PgNode *n = &lab->nodes[0];
    pg_node_become_primary(n);
    assert_int_equal(kill(pg_node_postmaster(n), SIGSTOP), 0);
    const ServerView v =
        pg_node_run(n, &(ServerTask){.kind = TASK_STOP, .stop_mode = STOP_IMMEDIATE});
    assert_string_equal(v.task.error, "");
    assert_int_equal(v.control.state, CONTROL_IN_PRODUCTION);
    (void)pg_node_wait(n, "down", pg_is_down);
    pg_node_must(n, &(ServerTask){.kind = TASK_START_PRIMARY});
    pg_lab_free(lab);
}

// An agent that comes back finds the server as it was: nothing is restarted, nothing forgotten.
static void test_new_agent_at_a_running_server(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(1);
    PgNode *n = &lab->nodes[0];
    pg_node_become_primary(n);
    const pid_t pid = pg_node_postmaster(n);
    pg_node_restart_agent(n);
    ServerView v = pg_node_look(n);
    assert_true(v.running && v.answered);
    assert_int_equal(v.dir, DIR_UNKNOWN);
    assert_int_equal(v.role, ROLE_PRIMARY);
    v = pg_node_run(n, &(ServerTask){.kind = TASK_INSPECT});
    assert_true(v.task.ok && v.control.known);
    assert_int_equal(pg_node_postmaster(n), pid);

    // Starting what runs is refused, and changes nothing.
    v = pg_node_run(n, &(ServerTask){.kind = TASK_START_PRIMARY});
    assert_false(v.task.ok);
    assert_true(v.task.unchanged && v.running);
    assert_int_equal(v.state, STATE_RUNNING);
    // So is cloning over it, and over what is not ours to wipe when it is stopped.
    v = pg_node_run(n, &(ServerTask){.kind = TASK_CLONE, .upstream = pg_upstream(n, n)});
    assert_false(v.task.ok);
    pg_node_must(n, &(ServerTask){.kind = TASK_STOP});
    n->settings.postgresql.create_replica_methods = (StringList){0};
    string_list_add(&n->settings.postgresql.create_replica_methods, lab->arena, "none");
    n->server->ops->configure(n->server, &n->settings);
    v = pg_node_run(n, &(ServerTask){.kind = TASK_CLONE});
    assert_false(v.task.ok);
    assert_true(v.task.unchanged);
    assert_non_null(strstr(v.task.error, "is not empty"));
    assert_int_equal(v.dir, DIR_VALID);
    v = pg_node_run(n, &(ServerTask){.kind = TASK_BOOTSTRAP});
    assert_false(v.task.ok);
    assert_int_equal(v.dir, DIR_VALID);
    pg_node_must(n, &(ServerTask){.kind = TASK_WIPE});
    v = pg_node_look(n);
    assert_int_equal(v.dir, DIR_MISSING);
    assert_int_equal(v.role, ROLE_UNINITIALIZED);
    pg_lab_free(lab);
}

// A bootstrap that was left without its roles is no cluster: a new agent may make it anew. One that
// it finds running it takes as it is, and so does everybody after that.
static void test_bootstrap_half_way(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(1);
    PgNode *n = &lab->nodes[0];
    pg_node_must(n, &(ServerTask){.kind = TASK_INSPECT});
    pg_node_must(n, &(ServerTask){.kind = TASK_BOOTSTRAP});
    pg_node_restart_agent(n);
    ServerView v = pg_node_run(n, &(ServerTask){.kind = TASK_INSPECT});
    assert_int_equal(v.dir, DIR_PARTIAL);
    v = pg_node_run(n, &(ServerTask){.kind = TASK_START_PRIMARY});
    assert_false(v.task.ok);

    n->settings.bootstrap.post_bootstrap = "false";
    n->server->ops->configure(n->server, &n->settings);
    pg_node_must(n, &(ServerTask){.kind = TASK_BOOTSTRAP});
    pg_node_must(n, &(ServerTask){.kind = TASK_START_PRIMARY});
    v = pg_node_run(n, &(ServerTask){.kind = TASK_POST_BOOTSTRAP});
    assert_false(v.task.ok);
    assert_non_null(strstr(v.task.error, "post_bootstrap"));
    pg_node_must(n, &(ServerTask){.kind = TASK_STOP});
    assert_int_equal(pg_node_look(n).dir, DIR_PARTIAL);

    pg_node_must(n, &(ServerTask){.kind = TASK_BOOTSTRAP});
    pg_node_must(n, &(ServerTask){.kind = TASK_START_PRIMARY});
    pg_node_restart_agent(n);
    v = pg_node_run(n, &(ServerTask){.kind = TASK_INSPECT});
    assert_int_equal(v.dir, DIR_VALID);
    pg_node_must(n, &(ServerTask){.kind = TASK_STOP});
    assert_int_equal(pg_node_look(n).dir, DIR_VALID);
    pg_lab_free(lab);
}

// A setting that needs a restart is reported with both values; one that a reload settles is not;
// and a standby that needs more than is configured gets it.
static void test_settings(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    pg_node_must(a, &(ServerTask){.kind = TASK_RELOAD, .keep_running = true});
    ServerView v = pg_node_look(a);
    assert_false(v.pending_restart);

    PostgresSettings *pg = &a->settings.postgresql;
    Tree *parameters = tree_copy(lab->arena, pg->parameters);
    tree_set(lab->arena, parameters, "shared_buffers", tree_string(lab->arena, "24MB"));
    tree_set(lab->arena, parameters, "work_mem", tree_string(lab->arena, "5MB"));
    pg->parameters = parameters;
    a->server->ops->configure(a->server, &a->settings);
    Tree *overlay = tree_map(lab->arena);
    tree_set(lab->arena, overlay, "synchronous_standby_names",
             tree_string(lab->arena, "1 (\"pg-1\")"));
    local_server_set_parameters(a->server, overlay);
    pg_node_must(a, &(ServerTask){.kind = TASK_RELOAD, .keep_running = true});
    v = pg_node_look(a);
    assert_true(v.pending_restart);
    assert_int_equal(v.pending_restart_reason->count, 1);
    const Tree *why = tree_get(v.pending_restart_reason, "shared_buffers");
    assert_string_equal(tree_get_string(why, "old_value", ""), "16MB");
    assert_string_equal(tree_get_string(why, "new_value", ""), "24MB");
    assert_string_equal(pg_node_value(a, "SHOW work_mem"), "5MB");
    assert_string_equal(pg_node_value(a, "SHOW synchronous_standby_names"), "1 (\"pg-1\")");
    local_server_set_parameters(a->server, NULL);
    pg_node_must(a, &(ServerTask){.kind = TASK_RELOAD, .keep_running = true});
    assert_string_equal(pg_node_value(a, "SHOW synchronous_standby_names"), "");

    // b is configured with fewer connections than its primary has.
    Tree *controlled = tree_copy(lab->arena, b->settings.postgresql.controlled);
    tree_set(lab->arena, controlled, "max_connections", tree_int(lab->arena, 30));
    b->settings.postgresql.controlled = controlled;
    b->server->ops->configure(b->server, &b->settings);
    pg_node_become_standby(b, a);
    assert_string_equal(pg_node_value(b, "SHOW max_connections"), "40");
    v = pg_node_look(b);
    why = tree_get(v.pending_restart_reason, "max_connections");
    assert_string_equal(tree_get_string(why, "old_value", ""), "40");
    assert_string_equal(tree_get_string(why, "new_value", ""), "30");
    // Still so after the comparison that follows a reload.
    pg_node_must(b, &(ServerTask){.kind = TASK_RELOAD, .keep_running = true});
    v = pg_node_look(b);
    assert_true(tree_get(v.pending_restart_reason, "max_connections") != NULL);
    assert_true(v.streaming);
    pg_lab_free(lab);
}

// A setting that PostgreSQL refuses: the start fails, says so, and the directory is still good.
static void test_start_that_fails(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(1);
    PgNode *n = &lab->nodes[0];
    pg_node_become_primary(n);
    pg_node_must(n, &(ServerTask){.kind = TASK_STOP});
    PostgresSettings *pg = &n->settings.postgresql;
    const Tree *good = pg->parameters;
    Tree *bad = tree_copy(lab->arena, good);
    tree_set(lab->arena, bad, "shared_buffers", tree_string(lab->arena, "a lot"));
    pg->parameters = bad;
    n->server->ops->configure(n->server, &n->settings);
    ServerView v = pg_node_run(n, &(ServerTask){.kind = TASK_START_PRIMARY});
    assert_false(v.task.ok);
    assert_non_null(strstr(v.task.error, "postgres ended with status 1"));
    assert_int_equal(v.state, STATE_START_FAILED);
    assert_int_equal(v.dir, DIR_VALID);
    pg->parameters = good;
    n->server->ops->configure(n->server, &n->settings);
    pg_node_must(n, &(ServerTask){.kind = TASK_START_PRIMARY});
    pg_lab_free(lab);
}

// A cancelled copy is half-made, is known as ours, and may be made again by any method.
static void test_cancelled_clone_and_replica_method(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    const Upstream upstream = pg_upstream(b, a);
    PostgresSettings *pg = &b->settings.postgresql;
    Tree *section = tree_map(lab->arena), *slow = tree_map(lab->arena);
    tree_set(lab->arena, slow, "command",
             tree_string(lab->arena, "sh -c 'for a; do case $a in --datadir=*) d=${a#*=};; esac; "
                                     "done; mkdir -p $d; echo half > $d/some; sleep 1000' x"));
    tree_set(lab->arena, section, "slow", slow);
    pg->section = section;
    string_list_add(&pg->create_replica_methods, lab->arena, "slow");
    b->server->ops->configure(b->server, &b->settings);
    pg_node_must(b, &(ServerTask){.kind = TASK_INSPECT});
    Error err = {0};
    assert_true(b->server->ops->begin(
        b->server, &(ServerTask){.kind = TASK_CLONE, .upstream = upstream}, &err));
    assert_false(b->server->ops->begin(b->server, &(ServerTask){.kind = TASK_INSPECT}, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    while (path_kind(path_join(lab->arena, b->data, "some")) != PATH_FILE)
        (void)poll(NULL, 0, 5);
    ServerView v = pg_node_look(b);
    assert_int_equal(v.state, STATE_CREATING_REPLICA);
    const Instant before = clock_now(lab->clock);
    b->server->ops->cancel(b->server);
    assert_true(pg_node_wait_task(b, &v));
    assert_true(instant_ms_between(before, clock_now(lab->clock)) < 5000);
    assert_false(v.task.ok);
    assert_non_null(strstr(v.task.error, "cancelled"));
    assert_int_equal(v.dir, DIR_PARTIAL);
    v = pg_node_run(b, &(ServerTask){.kind = TASK_START_STANDBY, .upstream = upstream});
    assert_false(v.task.ok);

    // Another cluster's server is no source.
    v = pg_node_run(b, &(ServerTask){.kind = TASK_CLONE,
                                     .upstream = upstream,
                                     .system_identifier = "7711207998434978690"});
    assert_false(v.task.ok);
    assert_non_null(strstr(v.task.error, "another cluster"));
    pg_node_must(b, &(ServerTask){.kind = TASK_CLONE,
                                  .upstream = upstream,
                                  .clone_method = "basebackup",
                                  .system_identifier = pg_node_value(
                                      a, "SELECT system_identifier FROM pg_control_system()")});
    v = pg_node_look(b);
    assert_int_equal(v.dir, DIR_VALID);
    assert_true(v.standby_signal && v.from_backup);
    pg_lab_free(lab);
}

// A standby whose receiver hangs would hold a fast shutdown for wal_sender_timeout: it is cut.
static void test_stop_cuts_a_silent_standby(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    pg_node_become_standby(b, a);
    const char *receiver = pg_node_value(b, "SELECT pid FROM pg_stat_wal_receiver");
    assert_non_null(receiver);
    const pid_t pid = (pid_t)strtol(receiver, NULL, 10);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    const Instant before = clock_now(lab->clock);
    const ServerView v = pg_node_run(a, &(ServerTask){.kind = TASK_STOP, .checkpoint_first = true});
    const int64_t took = instant_ms_between(before, clock_now(lab->clock));
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_string_equal(v.task.error, "");
    assert_true(took < 5000);
    assert_int_equal(v.control.state, CONTROL_SHUT_DOWN);
    pg_lab_free(lab);
}

// The user's own way to a new cluster: a script, then its settings, then ours.
static void test_custom_bootstrap(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(1);
    PgNode *n = &lab->nodes[0];
    Tree *section = tree_map(lab->arena), *method = tree_map(lab->arena);
    tree_set(lab->arena, method, "command",
             tree_string(lab->arena, "sh -c 'for a; do case $a in --datadir=*) d=${a#*=};; esac; "
                                     "done; /usr/lib/postgresql/15/bin/initdb -N -A md5 -U postgres"
                                     " --pwfile=/etc/hostname -D $d' x"));
    tree_set(lab->arena, section, "mine", method);
    n->settings.bootstrap.section = section;
    n->settings.bootstrap.method = "mine";
    n->server->ops->configure(n->server, &n->settings);
    pg_node_must(n, &(ServerTask){.kind = TASK_INSPECT});
    pg_node_must(n, &(ServerTask){.kind = TASK_BOOTSTRAP});
    pg_node_must(n, &(ServerTask){.kind = TASK_START_PRIMARY});
    (void)pg_node_wait(n, "primary", pg_is_primary);
    assert_non_null(strstr(pg_node_read(n, "pg_hba.conf"), "trust"));
    pg_node_must(n, &(ServerTask){.kind = TASK_POST_BOOTSTRAP});
    assert_null(strstr(pg_node_read(n, "pg_hba.conf"), "\ttrust"));
    // By password now, and it is the one of the settings.
    assert_string_equal(pg_node_value(n, "SELECT 1"), "1");
    pg_lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PG_TEST(test_hung_postmaster),
        PG_TEST(test_stop_of_a_hung_postmaster),
        PG_TEST(test_new_agent_at_a_running_server),
        PG_TEST(test_bootstrap_half_way),
        PG_TEST(test_settings),
        PG_TEST(test_start_that_fails),
        PG_TEST(test_cancelled_clone_and_replica_method),
        PG_TEST(test_stop_cuts_a_silent_standby),
        PG_TEST(test_custom_bootstrap),
    };
    return pg_lab_main(tests, COUNT_OF(tests));
}
