// What another member's status document says in a race; anything that cannot be read is no answer.
#include "tests/support/test.h"

#include "agent/peers.h"
#include "common/base/text.h"

static const struct {
    const char *given, *body;
    bool readable, in_recovery, running;
    uint32_t timeline;
    Lsn lsn;
    bool nofailover;
    int priority;
    size_t parents;
} rows[] = {
    {"a standby",
     "{\"state\":\"running\",\"role\":\"replica\",\"timeline\":3,\"xlog\":"
     "{\"received_location\":50,\"replayed_location\":60}}",
     true, true, true, 3, 60, false, 1, 0},
    {"received counts when it is more",
     "{\"state\":\"running\",\"role\":\"replica\",\"timeline\":3,\"xlog\":"
     "{\"received_location\":70,\"replayed_location\":60}}",
     true, true, true, 3, 70, false, 1, 0},
    {"a primary", "{\"state\":\"running\",\"role\":\"primary\",\"xlog\":{\"location\":99}}", true,
     false, true, 0, 99, false, 1, 0},
    {"an old primary's word",
     "{\"state\":\"running\",\"role\":\"master\",\"xlog\":{\"location\":0}}", true, false, true, 0,
     0, false, 1, 0},
    {"tags",
     "{\"state\":\"running\",\"role\":\"replica\",\"xlog\":{},\"tags\":{\"failover_priority\":5}}",
     true, true, true, 0, 0, false, 5, 0},
    {"priority 0 is nofailover",
     "{\"state\":\"running\",\"role\":\"replica\",\"xlog\":{},\"tags\":{\"failover_priority\":0}}",
     true, true, true, 0, 0, true, 0, 0},
    {"ours, with ancestry",
     "{\"state\":\"running\",\"role\":\"replica\",\"timeline\":3,\"xlog\":{},\"howdah\":"
     "{\"timeline_history\":[[1,\"0/10\"],[2,\"0/20\"]]}}",
     true, true, true, 3, 0, false, 1, 2},
    {"ancestry that is garbage is not known",
     "{\"state\":\"running\",\"role\":\"replica\",\"timeline\":3,\"xlog\":{},\"howdah\":"
     "{\"timeline_history\":[[1]]}}",
     true, true, true, 3, 0, false, 1, 0},
    {"starting: no positions", "{\"state\":\"starting\",\"role\":\"replica\"}", false, false, false,
     0, 0, false, 0, 0},
    {"not running", "{\"state\":\"stopped\",\"role\":\"replica\",\"xlog\":{}}", true, true, false,
     0, 0, false, 1, 0},
    {"no JSON", "<html>", false, false, false, 0, 0, false, 0, 0},
    {"empty", "", false, false, false, 0, 0, false, 0, 0},
    {"a list", "[1]", false, false, false, 0, 0, false, 0, 0},
    {"xlog of another kind", "{\"xlog\":7}", false, false, false, 0, 0, false, 0, 0},
    {"a negative timeline", "{\"state\":\"running\",\"timeline\":-1,\"xlog\":{}}", true, true, true,
     0, 0, false, 1, 0},
};

static void test_peer_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Arena *arena = arena_new(ARENA_CAP_DEFAULT);
        PeerAnswer p = {.name = "x", .failover_priority = 1};
        Error err = {0};
        const bool ok = peer_parse(arena, rows[i].body, &p, &err);
        if (ok != rows[i].readable)
            fail_msg("%s: %s", rows[i].given, err.text);
        if (ok && (p.in_recovery != rows[i].in_recovery || p.running != rows[i].running ||
                   p.position.timeline != rows[i].timeline || p.position.lsn != rows[i].lsn ||
                   p.nofailover != rows[i].nofailover || p.failover_priority != rows[i].priority ||
                   p.history.parent_count != rows[i].parents))
            fail_msg("%s: read otherwise", rows[i].given);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_peer_parse)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
