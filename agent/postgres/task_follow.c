// What changes in a running server: promotion, the upstream, its settings.
#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <signal.h>

#define CONNECT_MS 2000
#define SIGNAL_MS  5000
#define LOADED_MS  1000 // for every process to have read the files again

static bool running_or_fail(TaskRun *run, ChildView *child, Error *err)
{
    return postmaster_runs(run->server, child) ||
           error_set(err, ERR_CONFLICT, "postgres does not run");
}

// --- promotion

// PostgreSQL counts on from the timeline it recovers along: the newest that has a history, or is in
// the control file, without counting our own tombstones.
static bool timeline_now(TaskRun *run, PgConn *pg, uint32_t *out, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    uint64_t timeline;
    if (!pg_query(pg,
                  "SELECT greatest((SELECT timeline_id FROM pg_control_checkpoint()),"
                  " (SELECT min_recovery_end_timeline FROM pg_control_recovery()),"
                  " (SELECT received_tli FROM pg_stat_wal_receiver))",
                  task_deadline(run, CONNECT_MS), &rows, err))
        return false;
    if (!parse_uint64(pg_text(rows, 0, 0), &timeline) || timeline == 0 || timeline >= UINT32_MAX)
        return error_set(err, ERR_INVALID, "the server does not tell its timeline");
    *out = (uint32_t)timeline;
    return true;
}

static void note_promoted(LocalServer *server, Instant started_at)
{
    pthread_mutex_lock(&server->lock);
    server->shared.promoted = started_at;
    pthread_mutex_unlock(&server->lock);
}

// From the moment this leaves, the server may be writing: noted before, taken back only when the
// server itself says that it did not pass it on.
static bool ask(TaskRun *run, PgConn *pg, const ChildView *child, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    note_promoted(run->server, child->started_at);
    run->changed = true;
    task_phase(run, "promoting");
    const bool answered =
        pg_query(pg, "SELECT pg_promote(false)", task_deadline(run, CONNECT_MS), &rows, err);
    if (answered && str_eq(pg_text(rows, 0, 0), "t"))
        return true;
    if (answered || err->kind == ERR_INVALID || err->kind == ERR_UNAVAILABLE) {
        note_promoted(run->server, (Instant){0});
        if (answered)
            return error_set(err, ERR_UNAVAILABLE, "the server did not take the promotion");
    }
    return error_wrap(err, "promote");
}

// A tombstone is not archived: under its number the archive may hold the real history of a member
// that died, and an archive_command that refuses to overwrite would then fail for ever.
static void warn_of_archive(TaskRun *run, PgConn *pg)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    Error ignored; // then nobody is warned
    if (run->changed &&
        pg_query(pg, "SHOW archive_mode", task_deadline(run, CONNECT_MS), &rows, &ignored) &&
        !str_eq(pg_text(rows, 0, 0), "off"))
        log_warn("timelines were skipped that the archive does not know: recovery from the archive "
                 "alone must name its target timeline, \"latest\" stops before the gap through=%u",
                 run->task->reserve_through);
}

bool task_promote(TaskRun *run, Error *err)
{
    ChildView child;
    uint32_t own;
    AUTO(pg_release) PgConn *pg = NULL;
    if (!running_or_fail(run, &child, err) || !task_hook(run, "pre_promote", 0, err) ||
        !task_connect(run, task_deadline(run, CONNECT_MS), &pg, err))
        return false;
    if (run->task->reserve_through > 0) {
        task_phase(run, "reserving timelines");
        if (!timeline_now(run, pg, &own, err) ||
            !tombstones_write(run, own, run->task->reserve_through, err))
            return false;
        warn_of_archive(run, pg);
    }
    if (task_cancelled(run))
        return error_set(err, ERR_UNAVAILABLE, "cancelled");
    if (!ask(run, pg, &child, err))
        return false;
    // The disk thread watches for the end of recovery between its jobs, to wake the turn.
    LocalServer *server = run->server;
    pg_release(&server->worker.promotion);
    server->worker.promotion = TAKE(pg);
    server->worker.promotion_asked = clock_now(server->clock);
    server->worker.promotion_nudged = (Instant){0};
    server->worker.promotion_until = instant_plus_ms(server->worker.promotion_asked, 30000);
    return true;
}

// --- reload

static bool signal_reload(TaskRun *run, Error *err)
{
    LocalServer *server = run->server;
    run->changed = true;
    return server->processes->ops->signal(server->processes, CHILD_POSTGRES, SIGHUP,
                                          task_deadline(run, SIGNAL_MS), err) ||
           error_wrap(err, "reload");
}

// Between two tries to stream, PostgreSQL's startup process sleeps up to
// wal_retrieve_retry_interval. Any wake-up will do, and a reload is the one that changes nothing.
void wake_recovery(TaskRun *run)
{
    Error err = {0};
    if (!signal_reload(run, &err))
        log_debug("startup process not woken error='%s'", err.text);
}

static bool load_time(TaskRun *run, PgConn *pg, const char **out, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    if (!pg_query(pg, "SELECT pg_conf_load_time()", task_deadline(run, CONNECT_MS), &rows, err))
        return false;
    *out = arena_strdup(run->arena, str_or(pg_text(rows, 0, 0), ""));
    return true;
}

// A reload is over for us when our own backend has read the files: it is told after the postmaster
// has. What the server then thinks of the settings decides about "pending restart".
bool reload_server(TaskRun *run, Error *err)
{
    AUTO(pg_release) PgConn *pg = NULL;
    const char *before, *now = "";
    if (!task_connect(run, task_deadline(run, CONNECT_MS), &pg, err) ||
        !load_time(run, pg, &before, err) || !signal_reload(run, err))
        return false;
    const Deadline deadline = task_deadline(run, LOADED_MS);
    do {
        if (!task_sleep(run, 5, err) || !load_time(run, pg, &now, err))
            return false;
    } while (str_eq(before, now) && !deadline_over(run->server->clock, deadline));
    return pending_check(run->server, run->copy, pg, err);
}

bool task_reload(TaskRun *run, Error *err)
{
    bool changed = false;
    if (!inspect_directory(run, err))
        return false;
    if (run->seen.dir != DIR_VALID)
        return error_set(err, ERR_INVALID, "%s is no data directory", run->pg->data_dir);
    if (!conf_write(run, CONF_KEEP, NULL, &changed, err))
        return false;
    inspect_publish(run);
    // Always, for files that ours include may have changed, too.
    return !run->task->keep_running || !postmaster_runs(run->server, NULL) ||
           reload_server(run, err);
}

// --- whom it follows

// Without a connection (a standby that does not accept any yet) the signal file has to do.
static bool is_standby(TaskRun *run, PgConn *pg, bool *out, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    *out = run->seen.standby_signal;
    if (pg == NULL)
        return true;
    if (!pg_query(pg, "SELECT pg_is_in_recovery()", task_deadline(run, CONNECT_MS), &rows, err))
        return false;
    *out = str_eq(pg_text(rows, 0, 0), "t");
    return true;
}

// Until the WAL receiver has left its old upstream: who asked for the new one should not still find
// the old one. What comes of it after that is for the monitoring query to see.
static bool receiver_has_turned(TaskRun *run, PgConn *pg, bool *out, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    const Upstream *up = &run->task->upstream;
    const int port = up->port > 0 ? up->port : 5432;
    if (!pg_query(pg, "SELECT sender_host, sender_port FROM pg_stat_wal_receiver",
                  task_deadline(run, CONNECT_MS), &rows, err))
        return false;
    *out =
        PQntuples(rows) == 0 || (str_eq(pg_text(rows, 0, 0), up->host) &&
                                 str_eq(pg_text(rows, 0, 1), arena_printf(run->arena, "%d", port)));
    return true;
}

static bool wait_for_receiver(TaskRun *run, PgConn *pg, Error *err)
{
    const Deadline deadline = task_deadline(run, LOADED_MS);
    bool turned = false;
    while (!turned && !deadline_over(run->server->clock, deadline)) {
        if (!task_sleep(run, 3, err) || !receiver_has_turned(run, pg, &turned, err))
            return false;
    }
    return true;
}

bool task_follow(TaskRun *run, Error *err)
{
    bool changed = false, standby;
    AUTO(pg_release) PgConn *pg = NULL;
    Error unreachable;
    if (!running_or_fail(run, NULL, err) || !inspect_directory(run, err))
        return false;
    if (!task_connect(run, task_deadline(run, CONNECT_MS), &pg, &unreachable) &&
        task_cancelled(run))
        return error_set(err, ERR_UNAVAILABLE, "cancelled");
    if (!is_standby(run, pg, &standby, err))
        return false;
    if (!standby)
        return error_set(err, ERR_CONFLICT, "a primary follows nobody: stop it first");
    if (!conf_write(run, CONF_STANDBY, &run->task->upstream, &changed, err))
        return false;
    inspect_publish(run);
    return signal_reload(run, err) && (pg == NULL || wait_for_receiver(run, pg, err));
}
