// The rules as a table: given, facts, key action, task, reason. Every reason that decide() can give
// has a row; one that no row reaches is dead code or a missing test.
#include "tests/support/test.h"

#include "agent/core/decide.h"
#include "common/base/text.h"

#include <string.h>

#define S(seconds) ((int64_t)(seconds)*1000000000)

// A cluster of three at t = 1000 s, we are "a"; ttl 30, loop_wait 10.
typedef struct {
    Facts f;
    Settings settings;
    ClusterView cluster;
    ServerView server;
    MemberView members[3];
    PeerAnswer answers[2];
    WalSenderView senders[1];
    TimelineSwitch parents[2];
} World;

static void base(World *w)
{
    memset(w, 0, sizeof *w);
    w->settings = (Settings){
        .name = "a",
        .ttl_ms = 30000,
        .loop_wait_ms = 10000,
        .retry_timeout_ms = 10000,
        .maximum_lag_on_failover = 1048576,
        .primary_start_timeout_ms = 300000,
        .tags = {.failover_priority = 1, .sync_priority = 1},
        .postgresql = {.use_pg_rewind = true, .use_slots = true},
        .bootstrap = {.present = true},
        .howdah = {.margin_ms = 1500, .stop_budget_ms = 3000},
    };
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        w->members[i] = (MemberView){.name = names[i],
                                     .host = "10.0.0.1",
                                     .port = 5432 + i,
                                     .api_url = "http://x/patroni",
                                     .state = STATE_RUNNING,
                                     .role = ROLE_REPLICA,
                                     .timeline = 1,
                                     .howdah = "1",
                                     .tags = {.failover_priority = 1}};
    w->cluster = (ClusterView){.revision = 100,
                               .initialize = "7277694203142172922",
                               .config_revision = 2,
                               .members = w->members,
                               .member_count = 3,
                               .optime = 5000000};
    w->server = (ServerView){.warden = true,
                             .running = true,
                             .remains = true,
                             .answered = true,
                             .answered_at = {S(999)},
                             .in_recovery = true,
                             .timeline = 1,
                             .receive_lsn = 5000000,
                             .replay_lsn = 5000000,
                             .dir = DIR_VALID,
                             .standby_signal = true,
                             .role = ROLE_REPLICA,
                             .state = STATE_RUNNING,
                             .history = {.timeline = 1},
                             .control = {.known = true,
                                         .state = CONTROL_IN_ARCHIVE_RECOVERY,
                                         .system_identifier = "7277694203142172922",
                                         .timeline = 1,
                                         .checksums = true}};
    w->f = (Facts){.now = {S(1000)},
                   .started_at = {S(10)},
                   .wall_us = INT64_C(1000000000),
                   .settings = &w->settings,
                   .store_known = true,
                   .store_ok = true,
                   .cluster = &w->cluster,
                   .history = {.timeline = 1},
                   .warden = {.connected = true},
                   .server = &w->server};
}

static void led_by(World *w, int i)
{
    w->members[i].role = ROLE_PRIMARY;
    w->cluster.leader = (LeaderView){
        .name = w->members[i].name, .session = "77", .create_revision = 50, .mod_revision = 50};
    w->cluster.term = (TermRecord){.present = true,
                                   .holder = w->members[i].name,
                                   .mod_revision = 50,
                                   .timeline = 1,
                                   .confirmed = true,
                                   .term = 50};
}

// We lead, as a primary in term 50, with 25 s of lease left.
static void leading(World *w)
{
    base(w);
    led_by(w, 0);
    w->f.leader_is_us = w->f.leader_is_us_by_name = true;
    w->f.lease.held = true;
    w->f.lease.term = 50;
    w->f.lease.proven_at = (Instant){S(995)};
    w->f.lease.valid_until = (Instant){S(1025)};
    w->f.warden.fence_armed = w->f.warden.writer = true;
    w->f.warden.quit_at = (Instant){S(1023)};
    w->f.memory.primary_term = w->f.memory.promoted_term = 50;
    w->server.in_recovery = w->server.standby_signal = false;
    w->server.role = ROLE_PRIMARY;
    w->server.flush_lsn = 5000000;
    w->server.control.state = CONTROL_IN_PRODUCTION;
}

static void stopped(World *w)
{
    w->server.running = w->server.remains = w->server.answered = false;
    w->server.state = STATE_STOPPED;
}

// Nobody leads; b did, and its lease expired at 999 s.
static void vacant(World *w)
{
    base(w);
    w->cluster.vacancy = (Vacancy){.kind = VACANCY_EXPIRED, .holder = "b", .since = {S(999)}};
}

static void asked(World *w)
{
    w->f.peers = (PeerFacts){.asked_at = {S(1000)}, .answers = w->answers, .count = 2};
    w->answers[0] = (PeerAnswer){.name = "b", .failover_priority = 1};
    w->answers[1] = (PeerAnswer){.name = "c",
                                 .reachable = true,
                                 .in_recovery = true,
                                 .running = true,
                                 .failover_priority = 1,
                                 .position = {1, 5000000}};
}

static void racing(World *w)
{
    vacant(w);
    asked(w);
}

static void following(World *w)
{
    base(w);
    led_by(w, 1);
    w->server.upstream = "b";
    w->server.streaming = true;
    w->server.receiver_host = "10.0.0.1";
    w->server.receiver_port = 5433;
}

// --- one function a situation
#define ROW(name) static void name(World *w)

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
ROW(disk_hung)
{
    leading(w);
    asked(w);
    w->server.disk_busy_ms = 31000;
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

ROW(new_cluster)
{
    base(w);
    stopped(w);
    w->server.dir = DIR_MISSING;
    w->server.control.known = false;
    w->cluster.initialize = NULL;
    w->cluster.member_count = 1;
    w->cluster.vacancy.kind = VACANCY_NEVER;
    w->f.history.timeline = 0;
}
ROW(new_cluster_not_by_us)
{
    new_cluster(w);
    w->settings.tags.nofailover = true;
}
ROW(other_bootstraps)
{
    new_cluster(w);
    w->cluster.initialize = "";
}
ROW(bootstrapping)
{
    new_cluster(w);
    led_by(w, 0);
    w->cluster.initialize = "";
    w->f.leader_is_us = true;
    w->f.lease.held = true;
    w->f.lease.term = 50;
    w->f.lease.valid_until = (Instant){S(1025)};
    w->f.memory.bootstrapping = true;
}
ROW(bootstrapped_not_started)
{
    bootstrapping(w);
    w->server.dir = DIR_VALID;
    w->server.control.known = true;
}
ROW(bootstrap_starting)
{
    bootstrapped_not_started(w);
    w->server.running = w->server.remains = true;
}
ROW(bootstrap_up)
{
    bootstrap_starting(w);
    w->server.answered = true;
    w->server.in_recovery = false;
    w->f.warden.fence_armed = w->f.warden.writer = true;
}
ROW(bootstrap_ready)
{
    bootstrap_up(w);
    w->f.memory.post_bootstrap_done = true;
}
ROW(bootstrap_failed)
{
    bootstrapping(w);
    w->f.memory.bootstrap_failed = true;
}
ROW(bootstrap_failed_running)
{
    bootstrap_up(w);
    w->f.memory.bootstrap_failed = true;
}
ROW(adopts)
{
    base(w);
    w->cluster.initialize = NULL;
    w->cluster.vacancy.kind = VACANCY_NEVER;
    w->server.in_recovery = false;
    w->server.role = ROLE_PRIMARY;
}
ROW(clone)
{
    following(w);
    stopped(w);
    w->server.dir = DIR_MISSING;
}
ROW(clone_from_tagged)
{
    clone(w);
    w->members[2].tags.clonefrom = true;
}
ROW(clone_waits)
{
    clone(w);
    w->members[1].role = ROLE_REPLICA;
}
ROW(clone_waits_leaderless)
{
    vacant(w);
    stopped(w);
    w->server.dir = DIR_MISSING;
}
ROW(reinit_running)
{
    following(w);
    w->f.request.reinit = true;
}
ROW(reinit_stopped)
{
    following(w);
    stopped(w);
    w->f.memory.reinit = true;
}
ROW(reinit_empty)
{
    reinit_stopped(w);
    w->server.dir = DIR_MISSING;
}

ROW(asks_first)
{
    vacant(w);
}
ROW(wins)
{
    racing(w);
}
ROW(hand_written_key)
{
    racing(w);
    w->cluster.leader = (LeaderView){.name = "x", .create_revision = 7, .mod_revision = 9};
    w->cluster.vacancy.kind = VACANCY_TAMPERED;
    w->cluster.vacancy.since = (Instant){S(900)};
}
ROW(reserved)
{
    racing(w);
    w->cluster.vacancy.kind = VACANCY_TAMPERED;
}
ROW(reservation_over)
{
    reserved(w);
    w->f.now = (Instant){S(1030)};
    w->f.peers.asked_at = w->f.now;
}
ROW(fresh_agent)
{
    racing(w);
    w->cluster.vacancy = (Vacancy){.kind = VACANCY_FOUND};
    w->f.started_at = (Instant){S(990)};
}
ROW(fresh_agent_after_release)
{
    fresh_agent(w);
    w->cluster.vacancy.kind = VACANCY_RELEASED;
}
ROW(no_failover_tag)
{
    racing(w);
    w->settings.tags.nofailover = true;
}
ROW(behind)
{
    racing(w);
    w->answers[1].position.lsn++;
}
ROW(higher_timeline_peer)
{
    racing(w);
    w->answers[1].position = (WalPosition){2, 4000000};
}
ROW(dead_branch_peer)
{
    // c is on timeline 2 beyond the point where the cluster's timeline 3 left it: no vote.
    racing(w);
    w->parents[0] = (TimelineSwitch){1, 4000000};
    w->parents[1] = (TimelineSwitch){2, 4500000};
    w->f.history = (TimelineHistory){3, w->parents, 2};
    w->server.timeline = 3;
    w->server.control.timeline = 3;
    w->answers[1].position = (WalPosition){2, 9000000};
}
ROW(priority)
{
    racing(w);
    w->answers[1].failover_priority = 2;
}
ROW(priority_of_former_leader)
{
    priority(w);
    w->cluster.vacancy.holder = "c";
}
ROW(primary_alive)
{
    racing(w);
    w->answers[1].in_recovery = false;
}
ROW(lag)
{
    racing(w);
    w->cluster.optime = 9000000;
}
ROW(diverged)
{
    racing(w);
    w->parents[0] = (TimelineSwitch){1, 4000000};
    w->f.history = (TimelineHistory){2, w->parents, 1};
}
ROW(position_unknown)
{
    racing(w);
    w->server.timeline = 0;
    w->server.control.known = false;
    w->server.control.timeline = 0;
    w->server.receive_lsn = w->server.replay_lsn = 0;
    w->server.control.known = true;
}
ROW(candidate_other)
{
    racing(w);
    w->cluster.failover = (FailoverView){.candidate = "c", .mod_revision = 60};
}
ROW(candidate_other_dead)
{
    candidate_other(w);
    w->cluster.failover.candidate = "b";
}
ROW(candidate_me_lagging)
{
    lag(w);
    w->cluster.failover = (FailoverView){.candidate = "a", .mod_revision = 60};
}
ROW(switchover_source)
{
    racing(w);
    w->cluster.failover = (FailoverView){.leader = "a", .mod_revision = 60};
}
ROW(scheduled_later_does_not_steer)
{
    candidate_other(w);
    w->cluster.failover.scheduled_at = "later";
    w->cluster.failover.scheduled_us = INT64_C(9000000000);
}
ROW(not_in_sync)
{
    racing(w);
    w->settings.sync_mode = true;
    w->cluster.sync = (SyncView){.leader = "b"};
}
ROW(sync_mode_off)
{
    not_in_sync(w);
    w->settings.sync_mode = false;
}
ROW(paused)
{
    racing(w);
    w->settings.pause = true;
}
ROW(manual_but_reserved)
{
    candidate_me_lagging(w);
    w->cluster.vacancy.kind = VACANCY_TAMPERED;
}
ROW(candidate_had_its_time)
{
    candidate_other(w);
    w->cluster.vacancy.since = (Instant){S(960)};
}
ROW(found_diverged)
{
    racing(w);
    w->f.memory.diverged_term = 3;
}
ROW(gave_up_a_moment_ago)
{
    racing(w);
    w->f.memory.released_at = (Instant){S(998)};
}
ROW(standby_starting)
{
    vacant(w);
    w->server.answered = false;
}
ROW(just_released)
{
    vacant(w);
    stopped(w);
    w->f.memory.released_at = (Instant){S(999)};
}
ROW(race_promoted_role)
{
    racing(w);
    w->server.role = ROLE_PROMOTED;
    w->server.in_recovery = true;
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

ROW(switchover_asks)
{
    leading(w);
    w->cluster.failover = (FailoverView){.leader = "a", .candidate = "c", .mod_revision = 60};
}
ROW(switchover_begins)
{
    switchover_asks(w);
    asked(w);
    w->senders[0] = (WalSenderView){.application_name = "c", .state = "streaming"};
    w->server.senders = w->senders;
    w->server.sender_count = 1;
}
ROW(switchover_to_one_that_does_not_stream)
{
    switchover_begins(w);
    w->server.sender_count = 0;
}
ROW(switchover_unfit)
{
    switchover_begins(w);
    w->answers[1].reachable = false;
}
ROW(switchover_lagging)
{
    switchover_begins(w);
    w->answers[1].position.lsn = 1000;
}
ROW(switchover_stale)
{
    switchover_asks(w);
    w->cluster.failover.scheduled_at = "then";
    w->cluster.failover.scheduled_us = INT64_C(900000000);
}
ROW(switchover_unparsable)
{
    switchover_stale(w);
    w->cluster.failover.schedule_invalid = true;
}
ROW(switchover_other_leader)
{
    switchover_asks(w);
    w->cluster.failover.leader = "b";
}
ROW(switchover_stopped)
{
    leading(w);
    stopped(w);
    w->f.memory.handover = HANDOVER_SWITCHOVER;
    w->server.task = (TaskView){.kind = TASK_STOP, .number = 3, .ok = true, .ended_at = {S(999)}};
    w->server.control.state = CONTROL_SHUT_DOWN;
    w->server.control.checkpoint_lsn = 5000000;
}
ROW(switchover_asks_again)
{
    switchover_stopped(w);
}
ROW(switchover_releases)
{
    switchover_stopped(w);
    asked(w);
    w->answers[1].position.lsn = 5000104;
}
ROW(switchover_peer_lacks_the_checkpoint_record)
{
    switchover_releases(w);
    w->answers[1].position.lsn = 5000000;
}
ROW(switchover_nobody_caught_up)
{
    switchover_releases(w);
    w->answers[1].position.lsn = 4999999;
    w->server.task.ended_at = (Instant){S(990)};
}
ROW(handover_crashed)
{
    switchover_releases(w);
    w->server.control.state = CONTROL_IN_PRODUCTION;
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
ROW(shutdown_leader)
{
    leading(w);
    w->f.request.shutdown = true;
}
ROW(shutdown_released)
{
    switchover_releases(w);
    w->f.request.shutdown = true;
    w->f.memory.handover = HANDOVER_SHUTDOWN;
}
ROW(shutdown_alone)
{
    switchover_nobody_caught_up(w);
    w->f.request.shutdown = true;
    w->f.memory.handover = HANDOVER_SHUTDOWN;
}
ROW(shutdown_replica)
{
    following(w);
    w->f.request.shutdown = true;
}
ROW(shutdown_terminating)
{
    following(w);
    w->f.warden.terminating = true;
}
ROW(shutdown_done)
{
    shutdown_replica(w);
    stopped(w);
}

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

static const struct {
    const char *given;
    void (*facts)(World *);
    KeyAction key;
    TaskKind task;
    Reason reason;
    bool strike;
} rows[] = {
#define R(fn, k, t, r)                                                                             \
    {                                                                                              \
#fn, fn, KEY_##k, TASK_##t, REASON_##r, false                                              \
    }
#define R_STRIKE(fn, k, r)                                                                         \
    {                                                                                              \
#fn, fn, KEY_##k, TASK_NONE, REASON_##r, true                                              \
    }
    R(no_warden, KEEP, NONE, WARDEN_UNREACHABLE),
    R(store_never_read, KEEP, NONE, STORE_NOT_READ),
    R(store_gone_leader, KEEP, NONE, STORE_UNREACHABLE),
    R(store_gone_standby, KEEP, NONE, STORE_UNREACHABLE_STANDBY),
    R(task_runs, KEEP, NONE, TASK_RUNNING),
    R(task_failed, KEEP, NONE, TASK_FAILED_WAITING),
    R_STRIKE(disk_hung, KEEP, DISK_HUNG),
    R(not_inspected, KEEP, INSPECT, INSPECTING),
    R(dir_inaccessible, KEEP, INSPECT, DIRECTORY_INACCESSIBLE),
    R(control_unreadable, KEEP, INSPECT, SYSTEM_ID_UNKNOWN),
    R(foreign_data, KEEP, NONE, SYSTEM_ID_FOREIGN),
    R(foreign_key, KEEP, NONE, LEADER_KEY_FOREIGN),
    R(leader_dir_lost, RELEASE, NONE, LEADER_DIRECTORY_LOST),
    R(new_cluster, ACQUIRE, NONE, BOOTSTRAP_CLAIM),
    R(new_cluster_not_by_us, KEEP, NONE, BOOTSTRAP_NOT_ALLOWED),
    R(other_bootstraps, KEEP, NONE, BOOTSTRAP_WAIT),
    R(bootstrapping, KEEP, BOOTSTRAP, BOOTSTRAP_RUNNING),
    R(bootstrapped_not_started, KEEP, START_PRIMARY, BOOTSTRAP_RUNNING),
    R(bootstrap_starting, KEEP, NONE, LEADER_STARTING),
    R(bootstrap_up, KEEP, POST_BOOTSTRAP, BOOTSTRAP_POST),
    R(bootstrap_ready, KEEP, NONE, BOOTSTRAP_DONE),
    R(bootstrap_failed, RELEASE, NONE, BOOTSTRAP_FAILED),
    R(bootstrap_failed_running, KEEP, STOP, BOOTSTRAP_FAILED),
    R(adopts, ACQUIRE, NONE, ADOPT_CLUSTER),
    R(clone, KEEP, CLONE, CLONE),
    R(clone_from_tagged, KEEP, CLONE, CLONE),
    R(clone_waits, KEEP, NONE, CLONE_WAIT),
    R(clone_waits_leaderless, KEEP, NONE, CLONE_WAIT),
    R(reinit_running, KEEP, STOP, REINITIALIZE),
    R(reinit_stopped, KEEP, WIPE, REINITIALIZE),
    R(reinit_empty, KEEP, CLONE, REINITIALIZE),
    R(asks_first, KEEP, NONE, RACE_ASK_PEERS),
    R(wins, ACQUIRE, NONE, RACE_WON),
    R(hand_written_key, ACQUIRE, NONE, RACE_WON),
    R(reserved, KEEP, NONE, RACE_RESERVED),
    R(reservation_over, ACQUIRE, NONE, RACE_WON),
    R(fresh_agent, KEEP, NONE, RACE_FRESH_AGENT),
    R(fresh_agent_after_release, ACQUIRE, NONE, RACE_WON),
    R(no_failover_tag, KEEP, NONE, RACE_NOT_ELIGIBLE_TAG),
    R(behind, KEEP, NONE, RACE_BEHIND),
    R(higher_timeline_peer, KEEP, NONE, RACE_BEHIND),
    R(dead_branch_peer, ACQUIRE, NONE, RACE_WON),
    R(priority, KEEP, NONE, RACE_PRIORITY),
    R(priority_of_former_leader, ACQUIRE, NONE, RACE_WON),
    R(primary_alive, KEEP, NONE, RACE_PRIMARY_ALIVE),
    R(lag, KEEP, NONE, RACE_LAG),
    R(diverged, KEEP, NONE, RACE_DIVERGED),
    R(position_unknown, KEEP, NONE, RACE_POSITION_UNKNOWN),
    R(candidate_other, KEEP, NONE, RACE_CANDIDATE_OTHER),
    R(candidate_other_dead, ACQUIRE, NONE, RACE_WON),
    R(candidate_me_lagging, ACQUIRE, NONE, FAILOVER_MANUAL),
    R(switchover_source, KEEP, NONE, RACE_SWITCHOVER_SOURCE),
    R(scheduled_later_does_not_steer, ACQUIRE, NONE, RACE_WON),
    R(not_in_sync, KEEP, NONE, RACE_NOT_SYNC),
    R(sync_mode_off, ACQUIRE, NONE, RACE_WON),
    R(paused, KEEP, NONE, MODE_UNSUPPORTED),
    R(manual_but_reserved, KEEP, NONE, RACE_RESERVED),
    R(candidate_had_its_time, ACQUIRE, NONE, RACE_WON),
    R(found_diverged, KEEP, NONE, RACE_DIVERGED),
    R(gave_up_a_moment_ago, KEEP, NONE, RACE_BACKOFF),
    R(standby_starting, KEEP, NONE, REPLICA_STARTING),
    R(just_released, KEEP, NONE, REPLICA_NO_LEADER),
    R_STRIKE(race_promoted_role, KEEP, PRIMARY_WITHOUT_LEASE),
    R(healthy, KEEP, NONE, LEADER_HEALTHY),
    R(promotes, KEEP, PROMOTE, LEADER_PROMOTE),
    R(promoting, KEEP, NONE, LEADER_PROMOTING),
    R_STRIKE(promotion_stuck, KEEP, LEADER_PROMOTION_STUCK),
    R(needs_checkpoint, KEEP, CHECKPOINT, LEADER_CHECKPOINT),
    R(standby_cluster, KEEP, NONE, MODE_UNSUPPORTED),
    R(acquire_not_in_view_yet, KEEP, NONE, RACE_WON),
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
    R_STRIKE(lease_lost, KEEP, LEASE_LOST),
    R_STRIKE(primary_without_lease, KEEP, PRIMARY_WITHOUT_LEASE),
    R(resuming, KEEP, NONE, RACE_RESUME),
    R(resuming_too_late, KEEP, STOP, LEASE_RUNNING_OUT),
    R(ours_by_record, KEEP, NONE, RACE_RESUME),
    R(tampered, ACQUIRE, NONE, RACE_RECREATE),
    R(switchover_asks, KEEP, NONE, SWITCHOVER_ASK_PEERS),
    R(switchover_begins, KEEP, STOP, SWITCHOVER),
    R(switchover_unfit, KEEP, NONE, SWITCHOVER_IMPOSSIBLE),
    R(switchover_to_one_that_does_not_stream, KEEP, NONE, SWITCHOVER_IMPOSSIBLE),
    R(switchover_lagging, KEEP, NONE, SWITCHOVER_IMPOSSIBLE),
    R(switchover_stale, KEEP, NONE, SWITCHOVER_STALE),
    R(switchover_unparsable, KEEP, NONE, SWITCHOVER_STALE),
    R(switchover_other_leader, KEEP, NONE, SWITCHOVER_NOT_MINE),
    R(switchover_asks_again, KEEP, NONE, SWITCHOVER),
    R(switchover_releases, RELEASE, NONE, SWITCHOVER_RELEASE),
    R(switchover_peer_lacks_the_checkpoint_record, KEEP, NONE, SWITCHOVER),
    R(switchover_nobody_caught_up, KEEP, NONE, SWITCHOVER_IMPOSSIBLE),
    R(handover_crashed, KEEP, NONE, LEADER_CRASHED),
    R(restart, KEEP, STOP, RESTART),
    R(restart_scheduled, KEEP, STOP, RESTART_SCHEDULED),
    R(restart_stopped, KEEP, START_PRIMARY, RESTART),
    R(reload, KEEP, RELOAD, RELOAD),
    R(shutdown_leader, KEEP, STOP, SHUTDOWN_HANDOVER),
    R(shutdown_released, RELEASE, NONE, SHUTDOWN_RELEASE),
    R(shutdown_alone, KEEP, NONE, SHUTDOWN_KEEP),
    R(shutdown_replica, KEEP, STOP, SHUTDOWN_STOP),
    R(shutdown_terminating, KEEP, STOP, SHUTDOWN_STOP),
    R(shutdown_done, KEEP, NONE, SHUTDOWN_DONE),
    R(follows, KEEP, NONE, REPLICA_HEALTHY),
    R(does_not_stream, KEEP, NONE, REPLICA_NOT_STREAMING),
    R(does_not_stream_for_long, KEEP, CHECK_DIVERGENCE, REPLICA_CHECK_DIVERGENCE),
    R(starts, KEEP, START_STANDBY, REPLICA_START),
    R(starts_alone, KEEP, START_STANDBY, REPLICA_START),
    R(replica_starting, KEEP, NONE, REPLICA_STARTING),
    R(repoints, KEEP, FOLLOW, REPLICA_FOLLOW),
    R(repoints_address, KEEP, FOLLOW, REPLICA_FOLLOW),
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

static void test_rows(void **state)
{
    (void)state;
    bool seen[REASON_COUNT] = {false};
    static World w;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rows[i].facts(&w);
        const Decision d = decide(&w.f);
        if (d.key != rows[i].key || d.task != rows[i].task || d.reason != rows[i].reason ||
            d.strike != rows[i].strike)
            fail_msg("%s: key %s, task %s, %s%s", rows[i].given, key_action_name(d.key),
                     task_name(d.task), reason_name(d.reason), d.strike ? ", strike" : "");
        seen[d.reason] = true;
        const Decision twin = decide(&w.f);
        assert_memory_equal(&d.memory, &twin.memory, sizeof d.memory);
        assert_int_equal(d.reason, twin.reason);
    }
    for (Reason r = REASON_NONE + 1; r < REASON_COUNT; r++)
        if (!seen[r])
            fail_msg("no row reaches %s", reason_name(r));
}

// Or while its processes are known to be dead but for the kernel's word.
static void test_a_key_is_never_released_while_it_may_write(void **state)
{
    (void)state;
    static World w;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rows[i].facts(&w);
        const Decision d = decide(&w.f);
        if (d.key == KEY_RELEASE)
            assert_false((w.server.running || w.server.remains) &&
                         !instant_is_set(w.f.warden.fenced_at));
    }
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

static void test_timelines_already_used_are_reserved(void **state)
{
    (void)state;
    static World w;
    racing(&w);
    assert_int_equal(decide(&w.f).reserve_through, 1);
    w.cluster.term = (TermRecord){.present = true, .holder = "b", .timeline = 4};
    assert_int_equal(decide(&w.f).reserve_through, 4);
    w.answers[0] = w.answers[1];
    w.answers[0].name = "b";
    w.answers[0].position = (WalPosition){1, 10};
    assert_int_equal(decide(&w.f).reserve_through, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_a_key_is_never_released_while_it_may_write),
        cmocka_unit_test(test_fence_goes_only_when_nothing_is_left_or_never_promoted),
        cmocka_unit_test(test_timelines_already_used_are_reserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
