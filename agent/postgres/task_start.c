#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define SPAWN_MS      5000
#define POLL_MS       4 // postmaster.pid is looked at so often at first
#define POLL_LATER_MS 25
#define REMAINS_MS    10000
#define RECOVERING_MS 1000 // "starting up" for so long is an answer, too

// --- postmaster.pid: pid, data directory, start time, port, socket directory, listen address,
// shared memory key, status (PostgreSQL: pidfile.h)

typedef struct {
    int64_t pid; // 0: no file, or not readable as one
    char status[16];
} PidFile;

static PidFile read_pid_file(TaskRun *run)
{
    enum { STATUS_LINE = 8 };
    PidFile file = {0};
    char *text = NULL;
    Error err; // then nothing is known
    if (!disk_read(run->disk, run->arena, data_path(run, "postmaster.pid"), 4096, &text, &err) ||
        text == NULL)
        return file;
    char *line = text;
    for (int number = 1; line != NULL; number++) {
        char *next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        if (number == 1 && !parse_int64(line, &file.pid))
            return (PidFile){0};
        if (number == STATUS_LINE) {
            line[strcspn(line, " ")] = '\0';
            (void)copy_text(file.status, sizeof file.status, line);
        }
        line = next;
    }
    return file;
}

// --- the way it went wrong

// Standard error is the container's or the journal's; with a logging collector there is a file.
static const char *log_file(TaskRun *run)
{
    char *text = NULL;
    Error err;
    if (!disk_read(run->disk, run->arena, data_path(run, "current_logfiles"), 4096, &text, &err) ||
        !str_starts(text, "stderr "))
        return NULL;
    const char *name = text + strlen("stderr ");
    return path_join(run->arena, run->pg->data_dir,
                     arena_strndup(run->arena, name, strcspn(name, "\n")));
}

static const char *last_fatal(TaskRun *run)
{
    char *text = NULL;
    Error err;
    const char *path = log_file(run);
    if (path == NULL || !disk_read(run->disk, run->arena, path, 4 * 1024 * 1024, &text, &err) ||
        text == NULL)
        return NULL;
    const char *found = NULL;
    for (const char *s = text; (s = strstr(s, "FATAL: ")) != NULL; s++)
        found = s;
    return found == NULL ? NULL : arena_strndup(run->arena, found, strcspn(found, "\n"));
}

static bool failed_start(TaskRun *run, const ChildExit *exit, Error *err)
{
    const char *why = last_fatal(run);
    if (why == NULL && !str_empty(exit->output))
        why = exit->output;
    if (why == NULL)
        why = "the server's log says why";
    if (WIFSIGNALED(exit->status))
        return error_set(err, ERR_UNAVAILABLE, "postgres was killed by signal %d: %s",
                         WTERMSIG(exit->status), why);
    return error_set(err, ERR_UNAVAILABLE, "postgres ended with status %d: %s",
                     WEXITSTATUS(exit->status), why);
}

// --- waiting

static bool wait_until_up(TaskRun *run, Error *err)
{
    LocalServer *server = run->server;
    const Instant began = clock_now(server->clock);
    Instant recovering = {0};
    for (;;) {
        ChildExit exit;
        bool exited;
        const int64_t waited = instant_ms_between(began, clock_now(server->clock));
        if (!task_wait_postmaster(run, waited < 2000 ? POLL_MS : POLL_LATER_MS, &exited, &exit,
                                  err))
            return false;
        if (exited)
            return failed_start(run, &exit, err);
        if (task_cancelled(run))
            return error_set(err, ERR_UNAVAILABLE, "cancelled while postgres was starting");

        ChildView child;
        const PidFile file = read_pid_file(run);
        if (!postmaster_runs(server, &child) || file.pid != child.pid)
            continue; // a stale file of its predecessor
        if (str_eq(file.status, "ready") || str_eq(file.status, "standby"))
            return true;
        if (!str_eq(file.status, "starting"))
            continue;
        const Instant now = clock_now(server->clock);
        if (!instant_is_set(recovering))
            recovering = now;
        task_phase(run, "recovering");
        if (instant_ms_between(recovering, now) >= RECOVERING_MS)
            return true; // as long as it takes; the monitoring query will see the end
    }
}

// --- starting

// A pid file left by a crash names a pid that may by now belong to something else, and the new
// postmaster would refuse to start for it. The warden says that nothing of this directory runs, so
// PostgreSQL is told what pg_ctl tells it of its own parents: this pid is no rival. It still checks
// the shared memory segment named in the file.
static const char *const *start_environment(TaskRun *run)
{
    const PidFile file = read_pid_file(run);
    StringList extra = {0};
    if (file.pid > 1)
        string_list_add(&extra, run->arena,
                        arena_printf(run->arena, "PG_GRANDPARENT_PID=%lld", (long long)file.pid));
    // Patroni's way to give glibc's allocator another limit in the server than in the agent.
    const char *arenas = task_variable(run, "PG_MALLOC_ARENA_MAX=");
    if (arenas != NULL)
        string_list_add(&extra, run->arena,
                        arena_printf(run->arena, "MALLOC_ARENA_MAX=%s", arenas));
    string_list_add(&extra, run->arena, NULL);
    return task_environment(run, extra.items);
}

// Backends of a postmaster that was killed notice it soon; until then they hold its shared memory.
static bool wait_until_nothing_remains(TaskRun *run, Error *err)
{
    const Deadline deadline = task_deadline(run, REMAINS_MS);
    for (;;) {
        WardenView view;
        run->server->processes->ops->view(run->server->processes, &view);
        if (!view.connected)
            return error_set(err, ERR_UNAVAILABLE, "no warden is attached");
        const ChildView *child = postmaster_of(&view);
        if (child != NULL && child->running)
            return error_set(err, ERR_CONFLICT, "postgres already runs with pid %d", child->pid);
        if (!view.remains)
            return true;
        if (deadline_over(run->server->clock, deadline))
            return error_set(err, ERR_CONFLICT, "processes of %s are still there",
                             run->pg->data_dir);
        task_phase(run, "waiting for the last processes of the former server");
        if (!task_sleep(run, 3, err))
            return false;
    }
}

static bool spawn_postmaster(TaskRun *run, const PostmasterCommand *command, Error *err)
{
    LocalServer *server = run->server;
    StringList argv = command->argv;
    string_list_add(&argv, run->arena, NULL);
    const SpawnRequest request = {.id = CHILD_POSTGRES,
                                  .argv = argv.items,
                                  .env = start_environment(run),
                                  .postmaster = true};
    if (server->processes->ops->spawn(server->processes, &request, task_deadline(run, SPAWN_MS),
                                      err))
        return true;
    // Perhaps it was: then it is there.
    if (err->kind == ERR_UNCERTAIN && postmaster_runs(server, NULL))
        return true;
    return error_wrap(err, "start postgres");
}

// What a standby had to raise is what its restart will lower again.
static void publish_raised(TaskRun *run, const PostmasterCommand *command)
{
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Tree *all = command->raised_count > 0 ? tree_map(arena) : NULL;
    for (size_t i = 0; i < command->raised_count; i++) {
        const RaisedSetting *raised = &command->raised[i];
        Tree *reason = tree_map(arena);
        tree_set(arena, reason, "old_value", tree_string(arena, raised->control));
        tree_set(arena, reason, "new_value", tree_string(arena, raised->wanted));
        tree_set(arena, all, arena_strdup(arena, raised->name), reason);
        log_warn("setting raised to what the primary had, until the next restart name=%s "
                 "from=%s to=%s",
                 raised->name, raised->wanted, raised->control);
    }
    pending_publish(run->server, arena, all);
}

static void note_custom_start(TaskRun *run)
{
    ChildView child;
    if (disk_kind(run->disk, state_path(run, "custom-bootstrap")) != PATH_FILE ||
        !postmaster_runs(run->server, &child))
        return;
    pthread_mutex_lock(&run->server->lock);
    run->server->shared.custom_start = child.started_at;
    pthread_mutex_unlock(&run->server->lock);
}

static uint32_t newest_known(const ControlData *control)
{
    return control->min_recovery_timeline > control->timeline ? control->min_recovery_timeline
                                                              : control->timeline;
}

static bool start(TaskRun *run, const ConfInput *input, Error *err)
{
    const PostmasterCommand command =
        postmaster_command(run->arena, input, conf_path(run), &run->seen.control.data);
    run->changed = true;
    task_phase(run, "starting");
    inspect_publish(run);
    if (!spawn_postmaster(run, &command, err))
        return false;
    publish_raised(run, &command);
    note_custom_start(run);
    if (!wait_until_up(run, err))
        return false;
    Error copies; // a convenience for later clones: no reason to call the start a failure
    if (!conf_save_backups(run, &copies))
        log_warn("cannot keep copies of the configuration files error='%s'", copies.text);
    return true;
}

static bool look_first(TaskRun *run, Error *err)
{
    if (!wait_until_nothing_remains(run, err) || !inspect_directory(run, err))
        return false;
    if (run->seen.dir != DIR_VALID)
        return error_set(err, ERR_INVALID, "%s is not a data directory that can be started",
                         run->pg->data_dir);
    if (rewind_is_half_done(run))
        return error_set(err, ERR_INVALID, "%s was left half rewound: rewind it again, or clone",
                         run->pg->data_dir);
    if (!inspect_control(run, err))
        return false;
    return tombstones_prune(run, newest_known(&run->seen.control.data), err);
}

// A custom bootstrap may end in recovery to a target, which is no start as a standby: the signal
// file stays, and so does what was asked for.
static bool is_custom_recovery(TaskRun *run)
{
    return disk_kind(run->disk, state_path(run, "custom-bootstrap")) == PATH_FILE &&
           disk_kind(run->disk, data_path(run, "recovery.signal")) == PATH_FILE;
}

bool task_start_primary(TaskRun *run, Error *err)
{
    if (!look_first(run, err))
        return false;
    if (is_custom_recovery(run)) {
        const ConfInput recovering = conf_input(run, CONF_PRIMARY, NULL);
        return start(run, &recovering, err);
    }
    if (!conf_write(run, CONF_PRIMARY, NULL, NULL, err) || !conf_set_signal(run, false, err))
        return false;
    const ConfInput input = conf_input(run, CONF_PRIMARY, NULL);
    return start(run, &input, err);
}

bool task_start_standby(TaskRun *run, Error *err)
{
    const Upstream *upstream = &run->task->upstream;
    if (!look_first(run, err))
        return false;
    // The signal file first: a crash between the two must not leave a primary ready to start.
    if (!conf_set_signal(run, true, err) || !conf_write(run, CONF_STANDBY, upstream, NULL, err))
        return false;
    const ConfInput input = conf_input(run, CONF_STANDBY, upstream);
    return start(run, &input, err);
}
