// What an agent has done to its PostgreSQL: each task takes its time, and may be broken off between
// its steps by a cancel, a disk that hangs, or the agent's end.
#include "tests/sim/world.h"

typedef enum { STEP_AGAIN, STEP_DONE, STEP_FAILED, STEP_UNCHANGED } Step;

static void task_step(Sim *sim, void *context, uint64_t serial);

static void next_step(AgentProc *proc, int64_t delay)
{
    proc->server.step = ++proc->sim->serials;
    sim_in(proc->sim, delay, &proc->actor, task_step, proc, proc->server.step);
}

static Step again(AgentProc *proc, int64_t from_ms, int64_t to_ms)
{
    proc->server.phase++;
    next_step(proc, roll(proc->sim, MS(from_ms), MS(to_ms)));
    return STEP_AGAIN;
}

static Step failed(AgentProc *proc, const char *why)
{
    (void)copy_text(proc->server.task.error, sizeof proc->server.task.error, why);
    return STEP_FAILED;
}

static Step unchanged(AgentProc *proc, const char *why)
{
    (void)failed(proc, why);
    return STEP_UNCHANGED;
}

int member_named(const Sim *sim, const char *name)
{
    for (int i = 0; i < sim->member_count; i++)
        if (str_eq(sim->members[i].name, name))
            return i;
    return -1;
}

// The server it is to follow, compare with or copy; NULL: not to be reached, or says nothing.
static Member *source_of(AgentProc *proc)
{
    Sim *sim = proc->sim;
    const int i = member_named(sim, proc->server.upstream);
    const int own = proc->member->index;
    if (i < 0 || !link_up(sim, own, i) || !link_up(sim, i, own) || !pg_answers(&sim->members[i]))
        return NULL;
    return &sim->members[i];
}

static bool warden_there(const AgentProc *proc)
{
    return proc->attached && proc->member->warden.alive;
}

// --- one function a kind

static Step step_inspect(AgentProc *proc)
{
    if (proc->server.phase == 0)
        return again(proc, 2, 30);
    server_inspect(proc);
    return STEP_DONE;
}

static Step step_bootstrap(AgentProc *proc)
{
    Member *m = proc->member;
    if (proc->server.phase == 0) {
        if (pg_alive(m) || m->dir.files == FILES_VALID)
            return failed(proc, "the data directory is not empty");
        m->dir = (DataDir){.files = FILES_PARTIAL};
        proc->server.bootstrapping = true;
        return again(proc, 300, 1500);
    }
    (void)wal_initdb(proc->sim, m);
    m->dir.files = FILES_VALID;
    m->dir.state = CONTROL_SHUT_DOWN;
    m->dir.unfinished = true;
    trace(proc->sim, "task   %s: initdb, system %s", m->name,
          proc->sim->lineages[m->dir.lineage].system_identifier);
    return STEP_DONE;
}

static Step step_post_bootstrap(AgentProc *proc)
{
    if (proc->server.phase == 0)
        return again(proc, 30, 200);
    proc->server.bootstrapping = false;
    if (!pg_answers(proc->member) || !pg_writes(proc->member))
        return failed(proc, "no primary");
    proc->member->dir.unfinished = false;
    return STEP_DONE;
}

static Step step_start(AgentProc *proc, bool standby)
{
    Member *m = proc->member;
    SimServer *s = &proc->server;
    if (s->phase == 0)
        return again(proc, 3, 40);
    if (s->phase == 1) {
        if (pg_alive(m) || m->dir.files != FILES_VALID)
            return failed(proc, "it is running, or there is no data directory");
        if (m->dir.torn)
            return failed(proc, "left half rewound");
        if (!warden_there(proc))
            return failed(proc, "no warden");
        if (m->warden.fence.struck) // else what was sent before the deadline would run without one
            return failed(proc, "the fence has struck: move it or lift it first");
        if (standby)
            (void)copy_text(m->dir.upstream, sizeof m->dir.upstream, s->upstream);
        pg_start(m, standby);
        s->source = m->pg.serial;
        s->phase_began = proc->sim->now;
        return again(proc, 2, 5);
    }
    if (!pg_alive(m) || m->pg.serial != s->source)
        return failed(proc, "postgres ended");
    // "starting up" for a second is an answer, too
    if (pg_answers(m) || (m->pg.state == PG_STARTING && proc->sim->now - s->phase_began > MS(1000)))
        return STEP_DONE;
    return again(proc, 3, 10);
}

static Step step_start_primary(AgentProc *proc)
{
    return step_start(proc, false);
}

static Step step_start_standby(AgentProc *proc)
{
    return step_start(proc, true);
}

static Step step_stop(AgentProc *proc)
{
    Member *m = proc->member;
    SimServer *s = &proc->server;
    if (!pg_alive(m))
        return STEP_DONE;
    const bool prepare = s->wanted.checkpoint_first && s->wanted.stop_mode == STOP_FAST;
    if (s->phase == 0)
        return prepare ? again(proc, 10, 600) : again(proc, 0, 5);
    if (s->phase == 1) {
        if (prepare && !pg_answers(m))
            return failed(proc, "no connection for the checkpoint");
        if (!warden_there(proc))
            return failed(proc, "no warden");
        s->stopped = m->pg.started_at;
        trace(proc->sim, "task   %s: stops its server", m->name);
        if (s->wanted.stop_mode == STOP_IMMEDIATE)
            pg_quit(m);
        else
            pg_stop_fast(m);
    }
    return again(proc, 5, 20);
}

static Step step_promote(AgentProc *proc)
{
    Member *m = proc->member;
    if (proc->server.phase == 0) {
        if (proc->server.wanted.reserve_through > m->dir.newest_timeline)
            m->dir.newest_timeline = proc->server.wanted.reserve_through;
        return again(proc, 2, 20);
    }
    if (m->pg.state != PG_STANDBY || !warden_there(proc))
        return failed(proc, "no standby to promote");
    check_promote_asked(proc);
    proc->server.promoted = m->pg.started_at;
    pg_promote(m);
    return STEP_DONE;
}

static Step step_follow(AgentProc *proc)
{
    Member *m = proc->member;
    if (proc->server.phase == 0)
        return again(proc, 3, 30);
    (void)copy_text(m->dir.upstream, sizeof m->dir.upstream, proc->server.upstream);
    pg_follow(m, member_named(proc->sim, m->dir.upstream));
    return STEP_DONE;
}

static Step step_reload(AgentProc *proc)
{
    return proc->server.phase == 0 ? again(proc, 3, 30) : STEP_DONE;
}

static void copy_from(AgentProc *proc, const Member *source)
{
    DataDir *dir = &proc->member->dir;
    *dir = (DataDir){.files = FILES_VALID,
                     .identity = wal_new_identity(proc->sim),
                     .lineage = source->dir.lineage,
                     .end = source->dir.end,
                     .target = source->dir.end.timeline,
                     .newest_timeline = source->dir.end.timeline,
                     .state = CONTROL_IN_PRODUCTION,
                     .control_timeline = source->dir.control_timeline,
                     .checkpoint_lsn = source->dir.checkpoint_lsn,
                     .from_backup = true};
    (void)copy_text(dir->upstream, sizeof dir->upstream, proc->server.upstream);
}

static Step step_clone(AgentProc *proc)
{
    Member *m = proc->member;
    SimServer *s = &proc->server;
    const Member *source = source_of(proc);
    if (!source)
        return failed(proc, "cannot reach the source");
    if (s->phase == 0) {
        if (pg_alive(m) || (m->dir.files == FILES_VALID && !m->dir.torn))
            return failed(proc, "not a directory of ours to write to");
        m->dir = (DataDir){.files = FILES_PARTIAL};
        s->source = source->pg.serial;
        return again(proc, 300, 4000);
    }
    if (source->pg.serial != s->source)
        return failed(proc, "the source was restarted");
    copy_from(proc, source);
    m->dir.standby_signal = true;
    trace(proc->sim, "task   %s: copied %s", m->name, source->name);
    return STEP_DONE;
}

// Where this directory's history ends, by its server or its control file.
static bool own_end(AgentProc *proc, WalPosition *out)
{
    Member *m = proc->member;
    const DataDir *dir = &m->dir;
    if (pg_answers(m)) {
        const Lsn replayed = wal_replayed(m);
        *out = (WalPosition){wal_timeline_at(proc->sim, dir->lineage, dir->end.timeline, replayed),
                             replayed};
        return !pg_writes(m);
    }
    if (!pg_alive(m))
        server_inspect(proc);
    const bool standby =
        dir->state == CONTROL_SHUT_DOWN_IN_RECOVERY || dir->state == CONTROL_IN_ARCHIVE_RECOVERY;
    *out = dir->end; // with the shutdown checkpoint's record
    if (standby && dir->min_recovery.lsn != LSN_NONE)
        *out = dir->min_recovery;
    else if (standby)
        *out = (WalPosition){dir->control_timeline, dir->checkpoint_lsn};
    return standby || dir->state == CONTROL_SHUT_DOWN;
}

static Step step_check_divergence(AgentProc *proc)
{
    Sim *sim = proc->sim;
    Member *m = proc->member;
    if (proc->server.phase == 0)
        return again(proc, 3, 150);
    const Member *source = source_of(proc);
    WalPosition end;
    if (!source || !pg_writes(source) || source->dir.lineage != m->dir.lineage)
        return failed(proc, "leader: not to be reached, or still in recovery");
    if (!own_end(proc, &end))
        return failed(proc, "it runs as a primary, or must recover first");
    const bool part = end.timeline == source->dir.end.timeline ||
                      wal_contains(sim, m->dir.lineage, source->dir.end, end);
    m->proven_diverged = !part;
    proc->server.task.divergence = part ? DIVERGENCE_NONE : DIVERGENCE_FOUND;
    trace(sim, "task   %s: %u/%s is %spart of %s's history (timeline %u)", m->name, end.timeline,
          lsn_format(end.lsn).text, part ? "" : "no ", source->name, source->dir.end.timeline);
    return STEP_DONE;
}

static Step step_rewind(AgentProc *proc)
{
    Member *m = proc->member;
    SimServer *s = &proc->server;
    const Member *source = source_of(proc);
    const bool fit = source && pg_writes(source) && source->dir.lineage == m->dir.lineage &&
                     !source->pg.checkpoint_pending;
    if (s->phase == 0) {
        if (!fit || pg_alive(m) || m->dir.files != FILES_VALID)
            return unchanged(proc, "no source to rewind from");
        s->source = source->pg.serial;
        m->dir.torn = true;
        return again(proc, 200, 3000);
    }
    if (s->phase == 1) {
        if (!fit || source->pg.serial != s->source) {
            s->task.source_lost = true;
            return failed(proc, "the source went away");
        }
        copy_from(proc, source);
        m->dir.state = CONTROL_IN_ARCHIVE_RECOVERY;
        m->dir.torn = m->dir.standby_signal = true;
        return again(proc, 2, 10);
    }
    m->dir.torn = false;
    trace(proc->sim, "task   %s: rewound to %s's history", m->name, source->name);
    return STEP_DONE;
}

static Step step_crash_recovery(AgentProc *proc)
{
    Member *m = proc->member;
    DataDir *dir = &m->dir;
    if (pg_alive(m) || dir->files != FILES_VALID)
        return failed(proc, "it is running");
    if (proc->server.phase == 0)
        return again(proc, 100, 1000);
    const Branch *b = wal_branch(proc->sim, dir->lineage, dir->end.timeline);
    dir->checkpoint_lsn = dir->end.lsn;
    dir->control_timeline = dir->end.timeline;
    dir->standby_signal = false;
    if (b->writer == dir->identity && b->end == dir->end.lsn)
        (void)wal_append(proc->sim, m, 120);
    dir->state = CONTROL_SHUT_DOWN;
    return STEP_DONE;
}

static Step step_wipe(AgentProc *proc)
{
    Member *m = proc->member;
    if (pg_alive(m))
        return failed(proc, "it is running");
    if (proc->server.phase == 0) {
        check_wipe(proc);
        m->dir = (DataDir){.files = FILES_PARTIAL};
        return again(proc, 20, 200);
    }
    m->dir = (DataDir){.files = FILES_EMPTY};
    m->reinit_asked = m->proven_diverged = false;
    return STEP_DONE;
}

static Step step_checkpoint(AgentProc *proc)
{
    return proc->server.phase == 0 ? again(proc, 20, 500) : STEP_DONE;
}

static Step (*const steps[TASK_COUNT])(AgentProc *) = {
    [TASK_INSPECT] = step_inspect,
    [TASK_BOOTSTRAP] = step_bootstrap,
    [TASK_POST_BOOTSTRAP] = step_post_bootstrap,
    [TASK_START_PRIMARY] = step_start_primary,
    [TASK_START_STANDBY] = step_start_standby,
    [TASK_STOP] = step_stop,
    [TASK_PROMOTE] = step_promote,
    [TASK_FOLLOW] = step_follow,
    [TASK_RELOAD] = step_reload,
    [TASK_CLONE] = step_clone,
    [TASK_CHECK_DIVERGENCE] = step_check_divergence,
    [TASK_REWIND] = step_rewind,
    [TASK_CRASH_RECOVERY] = step_crash_recovery,
    [TASK_WIPE] = step_wipe,
    [TASK_CHECKPOINT] = step_checkpoint,
};

// --- their frame

static void end_task(AgentProc *proc, bool ok)
{
    TaskView *task = &proc->server.task;
    task->running = false;
    task->ok = ok;
    task->ended_at = host_now(proc->member);
    if (task->kind != TASK_INSPECT)
        server_inspect(proc);
    trace(proc->sim, "task   %s: %s %s%s", proc->member->name, task_name(task->kind),
          ok ? "done" : "failed: ", ok ? "" : task->error);
    agent_notify(proc);
}

static void task_step(Sim *sim, void *context, uint64_t serial)
{
    AgentProc *proc = context;
    SimServer *s = &proc->server;
    if (proc->zombie || proc->finished || s->step != serial || !s->task.running)
        return;
    if (s->cancelled) {
        (void)failed(proc, "cancelled");
        end_task(proc, false);
        return;
    }
    if (proc->member->disk_hung_since) {
        sim_in(sim, MS(50), &proc->actor, task_step, proc, serial);
        return;
    }
    const Step step = steps[s->task.kind](proc);
    if (step == STEP_AGAIN)
        return;
    s->task.unchanged = step == STEP_UNCHANGED;
    end_task(proc, step == STEP_DONE);
}

bool server_begin(Server *server, const ServerTask *task, Error *err)
{
    AgentProc *proc = proc_of_server(server);
    SimServer *s = &proc->server;
    if (!proc_boundary(proc, task_name(task->kind)))
        return error_set(err, ERR_UNAVAILABLE, "the process is gone");
    if (s->task.running)
        return error_set(err, ERR_CONFLICT, "%s is under way", task_name(s->task.kind));
    ASSERT(steps[task->kind]);
    s->task = (TaskView){.kind = task->kind,
                         .number = s->task.number + 1,
                         .running = true,
                         .began_at = host_now(proc->member)};
    s->wanted = *task;
    s->wanted.upstream = (Upstream){0};
    (void)copy_text(s->upstream, sizeof s->upstream,
                    task->upstream.member ? task->upstream.member : "");
    s->cancelled = false;
    s->phase = 0;
    trace(proc->sim, "task   %s: %s %s", proc->member->name, task_name(task->kind), s->upstream);
    next_step(proc, roll(proc->sim, 0, MS(1)));
    return true;
}

void server_cancel(Server *server)
{
    AgentProc *proc = proc_of_server(server);
    if (proc->zombie || !proc->server.task.running)
        return;
    proc->server.cancelled = true;
    next_step(proc, roll(proc->sim, MS(1), MS(50)));
}
