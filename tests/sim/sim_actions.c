// What scenarios and random faults do to the machines.
#include "tests/sim/world.h"

static Member *at(Sim *sim, int member)
{
    ASSERT(member >= 0 && member < sim->member_count);
    return &sim->members[member];
}

void sim_start(Sim *sim, int member)
{
    Member *m = at(sim, member);
    m->stay_down = false;
    if (!m->powered) {
        member_power_on(m);
        return;
    }
    if (!m->warden.alive)
        warden_start(m);
    sim_agent_start(sim, member);
}

void sim_power_off(Sim *sim, int member)
{
    Member *m = at(sim, member);
    if (!m->powered)
        return;
    trace(sim, "fault  %s: power off", m->name);
    m->powered = false;
    agent_die(m, "dies with its machine");
    pg_kill(m);
    warden_die(m);
    m->disk_hung_since = 0;
    actor_forget(&m->actor);
}

void sim_agent_kill(Sim *sim, int member)
{
    agent_die(at(sim, member), "SIGKILL");
}

void sim_agent_start(Sim *sim, int member)
{
    Member *m = at(sim, member);
    m->stay_down = false;
    if (m->powered && !m->agent)
        agent_spawn(m);
}

void sim_agent_freeze(Sim *sim, int member)
{
    Member *m = at(sim, member);
    trace(sim, "fault  %s: agent frozen", m->name);
    if (m->agent)
        actor_freeze(&m->agent->actor);
}

void sim_agent_thaw(Sim *sim, int member)
{
    Member *m = at(sim, member);
    if (!m->agent || !m->agent->actor.frozen)
        return;
    trace(sim, "fault  %s: agent thawed", m->name);
    actor_thaw(sim, &m->agent->actor);
}

void sim_agent_kill_at_call(Sim *sim, int member, int calls)
{
    Member *m = at(sim, member);
    if (m->agent)
        m->agent->kill_at_call = calls;
}

void sim_agent_freeze_at_call(Sim *sim, int member, int calls)
{
    Member *m = at(sim, member);
    if (m->agent)
        m->agent->freeze_at_call = calls;
}

void sim_shutdown(Sim *sim, int member)
{
    Member *m = at(sim, member);
    trace(sim, "fault  %s: SIGTERM to the agent", m->name);
    if (!m->agent)
        return;
    m->agent->want_shutdown = true;
    agent_notify(m->agent);
}

void sim_leave(Sim *sim, int member)
{
    Member *m = at(sim, member);
    trace(sim, "fault  %s: SIGUSR2 to the agent", m->name);
    if (!m->agent)
        return;
    m->agent->want_leave = true;
    agent_notify(m->agent);
}

void sim_terminate(Sim *sim, int member)
{
    warden_terminate(at(sim, member));
}

void sim_host_freeze(Sim *sim, int member)
{
    Member *m = at(sim, member);
    trace(sim, "fault  %s: the whole machine is frozen", m->name);
    actor_freeze(&m->actor);
}

void sim_host_thaw(Sim *sim, int member)
{
    Member *m = at(sim, member);
    if (!m->actor.frozen)
        return;
    trace(sim, "fault  %s: the whole machine is thawed", m->name);
    m->thawed_at = sim->now;
    actor_thaw(sim, &m->actor);
}

void sim_server_kill(Sim *sim, int member)
{
    trace(sim, "fault  %s: SIGKILL to its server", at(sim, member)->name);
    pg_kill(at(sim, member));
}

void sim_server_freeze(Sim *sim, int member)
{
    Member *m = at(sim, member);
    if (!pg_alive(m))
        return;
    trace(sim, "fault  %s: its server is frozen", m->name);
    m->pg.unheard = m->pg.orphan;
    actor_freeze(&m->pg.actor);
}

void sim_server_thaw(Sim *sim, int member)
{
    Member *m = at(sim, member);
    if (m->pg.actor.frozen)
        actor_thaw(sim, &m->pg.actor);
}

void sim_server_stubborn(Sim *sim, int member, bool stubborn)
{
    at(sim, member)->pg.stubborn = stubborn;
}

void sim_warden_kill(Sim *sim, int member)
{
    warden_die(at(sim, member));
}

void sim_clock_step(Sim *sim, int member, int64_t ms)
{
    Member *m = at(sim, member);
    trace(sim, "fault  %s: its wall clock steps by %lld ms", m->name, (long long)ms);
    m->wall_offset += MS(ms);
}

void sim_disk_hang(Sim *sim, int member, bool hung)
{
    Member *m = at(sim, member);
    if (hung == (m->disk_hung_since != 0))
        return;
    trace(sim, "fault  %s: its disk %s", m->name, hung ? "hangs" : "answers again");
    m->disk_hung_since = hung ? sim->now : 0;
    if (m->agent)
        agent_notify(m->agent);
}

void sim_replication_delay(Sim *sim, int member, int64_t ms)
{
    at(sim, member)->replication_delay = MS(ms);
}

void sim_promotion_slow(Sim *sim, int member, int64_t ms)
{
    at(sim, member)->promotion_delay = MS(ms);
}

void sim_start_fails(Sim *sim, int member, bool fails)
{
    at(sim, member)->start_fails = fails;
}

void sim_respawn(Sim *sim, bool on)
{
    sim->respawn = on;
}

// --- the network

void sim_link(Sim *sim, int from, int to, bool up)
{
    sim->link[from][to] = up;
}

void sim_isolate(Sim *sim, int member, bool isolated)
{
    trace(sim, "fault  %s: %s", at(sim, member)->name, isolated ? "isolated" : "connected again");
    for (int i = 0; i <= MEMBERS_MAX; i++)
        sim->link[member][i] = sim->link[i][member] = !isolated || i == member;
}

void sim_cut_store(Sim *sim, int member, bool cut)
{
    trace(sim, "fault  %s: %s the store", at(sim, member)->name,
          cut ? "cut off from" : "connected again to");
    sim->link[member][THE_STORE] = sim->link[THE_STORE][member] = !cut;
}

// --- an end to all faults

void sim_heal(Sim *sim)
{
    trace(sim, "heal   no faults from here on");
    sim->faulty = false;
    sim->healing = sim->writes = sim->respawn = true;
    sim->healed_at = sim->now;
    sim->options.lost_reply_permille = sim->options.slow_permille = 0;
    sim->extra_store_delay = 0;
    for (int i = 0; i <= MEMBERS_MAX; i++)
        for (int k = 0; k <= MEMBERS_MAX; k++)
            sim->link[i][k] = true;
    sim_store(sim, STORE_UP);
    for (int i = 0; i < sim->member_count; i++) {
        Member *m = &sim->members[i];
        sim->loss[i] = (PlannedLoss){0};
        m->replication_delay = m->promotion_delay = 0;
        m->start_fails = m->pg.stubborn = false;
        if (m->agent) {
            m->agent->kill_at_call = m->agent->freeze_at_call = 0;
            m->agent->dcs.stalled_until = 0;
        }
        sim_disk_hang(sim, i, false);
        sim_host_thaw(sim, i);
        sim_server_thaw(sim, i);
        sim_agent_thaw(sim, i);
        if (m->agent == NULL || !m->powered || m->stay_down)
            sim_start(sim, i);
    }
}
