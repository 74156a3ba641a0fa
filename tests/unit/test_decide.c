// The rules as a table: given, facts, key action, task, reason. Every reason that decide() can give
// has a row; one that no row reaches is dead code or a missing test.
#include "tests/unit/test_decide_lab.h"

ROW(no_warden)
{
    leading(w);
    w->f.warden.connected = false;
}
ROW(store_never_read)
{
    base(w);
    w->f.store_known = false;
    w->f.cluster = NULL;
}
ROW(store_gone_leader)
{
    leading(w);
    w->f.store_ok = false;
}
ROW(store_gone_standby)
{
    following(w);
    w->f.store_ok = false;
}
ROW(task_runs)
{
    following(w);
    w->server.task = (TaskView){.kind = TASK_FOLLOW, .number = 1, .running = true};
}
ROW(task_failed)
{
    following(w);
    w->server.task = (TaskView){.kind = TASK_FOLLOW, .number = 1, .error = "disk full"};
}
// The leader could not be asked, and now there is another one.
ROW(check_failed)
{
    following(w);
    w->server.task =
        (TaskView){.kind = TASK_CHECK_DIVERGENCE, .number = 1, .error = "connection refused"};
    w->f.memory.task_term = w->cluster.leader.create_revision;
}
ROW(check_failed_with_the_last_leader)
{
    check_failed(w);
    w->f.memory.task_term--;
    w->server.upstream = "c";
}
ROW(not_inspected)
{
    following(w);
    w->server.dir = DIR_UNKNOWN;
}
ROW(dir_inaccessible)
{
    following(w);
    w->server.dir = DIR_INACCESSIBLE;
}
ROW(control_unreadable)
{
    following(w);
    w->server.control.known = false;
}
ROW(foreign_data)
{
    following(w);
    w->cluster.initialize = "1111111111111111111";
}
ROW(foreign_key)
{
    following(w);
    led_by(w, 0);
    w->f.leader_is_us_by_name = true;
}
ROW(leader_dir_lost)
{
    leading(w);
    stopped(w);
    w->server.dir = DIR_MISSING;
}

static const Row any_role[] = {
    R(no_warden, KEEP, NONE, WARDEN_UNREACHABLE),
    R(store_never_read, KEEP, NONE, STORE_NOT_READ),
    R(store_gone_leader, KEEP, NONE, STORE_UNREACHABLE),
    R(store_gone_standby, KEEP, NONE, STORE_UNREACHABLE_STANDBY),
    R(task_runs, KEEP, NONE, TASK_RUNNING),
    R(task_failed, KEEP, NONE, TASK_FAILED_WAITING),
    R(check_failed, KEEP, NONE, TASK_FAILED_WAITING),
    R(check_failed_with_the_last_leader, KEEP, FOLLOW, REPLICA_FOLLOW),
    R(not_inspected, KEEP, INSPECT, INSPECTING),
    R(dir_inaccessible, KEEP, INSPECT, DIRECTORY_INACCESSIBLE),
    R(control_unreadable, KEEP, INSPECT, SYSTEM_ID_UNKNOWN),
    R(foreign_data, KEEP, NONE, SYSTEM_ID_FOREIGN),
    R(foreign_key, KEEP, NONE, LEADER_KEY_FOREIGN),
    R(leader_dir_lost, RELEASE, NONE, LEADER_DIRECTORY_LOST),
};

static const RowTable any_role_rows = TABLE(any_role);

static const RowTable *const tables[] = {&any_role_rows,        &decide_empty_rows,
                                         &decide_race_rows,     &decide_leader_rows,
                                         &decide_handover_rows, &decide_replica_rows};

static void check_row(const Row *row, bool *seen)
{
    static World w;
    row->facts(&w);
    const Decision d = decide(&w.f);
    if (d.key != row->key || d.task != row->task || d.reason != row->reason ||
        d.strike != row->strike)
        fail_msg("%s: key %s, task %s, %s%s", row->given, key_action_name(d.key), task_name(d.task),
                 reason_name(d.reason), d.strike ? ", strike" : "");
    // To somebody who was just asked. In a failure the server may still be there, and hold clients.
    if (d.to_successor !=
        (d.reason == REASON_SWITCHOVER_RELEASE || d.reason == REASON_SHUTDOWN_RELEASE))
        fail_msg("%s: to_successor %d", row->given, d.to_successor);
    seen[d.reason] = true;
    const Decision twin = decide(&w.f);
    assert_memory_equal(&d.memory, &twin.memory, sizeof d.memory);
    assert_int_equal(d.reason, twin.reason);
    // Or while its processes are known to be dead but for the kernel's word.
    if (d.key == KEY_RELEASE)
        assert_false((w.server.running || w.server.remains) &&
                     !instant_is_set(w.f.warden.fenced_at));
}

static void test_rows(void **state)
{
    (void)state;
    bool seen[REASON_COUNT] = {false};
    for (size_t t = 0; t < COUNT_OF(tables); t++)
        for (size_t i = 0; i < tables[t]->count; i++)
            check_row(&tables[t]->rows[i], seen);
    for (Reason r = REASON_NONE + 1; r < REASON_COUNT; r++)
        if (!seen[r])
            fail_msg("no row reaches %s", reason_name(r));
}

static void test_fence_goes_only_when_nothing_is_left_or_never_promoted(void **state)
{
    (void)state;
    static World w;
    leading(&w);
    assert_false(decide(&w.f).unfence);
    stopped(&w);
    assert_true(decide(&w.f).unfence);
    w.server.remains = true;
    assert_false(decide(&w.f).unfence);
    stopped(&w);
    w.server.task = (TaskView){.kind = TASK_START_PRIMARY, .number = 9, .running = true};
    assert_false(decide(&w.f).unfence); // the process may be about to appear

    following(&w);
    w.f.warden.fence_armed = true;
    assert_true(decide(&w.f).unfence);
    w.f.warden.writer = true; // a promote was sent: being in recovery proves nothing
    assert_false(decide(&w.f).unfence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_fence_goes_only_when_nothing_is_left_or_never_promoted),
        cmocka_unit_test(test_copies_the_leader_itself_when_told_to),
        cmocka_unit_test(test_timelines_already_used_are_reserved),
        cmocka_unit_test(test_a_second_timeline_in_a_term_is_announced),
        cmocka_unit_test(test_a_lost_source_is_no_failed_rewind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
