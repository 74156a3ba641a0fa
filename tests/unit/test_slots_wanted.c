// Which slots a member keeps, in a cluster of a, b and c (we are "a") at t = 5000 s: given, and the
// steps as one line, "+x" create, "-x" drop, "~x" renew, "x>lsn" advance.
#include "tests/support/test.h"

#include "agent/core/slots_wanted.h"
#include "common/base/text.h"

#include <string.h>

#define S(seconds) ((int64_t)(seconds)*1000000000)

typedef struct {
    Arena *arena;
    SlotFacts f;
    Settings settings;
    ClusterView cluster;
    ServerView server;
    MemberView members[4];
    SlotView slots[6];
    RetainedSlots kept;
    Tree *status;
} World;

static SlotView *add_slot(World *w, const char *name, Lsn restart)
{
    SlotView *slot = &w->slots[w->server.slot_count++];
    *slot = (SlotView){.name = name, .physical = true, .restart_lsn = restart};
    return slot;
}

static void publish(World *w, const char *slot, int64_t lsn)
{
    tree_set(w->arena, w->status, slot, tree_int(w->arena, lsn));
}

// A standby that has the slots it needs; b leads.
static void standby(World *w)
{
    Arena *arena = w->arena;
    *w = (World){.arena = arena};
    w->settings = (Settings){.name = "a",
                             .member_slots_ttl_ms = 1800000,
                             .dynamic = tree_map(arena),
                             .postgresql = {.use_slots = true}};
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        w->members[i] =
            (MemberView){.name = names[i], .howdah = "1", .version = "4.1.4", .xlog_location = 900};
    w->status = tree_map(arena);
    w->cluster = (ClusterView){
        .leader = {.name = "b"}, .members = w->members, .member_count = 3, .slots = w->status};
    string_list_add(&w->cluster.retain_slots, arena, "a");
    string_list_add(&w->cluster.retain_slots, arena, "b");
    string_list_add(&w->cluster.retain_slots, arena, "c");
    publish(w, "a", 500);
    publish(w, "b", 600);
    publish(w, "c", 500);
    w->server = (ServerView){.answered = true,
                             .in_recovery = true,
                             .replay_lsn = 1000,
                             .slots = w->slots,
                             .slots_known = true};
    (void)add_slot(w, "b", 600);
    (void)add_slot(w, "c", 500);
    w->f = (SlotFacts){
        .now = {S(5000)}, .settings = &w->settings, .cluster = &w->cluster, .server = &w->server};
}

static void leader(World *w)
{
    standby(w);
    w->f.term = 7;
    w->cluster.leader.name = "a";
    w->server.in_recovery = false;
    w->server.replay_lsn = LSN_NONE;
    w->server.flush_lsn = 1000;
    w->slots[0].active = w->slots[1].active = true;
}

static void no_slots_yet(World *w)
{
    standby(w);
    w->server.slot_count = 0;
}
static void behind(World *w)
{
    standby(w);
    w->slots[0].restart_lsn = w->slots[1].restart_lsn = 400;
}
static void behind_in_replay(World *w)
{
    behind(w);
    w->server.replay_lsn = 550;
}
static void ahead(World *w)
{
    standby(w);
    w->slots[1].restart_lsn = 501;
}
static void nobody_leads(World *w)
{
    standby(w);
    w->cluster.leader.name = NULL;
    w->slots[1].has_xmin = true;
    (void)add_slot(w, "gone", 1);
}
static void resuming(World *w)
{
    nobody_leads(w);
    w->cluster.leader.name = "A";
}
static void leader_died_but_is_retained(World *w)
{
    standby(w);
    w->members[1] = w->members[2]; // a and c are left
    w->cluster.member_count = 2;
    w->cluster.leader.name = "c";
}
static void gone_for_good(World *w)
{
    leader_died_but_is_retained(w);
    w->cluster.retain_slots.count = 1;
}
static void gone_in_pause(World *w)
{
    gone_for_good(w);
    w->settings.pause = true;
}
static void gone_but_streaming(World *w)
{
    gone_for_good(w);
    w->slots[0].active = true;
}
static void gone_and_temporary(World *w)
{
    gone_for_good(w);
    w->slots[0].temporary = true;
}
static void gone_and_logical(World *w)
{
    gone_for_good(w);
    w->slots[0].physical = false;
}
static void named_permanent(World *w)
{
    gone_for_good(w);
    Tree *slots = tree_map(w->arena), *dynamic = tree_map(w->arena);
    tree_set(w->arena, slots, "b", tree_map(w->arena));
    tree_set(w->arena, dynamic, "slots", slots);
    w->settings.dynamic = dynamic;
}
static void ignore(World *w, const char *key, const char *value)
{
    Tree *list = tree_list(w->arena), *entry = tree_map(w->arena), *dynamic = tree_map(w->arena);
    tree_set(w->arena, entry, key, tree_string(w->arena, value));
    tree_append(w->arena, list, entry);
    tree_set(w->arena, dynamic, "ignore_slots", list);
    w->settings.dynamic = dynamic;
}
static void ignored_by_name(World *w)
{
    gone_for_good(w);
    ignore(w, "name", "b");
}
static void ignored_by_type(World *w)
{
    gone_for_good(w);
    ignore(w, "type", "physical");
}
static void another_ignored(World *w)
{
    gone_for_good(w);
    ignore(w, "name", "x");
}
static void logical_ignored(World *w)
{
    gone_for_good(w);
    ignore(w, "plugin", "pgoutput");
}
static void stale_xmin(World *w)
{
    standby(w);
    w->slots[1].has_xmin = true;
}
static void ignored_stale_xmin(World *w)
{
    stale_xmin(w);
    ignore(w, "name", "c");
}
static void lost(World *w)
{
    standby(w);
    w->slots[1].lost = true;
    w->slots[1].restart_lsn = LSN_NONE;
}
static void without_position(World *w)
{
    standby(w);
    w->slots[1].restart_lsn = LSN_NONE;
}
static void xmin_of_an_absent_one(World *w)
{
    leader_died_but_is_retained(w);
    w->slots[0].has_xmin = true;
    w->slots[0].restart_lsn = 400;
}
static void absent_one_on_standby(World *w)
{
    leader_died_but_is_retained(w);
    w->slots[0].restart_lsn = 400;
}
static void nostream(World *w)
{
    standby(w);
    w->members[2].tags.nostream = true;
    w->cluster.retain_slots.count = 2;
}
static void own_slot(World *w)
{
    standby(w);
    (void)add_slot(w, "a", 1);
}
static void nofailover(World *w)
{
    standby(w);
    w->settings.tags.nofailover = true;
}
static void nofailover_cascade(World *w)
{
    nofailover(w);
    w->server.slot_count = 0;
    w->members[2].tags.replicatefrom = "A";
}
static void cascade_elsewhere(World *w)
{
    behind(w);
    w->members[2].tags.replicatefrom = "b";
}
static void cascade_here(World *w)
{
    behind(w);
    w->members[2].tags.replicatefrom = "a";
}
static void old_patroni_leads(World *w)
{
    behind(w);
    w->members[1].howdah = NULL;
    w->members[1].version = "3.3.2";
}
static void new_patroni_leads(World *w)
{
    behind(w);
    w->members[1].howdah = NULL;
}
static void no_retention_standby(World *w)
{
    standby(w);
    w->settings.member_slots_ttl_ms = 0;
}
static void no_retention_cascade(World *w)
{
    no_retention_standby(w);
    w->server.slot_count = 0;
    w->members[2].tags.replicatefrom = "a";
}
static void no_retention_leader(World *w)
{
    leader(w);
    w->settings.member_slots_ttl_ms = 0;
    w->members[2].tags.replicatefrom = "b";
    w->slots[1].active = false;
}
static void slots_switched_off(World *w)
{
    standby(w);
    w->settings.postgresql.use_slots = false;
    (void)add_slot(w, "backup", 1);
}
static void silent(World *w)
{
    no_slots_yet(w);
    w->server.answered = w->server.slots_known = false;
}
static void primary_without_the_key(World *w)
{
    leader(w);
    w->f.term = 0;
    w->server.slot_count = 0;
}
static void about_to_be_promoted(World *w)
{
    leader(w);
    w->server.in_recovery = true;
    w->server.replay_lsn = 1000;
    w->slots[0].active = w->slots[1].active = false;
    w->slots[0].has_xmin = true;
    w->slots[1].name = "gone";
}
static void fresh_primary(World *w)
{
    leader(w);
    w->server.slot_count = 0;
}
static void fresh_primary_alone(World *w)
{
    fresh_primary(w);
    w->cluster.member_count = 1; // the others' keys went with the old leader's
}
static void idle_on_the_leader(World *w)
{
    leader(w);
    w->slots[1].active = false;
    publish(w, "c", 900);
}
static void cascade_on_the_leader(World *w)
{
    leader(w);
    w->members[2].tags.replicatefrom = "b";
    w->slots[1].active = false;
}
static void cascade_beyond_the_leader(World *w)
{
    cascade_on_the_leader(w);
    w->members[2].xlog_location = 2000;
}
static void cascade_of_nobody(World *w)
{
    cascade_on_the_leader(w);
    w->members[2].tags.replicatefrom = "z";
}
static void stale_xmin_on_the_leader(World *w)
{
    cascade_on_the_leader(w);
    w->slots[1].has_xmin = true;
}
static void unknown_on_the_leader(World *w)
{
    leader(w);
    (void)add_slot(w, "backup", 1);
}
static void same_slot_name(World *w)
{
    behind(w);
    w->members[3] = w->members[2];
    w->members[2].name = "C";
    w->cluster.member_count = 4;
    w->members[3].tags.replicatefrom = "b";
}

static const struct {
    const char *given;
    void (*facts)(World *);
    const char *steps;
} rows[] = {
    {"a standby that has all", standby, ""},
    {"a standby just copied", no_slots_yet, "+b +c"},
    {"the leader's status has moved on", behind, "b>600 c>500"},
    {"… and our replay has not", behind_in_replay, "b>550 c>500"},
    {"a slot never goes back", ahead, ""},
    {"nobody leads: nothing is taken away", nobody_leads, ""},
    {"our own name leads, and we do not know of it", resuming, ""},
    {"a dead leader's slot is retained", leader_died_but_is_retained, ""},
    {"… and moves with the leader's", absent_one_on_standby, "b>600"},
    {"… but for one with an xmin", xmin_of_an_absent_one, ""},
    {"retained no longer", gone_for_good, "-b"},
    {"… in pause", gone_in_pause, ""},
    {"… but in use", gone_but_streaming, ""},
    {"… a base backup's", gone_and_temporary, ""},
    {"… a logical one", gone_and_logical, ""},
    {"… a permanent one", named_permanent, ""},
    {"… ignored by name", ignored_by_name, ""},
    {"… ignored by type", ignored_by_type, ""},
    {"… while another is ignored", another_ignored, "-b"},
    {"… while logical ones are ignored", logical_ignored, "-b"},
    {"an xmin that nobody moves", stale_xmin, "~c"},
    {"… of an ignored slot", ignored_stale_xmin, ""},
    {"lost", lost, "~c"},
    {"without a position", without_position, "~c"},
    {"nostream", nostream, "-c"},
    {"our own slot here", own_slot, "-a"},
    {"nofailover keeps none", nofailover, "-b -c"},
    {"… but for its cascade", nofailover_cascade, "+c"},
    {"a cascade elsewhere moves by its own word", cascade_elsewhere, "b>600 c>900"},
    {"a cascade of ours moves by itself", cascade_here, "b>600"},
    {"Patroni 3 leads, which publishes no slots", old_patroni_leads, "b>900 c>900"},
    {"Patroni 4 leads", new_patroni_leads, "b>600 c>500"},
    {"no retention: a standby needs none", no_retention_standby, "-b -c"},
    {"… but for its cascade", no_retention_cascade, "+c"},
    {"… and the leader its own streams'", no_retention_leader, "-c"},
    {"slots switched off: the members' go", slots_switched_off, "-b -c"},
    {"a server that does not answer", silent, ""},
    {"a primary without the key", primary_without_the_key, ""},
    {"between key and promotion slots are only made", about_to_be_promoted, "+c"},
    {"a leader with all its streams", leader, ""},
    {"a new primary that had none", fresh_primary, "+b +c"},
    {"… while the members' keys are gone", fresh_primary_alone, "+b +c"},
    {"a standby is away: its slot stays", idle_on_the_leader, ""},
    {"a cascade's slot on the leader", cascade_on_the_leader, "c>900"},
    {"… not beyond the leader's own WAL", cascade_beyond_the_leader, "c>1000"},
    {"… whose upstream is not there", cascade_of_nobody, ""},
    {"… with an xmin", stale_xmin_on_the_leader, "~c"},
    {"a slot that is nobody's, just seen", unknown_on_the_leader, ""},
    {"two members, one slot: the lesser position", same_slot_name, "b>600 c>500"},
};

static const char *steps_text(Arena *arena, const SlotPlan *plan)
{
    Text text = text_new(arena);
    for (size_t i = 0; i < plan->count; i++) {
        const SlotStep *s = &plan->steps[i];
        const char *sign = s->action == SLOT_CREATE  ? "+"
                           : s->action == SLOT_DROP  ? "-"
                           : s->action == SLOT_RENEW ? "~"
                                                     : "";
        text_addf(&text, "%s%s%s", i > 0 ? " " : "", sign, s->name);
        if (s->action == SLOT_ADVANCE)
            text_addf(&text, ">%llu", (unsigned long long)s->lsn);
    }
    return text.data;
}

static const char *plan_text(World *w)
{
    slots_remember(w->arena, &w->f, &w->kept);
    const SlotPlan plan = slots_wanted(w->arena, &w->f, &w->kept);
    return steps_text(w->arena, &plan);
}

static void test_steps(void **state)
{
    (void)state;
    static World w;
    w.arena = arena_new(ARENA_CAP_DEFAULT);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rows[i].facts(&w);
        const char *steps = plan_text(&w);
        if (!str_eq(steps, rows[i].steps))
            fail_msg("%s: '%s' instead of '%s'", rows[i].given, steps, rows[i].steps);
    }
    arena_free(w.arena);
}

static const char *retained(World *w)
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
    static World w;
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
    static World w;
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
    static World w;
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

static void test_published(void **state)
{
    (void)state;
    static World w;
    w.arena = arena_new(ARENA_CAP_DEFAULT);
    leader(&w);
    w.settings.name = "A-1";
    add_slot(&w, "tmp", 1)->temporary = true;
    add_slot(&w, "logical", 1)->physical = false;
    (void)add_slot(&w, "fresh", LSN_NONE);
    const Tree *slots = slots_published(w.arena, &w.f);
    assert_string_equal(tree_to_json(w.arena, slots, JSON_COMPACT),
                        "{\"b\":600,\"c\":500,\"a_1\":1000}");
    w.settings.member_slots_ttl_ms = 0;
    assert_int_equal(slots_published(w.arena, &w.f)->count, 0);
    slots_remember(w.arena, &w.f, &w.kept);
    assert_int_equal(slots_retained(w.arena, &w.f, &w.kept).count, 0);
    w.settings.member_slots_ttl_ms = 1;
    w.server.slots_known = false;
    assert_int_equal(slots_published(w.arena, &w.f)->count, 0);
    arena_free(w.arena);
}

static void test_two_members_with_one_slot_name_are_told_of(void **state)
{
    (void)state;
    static World w;
    w.arena = arena_new(ARENA_CAP_DEFAULT);
    same_slot_name(&w);
    SlotPlan plan = slots_wanted(w.arena, &w.f, &w.kept);
    assert_string_equal(plan.clash, "C");
    assert_string_equal(plan.clash_with, "c");
    standby(&w);
    plan = slots_wanted(w.arena, &w.f, &w.kept);
    assert_null(plan.clash);
    w.members[0].name = w.settings.name = "x.y";
    w.members[2].name = "x-y";
    plan = slots_wanted(w.arena, &w.f, &w.kept);
    assert_string_equal(plan.clash, "x.y");
    assert_string_equal(plan.clash_with, "x-y");
    arena_free(w.arena);
}

// More slots than are remembered: what is not remembered is not dropped.
static void test_a_full_memory_drops_nothing(void **state)
{
    (void)state;
    static World w;
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
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_a_leader_remembers_for_its_time),
        cmocka_unit_test(test_a_new_term_begins_with_the_last_ones_list),
        cmocka_unit_test(test_a_lost_slot),
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_two_members_with_one_slot_name_are_told_of),
        cmocka_unit_test(test_a_full_memory_drops_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
