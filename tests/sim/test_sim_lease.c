// The lease, as the store, lost messages, old views and people's hands treat it.
#include "tests/sim/scenario.h"

#include <stdio.h>

enum { TTL = 30 };

// The store is away for half a ttl: nobody is demoted.
static void test_store_down_shortly(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim);
        sim_store(sim, seed % 2 ? STORE_REFUSES : STORE_HANGS);
        EXPECT(sim, sim_run(sim, SECONDS(TTL / 2)));
        sim_store(sim, STORE_UP);
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        EXPECT(sim, sim_settled(sim) && sim_leader(sim) == leader);
        EXPECT(sim, sim_unavailable_ms(sim) == gap);
    }
}

// For two ttl: the leader has stopped before its lease is over; afterwards there is one again.
static void test_store_down_long(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        sim_store(sim, seed % 2 ? STORE_REFUSES : STORE_HANGS);
        EXPECT(sim, sim_run(sim, SECONDS(TTL)));
        EXPECT(sim, sim_primary(sim) < 0);
        EXPECT(sim, sim_run(sim, SECONDS(TTL)));
        EXPECT(sim, sim_primary(sim) < 0);
        sim_store(sim, STORE_UP);
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(TTL + 45)));
        EXPECT(sim, sim_lost_commits(sim) == 0);
    }
}

// The leader alone loses the store, in both directions or in one.
static void test_leader_cut_off(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 30)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        if (seed % 3 != 1)
            sim_link(sim, leader, THE_STORE, false);
        if (seed % 3 != 2)
            sim_link(sim, THE_STORE, leader, false);
        EXPECT(sim, sim_run_until_at(sim, not_primary, leader, SECONDS(TTL)));
        // Its keepalives may still arrive while it sees none of the answers.
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(TTL + 15)));
        heals(sim);
    }
}

// A member is isolated from everybody: a leader stops, a replica is missed by nobody.
static void test_isolated(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 30)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim);
        const int member = (leader + (int)(seed % 2)) % 3;
        sim_isolate(sim, member, true);
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        EXPECT(sim, sim_primary(sim) >= 0);
        EXPECT(sim, member == leader ? sim_primary(sim) != leader : sim_unavailable_ms(sim) == gap);
        heals(sim);
    }
}

// Leader key deleted, or overwritten, by hand: its holder writes it again, and nobody else leads.
static void test_key_tampered(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim);
        const uint32_t timeline = sim_timeline(sim, leader);
        static const char *const names[] = {"a", "b", "c", "nobody", ""};
        if (seed % 2 == 0)
            sim_delete_key(sim, "leader");
        else
            sim_put_key(sim, "leader", names[seed / 2 % COUNT_OF(names)]);
        EXPECT(sim, sim_run(sim, SECONDS(2)));
        EXPECT(sim, sim_leader(sim) == leader);
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        EXPECT(sim, sim_settled(sim) && sim_leader(sim) == leader);
        EXPECT(sim, sim_unavailable_ms(sim) == gap && sim_timeline(sim, leader) == timeline);
    }
}

// Deleted while its holder cannot see it: reserved for it for a ttl, and by then it has stopped.
static void test_key_tampered_unseen(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        if (seed % 2 == 0)
            sim_cut_store(sim, leader, true);
        else
            sim_agent_freeze(sim, leader);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 131 % 3000)));
        if (seed % 4 < 2)
            sim_delete_key(sim, "leader");
        else
            sim_put_key(sim, "leader", "nobody");
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(2 * TTL + 15)));
        heals(sim);
    }
}

// The same, and an operator who wants another member to lead at once.
static void test_key_tampered_and_failover(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const int other = (leader + 1) % 3;
        char body[40];
        (void)snprintf(body, sizeof body, "{\"candidate\":\"%c\"}", 'a' + other);
        sim_cut_store(sim, leader, true);
        EXPECT(sim, sim_run(sim, 500));
        sim_delete_key(sim, "leader");
        EXPECT(sim, sim_run(sim, 500));
        sim_request(sim, other, API_FAILOVER, body);
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        heals(sim);
    }
}

// All keys deleted, or another, empty store in the place of the old one, with the leader there or
// cut off.
static void test_store_wiped(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        if (seed % 3 == 0)
            sim_cut_store(sim, leader, true);
        if (seed % 3 == 1)
            sim_agent_freeze(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(1)));
        sim_store_wipe(sim, seed % 2 == 0);
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        heals(sim);
        EXPECT(sim, sim_lost_commits(sim) < 40); // what was on its way when the leader was cut off
    }
}

// A request was done and its reply is lost, or it was lost itself, for each kind.
static void test_lost_messages(void **state)
{
    (void)state;
    static const StoreOp ops[] = {OP_KEEPALIVE, OP_ACQUIRE, OP_RENEW, OP_RELEASE, OP_WRITE};
    FOR_SEEDS(seed, 40)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim);
        const StoreOp op = ops[seed % COUNT_OF(ops)];
        for (int member = 0; member < 3; member++) {
            if (seed / 5 % 2 == 0)
                sim_lose_reply(sim, member, op);
            else
                sim_lose_request(sim, member, op);
        }
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        EXPECT(sim, sim_leader(sim) == leader && sim_unavailable_ms(sim) == gap);
        // Now something that releases and acquires.
        if (seed / 10 % 2 == 0)
            sim_request(sim, leader, API_SWITCHOVER,
                        leader == 0   ? "{\"leader\":\"a\"}"
                        : leader == 1 ? "{\"leader\":\"b\"}"
                                      : "{\"leader\":\"c\"}");
        else
            sim_power_off(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        EXPECT(sim, sim_primary(sim) >= 0);
        heals(sim);
    }
}

// The reply to the acquire is lost: the term is ours all the same, and is gone on with.
static void test_lost_acquire(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){.members = 2}, seed);
        const int leader = sim_leader(sim);
        const int other = 1 - leader;
        sim_power_off(sim, leader);
        sim_lose_reply(sim, other, OP_ACQUIRE);
        EXPECT(sim, sim_run_until_at(sim, sim_is_primary, other, SECONDS(TTL + 8)));
        heals(sim);
    }
}

// Views that are minutes old: decided from what is no longer so, nothing is done.
static void test_stale_watch(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 30)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        sim_watch_stall(sim, (leader + 1) % 3, SECONDS(2 * TTL));
        if (seed % 2 == 0)
            sim_watch_stall(sim, leader, SECONDS(TTL));
        if (seed % 3 == 0)
            sim_power_off(sim, leader);
        else
            sim_request(sim, leader, API_SWITCHOVER,
                        leader == 0   ? "{\"leader\":\"a\"}"
                        : leader == 1 ? "{\"leader\":\"b\"}"
                                      : "{\"leader\":\"c\"}");
        EXPECT(sim, sim_run(sim, SECONDS(3 * TTL)));
        EXPECT(sim, sim_primary(sim) >= 0);
        heals(sim);
    }
}

// The ttl is lowered, and the leader's agent stops while it tells the store: others count by the
// new ttl from that write on, and so has the fence to.
static void test_lowered_ttl(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 240)
    {
        const SimOptions options = {.sessions_stay = seed > 120};
        AUTO(sim_release) Sim *sim = settled(options, seed);
        const int leader = sim_leader(sim);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 977 % 10000)));
        sim_request(sim, leader, API_PATCH_CONFIG,
                    "{\"ttl\":10,\"loop_wait\":2,\"retry_timeout\":3}");
        if (seed % 2 == 0)
            sim_lose_reply(sim, leader, options.sessions_stay ? OP_KEEPALIVE : OP_ACQUIRE);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 7 % 240)));
        if (seed % 4 < 2)
            sim_agent_freeze(sim, leader);
        else
            sim_cut_store(sim, leader, true);
        EXPECT(sim, sim_run_until_at(sim, another_primary, leader, SECONDS(2 * TTL + 15)));
        heals(sim);
    }
}

enum { NO_FAULT, LOST_REPLIES, LOST_REQUESTS, FROZEN, KILLED, RAISE_FAULTS };

// The ttl is raised in a store that keeps sessions over it (Kubernetes) and in one that does not
// (etcd). What was proven by the old one is good until it is over: the leader goes on serving, also
// when the first word of the new one is lost, or its agent dies in the middle of it; and where that
// stops, there are no two writers.
static void test_raised_ttl(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 200)
    {
        const bool fast = seed % 2 == 0;
        const int fault = (int)(seed / 4 % RAISE_FAULTS);
        const SimOptions options = {.ttl_s = fast ? 5 : 8,
                                    .loop_wait_s = fast ? 1 : 2,
                                    .retry_timeout_s = fast ? 2 : 3,
                                    .sessions_stay = seed / 2 % 2 == 0};
        AUTO(sim_release) Sim *sim = settled(options, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim), starts = sim_server_starts(sim, leader);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 977 % 3000)));
        sim_request(sim, leader, API_PATCH_CONFIG,
                    seed % 3 == 0   ? "{\"ttl\":30,\"loop_wait\":10,\"retry_timeout\":10}"
                    : seed % 3 == 1 ? "{\"ttl\":60,\"loop_wait\":10,\"retry_timeout\":10}"
                                    : "{\"ttl\":45,\"loop_wait\":10,\"retry_timeout\":10}");
        static const StoreOp ops[] = {OP_KEEPALIVE, OP_RENEW, OP_ACQUIRE};
        const StoreOp op = ops[seed % COUNT_OF(ops)];
        if (fault == LOST_REPLIES)
            sim_lose_reply(sim, leader, op);
        if (fault == LOST_REQUESTS)
            sim_lose_request(sim, leader, op);
        if (fault == FROZEN)
            sim_agent_freeze_at_call(sim, leader, (int)(seed / 20 + 1));
        if (fault == KILLED)
            sim_agent_kill_at_call(sim, leader, (int)(seed / 20 + 1));
        for (int i = 0; i < 20; i++) {
            EXPECT(sim, sim_run(sim, SECONDS(2)));
            if (fault == KILLED && !sim_agent_runs(sim, leader))
                sim_agent_start(sim, leader);
        }
        EXPECT(sim, fault == FROZEN || sim_unavailable_ms(sim) == gap);
        EXPECT(sim, fault == FROZEN || sim_server_starts(sim, leader) == starts);
        heals(sim);
    }
}

// It is told, and proven, at once: a store that goes away a moment later is away for no longer than
// the new one.
static void test_raised_ttl_and_store_down(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        const SimOptions options = {
            .ttl_s = 8, .loop_wait_s = 2, .retry_timeout_s = 3, .sessions_stay = seed % 2 == 0};
        AUTO(sim_release) Sim *sim = settled(options, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim);
        EXPECT(sim, sim_run(sim, (int64_t)(seed * 977 % 3000)));
        sim_request(sim, leader, API_PATCH_CONFIG,
                    "{\"ttl\":30,\"loop_wait\":10,\"retry_timeout\":10}");
        EXPECT(sim, sim_run(sim, 500));
        sim_store(sim, STORE_REFUSES);
        EXPECT(sim, sim_run(sim, SECONDS(15)));
        sim_store(sim, STORE_UP);
        EXPECT(sim, sim_run(sim, SECONDS(30)));
        EXPECT(sim, sim_leader(sim) == leader && sim_unavailable_ms(sim) == gap);
        heals(sim);
    }
}

// An agent that comes up in a term of its predecessor knows the ttl of its file at first, which is
// shorter than the one that the fence was armed by: before it tells anybody, it is bound by it.
static void test_resumed_with_another_ttl(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 120)
    {
        const SimOptions options = {
            .ttl_s = 20, .loop_wait_s = 5, .retry_timeout_s = 5, .sessions_stay = seed % 4 != 0};
        AUTO(sim_release) Sim *sim = settled(options, seed);
        const int leader = sim_leader(sim);
        const uint64_t gap = sim_unavailable_ms(sim), starts = sim_server_starts(sim, leader);
        sim_request(sim, leader, API_PATCH_CONFIG, seed % 2 == 0 ? "{\"ttl\":60}" : "{\"ttl\":40}");
        EXPECT(sim, sim_run(sim, SECONDS(20) + (int64_t)(seed * 131 % 5000)));
        sim_agent_kill(sim, leader);
        sim_agent_start(sim, leader);
        if (seed % 3 != 0)
            sim_agent_freeze_at_call(sim, leader, (int)(seed / 3 + 1));
        EXPECT(sim, sim_run(sim, SECONDS(80)));
        if (seed % 3 == 0)
            EXPECT(sim, sim_unavailable_ms(sim) == gap && sim_server_starts(sim, leader) == starts);
        heals(sim);
    }
}

// A new instance under the old name: the machine was reset, and comes back before its lease is
// over. The key it finds bears its name, and is not its own.
static void test_reboot_within_ttl(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 20)
    {
        AUTO(sim_release) Sim *sim = settled((SimOptions){0}, seed);
        const int leader = sim_leader(sim);
        const uint32_t timeline = sim_timeline(sim, leader);
        sim_power_off(sim, leader);
        EXPECT(sim, sim_run(sim, SECONDS(2)));
        sim_start(sim, leader);
        EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(2 * TTL + 30)));
        EXPECT(sim, sim_timeline(sim, sim_primary(sim)) > timeline);
        EXPECT(sim, sim_lost_commits(sim) < 20);
    }
}

// Slow, lossy, electing: the store at its worst short of being away.
static void test_sick_store(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 15)
    {
        AUTO(sim_release)
        Sim *sim = settled((SimOptions){.lost_reply_permille = 100, .slow_permille = 200}, seed);
        for (int i = 0; i < 10; i++) {
            EXPECT(sim, sim_run(sim, SECONDS(TTL / 2)));
            sim_store_elects(sim);
        }
        heals(sim);
    }
}

// The name's only other member: two machines that think they are the same member.
static void test_second_member_of_one_name(void **state)
{
    (void)state;
    FOR_SEEDS(seed, 15)
    {
        AUTO(sim_release)
        Sim *sim = sim_new(&(SimOptions){.seed = seed, .twins = true, .all_stopped = true});
        sim_start(sim, 0);
        EXPECT(sim, sim_run_until(sim, sim_has_primary, SECONDS(60)));
        sim_start(sim, 1);
        EXPECT(sim, sim_run(sim, SECONDS(20)));
        sim_start(sim, 2); // also calls itself b
        EXPECT(sim, sim_run(sim, SECONDS(2 * TTL)));
        if (seed % 2 == 0)
            sim_power_off(sim, sim_primary(sim));
        EXPECT(sim, sim_run(sim, SECONDS(4 * TTL)));
        EXPECT(sim, sim_primary(sim) >= 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_down_shortly),
        cmocka_unit_test(test_store_down_long),
        cmocka_unit_test(test_leader_cut_off),
        cmocka_unit_test(test_isolated),
        cmocka_unit_test(test_key_tampered),
        cmocka_unit_test(test_key_tampered_unseen),
        cmocka_unit_test(test_key_tampered_and_failover),
        cmocka_unit_test(test_store_wiped),
        cmocka_unit_test(test_lost_messages),
        cmocka_unit_test(test_lost_acquire),
        cmocka_unit_test(test_stale_watch),
        cmocka_unit_test(test_lowered_ttl),
        cmocka_unit_test(test_raised_ttl),
        cmocka_unit_test(test_raised_ttl_and_store_down),
        cmocka_unit_test(test_resumed_with_another_ttl),
        cmocka_unit_test(test_reboot_within_ttl),
        cmocka_unit_test(test_sick_store),
        cmocka_unit_test(test_second_member_of_one_name),
    };
    return run_scenarios(tests, COUNT_OF(tests));
}
