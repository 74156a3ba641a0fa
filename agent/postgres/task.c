#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WARDEN_MS      5000  // for one answer of the warden
#define WARDEN_GONE_MS 30000 // how long a task waits for a warden that went away
#define TERM_MS        10000 // between SIGTERM and SIGKILL for a program
#define SLICE_MS       50    // how soon a cancelled task notices
#define CONNECT_MS     10000
#define SPARE_MS       300 // for a connection that is open already

void task_phase(TaskRun *run, const char *phase)
{
    pthread_mutex_lock(&run->server->lock);
    const bool news = !str_eq(run->server->task.phase, phase);
    run->server->task.phase = phase;
    pthread_mutex_unlock(&run->server->lock);
    if (news) // some are named again at every look
        log_debug("task goes on phase='%s'", phase);
}

bool task_cancelled(TaskRun *run)
{
    return atomic_load(&run->server->cancelled);
}

bool task_sleep(TaskRun *run, int64_t ms, Error *err)
{
    struct pollfd fd = {.fd = run->interrupt_fd, .events = POLLIN};
    (void)poll(&fd, 1, (int)ms); // EINTR: a shorter sleep does no harm
    return !task_cancelled(run) || error_set(err, ERR_UNAVAILABLE, "cancelled");
}

Deadline task_deadline(TaskRun *run, int64_t ms)
{
    return deadline_in(run->server->clock, ms);
}

// --- the environment of children

static bool must_not_reach_children(const char *entry)
{
    static const char *const prefixes[] = {"PATRONI_", "HOWDAH_", "KUBERNETES_", "NOTIFY_SOCKET=",
                                           // docker/Dockerfile: for the agent's threads alone
                                           "GLIBC_TUNABLES=glibc.malloc.tcache_count=0"};
    for (size_t i = 0; i < COUNT_OF(prefixes); i++)
        if (str_starts(entry, prefixes[i]))
            return true;
    return false;
}

static bool same_variable(const char *a, const char *b)
{
    const size_t length = strcspn(a, "=");
    return length == strcspn(b, "=") && strncmp(a, b, length) == 0;
}

static bool overridden(const char *entry, const char *const *extra)
{
    for (; extra != NULL && *extra != NULL; extra++)
        if (same_variable(entry, *extra))
            return true;
    return false;
}

const char *task_variable(TaskRun *run, const char *prefix)
{
    for (const char *const *e = run->server->environment; *e != NULL; e++)
        if (str_starts(*e, prefix))
            return *e + strlen(prefix);
    return NULL;
}

const char *const *task_environment(TaskRun *run, const char *const *extra)
{
    StringList env = {0};
    for (const char *const *e = run->server->environment; *e != NULL; e++)
        if (!must_not_reach_children(*e) && !overridden(*e, extra))
            string_list_add(&env, run->arena, *e);
    for (; extra != NULL && *extra != NULL; extra++)
        string_list_add(&env, run->arena, *extra);
    string_list_add(&env, run->arena, NULL);
    return env.items;
}

// --- programs

static bool warden_connected(TaskRun *run)
{
    WardenView view;
    run->server->processes->ops->view(run->server->processes, &view);
    return view.connected;
}

// One slice of waiting. True: it has exited. False with ERR_NONE: it has not, yet.
static bool wait_slice(TaskRun *run, const char *id, int64_t ms, Instant *gone_since,
                       ChildExit *out, Error *err)
{
    LocalServer *server = run->server;
    Error slice = {0};
    if (server->processes->ops->wait(server->processes, run->arena, id, task_deadline(run, ms), out,
                                     &slice))
        return true;
    if (slice.kind == ERR_INVALID) // a new warden, which never had it
        return error_set(err, ERR_UNCERTAIN, "the warden knows no child %s", id);
    if (warden_connected(run)) {
        *gone_since = (Instant){0};
        return false;
    }
    const Instant now = clock_now(server->clock);
    if (!instant_is_set(*gone_since))
        *gone_since = now;
    if (instant_ms_between(*gone_since, now) > WARDEN_GONE_MS)
        return error_set(err, ERR_UNCERTAIN, "the warden went away while %s ran", id);
    struct pollfd none = {.fd = -1};
    (void)poll(&none, 1, SLICE_MS); // wait() came back at once
    return false;
}

static void signal_child(TaskRun *run, const char *id, int signal)
{
    LocalServer *server = run->server;
    Error ignored; // it may be gone already, and if not, waiting for it will show
    (void)server->processes->ops->signal(server->processes, id, signal,
                                         task_deadline(run, WARDEN_MS), &ignored);
}

// Whatever comes, not longer than TERM_MS and a little.
static bool end_child(TaskRun *run, const char *id, Error *err)
{
    static const struct {
        int signal;
        int64_t wait_ms;
    } steps[] = {{SIGTERM, TERM_MS}, {SIGKILL, WARDEN_MS}};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        signal_child(run, id, steps[i].signal);
        const Deadline deadline = task_deadline(run, steps[i].wait_ms);
        while (!deadline_over(run->server->clock, deadline)) {
            ChildExit gone;
            Instant since = {0};
            if (wait_slice(run, id, SLICE_MS, &since, &gone, err))
                return true;
            if (err->kind != ERR_NONE)
                return false;
        }
    }
    return error_set(err, ERR_UNCERTAIN, "%s does not end", id);
}

static bool wait_program(TaskRun *run, const Program *program, ChildExit *out, Error *err)
{
    Instant gone_since = {0};
    const Deadline limit = task_deadline(run, program->limit_ms);
    bool late = false;
    *err = (Error){0};
    while (!task_cancelled(run) && !late) {
        if (wait_slice(run, program->id, SLICE_MS, &gone_since, out, err))
            return true;
        if (err->kind != ERR_NONE)
            return false;
        late = program->limit_ms > 0 && deadline_over(run->server->clock, limit);
    }
    const char *why = late ? "took too long" : "cancelled";
    if (!end_child(run, program->id, err))
        return error_wrap(err, "%s", why);
    return error_set(err, ERR_UNAVAILABLE, "%s", why);
}

bool task_run(TaskRun *run, const Program *program, ChildExit *out, Error *err)
{
    LocalServer *server = run->server;
    if (task_cancelled(run))
        return error_set(err, ERR_UNAVAILABLE, "cancelled");
    StringList argv = *program->argv;
    string_list_add(&argv, run->arena, NULL);
    const SpawnRequest request = {.id = program->id,
                                  .argv = argv.items,
                                  .env = task_environment(run, program->extra_env),
                                  .stdin_text = program->stdin_text};
    if (!server->processes->ops->spawn(server->processes, &request, task_deadline(run, WARDEN_MS),
                                       err))
        return error_wrap(err, "run %s", argv.items[0]);
    if (!wait_program(run, program, out, err))
        return error_wrap(err, "run %s", argv.items[0]);
    return true;
}

// The end of what it printed, on one line.
static const char *last_words(Arena *arena, const char *output)
{
    size_t end = strlen(output);
    while (end > 0 && strchr(" \t\r\n", output[end - 1]) != NULL)
        end--;
    size_t start = end > 160 ? end - 160 : 0;
    while (start > 0 && start < end && output[start - 1] != '\n')
        start++;
    if (start == end)
        start = end > 160 ? end - 160 : 0;
    char *line = arena_strndup(arena, output + start, end - start);
    for (char *s = line; *s != '\0'; s++)
        if (*s == '\n')
            *s = ' ';
    return line;
}

bool task_complain(const char *name, Arena *arena, const ChildExit *exit, Error *err)
{
    const char *words = last_words(arena, exit->output);
    if (WIFSIGNALED(exit->status))
        return error_set(err, ERR_UNAVAILABLE, "%s was killed by signal %d: %s", name,
                         WTERMSIG(exit->status), words);
    return error_set(err, ERR_UNAVAILABLE, "%s ended with status %d: %s", name,
                     WEXITSTATUS(exit->status), words);
}

bool task_run_ok(TaskRun *run, const Program *program, const char **output, Error *err)
{
    ChildExit exit;
    if (!task_run(run, program, &exit, err))
        return false;
    if (!WIFEXITED(exit.status) || WEXITSTATUS(exit.status) != 0)
        return task_complain(path_base(program->argv->items[0]), run->arena, &exit, err);
    if (output != NULL)
        *output = exit.output;
    return true;
}

bool task_hook(TaskRun *run, const char *name, int64_t limit_ms, Error *err)
{
    StringList argv;
    const char *command = tree_get_string(run->pg->section, name, NULL);
    if (str_empty(command))
        return true;
    if (!shell_split(run->arena, command, &argv, err))
        return error_wrap(err, "%s", name);
    const Program program = {.id = "task-hook", .argv = &argv, .limit_ms = limit_ms};
    task_phase(run, name);
    return task_run_ok(run, &program, NULL, err) || error_wrap(err, "%s", name);
}

bool task_wait_postmaster(TaskRun *run, int64_t slice_ms, bool *exited, ChildExit *out, Error *err)
{
    Instant gone_since = {0};
    *err = (Error){0};
    *exited = wait_slice(run, CHILD_POSTGRES, slice_ms, &gone_since, out, err);
    return err->kind == ERR_NONE;
}

bool task_kill_leftovers(TaskRun *run, Error *err)
{
    WardenView view;
    run->server->processes->ops->view(run->server->processes, &view);
    for (size_t i = 0; i < view.child_count; i++) {
        const ChildView *child = &view.children[i];
        if (!child->running || !str_starts(child->id, "task-"))
            continue;
        log_info("ending a program that a former agent left running id=%s pid=%d", child->id,
                 child->pid);
        *err = (Error){0};
        if (!end_child(run, child->id, err))
            return error_wrap(err, "end what a former agent left running");
    }
    return true;
}

// --- connections

ConnParams local_params(Arena *arena, const Settings *settings)
{
    const PostgresSettings *pg = &settings->postgresql;
    const ConnTarget target = {.host = local_host(arena, pg),
                               .port = pg->port,
                               .dbname = str_or(pg->database, "postgres"),
                               .auth = &pg->superuser,
                               .krbsrvname = pg->krbsrvname};
    return conn_params_of(arena, &target);
}

static PgConnectOptions connect_options(TaskRun *run)
{
    return (PgConnectOptions){.clock = run->server->clock,
                              .resolver = run->server->resolver,
                              .may_wait_for_names = true,
                              .interrupt_fd = run->interrupt_fd,
                              .application_name = APPLICATION_NAME};
}

bool task_try_connect(TaskRun *run, Deadline deadline, PgConn **out, PgFailure *failure, Error *err)
{
    const PgConnectOptions options = connect_options(run);
    const ConnParams params = local_params(run->arena, run->settings);
    return pg_connect(&options, &params, deadline, out, failure, err);
}

// The connection that the last probe left open, if it still answers.
static bool take_spare(TaskRun *run, PgConn **out)
{
    LocalServer *server = run->server;
    ChildView child;
    Error err; // then a fresh one is made
    AUTO(pg_release) PgConn *pg = TAKE(server->worker.spare);
    if (pg == NULL || !postmaster_runs(server, &child) ||
        child.started_at.ns != server->worker.spare_of.ns)
        return false;
    pg_set_interrupt(pg, run->interrupt_fd);
    if (!pg_exec(pg, "SELECT 1", task_deadline(run, SPARE_MS), &err))
        return false;
    *out = TAKE(pg);
    return true;
}

bool task_connect(TaskRun *run, Deadline deadline, PgConn **out, Error *err)
{
    if (take_spare(run, out))
        return true;
    return task_try_connect(run, deadline, out, NULL, err);
}

// As the replication role, which pg_hba.conf of a Patroni cluster lets in locally for this, and
// else as the superuser.
bool task_connect_self(TaskRun *run, PgConn **out, Error *err)
{
    PgConnectOptions options = connect_options(run);
    options.options = PG_OPTIONS_PLAIN;
    options.replication = true;
    const PgAuth *roles[] = {&run->pg->replication, &run->pg->superuser};
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        const ConnTarget target = {
            .host = local_host(run->arena, run->pg), .port = run->pg->port, .auth = roles[i]};
        const ConnParams params = conn_params_of(run->arena, &target);
        if (pg_connect(&options, &params, task_deadline(run, CONNECT_MS / 2), out, NULL, err))
            return true;
        if (task_cancelled(run))
            return false;
    }
    return error_wrap(err, "own server, for replication");
}

const PgAuth *rewind_auth(const PostgresSettings *pg)
{
    return str_empty(pg->rewind.username) ? &pg->superuser : &pg->rewind;
}

ConnTarget task_upstream_target(TaskRun *run, const PgAuth *auth)
{
    const Upstream *up = &run->task->upstream;
    const char *database = conn_url_database(run->arena, up->conn_url);
    return (ConnTarget){.host = up->host,
                        .port = up->port > 0 ? up->port : 5432,
                        .dbname = str_or(database, str_or(run->pg->database, "postgres")),
                        .auth = auth,
                        .krbsrvname = run->pg->krbsrvname};
}

bool task_connect_upstream(TaskRun *run, const PgAuth *auth, bool replication, PgConn **out,
                           Error *err)
{
    const Upstream *up = &run->task->upstream;
    if (str_empty(up->host))
        return error_set(err, ERR_INVALID, "no address to reach %s at", str_or(up->member, "?"));
    PgConnectOptions options = connect_options(run);
    options.options = PG_OPTIONS_PLAIN;
    options.replication = replication;
    const ConnTarget target = task_upstream_target(run, auth);
    const ConnParams params = conn_params_of(run->arena, &target);
    if (!pg_connect(&options, &params, task_deadline(run, CONNECT_MS), out, NULL, err))
        return error_wrap(err, "%s at %s:%d", str_or(up->member, "upstream"), up->host,
                          target.port);
    return true;
}

bool task_write_passfile(TaskRun *run, const ConnTarget *target, const char **env, Error *err)
{
    const char *content = pgpass_text(run->arena, target);
    *env = NULL;
    if (content[0] == '\0')
        return true;
    const char *path = state_path(run, "pgpass");
    if (!disk_make(run->disk, run->settings->howdah.state_dir, 0700, err) ||
        !disk_write_changed(run->disk, run->arena, path, content, 0600, NULL, err))
        return error_wrap(err, "password file");
    *env = arena_printf(run->arena, "PGPASSFILE=%s", path);
    return true;
}

bool task_upstream_conninfo(TaskRun *run, const PgAuth *auth, const char *session_attrs,
                            const char **conninfo, const char **passfile_env, Error *err)
{
    if (str_empty(run->task->upstream.host))
        return error_set(err, ERR_INVALID, "no address to reach %s at",
                         str_or(run->task->upstream.member, "?"));
    ConnTarget target = task_upstream_target(run, auth);
    // Not the member's name: what streams under it counts as the standby, and a copy being made is
    // none.
    target.application_name = arena_printf(run->arena, "howdah task of %s", run->settings->name);
    target.target_session_attrs = session_attrs;
    if (!task_write_passfile(run, &target, passfile_env, err))
        return false;
    PgAuth without = *auth; // the password never stands on a command line
    without.password = (Secret){0};
    target.auth = &without;
    const ConnParams params = conn_params_of(run->arena, &target);
    *conninfo = conn_params_text(run->arena, &params);
    return true;
}

// --- paths

const char *data_path(TaskRun *run, const char *name)
{
    return path_join(run->arena, run->pg->data_dir, name);
}

const char *state_path(TaskRun *run, const char *name)
{
    return path_join(run->arena, run->settings->howdah.state_dir, name);
}

mode_t data_mode(TaskRun *run)
{
    const mode_t mode = disk_mode(run->disk, run->pg->data_dir);
    return (mode & 0050) == 0050 ? 0640 : 0600;
}
