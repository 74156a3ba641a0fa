#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <string.h>

#define SMALL_FILE ((size_t)1024 * 1024)

static DirState directory_state(TaskRun *run, Error *err)
{
    const char *data_dir = run->pg->data_dir;
    switch (disk_kind(run->disk, data_dir)) {
    case PATH_MISSING:
        return DIR_MISSING;
    case PATH_DIRECTORY:
        break;
    case PATH_FILE:
    case PATH_OTHER:
    case PATH_UNREADABLE:
        return DIR_INACCESSIBLE;
    }
    const PathKind version = disk_kind(run->disk, data_path(run, "PG_VERSION"));
    const PathKind control = disk_kind(run->disk, data_path(run, "global/pg_control"));
    if (version == PATH_UNREADABLE || control == PATH_UNREADABLE)
        return DIR_INACCESSIBLE;
    if (version == PATH_FILE && control == PATH_FILE)
        return marker_condemns(run) ? DIR_PARTIAL : DIR_VALID;
    bool empty;
    if (!disk_is_empty(run->disk, data_dir, &empty, err))
        return DIR_INACCESSIBLE;
    return empty ? DIR_MISSING : DIR_PARTIAL;
}

int inspect_major(TaskRun *run)
{
    char *text = NULL;
    Error err;
    int64_t major;
    if (!disk_read(run->disk, run->arena, data_path(run, "PG_VERSION"), 64, &text, &err) ||
        text == NULL)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return parse_int64(text, &major) && major > 0 && major < 1000 ? (int)major : 0;
}

// Names of pods and hosts are not longer than 253 bytes: nothing is cut.
void inspect_upstream(Inspection *seen, ConfUpstream upstream)
{
    (void)copy_text(seen->upstream, sizeof seen->upstream, upstream.member);
    (void)copy_text(seen->upstream_host, sizeof seen->upstream_host, upstream.host);
    seen->upstream_port = upstream.port;
}

bool inspect_directory(TaskRun *run, Error *err)
{
    Inspection *seen = &run->seen;
    const ControlFile control = seen->control;
    const Instant control_at = seen->control_at;
    *seen = (Inspection){.dir = directory_state(run, err)};
    if (seen->dir != DIR_VALID)
        return true;
    seen->control = control;
    seen->control_at = control_at;
    seen->major = inspect_major(run);
    seen->control.data.major = seen->major;
    seen->standby_signal = disk_kind(run->disk, data_path(run, "standby.signal")) == PATH_FILE;
    seen->from_backup = disk_kind(run->disk, data_path(run, "backup_label")) == PATH_FILE;
    char *conf = NULL;
    Error unreadable; // then nobody is known to be followed
    if (disk_read(run->disk, run->arena, conf_path(run), SMALL_FILE, &conf, &unreadable))
        inspect_upstream(seen,
                         conf == NULL ? (ConfUpstream){0} : conf_upstream_of(run->arena, conf));
    return true;
}

bool inspect_control(TaskRun *run, Error *err)
{
    StringList argv = {0};
    string_list_add(&argv, run->arena,
                    program_path(run->arena, run->pg,
                                 str_or(run->pg->bin_name_pg_controldata, "pg_controldata")));
    string_list_add(&argv, run->arena, run->pg->data_dir);
    static const char *const env[] = {"LANG=C", "LC_ALL=C", NULL};
    const Program program = {.id = "task-control", .argv = &argv, .extra_env = env};
    const char *output;
    run->seen.control = (ControlFile){0};
    run->seen.control_at = clock_now(run->server->clock);
    if (!task_run_ok(run, &program, &output, err) ||
        !control_data_parse(output, &run->seen.control, err))
        return error_wrap(err, "control data");
    run->seen.control.data.major = run->seen.major;
    return true;
}

// A file that cannot be read leaves the history unknown, which is never "no".
bool read_history(TaskRun *run, uint32_t timeline, TimelineHistory *out, Error *err)
{
    *out = (TimelineHistory){0};
    if (timeline == 0)
        return true;
    if (timeline == 1) {
        out->timeline = 1;
        return true;
    }
    const char *path = data_path(run, arena_printf(run->arena, "pg_wal/%08X.history", timeline));
    char *text = NULL;
    if (!disk_read(run->disk, run->arena, path, SMALL_FILE, &text, err))
        return false;
    if (text == NULL)
        return error_set(err, ERR_UNAVAILABLE, "%s is missing", path);
    return timeline_parse_history(run->arena, timeline, text, out, err);
}

static void publish_history(LocalServer *server, const TimelineHistory *history)
{
    // Under lock.
    if (history->timeline == 0 || history->timeline == server->shared.history.timeline)
        return;
    arena_free(server->shared.history_arena);
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    TimelineSwitch *parents = ARENA_ARRAY(arena, TimelineSwitch, history->parent_count);
    if (history->parent_count > 0)
        memcpy(parents, history->parents, history->parent_count * sizeof *parents);
    server->shared.history_arena = arena;
    server->shared.history = (TimelineHistory){
        .timeline = history->timeline, .parents = parents, .parent_count = history->parent_count};
}

void inspect_publish(TaskRun *run)
{
    LocalServer *server = run->server;
    const ControlData *control = &run->seen.control.data;
    TimelineHistory history = {0};
    Error err;
    const uint32_t newest = control->min_recovery_timeline > control->timeline
                                ? control->min_recovery_timeline
                                : control->timeline;
    const bool stopped = !postmaster_runs(server, NULL);
    if (control->known && stopped && !read_history(run, newest, &history, &err))
        log_debug("no timeline history timeline=%u error='%s'", newest, err.text);
    pthread_mutex_lock(&server->lock);
    server->shared.inspection = run->seen;
    publish_history(server, &history);
    pthread_mutex_unlock(&server->lock);
}

void history_publish(LocalServer *server, const TimelineHistory *history)
{
    pthread_mutex_lock(&server->lock);
    publish_history(server, history);
    pthread_mutex_unlock(&server->lock);
}

bool task_inspect(TaskRun *run, Error *err)
{
    bool ok = inspect_directory(run, err);
    if (ok && run->seen.dir == DIR_VALID)
        ok = inspect_control(run, err);
    inspect_publish(run); // what could be seen counts, even when the control data could not
    return ok;
}
