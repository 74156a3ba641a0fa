// The nouns: words, tags, the cluster view's helpers, positions.
#include "common/model/cluster.h"
#include "common/model/server_view.h"
#include "tests/support/test.h"

#include <string.h>

static Arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void test_words(void **state)
{
    (void)state;
    for (Role r = ROLE_UNINITIALIZED; r < ROLE_UNKNOWN; r++)
        assert_int_equal(role_parse(role_name(r)), r);
    assert_int_equal(role_parse("master"), ROLE_PRIMARY);
    assert_int_equal(role_parse("Primary"), ROLE_UNKNOWN);
    assert_int_equal(role_parse(NULL), ROLE_UNKNOWN);
    for (ServerState s = STATE_INITDB; s <= STATE_UNKNOWN; s++)
        assert_int_equal(state_parse(state_name(s)), s);
    assert_int_equal(STATE_CRASHED, 14); // the metric's number
    assert_string_equal(state_metric_name(STATE_BOOTSTRAP_STARTING), "bootstrap_starting");
    assert_int_equal(state_parse("dancing"), STATE_UNKNOWN);
    for (TaskKind k = TASK_NONE; k < TASK_COUNT; k++)
        assert_true(strlen(task_name(k)) > 0);
    assert_string_equal(control_state_name(CONTROL_IN_PRODUCTION), "in production");
}

static void test_tags(void **state)
{
    static const struct {
        const char *given; // JSON
        bool nofailover;
        int failover_priority;
        bool nosync;
        int sync_priority;
    } rows[] = {
        {"{}", false, 1, false, 1},
        {"{\"nofailover\":true}", true, 0, false, 1},
        {"{\"nofailover\":\"false\"}", true, 0, false, 1}, // Python's truth of a text
        {"{\"nofailover\":false,\"failover_priority\":0}", false, 1, false, 1}, // the flag wins
        {"{\"nofailover\":true,\"failover_priority\":5}", true, 0, false, 1},
        {"{\"nofailover\":null,\"failover_priority\":5}", false, 5, false, 1},
        {"{\"failover_priority\":0}", true, 0, false, 1},
        {"{\"failover_priority\":-1}", true, 0, false, 1},
        {"{\"failover_priority\":\"7\",\"sync_priority\":3}", false, 7, false, 3},
        {"{\"failover_priority\":\"x\"}", false, 1, false, 1},
        {"{\"failover_priority\":99999999999}", false, INT32_MAX, false, 1},
        {"{\"nosync\":1,\"nofailover\":0}", false, 1, true, 0},
        {"{\"nosync\":[],\"nofailover\":0.0}", false, 1, false, 1},
        {"{\"nosync\":{\"a\":1},\"nofailover\":0.5}", true, 0, true, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Tree *tree;
        Error err = {0};
        assert_true(tree_parse_json(arena, rows[i].given, &tree, &err));
        const Tags tags = tags_parse(tree);
        if (tags.nofailover != rows[i].nofailover ||
            tags.failover_priority != rows[i].failover_priority || tags.nosync != rows[i].nosync ||
            tags.sync_priority != rows[i].sync_priority)
            fail_msg("%s: %d %d %d %d", rows[i].given, tags.nofailover, tags.failover_priority,
                     tags.nosync, tags.sync_priority);
    }
    const Tree *tree;
    Error err = {0};
    assert_true(tree_parse_json(arena,
                                "{\"nostream\":\"false\",\"clonefrom\":true,\"noloadbalance\":1,"
                                "\"replicatefrom\":\"a\"}",
                                &tree, &err));
    const Tags tags = tags_parse(tree);
    assert_false(tags.nostream); // of all, this one is parsed
    assert_true(tags.clonefrom && tags.noloadbalance);
    assert_string_equal(tags.replicatefrom, "a");
    assert_int_equal(tags_parse(NULL).failover_priority, 1);
    assert_null(tags_parse(NULL).replicatefrom);
}

static void test_members(void **state)
{
    (void)state;
    const MemberView members[] = {{.name = "a"}, {.name = "Node-B"}};
    ClusterView view = {.members = members, .member_count = COUNT_OF(members)};
    assert_ptr_equal(cluster_member(&view, "node-b"), &members[1]);
    assert_null(cluster_member(&view, "c"));
    assert_null(cluster_member(&view, NULL));
    assert_null(cluster_leader_member(&view));
    view.leader.name = "A";
    assert_ptr_equal(cluster_leader_member(&view), &members[0]);
}

// A pod that has not said a word yet is no member of Patroni's.
static void test_whose_members(void **state)
{
    (void)state;
    const TreeEntry entry = {.key = "state"};
    const Tree silent = {.kind = TREE_MAP},
               record = {.kind = TREE_MAP, .entries = &entry, .count = 1};
    MemberView members[] = {{.name = "a", .howdah = "1", .data = &record},
                            {.name = "b", .data = &silent},
                            {.name = "c", .data = &record}};
    ClusterView view = {.members = members, .member_count = 2};
    assert_true(cluster_is_all_howdah(&view));
    view.member_count = 3;
    assert_false(cluster_is_all_howdah(&view));
    view.member_count = 0;
    assert_true(cluster_is_all_howdah(&view));
}

static void test_history(void **state)
{
    (void)state;
    ClusterView view = {0};
    assert_int_equal(cluster_timeline(&view), 0);
    assert_int_equal(cluster_history(arena, &view).timeline, 0);
    view.history_known = true;
    assert_int_equal(cluster_timeline(&view), 1);
    assert_int_equal(cluster_history(arena, &view).timeline, 1);
    assert_int_equal(cluster_history(arena, &view).parent_count, 0);

    const HistoryLine lines[] = {{.timeline = 1, .lsn = 100}, {.timeline = 3, .lsn = 200}};
    view.history = lines;
    view.history_count = COUNT_OF(lines);
    const TimelineHistory history = cluster_history(arena, &view);
    assert_int_equal(history.timeline, 4);
    assert_int_equal(history.parent_count, 2);
    assert_int_equal(history.parents[1].timeline, 3);
    assert_int_equal(history.parents[1].switch_lsn, 200);

    const HistoryLine disordered[] = {{.timeline = 3, .lsn = 1}, {.timeline = 3, .lsn = 2}};
    view.history = disordered;
    assert_int_equal(cluster_history(arena, &view).timeline, 0);
    const HistoryLine last[] = {{.timeline = UINT32_MAX, .lsn = 1}};
    view.history = last;
    view.history_count = 1;
    assert_int_equal(cluster_timeline(&view), 0);
}

static void test_term_record(void **state)
{
    (void)state;
    const LeaderView leader = {.name = "a", .create_revision = 50, .mod_revision = 50};
    TermRecord record = {.present = true, .holder = "a", .mod_revision = 50};
    assert_true(term_record_valid(&record, &leader)); // written with the acquire
    record.mod_revision = 60;
    assert_false(term_record_valid(&record, &leader));
    record.term = 50; // confirmed since
    assert_true(term_record_valid(&record, &leader));
    record.holder = "b";
    assert_false(term_record_valid(&record, &leader));
    record.holder = "a";
    record.present = false;
    assert_false(term_record_valid(&record, &leader));
    record.present = true;
    assert_false(term_record_valid(&record, &(LeaderView){0}));
}

static void test_names(void **state)
{
    static const struct {
        const char *member, *slot;
    } slots[] = {
        {"node1", "node1"},
        {"Node-1.example", "node_1_example"},
        {"a b/c", "au0032bu0047c"},
        {"\xc3\xa4\xc3\x84", "u0228u0228"}, // both cases
        {"\xd0\x94", "u1076"},
        {"\xf0\x9f\x98\x80", "u128512"},
        {"", ""},
        {"0123456789012345678901234567890123456789012345678901234567890123456789",
         "012345678901234567890123456789012345678901234567890123456789012"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(slots); i++)
        assert_string_equal(slot_name_of(arena, slots[i].member), slots[i].slot);
    assert_true(initialize_is_valid("7123456789012345678"));
    assert_true(initialize_is_valid("1234567890"));
    assert_false(initialize_is_valid("123456789"));
    assert_false(initialize_is_valid("12345678901x"));
    assert_false(initialize_is_valid(""));
    assert_false(initialize_is_valid(NULL));
}

static void test_position(void **state)
{
    (void)state;
    const Instant early = {.ns = 5}, late = {.ns = 9};
    ServerView s = {
        .running = true, .timeline = 2, .receive_lsn = 10, .replay_lsn = 20, .flush_lsn = 99};
    assert_int_equal(server_position(&s).timeline, 0); // it has not answered yet
    s.answered_at = late;
    assert_int_equal(server_position(&s).lsn, 99);
    s.in_recovery = true;
    assert_int_equal(server_position(&s).lsn, 20);
    assert_int_equal(server_position(&s).timeline, 2);
    s.answered_at = early;
    s.started_at = late; // the answer was another postmaster's
    assert_int_equal(server_position(&s).timeline, 0);

    s = (ServerView){.control = {.timeline = 3, .checkpoint_lsn = 50}};
    assert_int_equal(server_position(&s).timeline, 0); // nothing is known of it
    s.control.known = true;
    assert_int_equal(server_position(&s).lsn, 50);
    s.control.min_recovery_lsn = 70;
    assert_int_equal(server_position(&s).lsn, 70);
    assert_int_equal(server_position(&s).timeline, 3);
    s.control.min_recovery_timeline = 4;
    assert_int_equal(server_position(&s).timeline, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test_setup_teardown(test_tags, set_up, tear_down),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_whose_members),
        cmocka_unit_test_setup_teardown(test_history, set_up, tear_down),
        cmocka_unit_test(test_term_record),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test(test_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
