// We lead: start, promote, serve, lose the lease, and what is left when a server does not go.
#include "tests/unit/test_decide_lab.h"

ROW(disk_hung)
{
    leading(w);
    asked(w);
    w->server.disk_busy_ms = 31000;
}
ROW(healthy)
{
    leading(w);
}
ROW(promotes)
{
    leading(w);
    w->server.in_recovery = true;
    w->server.role = ROLE_REPLICA;
    w->f.warden.writer = false;
    w->f.memory.promoted_term = w->f.memory.primary_term = 0;
    w->cluster.term.timeline = 2;
    w->cluster.term.confirmed = false;
}
// It crashed as a primary on timeline 2 and came up as a standby: nobody knows of 3 yet.
ROW(promotes_again)
{
    promotes(w);
    w->server.timeline = 2;
}
ROW(promotes_again_once_announced)
{
    promotes_again(w);
    w->cluster.term.timeline = 3;
}
// Confirmed is taken, whatever the directory says.
ROW(promotes_again_after_confirming)
{
    promotes(w);
    w->cluster.term.confirmed = true;
}
ROW(promoting)
{
    promotes(w);
    w->f.memory.promoted_term = 50;
    w->f.memory.promote_at = (Instant){S(999)};
}
ROW(promotion_stuck)
{
    promoting(w);
    asked(w);
    w->f.memory.promote_at = (Instant){S(600)};
}
ROW(needs_checkpoint)
{
    leading(w);
    w->server.checkpoint_pending = true;
}
ROW(standby_cluster)
{
    promotes(w);
    w->settings.standby_cluster = true;
}
ROW(acquire_not_in_view_yet)
{
    promotes(w);
    w->f.lease.term = 60;
    w->f.leader_is_us = w->f.leader_is_us_by_name = false;
}
// Acquired over a key that somebody wrote by hand: etcd keeps its create_revision, and the view
// still shows another member's record of that number.
ROW(acquired_over_not_in_view_yet)
{
    promotes(w);
    w->f.leader_is_us = w->f.leader_is_us_by_name = false;
    w->cluster.term.holder = "b";
}
ROW(crashed)
{
    leading(w);
    stopped(w);
}
ROW(crashed_not_inspected)
{
    crashed(w);
    w->server.control.state = CONTROL_UNKNOWN;
}
ROW(crashed_remains)
{
    crashed(w);
    w->server.remains = true;
}
ROW(leftovers)
{
    crashed(w);
    w->server.remains = true;
    w->f.memory.remains_since = (Instant){S(998)};
}
ROW(disk_hung_struck)
{
    disk_hung(w);
    w->f.memory.handover = HANDOVER_FAILING;
    w->f.memory.handover_reason = REASON_DISK_HUNG;
    w->f.warden.quit_at = w->f.warden.kill_at = w->f.warden.fenced_at = (Instant){S(999)};
}
ROW(start_timeout)
{
    crashed(w);
    asked(w);
    w->f.memory.trying_to_start_since = (Instant){S(600)};
}
ROW(won_then_crashed)
{
    promotes(w);
    stopped(w);
    w->server.standby_signal = true;
    w->cluster.term.confirmed = false;
}
ROW(starting)
{
    leading(w);
    w->server.answered = false;
    w->server.refused = true;
}
ROW(silent)
{
    leading(w);
    w->server.answered = false;
}
ROW(silent_for_long)
{
    silent(w);
    w->f.memory.silent_since = (Instant){S(960)};
}
ROW(lease_runs_out)
{
    leading(w);
    w->f.lease.valid_until = (Instant){S(1004)};
}
// What was proven before the ttl was raised is judged by its own: of a ttl of 60 s the margins are
// longer than all of these 5 s.
static void ttl_raised_far(World *w, int64_t left_s)
{
    leading(w);
    w->settings.ttl_ms = 60000;
    w->settings.howdah =
        (HowdahSettings){.margin_ms = 3000, .stop_budget_ms = 6000, .margin_least_ms = 500};
    w->f.lease.ttl_ms = 5000;
    w->f.lease.valid_until = (Instant){S(1000 + left_s)};
}
ROW(ttl_raised)
{
    ttl_raised_far(w, 4);
}
ROW(ttl_raised_runs_out)
{
    ttl_raised_far(w, 1);
}
// Stopped for that, it has not crashed, and is not started on what is left of the lease.
ROW(lease_runs_out_stopped)
{
    lease_runs_out(w);
    stopped(w);
}
ROW(lease_runs_out_remains)
{
    lease_runs_out_stopped(w);
    w->server.remains = true;
}
ROW(lease_lost)
{
    leading(w);
    w->f.lease.held = false;
}
ROW(primary_without_lease)
{
    lease_lost(w);
    w->f.memory.primary_term = 0;
    w->cluster.vacancy.kind = VACANCY_EXPIRED;
}
ROW(resuming)
{
    lease_lost(w);
    w->f.lease.resuming = true;
}
ROW(resuming_too_late)
{
    resuming(w);
    w->f.warden.quit_at = (Instant){S(1002)};
}
ROW(ours_by_record)
{
    following(w);
    led_by(w, 0);
    w->f.leader_is_us = w->f.leader_is_us_by_name = true;
    w->f.lease.resuming = true;
}
ROW(tampered)
{
    leading(w);
    w->f.lease.tampered = true;
    w->f.lease.tampered_revision = 77;
}
ROW(restart)
{
    leading(w);
    w->f.request.restart = true;
}
ROW(restart_scheduled)
{
    restart(w);
    w->f.request.restart_scheduled = true;
}
ROW(restart_stopped)
{
    crashed(w);
    w->f.memory.restarting = true;
}
ROW(reload)
{
    leading(w);
    w->f.request.reload = true;
}

static const Row rows[] = {
    R_STRIKE(disk_hung, KEEP, DISK_HUNG),
    R(healthy, KEEP, NONE, LEADER_HEALTHY),
    R(promotes, KEEP, PROMOTE, LEADER_PROMOTE),
    R(promotes_again, KEEP, NONE, LEADER_PROMOTE),
    R(promotes_again_once_announced, KEEP, PROMOTE, LEADER_PROMOTE),
    R(promotes_again_after_confirming, KEEP, NONE, LEADER_PROMOTE),
    R(promoting, KEEP, NONE, LEADER_PROMOTING),
    R_STRIKE(promotion_stuck, KEEP, LEADER_PROMOTION_STUCK),
    R(needs_checkpoint, KEEP, CHECKPOINT, LEADER_CHECKPOINT),
    R(standby_cluster, KEEP, NONE, MODE_UNSUPPORTED),
    R(acquire_not_in_view_yet, KEEP, NONE, RACE_WON),
    R(acquired_over_not_in_view_yet, KEEP, NONE, RACE_WON),
    R(crashed_not_inspected, KEEP, INSPECT, INSPECTING),
    R(crashed, KEEP, START_PRIMARY, LEADER_CRASHED),
    R(crashed_remains, KEEP, NONE, LEADER_CRASHED),
    R(disk_hung_struck, RELEASE, NONE, DISK_HUNG),
    R_STRIKE(leftovers, KEEP, LEFTOVERS),
    R(start_timeout, RELEASE, NONE, LEADER_START_TIMEOUT),
    R(won_then_crashed, KEEP, START_STANDBY, LEADER_START_STANDBY_FIRST),
    R(starting, KEEP, NONE, LEADER_STARTING),
    R(silent, KEEP, NONE, LEADER_NOT_ANSWERING),
    R(silent_for_long, KEEP, STOP, LEADER_STOPPED_SERVER),
    R(lease_runs_out, KEEP, STOP, LEASE_RUNNING_OUT),
    R(ttl_raised, KEEP, NONE, LEADER_HEALTHY),
    R(ttl_raised_runs_out, KEEP, STOP, LEASE_RUNNING_OUT),
    R(lease_runs_out_stopped, KEEP, NONE, LEASE_RUNNING_OUT),
    R(lease_runs_out_remains, KEEP, NONE, LEASE_RUNNING_OUT),
    R_STRIKE(lease_lost, KEEP, LEASE_LOST),
    R_STRIKE(primary_without_lease, KEEP, PRIMARY_WITHOUT_LEASE),
    R(resuming, KEEP, NONE, RACE_RESUME),
    R(resuming_too_late, KEEP, STOP, LEASE_RUNNING_OUT),
    R(ours_by_record, KEEP, NONE, RACE_RESUME),
    R(tampered, ACQUIRE, NONE, RACE_RECREATE),
    R(restart, KEEP, STOP, RESTART),
    R(restart_scheduled, KEEP, STOP, RESTART_SCHEDULED),
    R(restart_stopped, KEEP, START_PRIMARY, RESTART),
    R(reload, KEEP, RELOAD, RELOAD),
};

const RowTable decide_leader_rows = TABLE(rows);

// What is announced first is what is then taken.
void test_a_second_timeline_in_a_term_is_announced(void **state)
{
    (void)state;
    static World w;
    promotes_again(&w);
    assert_int_equal(decide(&w.f).announce, 3);
    promotes_again_once_announced(&w);
    assert_int_equal(decide(&w.f).reserve_through, 2);
    assert_int_equal(decide(&w.f).announce, 0);
    promotes_again_after_confirming(&w);
    assert_int_equal(decide(&w.f).announce, 3);
}
