// howdahctl --api: everything through one member, without any store.
#include "tests/unit/test_ctl_lab.h"

#include <stdlib.h>

static LabMember *here, *other;

static int start_group(void **state)
{
    (void)state;
    lab_start();
    return 0;
}

static int end_group(void **state)
{
    (void)state;
    lab_end();
    return 0;
}

// The member behind --api is a replica, and it has published an address that we cannot reach, as
// behind a forwarded port.
static int start(void **state)
{
    (void)state;
    here = lab_member_start();
    other = lab_member_start();
    lab_settings(NULL);
    setenv("HOWDAHCTL_API", lab_member_url(here), 1);
    lab_member_answer(here, "GET /patroni", 200,
                      "{\"state\":\"running\",\"role\":\"replica\",\"database_system_identifier\":"
                      "\"7277694203142172922\",\"patroni\":{\"version\":\"4.1.4\",\"scope\":"
                      "\"demo\",\"name\":\"here\"}}");
    lab_member_answer(
        here, "GET /cluster", 200,
        arena_printf(lab_arena,
                     "{\"members\":[{\"name\":\"here\",\"role\":\"sync_standby\",\"state\":"
                     "\"streaming\",\"api_url\":\"http://127.0.0.1:1/patroni\",\"host\":\"h1\","
                     "\"port\":5432,\"timeline\":1,\"receive_lsn\":\"0/4000060\",\"receive_lag\":0,"
                     "\"replay_lsn\":\"0/4000060\",\"replay_lag\":0},{\"name\":\"other\",\"role\":"
                     "\"leader\",\"state\":\"running\",\"api_url\":\"%s/patroni\",\"host\":\"h2\","
                     "\"port\":5432,\"timeline\":1}],\"scope\":\"demo\"}",
                     lab_member_url(other)));
    lab_member_answer(here, "GET /config", 200,
                      "{\"ttl\": 30, \"loop_wait\": 1, \"synchronous_mode\": true}");
    lab_member_answer(here, "GET /history", 200,
                      "[[1, 50331744, \"no recovery target specified\"]]");
    return 0;
}

static int end(void **state)
{
    (void)state;
    lab_member_free(here);
    lab_member_free(other);
    return 0;
}

static void test_list(void **state)
{
    (void)state;
    const char *expected =
        "+ Cluster: demo (7277694203142172922) "
        "-----+----+-------------+-----+------------+-----+\n"
        "| Member | Host | Role         | State     | TL | Receive LSN | Lag | Replay LSN | Lag |\n"
        "+--------+------+--------------+-----------+----+-------------+-----+------------+-----+\n"
        "| here   | h1   | Sync Standby | streaming |  1 |   0/4000060 |   0 |  0/4000060 |   0 |\n"
        "| other  | h2   | Leader       | running   |  1 |             |     |            |     |\n"
        "+--------+------+--------------+-----------+----+-------------+-----+------------+-----+"
        "\n";
    LabRun run = lab_run("", "list");
    EXPECT(run, 0);
    assert_string_equal(run.out, expected);
    run = lab_run("", "list", "demo");
    assert_string_equal(run.out, expected);
    run = lab_run("", "list", "another");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "belongs to cluster demo, not to another");
    run = lab_run("", "topology");
    EXPECT_IN(run.out, "| + here | h1   |");
}

static void test_reading(void **state)
{
    (void)state;
    LabRun run = lab_run("", "history", "-f", "tsv");
    EXPECT(run, 0);
    assert_string_equal(run.out, "TL\tLSN\tReason\tTimestamp\tNew Leader\n"
                                 "1\t50331744\tno recovery target specified\t\t\n");
    run = lab_run("", "show-config");
    EXPECT(run, 0);
    assert_string_equal(run.out, "loop_wait: 1\nsynchronous_mode: true\nttl: 30\n\n");
    run = lab_run("", "dsn");
    assert_string_equal(run.out, "host=h2 port=5432\n");
    run = lab_run("", "--api", lab_member_url(here) + strlen("http://"), "dsn", "-r", "replica");
    assert_string_equal(run.out, "host=h1 port=5432\n");
}

// Whatever any member can serve is asked of this one; what is for a member goes to it, and to the
// one behind --api by the way that works.
static void test_writing(void **state)
{
    (void)state;
    lab_member_answer(here, "POST /failover", 200, "Successfully failed over to \"here\"");
    lab_member_answer(here, "POST /restart", 200, "restarted successfully");
    lab_member_answer(other, "POST /restart", 200, "restarted successfully");
    lab_member_answer(here, "PATCH /config", 200, "{}");
    LabRun run = lab_run("here\ny\n", "failover");
    EXPECT(run, 0);
    assert_null(strstr(run.out, "asynchronous"));
    EXPECT_IN(lab_member_requests(here), "POST /failover {\"candidate\": \"here\"}\n");
    run = lab_run("", "restart", "demo", "--force");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "Success: restart on member here\nSuccess: restart on member other\n");
    EXPECT_IN(lab_member_requests(here), "POST /restart {}\n");
    EXPECT_IN(lab_member_requests(other), "POST /restart {}\n");
    run = lab_run("", "pause");
    EXPECT(run, 0);
    EXPECT_IN(lab_member_requests(here), "PATCH /config {\"pause\": true}\n");
}

static void test_edit_config(void **state)
{
    (void)state;
    lab_member_answer(here, "PUT /config", 200, "{}");
    LabRun run = lab_run("", "edit-config", "-q", "-s", "ttl=40", "--force");
    EXPECT(run, 0);
    EXPECT_IN(lab_member_requests(here),
              "PUT /config {\"ttl\": 40, \"loop_wait\": 1, \"synchronous_mode\": true}\n");

    // Somebody else is faster.
    lab_member_answer(here, "GET /config", 200, "{\"ttl\": 30}");
    lab_member_answer_later(here, "GET /config", 1, 200, "{\"ttl\": 60}");
    run = lab_run("", "edit-config", "-q", "-s", "ttl=40", "--force");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: Config modification aborted due to concurrent changes\n");
    assert_null(strstr(lab_member_requests(here), "PUT"));

    lab_member_answer(here, "GET /config", 502, "");
    run = lab_run("", "edit-config", "-q", "-s", "ttl=40", "--force");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: The config key does not exist in the cluster demo\n");
}

// The cluster becomes a standby cluster: the poll sees its leader change its role.
static void test_demote_cluster(void **state)
{
    (void)state;
#define ROWS(role)                                                                                 \
    "{\"members\":[{\"name\":\"here\",\"role\":\"" role                                            \
    "\",\"state\":\"running\"}],\"scope\":\"demo\"}"
    lab_member_answer(here, "PATCH /config", 200, "{}");
    lab_member_answer(here, "GET /cluster", 200, ROWS("leader"));
    lab_member_answer_later(here, "GET /cluster", 2, 200, ROWS("standby_leader"));
    LabRun run = lab_run("y\n", "demote-cluster", "--host", "10.1.1.1", "--port", "5433");
    EXPECT(run, 0);
    EXPECT_IN(run.out, "cluster is unlocked: False, leader role: leader, leader state: running\n");
    EXPECT_IN(run.out, " cluster is successfully demoted\n+ Cluster: demo");
    EXPECT_IN(lab_member_requests(here),
              "PATCH /config {\"standby_cluster\": {\"host\": \"10.1.1.1\", \"port\": 5433}}\n");
    run = lab_run("", "demote-cluster", "--host", "10.1.1.1", "--force");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: Cluster is already in the required state\n");
    run = lab_run("", "demote-cluster", "--force");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "Error: At least --host, --port or --restore-command");
    run = lab_run("n\n", "promote-cluster");
    EXPECT(run, 1);
    assert_string_equal(run.err, "Error: Aborted cluster promote\n");
    lab_member_answer(here, "GET /cluster", 200, ROWS("standby_leader"));
    lab_member_answer_later(here, "GET /cluster", 1, 200, ROWS("leader"));
    run = lab_run("y\n", "promote-cluster");
    EXPECT(run, 0);
    EXPECT_IN(lab_member_requests(here), "PATCH /config {\"standby_cluster\": null}\n");
}

static void test_pause_waits(void **state)
{
    (void)state;
    lab_member_answer(here, "PATCH /config", 200, "{}");
    lab_member_answer(other, "GET /patroni", 200, "{\"state\":\"running\"}");
    lab_member_answer_later(other, "GET /patroni", 1, 200, "{\"pause\":true}");
    const LabRun run = lab_run("", "pause", "--wait");
    EXPECT(run, 0); // the member behind --api never says that it is paused
    EXPECT_IN(run.out, "\nhere did not recognize paused state after 1 seconds\n"
                       "Success: cluster management is paused\n");
}

static void test_remove_needs_the_store(void **state)
{
    (void)state;
    const LabRun run = lab_run("demo\nYes I am aware\nother\n", "remove", "demo");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "cannot go through --api");
}

static void test_unreachable(void **state)
{
    (void)state;
    LabRun run = lab_run("", "--api", "http://127.0.0.1:1", "list");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "Error: GET http://127.0.0.1:1/patroni: ");
    lab_member_answer(here, "GET /cluster", 503, "starting up\nreally");
    run = lab_run("", "list");
    EXPECT(run, 1);
    EXPECT_IN(run.err, ": status 503, starting up\n");
    lab_member_answer(here, "GET /cluster", 200, "<html>");
    run = lab_run("", "list");
    EXPECT(run, 1);
    EXPECT_IN(run.err, "Error: GET /cluster of ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(test_list),
        TEST(test_reading),
        TEST(test_writing),
        TEST(test_edit_config),
        TEST(test_demote_cluster),
        TEST(test_pause_waits),
        TEST(test_remove_needs_the_store),
        TEST(test_unreachable),
    };
    return cmocka_run_group_tests(tests, start_group, end_group);
}
