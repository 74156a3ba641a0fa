// Replay that waits for a restart. A standby with fewer connections, workers or locks than its
// primary has stops replaying; up to PostgreSQL 13 it stops altogether and is started with what the
// control file asks for (command_line.c). From 14 on it pauses, and would for ever: resumed, it
// stops as its elders did.
#include "agent/postgres/task.h"

#include "common/os/log.h"

#define PAUSE_QUERY                                                                                \
    "SELECT pg_get_wal_replay_pause_state() = 'paused'"                                            \
    ", current_setting('max_connections'), current_setting('max_worker_processes')"                \
    ", current_setting('max_wal_senders'), current_setting('max_prepared_transactions')"           \
    ", current_setting('max_locks_per_transaction')"                                               \
    " WHERE pg_is_in_recovery()"
#define QUERY_MS 2000

static bool falls_short(const PGresult *rows, const ControlData *control)
{
    const int needed[] = {control->max_connections, control->max_worker_processes,
                          control->max_wal_senders, control->max_prepared_transactions,
                          control->max_locks_per_transaction};
    for (size_t i = 0; i < COUNT_OF(needed); i++) {
        int64_t have;
        if (parse_int64(pg_text(rows, 0, (int)i + 1), &have) && have < needed[i])
            return true;
    }
    return false;
}

bool replay_go_on(TaskRun *run, PgConn *pg, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    if (pg_server_version(pg) < 140000)
        return true;
    if (!pg_query(pg, PAUSE_QUERY, task_deadline(run, QUERY_MS), &rows, err))
        return error_wrap(err, "is replay paused");
    if (!str_eq(pg_text(rows, 0, 0), "t"))
        return true;
    if (!inspect_control(run, err))
        return error_wrap(err, "why is replay paused");
    if (!falls_short(rows, &run->seen.control.data))
        return true; // somebody's own pause, which is theirs to end
    log_warn("the primary has more connections, workers or locks than this standby, whose replay "
             "waits for a restart: letting it stop");
    return pg_exec(pg, "SELECT pg_wal_replay_resume()", task_deadline(run, QUERY_MS), err);
}
