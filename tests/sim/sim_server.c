// The local server as an agent sees it: the monitoring query, and the data directory as last looked
// at by its disk thread.
#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

AgentProc *proc_of_server(Server *server)
{
    return (AgentProc *)(void *)((char *)server - offsetof(AgentProc, server.base));
}

// --- the data directory

void server_inspect(AgentProc *proc)
{
    SimServer *s = &proc->server;
    Member *m = proc->member;
    // As marker.c has it: what a bootstrap left that was broken off is nobody's data directory.
    if (m->dir.unfinished && !s->bootstrapping && pg_alive(m))
        m->dir.unfinished = false;
    if (m->dir.unfinished && !s->bootstrapping)
        m->dir = (DataDir){.files = FILES_PARTIAL};
    s->seen = m->dir;
    s->inspected = true;
    s->seen_stopped_at = pg_alive(m) ? 0 : proc->sim->now;
    if (s->seen.files == FILES_VALID && !pg_alive(m)) {
        const uint32_t control = s->seen.control_timeline, min = s->seen.min_recovery.timeline;
        s->history_of = min > control ? min : control;
    }
}

static void idle_history(Sim *sim, void *context, uint64_t timeline)
{
    AgentProc *proc = context;
    if (proc->zombie || proc->finished)
        return;
    if (proc->member->disk_hung_since) {
        sim_in(sim, MS(100), &proc->actor, idle_history, proc, timeline);
        return;
    }
    proc->server.history_wanted = false;
    proc->server.history_of = (uint32_t)timeline;
    agent_notify(proc);
}

static void show_control(const AgentProc *proc, ControlData *out)
{
    const SimServer *s = &proc->server;
    const DataDir *dir = &s->seen;
    *out = (ControlData){.known = true};
    // How the server was stopped the time before last says nothing of how it ended now.
    const bool current = !pg_alive(proc->member) && s->seen_stopped_at != 0 &&
                         s->seen_stopped_at >= proc->member->pg.gone_at;
    out->state = current ? dir->state : CONTROL_UNKNOWN;
    (void)copy_text(out->system_identifier, sizeof out->system_identifier,
                    proc->sim->lineages[dir->lineage].system_identifier);
    out->timeline = dir->control_timeline;
    out->checkpoint_lsn = out->redo_lsn = dir->checkpoint_lsn;
    out->min_recovery_timeline = dir->min_recovery.timeline;
    out->min_recovery_lsn = dir->min_recovery.lsn;
    out->checksums = true;
    out->major = 15;
}

static void show_directory(AgentProc *proc, Arena *arena, ServerView *out)
{
    const SimServer *s = &proc->server;
    const DataDir *dir = &s->seen;
    if (!s->inspected)
        return; // DIR_UNKNOWN
    out->dir = dir->files == FILES_EMPTY     ? DIR_MISSING
               : dir->files == FILES_PARTIAL ? DIR_PARTIAL
                                             : DIR_VALID;
    if (out->dir != DIR_VALID)
        return;
    show_control(proc, &out->control);
    out->standby_signal = dir->standby_signal;
    out->from_backup = dir->from_backup;
    out->upstream = dir->upstream[0] ? arena_strdup(arena, dir->upstream) : NULL;
    if (s->history_of)
        out->history = wal_history(proc->sim, arena, dir->lineage, s->history_of);
}

// --- the server

// Whoever streams from it, or NULL.
static const Member *slot_user(const Member *m, const char *slot)
{
    for (int i = 0; i < m->sim->member_count; i++) {
        const Member *down = &m->sim->members[i];
        const Stream *s = &down->pg.stream;
        if (down->pg.state == PG_STANDBY && s->connected && s->upstream == m->index &&
            s->upstream_serial == m->pg.serial && str_eq(down->name, slot))
            return down;
    }
    return NULL;
}

static void ask_slots(Member *m, Arena *arena, ServerView *out)
{
    SlotView *slots = ARENA_ARRAY(arena, SlotView, m->dir.slot_count);
    for (size_t i = 0; i < m->dir.slot_count; i++) {
        SimSlot *slot = &m->dir.slots[i];
        const Member *user = slot_user(m, slot->name);
        if (user && user->dir.end.lsn > slot->restart_lsn)
            slot->restart_lsn = user->dir.end.lsn;
        slots[i] = (SlotView){.name = arena_strdup(arena, slot->name),
                              .physical = true,
                              .active = user != NULL,
                              .restart_lsn = slot->restart_lsn};
    }
    out->slots = slots;
    out->slot_count = m->dir.slot_count;
    out->slots_known = true;
}

static void ask_senders(Member *m, Arena *arena, ServerView *out)
{
    Sim *sim = m->sim;
    WalSenderView *senders = ARENA_ARRAY(arena, WalSenderView, MEMBERS_MAX);
    for (int i = 0; i < sim->member_count; i++) {
        const Member *down = &sim->members[i];
        const Stream *s = &down->pg.stream;
        if (down->pg.state != PG_STANDBY || !s->connected || s->upstream != m->index ||
            s->upstream_serial != m->pg.serial)
            continue;
        const Lsn at = down->dir.end.lsn;
        senders[out->sender_count++] = (WalSenderView){.application_name = down->name,
                                                       .client_addr = down->host,
                                                       .state = "streaming",
                                                       .sync_state = "async",
                                                       .sent_lsn = at,
                                                       .write_lsn = at,
                                                       .flush_lsn = at,
                                                       .replay_lsn = at};
    }
    out->senders = senders;
}

void server_ask(Member *m, Arena *arena, ServerView *out)
{
    const Postgres *pg = &m->pg;
    out->answered = true;
    out->in_recovery = pg->state != PG_PRIMARY;
    out->server_version = 150010;
    out->postmaster_start_us = pg->started_wall_us;
    out->postmaster_start_text = arena_printf(arena, "%lld", (long long)pg->started_wall_us);
    ask_slots(m, arena, out);
    ask_senders(m, arena, out);
    if (!out->in_recovery) {
        out->timeline = m->dir.end.timeline;
        out->flush_lsn = m->dir.end.lsn;
        out->checkpoint_pending = pg->checkpoint_pending;
        return;
    }
    out->replay_lsn = wal_replayed(m);
    out->receive_lsn = pg->received ? m->dir.end.lsn : LSN_NONE;
    const Lsn at = out->receive_lsn > out->replay_lsn ? out->receive_lsn : out->replay_lsn;
    out->timeline = wal_timeline_at(m->sim, m->dir.lineage, m->dir.end.timeline, at);
    out->streaming = pg->stream.connected;
    if (out->streaming) {
        const Member *up = &m->sim->members[pg->stream.upstream];
        out->receiver_host = arena_strdup(arena, up->host);
        out->receiver_port = 5432;
        out->latest_end_lsn = m->dir.end.lsn;
    }
}

static bool same_start(Instant a, Instant b)
{
    return instant_is_set(a) && a.ns == b.ns;
}

static Role role_by_directory(const SimServer *s)
{
    if (!s->inspected || s->seen.files != FILES_VALID)
        return ROLE_UNINITIALIZED;
    const ControlState state = s->seen.state;
    return s->seen.standby_signal || state == CONTROL_SHUT_DOWN_IN_RECOVERY ||
                   state == CONTROL_IN_ARCHIVE_RECOVERY
               ? ROLE_REPLICA
               : ROLE_PRIMARY;
}

// As the real one has it (agent/postgres/observe.c).
static Role role_of(SimServer *s, const ServerView *v)
{
    Role role = s->role_known ? s->role : role_by_directory(s);
    const bool stopped_by_us = !v->running && same_start(s->alive_last, s->stopped);
    if (v->answered)
        role = !v->in_recovery                          ? ROLE_PRIMARY
               : same_start(s->promoted, v->started_at) ? ROLE_PROMOTED
                                                        : ROLE_REPLICA;
    else if (!v->running && v->dir != DIR_VALID && v->dir != DIR_UNKNOWN)
        role = ROLE_UNINITIALIZED;
    else if (role == ROLE_UNINITIALIZED && v->dir == DIR_VALID)
        role = role_by_directory(s);
    else if (stopped_by_us && (role == ROLE_PRIMARY || role == ROLE_PROMOTED))
        role = ROLE_DEMOTED;
    else if (role == ROLE_DEMOTED && v->running)
        role = role_by_directory(s);
    s->role = role;
    s->role_known = s->role_known || v->dir != DIR_UNKNOWN;
    return role;
}

static ServerState state_of(const SimServer *s, const ServerView *v)
{
    if (v->answered)
        return STATE_RUNNING;
    if (v->running && s->task.running && s->task.kind == TASK_STOP)
        return STATE_STOPPING;
    if (v->running)
        return same_start(s->answering, v->started_at) ? STATE_RUNNING : STATE_STARTING;
    if (s->task.running && s->task.kind == TASK_CLONE)
        return STATE_CREATING_REPLICA;
    if (s->task.running && s->task.kind == TASK_BOOTSTRAP)
        return STATE_INITDB;
    return v->exited_by_itself ? STATE_CRASHED : STATE_STOPPED;
}

static void observe_process(AgentProc *proc, Deadline deadline, ServerView *out)
{
    Member *m = proc->member;
    SimServer *s = &proc->server;
    out->warden = proc->attached && m->warden.alive;
    out->remains = out->warden && pg_alive(m);
    out->running = out->remains && !m->pg.orphan;
    if (!out->running) {
        out->exited_by_itself =
            instant_is_set(s->alive_last) && !same_start(s->stopped, s->alive_last);
        return;
    }
    out->started_at = s->alive_last = m->pg.started_at;
    if (m->pg.state == PG_STARTING || m->pg.state == PG_STOPPING)
        out->refused = !actor_frozen(&m->pg.actor);
    if (out->refused)
        proc_wait(proc, 200 * 1000);
    else if (actor_frozen(&m->pg.actor))
        proc_wait_until(proc, proc_deadline(proc, deadline));
    else
        proc_wait(proc, roll(proc->sim, 300 * 1000, MS(3)));
}

static void op_observe(Server *server, Arena *arena, Deadline deadline, ServerView *out)
{
    AgentProc *proc = proc_of_server(server);
    Member *m = proc->member;
    SimServer *s = &proc->server;
    *out = (ServerView){0};
    if (!proc_boundary(proc, "observe"))
        return;
    observe_process(proc, deadline, out);
    if (proc->zombie)
        return;
    // It may have gone, or come, while we waited.
    const bool same = out->running && pg_alive(m) && same_start(m->pg.started_at, out->started_at);
    if (same && pg_answers(m)) {
        server_ask(m, arena, out);
        s->answered_at = host_now(m);
        s->answering = out->started_at;
    }
    out->answered_at = s->answered_at;
    show_directory(proc, arena, out);
    if (out->answered && out->timeline != s->history_of && !s->history_wanted) {
        s->history_wanted = true;
        sim_in(proc->sim, roll(proc->sim, MS(2), MS(20)), &proc->actor, idle_history, proc,
               out->timeline);
    }
    if (m->disk_hung_since)
        out->disk_busy_ms = (proc->sim->now - m->disk_hung_since) / MS(1) + 1;
    out->role = role_of(s, out);
    out->state = state_of(s, out);
    out->task = s->task;
}

static void op_configure(Server *server, const Settings *settings)
{
    (void)server, (void)settings;
}

static void drop_slot(DataDir *dir, size_t i)
{
    dir->slots[i] = dir->slots[--dir->slot_count];
}

static void take_slot_step(Member *m, const SlotStep *step)
{
    DataDir *dir = &m->dir;
    size_t i = 0;
    while (i < dir->slot_count && !str_eq(dir->slots[i].name, step->name))
        i++;
    const bool there = i < dir->slot_count;
    const bool busy = there && slot_user(m, step->name);
    const Lsn here = m->pg.state == PG_PRIMARY ? dir->end.lsn : wal_replayed(m);
    if (step->action == SLOT_ADVANCE && step->lsn > here)
        sim_fail(m->sim, "%s: slot %s advanced beyond what is replayed", m->name, step->name);
    if (str_ieq(step->name, m->name) && step->action != SLOT_DROP)
        sim_fail(m->sim, "%s: a slot for itself", m->name);
    if (step->action == SLOT_ADVANCE && there && !busy && step->lsn > dir->slots[i].restart_lsn)
        dir->slots[i].restart_lsn = step->lsn;
    if ((step->action == SLOT_DROP || step->action == SLOT_RENEW) && there && !busy)
        drop_slot(dir, i);
    if (step->action == SLOT_RENEW ? busy : step->action != SLOT_CREATE || there)
        return;
    ASSERT(dir->slot_count < COUNT_OF(dir->slots));
    SimSlot *slot = &dir->slots[dir->slot_count++];
    *slot = (SimSlot){.restart_lsn = dir->checkpoint_lsn ? dir->checkpoint_lsn : here};
    (void)copy_text(slot->name, sizeof slot->name, step->name);
}

static bool op_sync_slots(Server *server, const SlotStep *steps, size_t count, Deadline deadline,
                          Error *err)
{
    AgentProc *proc = proc_of_server(server);
    Member *m = proc->member;
    static const char *const names[] = {"create", "drop", "renew", "advance"};
    (void)deadline;
    if (!proc_boundary(proc, "slots") || !pg_answers(m))
        return error_set(err, ERR_UNAVAILABLE, "slots: no server");
    for (size_t i = 0; i < count; i++) {
        if (steps[i].action != SLOT_ADVANCE)
            trace(proc->sim, "slots  %s: %s %s", m->name, names[steps[i].action], steps[i].name);
        take_slot_step(m, &steps[i]);
    }
    return true;
}

static int op_event_fd(Server *server)
{
    (void)server;
    return -1; // the loop that would wait for it is the simulator's own
}

static void op_free(Server *server)
{
    (void)server;
}

void server_init(AgentProc *proc)
{
    static const ServerOps ops = {.observe = op_observe,
                                  .begin = server_begin,
                                  .cancel = server_cancel,
                                  .configure = op_configure,
                                  .sync_slots = op_sync_slots,
                                  .event_fd = op_event_fd,
                                  .free = op_free};
    proc->server = (SimServer){.base = {.ops = &ops}, .role = ROLE_UNINITIALIZED};
}
