#include "dcs/dcs.h"
#include "dcs/records.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

// --- a cluster as Patroni leaves it

static void test_a_cluster_of_patroni(void **state)
{
    (void)state;
    RawKey keys[] = {
        raw("members/b",
            "{\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"api_url\":\"http://"
            "10.0.0.2:8008/"
            "patroni\",\"state\":\"running\",\"role\":\"replica\",\"version\":\"3.0.2\","
            "\"xlog_location\":83886400,\"replication_state\":\"streaming\",\"timeline\":2}"),
        raw("members/a",
            "{\"conn_url\":\"postgres://10.0.0.1:5433/postgres\",\"api_url\":\"http://"
            "10.0.0.1:8008/"
            "patroni\",\"state\":\"running\",\"role\":\"master\",\"version\":\"3.0.2\","
            "\"checkpoint_after_promote\":false,\"tags\":{\"nofailover\":true,\"replicatefrom\":"
            "\"b\"}"
            ",\"pending_restart\":true,\"xlog_location\":83886400,\"timeline\":2,\"pause\":true}"),
        raw("leader", "a"),
        raw("initialize", "7225334384528427018"),
        raw("config", "{\"ttl\":30,\"loop_wait\":10,\"postgresql\":{\"use_slots\":true}}"),
        raw("status", "{\"optime\":83886400,\"slots\":{\"b\":83886344,\"a\":83886400},"
                      "\"retain_slots\":[\"b\",\"c\"]}"),
        raw("optime/leader", "5"),
        raw("failover", "{\"leader\":\"a\",\"member\":\"b\",\"scheduled_at\":"
                        "\"2030-01-02T03:04:05.678901+02:00\"}"),
        raw("sync", "{\"leader\":\"a\",\"sync_standby\":\"b, A,,c\",\"quorum\":1}"),
        raw("history", "[[1,25623960,\"no recovery target specified\",\"2023-05-01T12:00:00.000001+"
                       "00:00\",\"a\"]]"),
        raw("failsafe", "{\"a\":\"http://10.0.0.1:8008/patroni\"}"),
        raw("members/x/y", "{}"),
        raw("members/", "{}"),
        raw("nobody/knows", "\xff"),
    };
    keys[2].lease = "7587869034143262000";
    ClusterView view = {.cluster_id = 7, .seen_at = {9}, .vacancy = {.kind = VACANCY_FOUND}};
    records_parse(arena, keys, COUNT_OF(keys), 42, &view);

    assert_int_equal(view.revision, 42);
    assert_int_equal(view.cluster_id, 7); // not the records' business
    assert_int_equal(view.seen_at.ns, 9);
    assert_int_equal(view.vacancy.kind, VACANCY_FOUND);
    assert_string_equal(view.leader.name, "a");
    assert_string_equal(view.leader.session, "7587869034143262000");
    assert_int_equal(view.leader.create_revision, 10);
    assert_int_equal(view.leader.mod_revision, 11);
    assert_string_equal(view.initialize, "7225334384528427018");
    assert_int_equal(tree_get_int(view.config, "ttl", 0), 30);
    assert_false(view.config_invalid);
    assert_int_equal(view.optime, 83886400);
    assert_int_equal(tree_get_int(view.slots, "b", 0), 83886344);
    assert_int_equal(view.retain_slots.count, 2);
    assert_string_equal(view.failover.leader, "a");
    assert_string_equal(view.failover.candidate, "b");
    assert_int_equal(view.failover.scheduled_us, INT64_C(1893546245678901));
    assert_false(view.failover.schedule_invalid);
    assert_string_equal(view.sync.leader, "a");
    assert_int_equal(view.sync.voters.count, 2); // without the leader
    assert_string_equal(view.sync.voters.items[1], "c");
    assert_int_equal(view.sync.quorum, 1);
    assert_true(view.history_known);
    assert_int_equal(view.history_count, 1);
    assert_int_equal(view.history[0].lsn, 25623960);
    assert_string_equal(view.history[0].new_leader, "a");
    assert_int_equal(cluster_timeline(&view), 2);
    assert_string_equal(tree_get_string(view.failsafe, "a", ""), "http://10.0.0.1:8008/patroni");
    assert_false(view.term.present);

    assert_int_equal(view.member_count, 2);
    const MemberView *a = &view.members[0], *b = &view.members[1];
    assert_string_equal(a->name, "a");
    assert_int_equal(a->role, ROLE_PRIMARY);
    assert_string_equal(a->host, "10.0.0.1");
    assert_int_equal(a->port, 5433);
    assert_true(a->checkpoint_pending);
    assert_true(a->pending_restart);
    assert_true(a->pause);
    assert_true(a->tags.nofailover);
    assert_string_equal(a->tags.replicatefrom, "b");
    assert_null(a->howdah);
    assert_int_equal(b->role, ROLE_REPLICA);
    assert_int_equal(b->state, STATE_RUNNING);
    assert_string_equal(b->version, "3.0.2");
    assert_int_equal(b->xlog_location, 83886400);
    assert_string_equal(b->replication_state, "streaming");
    assert_int_equal(b->timeline, 2);
    assert_false(b->checkpoint_pending);
}

// --- old forms

static void test_legacy_members(void **state)
{
    (void)state;
    static const struct {
        const char *value, *conn_url, *api_url, *host;
        int port;
    } rows[] = {
        {"postgres://rep:pw@10.0.0.3:5434/postgres?application_name=http://10.0.0.3:8008/patroni",
         "postgres://rep:pw@10.0.0.3:5434/postgres", "http://10.0.0.3:8008/patroni", "10.0.0.3",
         5434},
        {"postgres://h/db?x=1&application_name=http%3A%2F%2Fh%3A8008%2Fpatroni&y=2",
         "postgres://h/db", "http://h:8008/patroni", "h", 5432},
        {"postgresql://[fd00::1]:6000/db", "postgresql://[fd00::1]:6000/db", NULL, "fd00::1", 6000},
        {"postgres://[fd00::1]/db", "postgres://[fd00::1]/db", NULL, "fd00::1", 5432},
        {"postgres://h:99999/db", "postgres://h:99999/db", NULL, "h", 5432},
        {"postgres://[broken/db", "postgres://[broken/db", NULL, NULL, 0},
        {"postgres://", "postgres://", NULL, NULL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const ClusterView view = parse_one("members/m", rows[i].value);
        assert_int_equal(view.member_count, 1);
        const MemberView *m = &view.members[0];
        assert_string_equal(m->conn_url, rows[i].conn_url);
        assert_true(str_eq(m->api_url, rows[i].api_url));
        assert_true(str_eq(m->host, rows[i].host));
        assert_int_equal(m->port, rows[i].port);
    }
    const ClusterView kwargs =
        parse_one("members/m", "{\"conn_kwargs\":{\"host\":\"10.1.1.1\",\"port\":\"6543\"}}");
    assert_string_equal(kwargs.members[0].host, "10.1.1.1");
    assert_int_equal(kwargs.members[0].port, 6543);
}

static void test_failover_forms(void **state)
{
    (void)state;
    static const struct {
        const char *value, *leader, *candidate;
        bool bad_schedule;
    } rows[] = {
        {"{}", NULL, NULL, false},
        {"", NULL, NULL, false},
        {"null", NULL, NULL, false},
        {"a:b", "a", "b", false},
        {" a : b ", "a", "b", false},
        {":b", NULL, "b", false},
        {"a", "a", NULL, false},
        {"a:b:c", "a", "b", false},
        {"\"a:b\"", NULL, NULL, false},
        {"{\"leader\":\"a\",", NULL, NULL, false}, // broken JSON is no leader's name
        {"[1,2", NULL, NULL, false},
        {"a\n:b", NULL, NULL, false},
        {"{\"leader\":\"\",\"member\":null}", NULL, NULL, false},
        {"{\"leader\":5,\"member\":[]}", NULL, NULL, false},
        {"{\"leader\":\"a\",\"scheduled_at\":\"tomorrow\"}", "a", NULL, true},
        {"{\"leader\":\"a\",\"scheduled_at\":\"2030-01-01T00:00:00\"}", "a", NULL, true},
        {"{\"leader\":\"a\",\"scheduled_at\":12}", "a", NULL, true},
        {"{\"leader\":\"a\",\"scheduled_at\":null}", "a", NULL, false},
        {"{\"member\":\"b\",\"scheduled_at\":\"\"}", NULL, "b", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const ClusterView view = parse_one("failover", rows[i].value);
        if (!str_eq(view.failover.leader, rows[i].leader) ||
            !str_eq(view.failover.candidate, rows[i].candidate) ||
            view.failover.schedule_invalid != rows[i].bad_schedule)
            fail_msg("%s: %s, %s", rows[i].value, view.failover.leader, view.failover.candidate);
        assert_int_equal(view.failover.mod_revision, 11);
    }
}

static void test_status_forms(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
        Lsn optime;
        size_t slots, retained;
    } rows[] = {
        {"status", "123", 123, 0, 0},
        {"status", "{\"optime\":\"123\"}", 123, 0, 0},
        {"status", "{\"optime\":9223372036854775807}", INT64_MAX, 0, 0},
        {"status", "{\"optime\":-5,\"slots\":[]}", 0, 0, 0},
        {"status", "{\"optime\":7,\"slots\":\"{\\\"a\\\":5}\",\"retain_slots\":\"[\\\"a\\\"]\"}", 7,
         1, 1},
        {"status", "{\"optime\":1.5,\"slots\":\"{\",\"retain_slots\":{\"a\":1}}", 0, 0, 0},
        {"status", "{\"retain_slots\":[1,null,\"\",\"x\"]}", 0, 0, 1},
        {"optime/leader", "123", 123, 0, 0},
        {"optime/leader", "123 ", 0, 0, 0},
        {"optime/leader", "-1", 0, 0, 0},
        {"optime/leader", "99999999999999999999", 0, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const ClusterView view = parse_one(rows[i].key, rows[i].value);
        if (view.optime != rows[i].optime || view.retain_slots.count != rows[i].retained ||
            (view.slots == NULL ? 0 : view.slots->count) != rows[i].slots)
            fail_msg("%s=%s", rows[i].key, rows[i].value);
    }
    // A status that cannot be read does not hide the older key.
    const RawKey both[] = {raw("status", "garbage"), raw("optime/leader", "77")};
    ClusterView view = {0};
    records_parse(arena, both, 2, 1, &view);
    assert_int_equal(view.optime, 77);
    assert_null(view.status_text);
}

static void test_history_forms(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool known;
        uint32_t timeline;
    } rows[] = {
        {"[]", true, 1},
        {"[[1,5,\"x\"]]", true, 2},
        {"[[1,5,\"x\"],[2,9,null]]", true, 3},
        {"[[4294967294,5,\"x\"]]", true, UINT32_MAX},
        {"[[4294967295,5,\"x\"]]", false, 0},
        {"[[0,5,\"x\"]]", false, 0},
        {"[[1,-5,\"x\"]]", false, 0},
        {"[[1]]", false, 0},
        {"[1,2]", false, 0},
        {"[[1,5,\"x\"],{}]", false, 0},
        {"{}", false, 0},
        {"null", false, 0},
        {"", false, 0},
        {"[[1,5", false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const ClusterView view = parse_one("history", rows[i].value);
        if (view.history_known != rows[i].known || cluster_timeline(&view) != rows[i].timeline)
            fail_msg("%s: %d, %u", rows[i].value, view.history_known, cluster_timeline(&view));
        assert_int_equal(view.history_revision, 11);
    }
}

// --- garbage

static void test_garbage_is_absence_but_keeps_its_revision(void **state)
{
    (void)state;
    static const char *const garbage[] = {
        "", "null", "[", "{\"a\":", "\xff\xfe", "{\"a\":\"\xc3\x28\"}", "5", "\"text\"", "[[[[[[",
    };
    for (size_t i = 0; i < COUNT_OF(garbage); i++) {
        ClusterView view = parse_one("config", garbage[i]);
        assert_null(view.config);
        assert_true(view.config_invalid);
        assert_int_equal(view.config_revision, 11);
        view = parse_one("sync", garbage[i]);
        assert_null(view.sync.leader);
        assert_int_equal(view.sync.voters.count, 0);
        assert_int_equal(view.sync.mod_revision, 11);
        view = parse_one("failsafe", garbage[i]);
        assert_null(view.failsafe);
        assert_int_equal(view.failsafe_revision, 11);
        view = parse_one("howdah", garbage[i]);
        assert_false(view.term.present);
        assert_int_equal(view.term.mod_revision, 11);
        view = parse_one("members/m", garbage[i]);
        assert_int_equal(view.member_count, 1);
        assert_int_equal(view.members[0].data->kind, TREE_MAP);
        assert_null(view.members[0].api_url);
        assert_string_equal(view.members[0].state_text, "");
    }
    // An empty or unreadable name leads nobody, but the key is in the way.
    static const char *const names[] = {"", "\xff", "a\nb"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const ClusterView view = parse_one("leader", names[i]);
        assert_null(view.leader.name);
        assert_int_equal(view.leader.mod_revision, 11);
    }
    // An initialize that cannot be read must not invite a bootstrap.
    const ClusterView view = parse_one("initialize", "\xff");
    assert_non_null(view.initialize);
    assert_string_not_equal(view.initialize, "");
    assert_false(initialize_is_valid(view.initialize));

    const RawKey nul = {.key = "leader", .value = "a\0b", .length = 3, .mod_revision = 1};
    ClusterView out = {0};
    records_parse(arena, &nul, 1, 1, &out);
    assert_null(out.leader.name);
}

// Two bytes of JSON are a node of a tree: a large value may not eat the memory of the whole turn.
static void test_a_value_that_would_blow_up_is_garbage(void **state)
{
    (void)state;
    enum { LENGTH = 1500 * 1000 };
    char *value = malloc(LENGTH + 1);
    assert_non_null(value);
    for (size_t i = 0; i < LENGTH; i++)
        value[i] = i == 0 ? '[' : i % 2 == 1 ? '0' : ',';
    value[LENGTH - 1] = ']';
    value[LENGTH] = '\0';
    RawKey keys[40];
    char names[COUNT_OF(keys)][32];
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        snprintf(names[i], sizeof names[i], "members/m%zu", i);
        keys[i] = raw(i == 0 ? "config" : names[i], value);
    }
    ClusterView view = {0};
    arena_reset(arena);
    records_parse(arena, keys, COUNT_OF(keys), 1, &view);
    assert_true(view.config_invalid);
    assert_int_equal(view.member_count, COUNT_OF(keys) - 1);
    assert_true(arena_used(arena) < ARENA_CAP_DEFAULT / 2);
    free(value);
}

// Whatever the bytes are: no crash, and strings that end. Seeded, so that a failure can be
// replayed.
static uint32_t roll(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void test_mutated_values_never_crash(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
    } seeds[] = {
        {"members/a", "{\"conn_url\":\"postgres://u:p@[::1]:5432/db\",\"tags\":{\"nosync\":true},"
                      "\"xlog_location\":5,\"state\":\"running\",\"conn_kwargs\":{\"port\":1}}"},
        {"members/a", "postgres://u:p@10.0.0.3:5434/x?a=b&application_name=http%3A//h:1/p#f"},
        {"leader", "member-one"},
        {"initialize", "7225334384528427018"},
        {"config", "{\"ttl\":30,\"a\":[1,2.5e3,null,true],\"b\":{\"c\":\"\\u00e9\\n\"}}"},
        {"status", "{\"optime\":83886400,\"slots\":\"{\\\"b\\\":1}\",\"retain_slots\":[\"b\"]}"},
        {"optime/leader", "83886400"},
        {"failover", "{\"leader\":\"a\",\"scheduled_at\":\"2030-01-02T03:04:05.678901+02:00\"}"},
        {"failover", "alpha:beta"},
        {"sync", "{\"leader\":\"a\",\"sync_standby\":\"b,c\",\"quorum\":1}"},
        {"history", "[[1,25623960,\"reason\",\"2023-05-01T12:00:00+00:00\",\"a\"],[2,5,\"x\"]]"},
        {"failsafe", "{\"a\":\"http://x\"}"},
        {"howdah", "{\"holder\":\"a\",\"instance\":\"i\",\"term\":5,\"released\":true,\"lsn\":9}"},
    };
    static const char bytes[] = "{}[]\",:\\/0123456789-+.eEtfn \xff\xc3\xa9\xed\xa0\x80\x01%@?&#";
    uint32_t seed = 0x9E3779B9;
    for (int round = 0; round < 3000; round++) {
        RawKey keys[COUNT_OF(seeds)];
        char *copies[COUNT_OF(seeds)];
        for (size_t i = 0; i < COUNT_OF(seeds); i++) {
            const size_t length = strlen(seeds[i].value);
            copies[i] = malloc(length + 1);
            memcpy(copies[i], seeds[i].value, length + 1);
            size_t kept = length;
            for (uint32_t n = roll(&seed) % 4; n > 0; n--)
                copies[i][roll(&seed) % length] = bytes[roll(&seed) % (sizeof bytes - 1)];
            if (roll(&seed) % 3 == 0)
                kept = roll(&seed) % (length + 1);
            copies[i][kept] = '\0';
            keys[i] = raw(seeds[i].key, copies[i]);
            keys[i].length = kept;
        }
        ClusterView view = {0};
        arena_reset(arena);
        records_parse(arena, keys, COUNT_OF(keys), 1, &view);
        for (size_t i = 0; i < COUNT_OF(seeds); i++)
            free(copies[i]); // the view may not lean on them
        if (view.leader.name != NULL)
            assert_true(strlen(view.leader.name) < 100);
        for (size_t i = 0; i < view.member_count; i++)
            assert_true(strlen(view.members[i].state_text) < 1000);
        assert_non_null(tree_to_json(arena, view.members[0].data, JSON_COMPACT));
        (void)cluster_history(arena, &view);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cluster_of_patroni),
        cmocka_unit_test(test_legacy_members),
        cmocka_unit_test(test_failover_forms),
        cmocka_unit_test(test_status_forms),
        cmocka_unit_test(test_history_forms),
        cmocka_unit_test(test_garbage_is_absence_but_keeps_its_revision),
        cmocka_unit_test(test_a_value_that_would_blow_up_is_garbage),
        cmocka_unit_test(test_mutated_values_never_crash),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
