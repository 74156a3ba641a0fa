#include "agent/places.h"
#include "common/base/text.h"
#include "tests/support/test.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

// Who we are beyond our name, where pods come and go and their volume stays.
static Arena *arena;
static char top[64];

static int begin(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    (void)snprintf(top, sizeof top, "/tmp/howdah-places-XXXXXX");
    assert_non_null(mkdtemp(top));
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int end(void **state)
{
    (void)state;
    arena_release(&arena);
    return nftw(top, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

// An agent in this pod, over the one volume.
static Places agent_in(const char *pod)
{
    Settings settings = {.store = STORE_KUBERNETES};
    const char *shared = arena_printf(arena, "%s/%s", top, pod);
    (void)mkdir(shared, 0700); // of an agent before
    settings.howdah.state_dir = arena_printf(arena, "%s/volume", top);
    settings.howdah.run_dir = shared;
    settings.howdah.socket = arena_printf(arena, "%s/warden.sock", shared);
    Places places;
    Error err = {0};
    if (!places_open(arena, &settings, &places, &err))
        fail_msg("%s", err.text);
    return places;
}

static const char *instance_in(const char *pod)
{
    const Places places = agent_in(pod);
    close(places.lock_fd);
    return places.instance;
}

static void test_an_agent_that_comes_back_is_the_same(void **state)
{
    (void)state;
    const char *first = instance_in("one");
    assert_string_equal(instance_in("one"), first);
}

static void test_a_pod_that_takes_another_ones_place_is_not(void **state)
{
    (void)state;
    const char *first = instance_in("one");
    assert_string_not_equal(instance_in("two"), first);
    assert_string_equal(instance_in("one"), first); // and has taken nothing from it
}

static void test_after_a_clean_end_it_is_but_once(void **state)
{
    (void)state;
    const Places places = agent_in("one");
    places_pass_on(&places);
    close(places.lock_fd);
    assert_string_equal(instance_in("two"), places.instance);
    assert_string_equal(instance_in("two"), places.instance);
    assert_string_not_equal(instance_in("three"), places.instance);
}

// PostgreSQL's container alone was told to stop: the agent ends, comes back, and starts it again.
static void test_what_was_left_is_void_when_the_same_pod_goes_on(void **state)
{
    (void)state;
    const Places places = agent_in("one");
    places_pass_on(&places);
    close(places.lock_fd);
    assert_string_equal(instance_in("one"), places.instance);
    assert_string_not_equal(instance_in("two"), places.instance);
}

static void test_outside_of_a_pod_the_directory_says_it(void **state)
{
    (void)state;
    Settings settings = {.store = STORE_ETCD};
    settings.howdah.state_dir = settings.howdah.run_dir = arena_printf(arena, "%s/state", top);
    settings.howdah.socket = "w.sock";
    Places places;
    Error err = {0};
    assert_true(places_open(arena, &settings, &places, &err));
    assert_null(places.pod_id);
    places_pass_on(&places); // there is nothing to
    Places second;
    assert_false(places_open(arena, &settings, &second, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    close(places.lock_fd);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_an_agent_that_comes_back_is_the_same),
        TEST(test_a_pod_that_takes_another_ones_place_is_not),
        TEST(test_after_a_clean_end_it_is_but_once),
        TEST(test_what_was_left_is_void_when_the_same_pod_goes_on),
        TEST(test_outside_of_a_pod_the_directory_says_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
