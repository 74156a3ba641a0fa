#include "dcs/dcs.h"
#include "dcs/records.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static Arena *arena;

static int start(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static RawKey raw(const char *key, const char *value)
{
    return (RawKey){.key = key,
                    .value = value,
                    .length = strlen(value),
                    .create_revision = 10,
                    .mod_revision = 11};
}

static ClusterView parse_one(const char *key, const char *value)
{
    const RawKey one = raw(key, value);
    ClusterView view = {0};
    records_parse(arena, &one, 1, 20, &view);
    return view;
}

static void test_the_member_record(void **state)
{
    (void)state;
    Tree *tags = tree_map(arena);
    tree_set(arena, tags, "clonefrom", tree_bool(arena, true));
    Settings settings = {
        .postgresql = {.connect = {"10.0.0.1", 5432}, .database = "postgres"},
        .restapi = {.api_url = "http://10.0.0.1:8008/patroni"},
    };
    ServerView server = {.answered = true,
                         .state = STATE_RUNNING,
                         .role = ROLE_PRIMARY,
                         .flush_lsn = 83886400,
                         .timeline = 2};
    MemberRecordInput input = {.settings = &settings, .server = &server, .leader = true};
#define HEAD                                                                                       \
    "{\"conn_url\":\"postgres://10.0.0.1:5432/postgres\",\"api_url\":\"http://10.0.0.1:8008/"      \
    "patroni\",\"state\":\"running\",\"role\":\""
#define VERSIONS "\",\"version\":\"4.1.4\",\"howdah\":\"" HOWDAH_VERSION "\""
    assert_string_equal(records_member(arena, &input),
                        HEAD "primary" VERSIONS ",\"xlog_location\":83886400,\"timeline\":2}");

    // Everything that a leader can have.
    settings.postgresql.proxy = (Address){"fd00::7", 6432};
    settings.tags_tree = tags;
    server.checkpoint_pending = server.pending_restart = true;
    Tree *change = tree_map(arena), *reasons = tree_map(arena), *restart = tree_map(arena);
    tree_set(arena, change, "old_value", tree_string(arena, "100"));
    tree_set(arena, change, "new_value", tree_string(arena, "200"));
    tree_set(arena, reasons, "max_connections", change);
    tree_set(arena, restart, "schedule", tree_string(arena, "2030-01-01T00:00:00+00:00"));
    server.pending_restart_reason = reasons;
    input.scheduled_restart = restart;
    input.paused = true;
    assert_string_equal(
        records_member(arena, &input),
        HEAD "primary" VERSIONS ",\"proxy_url\":\"postgres://[fd00::7]:6432/postgres\","
             "\"checkpoint_after_promote\":false,\"tags\":{\"clonefrom\":true},"
             "\"pending_restart\":true,\"pending_restart_reason\":{\"max_connections\":{"
             "\"old_value\":\"100\",\"new_value\":\"200\"}},\"xlog_location\":83886400,"
             "\"timeline\":2,\"scheduled_restart\":{\"schedule\":\"2030-01-01T00:00:00+00:00\"},"
             "\"pause\":true}");

    // A replica.
    settings.postgresql.proxy.host = NULL;
    settings.tags_tree = NULL;
    server = (ServerView){.answered = true,
                          .state = STATE_RUNNING,
                          .role = ROLE_REPLICA,
                          .in_recovery = true,
                          .streaming = true,
                          .receive_lsn = 700,
                          .replay_lsn = 600,
                          .timeline = 2};
    input = (MemberRecordInput){.settings = &settings, .server = &server};
    assert_string_equal(records_member(arena, &input),
                        HEAD "replica" VERSIONS ",\"xlog_location\":700,\"replay_lsn\":600,"
                             "\"receive_lsn\":700,\"replication_state\":\"streaming\","
                             "\"timeline\":2}");
    server.streaming = false;
    server.archive_recovery = true;
    server.receive_lsn = server.timeline = 0;
    assert_string_equal(records_member(arena, &input),
                        HEAD "replica" VERSIONS ",\"xlog_location\":600,\"replay_lsn\":600,"
                             "\"replication_state\":\"in archive recovery\"}");
}

// Positions are left out while they mean nothing.
static void test_positions_only_of_a_running_server(void **state)
{
    (void)state;
    const Settings settings = {.postgresql = {.listen_addresses = "0.0.0.0,::1", .port = 5444},
                               .restapi = {.api_url = "http://h:8008/patroni"}};
    static const struct {
        bool answered;
        ServerState state;
        TaskKind task;
        bool running, shown;
    } rows[] = {
        {true, STATE_RUNNING, TASK_NONE, false, true},
        {true, STATE_STARTING, TASK_NONE, false, true},
        {true, STATE_RESTARTING, TASK_NONE, false, true},
        {true, STATE_STOPPING, TASK_NONE, false, false},
        {false, STATE_RUNNING, TASK_NONE, false, false},
        {true, STATE_RUNNING, TASK_PROMOTE, true, true},
        {true, STATE_RUNNING, TASK_INSPECT, true, true},
        {true, STATE_RUNNING, TASK_STOP, true, false},
        {true, STATE_RUNNING, TASK_STOP, false, true},
        {true, STATE_RUNNING, TASK_CLONE, true, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const ServerView server = {.answered = rows[i].answered,
                                   .state = rows[i].state,
                                   .role = ROLE_REPLICA,
                                   .task = {.kind = rows[i].task, .running = rows[i].running}};
        const MemberRecordInput input = {.settings = &settings, .server = &server};
        const char *json = records_member(arena, &input);
        assert_int_equal(strstr(json, "xlog_location") != NULL, rows[i].shown);
        assert_true(str_starts(json, "{\"conn_url\":\"postgres://localhost:5444/postgres\""));
    }
}

// What we write we read back.
static void test_member_records_come_back(void **state)
{
    (void)state;
    const Settings settings = {
        .postgresql = {.connect = {"fd00::1", 5432}, .database = "postgres"},
        .restapi = {.api_url = "https://[fd00::1]:8008/patroni"},
    };
    const ServerView server = {.answered = true,
                               .state = STATE_RUNNING,
                               .role = ROLE_STANDBY_LEADER,
                               .in_recovery = true,
                               .replay_lsn = 9,
                               .control = {.timeline = 3}};
    const MemberRecordInput input = {.settings = &settings, .server = &server, .paused = true};
    const ClusterView view = parse_one("members/m", records_member(arena, &input));
    const MemberView *m = &view.members[0];
    assert_string_equal(m->host, "fd00::1");
    assert_int_equal(m->role, ROLE_STANDBY_LEADER);
    assert_int_equal(m->timeline, 3); // of pg_control, for want of a receiver's
    assert_string_equal(m->howdah, HOWDAH_VERSION);
    assert_true(m->pause);
    assert_int_equal(m->replay_lsn, 9);
}

static void test_the_other_values(void **state)
{
    (void)state;
    Tree *slots = tree_map(arena);
    StringList names = {0}, none = {0};
    tree_set(arena, slots, "b_1", tree_int(arena, 83886344));
    string_list_add(&names, arena, "node2");
    string_list_add(&names, arena, "Node1");
    assert_string_equal(records_status(arena, 83886400, NULL, NULL), "{\"optime\":83886400}");
    assert_string_equal(records_status(arena, 5, tree_map(arena), &none), "{\"optime\":5}");
    assert_string_equal(
        records_status(arena, 5, slots, &names),
        "{\"optime\":5,\"slots\":{\"b_1\":83886344},\"retain_slots\":[\"node2\",\"Node1\"]}");

    const HistoryLine lines[] = {
        {1, 25623960, "no recovery target specified", NULL, NULL},
        {2, 83886400, "caf\xc3\xa9 \"x\"", "2023-05-01T12:00:00.000001+00:00", "a"},
    };
    assert_string_equal(records_history(arena, lines, 0), "[]");
    assert_string_equal(records_history(arena, lines, 2),
                        "[[1,25623960,\"no recovery target specified\"],[2,83886400,\"caf\\u00e9 "
                        "\\\"x\\\"\",\"2023-05-01T12:00:00.000001+00:00\",\"a\"]]");

    assert_string_equal(records_failover(arena, NULL, "", NULL), "{}");
    assert_string_equal(records_failover(arena, "a", "b", "2030-01-01T00:00:00+00:00"),
                        "{\"leader\":\"a\",\"member\":\"b\",\"scheduled_at\":\"2030-01-01T00:00:00+"
                        "00:00\"}");
    assert_string_equal(records_failover(arena, NULL, "b", NULL), "{\"member\":\"b\"}");
    assert_string_equal(records_sync(arena, "a", &names, 0),
                        "{\"leader\":\"a\",\"quorum\":0,\"sync_standby\":\"Node1,node2\"}");
    assert_string_equal(records_sync(arena, "a", NULL, 2),
                        "{\"leader\":\"a\",\"quorum\":2,\"sync_standby\":null}");
}

static void test_term_records_come_back(void **state)
{
    (void)state;
    const char *json = records_term(arena, "a", "boot/dir", INT64_C(9007199254740993), 3, 4, true,
                                    true, 0x123456789A);
    const ClusterView view = parse_one("howdah", json);
    assert_true(view.term.present);
    assert_string_equal(view.term.holder, "a");
    assert_string_equal(view.term.instance, "boot/dir");
    assert_int_equal(view.term.term, INT64_C(9007199254740993)); // beyond a double's digits
    assert_int_equal(view.term.parent_timeline, 3);
    assert_int_equal(view.term.timeline, 4);
    assert_true(view.term.confirmed);
    assert_true(view.term.released);
    assert_int_equal(view.term.released_lsn, 0x123456789A);
    assert_int_equal(view.term.mod_revision, 11);
}

// In the local zone, whichever that is; Patroni reads it back.
static void test_timestamps(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *text;
    } rows[] = {
        {"UTC", "2030-01-02T01:04:05.678901+00:00"},
        {"America/St_Johns", "2030-01-01T21:34:05.678901-03:30"},
        {"Asia/Kolkata", "2030-01-02T06:34:05.678901+05:30"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        setenv("TZ", rows[i].zone, 1);
        tzset();
        assert_string_equal(records_timestamp(arena, INT64_C(1893546245678901)), rows[i].text);
    }
    unsetenv("TZ");
    tzset();
}

static void test_key_names(void **state)
{
    (void)state;
    assert_string_equal(records_key_name(KEY_INITIALIZE), "initialize");
    assert_string_equal(records_key_name(KEY_CONFIG), "config");
    assert_string_equal(records_key_name(KEY_FAILOVER), "failover");
    assert_string_equal(records_key_name(KEY_SYNC), "sync");
    assert_string_equal(records_key_name(KEY_HISTORY), "history");
    assert_string_equal(records_key_name(KEY_FAILSAFE), "failsafe");
    assert_string_equal(records_key_name(KEY_STATUS), "status");
    assert_string_equal(records_key_name(KEY_TERM), "howdah");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_member_record),
        cmocka_unit_test(test_positions_only_of_a_running_server),
        cmocka_unit_test(test_member_records_come_back),
        cmocka_unit_test(test_the_other_values),
        cmocka_unit_test(test_term_records_come_back),
        cmocka_unit_test(test_timestamps),
        cmocka_unit_test(test_key_names),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
