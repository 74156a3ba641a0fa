// Asking the other members: answered by their agents (not by those that are dead or frozen), with
// positions sampled when the question has arrived.
#include "tests/sim/world.h"

#define SAMPLE MS(1000) // how long an agent waits for its silent server

static AgentProc *proc_of(Peers *peers)
{
    return (AgentProc *)(void *)((char *)peers - offsetof(AgentProc, peers.base));
}

static uint64_t pack(uint64_t serial, size_t slot)
{
    return serial << 8 | slot;
}

static PeerSlot *slot_of(AgentProc *proc, uint64_t packed)
{
    SimPeers *p = &proc->peers;
    if (proc->zombie || p->serial != packed >> 8 || p->left == 0)
        return NULL;
    return &p->slots[packed & 0xFF];
}

static void answered(Sim *sim, void *context, uint64_t packed)
{
    AgentProc *proc = context;
    PeerSlot *slot = slot_of(proc, packed);
    if (!slot || !link_up(sim, slot->member, proc->member->index))
        return;
    slot->answer.reachable = slot->why == NULL;
    if (--proc->peers.left == 0)
        proc_wake(proc);
}

static void send_back(AgentProc *proc, uint64_t packed, int64_t delay)
{
    Sim *sim = proc->sim;
    sim_in(sim, delay + roll(sim, 200 * 1000, MS(4)), &proc->actor, answered, proc, packed);
}

static void sample(Member *m, PeerSlot *slot)
{
    ServerView v = {0};
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    server_ask(m, arena, &v);
    const Lsn standby = v.receive_lsn > v.replay_lsn ? v.receive_lsn : v.replay_lsn;
    slot->answer.in_recovery = v.in_recovery;
    slot->answer.running = true;
    slot->answer.position = (WalPosition){v.timeline, v.in_recovery ? standby : v.flush_lsn};
    arena_free(arena);
    slot->lineage = m->dir.lineage;
    slot->end = m->dir.end;
    const Tags *tags = &agent_settings(m->agent->agent)->tags;
    slot->answer.nofailover = tags->nofailover;
    slot->answer.failover_priority = tags->failover_priority;
}

static void asked(Sim *sim, void *context, uint64_t packed)
{
    AgentProc *proc = context;
    PeerSlot *slot = slot_of(proc, packed);
    if (!slot)
        return;
    Member *m = &sim->members[slot->member];
    if (!link_up(sim, proc->member->index, m->index))
        return;
    int64_t delay = 0;
    if (!m->agent || !m->agent->agent) {
        slot->why = "connection refused";
    } else if (actor_frozen(&m->agent->actor)) {
        return; // nobody answers
    } else if (!pg_answers(m)) {
        slot->why = "status document without xlog";
        delay = actor_frozen(&m->pg.actor) ? SAMPLE : 0;
    } else {
        sample(m, slot);
    }
    send_back(proc, packed, delay);
}

static void take(AgentProc *proc, Arena *arena, const PeerTarget *target, const PeerSlot *slot,
                 PeerAnswer *out)
{
    *out = slot->answer;
    out->name = target->name;
    if (!out->reachable) {
        *out = (PeerAnswer){.name = target->name,
                            .failover_priority = 1,
                            .error = slot->why ? slot->why : "no answer in time"};
        return;
    }
    out->history = wal_history(proc->sim, arena, slot->lineage, out->position.timeline);
}

static void op_ask(Peers *peers, Arena *arena, const PeerTarget *targets, size_t count,
                   Deadline deadline, PeerAnswer *answers)
{
    AgentProc *proc = proc_of(peers);
    Sim *sim = proc->sim;
    SimPeers *p = &proc->peers;
    ASSERT(count < COUNT_OF(p->slots));
    for (size_t i = 0; i < count; i++)
        answers[i] = (PeerAnswer){.name = targets[i].name, .error = "not asked"};
    if (!proc_boundary(proc, "peers"))
        return;
    p->serial = ++sim->serials;
    p->asked_at = sim->now;
    p->count = p->left = count;
    for (size_t i = 0; i < count; i++) {
        const int member = member_named(sim, targets[i].name);
        p->slots[i] = (PeerSlot){.member = member, .answer = {.failover_priority = 1}};
        if (member < 0)
            p->left--;
        else
            sim_in(sim, roll(sim, 200 * 1000, MS(4)), NULL, asked, proc, pack(p->serial, i));
    }
    if (p->left > 0)
        proc_wait_until(proc, proc_deadline(proc, deadline));
    p->serial = 0;
    if (!proc_boundary(proc, "peers"))
        return;
    for (size_t i = 0; i < count; i++)
        take(proc, arena, &targets[i], &p->slots[i], &answers[i]);
}

static void op_free(Peers *peers)
{
    (void)peers;
}

void peers_init(AgentProc *proc)
{
    static const PeersOps ops = {.ask = op_ask, .free = op_free};
    proc->peers.base.ops = &ops;
}
