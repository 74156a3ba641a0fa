// Nobody leads: who may take the lease, and which timeline it may take.
#include "tests/unit/test_decide_lab.h"

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
ROW(kept_elsewhere)
{
    racing(w);
    w->cluster.other_store = "'b' leads this cluster in Endpoints 'demo'";
}
ROW(manual_but_kept_elsewhere)
{
    kept_elsewhere(w);
    w->cluster.failover = (FailoverView){.candidate = "a", .mod_revision = 60};
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
// b, whose pod was made from another template than the new one, has handed over; a and c are
// equally far.
static void rollout(World *w, const char *ours, const char *theirs)
{
    racing(w);
    w->cluster.vacancy.kind = VACANCY_RELEASED;
    w->members[1].revision = "old";
    w->members[0].revision = ours;
    w->members[2].revision = theirs;
}
ROW(rollout_has_passed_the_other)
{
    rollout(w, "old", "new");
}
ROW(rollout_has_passed_us)
{
    rollout(w, "new", "old");
}
ROW(rollout_has_passed_both)
{
    rollout(w, "new", "new");
}
ROW(rollout_unknown)
{
    rollout(w, NULL, "new");
}
ROW(rollout_has_passed_one_that_lags)
{
    rollout_has_passed_the_other(w);
    w->answers[1].position.lsn--;
}
ROW(rollout_has_passed_one_of_less_priority)
{
    rollout_has_passed_the_other(w);
    w->settings.tags.failover_priority = 2;
}
ROW(rollout_has_passed_one_that_is_late)
{
    rollout_has_passed_the_other(w);
    w->cluster.vacancy.since = (Instant){S(998)};
}
ROW(rollout_is_no_matter_after_a_crash)
{
    rollout_has_passed_the_other(w);
    w->cluster.vacancy.kind = VACANCY_EXPIRED;
}
ROW(rollout_is_no_matter_to_a_candidate)
{
    rollout_has_passed_the_other(w);
    w->cluster.failover = (FailoverView){.candidate = "a", .mod_revision = 60};
}
static void numbered(World *w, const char *ours, const char *theirs)
{
    rollout(w, "old", "old");
    w->settings.name = w->members[0].name = ours;
    w->answers[1].name = w->members[2].name = theirs;
}
ROW(rollout_comes_to_us_first)
{
    numbered(w, "p-10", "p-9");
}
ROW(rollout_comes_to_the_other_first)
{
    numbered(w, "p-9", "p-10");
}
ROW(rollout_is_no_matter_to_the_former_leader)
{
    numbered(w, "p-10", "p-9");
    w->cluster.vacancy.holder = "p-9";
}
ROW(rollout_knows_no_numbers)
{
    numbered(w, "p-x", "p");
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

static const Row rows[] = {
    R(asks_first, KEEP, NONE, RACE_ASK_PEERS),
    R(wins, ACQUIRE, NONE, RACE_WON),
    R(hand_written_key, ACQUIRE, NONE, RACE_WON),
    R(kept_elsewhere, KEEP, NONE, OTHER_STORE_IN_USE),
    R(manual_but_kept_elsewhere, KEEP, NONE, OTHER_STORE_IN_USE),
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
    R(rollout_has_passed_the_other, KEEP, NONE, RACE_ROLLOUT),
    R(rollout_has_passed_us, ACQUIRE, NONE, RACE_WON),
    R(rollout_has_passed_both, ACQUIRE, NONE, RACE_WON),
    R(rollout_unknown, ACQUIRE, NONE, RACE_WON),
    R(rollout_has_passed_one_that_lags, ACQUIRE, NONE, RACE_WON),
    R(rollout_has_passed_one_of_less_priority, ACQUIRE, NONE, RACE_WON),
    R(rollout_has_passed_one_that_is_late, ACQUIRE, NONE, RACE_WON),
    R(rollout_is_no_matter_after_a_crash, ACQUIRE, NONE, RACE_WON),
    R(rollout_is_no_matter_to_a_candidate, ACQUIRE, NONE, FAILOVER_MANUAL),
    R(rollout_comes_to_us_first, KEEP, NONE, RACE_ROLLOUT),
    R(rollout_comes_to_the_other_first, ACQUIRE, NONE, RACE_WON),
    R(rollout_is_no_matter_to_the_former_leader, ACQUIRE, NONE, RACE_WON),
    R(rollout_knows_no_numbers, ACQUIRE, NONE, RACE_WON),
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
};

const RowTable decide_race_rows = TABLE(rows);

void test_timelines_already_used_are_reserved(void **state)
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
