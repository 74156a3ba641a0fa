// What is announced: the cluster in short by table, and which decisions become Events.
#include "tests/support/test.h"

#include "agent/announce.h"
#include "agent/state.h"
#include "common/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Settings settings;
static MemberView members[3];
static ClusterView cluster;
static ServerView server;
static WalSenderView senders[3];
static Facts facts;
static Arena *arena;

// We are a, lead in term 7, and b and c stream.
static void healthy(void)
{
    settings = (Settings){.name = "a"};
    const char *names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++)
        members[i] = (MemberView){.name = names[i], .version = "4.1", .howdah = "0.1.0"};
    senders[0] = (WalSenderView){.application_name = "c", .state = "streaming"};
    senders[1] = (WalSenderView){.application_name = "b", .state = "streaming"};
    senders[2] = (WalSenderView){.application_name = "pg_basebackup", .state = "streaming"};
    cluster = (ClusterView){.members = members, .member_count = 3};
    server = (ServerView){
        .running = true, .answered = true, .timeline = 4, .senders = senders, .sender_count = 3};
    facts = (Facts){.settings = &settings,
                    .cluster = &cluster,
                    .server = &server,
                    .store_known = true,
                    .lease = {.held = true, .term = 7},
                    .memory = {.primary_term = 7}};
}
static void not_leading(void)
{
    healthy();
    facts.lease.held = false;
    cluster.leader.name = "b";
}
static void patroni_leads(void)
{
    not_leading();
    members[1].howdah = NULL;
}
static void patroni_leads_not_first(void)
{
    patroni_leads();
    settings.name = "c";
}
static void silent_member_leads(void)
{
    patroni_leads();
    members[1].version = NULL;
}
static void store_not_known(void)
{
    patroni_leads();
    facts.store_known = false;
}
static void one_catches_up(void)
{
    healthy();
    senders[0].state = "catchup";
}
static void one_is_away(void)
{
    healthy();
    server.sender_count = 1;
}
static void one_streams_from_another(void)
{
    one_is_away();
    members[1].tags.replicatefrom = "c";
}
// Scheduled nowhere yet, say; its StatefulSet wants it.
static void one_has_never_run(void)
{
    one_is_away();
    members[1] = (MemberView){.name = "b", .revision = "demo-7f8"};
}
// Somebody's, under our labels.
static void a_foreign_pod(void)
{
    one_is_away();
    members[1] = (MemberView){.name = "toolbox"};
}
static void paused(void)
{
    one_is_away();
    settings.pause = true;
}
static void crashed(void)
{
    healthy();
    server.running = server.answered = false;
}
static void promoting(void)
{
    healthy();
    server.in_recovery = true;
    facts.memory.primary_term = 6;
}
static void handing_over(void)
{
    healthy();
    facts.memory.handover = HANDOVER_SWITCHOVER;
}
static void being_made(void)
{
    healthy();
    facts.memory.bootstrapping = true;
}

static const struct {
    const char *given;
    void (*facts)(void);
    SignState state; // SIGN_STATE_COUNT: not ours to say
    bool led;
    size_t replicas;
} rows[] = {
    {"healthy", healthy, SIGN_HEALTHY, true, 2},
    {"not leading", not_leading, SIGN_STATE_COUNT, false, 0},
    {"a Patroni member leads", patroni_leads, SIGN_NOT_KNOWN, true, 0},
    {"… and another one says it", patroni_leads_not_first, SIGN_STATE_COUNT, false, 0},
    {"one leads that has not written a record", silent_member_leads, SIGN_STATE_COUNT, false, 0},
    {"the store is not known", store_not_known, SIGN_STATE_COUNT, false, 0},
    {"one catches up", one_catches_up, SIGN_DEGRADED, true, 1},
    {"one is away", one_is_away, SIGN_DEGRADED, true, 1},
    {"one streams from another", one_streams_from_another, SIGN_HEALTHY, true, 1},
    {"one has never run", one_has_never_run, SIGN_DEGRADED, true, 1},
    {"a foreign pod", a_foreign_pod, SIGN_HEALTHY, true, 1},
    {"paused", paused, SIGN_PAUSED, true, 1},
    {"crashed", crashed, SIGN_DEGRADED, true, 0},
    {"promoting", promoting, SIGN_FAILING_OVER, true, 0},
    {"handing over", handing_over, SIGN_FAILING_OVER, true, 2},
    {"being made", being_made, SIGN_NO_LEADER, false, 0},
};

static void test_signs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rows[i].facts();
        ClusterSigns signs = {.state = SIGN_STATE_COUNT};
        const bool ours = signs_of(&facts, &signs);
        if (ours != (rows[i].state != SIGN_STATE_COUNT) || signs.state != rows[i].state ||
            (signs.leader != NULL) != rows[i].led || signs.replicas != rows[i].replicas)
            fail_msg("%s: %s, state %d, leader %s, %zu replicas", rows[i].given,
                     ours ? "ours" : "not ours", (int)signs.state, str_or(signs.leader, "-"),
                     signs.replicas);
    }
    healthy();
    ClusterSigns signs;
    assert_true(signs_of(&facts, &signs));
    assert_int_equal(signs.timeline, 4);
}

static SignSync sync_now(void)
{
    ClusterSigns signs;
    assert_true(signs_of(&facts, &signs));
    return signs.sync;
}

// Asked for is not in force: that is what /sync says.
static void test_sync(void **state)
{
    (void)state;
    healthy();
    Tree *dynamic = tree_map(arena);
    tree_set(arena, dynamic, "synchronous_mode", tree_bool(arena, true));
    settings.dynamic = dynamic;
    settings.sync_mode = true;
    assert_int_equal(sync_now(), SIGN_SYNC_OFF);
    cluster.sync.leader = "a";
    assert_int_equal(sync_now(), SIGN_SYNC_ON);
    tree_set(arena, dynamic, "synchronous_mode_strict", tree_bool(arena, true));
    assert_int_equal(sync_now(), SIGN_SYNC_STRICT);
    tree_set(arena, dynamic, "synchronous_mode", tree_string(arena, "quorum"));
    assert_int_equal(sync_now(), SIGN_SYNC_QUORUM);
    settings.sync_mode = false;
    assert_int_equal(sync_now(), SIGN_SYNC_OFF);
}

// An Event's reason is a word in CamelCase; what goes on all the time is none.
static void test_events(void **state)
{
    (void)state;
    size_t count = 0;
    for (Reason r = 0; r < REASON_COUNT; r++) {
        const AnnouncedReason event = announced_reason(r);
        if (event.name == NULL)
            continue;
        count++;
        assert_true(event.name[0] >= 'A' && event.name[0] <= 'Z');
        for (const char *c = event.name; *c != '\0'; c++)
            assert_true((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z'));
    }
    assert_true(count > 10);
    static const Reason silent[] = {REASON_NONE, REASON_REPLICA_HEALTHY, REASON_RACE_ASK_PEERS,
                                    REASON_RACE_BEHIND, REASON_TASK_RUNNING};
    for (size_t i = 0; i < COUNT_OF(silent); i++)
        assert_null(announced_reason(silent[i]).name);
    assert_true(announced_reason(REASON_LEADER_HEALTHY).promotion); // not in every turn
    assert_string_equal(announced_reason(REASON_RACE_LAG).name, "FailoverRefused");
    assert_true(announced_reason(REASON_RACE_LAG).warning);
}

// --- what one member says of one failover

static char said[200];

static void hear(Announcer *announcer, const Announcement *event)
{
    (void)announcer;
    const size_t length = strlen(said);
    (void)snprintf(said + length, sizeof said - length, "%s ", event->reason);
}

static void decides(Agent *agent, Reason reason, TaskKind task)
{
    const Decision d = {.reason = reason, .task = task, .memory = agent->memory};
    ledger_add(agent, &d, "");
}

// It stops its server because its lease runs out, sees it gone, and then the lease: one story. The
// next one begins when it serves again.
static void test_demoted_once(void **state)
{
    static const AnnouncerOps ops = {.event = hear};
    Announcer announcer = {.ops = &ops};
    Agent *agent = calloc(1, sizeof *agent);
    (void)state;
    agent->world = (World){.clock = clock_system(), .announcer = &announcer};
    agent->turn_arena = arena;
    agent->lease.held = true;
    agent->lease.term = agent->memory.promoted_term = 7;
    said[0] = '\0';
    decides(agent, REASON_LEADER_HEALTHY, TASK_NONE);
    decides(agent, REASON_LEASE_RUNNING_OUT, TASK_STOP);
    decides(agent, REASON_LEASE_RUNNING_OUT, TASK_NONE);
    decides(agent, REASON_LEASE_LOST, TASK_NONE);
    assert_string_equal(said, "Promoted Demoted ");
    decides(agent, REASON_LEADER_CRASHED, TASK_START_PRIMARY);
    decides(agent, REASON_LEADER_HEALTHY, TASK_NONE);
    decides(agent, REASON_SWITCHOVER_RELEASE, TASK_NONE);
    agent->lease.term = 9;
    decides(agent, REASON_LEASE_LOST, TASK_NONE);
    assert_string_equal(said, "Promoted Demoted Crashed Demoted Demoted ");
    free(agent);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signs),
        cmocka_unit_test(test_sync),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_demoted_once),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
