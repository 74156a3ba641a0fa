// Positions by the members' own word: what is put into a view is as fresh as their last answers.
#include "tests/support/test.h"

#include "agent/positions.h"
#include "common/base/text.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    Peers base;
    atomic_int asked;
    _Atomic Lsn replayed; // 0: nobody answers
} FakePeers;

typedef struct {
    Clock base;
    _Atomic int64_t now_ns;
} FakeClock;

static FakePeers *peers;
static FakeClock clock_;
static Arena *arena;

static void ask(Peers *base, Arena *a, const PeerTarget *targets, size_t count, Deadline deadline,
                PeerAnswer *answers)
{
    FakePeers *self = (FakePeers *)(void *)base;
    const Lsn replayed = atomic_load(&self->replayed);
    (void)a;
    (void)deadline;
    for (size_t i = 0; i < count; i++)
        answers[i] = (PeerAnswer){.name = targets[i].name,
                                  .reachable = replayed != 0,
                                  .positions = {.received = replayed + 10, .replayed = replayed}};
    atomic_fetch_add(&self->asked, 1);
}

static void peers_done(Peers *base)
{
    free(base);
}

static const PeersOps peers_ops = {.ask = ask, .free = peers_done};

static Instant now(Clock *clock)
{
    return (Instant){atomic_load(&((FakeClock *)(void *)clock)->now_ns)};
}

static int64_t wall_us(Clock *clock)
{
    (void)clock;
    return 0;
}

static const ClockOps clock_ops = {.now = now, .wall_us = wall_us};

static MemberView members[] = {
    {.name = "a", .howdah = "1", .api_url = "http://a", .receive_lsn = 1, .replay_lsn = 1},
    {.name = "b", .howdah = "1", .api_url = "http://b", .receive_lsn = 1, .replay_lsn = 1},
    {.name = "p", .api_url = "http://p", .receive_lsn = 1, .replay_lsn = 1}, // Patroni's
};

static ClusterView applied(Positions *p)
{
    ClusterView view = {.members = members, .member_count = COUNT_OF(members)};
    positions_apply(p, arena, "a", &view);
    return view;
}

static void wait_asked(int more)
{
    const int wanted = atomic_load(&peers->asked) + more;
    for (int i = 0; i < 1000 && atomic_load(&peers->asked) < wanted; i++)
        (void)usleep(10000);
    assert_true(atomic_load(&peers->asked) >= wanted);
}

static void wait_replayed(Positions *p, Lsn wanted)
{
    for (int i = 0; i < 1000 && applied(p).members[1].replay_lsn != wanted; i++)
        (void)usleep(10000);
    assert_int_equal(applied(p).members[1].replay_lsn, wanted);
}

static void test_positions(void **state)
{
    (void)state;
    const ClusterView view = {.members = members, .member_count = COUNT_OF(members)};
    clock_ = (FakeClock){.base = {.ops = &clock_ops}, .now_ns = INT64_C(1000000000000)};
    peers = calloc(1, sizeof *peers);
    assert_non_null(peers);
    peers->base.ops = &peers_ops;
    atomic_store(&peers->replayed, 500);
    Positions *p = positions_new(&clock_.base, &peers->base);
    // Nothing is known yet: not what the record said long ago.
    assert_int_equal(applied(p).members[1].replay_lsn, LSN_NONE);
    positions_follow(p, &view, "a", 500);
    wait_replayed(p, 500);
    ClusterView seen = applied(p);
    assert_int_equal(seen.members[1].receive_lsn, 510);
    assert_int_equal(seen.members[1].xlog_location, 510);
    assert_int_equal(seen.members[0].replay_lsn, 1); // we know better ourselves
    assert_int_equal(seen.members[2].replay_lsn, 1); // writes its own
    assert_int_equal(members[1].replay_lsn, 1);      // of the view that was given nothing changes

    atomic_store(&peers->replayed, 600);
    wait_replayed(p, 600);
    // Silence: the last word counts for three periods, and then none.
    atomic_store(&peers->replayed, 0);
    wait_asked(2);
    assert_int_equal(applied(p).members[1].replay_lsn, 600);
    atomic_fetch_add(&clock_.now_ns, INT64_C(3000) * NS_PER_MS);
    assert_int_equal(applied(p).members[1].replay_lsn, LSN_NONE);
    positions_free(p);
}

static int begin(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_positions)};
    return cmocka_run_group_tests(tests, begin, end);
}
