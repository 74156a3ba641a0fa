// What people ask for: switchover, failover, restart, stopping a member.
#include "tests/sim/scenario.h"

#include <stdio.h>

enum { TTL = 30 };

static const char *from_to(char *text, size_t size, int leader, int candidate)
{
    if (candidate < 0)
        (void)snprintf(text, size, "{\"leader\":\"%c\"}", 'a' + leader);
    else
        (void)snprintf(text, size, "{\"leader\":\"%c\",\"candidate\":\"%c\"}", 'a' + leader,
                       'a' + candidate);
    return text;
}

// Asked of any member, to any or to a named candidate: seconds without a writer, nothing lost, and
// the old leader follows without pg_rewind.
static void test_switchover(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 60)
    {
        char body[60];
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const int candidate = seed % 2 ? (leader + 1 + (int)(seed / 2 % 2)) % 3 : -1;
        const uint64_t gap = sim_unavailable_ms(sim);
        const uint64_t written = sim_member_writes_between(sim);
        sim_request(sim, (int)(seed % 3), API_SWITCHOVER,
                    from_to(body, sizeof body, leader, candidate));
        EXPECT(sim, sim_run_until(sim, answered, SECONDS(30)));
        EXPECT(sim, sim_answer_status(sim) == 200);
        EXPECT(sim, sim_primary(sim) >= 0 && sim_primary(sim) != leader);
        EXPECT(sim, candidate < 0 || sim_primary(sim) == candidate);
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(15)));
        EXPECT(sim, sim_unavailable_ms(sim) - gap < 2000);
        // On Kubernetes each goes to everybody who watches pods. The old leader's: that it is none.
        EXPECT(sim, sim_member_writes_between(sim) - written <= 1);
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

static void test_switchover_of_two(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        char body[60];
        AUTO(sim_release) Sim *sim = settled((SimOptions){.members = 2}, seed);
        for (int i = 0; i < 4; i++) {
            const int leader = sim_leader(sim);
            sim_request(sim, leader, API_SWITCHOVER, from_to(body, sizeof body, leader, -1));
            EXPECT(sim, sim_run_until(sim, answered, SECONDS(30)));
            EXPECT(sim, sim_primary(sim) == 1 - leader);
            EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(15)));
        }
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

// Scheduled: not before its time, at it, and given up when nobody could do it in time.
static void test_scheduled_switchover(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        char body[120];
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        (void)snprintf(body, sizeof body, "{\"leader\":\"%c\",\"scheduled_at\":\"%s\"}",
                       'a' + leader, sim_wall_text(sim, leader, SECONDS(40)));
        sim_request(sim, leader, API_SWITCHOVER, body);
        EXPECT(sim, sim_run_until(sim, answered, SECONDS(3)));
        EXPECT(sim, sim_answer_status(sim) == 202);
        EXPECT(sim, sim_run(sim, SECONDS(30)));
        EXPECT(sim, sim_primary(sim) == leader);
        if (seed % 4 == 0)
            sim_cut_store(sim, leader, true); // just then
        EXPECT(sim, sim_run(sim, SECONDS(20)));
        EXPECT(sim, seed % 4 == 0 || sim_primary(sim) != leader);
        heals(sim);
        EXPECT(sim, strcmp(sim_key(sim, "failover"), "{}") == 0 || seed % 4 == 0);
    }
}

// A candidate that is dead, or lags too far: the request is refused or dropped, and nothing
// happens.
static void test_switchover_to_dead(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        char body[60];
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const int candidate = (leader + 1) % 3;
        const uint64_t gap = sim_unavailable_ms(sim);
        sim_respawn(sim, false);
        if (seed % 2 == 0)
            sim_power_off(sim, candidate);
        else
            sim_server_freeze(sim, candidate);
        EXPECT(sim, sim_run(sim, 100));
        sim_request(sim, leader, API_SWITCHOVER, from_to(body, sizeof body, leader, candidate));
        EXPECT(sim, sim_run_until(sim, answered, SECONDS(60)));
        EXPECT(sim, sim_answer_status(sim) >= 400);
        EXPECT(sim, sim_run(sim, SECONDS(20)));
        EXPECT(sim, sim_primary(sim) == leader && sim_unavailable_ms(sim) == gap);
        heals(sim);
    }
}

// The candidate dies between the stop and the promote: somebody leads all the same.
static void test_candidate_dies(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 30)
    {
        char body[60];
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const int candidate = (leader + 1) % 3;
        sim_request(sim, leader, API_SWITCHOVER, from_to(body, sizeof body, leader, candidate));
        EXPECT(sim, sim_run_until_at(sim, not_primary, leader, SECONDS(10)));
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 37 % 400)));
        sim_power_off(sim, candidate);
        EXPECT(sim, sim_run(sim, SECONDS(TTL + 15)));
        EXPECT(sim, sim_primary(sim) >= 0 && sim_primary(sim) != candidate);
        heals(sim);
    }
}

// The leader is killed at its Nth step of a switchover, for every N.
static void test_switchover_swept(void **state)
{
    (void)state;
    for (int calls = 1; calls <= 60; calls++) {
        char body[60];
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, (uint64_t)calls);
        const int leader = sim_leader(sim);
        const int killed = calls % 3 ? leader : (leader + 1) % 3;
        sim_agent_kill_at_call(sim, killed, calls);
        sim_request(sim, leader, API_SWITCHOVER, from_to(body, sizeof body, leader, -1));
        EXPECT(sim, sim_run(sim, SECONDS(20)));
        heals(sim);
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

// Failover by hand, with and without a leader.
static void test_manual_failover(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 30)
    {
        char body[60];
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const int candidate = (leader + 1) % 3;
        (void)snprintf(body, sizeof body, "{\"candidate\":\"%c\"}", 'a' + candidate);
        if (seed % 2 == 0)
            sim_power_off(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(1)));
        sim_request(sim, (leader + 2) % 3, API_FAILOVER, body);
        EXPECT(sim, sim_run_until_at(sim, sim_is_primary, candidate, SECONDS(TTL + 10)));
        heals(sim);
        EXPECT(sim, sim_primary(sim) == candidate);
    }
}

// SIGTERM to the leader's agent: handed over at once, nothing lost, exit code 0.
static void test_shutdown_hands_over(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 30)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim);
        sim_shutdown(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(5)));
        EXPECT(sim, sim_unavailable_ms(sim) - gap < 2000);
        EXPECT(sim, sim_run(sim, SECONDS(10)));
        EXPECT(sim, !sim_agent_runs(sim, leader) && sim_exit_code(sim, leader) == 0);
        EXPECT(sim, !sim_server_runs(sim, leader));
        sim_start(sim, leader);
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(30)));
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

// Nobody has all of its WAL: the key is kept, and if it comes back in time nothing has happened.
static void test_shutdown_without_successor(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 30)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint32_t timeline = sim_timeline(sim, leader);
        for (int i = 1; i < 3; i++)
            sim_link(sim, leader, (leader + i) % 3, false); // WAL does not get through
        EXPECT(sim, sim_run(sim, SECONDS(2)));
        sim_shutdown(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(15)));
        EXPECT(sim, !sim_agent_runs(sim, leader) && !sim_server_runs(sim, leader));
        EXPECT(sim, sim_primary(sim) < 0);
        sim_start(sim, leader);
        heals(sim);
        EXPECT(sim, sim_primary(sim) == leader && sim_lost_commits(sim) == 0);
        EXPECT(sim, sim_timeline(sim, leader) >= timeline);
    }
}

// A single member, and the last one of several.
static void test_shutdown_alone(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){.members = seed % 2 ? 1 : 3}, seed);
        for (int i = 0; i < 3; i++) { // replicas first, then the leader
            const int leader = sim_leader(sim);
            const int member = seed % 2 ? 0 : i == 2 ? leader : (leader + 1 + i) % 3;
            sim_shutdown(sim, member);
            EXPECT(sim, sim_run(sim, SECONDS(8)));
            EXPECT(sim, !sim_agent_runs(sim, member) && !sim_server_runs(sim, member));
            if (seed % 2)
                break;
        }
        heals(sim);
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

// Every agent is told to stop at the same time.
static void test_shutdown_all(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        for (int i = 0; i < 3; i++)
            sim_shutdown(sim, i);
        EXPECT(sim, sim_run(sim, SECONDS(40)));
        for (int i = 0; i < 3; i++)
            EXPECT(sim, !sim_server_runs(sim, i) && !sim_agent_runs(sim, i));
        heals(sim);
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

// A replica that stops is missed by nobody.
static void test_replica_stops(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 15)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int replica = (sim_leader(sim) + 1) % 3;
        const uint64_t gap = sim_unavailable_ms(sim);
        sim_shutdown(sim, replica);
        EXPECT(sim, sim_run(sim, SECONDS(5)));
        EXPECT(sim, !sim_agent_runs(sim, replica) && !sim_server_runs(sim, replica));
        sim_start(sim, replica);
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(30)));
        EXPECT(sim, sim_unavailable_ms(sim) == gap);
    }
}

// A restart keeps leader and timeline.
static void test_restart(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 30)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const int member = (leader + (int)(seed % 2)) % 3;
        const uint64_t starts = sim_server_starts(sim, member);
        const uint32_t timeline = sim_timeline(sim, leader);
        sim_request(sim, member, API_RESTART, "{}");
        EXPECT(sim, sim_run_until(sim, answered, SECONDS(60)));
        EXPECT(sim, sim_answer_status(sim) == 200);
        EXPECT(sim, sim_server_starts(sim, member) == starts + 1);
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(20)));
        EXPECT(sim, sim_leader(sim) == leader && sim_timeline(sim, leader) == timeline);
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

// A member that must not lead does not, whatever happens to the others.
static void test_nofailover(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release)
        Sim *sim = settled((SimOptions){.tags = {NULL, "{\"nofailover\":true}"}}, seed);
        for (int i = 0; i < 3; i++) {
            const int leader = sim_leader(sim);
            EXPECT(sim, leader != 1);
            sim_power_off(sim, leader);
            EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(TTL + 10)));
            EXPECT(sim, sim_primary(sim) != 1);
            sim_start(sim, leader);
            EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(60)));
        }
    }
}

// Of members that are as far, the one with the higher priority leads.
static void test_failover_priority(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release)
        Sim *sim = settled(
            (SimOptions){.members = 4, .tags = {NULL, NULL, NULL, "{\"failover_priority\":5}"}},
            seed);
        int leader = sim_leader(sim);
        if (leader == 3) {
            sim_request(sim, 3, API_SWITCHOVER, "{\"leader\":\"d\",\"candidate\":\"a\"}");
            EXPECT(sim, sim_run_until_at(sim, another_primary, 3, SECONDS(15)));
            EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(30)));
            leader = sim_leader(sim);
        }
        sim_writes(sim, false);
        EXPECT(sim, sim_run(sim, SECONDS(2)));
        sim_power_off(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(TTL + 10)));
        EXPECT(sim, sim_primary(sim) == 3);
        heals(sim);
    }
}

// A rollout has replaced one pod; when its turn comes to the leader that one leads, and if it
// cannot the others do not wait for it long.
static void test_rollout(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release)
        Sim *sim = settled((SimOptions){.members = 4, .revisions = {"1", "1", "1", "2"}}, seed);
        if (sim_leader(sim) == 3) {
            sim_request(sim, 3, API_SWITCHOVER, "{\"leader\":\"d\",\"candidate\":\"a\"}");
            EXPECT(sim, sim_run_until_at(sim, another_primary, 3, SECONDS(15)));
            EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(30)));
        }
        const int leader = sim_leader(sim);
        sim_writes(sim, false);
        EXPECT(sim, sim_run(sim, SECONDS(2)));
        const uint64_t gap = sim_unavailable_ms(sim);
        if (seed % 4 == 0)
            sim_cut_store(sim, 3, true); // it answers the others, and hears nothing
        sim_terminate(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(10)));
        EXPECT(sim, (sim_primary(sim) == 3) == (seed % 4 != 0));
        EXPECT(sim, sim_unavailable_ms(sim) - gap < (seed % 4 ? 2000 : 4500));
        heals(sim);
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

// A change of the cluster's configuration reaches everybody, and shorter timers hold.
static void test_config_change(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const uint64_t gap = sim_unavailable_ms(sim);
        sim_request(sim, (int)(seed % 3), API_PATCH_CONFIG,
                    "{\"ttl\":10,\"loop_wait\":2,\"retry_timeout\":3}");
        EXPECT(sim, sim_run_until(sim, answered, SECONDS(5)));
        EXPECT(sim, sim_answer_status(sim) == 200);
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        EXPECT(sim, sim_unavailable_ms(sim) == gap);
        const int leader = sim_leader(sim);
        sim_power_off(sim, leader);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(10 + 5)));
        sim_request(sim, sim_primary(sim), API_PATCH_CONFIG,
                    "{\"ttl\":40,\"loop_wait\":10,\"retry_timeout\":10}");
        heals(sim);
        EXPECT(sim, sim_run(sim, SECONDS(60)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_switchover),
        cmocka_unit_test(test_switchover_of_two),
        cmocka_unit_test(test_scheduled_switchover),
        cmocka_unit_test(test_switchover_to_dead),
        cmocka_unit_test(test_candidate_dies),
        cmocka_unit_test(test_switchover_swept),
        cmocka_unit_test(test_manual_failover),
        cmocka_unit_test(test_shutdown_hands_over),
        cmocka_unit_test(test_shutdown_without_successor),
        cmocka_unit_test(test_shutdown_alone),
        cmocka_unit_test(test_shutdown_all),
        cmocka_unit_test(test_replica_stops),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_nofailover),
        cmocka_unit_test(test_failover_priority),
        cmocka_unit_test(test_rollout),
        cmocka_unit_test(test_config_change),
    };
    return run_scenarios(tests, COUNT_OF(tests));
}
