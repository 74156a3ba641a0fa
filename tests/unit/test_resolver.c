#include "common/os/resolver.h"

#include "common/os/clock.h"
#include "tests/support/name_service.h"
#include "tests/support/test.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

static const char *const nothing[] = {NULL};
static const char *const first[] = {"192.0.2.1", NULL};
static const char *const second[] = {"192.0.2.2", NULL};

typedef struct {
    Arena *arena;
    Resolver *resolver;
} World;

static int setup(void **state)
{
    World *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->arena = arena_new(ARENA_CAP_DEFAULT);
    world->resolver = resolver_new();
    name_service_set(first);
    *state = world;
    return 0;
}

// Threads that still hang end after the resolver is gone, and free what is left of it.
static int teardown(void **state)
{
    World *world = *state;
    resolver_free(world->resolver);
    assert_true(name_service_settle());
    arena_free(world->arena);
    free(world);
    return 0;
}

static Deadline in_ms(int64_t ms)
{
    return deadline_in(clock_system(), ms);
}

static StringList wait_for(World *world, const char *host)
{
    return resolver_wait(world->resolver, world->arena, host, in_ms(10000));
}

static void test_numeric_hosts_need_no_lookup(void **state)
{
    World *world = *state;
    static const char *const numeric[] = {"127.0.0.1", "10.20.30.40", "::1", "2001:db8::5",
                                          "fe80::1%eth0"};
    const int before = name_service_lookups();
    for (size_t i = 0; i < COUNT_OF(numeric); i++) {
        assert_true(host_is_numeric(numeric[i]));
        const StringList list = resolver_get(world->resolver, world->arena, numeric[i]);
        assert_int_equal(list.count, 1);
        assert_string_equal(list.items[0], numeric[i]);
    }
    assert_int_equal(resolver_get(world->resolver, world->arena, "").count, 0);
    assert_int_equal(name_service_lookups(), before);

    static const char *const names[] = {"localhost", "1.2.3", "1.2.3.4.5", "host%eth0", "", "::g"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_false(host_is_numeric(names[i]));
}

static void test_a_name_is_looked_up_once(void **state)
{
    World *world = *state;
    const int before = name_service_lookups();
    const StringList list = wait_for(world, "Member-1.example");
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0], "192.0.2.1");
    assert_int_equal(resolver_get(world->resolver, world->arena, "member-1.EXAMPLE").count, 1);
    assert_int_equal(wait_for(world, "member-1.example").count, 1);
    assert_int_equal(name_service_lookups(), before + 1);
}

static void test_an_unknown_name_is_said_to_be_so(void **state)
{
    World *world = *state;
    const Instant before = clock_now(clock_system());
    assert_int_equal(wait_for(world, "fail.example").count, 0);
    StringList list;
    assert_true(resolver_peek(world->resolver, world->arena, "fail.example", &list));
    assert_int_equal(list.count, 0);
    // Not asked again within 5 s.
    const int asked = name_service_lookups();
    assert_int_equal(wait_for(world, "fail.example").count, 0);
    assert_int_equal(name_service_lookups(), asked);
    assert_true(instant_ms_between(before, clock_now(clock_system())) < 5000);
}

static void test_a_hanging_lookup_holds_nobody(void **state)
{
    World *world = *state;
    StringList list;
    assert_false(resolver_peek(world->resolver, world->arena, "hang-1", &list));
    assert_int_equal(resolver_get(world->resolver, world->arena, "hang-2").count, 0);
    assert_int_equal(resolver_get(world->resolver, world->arena, "hang-3").count, 0);
    assert_int_equal(wait_for(world, "good.example").count, 1);

    const Instant before = clock_now(clock_system());
    assert_int_equal(resolver_wait(world->resolver, world->arena, "hang-1", in_ms(50)).count, 0);
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 50, 5000);

    name_service_let_go();
    assert_int_equal(wait_for(world, "hang-1").count, 1);
    assert_int_equal(wait_for(world, "hang-3").count, 1);
}

// Four lookups hang, so every thread is busy; what waits behind them gets its turn afterwards.
static void test_more_names_than_threads(void **state)
{
    World *world = *state;
    static const char *const names[] = {"hang-1", "hang-2", "hang-3", "hang-4",
                                        "hang-5", "hang-6", "good-7", "good-8"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(resolver_get(world->resolver, world->arena, names[i]).count, 0);
    while (name_service_hanging() < 4)
        poll(NULL, 0, 1);
    name_service_let_go();
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(wait_for(world, names[i]).count, 1);
}

// Polls until the name has this address, or for at most 10 s.
static bool becomes(Resolver *resolver, Arena *arena, const char *address)
{
    const Deadline deadline = in_ms(10000);
    while (!deadline_over(clock_system(), deadline)) {
        const StringList list = resolver_get(resolver, arena, "moving.example");
        if (list.count == 1 && str_eq(list.items[0], address))
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

// The name service is down for a while, then a pod comes back with another address.
static void test_addresses_are_renewed_and_outlive_failures(void **state)
{
    World *world = *state;
    AUTO(resolver_release) Resolver *fast = resolver_new_with(5, 5);
    assert_true(becomes(fast, world->arena, "192.0.2.1"));

    name_service_set(nothing);
    const int before = name_service_lookups();
    while (name_service_lookups() < before + 3)
        assert_int_equal(resolver_get(fast, world->arena, "moving.example").count, 1);
    assert_true(becomes(fast, world->arena, "192.0.2.1"));

    name_service_set(second);
    assert_true(becomes(fast, world->arena, "192.0.2.2"));
}

// Renewed also while nobody asks: the next connection finds a fresh address.
static void test_a_used_name_is_renewed_unasked(void **state)
{
    World *world = *state;
    AUTO(resolver_release) Resolver *fast = resolver_new_with(5, 5);
    assert_true(becomes(fast, world->arena, "192.0.2.1"));
    const int before = name_service_lookups();
    const Deadline deadline = in_ms(10000);
    while (name_service_lookups() < before + 3 && !deadline_over(clock_system(), deadline))
        poll(NULL, 0, 1);
    assert_true(name_service_lookups() >= before + 3);
}

static void test_thousands_of_names_are_not_kept(void **state)
{
    World *world = *state;
    for (int i = 0; i < 600; i++) {
        const char *host = arena_printf(world->arena, "member-%d.example", i);
        assert_int_equal(wait_for(world, host).count, 1);
    }
    // The last ones are, the first ones were dropped.
    const int before = name_service_lookups();
    assert_int_equal(resolver_get(world->resolver, world->arena, "member-599.example").count, 1);
    assert_int_equal(name_service_lookups(), before);
    assert_int_equal(resolver_get(world->resolver, world->arena, "member-0.example").count, 0);
}

static void *ask_many(void *context)
{
    World *world = context;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    for (int i = 0; i < 100; i++) {
        const char *host = arena_printf(arena, "shared-%d.example", i % 10);
        const StringList list = resolver_wait(world->resolver, arena, host, in_ms(10000));
        if (list.count != 1)
            return world;
    }
    return NULL;
}

static void test_many_askers(void **state)
{
    World *world = *state;
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_many, world), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *failed = world;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

static void test_several_addresses(void **state)
{
    World *world = *state;
    static const char *const both[] = {"192.0.2.1", "2001:db8::1", "192.0.2.3", NULL};
    name_service_set(both);
    const StringList list = wait_for(world, "both.example");
    assert_int_equal(list.count, 3);
    for (size_t i = 0; i < list.count; i++)
        assert_string_equal(list.items[i], both[i]);
}

// The owner goes while lookups hang; nothing may be lost or touched afterwards (see teardown).
static void test_free_does_not_wait(void **state)
{
    World *world = *state;
    resolver_get(world->resolver, world->arena, "hang-1");
    resolver_get(world->resolver, world->arena, "hang-2");
    while (name_service_hanging() < 2)
        poll(NULL, 0, 1);
    resolver_release(&world->resolver);
    assert_int_equal(name_service_hanging(), 2);
    resolver_free(NULL);
}

#define WITH_SERVICE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVICE(test_numeric_hosts_need_no_lookup),
        WITH_SERVICE(test_a_name_is_looked_up_once),
        WITH_SERVICE(test_an_unknown_name_is_said_to_be_so),
        WITH_SERVICE(test_a_hanging_lookup_holds_nobody),
        WITH_SERVICE(test_more_names_than_threads),
        WITH_SERVICE(test_addresses_are_renewed_and_outlive_failures),
        WITH_SERVICE(test_a_used_name_is_renewed_unasked),
        WITH_SERVICE(test_thousands_of_names_are_not_kept),
        WITH_SERVICE(test_many_askers),
        WITH_SERVICE(test_several_addresses),
        WITH_SERVICE(test_free_does_not_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
