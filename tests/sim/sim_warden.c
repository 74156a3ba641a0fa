// The warden: PostgreSQL's parent and dead-man's switch. Runs by its machine's clocks, whatever
// becomes of the agent; the rules of the fence are the real ones (fence_rules.c).
#include "tests/sim/world.h"

#include <stdio.h>

#define ALONE     MS(2000)
#define HAND_OVER MS(20000)

static int64_t wall_ns(const Member *m)
{
    return host_wall_us(m) * 1000;
}

static void tell(Member *m)
{
    if (m->warden.client)
        agent_notify(m->warden.client);
}

// --- the fence

static void kill_time(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    (void)sim;
    if (m->warden.alive && m->warden.serial == serial && m->warden.fence.striking)
        pg_kill(m);
}

static void tick(Sim *sim, void *context, uint64_t serial);

static void schedule(Member *m)
{
    Warden *w = &m->warden;
    const int64_t next = fence_next_tick(&w->fence, host_now(m).ns);
    w->tick++;
    if (next != 0)
        sim_at(m->sim, host_to_true(m, (Instant){next}), &m->actor, tick, m, w->tick);
}

static void strike_ends(Member *m)
{
    Warden *w = &m->warden;
    w->fence.striking = false;
    w->fenced_total++;
    w->fenced_at = w->struck_at;
    tell(m);
}

static void fence_look(Member *m)
{
    Warden *w = &m->warden;
    const Strike strike = fence_tick(&w->fence, host_now(m).ns, wall_ns(m));
    if (strike == STRIKE_NONE)
        return;
    trace(m->sim, "warden %s: strikes (%s)", m->name, strike_name(strike));
    w->struck_at = host_now(m).ns;
    if (!pg_alive(m)) {
        strike_ends(m);
        return;
    }
    pg_quit(m);
    const Instant kill_at = {fence_kill_time(&w->fence, w->struck_at)};
    sim_at(m->sim, host_to_true(m, kill_at), &m->actor, kill_time, m, w->serial);
    tell(m);
}

static void tick(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    (void)sim;
    if (!m->warden.alive || serial != m->warden.tick)
        return;
    fence_look(m);
    schedule(m);
}

void warden_poke(Member *m)
{
    if (m->warden.alive && m->warden.fence.armed && !actor_frozen(&m->actor))
        schedule(m);
}

void warden_server_gone(Member *m)
{
    if (!m->warden.alive)
        return;
    if (m->warden.fence.striking)
        strike_ends(m);
    else
        tell(m);
}

// --- its life

static void start_again(Sim *sim, void *context, uint64_t argument)
{
    Member *m = context;
    (void)sim, (void)argument;
    if (m->powered && !m->warden.alive)
        warden_start(m);
}

static void inheritance_ends(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    (void)sim;
    if (m->warden.alive && m->warden.serial == serial && m->pg.orphan)
        pg_kill(m);
}

void warden_start(Member *m)
{
    Warden *w = &m->warden;
    Sim *sim = m->sim;
    *w = (Warden){.alive = true,
                  .serial = w->serial + 1,
                  .tick = w->tick + 1,
                  .started_at = sim->now,
                  .alone_since = sim->now};
    trace(sim, "warden %s: starts", m->name);
    // Its predecessor's death has told it to quit, and it does not come to it.
    if (pg_alive(m) && m->pg.orphan && actor_frozen(&m->pg.actor))
        sim_in(sim, INHERITED_GRACE, &m->actor, inheritance_ends, m, w->serial);
    if (m->agent)
        warden_attach(m->agent);
}

// Its parent-death signal goes to the postmaster: SIGQUIT, at once.
void warden_die(Member *m)
{
    Warden *w = &m->warden;
    if (!w->alive)
        return;
    trace(m->sim, "warden %s: dies", m->name);
    w->alive = false;
    w->fence = (Fence){0};
    if (w->client) {
        w->client->attached = false;
        agent_notify(w->client);
    }
    w->client = NULL;
    pg_orphaned(m);
    if (m->powered)
        sim_in(m->sim, roll(m->sim, MS(100), MS(600)), &m->actor, start_again, m, 0);
}

static void attach(Sim *sim, void *context, uint64_t argument)
{
    AgentProc *proc = context;
    Warden *w = &proc->member->warden;
    (void)sim, (void)argument;
    if (proc->zombie || proc->finished || proc->attached || !w->alive)
        return;
    if (w->client && w->client != proc) {
        w->client->attached = false;
        w->client->replaced = true;
        agent_notify(w->client);
    }
    w->client = proc;
    w->epoch++;
    proc->attached = true;
    proc->fenced_base = w->fenced_total;
    agent_notify(proc);
}

void warden_attach(AgentProc *proc)
{
    sim_in(proc->sim, roll(proc->sim, MS(1), MS(25)), &proc->actor, attach, proc, 0);
}

static void stop_step(Sim *sim, void *context, uint64_t serial);

void warden_detach(AgentProc *proc)
{
    Member *m = proc->member;
    proc->attached = false;
    if (m->warden.client != proc)
        return;
    m->warden.client = NULL;
    m->warden.alone_since = m->sim->now;
    if (m->warden.stop == STOP_HANDING_OVER)
        sim_in(m->sim, ALONE, &m->actor, stop_step, m, m->warden.serial);
    if (m->warden.stop == STOP_ENDED)
        sim_in(m->sim, MS(1), &m->actor, stop_step, m, m->warden.serial);
}

// --- told to stop

static void stop_step(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    Warden *w = &m->warden;
    if (!w->alive || w->serial != serial || w->stop == STOP_NONE)
        return;
    if (!pg_alive(m)) {
        w->stop = STOP_ENDED;
        if (!w->client) {
            trace(sim, "warden %s: has stopped", m->name);
            w->alive = false;
            m->stay_down = !sim->healing;
            if (sim->healing)
                sim_in(sim, MS(500), &m->actor, start_again, m, 0);
        }
        return;
    }
    const bool alone = !w->client && sim->now >= w->alone_since + ALONE;
    if (w->stop == STOP_HANDING_OVER && (alone || sim->now >= w->stop_since + HAND_OVER)) {
        trace(sim, "warden %s: fast shutdown", m->name);
        w->stop = STOP_ORDERED;
        pg_stop_fast(m);
    }
    sim_in(sim, MS(200), &m->actor, stop_step, m, serial);
}

void warden_terminate(Member *m)
{
    Warden *w = &m->warden;
    if (!w->alive || w->stop != STOP_NONE)
        return;
    trace(m->sim, "warden %s: told to stop", m->name);
    w->stop = STOP_HANDING_OVER;
    w->stop_since = m->sim->now;
    tell(m);
    sim_in(m->sim, MS(200), &m->actor, stop_step, m, w->serial);
}

// --- Processes

static AgentProc *proc_of(Processes *p)
{
    return (AgentProc *)(void *)((char *)p - offsetof(AgentProc, processes.base));
}

static void op_view(Processes *p, WardenView *out)
{
    AgentProc *proc = proc_of(p);
    Member *m = proc->member;
    const Warden *w = &m->warden;
    *out = (WardenView){.replaced = proc->replaced};
    if (proc->zombie || !proc->attached || !w->alive)
        return;
    out->connected = true;
    out->epoch = w->epoch;
    out->terminating = w->stop != STOP_NONE;
    out->fence_armed = w->fence.armed;
    out->quit_at = (Instant){w->fence.quit_at};
    out->kill_at = (Instant){w->fence.kill_at};
    (void)copy_text(out->note, sizeof out->note, w->note);
    out->fenced_count = w->fenced_total - proc->fenced_base;
    out->fenced_at = (Instant){w->fenced_at};
    out->remains = pg_alive(m);
    if (!pg_alive(m) || m->pg.orphan)
        return;
    out->child_count = 1;
    out->children[0] =
        (ChildView){.id = CHILD_POSTGRES, .running = true, .postmaster = true, .pid = 1000};
    out->children[0].started_at = m->pg.started_at;
}

// The way to the warden and back: nothing is lost on a local socket but what dies with an end of
// it.
static bool reach(AgentProc *proc, const char *what, Error *err)
{
    if (!proc_boundary(proc, what))
        return error_set(err, ERR_UNAVAILABLE, "%s: the process is gone", what);
    proc_wait(proc, roll(proc->sim, 20 * 1000, MS(1)));
    if (proc->zombie || !proc->attached || !proc->member->warden.alive)
        return error_set(err, ERR_UNAVAILABLE, "%s: no warden", what);
    fence_look(proc->member); // it looks at its clocks before it looks at its mail
    if (proc->sim->faulty && chance(proc->sim, 5))
        return error_set(err, ERR_UNCERTAIN, "%s: no answer in time", what);
    return true;
}

static bool op_fence(Processes *p, Instant quit_at, Instant kill_at, const char *note,
                     Deadline deadline, Error *err)
{
    AgentProc *proc = proc_of(p);
    Member *m = proc->member;
    (void)deadline;
    if (!reach(proc, "fence", err))
        return false;
    const FenceOrder order = {quit_at.ns, kill_at.ns, proc->order_ttl_ms};
    const int64_t now = host_now(m).ns;
    const char *refusal = fence_refusal(&m->warden.fence, &order, now);
    if (refusal)
        return error_set(err, ERR_INVALID, "fence: %s", refusal);
    if (!m->warden.fence.armed)
        trace(m->sim, "warden %s: fence armed, %lld ms", m->name,
              (long long)((quit_at.ns - now) / MS(1)));
    fence_arm(&m->warden.fence, &order, now, wall_ns(m));
    (void)copy_text(m->warden.note, sizeof m->warden.note, note);
    fence_look(m);
    schedule(m);
    proc_wait(proc, roll(proc->sim, 20 * 1000, 300 * 1000));
    if (proc->sim->faulty && chance(proc->sim, 5)) // done, and not heard of
        return error_set(err, ERR_UNCERTAIN, "fence: no answer in time");
    return proc_boundary(proc, "fence") ||
           error_set(err, ERR_UNCERTAIN, "fence: the process is gone");
}

static bool op_unfence(Processes *p, const char *note, bool sure, Deadline deadline, Error *err)
{
    AgentProc *proc = proc_of(p);
    Member *m = proc->member;
    (void)deadline;
    if (!reach(proc, "unfence", err))
        return false;
    if (pg_alive(m) && !sure)
        return error_set(err, ERR_INVALID, "unfence: a postmaster runs");
    if (m->warden.fence.armed)
        trace(m->sim, "warden %s: fence lifted", m->name);
    m->warden.fence = (Fence){0};
    (void)copy_text(m->warden.note, sizeof m->warden.note, note);
    schedule(m);
    return true;
}

// The agent itself never asks for these: its server does, and that is simulated as a whole.
static bool op_spawn(Processes *p, const SpawnRequest *request, Deadline deadline, Error *err)
{
    (void)p, (void)deadline;
    return error_set(err, ERR_INVALID, "spawn %s: not in the simulator", request->id);
}

static bool op_signal(Processes *p, const char *id, int signal, Deadline deadline, Error *err)
{
    (void)p, (void)signal, (void)deadline;
    return error_set(err, ERR_INVALID, "signal %s: not in the simulator", id);
}

static bool op_adopt(Processes *p, int32_t pid, uint64_t start_time, Deadline deadline, Error *err)
{
    (void)p, (void)start_time, (void)deadline;
    return error_set(err, ERR_INVALID, "adopt %d: not in the simulator", pid);
}

static bool op_wait(Processes *p, Arena *arena, const char *id, Deadline deadline, ChildExit *out,
                    Error *err)
{
    (void)p, (void)arena, (void)deadline, (void)out;
    return error_set(err, ERR_INVALID, "wait for %s: not in the simulator", id);
}

void processes_init(AgentProc *proc)
{
    static const ProcessesOps ops = {.view = op_view,
                                     .spawn = op_spawn,
                                     .signal = op_signal,
                                     .adopt = op_adopt,
                                     .fence = op_fence,
                                     .unfence = op_unfence,
                                     .wait = op_wait};
    proc->processes.base.ops = &ops;
}
