// A running task and what it has at hand. Only the disk thread.
#pragma once
#include "agent/postgres/command_line.h"
#include "agent/postgres/divergence.h"
#include "agent/postgres/identify.h"
#include "agent/postgres/server_impl.h"

typedef struct {
    LocalServer *server;
    SettingsCopy *copy;
    const Settings *settings; // those the task began with
    const PostgresSettings *pg;
    const ServerTask *task;
    Arena *arena; // gone with the task
    Disk *disk;
    int interrupt_fd;      // readable: stop waiting
    bool changed;          // something was changed: no longer safe to call it "unchanged"
    bool source_lost;      // TASK_REWIND
    Divergence divergence; // TASK_CHECK_DIVERGENCE
    Inspection seen;       // by the last task_inspect of this task
} TaskRun;

// One function a kind; table in local_server.c.
typedef bool TaskFunction(TaskRun *run, Error *err);
TaskFunction task_inspect, task_bootstrap, task_post_bootstrap, task_start_primary,
    task_start_standby, task_stop, task_promote, task_follow, task_reload, task_clone,
    task_check_divergence, task_rewind, task_crash_recovery, task_wipe, task_checkpoint;

// --- task.c
void task_phase(TaskRun *run, const char *phase); // a constant, for people
bool task_cancelled(TaskRun *run);
// False, with the error, when the task was cancelled meanwhile.
bool task_sleep(TaskRun *run, int64_t ms, Error *err) MUST_CHECK;
Deadline task_deadline(TaskRun *run, int64_t ms);

typedef struct {
    const char *id; // "task-…"
    const StringList *argv;
    const char *const *extra_env; // "K=V", NULL-terminated; NULL: none
    const char *stdin_text;
    int64_t limit_ms; // ended after that as if cancelled; 0: none
} Program;

// The environment of children: ours without what must not reach them, then extra.
const char *const *task_environment(TaskRun *run, const char *const *extra);
const char *task_variable(TaskRun *run, const char *prefix); // "NAME=": its value, or NULL
// Runs it to its end; any exit status is a success. Cancelled: SIGTERM, then SIGKILL.
bool task_run(TaskRun *run, const Program *program, ChildExit *out, Error *err) MUST_CHECK;
// As above, but anything but exit status 0 is an error with the last lines it printed.
// False, with how it ended and the last lines it printed.
bool task_complain(const char *name, Arena *arena, const ChildExit *exit, Error *err);
bool task_run_ok(TaskRun *run, const Program *program, const char **output, Error *err) MUST_CHECK;
// The user's command under postgresql.<name>, if there is one: without arguments, and waited for.
bool task_hook(TaskRun *run, const char *name, int64_t limit_ms, Error *err) MUST_CHECK;
// Waits at most slice_ms for the postmaster to exit. False: nothing can be known of it.
bool task_wait_postmaster(TaskRun *run, int64_t slice_ms, bool *exited, ChildExit *out, Error *err)
    MUST_CHECK;
// Children of a former agent's tasks: they would work against ours.
bool task_kill_leftovers(TaskRun *run, Error *err) MUST_CHECK;

// Our own server as the superuser.
bool task_connect(TaskRun *run, Deadline deadline, PgConn **out, Error *err) MUST_CHECK;
bool task_try_connect(TaskRun *run, Deadline deadline, PgConn **out, PgFailure *failure,
                      Error *err) MUST_CHECK;                              // says how it failed
bool task_connect_self(TaskRun *run, PgConn **out, Error *err) MUST_CHECK; // walsender protocol
// The upstream. auth says as whom; replication speaks the walsender protocol.
bool task_connect_upstream(TaskRun *run, const PgAuth *auth, bool replication, PgConn **out,
                           Error *err) MUST_CHECK;
const PgAuth *rewind_auth(const PostgresSettings *pg);
// What a program is given to reach the upstream; the password stands in a file for it.
bool task_upstream_conninfo(TaskRun *run, const PgAuth *auth, const char *session_attrs,
                            const char **conninfo, const char **passfile_env, Error *err)
    MUST_CHECK;
bool task_write_passfile(TaskRun *run, const ConnTarget *target, const char **env, Error *err)
    MUST_CHECK;
ConnTarget task_upstream_target(TaskRun *run, const PgAuth *auth);

const char *data_path(TaskRun *run, const char *name);  // in the data directory
const char *state_path(TaskRun *run, const char *name); // in state_dir, which is made first
mode_t data_mode(TaskRun *run); // of files in the data directory: 0600 or 0640

// --- inspect.c
bool inspect_directory(TaskRun *run, Error *err) MUST_CHECK; // cheap, into run->seen
void inspect_upstream(Inspection *seen, ConfUpstream upstream);
bool inspect_control(TaskRun *run, Error *err) MUST_CHECK; // runs pg_controldata
int inspect_major(TaskRun *run);                           // PG_VERSION, 0: not known
void inspect_publish(TaskRun *run);
void history_publish(LocalServer *server, const TimelineHistory *history);
bool read_history(TaskRun *run, uint32_t timeline, TimelineHistory *out, Error *err) MUST_CHECK;

// --- conf_files.c
typedef enum { CONF_PRIMARY, CONF_STANDBY, CONF_KEEP } ConfMode;
const char *conf_path(TaskRun *run); // postgresql.conf
ConfInput conf_input(TaskRun *run, ConfMode mode, const Upstream *upstream);
// Brings every file in line. *changed (may be NULL): something the server must read again.
bool conf_write(TaskRun *run, ConfMode mode, const Upstream *upstream, bool *changed, Error *err)
    MUST_CHECK;
bool conf_save_backups(TaskRun *run, Error *err) MUST_CHECK;
bool conf_restore_backups(TaskRun *run, Error *err) MUST_CHECK;
bool conf_set_signal(TaskRun *run, bool standby, Error *err) MUST_CHECK;

// --- marker.c: whose half-made directory it is
bool marker_set(TaskRun *run, const char *what, Error *err) MUST_CHECK;
bool marker_clear(TaskRun *run, Error *err) MUST_CHECK;
bool marker_is_set(TaskRun *run);
bool marker_condemns(TaskRun *run); // what looks like a data directory must not be used as one
#define BOOTSTRAP_MARK "bootstrap\n"
bool wipe_directory(TaskRun *run, Error *err) MUST_CHECK;

// --- task_stop.c
bool stop_server(TaskRun *run, StopMode mode, bool checkpoint_first, Error *err) MUST_CHECK;
// --- task_follow.c
bool reload_server(TaskRun *run, Error *err) MUST_CHECK; // and compares the settings afterwards
void wake_recovery(TaskRun *run); // a standby's: it tries at once to stream; best effort
// --- divergence.c
bool leader_facts(TaskRun *run, DivergenceFacts *facts, Error *err) MUST_CHECK;
// Our own running server over a replication connection: of a standby, what it replays.
bool identify_self(TaskRun *run, Identity *out, Error *err) MUST_CHECK;
// Where the record at this position ends. Runs pg_waldump; run->seen.control tells the WAL's shape.
bool find_record_end(TaskRun *run, WalPosition at, Lsn *out, Error *err) MUST_CHECK;
// Where the WAL after this position ends, of a stopped server.
bool find_wal_end(TaskRun *run, WalPosition from, Lsn *out, Error *err) MUST_CHECK;
// --- rewind.c
bool rewind_is_half_done(TaskRun *run);
// --- crash_recovery.c
bool recover_single_user(TaskRun *run, Error *err) MUST_CHECK;
// --- replay.c
// A standby whose replay waits for settings that the primary has is made to stop.
bool replay_go_on(TaskRun *run, PgConn *pg, Error *err) MUST_CHECK;
// --- lost_writes.c
bool save_lost_writes(TaskRun *run, const TimelineHistory *leader, Error *err) MUST_CHECK;
// --- timelines.c
bool tombstones_write(TaskRun *run, uint32_t own, uint32_t through, Error *err) MUST_CHECK;
bool tombstones_prune(TaskRun *run, uint32_t own, Error *err) MUST_CHECK;
bool history_is_tombstone(const char *content);
// --- pending.c
// Whether pg_settings shows what is wanted: by type, units and the words for truth counted.
bool setting_equal(const char *type, const char *unit, const char *setting, const char *wanted);
bool pending_check(LocalServer *server, const SettingsCopy *settings, PgConn *pg, Error *err)
    MUST_CHECK;
void pending_publish(LocalServer *server, Arena *arena, const Tree *pending); // takes the arena
