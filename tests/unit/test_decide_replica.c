// Somebody else leads: follow, compare, rewind.
#include "tests/unit/test_decide_lab.h"

ROW(follows)
{
    following(w);
}
ROW(does_not_stream)
{
    following(w);
    w->server.streaming = false;
    w->f.memory.checked_term = 50;
    w->f.memory.apart_since = (Instant){S(999)};
}
ROW(does_not_stream_yet)
{
    does_not_stream(w);
    w->f.memory.apart_since = (Instant){S(1000) - S(1) / 10};
}
ROW(does_not_stream_from_one_that_starts)
{
    does_not_stream(w);
    w->members[1].state = STATE_STARTING;
}
ROW(does_not_stream_though_told)
{
    does_not_stream(w);
    w->f.memory.apart_since = (Instant){S(991)};
    w->f.memory.nudges = 3;
    w->f.memory.nudged_at = (Instant){S(1000) - S(19) / 10}; // the next after 2 s
}
ROW(does_not_stream_told_long_ago)
{
    does_not_stream_though_told(w);
    w->f.memory.nudged_at = (Instant){S(998)};
}
ROW(cannot_stream)
{
    does_not_stream(w);
    w->f.memory.apart_since = (Instant){S(991)};
    w->f.memory.nudged_at = (Instant){S(991)};
    w->f.memory.nudges = 5;
}
ROW(does_not_stream_for_long)
{
    does_not_stream(w);
    w->f.memory.apart_since = (Instant){S(980)};
}
ROW(starts)
{
    following(w);
    stopped(w);
}
ROW(starts_alone)
{
    vacant(w);
    stopped(w);
}
ROW(replica_starting)
{
    following(w);
    w->server.answered = false;
}
ROW(repoints)
{
    following(w);
    w->server.upstream = "c";
}
ROW(repoints_address)
{
    following(w);
    w->server.receiver_port = 1;
}
ROW(repoints_at_a_new_address)
{
    following(w);
    w->server.streaming = false;
    w->server.receiver_host = NULL;
    w->server.upstream_host = "10.0.0.99";
    w->server.upstream_port = 5433;
}
ROW(repoints_at_a_new_port)
{
    repoints_at_a_new_address(w);
    w->server.upstream_host = "10.0.0.1";
    w->server.upstream_port = 1;
}
ROW(looks_where_it_should)
{
    repoints_at_a_new_port(w);
    w->server.upstream_port = 5433;
}
ROW(replicates_from)
{
    following(w);
    w->settings.tags.replicatefrom = "c";
}
ROW(checks)
{
    following(w);
    w->members[1].timeline = 2;
}
ROW(diverged_running)
{
    checks(w);
    w->f.memory.diverged_term = 50;
}
ROW(old_primary) // stopped cleanly after leading on timeline 1; b leads on 2
{
    starts(w);
    w->members[1].timeline = 2;
    w->server.standby_signal = false;
    w->server.control.state = CONTROL_SHUT_DOWN;
}
ROW(old_primary_waits)
{
    old_primary(w);
    w->members[1].role = ROLE_REPLICA;
}
ROW(old_primary_dirty)
{
    old_primary(w);
    w->server.control.state = CONTROL_IN_PRODUCTION;
}
ROW(old_primary_diverged)
{
    old_primary(w);
    w->f.memory.diverged_term = 50;
}
ROW(source_not_ready)
{
    old_primary_diverged(w);
    w->members[1].checkpoint_pending = true;
}
ROW(rewind_not_allowed)
{
    old_primary_diverged(w);
    w->settings.postgresql.use_pg_rewind = false;
}
ROW(rewind_failed)
{
    old_primary_diverged(w);
    w->f.memory.rewind_failures = 3;
    w->f.memory.rewind_failed_term = 50;
}
ROW(rewind_failed_once)
{
    rewind_failed(w);
    w->f.memory.rewind_failures = 1;
}
ROW(rewind_failed_with_another_leader)
{
    rewind_failed(w);
    w->f.memory.rewind_failed_term = 40;
}
ROW(rewind_failed_wipe)
{
    rewind_failed(w);
    w->settings.postgresql.remove_data_directory_on_rewind_failure = true;
}
ROW(rewound)
{
    old_primary(w);
    w->f.memory.rewound = true;
}

static const Row rows[] = {
    R(follows, KEEP, NONE, REPLICA_HEALTHY),
    R(does_not_stream, KEEP, FOLLOW, REPLICA_NUDGE),
    R(does_not_stream_yet, KEEP, NONE, REPLICA_NOT_STREAMING),
    R(does_not_stream_from_one_that_starts, KEEP, NONE, REPLICA_NOT_STREAMING),
    R(does_not_stream_though_told, KEEP, NONE, REPLICA_NOT_STREAMING),
    R(does_not_stream_told_long_ago, KEEP, FOLLOW, REPLICA_NUDGE),
    R(cannot_stream, KEEP, NONE, REPLICA_NOT_STREAMING),
    R(does_not_stream_for_long, KEEP, CHECK_DIVERGENCE, REPLICA_CHECK_DIVERGENCE),
    R(starts, KEEP, START_STANDBY, REPLICA_START),
    R(starts_alone, KEEP, START_STANDBY, REPLICA_START),
    R(replica_starting, KEEP, NONE, REPLICA_STARTING),
    R(repoints, KEEP, FOLLOW, REPLICA_FOLLOW),
    R(repoints_address, KEEP, FOLLOW, REPLICA_FOLLOW),
    R(repoints_at_a_new_address, KEEP, FOLLOW, REPLICA_FOLLOW),
    R(repoints_at_a_new_port, KEEP, FOLLOW, REPLICA_FOLLOW),
    R(looks_where_it_should, KEEP, CHECK_DIVERGENCE, REPLICA_CHECK_DIVERGENCE),
    R(replicates_from, KEEP, FOLLOW, REPLICA_FOLLOW),
    R(checks, KEEP, CHECK_DIVERGENCE, REPLICA_CHECK_DIVERGENCE),
    R(diverged_running, KEEP, STOP, REPLICA_STOP_FOR_REWIND),
    R(old_primary, KEEP, CHECK_DIVERGENCE, REPLICA_CHECK_DIVERGENCE),
    R(old_primary_waits, KEEP, NONE, REPLICA_WAIT_SOURCE),
    R(old_primary_dirty, KEEP, CRASH_RECOVERY, REPLICA_CRASH_RECOVERY),
    R(old_primary_diverged, KEEP, REWIND, REPLICA_REWIND),
    R(source_not_ready, KEEP, NONE, REPLICA_WAIT_SOURCE),
    R(rewind_not_allowed, KEEP, NONE, REPLICA_REWIND_IMPOSSIBLE),
    R(rewind_failed_once, KEEP, REWIND, REPLICA_REWIND),
    R(rewind_failed_with_another_leader, KEEP, REWIND, REPLICA_REWIND),
    R(rewind_failed, KEEP, NONE, REPLICA_REWIND_FAILED),
    R(rewind_failed_wipe, KEEP, WIPE, REPLICA_WIPE),
    R(rewound, KEEP, START_STANDBY, REPLICA_START),
};

const RowTable decide_replica_rows = TABLE(rows);

// A rewind that its source ended is tried again for ever; three that failed by themselves are not.
void test_a_lost_source_is_no_failed_rewind(void **state)
{
    (void)state;
    static World w;
    old_primary_diverged(&w);
    w.f.memory.task_term = w.cluster.leader.create_revision;
    for (int i = 0; i < 6; i++) {
        w.server.task = (TaskView){.kind = TASK_REWIND, .number = 10 + (uint64_t)i};
        w.server.task.source_lost = i < 3;
        w.f.memory = decide(&w.f).memory;
        w.f.memory.task_retry_at = (Instant){0};
        assert_int_equal(decide(&w.f).reason,
                         i < 5 ? REASON_REPLICA_REWIND : REASON_REPLICA_REWIND_FAILED);
    }
}
