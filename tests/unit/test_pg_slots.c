// The steps towards the wanted slots, on a real primary and a real standby.
#include "tests/support/pg_lab.h"

#include "common/base/text.h"

#include <unistd.h>

static bool take(PgNode *on, SlotAction action, const char *name, Lsn lsn, Error *err)
{
    const SlotStep step = {.action = action, .name = name, .lsn = lsn};
    *err = (Error){0};
    (void)pg_node_look(on);
    return on->server->ops->sync_slots(on->server, &step, 1, deadline_in(on->lab->clock, 2000),
                                       err);
}

static void must(PgNode *on, SlotAction action, const char *name, Lsn lsn)
{
    Error err;
    if (!take(on, action, name, lsn, &err))
        fail_msg("%s: %s", name, err.text);
}

static SlotView find(PgNode *on, const char *name)
{
    const ServerView v = pg_node_look(on);
    for (size_t i = 0; i < v.slot_count; i++)
        if (str_eq(v.slots[i].name, name))
            return v.slots[i];
    return (SlotView){0};
}

static void write_wal(PgNode *on, PgNode *standby)
{
    pg_node_exec(on, "CREATE TABLE IF NOT EXISTS t (a int)");
    pg_node_exec(on, "INSERT INTO t SELECT generate_series(1, 1000)");
    const Lsn end = pg_node_look(on).flush_lsn;
    const Deadline deadline = deadline_in(on->lab->clock, LAB_WAIT_MS);
    while (pg_node_look(standby).replay_lsn < end) {
        assert_false(deadline_over(on->lab->clock, deadline));
        (void)usleep(10000);
    }
}

// On a standby as on a primary: each step may be taken again, and one that has been overtaken by
// what happened since does nothing.
static void walk_through(PgNode *on, PgNode *primary, PgNode *standby)
{
    must(on, SLOT_CREATE, "x", 0);
    const SlotView first = find(on, "x");
    assert_true(first.physical && !first.active && first.restart_lsn != LSN_NONE);
    must(on, SLOT_CREATE, "x", 0);

    write_wal(primary, standby);
    const ServerView v = pg_node_look(on);
    const Lsn end = v.in_recovery ? v.replay_lsn : v.flush_lsn;
    assert_true(end > first.restart_lsn);
    must(on, SLOT_ADVANCE, "x", end);
    assert_true(find(on, "x").restart_lsn == end);
    must(on, SLOT_ADVANCE, "x", first.restart_lsn); // never back, and no error
    assert_true(find(on, "x").restart_lsn == end);
    must(on, SLOT_ADVANCE, "x", end + (64 << 20)); // PostgreSQL itself stops at what it has
    assert_true(find(on, "x").restart_lsn <= pg_node_look(on).flush_lsn + (1 << 20) ||
                v.in_recovery);
    assert_true(find(on, "x").restart_lsn < end + (64 << 20));

    pg_node_exec(on, "CHECKPOINT");
    must(on, SLOT_RENEW, "x", 0);
    assert_true(find(on, "x").restart_lsn != LSN_NONE);
    must(on, SLOT_DROP, "x", 0);
    assert_null(find(on, "x").name);
    must(on, SLOT_DROP, "x", 0);
    must(on, SLOT_ADVANCE, "x", end);
    must(on, SLOT_RENEW, "x", 0); // somebody has dropped it meanwhile
    assert_non_null(find(on, "x").name);
    must(on, SLOT_DROP, "x", 0);
}

static void test_steps(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    pg_node_become_standby(b, a);
    walk_through(a, a, b);
    walk_through(b, a, b);

    // One that is in use stays as it is.
    const SlotView used = find(a, "pg_1");
    assert_true(used.active);
    must(a, SLOT_DROP, "pg_1", 0);
    must(a, SLOT_RENEW, "pg_1", 0);
    must(a, SLOT_ADVANCE, "pg_1", used.restart_lsn + (16 << 20));
    assert_true(find(a, "pg_1").active);
    assert_true(find(a, "pg_1").restart_lsn < used.restart_lsn + (16 << 20));
    pg_lab_free(lab);
}

// A logical slot of that name is nobody's business; one step that fails keeps none of the others
// from being taken; without a connection there is an error and no more.
static void test_what_goes_wrong(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(1);
    PgNode *a = &lab->nodes[0];
    Error err;
    assert_false(take(a, SLOT_CREATE, "x", 0, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);

    Tree *controlled = tree_copy(lab->arena, a->settings.postgresql.controlled);
    tree_set(lab->arena, controlled, "wal_level", tree_string(lab->arena, "logical"));
    a->settings.postgresql.controlled = controlled;
    a->server->ops->configure(a->server, &a->settings);
    pg_node_become_primary(a);
    (void)pg_node_look(a);
    const SlotStep steps[] = {{.action = SLOT_CREATE, .name = "No Name"},
                              {.action = SLOT_CREATE, .name = "O'Hara"},
                              {.action = SLOT_CREATE, .name = "good"}};
    err = (Error){0};
    assert_false(a->server->ops->sync_slots(a->server, steps, COUNT_OF(steps),
                                            deadline_in(lab->clock, 2000), &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "No Name"));
    assert_non_null(find(a, "good").name);

    pg_node_exec(a, "SELECT pg_create_logical_replication_slot('events', 'pgoutput')");
    const Lsn end = pg_node_look(a).flush_lsn;
    must(a, SLOT_DROP, "events", 0);
    must(a, SLOT_RENEW, "events", 0);
    must(a, SLOT_ADVANCE, "events", end);
    assert_non_null(find(a, "events").name);
    assert_false(find(a, "events").physical);
    pg_lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {PG_TEST(test_steps), PG_TEST(test_what_goes_wrong)};
    return pg_lab_main(tests, COUNT_OF(tests));
}
