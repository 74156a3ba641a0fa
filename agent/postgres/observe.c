// What the turn sees: the process by the warden, the server by one query, the directory by the last
// inspection. Nothing here touches a file, and nothing waits past the deadline.
#include "agent/postgres/server_impl.h"

#include "common/os/log.h"

#include <string.h>

#define MISSED_AGAIN_MS 2000 // a history file that was not there is looked for again after that

static bool same_instant(Instant a, Instant b)
{
    return instant_is_set(a) && a.ns == b.ns;
}

const ChildView *postmaster_of(const WardenView *view)
{
    for (size_t i = 0; i < view->child_count; i++)
        if (str_eq(view->children[i].id, CHILD_POSTGRES))
            return &view->children[i];
    return NULL;
}

bool postmaster_runs(LocalServer *server, ChildView *out)
{
    WardenView view;
    server->processes->ops->view(server->processes, &view);
    const ChildView *child = view.connected ? postmaster_of(&view) : NULL;
    if (child == NULL || !child->running)
        return false;
    if (out != NULL)
        *out = *child;
    return true;
}

// --- a copy of what the disk thread has found out

typedef struct {
    Shared shared; // pointers into arenas are not to be used: see history and pending
    TimelineHistory history;
    const Tree *pending;
    TaskView task;
    SettingsCopy *settings;
} Copied;

static TimelineHistory copy_history(Arena *arena, const TimelineHistory *from)
{
    TimelineHistory to = *from;
    TimelineSwitch *parents = ARENA_ARRAY(arena, TimelineSwitch, from->parent_count);
    if (from->parent_count > 0)
        memcpy(parents, from->parents, from->parent_count * sizeof *parents);
    to.parents = parents;
    return to;
}

static Copied copy_shared(LocalServer *server, Arena *arena)
{
    pthread_mutex_lock(&server->lock);
    Copied copied = {.shared = server->shared,
                     .history = copy_history(arena, &server->shared.history),
                     .task = server->task,
                     .settings = settings_copy_ref(server->settings)};
    if (server->shared.pending != NULL)
        copied.pending = tree_copy(arena, server->shared.pending);
    pthread_mutex_unlock(&server->lock);
    return copied;
}

// --- the process

static Instant see_process(const WardenView *warden, const Shared *shared, ServerView *out)
{
    const ChildView *child = postmaster_of(warden);
    out->warden = warden->connected;
    out->remains = warden->remains;
    if (child == NULL)
        return (Instant){0};
    out->running = child->running;
    out->remains = out->remains || child->running;
    out->started_at = child->started_at;
    out->exited_by_itself = !child->running && !same_instant(child->started_at, shared->stopped);
    return child->started_at;
}

// --- the query

static bool reconnect(LocalServer *server, Arena *arena, const Settings *settings, Instant started,
                      Deadline deadline, ServerView *out)
{
    Error err = {0};
    PgFailure failure;
    const PgConnectOptions options = {.clock = server->clock,
                                      .resolver = server->resolver,
                                      .interrupt_fd = -1,
                                      .application_name = APPLICATION_NAME};
    const ConnParams params = local_params(arena, settings);
    if (!pg_connect(&options, &params, deadline, &server->turn.monitor, &failure, &err)) {
        out->refused = str_eq(failure.sqlstate, "57P03"); // cannot_connect_now
        log_debug("no connection to the server error='%s'", err.text);
        return false;
    }
    server->turn.monitor_of = started;
    return true;
}

// The control file is read along only while it can still tell something.
static bool wants_control(const LocalServer *server, Instant started)
{
    const TurnSide *turn = &server->turn;
    if (!same_instant(turn->last_of, started))
        return true;
    if (turn->last.in_recovery)
        return !same_instant(turn->end_timeline_of, started);
    return turn->last.control_timeline != turn->last.timeline;
}

static bool query(LocalServer *server, Arena *arena, const Settings *settings, Instant started,
                  Deadline deadline, ServerView *out, MonitoredRows *rows)
{
    TurnSide *turn = &server->turn;
    Error err = {0};
    if (pg_is_open(turn->monitor) && !same_instant(turn->monitor_of, started))
        pg_release(&turn->monitor); // of a server that is gone
    // A cached connection may have died with a session that somebody ended: then once more.
    for (int i = 0; i < 2; i++) {
        const bool cached = pg_is_open(turn->monitor);
        if (!cached && !reconnect(server, arena, settings, started, deadline, out))
            return false;
        const bool with_control = wants_control(server, started);
        Monitored fresh;
        if (monitor_query(turn->monitor, arena, with_control, deadline, &fresh, rows, &err)) {
            if (!with_control)
                fresh.control_timeline = turn->last.control_timeline;
            turn->last = fresh;
            turn->last_of = started;
            turn->answered_at = clock_now(server->clock);
            return true;
        }
        pg_release(&turn->monitor);
        if (!cached || deadline_over(server->clock, deadline))
            break;
    }
    log_debug("the server did not answer error='%s'", err.text);
    return false;
}

// --- timelines

// Asks the disk thread for a history file, but not again and again for one that is missing.
static void want_history(LocalServer *server, const Shared *shared, uint32_t timeline)
{
    const Instant now = clock_now(server->clock);
    if (timeline <= 1 || shared->history_wanted == timeline ||
        (shared->history_missed == timeline &&
         instant_ms_between(shared->history_missed_at, now) < MISSED_AGAIN_MS))
        return;
    pthread_mutex_lock(&server->lock);
    server->shared.history_wanted = timeline;
    pthread_mutex_unlock(&server->lock);
    server_wake(server->wake_fd);
}

// The history of a timeline that is, or is an ancestor of, the one whose history we have.
static TimelineHistory history_of(const TimelineHistory *known, uint32_t timeline)
{
    if (timeline == 1)
        return (TimelineHistory){.timeline = 1};
    if (known->timeline == timeline && timeline != 0)
        return *known;
    for (size_t i = 0; i < known->parent_count; i++)
        if (known->parents[i].timeline == timeline)
            return (TimelineHistory){
                .timeline = timeline, .parents = known->parents, .parent_count = i};
    return (TimelineHistory){0};
}

static Lsn later(Lsn a, Lsn b)
{
    return a > b ? a : b;
}

static uint32_t later_timeline(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

// The timeline of the end of a standby's WAL: of max(receive, replay), which is what it is compared
// by. The WAL receiver's own timeline may run ahead of that (it is set before anything has been
// received), so it only names the history to look the position up in; a standby cannot stream along
// a history that it has left. Without a receiver the last answer stands, or else the lower bound
// that the control file gives, until the disk thread has asked by IDENTIFY_SYSTEM.
static uint32_t standby_timeline(LocalServer *server, const Copied *copied, Instant started)
{
    TurnSide *turn = &server->turn;
    const Monitored *m = &turn->last;
    const Shared *shared = &copied->shared;
    const bool cached = same_instant(turn->end_timeline_of, started);
    uint32_t found = cached ? turn->end_timeline : 0;
    if (m->receiver && m->received_timeline != 0) {
        const TimelineHistory known = history_of(&copied->history, m->received_timeline);
        const uint32_t at = timeline_of_position(&known, later(m->receive_lsn, m->replay_lsn));
        if (at == 0)
            want_history(server, shared, m->received_timeline);
        else
            found = at;
    } else if (same_instant(shared->self_timeline_of, started)) {
        found = later_timeline(found, shared->self_timeline);
    }
    if (found != 0) {
        turn->end_timeline = found;
        turn->end_timeline_of = started;
    }
    // Without a receiver it may also move on by the archive, so the question is asked now and then;
    // at once where the receiver has just gone: since the last look it may have brought a later
    // timeline, and who stops the primary waits for a successor no longer than SUCCESSOR_WAIT_MS.
    if (!m->receiver) {
        pthread_mutex_lock(&server->lock);
        server->shared.self_timeline_wanted = true;
        if (turn->had_receiver)
            server->shared.self_timeline_at_once = true;
        pthread_mutex_unlock(&server->lock);
        if (found == 0 || turn->had_receiver)
            server_wake(server->wake_fd);
    }
    turn->had_receiver = m->receiver;
    return found != 0 ? found : m->control_timeline;
}

// --- into the view

static void fill_from_query(LocalServer *server, Arena *arena, const Copied *copied,
                            Instant started, ServerView *out)
{
    const Monitored *m = &server->turn.last;
    out->answered_at = server->turn.answered_at;
    out->in_recovery = m->in_recovery;
    out->timeline = m->in_recovery ? standby_timeline(server, copied, started) : m->timeline;
    out->flush_lsn = m->flush_lsn;
    out->receive_lsn = m->receive_lsn;
    out->replay_lsn = m->replay_lsn;
    out->replay_paused = m->replay_paused;
    out->streaming = m->streaming;
    out->archive_recovery = m->in_recovery && !m->receiver && m->restores;
    out->receiver_host = m->receiver_host[0] == '\0' ? NULL : arena_strdup(arena, m->receiver_host);
    out->receiver_port = m->receiver_port;
    out->latest_end_lsn = m->latest_end_lsn;
    out->server_version = m->server_version;
    out->postmaster_start_us = m->start_us;
    out->postmaster_start_text = arena_strdup(arena, m->start_text);
    out->replayed_us = m->replayed_us;
    out->replayed_text = m->replayed_text[0] == '\0' ? NULL : arena_strdup(arena, m->replayed_text);
    out->checkpoint_pending =
        !m->in_recovery && m->control_timeline != 0 && m->control_timeline != m->timeline;
}

static void fill_history(LocalServer *server, const Copied *copied, ServerView *out)
{
    const uint32_t timeline = server_position(out).timeline;
    out->history = history_of(&copied->history, timeline);
    if (out->history.timeline == 0 && out->running)
        want_history(server, &copied->shared, timeline);
}

static bool is_shut_down(ControlState state)
{
    return state == CONTROL_SHUT_DOWN || state == CONTROL_SHUT_DOWN_IN_RECOVERY;
}

// How the server was stopped the time before last says nothing of how it ended now, nor where.
// While it runs the state says nothing at all, but for one case: a stop of ours that has written
// the last checkpoint and only waits for the archiver.
static void fill_control(const Inspection *seen, Instant exited, ServerView *out)
{
    const TaskView *task = &out->task;
    out->control = seen->control.data;
    if (out->running) {
        const bool stopping = task->kind == TASK_STOP && task->running &&
                              instant_before(task->began_at, seen->control_at);
        if (!stopping || !is_shut_down(out->control.state))
            out->control.state = CONTROL_UNKNOWN;
        return;
    }
    if (instant_is_set(seen->control_at) && !instant_before(seen->control_at, exited))
        return;
    out->control.state = CONTROL_UNKNOWN;
    out->control.checkpoint_lsn = out->control.redo_lsn = out->control.min_recovery_lsn = LSN_NONE;
}

static void fill_directory(Arena *arena, const Inspection *seen, Instant exited, ServerView *out)
{
    out->dir = seen->dir;
    fill_control(seen, exited, out);
    out->standby_signal = seen->standby_signal;
    out->from_backup = seen->from_backup;
    out->upstream = seen->upstream[0] == '\0' ? NULL : arena_strdup(arena, seen->upstream);
    out->upstream_host =
        seen->upstream_host[0] == '\0' ? NULL : arena_strdup(arena, seen->upstream_host);
    out->upstream_port = seen->upstream_port;
}

// --- role and state

// As Patroni guesses at its start: what the directory was last.
static Role role_by_directory(const Inspection *seen)
{
    if (seen->dir != DIR_VALID)
        return ROLE_UNINITIALIZED;
    const ControlState state = seen->control.data.state;
    if (seen->standby_signal || state == CONTROL_SHUT_DOWN_IN_RECOVERY ||
        state == CONTROL_IN_ARCHIVE_RECOVERY)
        return ROLE_REPLICA;
    return ROLE_PRIMARY;
}

static bool stopped_by_us(const ServerView *out, const Shared *shared)
{
    return !out->running && same_instant(out->started_at, shared->stopped);
}

static Role role_now(LocalServer *server, const Copied *copied, Instant started,
                     const ServerView *out)
{
    const Shared *shared = &copied->shared;
    Role role = shared->role_known ? shared->role : role_by_directory(&shared->inspection);
    if (out->answered) {
        const bool promoting = out->in_recovery && same_instant(shared->promoted, started);
        role = !out->in_recovery ? ROLE_PRIMARY : promoting ? ROLE_PROMOTED : ROLE_REPLICA;
    } else if (!out->running && out->dir != DIR_VALID && out->dir != DIR_UNKNOWN) {
        role = ROLE_UNINITIALIZED;
    } else if (role == ROLE_UNINITIALIZED && out->dir == DIR_VALID) {
        role = role_by_directory(&shared->inspection);
    } else if (stopped_by_us(out, shared) && (role == ROLE_PRIMARY || role == ROLE_PROMOTED)) {
        role = ROLE_DEMOTED;
    } else if (role == ROLE_DEMOTED && out->running) {
        role = role_by_directory(&shared->inspection);
    }
    pthread_mutex_lock(&server->lock);
    server->shared.role = role;
    server->shared.role_known = server->shared.role_known || out->dir != DIR_UNKNOWN;
    pthread_mutex_unlock(&server->lock);
    return role;
}

static bool is_start(TaskKind kind)
{
    return kind == TASK_START_PRIMARY || kind == TASK_START_STANDBY;
}

static bool is_custom_bootstrap(const Settings *settings)
{
    const char *method = settings->bootstrap.method;
    return !str_empty(method) && !str_eq(method, "initdb") &&
           tree_path(settings->bootstrap.section, method) != NULL;
}

static ServerState state_running(const Shared *shared, const ServerView *out)
{
    const TaskView *task = &out->task;
    if (task->kind == TASK_STOP)
        return task->running ? STATE_STOPPING : task->ok ? STATE_RUNNING : STATE_STOP_FAILED;
    if (!instant_is_set(out->answered_at) || instant_before(out->answered_at, out->started_at))
        return same_instant(shared->custom_start, out->started_at) ? STATE_BOOTSTRAP_STARTING
                                                                   : STATE_STARTING;
    return STATE_RUNNING;
}

static ServerState state_stopped(const Settings *settings, const ServerView *out)
{
    const TaskView *task = &out->task;
    const bool custom = is_custom_bootstrap(settings);
    if (task->kind == TASK_BOOTSTRAP && task->running)
        return custom ? STATE_CUSTOM_BOOTSTRAP : STATE_INITDB;
    if (task->kind == TASK_BOOTSTRAP && !task->ok)
        return custom ? STATE_CUSTOM_BOOTSTRAP_FAILED : STATE_INITDB_FAILED;
    if (task->kind == TASK_CLONE && task->running)
        return STATE_CREATING_REPLICA;
    if (is_start(task->kind) && task->running)
        return STATE_STARTING;
    if (is_start(task->kind) && !task->ok)
        return STATE_START_FAILED;
    const bool was_primary = out->role == ROLE_PRIMARY || out->role == ROLE_PROMOTED;
    const bool unclean = out->control.known && out->control.state == CONTROL_IN_PRODUCTION;
    if (was_primary && (out->exited_by_itself || unclean))
        return STATE_CRASHED;
    return STATE_STOPPED;
}

void server_observe(Server *base, Arena *arena, Deadline deadline, ServerView *out)
{
    LocalServer *server = (LocalServer *)base;
    Copied copied = copy_shared(server, arena);
    const Settings *settings = &copied.settings->settings;
    MonitoredRows rows = {0};
    WardenView warden;
    *out = (ServerView){.task = copied.task, .disk_busy_ms = disk_busy_ms(&server->disk)};
    server->processes->ops->view(server->processes, &warden);
    const Instant started = see_process(&warden, &copied.shared, out);

    if (!out->running || same_instant(copied.shared.refusing, started))
        pg_release(&server->turn.monitor);
    if (out->warden && out->running)
        out->answered = query(server, arena, settings, started, deadline, out, &rows);
    if (out->running && same_instant(server->turn.last_of, started))
        fill_from_query(server, arena, &copied, started, out);
    out->senders = rows.senders;
    out->sender_count = rows.sender_count;
    out->slots = rows.slots;
    out->slot_count = rows.slot_count;
    out->slots_known = out->answered;

    const ChildView *child = postmaster_of(&warden);
    fill_directory(arena, &copied.shared.inspection, child ? child->exited_at : (Instant){0}, out);
    fill_history(server, &copied, out);
    out->role = role_now(server, &copied, started, out);
    out->state = out->running ? state_running(&copied.shared, out) : state_stopped(settings, out);
    out->pending_restart = out->running && copied.pending != NULL;
    out->pending_restart_reason = out->pending_restart ? copied.pending : NULL;
    settings_copy_unref(copied.settings);
}
