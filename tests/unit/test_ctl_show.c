// howdahctl's commands that only show something, and how it is called: on a real etcd with records
// written by hand, and members that answer as told.
#include "tests/unit/test_ctl_demo.h"

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
        lab_member_port(demo_one), lab_member_port(demo_two));
    assert_string_equal(run.out, expected);
    demo_expect_requests(demo_one, ""); // the store is enough
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
    lab_settings(arena_printf(lab_arena, "etcd3: {host: '127.0.0.1:%d'}\n", demo_store_port()));
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
    const LabRun run = lab_run("", "-d", demo_store_url() + strlen("http://"), "dsn", "demo");
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
    lab_member_answer(demo_one, "GET /patroni", 200,
                      "{\"server_version\":150018,\"patroni\":{\"version\":\"4.1.4\"},"
                      "\"howdah\":{\"version\":\"0.1.0\"}}");
    lab_member_answer(demo_two, "GET /patroni", 503, "{\"patroni\":{\"version\":\"4.1.4\"}}");
    const LabRun run = lab_run("", "version", "demo");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "one: Patroni 4.1.4 PostgreSQL 15.18 Howdah 0.1.0\ntwo: Patroni 4.1.4\n");
}

static void test_explain(void **state)
{
    (void)state;
    lab_member_answer(demo_one, "GET /why", 200,
                      "{\"name\":\"one\",\"role\":\"primary\",\"leader\":\"one\",\"reason\":"
                      "\"LEADER_HEALTHY\",\"reason_text\":\"leading\",\"evidence\":\"tl=3\","
                      "\"outcome\":\"\",\"since\":\"2026-11-23T03:43:00.058163+00:00\","
                      "\"fenced\":false,\"fence_armed\":true,\"lease_left_ms\":23110}");
    lab_member_answer(
        demo_one, "GET /decisions", 200,
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
    assert_string_equal(
        run.out, arena_printf(lab_arena, "host=127.0.0.1 port=%d\n", lab_member_port(demo_one)));
    run = lab_run("", "dsn", "-r", "replica");
    assert_string_equal(
        run.out, arena_printf(lab_arena, "host=127.0.0.1 port=%d\n", lab_member_port(demo_two)));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEMO_TEST(test_list),
        DEMO_TEST(test_list_of_unknown_cluster),
        DEMO_TEST(test_list_without_a_name),
        DEMO_TEST(test_dcs_url),
        DEMO_TEST(test_no_store),
        DEMO_TEST(test_usage),
        DEMO_TEST(test_show_config_and_history),
        DEMO_TEST(test_version),
        DEMO_TEST(test_explain),
        DEMO_TEST(test_dsn_and_query_targets),
    };
    return cmocka_run_group_tests(tests, demo_start_group, demo_end_group);
}
