// An empty data directory: create the cluster, copy it, or wait for somebody to copy from.
#include "tests/unit/test_decide_lab.h"

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
ROW(new_cluster_kept_elsewhere)
{
    new_cluster(w);
    w->cluster.other_store = "'b' leads this cluster in Endpoints 'demo'";
}
ROW(new_cluster_not_by_us)
{
    new_cluster(w);
    w->settings.tags.nofailover = true;
}
// A leader key that somebody wrote by hand, into a store that knows no cluster.
ROW(new_cluster_key_by_hand)
{
    new_cluster(w);
    w->cluster.leader = (LeaderView){.name = "nobody", .create_revision = 50, .mod_revision = 51};
    w->cluster.vacancy = (Vacancy){.kind = VACANCY_TAMPERED, .since = {S(990)}};
}
ROW(new_cluster_key_by_hand_for_a_ttl)
{
    new_cluster_key_by_hand(w);
    w->cluster.vacancy.since = (Instant){S(970)};
}
// Every key was deleted by hand: whoever led still has its lease.
ROW(new_cluster_in_an_emptied_store)
{
    new_cluster(w);
    w->cluster.vacancy = (Vacancy){.kind = VACANCY_TAMPERED, .holder = "b", .since = {S(990)}};
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
    w->f.lease.ttl_ms = 30000;
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
// What is in other stores is being looked at; then it is known, and a primary beside another one.
ROW(adopts_not_yet)
{
    adopts(w);
    w->cluster.other_store = "not looked at yet";
    w->f.started_at = (Instant){S(990)};
}
ROW(adopts_nothing_of_others)
{
    adopts_not_yet(w);
    w->f.started_at = (Instant){S(970)};
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
    w->members[2].tags.clonefrom = true;
}
ROW(reinit_from_leader)
{
    reinit_empty(w);
    w->f.memory.reinit_from_leader = true;
}

static const Row rows[] = {
    R(new_cluster, ACQUIRE, NONE, BOOTSTRAP_CLAIM),
    R(new_cluster_kept_elsewhere, KEEP, NONE, OTHER_STORE_IN_USE),
    R(new_cluster_not_by_us, KEEP, NONE, BOOTSTRAP_NOT_ALLOWED),
    R(new_cluster_key_by_hand, KEEP, NONE, RACE_RESERVED),
    R(new_cluster_key_by_hand_for_a_ttl, ACQUIRE, NONE, BOOTSTRAP_CLAIM),
    R(new_cluster_in_an_emptied_store, KEEP, NONE, RACE_RESERVED),
    R(other_bootstraps, KEEP, NONE, BOOTSTRAP_WAIT),
    R(bootstrapping, KEEP, BOOTSTRAP, BOOTSTRAP_RUNNING),
    R(bootstrapped_not_started, KEEP, START_PRIMARY, BOOTSTRAP_RUNNING),
    R(bootstrap_starting, KEEP, NONE, LEADER_STARTING),
    R(bootstrap_up, KEEP, POST_BOOTSTRAP, BOOTSTRAP_POST),
    R(bootstrap_ready, KEEP, NONE, BOOTSTRAP_DONE),
    R(bootstrap_failed, RELEASE, NONE, BOOTSTRAP_FAILED),
    R(bootstrap_failed_running, KEEP, STOP, BOOTSTRAP_FAILED),
    R(adopts, ACQUIRE, NONE, ADOPT_CLUSTER),
    R(adopts_not_yet, KEEP, NONE, OTHER_STORE_IN_USE),
    R_STRIKE(adopts_nothing_of_others, KEEP, PRIMARY_WITHOUT_LEASE),
    R(clone, KEEP, CLONE, CLONE),
    R(clone_from_tagged, KEEP, CLONE, CLONE),
    R(clone_waits, KEEP, NONE, CLONE_WAIT),
    R(clone_waits_leaderless, KEEP, NONE, CLONE_WAIT),
    R(reinit_running, KEEP, STOP, REINITIALIZE),
    R(reinit_stopped, KEEP, WIPE, REINITIALIZE),
    R(reinit_empty, KEEP, CLONE, REINITIALIZE),
    R(reinit_from_leader, KEEP, CLONE, REINITIALIZE),
};

const RowTable decide_empty_rows = TABLE(rows);

// `reinit --from-leader`: neither a tagged replica nor a configured method, from the request to the
// end of the copy, also when it takes several tries.
void test_copies_the_leader_itself_when_told_to(void **state)
{
    (void)state;
    static World w;
    reinit_empty(&w);
    Decision d = decide(&w.f);
    assert_string_equal(d.upstream->name, "c");
    assert_false(d.clone_by_basebackup);

    reinit_running(&w);
    w.members[2].tags.clonefrom = true;
    w.f.request.reinit_from_leader = true;
    w.f.memory = decide(&w.f).memory;
    w.f.request.reinit = w.f.request.reinit_from_leader = false;
    stopped(&w);
    w.server.dir = DIR_MISSING;
    w.server.task = (TaskView){.kind = TASK_CLONE, .number = 9, .ended_at = {S(990)}};
    w.f.memory.task_seen = 9; // it has failed
    d = decide(&w.f);
    assert_int_equal(d.task, TASK_CLONE);
    assert_string_equal(d.upstream->name, "b");
    assert_true(d.clone_by_basebackup);

    w.f.memory.task_seen = 8;
    w.server.task.ok = true;
    w.server.dir = DIR_VALID;
    d = decide(&w.f);
    assert_false(d.memory.reinit || d.memory.reinit_from_leader || d.clone_by_basebackup);
}
