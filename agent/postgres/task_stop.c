// Stopping. What can be done while clients still write is done before the signal: a checkpoint, so
// that the one at shutdown is short, and a look at the WAL senders, for a fast shutdown waits until
// each of them has had everything confirmed, and one whose standby is gone never will.
#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <inttypes.h>
#include <signal.h>

#define CONNECT_MS    1000
#define SENDERS_MS    500  // for a healthy standby to confirm what it was just sent
#define TERMINATE_MS  1000 // for a WAL sender to go when told to
#define SIGNAL_MS     5000
#define QUIT_MS       7000 // PostgreSQL itself kills its children 5 s after an immediate shutdown
#define LOOK_AFTER_MS 300  // the first look at the control file while the archiver keeps it
#define LOOK_EVERY_MS 250

// --- before

// Nothing but closing the connection ends it, so it has all the time it needs.
static bool checkpoint(TaskRun *run, PgConn *pg, Error *err)
{
    const Deadline long_enough = task_deadline(run, INT64_C(24) * 3600 * 1000);
    return pg_exec(pg, "SET statement_timeout = 0", task_deadline(run, 2000), err) &&
           pg_exec(pg, "CHECKPOINT", long_enough, err);
}

bool task_checkpoint(TaskRun *run, Error *err)
{
    AUTO(pg_release) PgConn *pg = NULL;
    return task_connect(run, task_deadline(run, CONNECT_MS), &pg, err) && checkpoint(run, pg, err);
}

// A second one has little left to write when the first took long under load.
static bool checkpoint_twice(TaskRun *run, PgConn *pg, Error *err)
{
    task_phase(run, "checkpoint");
    const Instant began = clock_now(run->server->clock);
    if (!checkpoint(run, pg, err))
        return error_wrap(err, "checkpoint before the stop");
    return instant_ms_between(began, clock_now(run->server->clock)) < 1000 ||
           checkpoint(run, pg, err);
}

// Pids of WAL senders that have not confirmed `mark`. Streaming ones get SENDERS_MS for it; those
// that are still catching up, or copy a whole cluster, would hold the shutdown for as long.
static bool late_senders(TaskRun *run, PgConn *pg, const char *mark, PGresult **out, Error *err)
{
    const char *sql =
        arena_printf(run->arena,
                     "SELECT pid, coalesce(application_name, ''), state FROM pg_stat_replication"
                     " WHERE state <> 'streaming' OR flush_lsn IS NULL OR flush_lsn < '%s'",
                     mark);
    const Deadline deadline = task_deadline(run, SENDERS_MS);
    for (;;) {
        AUTO(pgresult_release) PGresult *rows = NULL;
        if (!pg_query(pg, sql, task_deadline(run, 2000), &rows, err))
            return false;
        if (PQntuples(rows) == 0 || deadline_over(run->server->clock, deadline)) {
            *out = TAKE(rows);
            return true;
        }
        if (!task_sleep(run, 5, err))
            return false;
    }
}

static bool terminate(TaskRun *run, PgConn *pg, const char *pid, Error *err)
{
    const char *end = arena_printf(run->arena, "SELECT pg_terminate_backend(%s)", pid);
    const char *look = arena_printf(
        run->arena, "SELECT 1 FROM pg_stat_get_wal_senders() AS w WHERE w.pid = %s", pid);
    const Deadline deadline = task_deadline(run, TERMINATE_MS);
    if (!pg_exec(pg, end, task_deadline(run, 2000), err))
        return false;
    for (;;) {
        AUTO(pgresult_release) PGresult *rows = NULL;
        if (!pg_query(pg, look, task_deadline(run, 2000), &rows, err))
            return false;
        if (PQntuples(rows) == 0)
            return true;
        if (deadline_over(run->server->clock, deadline))
            return error_set(err, ERR_UNAVAILABLE,
                             "the WAL sender with pid %s does not end, the stop would hang on it",
                             pid);
        if (!task_sleep(run, 5, err))
            return false;
    }
}

// Only a primary has something that its senders must confirm.
static bool cut_silent_senders(TaskRun *run, PgConn *pg, Error *err)
{
    task_phase(run, "asking WAL senders");
    AUTO(pgresult_release) PGresult *mark = NULL;
    AUTO(pgresult_release) PGresult *late = NULL;
    if (!pg_query(pg,
                  "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_flush_lsn() "
                  "END",
                  task_deadline(run, 2000), &mark, err))
        return false;
    if (pg_text(mark, 0, 0) == NULL)
        return true;
    if (!late_senders(run, pg, pg_text(mark, 0, 0), &late, err))
        return false;
    for (int i = 0; i < PQntuples(late); i++) {
        log_warn("ending a WAL sender that does not keep up, for the stop pid=%s name=%s state=%s",
                 pg_text(late, i, 0), pg_text(late, i, 1), str_or(pg_text(late, i, 2), "?"));
        if (!terminate(run, pg, pg_text(late, i, 0), err))
            return false;
    }
    return true;
}

static bool prepare(TaskRun *run, Error *err)
{
    AUTO(pg_release) PgConn *pg = NULL;
    if (!task_connect(run, task_deadline(run, CONNECT_MS), &pg, err))
        return false;
    return checkpoint_twice(run, pg, err) && cut_silent_senders(run, pg, err);
}

// --- after

// While the archiver still works, the control file already says that nothing will be written any
// more, and with what position: the turn may go on from that.
static void look_at_control(TaskRun *run)
{
    Error err; // the next look may be luckier
    Inspection before = run->seen;
    if (!inspect_control(run, &err)) {
        run->seen = before;
        return;
    }
    const ControlState state = run->seen.control.data.state;
    if (state == CONTROL_SHUT_DOWN || state == CONTROL_SHUT_DOWN_IN_RECOVERY)
        task_phase(run, "shut down, waiting for the archiver");
    inspect_publish(run);
}

// A postmaster that cannot be quit (stopped, or beside itself) is killed; its backends notice that,
// and what does not is the warden's.
static void kill_at_last(TaskRun *run)
{
    LocalServer *server = run->server;
    Error ignored; // the wait goes on, and the caller sees that it does
    log_warn("postgres does not quit, killing it");
    (void)server->processes->ops->signal(server->processes, CHILD_POSTGRES, SIGKILL,
                                         task_deadline(run, SIGNAL_MS), &ignored);
}

static bool wait_until_gone(TaskRun *run, StopMode mode, Error *err)
{
    const Instant began = clock_now(run->server->clock);
    Instant looked = began;
    bool killed = false;
    for (;;) {
        ChildExit exit;
        bool exited;
        if (!task_wait_postmaster(run, 50, &exited, &exit, err))
            return false;
        if (exited)
            return true;
        if (task_cancelled(run))
            return error_set(err, ERR_UNAVAILABLE, "cancelled while postgres was stopping");
        const Instant now = clock_now(run->server->clock);
        if (mode == STOP_IMMEDIATE && !killed && instant_ms_between(began, now) > QUIT_MS) {
            kill_at_last(run);
            killed = true;
        }
        if (mode == STOP_FAST && instant_ms_between(began, now) > LOOK_AFTER_MS &&
            instant_ms_between(looked, now) > LOOK_EVERY_MS) {
            look_at_control(run);
            looked = clock_now(run->server->clock);
        }
    }
}

static void note_stopped(LocalServer *server, Instant started_at)
{
    pthread_mutex_lock(&server->lock);
    server->shared.stopped = started_at;
    pthread_mutex_unlock(&server->lock);
}

static bool send_signal(TaskRun *run, const ChildView *child, StopMode mode, Error *err)
{
    LocalServer *server = run->server;
    note_stopped(server, child->started_at);
    run->changed = true;
    task_phase(run, "stopping");
    if (server->processes->ops->signal(server->processes, CHILD_POSTGRES,
                                       mode == STOP_FAST ? SIGINT : SIGQUIT,
                                       task_deadline(run, SIGNAL_MS), err))
        return true;
    if (!postmaster_runs(server, NULL))
        return true; // it was quicker
    if (err->kind != ERR_UNCERTAIN) {
        note_stopped(server, (Instant){0});
        run->changed = false;
    }
    return error_wrap(err, "stop postgres");
}

// Patroni: its result does not count. A stop that nobody planned is in a hurry: the lease may be
// running out.
static void run_hook(TaskRun *run, bool planned)
{
    Error err;
    const int64_t budget = run->settings->howdah.stop_budget_ms;
    if (!task_hook(run, "before_stop", planned ? 0 : budget, &err) && !task_cancelled(run))
        log_warn("stopping all the same error='%s'", err.text);
}

bool stop_server(TaskRun *run, StopMode mode, bool checkpoint_first, Error *err)
{
    ChildView child;
    if (postmaster_runs(run->server, &child)) {
        if (mode == STOP_FAST && checkpoint_first && !prepare(run, err))
            return false;
        if (mode == STOP_FAST)
            run_hook(run, checkpoint_first);
        if (task_cancelled(run))
            return error_set(err, ERR_UNAVAILABLE, "cancelled");
        if (!send_signal(run, &child, mode, err) || !wait_until_gone(run, mode, err))
            return false;
    }
    task_phase(run, "stopped");
    return inspect_directory(run, err) && (run->seen.dir != DIR_VALID || inspect_control(run, err));
}

bool task_stop(TaskRun *run, Error *err)
{
    const bool ok = stop_server(run, run->task->stop_mode, run->task->checkpoint_first, err);
    if (!postmaster_runs(run->server, NULL))
        inspect_publish(run);
    return ok;
}
