// howdahctl's commands that change something: on a real etcd with records written by hand, and
// members that answer as told.
#include "tests/unit/test_ctl_demo.h"

#include <stdlib.h>

static void test_reload(void **state)
{
    (void)state;
    lab_member_answer(demo_one, "POST /reload", 202, "reload scheduled");
    lab_member_answer(demo_two, "POST /reload", 401, "no auth header received");
    const LabRun run = lab_run("y\n", "reload", "demo");
    EXPECT(run, 1); // two has refused
    EXPECT_IN(run.out, "Are you sure you want to reload members one, two? [y/N]: Reload request "
                       "received for member one and will be processed within 1 seconds\n"
                       "Failed: reload for member two, status code=401, (no auth header "
                       "received)\n");
    demo_expect_requests(demo_one, "POST /reload" DEMO_AUTH "\n");
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
    demo_expect_requests(demo_one, "");
}

static void test_restart(void **state)
{
    (void)state;
    lab_member_answer(demo_one, "POST /restart", 200, "restarted successfully");
    lab_member_answer(demo_two, "POST /restart", 202, "Restart scheduled");
    lab_member_answer(demo_two, "DELETE /restart", 200, "scheduled restart deleted");
    LabRun run = lab_run("", "restart", "demo", "-r", "leader", "--force", "--timeout", "5s",
                         "--pg-version", "15.9");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Success: restart on member one\n");
    demo_expect_requests(
        demo_one,
        "POST /restart {\"postgres_version\": \"15.9\", \"timeout\": \"5s\"}" DEMO_AUTH "\n");
    run = lab_run("", "restart", "demo", "two", "--force", "--scheduled", "2030-01-01T10:00Z");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Success: restart scheduled on member two\n");
    demo_expect_requests(
        demo_two, "DELETE /restart" DEMO_AUTH
                  "\nPOST /restart {\"schedule\": \"2030-01-01T10:00:00+00:00\"}" DEMO_AUTH "\n");
    run = lab_run("now\ny\n\n", "restart", "demo", "--pending");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "restart members two? [y/N]: ");
    demo_expect_requests(demo_two, "POST /restart {\"restart_pending\": true}" DEMO_AUTH "\n");
    run = lab_run("", "restart", "demo", "one", "--force", "--pg-version", "9");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "Error: Invalid PostgreSQL version format");
}

static void test_reinit(void **state)
{
    (void)state;
    lab_member_answer(demo_two, "POST /reinitialize", 503, "reinitializing already in progress");
    lab_member_answer_later(demo_two, "POST /reinitialize", 1, 200, "reinitialize started");
    lab_member_answer(demo_two, "GET /patroni", 503, "{\"state\": \"creating replica\"}");
    lab_member_answer_later(demo_two, "GET /patroni", 1, 200, "{\"state\": \"running\"}");
    const LabRun run = lab_run("y\ny\n", "reinit", "demo", "two", "--wait");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Do you want to cancel it and reinitialize anyway? [y/N]: Success: "
                       "reinitialize for member two\n"
                       "Waiting for reinitialize to complete on: two\n"
                       "Reinitialize is completed on: two\n");
    demo_expect_requests(
        demo_two, "POST /reinitialize {\"force\": false, \"from_leader\": false}" DEMO_AUTH "\n"
                  "POST /reinitialize {\"force\": true, \"from_leader\": false}" DEMO_AUTH "\n"
                  "GET /patroni" DEMO_AUTH "\nGET /patroni" DEMO_AUTH "\n");
    const LabRun direct = lab_run("", "reinit", "demo", "two", "--from-leader", "--force");
    EXPECT(direct, 0);
    demo_expect_requests(
        demo_two, "POST /reinitialize {\"force\": true, \"from_leader\": true}" DEMO_AUTH "\n");
    const LabRun leader = lab_run("", "reinit", "demo", "one", "--force");
    EXPECT(leader, 1);
    EXPECT_IN(leader.err, "Error: No replica among provided members\n");
}

static void test_switchover(void **state)
{
    (void)state;
    lab_member_answer(demo_one, "POST /switchover", 200, "Successfully switched over to \"two\"");
    LabRun run = lab_run("\ntwo\nnow\ny\n", "switchover");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Current cluster topology\n+ Cluster: demo (7277694203142172922) ");
    EXPECT_IN(run.out, "Primary [one]: Candidate ['two'] []: When should the switchover take place "
                       "(e.g. ");
    EXPECT_IN(run.out, "demo, demoting current leader one? [y/N]: 20");
    EXPECT_IN(run.out, " Successfully switched over to \"two\"\n+ Cluster");
    demo_expect_requests(
        demo_one, "POST /switchover {\"candidate\": \"two\", \"leader\": \"one\"}" DEMO_AUTH "\n");

    lab_member_answer(demo_one, "POST /switchover", 412, "leader name does not match");
    run = lab_run("", "switchover", "--force");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "Switchover failed, details: 412, leader name does not match\n");
    demo_expect_requests(
        demo_one, "POST /switchover {\"candidate\": null, \"leader\": \"one\"}" DEMO_AUTH "\n");

    lab_member_answer(demo_one, "POST /switchover", 503,
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
    demo_expect_requests(demo_one, "");
}

static void test_failover_to_asynchronous(void **state)
{
    (void)state;
    LabRun run = lab_run("two\nn\n", "failover");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "Are you sure you want to failover to the asynchronous node two? [y/N]: ");
    assert_string_equal(run.err, "Error: Aborting failover\n");
    demo_put("sync", "{\"leader\":\"one\",\"sync_standby\":\"TWO\",\"quorum\":0}");
    lab_member_answer(demo_one, "POST /failover", 200, "Successfully failed over to \"two\"");
    run = lab_run("two\ny\n", "failover");
    EXPECT(run, 0);
    assert_null(strstr(run.out, "asynchronous"));
    demo_expect_requests(demo_one, "POST /failover {\"candidate\": \"two\"}" DEMO_AUTH "\n");
}

// Nobody listens at the leader's address: the request goes into the store, also by plain etcd.
static void test_switchover_over_the_store(void **state)
{
    (void)state;
    demo_put("members/one",
             "{\"conn_url\":\"postgres://127.0.0.1:5432/postgres\",\"api_url\":"
             "\"http://127.0.0.1:1/patroni\",\"state\":\"running\",\"role\":\"primary\"}");
    LabRun run = lab_run("", "switchover", "--candidate", "two", "--scheduled", "2030-01-01T10:00Z",
                         "--force");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Could not switchover using Patroni api, falling back to DCS\n");
    assert_string_equal(demo_stored("failover"), "{\"leader\":\"one\",\"member\":\"two\","
                                                 "\"scheduled_at\":\"2030-01-01T10:00:00+00:00\"}");
    run = lab_run("", "failover", "--candidate", "two", "--force");
    EXPECT(run, 0);
    assert_string_equal(demo_stored("failover"), "{\"member\":\"two\"}");
}

static void test_flush(void **state)
{
    (void)state;
    lab_member_answer(demo_two, "DELETE /restart", 404, "no restarts are scheduled");
    LabRun run = lab_run("", "flush", "demo", "restart", "--force");
    EXPECT(run, 1);
    EXPECT_IN(run.out, "No scheduled restart for member one\n"
                       "Failed: flush scheduled restart for member two, status code=404, (no "
                       "restarts are scheduled)\n");
    run = lab_run("", "flush", "demo", "switchover");
    EXPECT(run, 0);
    assert_string_equal(run.out, "No pending scheduled switchover\n");

    // The leader is gone; the next one serves it.
    demo_put("failover", "{\"leader\":\"one\",\"scheduled_at\":\"2030-01-01T10:00:00+00:00\"}");
    demo_put("members/one", "{\"api_url\":\"http://127.0.0.1:1/patroni\"}");
    lab_member_answer(demo_two, "DELETE /switchover", 200, "scheduled switchover deleted");
    run = lab_run("", "flush", "demo", "switchover");
    EXPECT(run, 0);
    assert_string_equal(run.out, "Success: scheduled switchover deleted\n");
    EXPECT_IN(run.err, "Warning: ");

    demo_put("members/two", "{\"api_url\":\"http://127.0.0.1:1/patroni\"}");
    run = lab_run("", "flush", "demo", "switchover");
    EXPECT(run, 0);
    assert_string_equal(demo_stored("failover"), "{}");
}

static void test_pause(void **state)
{
    (void)state;
    lab_member_answer(demo_one, "PATCH /config", 200, "{}");
    LabRun run = lab_run("", "pause", "--wait");
    EXPECT(run, 0); // nobody recognizes it, but nobody has spoken either
    assert_string_equal(run.out,
                        "'pause' request sent, waiting until it is recognized by all nodes\n"
                        "Success: cluster management is paused\n");
    demo_expect_requests(demo_one, "PATCH /config {\"pause\": true}" DEMO_AUTH "\n");
    run = lab_run("", "resume");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: Cluster is not paused\n");
    demo_put("config", "{\"pause\":true}");
    run = lab_run("", "resume");
    EXPECT(run, 0);
    demo_expect_requests(demo_one, "PATCH /config {\"pause\": null}" DEMO_AUTH "\n");
    lab_member_answer(demo_one, "PATCH /config", 503, "no config");
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
    assert_string_equal(demo_stored("config"),
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
    assert_string_equal(demo_stored("config"), "{\"ttl\":50,\"loop_wait\":10}");
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
    assert_string_equal(demo_stored("config"),
                        "{\"loop_wait\":1,\"synchronous_mode\":true,\"ttl\":31}");
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
                               demo_store_url()));
    setenv("EDITOR", arena_printf(lab_arena, "sh %s", script), 1);
    const LabRun run = lab_run("", "edit-config", "--force");
    unsetenv("EDITOR");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: Config modification aborted due to concurrent changes\n");
    assert_string_equal(demo_stored("config"), "{\"ttl\":60}");
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
    assert_string_equal(demo_stored("leader"), "one");
    const LabRun run = lab_run("demo\nYes I am aware\none\n", "remove", "demo");
    EXPECT(run, 0);
    assert_string_equal(demo_stored("leader"), "");
    assert_string_equal(demo_stored("members/two"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEMO_TEST(test_reload),
        DEMO_TEST(test_as_patronictl),
        DEMO_TEST(test_aborted),
        DEMO_TEST(test_restart),
        DEMO_TEST(test_reinit),
        DEMO_TEST(test_switchover),
        DEMO_TEST(test_switchover_is_refused),
        DEMO_TEST(test_failover_to_asynchronous),
        DEMO_TEST(test_switchover_over_the_store),
        DEMO_TEST(test_flush),
        DEMO_TEST(test_pause),
        DEMO_TEST(test_edit_config),
        DEMO_TEST(test_edit_config_in_an_editor),
        DEMO_TEST(test_edit_config_loses),
        DEMO_TEST(test_remove),
    };
    return cmocka_run_group_tests(tests, demo_start_group, demo_end_group);
}
