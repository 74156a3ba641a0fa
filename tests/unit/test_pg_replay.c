// A standby whose replay stops for want of settings that its primary has.
#include "tests/support/pg_lab.h"

#include <poll.h>

static bool is_paused(const ServerView *v)
{
    return v->answered && v->replay_paused;
}

static bool has_stopped(const ServerView *v)
{
    return pg_is_down(v) && v->exited_by_itself;
}

static Tree *controlled_copy(PgNode *node)
{
    Tree *copy = tree_copy(node->lab->arena, node->settings.postgresql.controlled);
    node->settings.postgresql.controlled = copy;
    return copy;
}

static void raise_connections(PgNode *primary, const char *to)
{
    tree_set(primary->lab->arena, controlled_copy(primary), "max_connections",
             tree_string(primary->lab->arena, to));
    primary->server->ops->configure(primary->server, &primary->settings);
    pg_node_must(primary, &(ServerTask){.kind = TASK_STOP});
    pg_node_must(primary, &(ServerTask){.kind = TASK_START_PRIMARY});
    (void)pg_node_wait(primary, "primary", pg_is_primary);
    assert_string_equal(pg_node_value(primary, "SHOW max_connections"), to);
}

// It pauses, is made to stop, and comes back with what the primary has.
static void test_primary_with_more_connections(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    pg_node_become_standby(b, a);
    raise_connections(a, "50");
    (void)pg_node_wait(b, "stopped by itself", has_stopped);
    pg_node_must(b, &(ServerTask){.kind = TASK_START_STANDBY, .upstream = pg_upstream(b, a)});
    (void)pg_node_wait(b, "streaming", pg_is_streaming);
    assert_string_equal(pg_node_value(b, "SHOW max_connections"), "50");
    pg_lab_free(lab);
}

// A pause that somebody asked for is theirs to end.
static void test_pause_of_a_person(void **state)
{
    (void)state;
    PgLab *lab = pg_lab_new(2);
    PgNode *a = &lab->nodes[0], *b = &lab->nodes[1];
    pg_node_become_primary(a);
    pg_node_become_standby(b, a);
    pg_node_exec(b, "SELECT pg_wal_replay_pause()");
    (void)pg_node_wait(b, "paused", is_paused);
    const Instant until = instant_plus_ms(clock_now(lab->clock), 1500); // five probes
    while (instant_before(clock_now(lab->clock), until)) {
        const ServerView v = pg_node_look(b);
        assert_true(v.running && v.replay_paused);
        (void)poll(NULL, 0, 50);
    }
    pg_node_exec(b, "SELECT pg_wal_replay_resume()");
    pg_lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PG_TEST(test_primary_with_more_connections),
        PG_TEST(test_pause_of_a_person),
    };
    return pg_lab_main(tests, COUNT_OF(tests));
}
