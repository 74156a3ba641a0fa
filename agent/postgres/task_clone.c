// A replica from nothing: a base backup of the source, or the user's own methods in order. It ends
// stopped, ready to start as a standby and as nothing else.
#include "agent/postgres/identify.h"
#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <string.h>

#define IDENTIFY_MS 5000
#define RETRY_MS    5000
#define TRIES       2

// --- before

// Somebody else's cluster must not come in the place of ours.
static bool check_source(TaskRun *run, Error *err)
{
    AUTO(pg_release) PgConn *pg = NULL;
    Identity source;
    const char *ours = run->task->system_identifier;
    task_phase(run, "asking the source who it is");
    if (!task_connect_upstream(run, &run->pg->replication, true, &pg, err) ||
        !identify_system(pg, task_deadline(run, IDENTIFY_MS), &source, err))
        return error_wrap(err, "source");
    if (!str_empty(ours) && !str_eq(ours, source.system_identifier))
        return error_set(err, ERR_INVALID,
                         "source %s belongs to another cluster: system identifier %s, ours is %s",
                         str_or(run->task->upstream.member, "?"), source.system_identifier, ours);
    return true;
}

// Empty, or ours to empty: half-made by us, or marked now because the caller asks for a new copy
// over an old one (which it may only with a proof of its own, TASK_WIPE).
static bool take_directory(TaskRun *run, Error *err)
{
    bool empty = true;
    const char *data_dir = run->pg->data_dir;
    const PathKind kind = disk_kind(run->disk, data_dir);
    if (kind != PATH_MISSING && kind != PATH_DIRECTORY)
        return error_set(err, ERR_UNAVAILABLE, "%s is not a directory we can use", data_dir);
    if (kind == PATH_DIRECTORY && !disk_is_empty(run->disk, data_dir, &empty, err))
        return false;
    if (!empty && !marker_is_set(run))
        return error_set(err, ERR_INVALID, "%s is not empty, and not a half-made copy of ours",
                         data_dir);
    run->server->worker.bootstrapping = false;
    return marker_set(run, "clone\n", err);
}

static bool empty_directory(TaskRun *run, Error *err)
{
    task_phase(run, "emptying the data directory");
    return wipe_directory(run, err) && marker_set(run, "clone\n", err);
}

// --- the ways

static bool base_backup(TaskRun *run, Error *err)
{
    Arena *arena = run->arena;
    StringList argv = {0}, notes = {0};
    const char *conninfo, *env[2] = {NULL, NULL};
    const Tree *options = run->pg->basebackup;
    if (!task_upstream_conninfo(run, &run->pg->replication, NULL, &conninfo, &env[0], err))
        return false;
    string_list_add(
        &argv, arena,
        program_path(arena, run->pg, str_or(run->pg->bin_name_pg_basebackup, "pg_basebackup")));
    string_list_add(&argv, arena, arena_printf(arena, "--pgdata=%s", run->pg->data_dir));
    string_list_add(&argv, arena, "-X");
    string_list_add(&argv, arena, "stream");
    string_list_add(&argv, arena, arena_printf(arena, "--dbname=%s", conninfo));
    string_list_add(&argv, arena, "--no-password"); // there is nobody to type one
    if (!options_have(options, "checkpoint"))
        string_list_add(&argv, arena, "--checkpoint=fast");
    if (!options_add(arena, &basebackup_options, options, &argv, &notes, err))
        return false;
    for (size_t i = 0; i < notes.count; i++)
        log_warn("%s", notes.items[i]);
    const Program program = {.id = "task-basebackup", .argv = &argv, .extra_env = env};
    for (int i = 1;; i++) {
        if (!empty_directory(run, err))
            return false;
        task_phase(run, "base backup");
        if (task_run_ok(run, &program, NULL, err))
            return true;
        if (i == TRIES || task_cancelled(run))
            return false;
        log_warn("base backup failed, trying again error='%s'", err->text);
        if (!task_sleep(run, RETRY_MS, err))
            return false;
    }
}

static void add_section(TaskRun *run, const Tree *section, bool no_params, StringList *argv)
{
    for (size_t i = 0; section != NULL && i < section->count; i++) {
        const char *key = section->entries[i].key;
        const char *value = tree_scalar_text(run->arena, section->entries[i].value);
        const bool meant_for_us =
            str_eq(key, "no_params") || str_eq(key, "no_leader") || str_eq(key, "keep_data");
        if (str_eq(key, "command") || value == NULL || (no_params && meant_for_us))
            continue;
        string_list_add(argv, run->arena, arena_printf(run->arena, "--%s=%s", key, value));
    }
}

static bool custom_method(TaskRun *run, const char *method, const Tree *section, Error *err)
{
    Arena *arena = run->arena;
    StringList argv;
    const bool no_params = tree_get_bool(section, "no_params", false);
    const bool keep_data = tree_get_bool(section, "keep_data", false) && !no_params;
    const char *conninfo = "", *env[2] = {NULL, NULL};
    if (!str_empty(run->task->upstream.host) &&
        !task_upstream_conninfo(run, &run->pg->replication, NULL, &conninfo, &env[0], err))
        return false;
    if (!shell_split(arena, tree_get_string(section, "command", method), &argv, err))
        return false;
    add_section(run, section, no_params, &argv);
    if (!no_params) {
        string_list_add(&argv, arena, arena_printf(arena, "--scope=%s", run->settings->scope));
        string_list_add(&argv, arena, "--role=replica");
        string_list_add(&argv, arena, arena_printf(arena, "--datadir=%s", run->pg->data_dir));
        string_list_add(&argv, arena, arena_printf(arena, "--connstring=%s", conninfo));
    }
    if (!keep_data && !empty_directory(run, err))
        return false;
    const Program program = {.id = "task-replica", .argv = &argv, .extra_env = env};
    run->changed = true;
    task_phase(run, "replica method");
    return task_run_ok(run, &program, NULL, err);
}

static bool try_method(TaskRun *run, const char *method, Error *err)
{
    const Tree *section = tree_get(run->pg->section, method);
    const bool leaderless = str_empty(run->task->upstream.host);
    if (str_eq(method, "basebackup") && leaderless)
        return error_set(err, ERR_INVALID, "basebackup needs a source");
    if (leaderless && !tree_get_bool(section, "no_leader", false))
        return error_set(err, ERR_INVALID, "method %s needs a source", method);
    if (str_eq(method, "basebackup"))
        return base_backup(run, err);
    return custom_method(run, method, section, err) || error_wrap(err, "method %s", method);
}

static bool try_all(TaskRun *run, Error *err)
{
    const StringList *methods = &run->pg->create_replica_methods;
    if (run->task->clone_method != NULL)
        return try_method(run, run->task->clone_method, err);
    if (methods->count == 0)
        return try_method(run, "basebackup", err);
    for (size_t i = 0; i < methods->count; i++) {
        if (try_method(run, methods->items[i], err))
            return true;
        if (task_cancelled(run))
            return false;
        log_warn("replica method failed method=%s error='%s'", methods->items[i], err->text);
    }
    return false;
}

// --- after

// The marker goes last: until everything is in place the directory counts as half-made.
static bool finish(TaskRun *run, Error *err)
{
    task_phase(run, "writing configuration");
    if (!conf_restore_backups(run, err) || !disk_remove(run->disk, data_path(run, "promote"), err))
        return false;
    run->seen = (Inspection){.dir = DIR_VALID, .major = inspect_major(run)};
    if (!conf_set_signal(run, true, err) ||
        !conf_write(run, CONF_STANDBY, &run->task->upstream, NULL, err) ||
        !disk_sync_directory(run->disk, run->pg->data_dir, err) || !inspect_control(run, err))
        return false;
    const char *ours = run->task->system_identifier;
    const char *theirs = run->seen.control.data.system_identifier;
    if (!str_empty(ours) && !str_eq(ours, theirs))
        return error_set(err, ERR_INVALID,
                         "the copy belongs to another cluster: system identifier "
                         "%s, ours is %s",
                         theirs, ours);
    return marker_clear(run, err) && inspect_directory(run, err);
}

static bool clone_upstream(TaskRun *run, Error *err)
{
    if (postmaster_runs(run->server, NULL))
        return error_set(err, ERR_CONFLICT, "postgres runs: stop it first");
    if (!str_empty(run->task->upstream.host) && !check_source(run, err))
        return false;
    return take_directory(run, err) && try_all(run, err) && finish(run, err);
}

bool task_clone(TaskRun *run, Error *err)
{
    const bool ok = clone_upstream(run, err);
    Error look; // the state of the directory is told either way
    if (!ok && inspect_directory(run, &look))
        run->seen.control = (ControlFile){0};
    inspect_publish(run);
    return ok || error_wrap(err, "clone");
}

bool task_wipe(TaskRun *run, Error *err)
{
    if (postmaster_runs(run->server, NULL))
        return error_set(err, ERR_CONFLICT, "postgres runs: stop it first");
    task_phase(run, "emptying the data directory");
    const bool ok =
        wipe_directory(run, err) && marker_clear(run, err) && inspect_directory(run, err);
    if (ok)
        inspect_publish(run);
    return ok;
}
