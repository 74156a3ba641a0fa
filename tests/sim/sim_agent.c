// A member's machine and the agent on it: a coroutine around the real agent_turn.
#include "tests/sim/world.h"

#include "common/os/log.h"

#include <stdio.h>
#include <string.h>

// --- waiting

static void proc_resume(AgentProc *proc);

static void wait_over(Sim *sim, void *context, uint64_t serial)
{
    AgentProc *proc = context;
    (void)sim;
    if (!proc->finished && proc->waiting == serial)
        proc_resume(proc);
}

void proc_wait_until(AgentProc *proc, int64_t at)
{
    Sim *sim = proc->sim;
    if (proc->zombie)
        return;
    ASSERT(sim->current == proc);
    proc->waiting = ++sim->serials;
    sim_at(sim, at, &proc->actor, wait_over, proc, proc->waiting);
    fiber_pause();
    proc->waiting = 0;
}

void proc_wait(AgentProc *proc, int64_t delay)
{
    proc_wait_until(proc, proc->sim->now + delay);
}

void proc_wake(AgentProc *proc)
{
    if (proc->waiting)
        sim_in(proc->sim, 0, &proc->actor, wait_over, proc, proc->waiting);
}

void agent_notify(AgentProc *proc)
{
    if (proc->zombie || proc->finished)
        return;
    proc->notified = true;
    if (proc->idle)
        proc_wake(proc);
}

int64_t proc_deadline(const AgentProc *proc, Deadline deadline)
{
    return host_to_true(proc->member, deadline.at);
}

static void thaw_later(Sim *sim, void *context, uint64_t argument)
{
    AgentProc *proc = context;
    (void)argument;
    if (proc->finished || proc->zombie || !proc->actor.frozen)
        return;
    trace(sim, "fault  %s: agent thawed", proc->member->name);
    actor_thaw(sim, &proc->actor);
}

static void back_later(Sim *sim, void *context, uint64_t argument)
{
    (void)argument;
    sim_start(sim, ((Member *)context)->index);
}

static void freeze_here(AgentProc *proc, const char *what)
{
    Sim *sim = proc->sim;
    const int64_t ms = roll(sim, 1, 2 * 1000 * (sim->options.ttl_s + 2));
    trace(sim, "fault  %s: agent frozen for %lld ms at %s", proc->member->name, (long long)ms,
          what);
    actor_freeze(&proc->actor);
    sim_in(sim, MS(ms), NULL, thaw_later, proc, 0);
    proc_wait(proc, 0);
}

static void freeze_until_healed(AgentProc *proc, const char *what)
{
    trace(proc->sim, "fault  %s: agent frozen at %s", proc->member->name, what);
    actor_freeze(&proc->actor);
    proc_wait(proc, 0);
}

// The random faults that scenarios cannot place: between any two effects of an agent.
static void fault_here(AgentProc *proc, const char *what, const char *why)
{
    Sim *sim = proc->sim;
    Member *m = proc->member;
    switch (roll(sim, 0, 5)) {
    case 0:
    case 1:
        freeze_here(proc, what);
        break;
    case 2:
        warden_die(m);
        break;
    case 3:
        trace(sim, "fault  %s: power off at %s", m->name, what);
        sim_power_off(sim, m->index);
        sim_in(sim, MS(roll(sim, 10, 1500 * sim->options.ttl_s)), NULL, back_later, m, 0);
        break;
    default:
        agent_die(m, why);
        break;
    }
}

bool proc_boundary(AgentProc *proc, const char *what)
{
    Sim *sim = proc->sim;
    if (proc->zombie)
        return false;
    char why[60];
    (void)snprintf(why, sizeof why, "killed at %s", what);
    if (proc->kill_at_call > 0 && --proc->kill_at_call == 0)
        agent_die(proc->member, why);
    else if (proc->freeze_at_call > 0 && --proc->freeze_at_call == 0)
        freeze_until_healed(proc, what);
    else if (sim->faulty && roll(sim, 0, 1499) == 0)
        fault_here(proc, what, why);
    return !proc->zombie;
}

// --- requests over REST

typedef struct {
    ApiRequest api;
    Sim *sim;
} SimRequest;

static void complete(ApiRequest *request, int status, const char *content_type, const char *body)
{
    SimRequest *r = (SimRequest *)(void *)request;
    (void)content_type;
    r->sim->answer_status = status;
    (void)copy_text(r->sim->answer, sizeof r->sim->answer, body ? body : "");
    trace(r->sim, "rest   answered %d %.150s", status, r->sim->answer);
    arena_free(request->arena);
    free(r);
}

void sim_request(Sim *sim, int member, int api_kind, const char *body)
{
    Member *m = &sim->members[member];
    sim->answer_status = 0;
    sim->answer[0] = '\0';
    trace(sim, "rest   %s: request %d %s", m->name, api_kind, body);
    if (!m->agent || !m->agent->agent) {
        sim->answer_status = 503;
        return;
    }
    SimRequest *r = calloc(1, sizeof *r);
    ASSERT(r);
    Error err = {0};
    r->sim = sim;
    r->api.kind = (ApiKind)api_kind;
    r->api.arena = arena_new(ARENA_CAP_DEFAULT);
    r->api.deadline = deadline_at(instant_plus_ms(host_now(m), 60000));
    const bool parsed = tree_parse_json(r->api.arena, body, &r->api.body, &err);
    ASSERT(parsed);
    m->reinit_asked = m->reinit_asked || api_kind == API_REINITIALIZE;
    agent_submit(m->agent->agent, &r->api);
    agent_notify(m->agent);
}

int sim_answer_status(Sim *sim)
{
    return sim->answer_status;
}

const char *sim_answer(Sim *sim)
{
    return sim->answer;
}

// --- the program

static Instant clock_boot(Clock *clock)
{
    return host_now(((SimClock *)(void *)clock)->member);
}

static int64_t clock_wall(Clock *clock)
{
    return host_wall_us(((SimClock *)(void *)clock)->member);
}

static void believe(AgentProc *proc)
{
    Snapshot *s = agent_snapshot(proc->agent);
    proc->lease_until =
        s && instant_is_set(s->leader_until) ? host_to_true(proc->member, s->leader_until) : 0;
    snapshot_unref(s);
}

static bool begin(AgentProc *proc)
{
    static const ClockOps clock_ops = {.now = clock_boot, .wall_us = clock_wall};
    Member *m = proc->member;
    Error err = {0};
    char instance[64];
    (void)snprintf(instance, sizeof instance, "boot-%d-%llu:/sim/%s/data", m->index,
                   (unsigned long long)m->boots, m->name);
    proc->clock = (SimClock){.base = {.ops = &clock_ops}, .member = m};
    const World world = {.clock = &proc->clock.base,
                         .rng = &proc->rng,
                         .dcs = &proc->dcs.base,
                         .processes = &proc->processes.base,
                         .server = &proc->server.base,
                         .peers = &proc->peers.base,
                         .complete = complete};
    const AgentOptions options = {.local = m->local, .instance = instance};
    if (agent_new(&world, &options, &proc->agent, &err))
        return true;
    proc->agent = NULL;
    sim_fail(proc->sim, "%s: agent_new: %s", m->name, err.text);
    return false;
}

static void run(void *argument)
{
    AgentProc *proc = argument;
    Sim *sim = proc->sim;
    if (proc->zombie || !begin(proc))
        return;
    while (!proc->zombie) {
        if (proc->want_shutdown)
            agent_shutdown(proc->agent);
        if (proc->want_leave)
            agent_leave(proc->agent);
        proc->notified = false;
        proc->order_ttl_ms = agent_settings(proc->agent)->ttl_ms;
        const Instant next = agent_turn(proc->agent);
        if (proc->zombie)
            break;
        believe(proc);
        if (agent_ended(proc->agent, &proc->member->exit_code))
            break;
        proc_wait(proc, roll(sim, 50 * 1000, 800 * 1000)); // the turn's own work
        if (proc->notified || proc->zombie)
            continue;
        proc->idle = true;
        proc_wait_until(proc, host_to_true(proc->member, next));
        proc->idle = false;
    }
    Agent *agent = proc->agent;
    proc->agent = NULL;
    agent_free(agent);
}

static void respawn(Sim *sim, void *context, uint64_t argument)
{
    Member *m = context;
    (void)argument;
    if (sim->respawn && m->powered && !m->agent && !m->stay_down)
        agent_spawn(m);
}

static void proc_resume(AgentProc *proc)
{
    Sim *sim = proc->sim;
    Member *m = proc->member;
    sim->current = proc;
    fiber_resume(proc->fiber);
    sim->current = NULL;
    if (!fiber_ended(proc->fiber))
        return;
    proc->finished = true;
    proc->lease_until = 0;
    actor_forget(&proc->actor);
    fiber_free(proc->fiber);
    proc->fiber = NULL;
    dcs_done(proc);
    mails_forget(proc);
    if (m->agent != proc)
        return; // it was killed
    trace(sim, "agent  %s: ended, exit code %d", m->name, m->exit_code);
    m->agent = NULL;
    // Or its warden has ended on purpose a moment ago, and the machine's part in this with it.
    m->stay_down = m->stay_down || (m->exit_code == 0 && proc->want_shutdown && !sim->healing);
    warden_detach(proc);
    sim_in(sim, roll(sim, MS(100), MS(1500)), &m->actor, respawn, m, 0);
}

static void first_run(Sim *sim, void *context, uint64_t argument)
{
    AgentProc *proc = context;
    (void)sim, (void)argument;
    if (!proc->finished)
        proc_resume(proc);
}

void agent_spawn(Member *m)
{
    Sim *sim = m->sim;
    ASSERT(!m->agent && m->powered);
    AgentProc *proc = calloc(1, sizeof *proc);
    ASSERT(proc);
    proc->actor.parent = &m->actor;
    proc->sim = sim;
    proc->member = m;
    proc->number = ++sim->agents;
    proc->next = sim->procs;
    proc->rng = rng_seeded(rng_next(&sim->rng));
    sim->procs = proc;
    m->agent = proc;
    m->stay_down = false;
    trace(sim, "agent  %s: starts", m->name);
    processes_init(proc);
    server_init(proc);
    peers_init(proc);
    dcs_init(proc);
    proc->fiber = fiber_new(run, proc);
    warden_attach(proc);
    proc->waiting = ++sim->serials;
    sim_in(sim, roll(sim, MS(1), MS(10)), &proc->actor, first_run, proc, 0);
}

// From its next step on it is in a world of its own, in which nothing answers; there it comes to
// the end of its turn, and is freed as any other.
static void reap(Sim *sim, void *context, uint64_t argument)
{
    AgentProc *proc = context;
    (void)sim, (void)argument;
    if (!proc->finished && proc->fiber)
        proc_resume(proc);
}

void agent_die(Member *m, const char *why)
{
    AgentProc *proc = m->agent;
    if (!proc)
        return;
    trace(m->sim, "agent  %s: %s", m->name, why);
    m->agent = NULL;
    proc->zombie = true;
    proc->lease_until = 0;
    proc->waiting = proc->call = 0;
    warden_detach(proc);
    actor_forget(&proc->actor);
    sim_in(m->sim, 0, NULL, reap, proc, 0);
    sim_in(m->sim, roll(m->sim, MS(50), MS(3000)), &m->actor, respawn, m, 0);
}

void agents_done(Sim *sim)
{
    for (int i = 0; i < sim->member_count; i++)
        agent_die(&sim->members[i], "the simulation ends");
    while (sim->procs) {
        AgentProc *proc = sim->procs;
        sim->procs = proc->next;
        if (!proc->finished && proc->fiber)
            proc_resume(proc);
        ASSERT(proc->finished);
        actor_forget(&proc->actor);
        free(proc);
    }
}

// --- the machine

static const char *local_document(const Sim *sim, const Member *m, Arena *arena)
{
    const SimOptions *o = &sim->options;
    const char *more = o->dynamic ? arena_strdup(arena, o->dynamic) : "{}";
    // {"ttl": …} with what else was asked for behind it.
    const char *rest = strcmp(more, "{}") == 0 ? "}" : arena_printf(arena, ",%s", more + 1);
    return arena_printf(
        arena,
        "{\"scope\":\"sim\",\"name\":\"%s\",\"restapi\":{\"listen\":\"%s:8008\","
        "\"connect_address\":\"%s:8008\"},\"etcd3\":{\"hosts\":\"10.0.0.99:2379\"},"
        "\"bootstrap\":{\"dcs\":{\"ttl\":%d,\"loop_wait\":%d,\"retry_timeout\":%d%s},"
        "\"postgresql\":{\"listen\":\"%s:5432\",\"connect_address\":\"%s:5432\","
        "\"data_dir\":\"/sim/%s/data\",\"pgpass\":\"/sim/%s/pgpass\",\"use_pg_rewind\":%s,"
        "\"remove_data_directory_on_diverged_timelines\":%s,"
        "\"authentication\":{\"superuser\":{\"username\":\"postgres\",\"password\":\"p\"},"
        "\"replication\":{\"username\":\"replicator\",\"password\":\"p\"}}},"
        "\"howdah\":{\"state_dir\":\"/sim/%s/state\",\"run_dir\":\"/sim/%s/run\"},\"tags\":%s}",
        m->name, m->host, m->host, o->ttl_s, o->loop_wait_s, o->retry_timeout_s, rest, m->host,
        m->host, m->name, m->name, o->no_rewind ? "false" : "true",
        o->remove_diverged ? "true" : "false", m->name, m->name,
        o->tags[m->index] ? o->tags[m->index] : "{}");
}

void member_init(Sim *sim, int index)
{
    Member *m = &sim->members[index];
    Error err = {0};
    m->sim = sim;
    m->index = index;
    m->exit_code = -1;
    const bool twin = sim->options.twins && index == sim->member_count - 1;
    (void)snprintf(m->name, sizeof m->name, "%c", 'a' + index - (twin ? 1 : 0));
    (void)snprintf(m->host, sizeof m->host, "10.0.0.%d", index + 1);
    m->rate_ppm = roll(sim, -100, 100);
    m->wall_offset = roll(sim, -MS(40), MS(40));
    m->local_arena = arena_new(ARENA_CAP_DEFAULT);
    const bool parsed =
        tree_parse_json(m->local_arena, local_document(sim, m, m->local_arena), &m->local, &err);
    ASSERT(parsed);
}

void member_done(Member *m)
{
    arena_free(m->local_arena);
    actor_forget(&m->pg.actor);
    actor_forget(&m->actor);
}

void member_power_on(Member *m)
{
    Sim *sim = m->sim;
    m->powered = true;
    m->boots++;
    m->boot_offset = roll(sim, MS(10000), MS(1000000)) - sim->now;
    trace(sim, "host   %s: boots", m->name);
    warden_start(m);
    agent_spawn(m);
}
