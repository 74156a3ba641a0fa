// pg_rewind, and what must hold before and after it.
#include "agent/postgres/divergence.h"
#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <string.h>
#include <sys/wait.h>

#define QUERY_MS      5000
#define CHECKPOINT_MS 120000

static const char *marker(TaskRun *run)
{
    return state_path(run, "rewind-in-progress");
}

bool rewind_is_half_done(TaskRun *run)
{
    return disk_kind(run->disk, marker(run)) == PATH_FILE;
}

// --- the source gate

typedef struct {
    bool in_recovery, superuser;
    uint32_t timeline, control_timeline;
    char started[40]; // when its postmaster was
} Source;

static bool look_at_source(TaskRun *run, PgConn *pg, Source *out, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    uint64_t control;
    Lsn timeline;
    if (!pg_query(pg,
                  "SELECT r, CASE WHEN r THEN '0/0' ELSE"
                  " '0/' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END,"
                  " (SELECT timeline_id FROM pg_control_checkpoint()),"
                  " current_setting('is_superuser'),"
                  " extract(epoch FROM pg_postmaster_start_time())"
                  " FROM (SELECT pg_is_in_recovery() AS r OFFSET 0) AS x",
                  task_deadline(run, QUERY_MS), &rows, err))
        return false;
    if (!lsn_parse(pg_text(rows, 0, 1), &timeline) ||
        !parse_uint64(pg_text(rows, 0, 2), &control) || control > UINT32_MAX)
        return error_set(err, ERR_INVALID, "answer of an unknown shape");
    *out = (Source){.in_recovery = str_eq(pg_text(rows, 0, 0), "t"),
                    .timeline = (uint32_t)timeline,
                    .control_timeline = (uint32_t)control,
                    .superuser = str_eq(pg_text(rows, 0, 3), "on")};
    return copy_text(out->started, sizeof out->started, pg_text(rows, 0, 4)) ||
           error_set(err, ERR_INVALID, "answer of an unknown shape");
}

// pg_rewind reads the source's control file: before the first checkpoint on a new timeline it would
// find the old one there and see nothing to do.
static bool source_gate(TaskRun *run, Source *source, Error *err)
{
    AUTO(pg_release) PgConn *pg = NULL;
    task_phase(run, "looking at the leader");
    if (run->task->upstream.checkpoint_pending)
        return error_set(err, ERR_UNAVAILABLE, "leader %s has not made its checkpoint yet",
                         str_or(run->task->upstream.member, "?"));
    if (!task_connect_upstream(run, rewind_auth(run->pg), false, &pg, err) ||
        !look_at_source(run, pg, source, err))
        return error_wrap(err, "leader");
    if (!source->in_recovery && source->timeline != source->control_timeline && source->superuser) {
        task_phase(run, "checkpoint on the leader");
        if (!pg_exec(pg, "CHECKPOINT", task_deadline(run, CHECKPOINT_MS), err) ||
            !look_at_source(run, pg, source, err))
            return error_wrap(err, "leader");
    }
    if (source->in_recovery)
        return error_set(err, ERR_UNAVAILABLE,
                         "leader %s is in recovery: only a primary can be "
                         "the source of a rewind",
                         str_or(run->task->upstream.member, "?"));
    if (source->timeline != source->control_timeline)
        return error_set(err, ERR_UNAVAILABLE,
                         "leader %s is on timeline %u, its control file still "
                         "on %u: a checkpoint is needed there",
                         str_or(run->task->upstream.member, "?"), source->timeline,
                         source->control_timeline);
    return true;
}

// Was it the source's end that ended the rewind? Then that says nothing of the next try.
static bool source_has_gone(TaskRun *run, const Source *before)
{
    Source now;
    Error ignored = {0};
    return !source_gate(run, &now, &ignored) || !str_eq(now.started, before->started);
}

// --- WAL that was not archived yet

static bool setting_of_stopped(TaskRun *run, const char *name, const char **out, Error *err)
{
    Arena *arena = run->arena;
    StringList argv = {0};
    const char *output;
    string_list_add(&argv, arena,
                    program_path(arena, run->pg, str_or(run->pg->bin_name_postgres, "postgres")));
    const char *rest[] = {"-D", run->pg->data_dir,
                          arena_printf(arena, "--config-file=%s", conf_path(run)), "-C", name};
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        string_list_add(&argv, arena, rest[i]);
    const Program program = {.id = "task-setting", .argv = &argv};
    if (!task_run_ok(run, &program, &output, err))
        return false;
    *out = arena_strndup(arena, output, strcspn(output, "\n"));
    return true;
}

// %p, %f and %% as in PostgreSQL's shell_archive.c.
static const char *fill_in(Arena *arena, const char *command, const char *path, const char *file)
{
    Text text = text_new(arena);
    for (const char *s = command; *s != '\0'; s++) {
        if (s[0] == '%' && s[1] == 'p')
            text_add(&text, path);
        else if (s[0] == '%' && s[1] == 'f')
            text_add(&text, file);
        else if (s[0] == '%' && s[1] == '%')
            text_add_char(&text, '%');
        else {
            text_add_char(&text, *s);
            continue;
        }
        s++;
    }
    return text.data;
}

static bool archive_one(TaskRun *run, const char *command, const char *file, Error *err)
{
    Arena *arena = run->arena;
    const char *wal = arena_printf(arena, "pg_wal/%s", file);
    StringList argv = {0};
    string_list_add(&argv, arena, "sh");
    string_list_add(&argv, arena, "-c");
    string_list_add(&argv, arena,
                    arena_printf(arena, "cd \"$HOWDAH_DATA_DIR\" && { %s\n}",
                                 fill_in(arena, command, wal, file)));
    const char *env[] = {arena_printf(arena, "HOWDAH_DATA_DIR=%s", run->pg->data_dir), NULL};
    const Program program = {.id = "task-archive", .argv = &argv, .extra_env = env};
    if (!task_run_ok(run, &program, NULL, err))
        return false;
    const char *status = data_path(run, arena_printf(arena, "pg_wal/archive_status/%s", file));
    return disk_rename(run->disk, arena_printf(arena, "%s.ready", status),
                       arena_printf(arena, "%s.done", status), err);
}

// An archive that is down must not keep the member out for ever, hence only a warning; what lies
// after the fork has been saved anyway.
static void archive_ready(TaskRun *run)
{
    DiskListing found;
    Error err = {0};
    const char *mode, *command;
    task_phase(run, "archiving what is not archived yet");
    if (!disk_list(run->disk, run->arena, data_path(run, "pg_wal/archive_status"), &found, &err) ||
        !setting_of_stopped(run, "archive_mode", &mode, &err) ||
        !setting_of_stopped(run, "archive_command", &command, &err)) {
        log_warn("cannot tell what is not archived yet error='%s'", err.text);
        return;
    }
    if (str_eq(mode, "off") || str_empty(command) || str_eq(command, "(disabled)"))
        return;
    for (size_t i = 0; i < found.count && !task_cancelled(run); i++) {
        const char *name = found.entries[i].name;
        if (!str_ends(name, ".ready"))
            continue;
        const char *file = arena_strndup(run->arena, name, strlen(name) - strlen(".ready"));
        if (!archive_one(run, command, file, &err)) {
            log_warn("a WAL file could not be archived before the rewind file=%s error='%s'", file,
                     err.text);
            return;
        }
    }
}

// --- the program

static bool config_is_outside(TaskRun *run)
{
    return !str_empty(run->pg->config_dir) && !str_eq(run->pg->config_dir, run->pg->data_dir);
}

static bool rewind_command(TaskRun *run, StringList *argv, const char **env, Error *err)
{
    Arena *arena = run->arena;
    StringList notes = {0};
    const char *conninfo, *restore;
    if (!task_upstream_conninfo(run, rewind_auth(run->pg), "read-write", &conninfo, env, err) ||
        !setting_of_stopped(run, "restore_command", &restore, err))
        return false;
    string_list_add(argv, arena,
                    program_path(arena, run->pg, str_or(run->pg->bin_name_pg_rewind, "pg_rewind")));
    if (!str_empty(restore) && (run->seen.major >= 15 || !config_is_outside(run)))
        string_list_add(argv, arena, "--restore-target-wal");
    if (run->seen.major >= 15 && config_is_outside(run))
        string_list_add(argv, arena, arena_printf(arena, "--config-file=%s", conf_path(run)));
    string_list_add(argv, arena, "-D");
    string_list_add(argv, arena, run->pg->data_dir);
    string_list_add(argv, arena, arena_printf(arena, "--source-server=%s", conninfo));
    if (!options_add(arena, &rewind_options, tree_get(run->pg->section, "rewind"), argv, &notes,
                     err))
        return false;
    for (size_t i = 0; i < notes.count; i++)
        log_warn("%s", notes.items[i]);
    return true;
}

// Printed when the source has been compared and before the first byte is written.
static bool had_begun(const char *output)
{
    return strstr(output, "rewinding from last common checkpoint") != NULL;
}

static bool run_rewind(TaskRun *run, Error *err)
{
    StringList argv = {0};
    ChildExit exit;
    const char *env[5] = {"LANG=C", "LC_ALL=C", "PGOPTIONS=-c statement_timeout=0"};
    if (!rewind_command(run, &argv, &env[3], err))
        return false;
    const Program program = {.id = "task-rewind", .argv = &argv, .extra_env = env};
    const bool was_half_done = rewind_is_half_done(run);
    task_phase(run, "pg_rewind");
    if (!disk_write(run->disk, marker(run), "rewind\n", 0600, err) ||
        !task_run(run, &program, &exit, err))
        return false;
    run->changed = true;
    if (WIFEXITED(exit.status) && WEXITSTATUS(exit.status) == 0)
        return true;
    if (!was_half_done && !had_begun(exit.output)) {
        run->changed = false;
        Error left; // then the next start refuses, and a rewind clears it
        if (!disk_remove(run->disk, marker(run), &left))
            log_warn("cannot remove a marker error='%s'", left.text);
    }
    return task_complain("pg_rewind", run->arena, &exit, err);
}

// The source has no standby.signal, so neither has the target now; and its configuration is the
// source's until the start writes ours.
static bool finish(TaskRun *run, Error *err)
{
    return conf_set_signal(run, true, err) && disk_remove(run->disk, marker(run), err) &&
           disk_sync_directory(run->disk, run->settings->howdah.state_dir, err) &&
           inspect_directory(run, err) && inspect_control(run, err);
}

static bool prepare(TaskRun *run, Source *source, DivergenceFacts *leader, Error *err)
{
    if (!source_gate(run, source, err) || !leader_facts(run, leader, err))
        return false;
    if (!stop_server(run, STOP_FAST, false, err) || !inspect_directory(run, err))
        return false;
    if (run->seen.dir != DIR_VALID)
        return error_set(err, ERR_INVALID, "%s is no data directory", run->pg->data_dir);
    if (!inspect_control(run, err))
        return false;
    const char *ours = run->task->system_identifier;
    if (!str_empty(ours) && !str_eq(ours, run->seen.control.data.system_identifier))
        return error_set(err, ERR_INVALID,
                         "the data directory belongs to another cluster: %s, "
                         "ours is %s",
                         run->seen.control.data.system_identifier, ours);
    // With the restore_command of a standby, which pg_rewind may need.
    return conf_write(run, CONF_STANDBY, &run->task->upstream, NULL, err);
}

bool task_rewind(TaskRun *run, Error *err)
{
    Source source;
    DivergenceFacts leader = {0};
    bool ok = prepare(run, &source, &leader, err);
    // A half-rewound directory was saved from at the first try, and can no longer be read.
    if (ok && !rewind_is_half_done(run)) {
        ok = recover_single_user(run, err) && save_lost_writes(run, &leader.leader_history, err);
        if (ok)
            archive_ready(run);
    }
    if (ok) {
        ok = run_rewind(run, err) && finish(run, err);
        run->source_lost = !ok && source_has_gone(run, &source);
    }
    if (!postmaster_runs(run->server, NULL))
        inspect_publish(run);
    return ok || error_wrap(err, "rewind");
}
