// howdahctl on a real etcd with records written by hand, and members that answer as told.
#include "tests/unit/test_ctl_lab.h"

#include <stdio.h>
#include <stdlib.h>

static EtcdServer *etcd;
static LabMember *one, *two;

static void put(const char *key, const char *value)
{
    const char *const words[] = {"put", arena_printf(lab_arena, "/service/demo/%s", key), value,
                                 NULL};
    etcd_server_ctl(etcd, words);
}

static const char *stored(const char *key)
{
    char line[1024] = "";
    FILE *pipe = popen(arena_printf(lab_arena,
                                    "ETCDCTL_API=3 etcdctl --endpoints %s get --print-value-only "
                                    "/service/demo/%s",
                                    etcd_server_url(etcd), key),
                       "r");
    ASSERT(pipe != NULL);
    if (fgets(line, sizeof line, pipe) != NULL)
        line[strcspn(line, "\n")] = '\0';
    ASSERT(pclose(pipe) == 0);
    return arena_strdup(lab_arena, line);
}

static const char *member_record(const LabMember *member, const char *role, const char *more)
{
    return arena_printf(lab_arena,
                        "{\"conn_url\":\"postgres://127.0.0.1:%d/postgres\",\"api_url\":"
                        "\"%s/patroni\",\"state\":\"running\",\"role\":\"%s\",\"timeline\":1%s}",
                        lab_member_port(member), lab_member_url(member), role, more);
}

// Two members, one leads; synchronous, with nobody but the leader in the set.
static void write_cluster(void)
{
    put("initialize", "7277694203142172922");
    put("config", "{\"ttl\":30,\"loop_wait\":1,\"synchronous_mode\":true}");
    put("leader", "one");
    put("status", "{\"optime\":67108960}");
    put("sync", "{\"leader\":\"one\",\"sync_standby\":null,\"quorum\":0}");
    put("failover", "{}");
    put("history", "[[1,50331744,\"no recovery target specified\"]]");
    put("members/one", member_record(one, "primary", ""));
    put("members/two", member_record(two, "replica",
                                     ",\"receive_lsn\":67108960,\"replay_lsn\":67108960,"
                                     "\"pending_restart\":true,\"scheduled_restart\":"
                                     "{\"schedule\":\"2030-12-01T10:00:00+00:00\"}"));
}

static int start_group(void **state)
{
    (void)state;
    lab_start();
    etcd = etcd_server_start(NULL);
    return 0;
}

static int end_group(void **state)
{
    (void)state;
    etcd_server_free(etcd);
    lab_end();
    return 0;
}

static int start(void **state)
{
    (void)state;
    one = lab_member_start();
    two = lab_member_start();
    lab_settings(
        arena_printf(lab_arena,
                     "scope: demo\netcd3: {host: '127.0.0.1:%d'}\n"
                     "restapi: {authentication: {username: user, password: 'pass:word'}}\n",
                     etcd_server_port(etcd)));
    write_cluster();
    return 0;
}

static int end(void **state)
{
    (void)state;
    lab_member_free(one);
    lab_member_free(two);
    return 0;
}

#define AUTH " authorization=Basic dXNlcjpwYXNzOndvcmQ=" // user:pass:word

static void expect_requests(LabMember *member, const char *expected)
{
    const char *seen = lab_member_requests(member);
    if (!str_eq(seen, expected))
        fail_msg("asked:\n%sinstead of:\n%s", seen, expected);
}

static void test_list(void **state)
{
    (void)state;
    const LabRun run = lab_run("", "list", "-f", "tsv");
    EXPECT(run, 0);
    const char *expected = arena_printf(
        lab_arena,
        "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay LSN\t"
        "Replay Lag\tPending restart\tScheduled restart\n"
        "demo\tone\t127.0.0.1:%d\tLeader\trunning\t1\t\t\t\t\t\t\n"
        "demo\ttwo\t127.0.0.1:%d\tReplica\trunning\t1\t0/4000060\t0\t0/4000060\t0\t*\t"
        "2030-12-01T10:00:00+00:00\n",
        lab_member_port(one), lab_member_port(two));
    assert_string_equal(run.out, expected);
    expect_requests(one, ""); // the store is enough
}

static void test_list_of_unknown_cluster(void **state)
{
    (void)state;
    const LabRun run = lab_run("", "list", "nothing");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "+ Cluster: nothing (uninitialized) -+");
}

static void test_list_without_a_name(void **state)
{
    (void)state;
    lab_settings(
        arena_printf(lab_arena, "etcd3: {host: '127.0.0.1:%d'}\n", etcd_server_port(etcd)));
    const LabRun run = lab_run("", "list");
    EXPECT(run, 0);
    assert_string_equal(run.out, "");
    EXPECT_IN(run.err, "No cluster names were provided");
    const LabRun other = lab_run("", "history");
    EXPECT(other, 1);
    EXPECT_IN(other.err, "Error: no cluster is named");
}

static void test_dcs_url(void **state)
{
    (void)state;
    lab_settings(NULL);
    const LabRun run = lab_run("", "-d", etcd_server_url(etcd) + strlen("http://"), "dsn", "demo");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "host=127.0.0.1 port=");
}

static void test_no_store(void **state)
{
    (void)state;
    lab_settings("scope: demo\n");
    const LabRun run = lab_run("", "list");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "Error: Can not find suitable configuration");
    const LabRun missing = lab_run("", "-c", "/no/such/file", "list");
    EXPECT(missing, 1);
    EXPECT_IN(missing.err, "/no/such/file");
}

static void test_usage(void **state)
{
    (void)state;
    LabRun run = lab_run("", "list", "-f", "xml");
    EXPECT(run, 2);
    EXPECT_IN(run.err, "'xml' is not one of");
    run = lab_run("", "--version");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "howdahctl 0");
    run = lab_run("", "switchover", "--help");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "--candidate TEXT");
}

static void test_reload(void **state)
{
    (void)state;
    lab_member_answer(one, "POST /reload", 202, "reload scheduled");
    lab_member_answer(two, "POST /reload", 401, "no auth header received");
    const LabRun run = lab_run("y\n", "reload", "demo");
    EXPECT(run, 1); // two has refused
    EXPECT_IN(run.out, "Are you sure you want to reload members one, two? [y/N]: Reload request "
                       "received for member one and will be processed within 1 seconds\n"
                       "Failed: reload for member two, status code=401, (no auth header "
                       "received)\n");
    expect_requests(one, "POST /reload" AUTH "\n");
}

// Called by the old name a refusal exits 0, as scripts of old expect it.
static void test_as_patronictl(void **state)
{
    (void)state;
    const LabRun run =
        lab_run_as("patronictl", "", (const char *const[]){"reload", "demo", "--force", NULL});
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Failed: reload for member one, status code=404, (no such page)\n");
}

static void test_aborted(void **state)
{
    (void)state;
    LabRun run = lab_run("n\n", "reload", "demo");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "Error: Aborted reload\n");
    run = lab_run("", "reload", "demo");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Aborted!\n");
    run = lab_run("", "reload", "demo", "nobody", "--force");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "Error: No 'any' among provided members\n");
    expect_requests(one, "");
}

static void test_restart(void **state)
{
    (void)state;
    lab_member_answer(one, "POST /restart", 200, "restarted successfully");
    lab_member_answer(two, "POST /restart", 202, "Restart scheduled");
    lab_member_answer(two, "DELETE /restart", 200, "scheduled restart deleted");
    LabRun run = lab_run("", "restart", "demo", "-r", "leader", "--force", "--timeout", "5s",
                         "--pg-version", "15.9");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Success: restart on member one\n");
    expect_requests(one, "POST /restart {\"postgres_version\": \"15.9\", \"timeout\": \"5s\"}" AUTH
                         "\n");
    run = lab_run("", "restart", "demo", "two", "--force", "--scheduled", "2030-01-01T10:00Z");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Success: restart scheduled on member two\n");
    expect_requests(two, "DELETE /restart" AUTH
                         "\nPOST /restart {\"schedule\": \"2030-01-01T10:00:00+00:00\"}" AUTH "\n");
    run = lab_run("now\ny\n\n", "restart", "demo", "--pending");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "restart members two? [y/N]: ");
    expect_requests(two, "POST /restart {\"restart_pending\": true}" AUTH "\n");
    run = lab_run("", "restart", "demo", "one", "--force", "--pg-version", "9");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "Error: Invalid PostgreSQL version format");
}

static void test_reinit(void **state)
{
    (void)state;
    lab_member_answer(two, "POST /reinitialize", 503, "reinitializing already in progress");
    lab_member_answer_later(two, "POST /reinitialize", 1, 200, "reinitialize started");
    lab_member_answer(two, "GET /patroni", 503, "{\"state\": \"creating replica\"}");
    lab_member_answer_later(two, "GET /patroni", 1, 200, "{\"state\": \"running\"}");
    const LabRun run = lab_run("y\ny\n", "reinit", "demo", "two", "--wait");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Do you want to cancel it and reinitialize anyway? [y/N]: Success: "
                       "reinitialize for member two\n"
                       "Waiting for reinitialize to complete on: two\n"
                       "Reinitialize is completed on: two\n");
    expect_requests(two, "POST /reinitialize {\"force\": false, \"from_leader\": false}" AUTH "\n"
                         "POST /reinitialize {\"force\": true, \"from_leader\": false}" AUTH "\n"
                         "GET /patroni" AUTH "\nGET /patroni" AUTH "\n");
    const LabRun leader = lab_run("", "reinit", "demo", "one", "--force");
    EXPECT(leader, 1);
    EXPECT_IN(leader.err, "Error: No replica among provided members\n");
}

static void test_switchover(void **state)
{
    (void)state;
    lab_member_answer(one, "POST /switchover", 200, "Successfully switched over to \"two\"");
    LabRun run = lab_run("\ntwo\nnow\ny\n", "switchover");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Current cluster topology\n+ Cluster: demo (7277694203142172922) ");
    EXPECT_IN(run.out, "Primary [one]: Candidate ['two'] []: When should the switchover take place "
                       "(e.g. ");
    EXPECT_IN(run.out, "demo, demoting current leader one? [y/N]: 20");
    EXPECT_IN(run.out, " Successfully switched over to \"two\"\n+ Cluster");
    expect_requests(one,
                    "POST /switchover {\"candidate\": \"two\", \"leader\": \"one\"}" AUTH "\n");

    lab_member_answer(one, "POST /switchover", 412, "leader name does not match");
    run = lab_run("", "switchover", "--force");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "Switchover failed, details: 412, leader name does not match\n");
    expect_requests(one, "POST /switchover {\"candidate\": null, \"leader\": \"one\"}" AUTH "\n");

    lab_member_answer(one, "POST /switchover", 503,
                      "Switchover status unknown after 20 seconds; operation may still be in "
                      "progress");
    run = lab_run("", "switchover", "--force");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "Switchover result unknown, details: 503, ");
}

static void test_switchover_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *words[6];
        const char *error;
    } rows[] = {
        {{"switchover", "--leader", "two", "--force"},
         "Error: Member two is not the leader of cluster demo\n"},
        {{"switchover", "--candidate", "one", "--force"},
         "Error: Member one is already the leader of cluster demo\n"},
        {{"switchover", "--candidate", "six", "--force"},
         "Error: Member six does not exist in cluster demo or is tagged as nofailover\n"},
        {{"switchover", "--scheduled", "soon", "--force"},
         "Error: Unable to parse scheduled timestamp (soon). It should be in an unambiguous format "
         "(e.g. ISO 8601)\n"},
        {{"failover", "--force"},
         "Error: Failover could be performed only to a specific candidate\n"},
        {{"switchover", "nothing", "--force"}, "Error: This cluster has no leader\n"},
        {{"failover", "nothing", "--force"}, "Error: No candidates found to failover to\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const LabRun run = lab_run_as("howdahctl", "", rows[i].words);
        EXPECT(run, 1);
        assert_string_equal(run.err, rows[i].error);
    }
    expect_requests(one, "");
}

static void test_failover_to_asynchronous(void **state)
{
    (void)state;
    LabRun run = lab_run("two\nn\n", "failover");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "Are you sure you want to failover to the asynchronous node two? [y/N]: ");
    assert_string_equal(run.err, "Error: Aborting failover\n");
    put("sync", "{\"leader\":\"one\",\"sync_standby\":\"TWO\",\"quorum\":0}");
    lab_member_answer(one, "POST /failover", 200, "Successfully failed over to \"two\"");
    run = lab_run("two\ny\n", "failover");
    EXPECT(run, 0);
    assert_null(strstr(run.out, "asynchronous"));
    expect_requests(one, "POST /failover {\"candidate\": \"two\"}" AUTH "\n");
}

// Nobody listens at the leader's address: the request goes into the store, also by plain etcd.
static void test_switchover_over_the_store(void **state)
{
    (void)state;
    put("members/one",
        "{\"conn_url\":\"postgres://127.0.0.1:5432/postgres\",\"api_url\":"
        "\"http://127.0.0.1:1/patroni\",\"state\":\"running\",\"role\":\"primary\"}");
    LabRun run = lab_run("", "switchover", "--candidate", "two", "--scheduled", "2030-01-01T10:00Z",
                         "--force");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Could not switchover using Patroni api, falling back to DCS\n");
    assert_string_equal(stored("failover"), "{\"leader\":\"one\",\"member\":\"two\","
                                            "\"scheduled_at\":\"2030-01-01T10:00:00+00:00\"}");
    run = lab_run("", "failover", "--candidate", "two", "--force");
    EXPECT(run, 0);
    assert_string_equal(stored("failover"), "{\"member\":\"two\"}");
}

static void test_flush(void **state)
{
    (void)state;
    lab_member_answer(two, "DELETE /restart", 404, "no restarts are scheduled");
    LabRun run = lab_run("", "flush", "demo", "restart", "--force");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "No scheduled restart for member one\n"
                       "Failed: flush scheduled restart for member two, status code=404, (no "
                       "restarts are scheduled)\n");
    run = lab_run("", "flush", "demo", "switchover");
    EXPECT(run, 0);
    assert_string_equal(run.out, "No pending scheduled switchover\n");

    // The leader is gone; the next one serves it.
    put("failover", "{\"leader\":\"one\",\"scheduled_at\":\"2030-01-01T10:00:00+00:00\"}");
    put("members/one", "{\"api_url\":\"http://127.0.0.1:1/patroni\"}");
    lab_member_answer(two, "DELETE /switchover", 200, "scheduled switchover deleted");
    run = lab_run("", "flush", "demo", "switchover");
    EXPECT(run, 0);
    assert_string_equal(run.out, "Success: scheduled switchover deleted\n");
    EXPECT_IN(run.err, "Warning: ");

    put("members/two", "{\"api_url\":\"http://127.0.0.1:1/patroni\"}");
    run = lab_run("", "flush", "demo", "switchover");
    EXPECT(run, 0);
    assert_string_equal(stored("failover"), "{}");
}

static void test_pause(void **state)
{
    (void)state;
    lab_member_answer(one, "PATCH /config", 200, "{}");
    LabRun run = lab_run("", "pause", "--wait");
    EXPECT(run, 0); // nobody recognizes it, but nobody has spoken either
    assert_string_equal(run.out,
                        "'pause' request sent, waiting until it is recognized by all nodes\n"
                        "Success: cluster management is paused\n");
    expect_requests(one, "PATCH /config {\"pause\": true}" AUTH "\n");
    run = lab_run("", "resume");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: Cluster is not paused\n");
    put("config", "{\"pause\":true}");
    run = lab_run("", "resume");
    EXPECT(run, 0);
    expect_requests(one, "PATCH /config {\"pause\": null}" AUTH "\n");
    lab_member_answer(one, "PATCH /config", 503, "no config");
    run = lab_run("", "resume");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "Failed: resume cluster management status code=503, (no config)\n");
}

static void test_edit_config(void **state)
{
    (void)state;
    LabRun run = lab_run("", "edit-config", "-s", "ttl=40", "-p", "work_mem=8MB", "--force");
    EXPECT(run, 0);
    assert_string_equal(run.out, "--- \n+++ \n@@ -1,3 +1,6 @@\n loop_wait: 1\n+postgresql:\n"
                                 "+  parameters:\n+    work_mem: 8MB\n synchronous_mode: true\n"
                                 "-ttl: 30\n+ttl: 40\nConfiguration changed\n");
    assert_string_equal(stored("config"),
                        "{\"ttl\":40,\"loop_wait\":1,\"synchronous_mode\":true,"
                        "\"postgresql\":{\"parameters\":{\"work_mem\":\"8MB\"}}}");
    run = lab_run("", "edit-config", "-s", "ttl=40");
    EXPECT(run, 0);
    assert_string_equal(run.out, "Not changed\n");
    run = lab_run("n\n", "edit-config", "-q", "-s", "ttl=41");
    EXPECT(run, 0);
    assert_string_equal(run.out, "Apply these changes? [y/N]: ");
    run = lab_run("ttl: 50\nloop_wait: null\n", "edit-config", "-q", "--apply", "-");
    EXPECT(run, 0);
    assert_string_equal(run.out, "Use --force option to apply changes\n");
    run = lab_run("ttl: 50\nloop_wait: 10\n", "edit-config", "-q", "--replace", "-", "--force");
    EXPECT(run, 0);
    assert_string_equal(stored("config"), "{\"ttl\":50,\"loop_wait\":10}");
    run = lab_run("", "edit-config", "nothing", "-s", "a=1", "--force");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: The config key does not exist in the cluster nothing\n");
    run = lab_run("", "edit-config", "--apply", "/no/such/file", "--force");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "Error: /no/such/file: no such file\n");
}

static void test_edit_config_in_an_editor(void **state)
{
    (void)state;
    const char *script = lab_file("editor", "sed -i s/30/31/ \"$2\"\n");
    setenv("EDITOR", arena_printf(lab_arena, "sh %s x", script), 1);
    LabRun run = lab_run("y\n", "edit-config");
    EXPECT(run, 0);
    assert_string_equal(stored("config"), "{\"loop_wait\":1,\"synchronous_mode\":true,\"ttl\":31}");
    setenv("EDITOR", "false", 1);
    run = lab_run("", "edit-config");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: Editor exited with return code 1\n");
    unsetenv("EDITOR");
}

// Somebody else changes the configuration while the editor is open.
static void test_edit_config_loses(void **state)
{
    (void)state;
    const char *script = lab_file(
        "editor", arena_printf(lab_arena,
                               "ETCDCTL_API=3 etcdctl --endpoints %s put /service/demo/config "
                               "'{\"ttl\":60}' >/dev/null\nsed -i s/30/31/ \"$1\"\n",
                               etcd_server_url(etcd)));
    setenv("EDITOR", arena_printf(lab_arena, "sh %s", script), 1);
    const LabRun run = lab_run("", "edit-config", "--force");
    unsetenv("EDITOR");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: Config modification aborted due to concurrent changes\n");
    assert_string_equal(stored("config"), "{\"ttl\":60}");
}

static void test_show_config_and_history(void **state)
{
    (void)state;
    LabRun run = lab_run("", "show-config");
    EXPECT(run, 0);
    assert_string_equal(run.out, "loop_wait: 1\nsynchronous_mode: true\nttl: 30\n\n");
    run = lab_run("", "history", "-f", "json");
    EXPECT(run, 0);
    assert_string_equal(run.out, "[{\"TL\": 1, \"LSN\": 50331744, \"Reason\": \"no recovery target "
                                 "specified\", \"Timestamp\": \"\", \"New Leader\": \"\"}]\n");
}

static void test_version(void **state)
{
    (void)state;
    lab_member_answer(one, "GET /patroni", 200,
                      "{\"server_version\":150018,\"patroni\":{\"version\":\"4.1.4\"},"
                      "\"howdah\":{\"version\":\"0.1.0\"}}");
    lab_member_answer(two, "GET /patroni", 503, "{\"patroni\":{\"version\":\"4.1.4\"}}");
    const LabRun run = lab_run("", "version", "demo");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "one: Patroni 4.1.4 PostgreSQL 15.18 Howdah 0.1.0\ntwo: Patroni 4.1.4\n");
}

static void test_explain(void **state)
{
    (void)state;
    lab_member_answer(one, "GET /why", 200,
                      "{\"name\":\"one\",\"role\":\"primary\",\"leader\":\"one\",\"reason\":"
                      "\"LEADER_HEALTHY\",\"reason_text\":\"leading\",\"evidence\":\"tl=3\","
                      "\"outcome\":\"\",\"since\":\"2026-11-23T03:43:00.058163+00:00\","
                      "\"fenced\":false,\"fence_armed\":true,\"lease_left_ms\":23110}");
    lab_member_answer(
        one, "GET /decisions", 200,
        "[{\"time\":\"2026-11-23T03:40:00.000000+00:00\",\"reason\":\"RACE_ASK_PEERS\",\"reason_"
        "text\":\"no leader\",\"key_action\":\"keep\",\"pg_action\":\"none\",\"evidence\":\"e1\"},"
        "{\"time\":\"2026-11-23T03:42:00.000000+00:00\",\"reason\":\"RACE_WON\",\"reason_text\":"
        "\"acquiring\",\"key_action\":\"acquire\",\"pg_action\":\"promote\",\"evidence\":\"e2\","
        "\"outcome\":\"lost\"}]");
    LabRun run = lab_run("", "explain", "one", "-n", "1");
    EXPECT(run, 0);
    assert_string_equal(run.out,
                        "one (primary), leads, lease left 23.110 s, fence armed, but not every "
                        "member has one\n"
                        "  2026-11-23 03:43:00.058 UTC  LEADER_HEALTHY: leading\n"
                        "      evidence: tl=3\n"
                        "  before that, oldest first:\n"
                        "  2026-11-23 03:42:00.000 UTC  RACE_WON: acquiring, lease: acquire, "
                        "server: promote\n"
                        "      evidence: e2\n"
                        "      outcome: lost\n");
    run = lab_run("", "explain");
    EXPECT(run, 1); // two is no Howdah
    EXPECT_IN(run.out, "RACE_ASK_PEERS");
    EXPECT_IN(run.out, "\n\ntwo: does not explain itself: a Patroni member\n");
    run = lab_run("", "explain", "one", "-f", "json");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "[{\"member\": \"one\", \"why\": {\"name\": \"one\"");
    run = lab_run("", "explain", "six");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: six is not a member of cluster demo\n");
}

static void test_dsn_and_query_targets(void **state)
{
    (void)state;
    LabRun run = lab_run("", "dsn");
    EXPECT(run, 0);
    assert_string_equal(run.out,
                        arena_printf(lab_arena, "host=127.0.0.1 port=%d\n", lab_member_port(one)));
    run = lab_run("", "dsn", "-r", "replica");
    assert_string_equal(run.out,
                        arena_printf(lab_arena, "host=127.0.0.1 port=%d\n", lab_member_port(two)));
    run = lab_run("", "dsn", "-m", "six");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: Can not find a suitable member\n");
    run = lab_run("", "dsn", "-r", "any", "-m", "one");
    EXPECT(run, 1);
    run = lab_run("", "query");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: You need to specify either --command or --file\n");
    run = lab_run("", "query", "-m", "six", "-c", "select 1");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "\tNo connection to member six is available\n");
}

static void test_remove(void **state)
{
    (void)state;
    static const struct {
        const char *input, *error;
    } rows[] = {
        {"other\n", "Error: Cluster names specified do not match\n"},
        {"demo\nyes\n", "Error: You did not exactly type \"Yes I am aware\"\n"},
        {"demo\nYes I am aware\ntwo\n",
         "Error: You did not specify the current leader of the cluster\n"},
        {"demo\nYes I am aware\n", "Aborted!\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const LabRun run = lab_run(rows[i].input, "remove", "demo");
        EXPECT(run, 1);
        assert_string_equal(run.err, rows[i].error);
    }
    assert_string_equal(stored("leader"), "one");
    const LabRun run = lab_run("demo\nYes I am aware\none\n", "remove", "demo");
    EXPECT(run, 0);
    assert_string_equal(stored("leader"), "");
    assert_string_equal(stored("members/two"), "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(test_list),
        TEST(test_list_of_unknown_cluster),
        TEST(test_list_without_a_name),
        TEST(test_dcs_url),
        TEST(test_no_store),
        TEST(test_usage),
        TEST(test_reload),
        TEST(test_as_patronictl),
        TEST(test_aborted),
        TEST(test_restart),
        TEST(test_reinit),
        TEST(test_switchover),
        TEST(test_switchover_is_refused),
        TEST(test_failover_to_asynchronous),
        TEST(test_switchover_over_the_store),
        TEST(test_flush),
        TEST(test_pause),
        TEST(test_edit_config),
        TEST(test_edit_config_in_an_editor),
        TEST(test_edit_config_loses),
        TEST(test_show_config_and_history),
        TEST(test_version),
        TEST(test_explain),
        TEST(test_dsn_and_query_targets),
        TEST(test_remove),
    };
    return cmocka_run_group_tests(tests, start_group, end_group);
}
