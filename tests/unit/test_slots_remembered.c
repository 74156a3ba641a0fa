// What a leader remembers of the slots of members that are away.
#include "tests/support/slot_world.h"
#include "tests/support/test.h"

static const char *retained(SlotWorld *w)
{
    slots_remember(w->arena, &w->f, &w->kept);
    const StringList names = slots_retained(w->arena, &w->f, &w->kept);
    Text text = text_new(w->arena);
    for (size_t i = 0; i < names.count; i++)
        text_addf(&text, "%s%s", i > 0 ? " " : "", names.items[i]);
    return text.data;
}

// c leaves for good: its slot is kept and told of for member_slots_ttl, then no longer.
static void test_a_leader_remembers_for_its_time(void **state)
{
    (void)state;
    static SlotWorld w;
    w.arena = arena_new(ARENA_CAP_DEFAULT);
    leader(&w);
    assert_string_equal(retained(&w), "a b c");
    w.cluster.member_count = 2;
    w.slots[1].active = false;
    w.f.now.ns += S(1799);
    assert_string_equal(retained(&w), "a b c");
    assert_string_equal(plan_text(&w), "");
    w.f.now.ns += S(1);
    assert_string_equal(retained(&w), "a b");
    assert_string_equal(plan_text(&w), "-c");
    w.server.slot_count = 1;
    assert_string_equal(plan_text(&w), "");
    // It comes back after all.
    w.cluster.member_count = 3;
    assert_string_equal(retained(&w), "a b c");
    assert_string_equal(plan_text(&w), "+c");
    arena_free(w.arena);
}

// Whoever takes over goes on with the list it finds, its times begin anew, and a slot that was
// nobody's before is not told of.
static void test_a_new_term_begins_with_the_last_ones_list(void **state)
{
    (void)state;
    static SlotWorld w;
    w.arena = arena_new(ARENA_CAP_DEFAULT);
    leader(&w);
    w.cluster.member_count = 2; // c is away
    w.server.slot_count = 1;
    (void)add_slot(&w, "backup", 1);
    assert_string_equal(retained(&w), "a b c");
    assert_string_equal(plan_text(&w), "+c");
    // Its own list is what counts from here on.
    w.cluster.retain_slots.count = 0;
    w.f.now.ns += S(1000);
    assert_string_equal(retained(&w), "a b c");
    w.f.now.ns += S(800);
    assert_string_equal(retained(&w), "a b");
    assert_string_equal(plan_text(&w), "-backup");
    string_list_add(&w.cluster.retain_slots, w.arena, "c");
    w.f.term = 8;
    assert_string_equal(retained(&w), "a b c");
    // A standby remembers nothing: it goes by the leader's list.
    const RetainedSlots before = w.kept;
    w.f.term = 0;
    w.f.now.ns += S(5000);
    slots_remember(w.arena, &w.f, &w.kept);
    assert_memory_equal(&before, &w.kept, sizeof before);
    arena_free(w.arena);
}

// Whoever is away has lost what it came back for; whoever is there gets a new one.
static void test_a_lost_slot(void **state)
{
    (void)state;
    static SlotWorld w;
    w.arena = arena_new(ARENA_CAP_DEFAULT);
    leader(&w);
    w.slots[1].active = false;
    (void)plan_text(&w);
    w.f.now.ns += S(10);
    w.slots[1].lost = true;
    w.slots[1].restart_lsn = LSN_NONE;
    assert_string_equal(plan_text(&w), "~c");
    w.cluster.member_count = 2;
    w.f.now.ns += S(10);
    assert_string_equal(retained(&w), "a b");
    assert_string_equal(plan_text(&w), "-c");
    w.cluster.member_count = 3;
    assert_string_equal(retained(&w), "a b c");
    assert_string_equal(plan_text(&w), "~c");
    arena_free(w.arena);
}

// More slots than are remembered: what is not remembered is not dropped.
static void test_a_full_memory_drops_nothing(void **state)
{
    (void)state;
    static SlotWorld w;
    w.arena = arena_new(ARENA_CAP_DEFAULT);
    leader(&w);
    w.kept.term = 7;
    for (int i = 0; i < RETAINED_SLOTS_MAX; i++)
        (void)copy_text(w.kept.slots[w.kept.count++].name, 64,
                        arena_printf(w.arena, "backup_%d", i));
    for (size_t i = 0; i < w.kept.count; i++)
        w.kept.slots[i].seen_at = w.f.now;
    (void)add_slot(&w, "backup", 1);
    assert_string_equal(plan_text(&w), "");
    w.f.now.ns += S(100);
    assert_string_equal(plan_text(&w), "");
    assert_int_equal(w.kept.count, RETAINED_SLOTS_MAX);
    w.f.now.ns += S(2000); // theirs is over: there is room again
    assert_string_equal(plan_text(&w), "");
    assert_string_equal(plan_text(&w), "");
    w.f.now.ns += S(2000);
    assert_string_equal(plan_text(&w), "-backup");
    arena_free(w.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_leader_remembers_for_its_time),
        cmocka_unit_test(test_a_new_term_begins_with_the_last_ones_list),
        cmocka_unit_test(test_a_lost_slot),
        cmocka_unit_test(test_a_full_memory_drops_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
