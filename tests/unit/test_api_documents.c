// The pages, to the byte: what patronictl, peers, Prometheus and people read.
#include "api/explain.h"
#include "api/member_status.h"
#include "api/metrics.h"
#include "api/status_document.h"
#include "common/model/cluster_document.h"
#include "tests/support/test.h"

#include <string.h>

#define NOW_MS 1000000

static Instant at_ms(int64_t ms)
{
    return (Instant){ms * NS_PER_MS};
}

static const Tree *json(Arena *arena, const char *text)
{
    const Tree *tree;
    Error err = {0};
    if (!tree_parse_json(arena, text, &tree, &err))
        fail_msg("%s", err.text);
    return tree;
}

static Snapshot agent(void)
{
    return (Snapshot){.name = "a",
                      .scope = "demo",
                      .howdah_version = "0.1.0",
                      .patroni_version = "4.1.4",
                      .tag_values = {.failover_priority = 1},
                      .ttl_ms = 30000,
                      .loop_wait_ms = 10000,
                      .cluster_known = true,
                      .cluster = {.seen_at = at_ms(NOW_MS), .leader = {.name = "a"}},
                      .dcs_last_seen_s = 1767225600,
                      .next_turn_at = at_ms(NOW_MS)};
}

static char *status_of(Arena *arena, const Snapshot *s, const ServerView *server, int64_t age_ms)
{
    const StatusInput in = {.snapshot = s,
                            .server = server,
                            .cluster_known = snapshot_cluster_known(s, at_ms(NOW_MS)),
                            .position_age_ms = age_ms};
    return status_document(arena, &in);
}

// --- status

static void test_primary_document(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    static const WalSenderView senders[] = {{.application_name = "b",
                                             .client_addr = NULL,
                                             .state = "streaming",
                                             .sync_state = "async",
                                             .usename = "replicator"}};
    static const TimelineSwitch parents[] = {{1, 0x3000000}, {2, UINT64_C(0x1600000000)}};
    Snapshot s = agent();
    s.server = (ServerView){.running = true,
                            .answered = true,
                            .timeline = 3,
                            .flush_lsn = UINT64_C(0x16B374D848),
                            .server_version = 150018,
                            .postmaster_start_text = "2024-08-28 19:39:26.352526+00:00",
                            .senders = senders,
                            .sender_count = 1,
                            .control = {.known = true, .system_identifier = "7421342837462832"},
                            .history = {.timeline = 3, .parents = parents, .parent_count = 2},
                            .role = ROLE_PRIMARY,
                            .state = STATE_RUNNING};
    assert_string_equal(
        status_of(arena, &s, &s.server, 4),
        "{\"state\": \"running\", \"postmaster_start_time\": \"2024-08-28 19:39:26.352526+00:00\", "
        "\"role\": \"primary\", \"server_version\": 150018, \"xlog\": {\"location\": 97500059720}, "
        "\"timeline\": 3, \"replication\": [{\"usename\": \"replicator\", \"application_name\": "
        "\"b\", \"client_addr\": null, \"state\": \"streaming\", \"sync_state\": \"async\", "
        "\"sync_priority\": 0}], \"dcs_last_seen\": 1767225600, \"database_system_identifier\": "
        "\"7421342837462832\", \"patroni\": {\"version\": \"4.1.4\", \"scope\": \"demo\", "
        "\"name\": \"a\"}, \"howdah\": {\"version\": \"0.1.0\", \"timeline_history\": "
        "[[1, \"0/3000000\"], [2, \"16/0\"]], \"position_age_ms\": 4}}");
}

static void test_replica_document(void **state)
{
    // Everything that can be there at once.
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    static const char *const voters[] = {"A"};
    Snapshot s = agent();
    s.cluster.leader.name = NULL;
    s.cluster.sync.voters = (StringList){.items = (const char **)(uintptr_t)voters, .count = 1};
    s.sync_mode = true;
    s.paused = s.failsafe_active = true;
    s.tags = json(arena, "{\"zone\": \"\\u00e9\"}");
    s.scheduled_restart = json(arena, "{\"schedule\": \"2026-02-01T00:00:00+00:00\", "
                                      "\"postmaster_start_time\": \"x\"}");
    s.server = (ServerView){.running = true,
                            .answered = true,
                            .in_recovery = true,
                            .replay_lsn = 0x5000060,
                            .replay_paused = true,
                            .streaming = true,
                            .server_version = 160004,
                            .replayed_text = "2024-08-28 20:00:00+00:00",
                            .history = {.timeline = 3},
                            .role = ROLE_REPLICA,
                            .state = STATE_RUNNING,
                            .pending_restart = true,
                            .pending_restart_reason =
                                json(arena, "{\"max_connections\": {\"old_value\": \"100\", "
                                            "\"new_value\": \"?\"}}")};
    assert_string_equal(
        status_of(arena, &s, &s.server, -1),
        "{\"state\": \"running\", \"role\": \"replica\", \"server_version\": 160004, \"xlog\": "
        "{\"received_location\": 83886176, \"replayed_location\": 83886176, "
        "\"replayed_timestamp\": \"2024-08-28 20:00:00+00:00\", \"paused\": true}, "
        "\"sync_standby\": true, \"timeline\": null, \"replication_state\": \"streaming\", "
        "\"pause\": true, \"cluster_unlocked\": true, \"failsafe_mode_is_active\": true, "
        "\"dcs_last_seen\": 1767225600, \"tags\": {\"zone\": \"\\u00e9\"}, \"pending_restart\": "
        "true, \"pending_restart_reason\": {\"max_connections\": {\"old_value\": \"100\", "
        "\"new_value\": \"?\"}}, \"patroni\": {\"version\": \"4.1.4\", \"scope\": \"demo\", "
        "\"name\": \"a\"}, \"scheduled_restart\": {\"schedule\": \"2026-02-01T00:00:00+00:00\"}, "
        "\"howdah\": {\"version\": \"0.1.0\"}}");
    s.quorum_mode = true;
    const char *quorum = status_of(arena, &s, &s.server, -1);
    assert_non_null(strstr(quorum, "\"quorum_standby\": true, \"timeline\""));
    assert_null(strstr(quorum, "sync_standby"));
}

static void test_unanswered_document(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    static const struct {
        ServerState state;
        bool sampled;
        const char *shown;
    } rows[] = {
        {STATE_RUNNING, false, "unknown"},       {STATE_STARTING, false, "starting"},
        {STATE_RESTARTING, false, "restarting"}, {STATE_STOPPED, false, "stopped"},
        {STATE_STOPPED, true, "stopped"},        {STATE_CREATING_REPLICA, true, "creating replica"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Snapshot s = agent();
        s.server = (ServerView){.answered = true, .role = ROLE_REPLICA, .state = rows[i].state};
        const char *text = status_of(arena, &s, rows[i].sampled ? &s.server : NULL, 0);
        assert_string_equal(
            text, arena_printf(arena,
                               "{\"state\": \"%s\", \"role\": \"replica\", \"dcs_last_seen\": "
                               "1767225600, \"patroni\": {\"version\": \"4.1.4\", \"scope\": "
                               "\"demo\", \"name\": \"a\"}, \"howdah\": {\"version\": \"0.1.0\"}}",
                               rows[i].shown));
    }
}

static void test_roles(void **state)
{
    // Postgres's word counts, but in a standby cluster and when it does not speak.
    (void)state;
    static const struct {
        bool answered, in_recovery, standby_cluster;
        Role memory, shown;
    } rows[] = {
        {true, false, false, ROLE_REPLICA, ROLE_PRIMARY},
        {true, true, false, ROLE_PRIMARY, ROLE_REPLICA},
        {true, true, false, ROLE_PROMOTED, ROLE_REPLICA},
        {true, true, true, ROLE_STANDBY_LEADER, ROLE_STANDBY_LEADER},
        {true, true, true, ROLE_REPLICA, ROLE_REPLICA},
        {true, false, true, ROLE_STANDBY_LEADER, ROLE_PRIMARY},
        {false, false, false, ROLE_DEMOTED, ROLE_DEMOTED},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Snapshot s = agent();
        s.standby_cluster = rows[i].standby_cluster;
        s.server = (ServerView){.answered = rows[i].answered,
                                .in_recovery = rows[i].in_recovery,
                                .role = rows[i].memory,
                                .state = STATE_RUNNING};
        assert_int_equal(member_status(&s, &s.server, true).role, rows[i].shown);
    }
}

// --- metrics

static char *metrics_of(Arena *arena, const Snapshot *s, const ServerView *server)
{
    const StatusInput in = {.snapshot = s, .server = server, .cluster_known = true};
    return metrics_text(arena, &in, at_ms(NOW_MS));
}

// The samples alone, one a line: what Prometheus keeps.
static char *samples_of(Arena *arena, const char *page)
{
    Text text = text_new(arena);
    for (const char *line = page; *line != '\0';) {
        const size_t length = strcspn(line, "\n") + 1;
        if (*line != '#')
            text_add_bytes(&text, line, length);
        line += length;
    }
    return text.data;
}

#define L "{scope=\"demo\",name=\"a\"} "

static void test_replica_metrics(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Snapshot s = agent();
    s.failsafe_enabled = s.fenced = true;
    s.cluster.failsafe = json(arena, "{\"a\": \"http://a:8008/patroni\"}");
    s.turns = 17;
    s.server = (ServerView){.running = true,
                            .answered = true,
                            .in_recovery = true,
                            .timeline = 3,
                            .receive_lsn = 0x5000100,
                            .replay_lsn = 0x5000060,
                            .streaming = true,
                            .server_version = 150018,
                            .postmaster_start_us = INT64_C(1724873966352526),
                            .replayed_us = INT64_C(1724873967000000),
                            .role = ROLE_REPLICA,
                            .state = STATE_RUNNING};
    const char *page = metrics_of(arena, &s, &s.server);
    assert_string_equal(samples_of(arena, page),
                        "patroni_version" L "040104\n"
                        "patroni_postgres_running" L "1\n"
                        "patroni_postmaster_start_time" L "1724873966.352526\n"
                        "patroni_primary" L "0\n"
                        "patroni_xlog_location" L "0\n"
                        "patroni_standby_leader" L "0\n"
                        "patroni_replica" L "1\n"
                        "patroni_sync_standby" L "0\n"
                        "patroni_quorum_standby" L "0\n"
                        "patroni_xlog_received_location" L "83886336\n"
                        "patroni_xlog_replayed_location" L "83886176\n"
                        "patroni_xlog_replayed_timestamp" L "1724873967.0\n"
                        "patroni_xlog_paused" L "0\n"
                        "patroni_postgres_streaming" L "1\n"
                        "patroni_postgres_in_archive_recovery" L "0\n"
                        "patroni_postgres_server_version" L "150018\n"
                        "patroni_cluster_unlocked" L "0\n"
                        "patroni_failsafe_mode_is_active" L "0\n"
                        "patroni_failsafe_mode_enabled" L "1\n"
                        "patroni_failsafe_member" L "1\n"
                        "patroni_postgres_timeline" L "3\n"
                        "patroni_dcs_last_seen" L "1767225600\n"
                        "patroni_pending_restart" L "0\n"
                        "patroni_is_paused" L "0\n"
                        "patroni_postgres_state" L "5\n"
                        "patroni_failover_priority" L "1\n"
                        "howdah_fenced" L "1\n"
                        "howdah_fence_armed" L "0\n"
                        "howdah_is_leader" L "0\n"
                        "howdah_lease_left_seconds" L "0.000\n"
                        "howdah_disk_busy_seconds" L "0.000\n"
                        "howdah_turns_total" L "17\n"
                        "howdah_log_dropped_total" L "0\n");
    assert_non_null(strstr(page, "# TYPE patroni_xlog_location counter\npatroni_xlog_location{"));
    assert_non_null(strstr(page,
                           "\n# Values: 0=initdb, 1=initdb_failed, 2=custom_bootstrap, "
                           "3=custom_bootstrap_failed, 4=creating_replica, 5=running, 6=starting, "
                           "7=bootstrap_starting, 8=start_failed, 9=restarting, 10=restart_failed, "
                           "11=stopping, 12=stopped, 13=stop_failed, 14=crashed\n"
                           "# TYPE patroni_postgres_state gauge\npatroni_postgres_state{"));
    assert_true(str_ends(page, "0\n"));
}

static void test_leader_metrics(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Snapshot s = agent();
    s.name = "a\"b";
    s.leader_until = at_ms(NOW_MS + 23110);
    s.tag_values.nofailover = true;
    s.server = (ServerView){.running = true,
                            .answered = true,
                            .flush_lsn = 77,
                            .server_version = 150018,
                            .role = ROLE_PRIMARY,
                            .state = STATE_RUNNING};
    const char *page = metrics_of(arena, &s, &s.server);
    static const char *const lines[] = {
        "patroni_primary{scope=\"demo\",name=\"a\\\"b\"} 1\n",
        "patroni_xlog_location{scope=\"demo\",name=\"a\\\"b\"} 77\n",
        "patroni_failover_priority{scope=\"demo\",name=\"a\\\"b\"} 0\n",
        "howdah_is_leader{scope=\"demo\",name=\"a\\\"b\"} 1\n",
        "howdah_lease_left_seconds{scope=\"demo\",name=\"a\\\"b\"} 23.110\n",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (strstr(page, lines[i]) == NULL)
            fail_msg("%s is missing", lines[i]);
}

static void test_unanswered_metrics(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Snapshot s = agent();
    s.server = (ServerView){.answered = true, .role = ROLE_PRIMARY, .state = STATE_RUNNING};
    const char *page = metrics_of(arena, &s, NULL);
    assert_non_null(strstr(page, "patroni_postgres_running" L "0\n"));
    assert_non_null(strstr(page, "patroni_postgres_state" L "-1\n"));
    assert_non_null(strstr(page, "patroni_postmaster_start_time" L "0\n"));
    assert_non_null(strstr(page, "patroni_postgres_server_version" L "0\n"));
    assert_null(strstr(page, "patroni_postgres_streaming"));
    assert_null(strstr(page, "patroni_postgres_in_archive_recovery"));
}

// --- why

static void test_why(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Snapshot s = agent();
    s.fenced = s.fence_armed = true;
    s.leader_until = at_ms(NOW_MS + 5000);
    s.server.role = ROLE_PRIMARY;
    s.decision = (LedgerEntry){.wall_us = INT64_C(1767225600000123),
                               .turn = 4,
                               .reason = REASON_LEADER_HEALTHY,
                               .evidence = "lease_left_ms=23110"};
    assert_string_equal(
        why_document(arena, &s, at_ms(NOW_MS)),
        "{\"name\": \"a\", \"role\": \"primary\", \"leader\": \"a\", \"reason\": "
        "\"LEADER_HEALTHY\", \"reason_text\": \"leading\", \"evidence\": "
        "\"lease_left_ms=23110\", \"outcome\": \"\", \"since\": "
        "\"2026-01-01T00:00:00.000123+00:00\", \"fenced\": true, \"fence_armed\": true, "
        "\"lease_left_ms\": 5000}");
    s.cluster.leader.name = NULL;
    s.leader_until = (Instant){0};
    const char *alone = why_document(arena, &s, at_ms(NOW_MS));
    assert_non_null(strstr(alone, "\"leader\": null"));
    assert_non_null(strstr(alone, "\"lease_left_ms\": null}"));
}

static void test_decisions(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    static const LedgerEntry ledger[] = {
        {.turn = 1, .reason = REASON_RACE_ASK_PEERS, .key_action = "keep", .pg_action = "none"},
        {.turn = 2, .reason = REASON_RACE_WON, .key_action = "acquire", .outcome = "conflict"},
    };
    Snapshot s = agent();
    assert_string_equal(decisions_document(arena, &s, 100), "[]");
    s.ledger = ledger;
    s.ledger_count = 2;
    const Tree *all = json(arena, decisions_document(arena, &s, 100));
    assert_int_equal(all->count, 2);
    assert_int_equal(tree_get_int(all->entries[0].value, "turn", 0), 1);
    assert_string_equal(tree_get_string(all->entries[1].value, "outcome", ""), "conflict");
    const Tree *last = json(arena, decisions_document(arena, &s, 1));
    assert_int_equal(last->count, 1);
    assert_string_equal(tree_get_string(last->entries[0].value, "reason", ""), "RACE_WON");
    assert_string_equal(decisions_document(arena, &s, 0), "[]");
}

// --- cluster

static void test_cluster_document(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    static const char *const voters[] = {"B"};
    const MemberView members[] = {
        {.name = "a",
         .api_url = "http://a:8008/patroni",
         .host = "a",
         .port = 5432,
         .state_text = "running",
         .replication_state = "streaming", // left over from before its promotion
         .data = json(arena, "{\"timeline\": 3, \"tags\": {\"zone\": \"x\"}, \"other\": 1}")},
        {.name = "b",
         .api_url = "http://b:8008/patroni",
         .host = "b",
         .port = 5433,
         .state_text = "running",
         .replication_state = "streaming",
         .receive_lsn = 0x5000100,
         .replay_lsn = 0x5000060,
         .xlog_location = 0x6000000,
         .data = json(arena, "{\"pending_restart\": true}")},
        {.name = "c", .state_text = "", .data = tree_map(arena)},
    };
    ClusterView view = {
        .leader = {.name = "a"},
        .optime = 0x5000100,
        .members = members,
        .member_count = 3,
        .config = json(arena, "{\"synchronous_mode\": true, \"pause\": true}"),
        .sync = {.leader = "a", .voters = {.items = (const char **)(uintptr_t)voters, .count = 1}},
        .failover = {
            .leader = "a", .scheduled_at = "2026-02-01T00:00:00+00:00", .scheduled_us = 1}};
    assert_string_equal(
        tree_to_json(arena, cluster_document(arena, &view), JSON_SPACED),
        "{\"members\": [{\"name\": \"a\", \"role\": \"leader\", \"state\": \"running\", "
        "\"api_url\": \"http://a:8008/patroni\", \"host\": \"a\", \"port\": 5432, \"timeline\": 3, "
        "\"tags\": {\"zone\": \"x\"}}, {\"name\": \"b\", \"role\": \"sync_standby\", \"state\": "
        "\"streaming\", \"api_url\": \"http://b:8008/patroni\", \"host\": \"b\", \"port\": 5433, "
        "\"pending_restart\": true, \"receive_lsn\": \"0/5000100\", \"receive_lag\": 0, "
        "\"replay_lsn\": \"0/5000060\", \"replay_lag\": 160, \"lsn\": \"0/6000000\", \"lag\": 0}, "
        "{\"name\": \"c\", \"role\": \"replica\", \"state\": \"\", \"api_url\": null, "
        "\"receive_lsn\": \"unknown\", \"receive_lag\": \"unknown\", \"replay_lsn\": \"unknown\", "
        "\"replay_lag\": \"unknown\", \"lsn\": \"unknown\", \"lag\": \"unknown\"}], \"pause\": "
        "true, \"scheduled_switchover\": {\"at\": \"2026-02-01T00:00:00+00:00\", \"from\": "
        "\"a\"}}");

    view.config = json(arena, "{\"synchronous_mode\": \"quorum\"}");
    assert_string_equal(cluster_rows(arena, &view).rows[1].role, "quorum_standby");
    view.config =
        json(arena, "{\"synchronous_mode\": true, \"standby_cluster\": {\"host\": \"x\"}}");
    assert_string_equal(cluster_rows(arena, &view).rows[0].role, "standby_leader");
    assert_string_equal(cluster_rows(arena, &view).rows[0].state, "streaming");
    assert_string_equal(cluster_rows(arena, &view).rows[1].role, "replica");
    view.config = NULL;
    view.leader.name = NULL;
    assert_string_equal(cluster_rows(arena, &view).rows[0].role, "replica");
    assert_false(cluster_modes(&view).paused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_primary_document),    cmocka_unit_test(test_replica_document),
        cmocka_unit_test(test_unanswered_document), cmocka_unit_test(test_roles),
        cmocka_unit_test(test_replica_metrics),     cmocka_unit_test(test_leader_metrics),
        cmocka_unit_test(test_unanswered_metrics),  cmocka_unit_test(test_why),
        cmocka_unit_test(test_decisions),           cmocka_unit_test(test_cluster_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
