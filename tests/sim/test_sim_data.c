// Data: crashes, timelines, copies, rewinds, and who may lead with what it has.
#include "tests/sim/scenario.h"

#include <stdio.h>

enum { TTL = 30 };

// The postmaster is killed: started again in the same term, on the same timeline.
static void test_server_crash(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 30)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint32_t timeline = sim_timeline(sim, leader);
        for (int i = 0; i < 3; i++) {
            sim_server_kill(sim, (leader + i) % 3);
            EXPECT(sim, sim_run(sim, SECONDS(1)));
            EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(30)));
        }
        EXPECT(sim, sim_leader(sim) == leader && sim_timeline(sim, leader) == timeline);
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

// The standbys do not sleep for wal_retrieve_retry_interval when their primary is back.
static void test_standbys_stream_at_once(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 30)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_server_kill(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, not_primary, leader, SECONDS(5)));
        EXPECT(sim, sim_run_until_at(sim, sim_is_primary, leader, SECONDS(30)));
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(2)));
    }
}

// It does not come up any more: after primary_start_timeout somebody else leads.
static void test_server_does_not_start(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 15)
    {
        AUTO(sim_release)
        Sim *sim = settled((SimOptions){.dynamic = "{\"primary_start_timeout\":20}"}, seed);
        const int leader = sim_leader(sim);
        sim_start_fails(sim, leader, true);
        sim_server_kill(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(20 + 15)));
        heals(sim);
    }
}

// All machines lose power at once and come back in every order, within a ttl of each other. When
// none of them saw the lease end, the first one waits for the others: what was acknowledged is
// there.
static void test_all_killed(void **state)
{
    (void)state;
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    FOR_SEEDS(seed, 60)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        sim_replication_delay(sim, (sim_leader(sim) + 1) % 3, 1500);
        sim_replication_delay(sim, (sim_leader(sim) + 2) % 3, (int64_t)(seed % 3) * 700);
        EXPECT(sim, sim_run(sim, SECONDS(4)));
        for (int i = 0; i < 3; i++)
            sim_power_off(sim, i);
        const int64_t dark_ms = (int64_t)(seed * 2009 % 60000);
        EXPECT(sim, sim_run(sim, dark_ms));
        const int *order = orders[seed % COUNT_OF(orders)];
        for (int i = 0; i < 3; i++) {
            sim_start(sim, order[i]);
            EXPECT(sim, sim_run(sim, (int64_t)(seed * 577 % (1000 * TTL / 3))));
        }
        heals(sim);
        EXPECT(sim, sim_lost_commits(sim) == 0 || dark_ms < SECONDS(TTL + 1));
    }
}

// A dead branch with a large LSN never wins: its owner comes back when the leader of the living one
// is away, together with a member that has less, but of the right history.
static void test_dead_branch(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int dead = sim_leader(sim);
        sim_isolate(sim, dead, true); // it writes on until its lease runs out
        EXPECT(sim, sim_run_until_at(sim, another_primary, dead, SECONDS(2 * TTL)));
        const int living = sim_primary(sim), other = 3 - dead - living;
        EXPECT(sim, sim_run_until_at(sim, sim_streams, other, SECONDS(30)));
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 71 % 3000)));
        sim_writes(sim, false);
        EXPECT(sim, sim_run(sim, SECONDS(1)));
        for (int i = 0; i < 3; i++)
            sim_power_off(sim, i);
        sim_isolate(sim, dead, false);
        sim_start(sim, seed % 2 ? dead : other);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 331 % 20000)));
        sim_start(sim, seed % 2 ? other : dead);
        EXPECT(sim, sim_run_until(sim, sim_has_primary, SECONDS(3 * TTL)));
        EXPECT(sim, sim_primary(sim) == other);
        heals(sim);
    }
}

// Promoted, and dead before anything of it was recorded: its timeline is never used again, and it
// comes back as what it is.
static void test_promoted_and_died(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 60)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int first = sim_leader(sim);
        sim_power_off(sim, first);
        EXPECT(sim, sim_run_until_at(sim, another_primary, first, SECONDS(2 * TTL)));
        const int second = sim_primary(sim);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 7 % 40)));
        sim_power_off(sim, second);
        const uint32_t used = sim_timeline(sim, second);
        if (seed % 2 == 0)
            sim_start(sim, first);
        EXPECT(sim, sim_run_until(sim, sim_has_primary, SECONDS(3 * TTL)));
        EXPECT(sim, sim_timeline(sim, sim_primary(sim)) > used);
        heals(sim);
    }
}

// The agent, or the server, or the machine of the winner dies at every step of a failover.
static void test_failover_swept(void **state)
{
    (void)state;
    for (int calls = 1; calls <= 60; calls++) {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, (uint64_t)calls);
        const int leader = sim_leader(sim);
        sim_power_off(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(TTL - 6)));
        sim_agent_kill_at_call(sim, (leader + 1) % 3, calls);
        sim_agent_kill_at_call(sim, (leader + 2) % 3, calls + calls % 4);
        EXPECT(sim, sim_run(sim, SECONDS(TTL)));
        heals(sim);
    }
}

static void test_dies_while_promoting(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 60)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        for (int i = 1; i < 3; i++)
            sim_promotion_slow(sim, (leader + i) % 3, 3000);
        sim_power_off(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(TTL - 9)));
        while (sim_leader(sim) < 0 || sim_leader(sim) == leader)
            EXPECT(sim, sim_run(sim, 20));
        const int winner = sim_leader(sim);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 61 % 3500)));
        if (seed % 3 == 0)
            sim_server_kill(sim, winner);
        else if (seed % 3 == 1)
            sim_power_off(sim, winner);
        else
            sim_warden_kill(sim, winner);
        EXPECT(sim, sim_run(sim, SECONDS(TTL + 20)));
        heals(sim);
    }
}

// One of three that start together creates the cluster, and one only.
static void test_bootstrap_race(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = sim_new(&(SimOptions){.seed = seed, .members = 5});
        EXPECT(sim, sim_run_until(sim, sim_has_primary, SECONDS(15)));
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(60)));
        EXPECT(sim, sim_timeline(sim, sim_primary(sim)) == 1);
    }
}

// The one that does it dies, at every step: another does, or it itself when it is back.
static void test_bootstrapper_dies(void **state)
{
    (void)state;
    for (int calls = 1; calls <= 60; calls++) {
        AUTO(sim_release) Sim *sim = sim_new(&(SimOptions){.seed = (uint64_t)calls});
        for (int i = 0; i < 3; i++)
            sim_agent_kill_at_call(sim, i, calls);
        EXPECT(sim, sim_run(sim, SECONDS(20)));
        heals(sim);
    }
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = sim_new(&(SimOptions){.seed = seed});
        while (sim_leader(sim) < 0)
            EXPECT(sim, sim_run(sim, 10));
        const int first = sim_leader(sim);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 83 % 2500)));
        sim_power_off(sim, first);
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        heals(sim);
    }
}

// `initialize` is deleted by hand while only a member without data is up: it must not create a
// second cluster, for the other keys still tell of the first.
static void test_initialize_deleted(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 15)
    {
        AUTO(sim_release) Sim *sim = sim_new(&(SimOptions){.seed = seed, .all_stopped = true});
        sim_start(sim, 0);
        sim_start(sim, 1);
        EXPECT(sim, sim_run(sim, SECONDS(20)));
        sim_power_off(sim, 0);
        sim_power_off(sim, 1);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 4001 % 40000)));
        sim_delete_key(sim, "initialize");
        sim_start(sim, 2);
        EXPECT(sim, sim_run(sim, SECONDS(3 * TTL)));
        EXPECT(sim, sim_primary(sim) < 0);
        heals(sim);
        EXPECT(sim, sim_key(sim, "initialize") != NULL);
    }
}

// A new member copies the leader; the leader, or the member's own agent, dies meanwhile.
static void test_clone(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = sim_new(&(SimOptions){.seed = seed, .all_stopped = true});
        sim_start(sim, 0);
        sim_start(sim, 1);
        EXPECT(sim, sim_run(sim, SECONDS(20)));
        sim_start(sim, 2);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 113 % 4000)));
        if (seed % 4 == 0)
            sim_agent_kill(sim, 2);
        else if (seed % 4 == 1)
            sim_power_off(sim, sim_primary(sim));
        else if (seed % 4 == 2)
            sim_power_off(sim, 2);
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        heals(sim);
    }
}

// A former primary with WAL that nobody else has: pg_rewind, also when it is broken off.
static void test_rewind(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 60)
    {
        AUTO(sim_release)
        Sim *sim = settled(
            (SimOptions){.no_rewind = seed % 5 == 0, .remove_diverged = seed % 5 == 0}, seed);
        const int leader = sim_leader(sim);
        sim_isolate(sim, leader, true);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 171 % 10000)));
        if (seed % 2 == 0)
            sim_power_off(sim, leader); // dirty; else stopped in order, at its deadline
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(2 * TTL)));
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 29 % 5000)));
        sim_isolate(sim, leader, false);
        sim_start(sim, leader);
        if (seed % 3 == 0) {
            EXPECT(sim, sim_run(sim, (int64_t)(seed * 97 % 5000)));
            sim_agent_kill(sim, leader);
        }
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(90)));
        EXPECT(sim, sim_primary(sim) != leader);
    }
}

// A standby that had more than the member that leads now, and crashed: its control file knows only
// a lower bound of what it has. It must not wait for ever for WAL that cannot follow on its own.
static void test_standby_ahead(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim), behind = (leader + 1) % 3, ahead = (leader + 2) % 3;
        sim_link(sim, leader, behind, false);
        EXPECT(sim, sim_run(sim, 2000 + (int64_t)(seed * 71 % 3000)));
        sim_power_off(sim, leader);
        sim_power_off(sim, ahead);
        sim_link(sim, leader, behind, true);
        EXPECT(sim, sim_run_until_at(sim, sim_is_primary, behind, SECONDS(TTL + 10)));
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 301 % 9000)));
        sim_start(sim, ahead);
        EXPECT(sim, sim_run_until_at(sim, sim_streams, ahead, SECONDS(60)));
        heals(sim);
        EXPECT(sim, sim_primary(sim) == behind);
    }
}

// Asked to copy the leader again: done by a replica, refused by the leader.
static void test_reinitialize(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim), replica = (leader + 1) % 3;
        sim_request(sim, leader, API_REINITIALIZE, "{}");
        EXPECT(sim, sim_run_until(sim, answered, SECONDS(3)));
        EXPECT(sim, sim_answer_status(sim) == 503);
        sim_request(sim, replica, API_REINITIALIZE, "{}");
        EXPECT(sim, sim_run_until(sim, answered, SECONDS(3)));
        EXPECT(sim, sim_answer_status(sim) == 200 && sim_waiting_for_wipe(sim, replica));
        EXPECT(sim, sim_run(sim, SECONDS(1)));
        if (seed % 3 == 0) {
            EXPECT(sim, sim_run(sim, (int64_t)(seed * 41 % 1500)));
            sim_agent_kill(sim, replica);
        }
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(60)));
        EXPECT(sim, sim_run(sim, SECONDS(2)));
        EXPECT(sim, sim_leader(sim) == leader);
    }
}

// A disk that hangs shortly is waited for; one that hangs for good is failed over from.
static void test_slow_disk(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_disk_hang(sim, leader, true);
        EXPECT(sim, sim_run(sim, SECONDS(TTL / 2)));
        EXPECT(sim, sim_leader(sim) == leader);
        sim_disk_hang(sim, leader, false);
        EXPECT(sim, sim_run(sim, SECONDS(10)));
        EXPECT(sim, sim_primary(sim) == leader);
        sim_disk_hang(sim, leader, true);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(2 * TTL + 15)));
        heals(sim);
    }
}

// A leader key written by hand into an empty store stands for nobody: whoever comes after a ttl
// creates the cluster all the same.
static void test_bootstrap_over_a_key_by_hand(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = sim_new(&(SimOptions){.seed = seed, .all_stopped = true});
        sim_put_key(sim, "leader", seed % 2 ? "nobody" : "a");
        for (int i = 0; i < 3; i++)
            sim_start(sim, i);
        EXPECT(sim, sim_run(sim, SECONDS(TTL - 2)));
        EXPECT(sim, sim_primary(sim) < 0);
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(60)));
    }
}

static bool rewinds(Sim *sim, int member)
{
    return strcmp(sim_last_reason(sim, member), "REPLICA_REWIND") == 0;
}

static bool timeline_beyond(Sim *sim, int timeline)
{
    const int primary = sim_primary(sim);
    return primary >= 0 && sim_timeline(sim, primary) > (uint32_t)timeline;
}

// Promoted and dead at once, the same member is promoted again in the same term, to a timeline that
// its acquire has not announced; then it is lost. Nobody takes that number a second time.
static void test_promoted_twice_in_a_term(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        sim_power_off(sim, sim_leader(sim));
        EXPECT(sim, sim_run_until_at(sim, timeline_beyond, 1, SECONDS(TTL + 10)));
        const int twice = sim_primary(sim);
        sim_agent_kill(sim, twice);
        sim_server_kill(sim, twice);
        EXPECT(sim, sim_run_until_at(sim, timeline_beyond, 2, SECONDS(2 * TTL)) ||
                        sim_primary(sim) == twice);
        EXPECT(sim, sim_run(sim, (int64_t)(seed % 5) * 4));
        sim_power_off(sim, twice);
        for (int i = 0; i < 3; i++)
            if (i != twice)
                sim_start(sim, i);
        EXPECT(sim, sim_run_until_at(sim, another_primary, twice, SECONDS(2 * TTL)));
        heals(sim);
    }
}

static bool rewinds_or_is_through(Sim *sim, int member)
{
    return rewinds(sim, member) || sim_settled(sim);
}

// The leader's server crashes each time that another member rewinds from it: that is no reason to
// give the rewind up. It gets through when it finds the source between two crashes.
static void test_rewind_loses_its_source(void **state)
{
    (void)state;
    int in_all = 0;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int old = sim_leader(sim);
        sim_isolate(sim, old, true); // it writes on until its lease runs out
        EXPECT(sim, sim_run_until_at(sim, another_primary, old, SECONDS(2 * TTL)));
        const int leader = sim_primary(sim);
        sim_isolate(sim, old, false);
        int crashes = 0;
        for (; crashes < 5; crashes++) {
            EXPECT(sim, sim_run_until_at(sim, rewinds_or_is_through, old, SECONDS(60)));
            if (!rewinds(sim, old))
                break;
            EXPECT(sim, sim_run(sim, 100));
            sim_server_kill(sim, leader);
            EXPECT(sim, sim_run(sim, SECONDS(1)));
        }
        EXPECT(sim, crashes > 0);
        in_all += crashes;
        heals(sim);
    }
    assert_in_range(in_all, 60, 100);
}

// The disk hangs, and the agent is restarted meanwhile.
static void test_slow_disk_and_restart(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_disk_hang(sim, leader, true);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 1013 % 20000)));
        sim_agent_kill(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(3 * TTL)));
        EXPECT(sim, sim_primary(sim) >= 0 && sim_primary(sim) != leader);
        heals(sim);
    }
}

// A replica far behind the others does not lead; nor does one that is alone with the loss.
static void test_lagging_replica(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release)
        Sim *sim = settled((SimOptions){.dynamic = "{\"maximum_lag_on_failover\":20000}"}, seed);
        const int leader = sim_leader(sim), lagging = (leader + 1) % 3, fit = (leader + 2) % 3;
        sim_link(sim, leader, lagging, false);
        EXPECT(sim, sim_run(sim, SECONDS(25)));
        if (seed % 2 == 0)
            sim_power_off(sim, fit);
        sim_power_off(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(TTL + 15)));
        EXPECT(sim, sim_primary(sim) == (seed % 2 ? fit : -1));
        heals(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_crash),
        cmocka_unit_test(test_standbys_stream_at_once),
        cmocka_unit_test(test_server_does_not_start),
        cmocka_unit_test(test_all_killed),
        cmocka_unit_test(test_dead_branch),
        cmocka_unit_test(test_promoted_and_died),
        cmocka_unit_test(test_failover_swept),
        cmocka_unit_test(test_dies_while_promoting),
        cmocka_unit_test(test_promoted_twice_in_a_term),
        cmocka_unit_test(test_bootstrap_race),
        cmocka_unit_test(test_bootstrapper_dies),
        cmocka_unit_test(test_bootstrap_over_a_key_by_hand),
        cmocka_unit_test(test_initialize_deleted),
        cmocka_unit_test(test_clone),
        cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_rewind_loses_its_source),
        cmocka_unit_test(test_standby_ahead),
        cmocka_unit_test(test_reinitialize),
        cmocka_unit_test(test_slow_disk),
        cmocka_unit_test(test_slow_disk_and_restart),
        cmocka_unit_test(test_lagging_replica),
    };
    return run_scenarios(tests, COUNT_OF(tests));
}
