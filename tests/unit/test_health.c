// The truth table of health checks (docs/rest.md, "Health checks"): a situation, a path, a status.
#include "api/health.h"
#include "tests/support/test.h"

#include <string.h>

#define NOW_MS 1000000

static Instant at_ms(int64_t ms)
{
    return (Instant){ms * NS_PER_MS};
}

// --- situations

static ServerView server(bool in_recovery, Role role)
{
    return (ServerView){.running = true,
                        .answered = true,
                        .in_recovery = in_recovery,
                        .flush_lsn = in_recovery ? 0 : 1000,
                        .receive_lsn = in_recovery ? 900 : 0,
                        .replay_lsn = in_recovery ? 800 : 0,
                        .streaming = in_recovery,
                        .role = role,
                        .state = STATE_RUNNING};
}

static Snapshot base(void)
{
    return (Snapshot){.name = "a",
                      .ttl_ms = 30000,
                      .maximum_lag_on_failover = 1048576,
                      .cluster_known = true,
                      .cluster = {.seen_at = at_ms(NOW_MS - 1), .optime = 1000},
                      .next_turn_at = at_ms(NOW_MS + 1000)};
}

static Snapshot leader(void)
{
    Snapshot s = base();
    s.leader_until = at_ms(NOW_MS + 1);
    s.server = server(false, ROLE_PRIMARY);
    return s;
}

static Snapshot lapsed_leader(void) // Postgres goes on, the lease does not
{
    Snapshot s = leader();
    s.leader_until = at_ms(NOW_MS);
    return s;
}

static Snapshot promoting(void) // holds the lease, not yet out of recovery
{
    Snapshot s = leader();
    s.server = server(true, ROLE_PROMOTED);
    return s;
}

static Snapshot crashed_leader(void)
{
    Snapshot s = leader();
    s.server = (ServerView){.role = ROLE_PRIMARY, .state = STATE_CRASHED};
    return s;
}

static Snapshot silent_leader(void) // running, but the query failed
{
    Snapshot s = leader();
    s.server.answered = false;
    return s;
}

static Snapshot replica(void)
{
    Snapshot s = base();
    s.server = server(true, ROLE_REPLICA);
    return s;
}

static Snapshot archive_replica(void)
{
    Snapshot s = replica();
    s.server.streaming = false;
    s.server.archive_recovery = true;
    return s;
}

static Snapshot silent_replica(void)
{
    Snapshot s = replica();
    s.server.answered = false;
    return s;
}

static Snapshot starting_replica(void)
{
    Snapshot s = replica();
    s.server.state = STATE_STARTING;
    return s;
}

static Snapshot noloadbalance_replica(void)
{
    Snapshot s = replica();
    s.tag_values.noloadbalance = true;
    return s;
}

static const char *const voter[] = {"A"}; // names compare without case

static Snapshot sync_replica(void)
{
    Snapshot s = replica();
    s.sync_mode = true;
    s.cluster.sync.voters =
        (StringList){.items = (const char **)(uintptr_t)voter, .count = COUNT_OF(voter)};
    return s;
}

static Snapshot quorum_replica(void)
{
    Snapshot s = sync_replica();
    s.quorum_mode = true;
    return s;
}

static Snapshot async_replica(void)
{
    Snapshot s = sync_replica();
    s.cluster.sync.voters.count = 0;
    return s;
}

static Snapshot standby_leader(void)
{
    Snapshot s = base();
    s.standby_cluster = true;
    s.leader_until = at_ms(NOW_MS + 1);
    s.server = server(true, ROLE_STANDBY_LEADER);
    return s;
}

static Snapshot standby_replica(void)
{
    Snapshot s = replica();
    s.standby_cluster = true;
    return s;
}

static Snapshot blind_replica(void) // the store has not been heard of for a ttl
{
    Snapshot s = sync_replica();
    s.cluster.seen_at = at_ms(NOW_MS - 30000);
    return s;
}

static Snapshot blind_leader(void)
{
    Snapshot s = leader();
    s.cluster_known = false;
    return s;
}

static Snapshot paused_blind_primary(void)
{
    Snapshot s = blind_leader();
    s.leader_until = (Instant){0};
    s.paused = true;
    return s;
}

static Snapshot paused_blind_replica(void)
{
    Snapshot s = blind_replica();
    s.paused = true;
    return s;
}

static Snapshot paused_primary(void) // paused, the store is there, no lease
{
    Snapshot s = leader();
    s.leader_until = (Instant){0};
    s.paused = true;
    return s;
}

// --- the table

enum { YES = 200, NO = 503 };

static const struct {
    const char *given;
    Snapshot (*situation)(void);
    int primary, leader, standby_leader, replica, read_only, health, sync, quorum, async,
        read_only_sync, read_only_quorum;
} rows[] = {
    // clang-format off
    //                                           prim lead stby repl r-o  heal sync quor asyn ros  roq
    {"leader", leader,                           YES, YES, NO,  NO,  YES, YES, NO,  NO,  NO,  YES, YES},
    {"lease over", lapsed_leader,                NO,  NO,  NO,  NO,  NO,  YES, NO,  NO,  NO,  NO,  NO},
    {"promoting", promoting,                     YES, YES, NO,  YES, YES, YES, NO,  NO,  YES, YES, YES},
    {"crashed leader", crashed_leader,           YES, YES, NO,  NO,  YES, NO,  NO,  NO,  NO,  YES, YES},
    {"leader does not answer", silent_leader,    YES, YES, NO,  NO,  YES, NO,  NO,  NO,  NO,  YES, YES},
    {"replica", replica,                         NO,  NO,  NO,  YES, YES, YES, NO,  NO,  YES, NO,  NO},
    {"replica from archive", archive_replica,    NO,  NO,  NO,  YES, YES, YES, NO,  NO,  YES, NO,  NO},
    {"replica does not answer", silent_replica,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO},
    {"starting", starting_replica,               NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO},
    {"noloadbalance", noloadbalance_replica,     NO,  NO,  NO,  NO,  NO,  YES, NO,  NO,  NO,  NO,  NO},
    {"sync standby", sync_replica,               NO,  NO,  NO,  YES, YES, YES, YES, NO,  NO,  YES, NO},
    {"quorum standby", quorum_replica,           NO,  NO,  NO,  YES, YES, YES, NO,  YES, NO,  NO,  YES},
    {"async in sync mode", async_replica,        NO,  NO,  NO,  YES, YES, YES, NO,  NO,  YES, NO,  NO},
    {"standby leader", standby_leader,           NO,  YES, YES, NO,  YES, YES, NO,  NO,  NO,  YES, YES},
    {"replica of a standby", standby_replica,    NO,  NO,  NO,  YES, YES, YES, NO,  NO,  YES, NO,  NO},
    {"store gone, replica", blind_replica,       NO,  NO,  NO,  YES, YES, YES, NO,  NO,  NO,  NO,  NO},
    {"store gone, leader", blind_leader,         YES, YES, NO,  NO,  YES, YES, NO,  NO,  NO,  NO,  NO},
    {"paused, store gone", paused_blind_primary, YES, YES, NO,  NO,  YES, YES, NO,  NO,  NO,  NO,  NO},
    {"paused, gone, replica", paused_blind_replica, NO, NO, NO, YES, YES, YES, NO,  NO,  NO,  NO,  NO},
    {"paused without lease", paused_primary,     NO,  NO,  NO,  NO,  NO,  YES, NO,  NO,  NO,  NO,  NO},
    // clang-format on
};

static void expect(const char *given, const Snapshot *s, const char *path, int status)
{
    const Query none = {0};
    const int got = health_status(s, at_ms(NOW_MS), path, &none);
    if (got != status)
        fail_msg("%s: %s gives %d instead of %d", given, path, got, status);
}

static void test_truth_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Snapshot s = rows[i].situation();
        const struct {
            const char *path;
            int status;
        } checks[] = {
            {"/", rows[i].primary},
            {"/primary", rows[i].primary},
            {"/master", rows[i].primary},
            {"/read-write", rows[i].primary},
            {"/x/primary/y", rows[i].primary},
            {"/leader", rows[i].leader},
            {"/standby_leader", rows[i].standby_leader},
            {"/standby-leader", rows[i].standby_leader},
            {"/replica", rows[i].replica},
            {"/replica/", rows[i].replica},
            {"/read-only", rows[i].read_only},
            {"/health", rows[i].health},
            {"/sync", rows[i].sync},
            {"/synchronous", rows[i].sync},
            {"/quorum", rows[i].quorum},
            {"/async", rows[i].async},
            {"/asynchronous", rows[i].async},
            {"/read-only-sync", rows[i].read_only_sync},
            {"/read-only-synchronous", rows[i].read_only_sync},
            {"/read-only-quorum", rows[i].read_only_quorum},
            // No such checks, or not with a slash at the end.
            {"/sync/", NO},
            {"/patroni", NO},
            {"/nothing", NO},
            {"*", NO},
            {"", NO},
        };
        for (size_t k = 0; k < COUNT_OF(checks); k++)
            expect(rows[i].given, &s, checks[k].path, checks[k].status);
    }
}

// --- query

static int with_query(const Snapshot *s, const char *path, const char *key, const char *value)
{
    const QueryItem item = {.key = key, .value = value};
    const Query query = {.items = &item, .count = 1};
    return health_status(s, at_ms(NOW_MS), path, &query);
}

static void test_lag(void **state)
{
    static const struct {
        const char *lag;
        int status; // 200 behind by 200 bytes, replay counted
    } lags[] = {
        {"200", YES},
        {"199", NO},
        {"0", NO},
        {"1kB", YES},
        {"0x1MB", YES},
        {"0.1kB", NO},
        {"1 MB", YES},
        {"0310", YES},
        {"0307", NO},
        {"1KB", YES}, // no unit of
        {"much", YES},
        {"-1", NO},
        {"1e3", YES},
        {"1TB", YES}, // that name: ignored
        {"99999999999999999999", YES},
    };
    (void)state;
    const Snapshot s = replica();
    for (size_t i = 0; i < COUNT_OF(lags); i++)
        if (with_query(&s, "/replica", "lag", lags[i].lag) != lags[i].status)
            fail_msg("lag=%s", lags[i].lag);
    assert_int_equal(with_query(&s, "/async", "lag", "1"), NO);
    assert_int_equal(with_query(&s, "/read-only", "lag", "1"), NO);
    assert_int_equal(with_query(&s, "/health", "lag", "1"), YES);

    // The WAL receiver may know better than the store.
    Snapshot ahead = replica();
    ahead.server.latest_end_lsn = 5000;
    assert_int_equal(with_query(&ahead, "/replica", "lag", "1000"), NO);
    // And alone, when the store is away; without either there is no lag to speak of.
    ahead.cluster_known = false;
    assert_int_equal(with_query(&ahead, "/replica", "lag", "4199"), NO);
    assert_int_equal(with_query(&ahead, "/replica", "lag", "4200"), YES);
    ahead.server.latest_end_lsn = LSN_NONE;
    assert_int_equal(with_query(&ahead, "/replica", "lag", "0"), YES);
    const Snapshot primary = leader();
    assert_int_equal(with_query(&primary, "/primary", "lag", "0"), YES);
}

static void test_replication_state(void **state)
{
    (void)state;
    const Snapshot streaming = replica(), archive = archive_replica();
    Snapshot none = replica();
    none.server.streaming = false;
    assert_int_equal(with_query(&streaming, "/replica", "replication_state", "streaming"), YES);
    assert_int_equal(with_query(&archive, "/replica", "replication_state", "streaming"), NO);
    assert_int_equal(with_query(&archive, "/replica", "replication_state", "in archive recovery"),
                     YES);
    assert_int_equal(with_query(&none, "/replica", "replication_state", "streaming"), NO);
}

static void test_tags(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const Tree *tags;
    Error err;
    assert_true(tree_parse_json(arena, "{\"zone\": \"A\", \"big\": true, \"n\": 5, \"v\": 1.4}",
                                &tags, &err));
    Snapshot s = replica();
    s.tags = tags;
    static const struct {
        const char *key, *value;
        int status;
    } filters[] = {
        {"tag_zone", "A", YES},  {"tag_zone", "a", NO},  {"tag_big", "true", YES},
        {"tag_big", "True", NO}, {"tag_n", "5", YES},    {"tag_n", "6", NO},
        {"tag_v", "1.4", YES},   {"tag_other", "x", NO}, {"tags", "x", YES},
        {"tag_", "x", NO},
    };
    for (size_t i = 0; i < COUNT_OF(filters); i++) {
        const int got = with_query(&s, "/replica", filters[i].key, filters[i].value);
        if (got != filters[i].status)
            fail_msg("%s=%s: %d", filters[i].key, filters[i].value, got);
        assert_int_equal(with_query(&s, "/health", filters[i].key, filters[i].value), got);
        assert_int_equal(with_query(&s, "/read-only", filters[i].key, filters[i].value), got);
    }
    s.tags = NULL;
    assert_int_equal(with_query(&s, "/replica", "tag_zone", "A"), NO);
    const Snapshot primary = leader();
    assert_int_equal(with_query(&primary, "/primary", "tag_zone", "A"), YES);
    assert_int_equal(with_query(&primary, "/leader", "tag_zone", "A"), YES);

    // All must fit; of a repeated key the first counts.
    s.tags = tags;
    const QueryItem both[] = {{"tag_zone", "A"}, {"tag_n", "6"}};
    const QueryItem twice[] = {{"tag_zone", "A"}, {"tag_zone", "B"}};
    const Query all = {.items = both, .count = 2}, first = {.items = twice, .count = 2};
    assert_int_equal(health_status(&s, at_ms(NOW_MS), "/replica", &all), NO);
    assert_int_equal(health_status(&s, at_ms(NOW_MS), "/replica", &first), YES);
}

// --- Kubernetes' probes

static void test_liveness(void **state)
{
    (void)state;
    Snapshot s = replica(); // due 1 s from now; a replica may be two ttl late, a primary one
    assert_int_equal(liveness_status(&s, at_ms(NOW_MS)), YES);
    assert_int_equal(liveness_status(&s, at_ms(NOW_MS + 1000 + 59999)), YES);
    assert_int_equal(liveness_status(&s, at_ms(NOW_MS + 1000 + 60000)), NO);
    s = leader();
    assert_int_equal(liveness_status(&s, at_ms(NOW_MS + 1000 + 29999)), YES);
    assert_int_equal(liveness_status(&s, at_ms(NOW_MS + 1000 + 30000)), NO);
    s.server.running = false;
    assert_int_equal(liveness_status(&s, at_ms(NOW_MS + 1000 + 30000)), YES);
    s.paused = true;
    assert_int_equal(liveness_status(&s, at_ms(NOW_MS + 9000000)), YES);
}

static int readiness(const Snapshot *s, const char *key, const char *value)
{
    const QueryItem item = {.key = key, .value = value};
    const Query query = {.items = &item, .count = key != NULL ? 1 : 0};
    return readiness_status(s, at_ms(NOW_MS), &query);
}

static void test_readiness(void **state)
{
    (void)state;
    Snapshot s = crashed_leader(); // the lease counts, whatever Postgres does
    assert_int_equal(readiness(&s, NULL, NULL), YES);
    s = lapsed_leader();
    assert_int_equal(readiness(&s, NULL, NULL), NO);
    s = silent_replica();
    assert_int_equal(readiness(&s, NULL, NULL), NO);
    s = archive_replica();
    assert_int_equal(readiness(&s, NULL, NULL), NO);
    s = noloadbalance_replica();
    assert_int_equal(readiness(&s, NULL, NULL), YES);

    s = replica(); // replay 200 behind, reception 100
    assert_int_equal(readiness(&s, NULL, NULL), YES);
    assert_int_equal(readiness(&s, "lag", "100"), NO);
    assert_int_equal(readiness(&s, "lag", "much"), YES); // then maximum_lag_on_failover counts
    const QueryItem write[] = {{"lag", "100"}, {"mode", "write"}};
    const QueryItem apply[] = {{"lag", "100"}, {"mode", "apply"}};
    const Query by_write = {.items = write, .count = 2}, by_apply = {.items = apply, .count = 2};
    assert_int_equal(readiness_status(&s, at_ms(NOW_MS), &by_write), YES);
    assert_int_equal(readiness_status(&s, at_ms(NOW_MS), &by_apply), NO);
    s.cluster.optime = 3000000;
    assert_int_equal(readiness(&s, NULL, NULL), NO);

    s = blind_replica(); // neither store nor receiver say where the leader is
    assert_int_equal(readiness(&s, NULL, NULL), NO);
    s.failsafe_active = true;
    assert_int_equal(readiness(&s, NULL, NULL), YES);
    s.failsafe_active = false;
    s.server.latest_end_lsn = 900;
    assert_int_equal(readiness(&s, NULL, NULL), YES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truth_table),       cmocka_unit_test(test_lag),
        cmocka_unit_test(test_replication_state), cmocka_unit_test(test_tags),
        cmocka_unit_test(test_liveness),          cmocka_unit_test(test_readiness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
