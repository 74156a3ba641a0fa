// Which slots a member keeps, in a cluster of a, b and c (we are "a") at t = 5000 s: given, and the
// steps as one line, "+x" create, "-x" drop, "~x" renew, "x>lsn" advance.
#include "tests/support/slot_world.h"
#include "tests/support/test.h"

static void no_slots_yet(SlotWorld *w)
{
    standby(w);
    w->server.slot_count = 0;
}
static void behind(SlotWorld *w)
{
    standby(w);
    w->slots[0].restart_lsn = w->slots[1].restart_lsn = 400;
}
static void behind_in_replay(SlotWorld *w)
{
    behind(w);
    w->server.replay_lsn = 550;
}
static void ahead(SlotWorld *w)
{
    standby(w);
    w->slots[1].restart_lsn = 501;
}
static void nobody_leads(SlotWorld *w)
{
    standby(w);
    w->cluster.leader.name = NULL;
    w->slots[1].has_xmin = true;
    (void)add_slot(w, "gone", 1);
}
static void resuming(SlotWorld *w)
{
    nobody_leads(w);
    w->cluster.leader.name = "A";
}
static void leader_died_but_is_retained(SlotWorld *w)
{
    standby(w);
    w->members[1] = w->members[2]; // a and c are left
    w->cluster.member_count = 2;
    w->cluster.leader.name = "c";
}
static void gone_for_good(SlotWorld *w)
{
    leader_died_but_is_retained(w);
    w->cluster.retain_slots.count = 1;
}
static void gone_in_pause(SlotWorld *w)
{
    gone_for_good(w);
    w->settings.pause = true;
}
static void gone_but_streaming(SlotWorld *w)
{
    gone_for_good(w);
    w->slots[0].active = true;
}
static void gone_and_temporary(SlotWorld *w)
{
    gone_for_good(w);
    w->slots[0].temporary = true;
}
static void gone_and_logical(SlotWorld *w)
{
    gone_for_good(w);
    w->slots[0].physical = false;
}
static void named_permanent(SlotWorld *w)
{
    gone_for_good(w);
    Tree *slots = tree_map(w->arena), *dynamic = tree_map(w->arena);
    tree_set(w->arena, slots, "b", tree_map(w->arena));
    tree_set(w->arena, dynamic, "slots", slots);
    w->settings.dynamic = dynamic;
}
static void ignore(SlotWorld *w, const char *key, const char *value)
{
    Tree *list = tree_list(w->arena), *entry = tree_map(w->arena), *dynamic = tree_map(w->arena);
    tree_set(w->arena, entry, key, tree_string(w->arena, value));
    tree_append(w->arena, list, entry);
    tree_set(w->arena, dynamic, "ignore_slots", list);
    w->settings.dynamic = dynamic;
}
static void ignored_by_name(SlotWorld *w)
{
    gone_for_good(w);
    ignore(w, "name", "b");
}
static void ignored_by_type(SlotWorld *w)
{
    gone_for_good(w);
    ignore(w, "type", "physical");
}
static void another_ignored(SlotWorld *w)
{
    gone_for_good(w);
    ignore(w, "name", "x");
}
static void logical_ignored(SlotWorld *w)
{
    gone_for_good(w);
    ignore(w, "plugin", "pgoutput");
}
static void stale_xmin(SlotWorld *w)
{
    standby(w);
    w->slots[1].has_xmin = true;
}
static void ignored_stale_xmin(SlotWorld *w)
{
    stale_xmin(w);
    ignore(w, "name", "c");
}
static void lost(SlotWorld *w)
{
    standby(w);
    w->slots[1].lost = true;
    w->slots[1].restart_lsn = LSN_NONE;
}
static void without_position(SlotWorld *w)
{
    standby(w);
    w->slots[1].restart_lsn = LSN_NONE;
}
static void xmin_of_an_absent_one(SlotWorld *w)
{
    leader_died_but_is_retained(w);
    w->slots[0].has_xmin = true;
    w->slots[0].restart_lsn = 400;
}
static void absent_one_on_standby(SlotWorld *w)
{
    leader_died_but_is_retained(w);
    w->slots[0].restart_lsn = 400;
}
static void nostream(SlotWorld *w)
{
    standby(w);
    w->members[2].tags.nostream = true;
    w->cluster.retain_slots.count = 2;
}
static void own_slot(SlotWorld *w)
{
    standby(w);
    (void)add_slot(w, "a", 1);
}
static void nofailover(SlotWorld *w)
{
    standby(w);
    w->settings.tags.nofailover = true;
}
static void nofailover_cascade(SlotWorld *w)
{
    nofailover(w);
    w->server.slot_count = 0;
    w->members[2].tags.replicatefrom = "A";
}
static void cascade_elsewhere(SlotWorld *w)
{
    behind(w);
    w->members[2].tags.replicatefrom = "b";
}
static void cascade_here(SlotWorld *w)
{
    behind(w);
    w->members[2].tags.replicatefrom = "a";
}
static void old_patroni_leads(SlotWorld *w)
{
    behind(w);
    w->members[1].howdah = NULL;
    w->members[1].version = "3.3.2";
}
static void new_patroni_leads(SlotWorld *w)
{
    behind(w);
    w->members[1].howdah = NULL;
}
static void no_retention_standby(SlotWorld *w)
{
    standby(w);
    w->settings.member_slots_ttl_ms = 0;
}
static void no_retention_cascade(SlotWorld *w)
{
    no_retention_standby(w);
    w->server.slot_count = 0;
    w->members[2].tags.replicatefrom = "a";
}
static void no_retention_leader(SlotWorld *w)
{
    leader(w);
    w->settings.member_slots_ttl_ms = 0;
    w->members[2].tags.replicatefrom = "b";
    w->slots[1].active = false;
}
static void slots_switched_off(SlotWorld *w)
{
    standby(w);
    w->settings.postgresql.use_slots = false;
    (void)add_slot(w, "backup", 1);
}
static void silent(SlotWorld *w)
{
    no_slots_yet(w);
    w->server.answered = w->server.slots_known = false;
}
static void primary_without_the_key(SlotWorld *w)
{
    leader(w);
    w->f.term = 0;
    w->server.slot_count = 0;
}
static void about_to_be_promoted(SlotWorld *w)
{
    leader(w);
    w->server.in_recovery = true;
    w->server.replay_lsn = 1000;
    w->slots[0].active = w->slots[1].active = false;
    w->slots[0].has_xmin = true;
    w->slots[1].name = "gone";
}
static void fresh_primary(SlotWorld *w)
{
    leader(w);
    w->server.slot_count = 0;
}
static void fresh_primary_alone(SlotWorld *w)
{
    fresh_primary(w);
    w->cluster.member_count = 1; // the others' keys went with the old leader's
}
static void idle_on_the_leader(SlotWorld *w)
{
    leader(w);
    w->slots[1].active = false;
    publish(w, "c", 900);
}
static void cascade_on_the_leader(SlotWorld *w)
{
    leader(w);
    w->members[2].tags.replicatefrom = "b";
    w->slots[1].active = false;
}
static void cascade_beyond_the_leader(SlotWorld *w)
{
    cascade_on_the_leader(w);
    w->members[2].xlog_location = 2000;
}
static void cascade_of_nobody(SlotWorld *w)
{
    cascade_on_the_leader(w);
    w->members[2].tags.replicatefrom = "z";
}
static void stale_xmin_on_the_leader(SlotWorld *w)
{
    cascade_on_the_leader(w);
    w->slots[1].has_xmin = true;
}
static void unknown_on_the_leader(SlotWorld *w)
{
    leader(w);
    (void)add_slot(w, "backup", 1);
}
static void same_slot_name(SlotWorld *w)
{
    behind(w);
    w->members[3] = w->members[2];
    w->members[2].name = "C";
    w->cluster.member_count = 4;
    w->members[3].tags.replicatefrom = "b";
}

static const struct {
    const char *given;
    void (*facts)(SlotWorld *);
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

static void test_steps(void **state)
{
    (void)state;
    static SlotWorld w;
    w.arena = arena_new(ARENA_CAP_DEFAULT);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rows[i].facts(&w);
        const char *steps = plan_text(&w);
        if (!str_eq(steps, rows[i].steps))
            fail_msg("%s: '%s' instead of '%s'", rows[i].given, steps, rows[i].steps);
    }
    arena_free(w.arena);
}

static void test_published(void **state)
{
    (void)state;
    static SlotWorld w;
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
    static SlotWorld w;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_two_members_with_one_slot_name_are_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
