// What the server refuses by itself, and what it hands to the agent (docs/rest.md, "Changing"). The
// lab's clock says 2026-01-01T00:00:00Z.
#include "tests/unit/test_api_lab.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int setup(void **state)
{
    *state = lab_new();
    lab_start(*state);
    return 0;
}

static int teardown(void **state)
{
    lab_free(*state);
    return 0;
}

#define UNPARSABLE                                                                                 \
    "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"

static void test_refused(void **state)
{
    static const struct {
        bool paused;
        const char *target, *body;
        int status;
        const char *text;
    } rows[] = {
        {false, "/failover", "{\"leader\": \"b\"}", 400,
         "Failover could be performed only to a specific candidate"},
        {false, "/switchover", "{\"candidate\": \"a\"}", 400,
         "Switchover could be performed only from a specific leader"},
        {false, "/switchover", "{\"leader\": \"\", \"candidate\": \"a\"}", 400,
         "Switchover could be performed only from a specific leader"},
        {false, "/failover", "{\"candidate\": \"a\", \"scheduled_at\": \"2026-02-01T00:00Z\"}", 400,
         "Failover can't be scheduled"},
        {true, "/switchover", "{\"leader\": \"b\", \"scheduled_at\": \"2026-02-01T00:00Z\"}", 400,
         "Can't schedule switchover in the paused state"},
        {false, "/switchover", "{\"leader\": \"b\", \"scheduled_at\": \"2026-02-01T00:00\"}", 400,
         "Timezone information is mandatory for the scheduled switchover"},
        {false, "/switchover", "{\"leader\": \"b\", \"scheduled_at\": \"2025-12-31T23:59Z\"}", 422,
         "Cannot schedule switchover in the past"},
        {false, "/switchover", "{\"leader\": \"b\", \"scheduled_at\": \"soon\"}", 422, UNPARSABLE},
        {false, "/switchover", "{\"leader\": \"b\", \"scheduled_at\": 7}", 422, UNPARSABLE},
        {true, "/switchover", "{\"leader\": \"b\"}", 400,
         "Switchover is possible only to a specific candidate in a paused state"},
        {false, "/switchover", "{\"leader\": \"b\", \"candidate\": \"b\"}", 400,
         "Switchover target and source are the same"},
        {false, "/switchover",
         "{\"leader\": \"b\", \"member\": \"b\", \"scheduled_at\": \"2026-02-01T00:00Z\"}", 400,
         "Switchover target and source are the same"},
        {true, "/restart", "{\"schedule\": \"2026-02-01T00:00Z\", \"x\": 1}", 500,
         "Can't schedule restart in the paused state"},
        {false, "/restart", "{\"schedule\": \"2026-02-01T00:00\"}", 400,
         "Timezone information is mandatory for the scheduled restart"},
        {false, "/restart", "{\"schedule\": \"2025-02-01T00:00Z\"}", 422,
         "Cannot schedule restart in the past"},
        {false, "/restart", "{\"schedule\": null}", 422, UNPARSABLE},
        {false, "/restart", "{\"role\": \"master\"}", 400,
         "PostgreSQL role should be either primary, standby_leader, or replica"},
        {false, "/restart", "{\"postgres_version\": \"9.6\"}", 400,
         "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 9.6"},
        {false, "/restart", "{\"postgres_version\": \"15\"}", 400,
         "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 15"},
        {false, "/restart", "{\"postgres_version\": \"1.2.3.4\"}", 400,
         "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 1.2.3.4"},
        {false, "/restart", "{\"postgres_version\": \"15.x\"}", 400,
         "Invalid PostgreSQL version: 15.x"},
        {false, "/restart", "{\"postgres_version\": \"\"}", 400, "Invalid PostgreSQL version: "},
        {false, "/restart", "{\"timeout\": 0}", 400,
         "Timeout should be a positive number of seconds"},
        {false, "/restart", "{\"timeout\": \"long\"}", 400,
         "Timeout should be a positive number of seconds"},
        {false, "/restart", "{\"timeout\": true}", 400,
         "Timeout should be a positive number of seconds"},
        {false, "/restart", "{\"role\": \"replica\", \"when\": 1, \"timeout\": 0}", 400,
         "Unknown filter for the scheduled restart: when"},
        {false, "/failsafe", "{\"name\": \"b\", \"conn_url\": \"x\"}", 400,
         "api_url is missing, or is no text"},
    };
    Lab *lab = *state;
    LabReply reply;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Snapshot *s = lab_snapshot(lab);
        s->paused = rows[i].paused;
        lab_publish(lab, s);
        lab_request(lab, "POST", rows[i].target, NULL, rows[i].body, &reply);
        if (reply.status != rows[i].status || strcmp(reply.body, rows[i].text) != 0)
            fail_msg("%s %s: %d %s", rows[i].target, rows[i].body, reply.status, reply.body);
        assert_non_null(strstr(reply.head, "Content-Type: text/html\r\n"));
    }
    assert_int_equal(lab->submitted, 0);
}

static void test_submitted(void **state)
{
    // What reaches the agent is checked, normalized and has a deadline.
    static const struct {
        const char *method, *target, *body;
        ApiKind kind;
        const char *submitted;
        int64_t budget_ms;
    } rows[] = {
        {"POST", "/switchover", "{\"leader\": \"b\", \"x\": 1}", API_SWITCHOVER,
         "{\"leader\":\"b\"}", 20000},
        {"POST", "/switchover",
         "{\"leader\": \"b\", \"candidate\": null, \"member\": \"a\", \"scheduled_at\": "
         "\"2026-02-01 01:00+0100\"}",
         API_SWITCHOVER,
         "{\"leader\":\"b\",\"candidate\":\"a\",\"scheduled_at\":\"2026-02-01T01:00:00+01:00\"}",
         20000},
        {"POST", "/failover", "{\"candidate\": \"a\", \"scheduled_at\": null}", API_FAILOVER,
         "{\"candidate\":\"a\"}", 20000},
        {"POST", "/failover", "{\"leader\": \"b\", \"candidate\": \"a\"}", API_SWITCHOVER,
         "{\"leader\":\"b\",\"candidate\":\"a\"}", 20000},
        {"DELETE", "/switchover", NULL, API_DELETE_SWITCHOVER, "{}", 30000},
        {"POST", "/restart", NULL, API_RESTART, "{}", 380000},
        {"POST", "/restart", "", API_RESTART, "{}", 380000},
        {"POST", "/restart",
         "{\"schedule\": \"2026-02-01T00:00Z\", \"role\": \"replica\", \"postgres_version\": 15.4, "
         "\"timeout\": \"1 min\", \"restart_pending\": false}",
         API_RESTART,
         "{\"schedule\":\"2026-02-01T00:00:00+00:00\",\"role\":\"replica\",\"postgres_version\":"
         "\"15.4\",\"timeout\":60,\"restart_pending\":true}",
         140000},
        {"POST", "/restart/x", "{\"postgres_version\": \"9.6.24\", \"timeout\": 10}", API_RESTART,
         "{\"postgres_version\":\"9.6.24\",\"timeout\":10}", 90000},
        {"DELETE", "/restart", NULL, API_DELETE_RESTART, "{}", 30000},
        {"POST", "/reload", "garbage", API_RELOAD, "{}", 30000},
        {"POST", "/reinitialize", NULL, API_REINITIALIZE, "{\"force\":false,\"from_leader\":false}",
         30000},
        {"POST", "/reinitialize", "{\"force\": \"on\", \"from_leader\": 1}", API_REINITIALIZE,
         "{\"force\":true,\"from_leader\":true}", 30000},
        {"POST", "/reinitialize", "{\"from-leader\": true, \"force\": [1]}", API_REINITIALIZE,
         "{\"force\":false,\"from_leader\":true}", 30000},
        {"PATCH", "/config", "{\"ttl\": null}", API_PATCH_CONFIG, "{\"ttl\":null}", 30000},
        {"PUT", "/config", "{\"ttl\": 20}", API_PUT_CONFIG, "{\"ttl\":20}", 30000},
    };
    Lab *lab = *state;
    LabReply reply;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char head[512];
        const char *body = rows[i].body != NULL ? rows[i].body : "";
        const int fd = lab_connect(lab);
        (void)snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: x\r\n", rows[i].method,
                       rows[i].target);
        lab_send(fd, head);
        if (rows[i].body != NULL) {
            (void)snprintf(head, sizeof head, "Content-Length: %zu\r\n", strlen(body));
            lab_send(fd, head);
        }
        lab_send(fd, "\r\n");
        lab_send(fd, body);
        ApiRequest *request = lab_wait_request(lab);
        const char *submitted = tree_to_json(request->arena, request->body, JSON_COMPACT);
        if (request->kind != rows[i].kind || strcmp(submitted, rows[i].submitted) != 0)
            fail_msg("%s %s: %d %s", rows[i].target, body, (int)request->kind, submitted);
        assert_int_equal(deadline_left_ms(request->deadline, clock_now(&lab->clock.clock)),
                         rows[i].budget_ms);
        assert_true(instant_is_set(request->accepted_at));
        api_complete(request, 200, NULL, "done");
        lab_receive(fd, &reply);
        assert_string_equal(reply.body, "done");
        close(fd);
    }
}

static void test_answered_at_once(void **state)
{
    Lab *lab = *state;
    LabReply reply;
    lab_request(lab, "POST", "/sigterm", NULL, NULL, &reply);
    assert_int_equal(reply.status, 202);
    assert_string_equal(reply.body, "shutdown scheduled");
    lab_request(lab, "POST", "/citus", NULL, "{\"type\": \"before_demote\"}", &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "OK");
    assert_int_equal(lab->submitted, 0);
}

// --- failsafe

static bool accept_failsafe(ApiHost *host, const Tree *body, Lsn *out_lsn)
{
    (void)host;
    *out_lsn = str_eq(tree_get_string(body, "name", ""), "b") ? 83886336 : LSN_NONE;
    return true;
}

static void test_failsafe(void **state)
{
    static const char body[] = "{\"name\": \"b\", \"conn_url\": \"x\", \"api_url\": \"y\"}";
    Lab *lab = *state;
    LabReply reply;
    lab_request(lab, "POST", "/failsafe", NULL, body, &reply); // failsafe_mode is off
    assert_int_equal(reply.status, 502);

    Snapshot *s = lab_snapshot(lab);
    s->failsafe_enabled = true;
    lab_publish(lab, s);
    lab_request(lab, "POST", "/failsafe", NULL, body, &reply); // the agent takes no part
    assert_int_equal(reply.status, 502);
    lab->host.failsafe = accept_failsafe;
    lab_request(lab, "POST", "/failsafe", NULL, body, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "Accepted");
    assert_non_null(strstr(reply.head, "\r\nlsn: 83886336\r\n"));
    lab_request(lab, "POST", "/failsafe", NULL,
                "{\"name\": \"c\", \"conn_url\": \"x\", \"api_url\": \"y\"}", &reply);
    assert_int_equal(reply.status, 200);
    assert_null(strstr(reply.head, "lsn:"));

    s = lab_snapshot(lab);
    s->failsafe_enabled = true;
    s->server.role = ROLE_PRIMARY;
    lab_publish(lab, s);
    lab_request(lab, "POST", "/failsafe", NULL, body, &reply);
    assert_int_equal(reply.status, 500);
    assert_string_equal(reply.body, "Running as a leader");
}

// --- what is only shown

static void test_store_pages(void **state)
{
    static const char *const targets[] = {"/cluster", "/history", "/config", "/failsafe"};
    Lab *lab = *state;
    LabReply reply;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const Tree *config, *failsafe;
    Error err;
    for (size_t i = 0; i < COUNT_OF(targets); i++) // the store has not been read
        assert_int_equal(lab_status(lab, "GET", targets[i]), 503);

    const HistoryLine history[] = {{1, 100, "no recovery target specified", NULL, NULL},
                                   {2, 200, "r", "2026-01-01T00:00:00+00:00", "b"}};
    lab->cluster = (ClusterView){.seen_at = clock_now(&lab->clock.clock),
                                 .leader = {.name = "b"},
                                 .history = history,
                                 .history_count = 2};
    lab->cluster_there = true;
    lab_request(lab, "GET", "/history", NULL, NULL, &reply);
    assert_string_equal(reply.body, "[[1, 100, \"no recovery target specified\"], "
                                    "[2, 200, \"r\", \"2026-01-01T00:00:00+00:00\", \"b\"]]");
    lab_request(lab, "GET", "/cluster", NULL, NULL, &reply);
    assert_string_equal(reply.body, "{\"members\": [], \"scope\": \"demo\"}");
    assert_int_equal(lab_status(lab, "GET", "/config"), 502); // no such key
    assert_int_equal(lab_status(lab, "GET", "/failsafe"), 502);

    assert_true(tree_parse_json(arena, "{\"ttl\":30,\"x\":\"\\u00e9\"}", &config, &err));
    assert_true(tree_parse_json(arena, "{\"a\":\"http://a:8008/patroni\"}", &failsafe, &err));
    lab->cluster.config = config;
    lab->cluster.failsafe = failsafe;
    lab->cluster.history_count = 0;
    lab_request(lab, "GET", "/config", NULL, NULL, &reply);
    assert_string_equal(reply.body, "{\"ttl\": 30, \"x\": \"\\u00e9\"}");
    assert_non_null(strstr(reply.head, "Content-Type: application/json\r\n"));
    lab_request(lab, "GET", "/failsafe/x?y", NULL, NULL, &reply);
    assert_string_equal(reply.body, "{\"a\": \"http://a:8008/patroni\"}");
    lab_request(lab, "GET", "/history", NULL, NULL, &reply);
    assert_string_equal(reply.body, "[]");
    lab->cluster.config_invalid = true;
    assert_int_equal(lab_status(lab, "GET", "/config"), 502);

    lab_advance_ms(lab, 30000); // a view this old is none
    assert_int_equal(lab_status(lab, "GET", "/cluster"), 503);
}

static void test_decisions(void **state)
{
    static const LedgerEntry ledger[] = {{.turn = 1}, {.turn = 2}, {.turn = 3}};
    Lab *lab = *state;
    LabReply reply;
    Snapshot *s = lab_snapshot(lab);
    s->ledger = ledger;
    s->ledger_count = 3;
    lab_publish(lab, s);
    lab_request(lab, "GET", "/decisions?limit=2", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_null(strstr(reply.body, "\"turn\": 1,"));
    assert_non_null(strstr(reply.body, "\"turn\": 2,"));
    lab_request(lab, "GET", "/decisions", NULL, NULL, &reply);
    assert_non_null(strstr(reply.body, "\"turn\": 1,"));
    assert_int_equal(lab_status(lab, "GET", "/decisions?limit=x"), 400);
    assert_int_equal(lab_status(lab, "GET", "/decisions?limit=-1"), 400);
}

#define API_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(test_refused),  API_TEST(test_submitted),   API_TEST(test_answered_at_once),
        API_TEST(test_failsafe), API_TEST(test_store_pages), API_TEST(test_decisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
