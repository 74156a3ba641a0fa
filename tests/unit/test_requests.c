// What the agent makes of requests that the API has checked: a table of request, situation and
// answer, and what carries over to the next turns. The clock says 2026-01-01T00:00:00Z.
#include "tests/support/test.h"

#include "agent/state.h"
#include "common/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOON_US (INT64_C(1767225600) * 1000000)

typedef struct {
    Clock clock;
    Dcs dcs;
    int64_t now_ms;
    ErrorKind store; // how it answers
    char written[200];
    int status; // of the last answer; 0: none yet
    char answer[200];
    Agent agent;
    SettingsBox box;
    MemberView members[2];
    Arena *arena;
} Desk;

static Desk *desk; // of the running test

static Instant desk_now(Clock *clock)
{
    (void)clock;
    return (Instant){(1000000 + desk->now_ms) * NS_PER_MS};
}

static int64_t desk_wall(Clock *clock)
{
    (void)clock;
    return NOON_US + desk->now_ms * 1000;
}

static bool desk_write(Dcs *dcs, DcsKey key, const char *value, int64_t expected, Deadline deadline,
                       int64_t *out_revision, Error *err)
{
    (void)dcs;
    (void)deadline;
    if (desk->store != ERR_NONE)
        return error_set(err, desk->store, "it would not");
    (void)snprintf(desk->written, sizeof desk->written, "%d@%lld %s", (int)key, (long long)expected,
                   value);
    if (out_revision)
        *out_revision = 101;
    return true;
}

static void desk_complete(ApiRequest *r, int status, const char *type, const char *body)
{
    (void)type;
    desk->status = status;
    (void)snprintf(desk->answer, sizeof desk->answer, "%s", body);
    arena_free(r->arena);
    free(r);
}

static int set_up(void **state)
{
    static const ClockOps clock_ops = {.now = desk_now, .wall_us = desk_wall};
    static const DcsOps dcs_ops = {.write = desk_write};
    (void)state;
    desk = calloc(1, sizeof *desk);
    assert_non_null(desk);
    desk->clock.ops = &clock_ops;
    desk->dcs.ops = &dcs_ops;
    desk->arena = arena_new(ARENA_CAP_DEFAULT);
    desk->box.settings = (Settings){
        .name = "a", .ttl_ms = 30000, .loop_wait_ms = 10000, .primary_start_timeout_ms = 300000};
    desk->members[0] = (MemberView){.name = "a", .api_url = "http://a"};
    desk->members[1] = (MemberView){.name = "b", .api_url = "http://b", .role = ROLE_PRIMARY};
    Agent *agent = &desk->agent;
    agent->world = (World){.clock = &desk->clock, .dcs = &desk->dcs, .complete = desk_complete};
    agent->box = &desk->box;
    agent->turn_arena = arena_new(ARENA_CAP_DEFAULT);
    agent->scheduled_arena = arena_new(ARENA_CAP_DEFAULT);
    agent->view_known = agent->store_ok = true;
    agent->view = (ClusterView){.revision = 100,
                                .members = desk->members,
                                .member_count = 2,
                                .leader = {.name = "b", .mod_revision = 50},
                                .failover = {.mod_revision = 7}};
    agent->server = (ServerView){.running = true,
                                 .answered = true,
                                 .role = ROLE_REPLICA,
                                 .server_version = 150004,
                                 .postmaster_start_us = 5,
                                 .postmaster_start_text = "2025-12-31 10:00:00+00"};
    assert_int_equal(pthread_mutex_init(&agent->lock, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    requests_done(&desk->agent);
    (void)pthread_mutex_destroy(&desk->agent.lock);
    arena_free(desk->agent.scheduled_arena);
    arena_free(desk->agent.turn_arena);
    arena_free(desk->arena);
    free(desk);
    return 0;
}

static void ask(ApiKind kind, const char *body)
{
    Error err = {0};
    ApiRequest *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->kind = kind;
    r->arena = arena_new(ARENA_CAP_DEFAULT);
    r->deadline = deadline_in(&desk->clock, 20000);
    if (!tree_parse_json(r->arena, body, &r->body, &err))
        fail_msg("%s: %s", body, err.text);
    desk->status = 0;
    desk->written[0] = '\0';
    agent_submit(&desk->agent, r);
    requests_take(&desk->agent);
}

static void expect(int status, const char *answer)
{
    if (desk->status != status || strcmp(desk->answer, answer) != 0)
        fail_msg("%d %s, not %d %s", desk->status, desk->answer, status, answer);
}

// --- reinitialize

static void test_reinitialize(void **state)
{
    Agent *agent = &desk->agent;
    (void)state;
    ask(API_REINITIALIZE, "{\"force\":false,\"from_leader\":true}");
    expect(200, "reinitialize started");
    PeerFacts nobody = {0};
    RequestFacts facts = facts_of(agent, &nobody).request;
    assert_true(facts.reinit && facts.reinit_from_leader && !facts.reinit_force);
    requests_settle(agent); // a wish is one turn's; what is made of it is in Memory
    facts = facts_of(agent, &nobody).request;
    assert_false(facts.reinit || facts.reinit_from_leader || facts.reinit_force);

    agent->memory.reinit = true;
    ask(API_REINITIALIZE, "{\"force\":false,\"from_leader\":false}");
    expect(503, "reinitialize already in progress");
    agent->memory.reinit = false;
    agent->server.task = (TaskView){.kind = TASK_CLONE, .running = true};
    ask(API_REINITIALIZE, "{\"force\":false,\"from_leader\":false}");
    assert_int_equal(desk->status, 503);
    assert_true(str_ends(desk->answer, " already in progress"));
    ask(API_REINITIALIZE, "{\"force\":true,\"from_leader\":false}");
    expect(200, "reinitialize started");
    assert_true(agent->reinit_force && !agent->reinit_from_leader);
    agent->lease.held = true;
    ask(API_REINITIALIZE, "{}");
    expect(503, "I am the leader, can not reinitialize");
    agent->view.leader.name = NULL;
    ask(API_REINITIALIZE, "{}");
    expect(503, "Cluster has no leader, can not reinitialize");
}

// --- restart

static void test_restart_applies(void **state)
{
    static const struct {
        const char *body;
        bool applies;
    } rows[] = {
        {"{}", true},
        {"{\"role\":\"replica\"}", true},
        {"{\"role\":\"primary\"}", false},
        {"{\"postgres_version\":\"15.5\"}", true},
        {"{\"postgres_version\":\"15.4\"}", false},
        {"{\"postgres_version\":\"9.6.24\"}", false},
        {"{\"restart_pending\":true}", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ask(API_RESTART, rows[i].body);
        if (!rows[i].applies)
            expect(503, "restart conditions are not satisfied");
        else if (desk->status != 0 || !desk->agent.restart_wanted)
            fail_msg("%s: %d %s", rows[i].body, desk->status, desk->answer);
        requests_done(&desk->agent);
        desk->agent.restart_wanted = false;
    }
    desk->agent.server.pending_restart = true;
    ask(API_RESTART, "{\"restart_pending\":true}");
    assert_true(desk->agent.restart_wanted);
}

static void test_restart_runs_its_course(void **state)
{
    Agent *agent = &desk->agent;
    (void)state;
    ask(API_RESTART, "{\"timeout\":60}");
    requests_settle(agent);
    assert_int_equal(desk->status, 0);
    ask(API_RESTART, "{}");
    expect(503, "restart already in progress");
    desk->status = 0;
    agent->memory.restarting = true;
    requests_settle(agent);
    assert_false(agent->restart_wanted);
    agent->memory.restarting = false;
    agent->server.postmaster_start_us = 6;
    requests_settle(agent);
    expect(200, "restarted successfully");

    ask(API_RESTART, "{}"); // stopped in vain
    agent->memory.restarting = true;
    requests_settle(agent);
    agent->memory.restarting = false;
    requests_settle(agent);
    expect(503, "restart failed");

    ask(API_RESTART, "{\"timeout\":60}");
    desk->now_ms += 61000;
    requests_settle(agent);
    expect(503, "postgres is still starting");
    assert_false(agent->restart_wanted);
}

static void test_restart_is_scheduled(void **state)
{
    Agent *agent = &desk->agent;
    PeerFacts nobody = {0};
    (void)state;
    assert_false(instant_is_set(requests_due(agent)));
    ask(API_RESTART, "{\"schedule\":\"2026-01-01T00:01:00+00:00\",\"role\":\"replica\"}");
    expect(202, "Restart scheduled");
    ask(API_RESTART, "{\"schedule\":\"2026-01-01T00:02:00+00:00\"}");
    expect(409, "Another restart is already scheduled");
    assert_int_equal(instant_ms_between(desk_now(NULL), requests_due(agent)), 60001);
    assert_false(facts_of(agent, &nobody).request.restart);
    desk->now_ms = 60000;
    assert_true(facts_of(agent, &nobody).request.restart_scheduled);
    requests_settle(agent); // its turn has not come yet
    assert_non_null(agent->scheduled_restart);
    agent->memory.restarting = true;
    requests_settle(agent);
    assert_null(agent->scheduled_restart);
    agent->memory.restarting = false;

    ask(API_DELETE_RESTART, "{}");
    expect(404, "no restarts are scheduled");
    ask(API_RESTART, "{\"schedule\":\"2026-01-01T00:02:00+00:00\"}");
    ask(API_DELETE_RESTART, "{}");
    expect(200, "scheduled restart deleted");
    assert_null(agent->scheduled_restart);
}

// What is over in a moment holds nobody up; what takes longer is told by name.
static void test_what_runs_meanwhile(void **state)
{
    static const bool brief[TASK_COUNT] = {[TASK_INSPECT] = true,
                                           [TASK_FOLLOW] = true,
                                           [TASK_RELOAD] = true,
                                           [TASK_CHECK_DIVERGENCE] = true,
                                           [TASK_CHECKPOINT] = true};
    Agent *agent = &desk->agent;
    (void)state;
    for (TaskKind kind = TASK_NONE + 1; kind < TASK_COUNT; kind++) {
        agent->server.task = (TaskView){.kind = kind, .running = true};
        const char *refusal = arena_printf(desk->arena, "%s already in progress", task_name(kind));
        ask(API_REINITIALIZE, "{\"force\":false}");
        expect(brief[kind] ? 200 : 503, brief[kind] ? "reinitialize started" : refusal);
        desk->answer[0] = '\0';
        ask(API_RESTART, "{}");
        if (brief[kind])
            expect(0, "");
        else
            expect(503, refusal);
        assert_int_equal(agent->restart_wanted, brief[kind]);
        agent->restart_wanted = agent->reinit_wanted = false;
        requests_done(agent);
    }
}

// Not what was meant any more: another server runs, nobody came for one and a half loop_waits, or
// the conditions do not hold when it is due.
static void test_scheduled_restart_is_dropped(void **state)
{
    static const char *const body =
        "{\"schedule\":\"2026-01-01T00:01:00+00:00\",\"role\":\"replica\"}";
    Agent *agent = &desk->agent;
    (void)state;
    ask(API_RESTART, body);
    agent->server.postmaster_start_text = "2026-01-01 00:00:01+00";
    requests_settle(agent);
    assert_null(agent->scheduled_restart);

    ask(API_RESTART, body);
    agent->server.role = ROLE_PRIMARY;
    requests_settle(agent);
    assert_non_null(agent->scheduled_restart); // it may be a replica again by then
    desk->now_ms = 60000;
    requests_settle(agent);
    assert_null(agent->scheduled_restart);

    agent->server.role = ROLE_REPLICA;
    desk->now_ms = 0;
    ask(API_RESTART, body);
    desk->now_ms = 75000;
    requests_settle(agent);
    assert_non_null(agent->scheduled_restart);
    desk->now_ms = 75001;
    requests_settle(agent);
    assert_null(agent->scheduled_restart);
}

// --- switchover, failover

static void test_handover_is_refused(void **state)
{
    (void)state;
    ask(API_SWITCHOVER, "{\"leader\":\"a\"}");
    expect(412, "leader name does not match");
    ask(API_FAILOVER, "{\"candidate\":\"c\"}");
    expect(412, "candidate does not exists");
    desk->agent.view.members++; // the leader alone
    desk->agent.view.member_count = 1;
    ask(API_SWITCHOVER, "{\"leader\":\"b\"}");
    expect(412, "switchover is not possible: cluster does not have members except leader");
    desk->store = ERR_CONFLICT;
    ask(API_SWITCHOVER, "{\"leader\":\"b\",\"scheduled_at\":\"2026-01-01T00:01:00+00:00\"}");
    expect(503, "failed to write failover key into DCS");
}

static void test_switchover_is_scheduled(void **state)
{
    (void)state;
    ask(API_DELETE_SWITCHOVER, "{}");
    expect(404, "no switchover is scheduled");
    ask(API_SWITCHOVER, "{\"leader\":\"b\",\"candidate\":\"a\",\"scheduled_at\":"
                        "\"2026-01-01T00:01:00+00:00\"}");
    expect(202, "Switchover scheduled");
    assert_non_null(strstr(desk->written, "@7 {\"leader\":\"b\",\"member\":\"a\",\"scheduled_at\":"
                                          "\"2026-01-01T00:01:00+00:00\"}"));
    desk->agent.view.failover.scheduled_at = "2026-01-01T00:01:00+00:00";
    ask(API_DELETE_SWITCHOVER, "{}");
    expect(200, "scheduled switchover deleted");
    assert_non_null(strstr(desk->written, "@7 {}"));
    desk->store = ERR_CONFLICT;
    ask(API_DELETE_SWITCHOVER, "{}");
    expect(409, "failover key changed");
}

// --- configuration, and when nothing is known

static void test_configuration(void **state)
{
    Error err = {0};
    (void)state;
    ask(API_PATCH_CONFIG, "{\"ttl\":20}");
    expect(503, "the cluster has no configuration yet");
    ask(API_PUT_CONFIG, "{\"ttl\":20}");
    expect(200, "{\"ttl\": 20}");
    assert_true(str_ends(desk->written, "@-1 {\"ttl\":20}"));
    assert_true(tree_parse_json(desk->arena, "{\"ttl\":20}", &desk->agent.view.config, &err));
    desk->agent.view.config_revision = 9;
    ask(API_PATCH_CONFIG, "{\"ttl\":20}"); // nothing to write
    expect(200, "{\"ttl\": 20}");
    assert_string_equal(desk->written, "");
    ask(API_PATCH_CONFIG, "{\"ttl\":null,\"loop_wait\":5}");
    expect(200, "{\"loop_wait\": 5}");
    assert_true(str_ends(desk->written, "@9 {\"loop_wait\":5}"));
    desk->store = ERR_CONFLICT;
    ask(API_PATCH_CONFIG, "{\"ttl\":40}");
    expect(409, "it would not");
    desk->store = ERR_UNAVAILABLE;
    ask(API_PUT_CONFIG, "{\"ttl\":40}");
    expect(502, "it would not");
}

static void test_nothing_known(void **state)
{
    (void)state;
    ask(API_RELOAD, "{}");
    expect(202, "reload scheduled");
    ask(API_RESTART, "{}");
    assert_int_equal(desk->status, 0);
    requests_done(&desk->agent);
    expect(503, "the agent is stopping");
    desk->agent.view_known = false;
    ask(API_REINITIALIZE, "{}");
    expect(503, "the store cannot be read");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_reinitialize),
        TEST(test_restart_applies),
        TEST(test_restart_runs_its_course),
        TEST(test_what_runs_meanwhile),
        TEST(test_restart_is_scheduled),
        TEST(test_scheduled_restart_is_dropped),
        TEST(test_handover_is_refused),
        TEST(test_switchover_is_scheduled),
        TEST(test_configuration),
        TEST(test_nothing_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
