// The warden keeps the promise when the agent cannot, and PostgreSQL when the agent goes.
#include "tests/sim/scenario.h"

enum { TTL = 30 };

// SIGSTOP to the leader's agent for longer than the ttl: its server is stopped before anybody else
// can lead, and when it wakes it follows.
static void test_frozen_leader(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 25)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_agent_freeze(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(TTL + 5)));
        EXPECT(sim, !sim_server_runs(sim, leader));
        EXPECT(sim, sim_run(sim, SECONDS(TTL)));
        sim_agent_thaw(sim, leader);
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(60)));
        EXPECT(sim, sim_primary(sim) != leader);
    }
}

// Frozen for less than the lease has left: nobody notices.
static void test_short_freeze(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 15)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim);
        sim_agent_freeze(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(12)));
        sim_agent_thaw(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        EXPECT(sim, sim_primary(sim) == leader && sim_unavailable_ms(sim) == gap);
    }
}

// Killed and started again within the ttl, the agent goes on with its predecessor's term, and
// PostgreSQL does not notice.
static void test_agent_restart(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        sim_respawn(sim, false);
        for (int member = 0; member < 3; member++) {
            const int leader = sim_leader(sim);
            const uint64_t starts = sim_server_starts(sim, member);
            const uint64_t gap = sim_unavailable_ms(sim);
            const uint32_t timeline = sim_timeline(sim, leader);
            sim_agent_kill(sim, member);
            EXPECT(sim, sim_run(sim, (int64_t)(seed * 397 % 14000)));
            sim_agent_start(sim, member);
            EXPECT(sim, sim_run(sim, SECONDS(TTL + 10)));
            EXPECT(sim, sim_leader(sim) == leader && sim_settled(sim));
            EXPECT(sim, sim_server_starts(sim, member) == starts);
            EXPECT(sim, sim_unavailable_ms(sim) == gap);
            EXPECT(sim, sim_timeline(sim, leader) == timeline);
        }
    }
}

// An upgrade: SIGUSR2, and a new agent.
static void test_agent_upgrade(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 15)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim);
        sim_respawn(sim, false);
        for (int member = 0; member < 3; member++) {
            sim_leave(sim, member);
            EXPECT(sim, sim_run(sim, SECONDS(2)));
            EXPECT(sim, !sim_agent_runs(sim, member) && sim_exit_code(sim, member) == 0);
            sim_agent_start(sim, member);
            EXPECT(sim, sim_run(sim, SECONDS(15)));
        }
        EXPECT(sim, sim_settled(sim) && sim_leader(sim) == leader);
        EXPECT(sim, sim_unavailable_ms(sim) == gap);
    }
}

// Killed and not started again: the fence strikes, another member leads.
static void test_agent_stays_dead(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_respawn(sim, false);
        sim_agent_kill(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(TTL + 5)));
        EXPECT(sim, !sim_server_runs(sim, leader));
        heals(sim);
    }
}

// PostgreSQL dies with its warden, and comes back under a new one.
static void test_warden_killed(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_warden_kill(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, not_primary, leader, 200));
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(30)));
        EXPECT(sim, sim_leader(sim) == leader); // it has kept its lease
        sim_warden_kill(sim, (leader + 1) % 3);
        EXPECT(sim, sim_run(sim, SECONDS(1)));
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(30)));
    }
}

static void test_agent_and_warden_killed(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_respawn(sim, false);
        sim_agent_kill(sim, leader);
        sim_warden_kill(sim, leader);
        if (seed % 2 == 0) { // at once, or when somebody else leads
            EXPECT(sim, sim_run(sim, SECONDS(1)));
            sim_agent_start(sim, leader);
        } else {
            EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(TTL + 5)));
        }
        heals(sim);
    }
}

// Three faults in one member: PostgreSQL is stopped (SIGSTOP), so that its warden's death does not
// reach it, and its agent is killed or hangs. The next warden ends it, long before it is thawed and
// somebody else leads.
static void test_warden_killed_over_a_stopped_server(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_respawn(sim, false);
        if (seed % 4 == 0)
            sim_agent_kill(sim, leader);
        else if (seed % 4 == 1)
            sim_agent_freeze(sim, leader);
        else if (seed % 4 == 2) // it sees, and cannot keep its lease
            sim_isolate(sim, leader, true);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 911 % 12000)));
        const uint64_t starts = sim_server_starts(sim, leader);
        sim_server_freeze(sim, leader);
        sim_warden_kill(sim, leader);
        EXPECT(sim, sim_run(sim, 1200));
        EXPECT(sim, !sim_server_runs(sim, leader) || sim_server_starts(sim, leader) > starts);
        if (seed % 4 != 3)
            EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(TTL + 5)));
        sim_server_thaw(sim, leader);
        heals(sim);
    }
}

// Everything on the leader's machine dies: the lease runs out, and then it goes fast.
static void test_machine_lost(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_power_off(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(TTL + 4)));
        EXPECT(sim, sim_run(sim, SECONDS(20)));
        sim_start(sim, leader);
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(60)));
    }
}

// A server that ignores SIGQUIT, or is stopped itself, is killed at the second deadline.
static void test_stubborn_server(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        if (seed % 2 == 0)
            sim_server_stubborn(sim, leader, true);
        else
            sim_server_freeze(sim, leader);
        sim_agent_freeze(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(TTL + 5)));
        EXPECT(sim, !sim_server_runs(sim, leader));
        heals(sim);
    }
}

// The whole machine is frozen, agent, warden and server: when it wakes, the warden strikes first.
static void test_frozen_machine(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_host_freeze(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(TTL + 15)));
        sim_host_thaw(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, not_primary, leader, 200));
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(60)));
        EXPECT(sim, sim_primary(sim) != leader);
    }
}

// A wall clock that steps by less than the margin means nothing; by more, that the machine may have
// been paused without the clock that counts having noticed.
static void test_clock_step(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim);
        sim_clock_step(sim, leader, seed % 2 ? 1000 : -1000);
        sim_clock_step(sim, (leader + 1) % 3, 3600000);
        EXPECT(sim, sim_run(sim, SECONDS(TTL)));
        EXPECT(sim, sim_primary(sim) == leader && sim_unavailable_ms(sim) == gap);
        sim_clock_step(sim, leader, seed % 2 ? 3600000 : -3600000);
        EXPECT(sim, sim_run_until_at(sim, not_primary, leader, SECONDS(2)));
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(60)));
    }
}

// A pod ends: the warden is told to stop, the agent hands over, the pod is gone. The next one
// joins.
static void test_pod_ends(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim);
        sim_terminate(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(5)));
        EXPECT(sim, sim_unavailable_ms(sim) - gap < 3000);
        EXPECT(sim, sim_run(sim, SECONDS(10)));
        EXPECT(sim, !sim_server_runs(sim, leader) && !sim_agent_runs(sim, leader));
        sim_start(sim, leader);
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(60)));
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

// The same with an agent that is dead, or hangs: the warden does not wait for it for ever.
static void test_pod_ends_without_agent(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_respawn(sim, false);
        if (seed % 2 == 0)
            sim_agent_kill(sim, leader);
        else
            sim_agent_freeze(sim, leader);
        sim_terminate(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(TTL + 5)));
        EXPECT(sim, !sim_server_runs(sim, leader));
        heals(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frozen_leader),
        cmocka_unit_test(test_short_freeze),
        cmocka_unit_test(test_agent_restart),
        cmocka_unit_test(test_agent_upgrade),
        cmocka_unit_test(test_agent_stays_dead),
        cmocka_unit_test(test_warden_killed),
        cmocka_unit_test(test_agent_and_warden_killed),
        cmocka_unit_test(test_warden_killed_over_a_stopped_server),
        cmocka_unit_test(test_machine_lost),
        cmocka_unit_test(test_stubborn_server),
        cmocka_unit_test(test_frozen_machine),
        cmocka_unit_test(test_clock_step),
        cmocka_unit_test(test_pod_ends),
        cmocka_unit_test(test_pod_ends_without_agent),
    };
    return run_scenarios(tests, COUNT_OF(tests));
}
