#include "agent/postgres/local_server.h"

#include "agent/postgres/task.h"

#include "common/os/log.h"
#include "common/os/thread.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define END_MS 15000 // how long free() waits for a task to be cancelled

static TaskFunction *const tasks[TASK_COUNT] = {
    [TASK_INSPECT] = task_inspect,
    [TASK_BOOTSTRAP] = task_bootstrap,
    [TASK_POST_BOOTSTRAP] = task_post_bootstrap,
    [TASK_START_PRIMARY] = task_start_primary,
    [TASK_START_STANDBY] = task_start_standby,
    [TASK_STOP] = task_stop,
    [TASK_PROMOTE] = task_promote,
    [TASK_FOLLOW] = task_follow,
    [TASK_RELOAD] = task_reload,
    [TASK_CLONE] = task_clone,
    [TASK_CHECK_DIVERGENCE] = task_check_divergence,
    [TASK_REWIND] = task_rewind,
    [TASK_CRASH_RECOVERY] = task_crash_recovery,
    [TASK_WIPE] = task_wipe,
    [TASK_CHECKPOINT] = task_checkpoint,
};

void server_wake(int fd)
{
    const uint64_t one = 1;
    const ssize_t written = write(fd, &one, sizeof one);
    (void)written; // full means that it is readable already
}

void server_drain(int fd)
{
    uint64_t count;
    const ssize_t got = read(fd, &count, sizeof count);
    (void)got; // empty already
}

// --- jobs

static Job *job_new(const ServerTask *task, SettingsCopy *settings)
{
    Job *job = malloc(sizeof *job);
    ASSERT(job != NULL);
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    *job = (Job){.arena = arena, .task = *task, .settings = settings_copy_ref(settings)};
    job->task.clone_method = arena_strdup(arena, task->clone_method);
    job->task.system_identifier = arena_strdup(arena, task->system_identifier);
    Upstream *up = &job->task.upstream;
    up->member = arena_strdup(arena, up->member);
    up->host = arena_strdup(arena, up->host);
    up->slot = arena_strdup(arena, up->slot);
    up->conn_url = arena_strdup(arena, up->conn_url);
    return job;
}

static void job_free(Job *job)
{
    if (job == NULL)
        return;
    settings_copy_unref(job->settings);
    arena_free(job->arena);
    free(job);
}

// Tasks that take over from a former agent must not meet its programs.
static bool takes_over(TaskKind kind)
{
    return kind != TASK_INSPECT && kind != TASK_CHECKPOINT && kind != TASK_STOP;
}

static void run_job(LocalServer *server, Job *job)
{
    TaskRun run = {.server = server,
                   .copy = job->settings,
                   .settings = &job->settings->settings,
                   .pg = &job->settings->settings.postgresql,
                   .task = &job->task,
                   .arena = job->arena,
                   .disk = &server->disk,
                   .interrupt_fd = server->cancel_fd};
    Error err = {0};
    const TaskKind kind = job->task.kind;
    log_debug("task begins task=%s", task_name(kind));
    bool ok = !takes_over(kind) || task_kill_leftovers(&run, &err);
    ok = ok && tasks[kind](&run, &err);
    if (!ok)
        log_debug("task failed task=%s error='%s'", task_name(kind), err.text);

    pthread_mutex_lock(&server->lock);
    TaskView *view = &server->task;
    view->running = false;
    view->ended_at = clock_now(server->clock);
    view->ok = ok;
    view->unchanged = !ok && !run.changed;
    view->source_lost = !ok && run.source_lost;
    view->divergence = run.divergence;
    (void)copy_text(view->error, sizeof view->error, ok ? "" : err.text); // same size
    server->job = NULL;
    atomic_store(&server->cancelled, false); // it was meant for this one
    pthread_mutex_unlock(&server->lock);
    server_wake(server->event_fd);
}

// --- the disk thread

static bool next(LocalServer *server, Job **job, SettingsCopy **settings)
{
    pthread_mutex_lock(&server->lock);
    const bool go_on = !server->quitting;
    *job = server->job;
    *settings = settings_copy_ref(server->settings);
    pthread_mutex_unlock(&server->lock);
    return go_on;
}

static void *disk_thread(void *argument)
{
    LocalServer *server = argument;
    for (;;) {
        Job *job;
        SettingsCopy *settings;
        const bool go_on = next(server, &job, &settings);
        int64_t sleep_ms = 0;
        if (go_on && job != NULL)
            run_job(server, job);
        else if (go_on)
            sleep_ms = server_idle(server, settings);
        settings_copy_unref(settings);
        if (!go_on)
            break;
        if (job != NULL) {
            job_free(job);
            continue;
        }
        struct pollfd fd = {.fd = server->wake_fd, .events = POLLIN};
        (void)poll(&fd, 1, (int)sleep_ms); // EINTR: just earlier
        server_drain(server->wake_fd);
    }
    pthread_mutex_lock(&server->lock);
    server->finished = true;
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

// --- the turn's calls

static bool begin(Server *base, const ServerTask *task, Error *err)
{
    LocalServer *server = (LocalServer *)base;
    ASSERT(task->kind > TASK_NONE && task->kind < TASK_COUNT);
    pthread_mutex_lock(&server->lock);
    if (server->job != NULL) {
        const TaskKind kind = server->task.kind;
        pthread_mutex_unlock(&server->lock);
        return error_set(err, ERR_CONFLICT, "task %s is still running", task_name(kind));
    }
    server->job = job_new(task, server->settings);
    server->task = (TaskView){.kind = task->kind,
                              .number = server->task.number + 1,
                              .running = true,
                              .began_at = clock_now(server->clock),
                              .phase = "beginning"};
    atomic_store(&server->cancelled, false);
    server_drain(server->cancel_fd);
    pthread_mutex_unlock(&server->lock);
    server_wake(server->wake_fd);
    return true;
}

static void cancel(Server *base)
{
    LocalServer *server = (LocalServer *)base;
    pthread_mutex_lock(&server->lock);
    if (server->job != NULL) {
        atomic_store(&server->cancelled, true);
        server_wake(server->cancel_fd);
    }
    pthread_mutex_unlock(&server->lock);
}

static void replace_settings(LocalServer *server, SettingsCopy *fresh)
{
    pthread_mutex_lock(&server->lock);
    SettingsCopy *old = server->settings;
    server->settings = fresh;
    pthread_mutex_unlock(&server->lock);
    settings_copy_unref(old);
}

// Only the turn's thread replaces server->settings, so it may read it without the lock.
static void configure(Server *base, const Settings *settings)
{
    LocalServer *server = (LocalServer *)base;
    replace_settings(server, settings_copy_new(settings, server->settings->overlay));
}

void local_server_set_parameters(Server *base, const Tree *parameters)
{
    LocalServer *server = (LocalServer *)base;
    replace_settings(server, settings_copy_new(&server->settings->settings, parameters));
}

static int event_fd(Server *base)
{
    return ((LocalServer *)base)->event_fd;
}

// --- life

static bool wait_until_finished(LocalServer *server)
{
    const Deadline deadline = deadline_in(server->clock, END_MS);
    for (;;) {
        pthread_mutex_lock(&server->lock);
        const bool finished = server->finished;
        pthread_mutex_unlock(&server->lock);
        if (finished || deadline_over(server->clock, deadline))
            return finished;
        struct pollfd none = {.fd = -1};
        (void)poll(&none, 1, 5);
    }
}

static void release(LocalServer *server)
{
    pg_release(&server->turn.monitor);
    pg_release(&server->worker.promotion);
    pg_release(&server->worker.spare);
    job_free(server->job);
    settings_copy_unref(server->settings);
    arena_free(server->shared.history_arena);
    arena_free(server->shared.pending_arena);
    arena_free(server->worker.arena);
    arena_free(server->environment_arena);
    (void)close(server->wake_fd);
    (void)close(server->cancel_fd);
    (void)close(server->event_fd);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

static void free_server(Server *base)
{
    if (base == NULL)
        return;
    LocalServer *server = (LocalServer *)base;
    pthread_mutex_lock(&server->lock);
    server->quitting = true;
    pthread_mutex_unlock(&server->lock);
    cancel(base);
    server_wake(server->wake_fd);
    if (!wait_until_finished(server)) {
        // It hangs in the kernel, on a disk. What it holds is given up with it.
        log_error("the disk thread does not end, leaving it behind disk_busy_ms=%lld",
                  (long long)disk_busy_ms(&server->disk));
        (void)pthread_detach(server->thread);
        return;
    }
    (void)pthread_join(server->thread, NULL);
    release(server);
}

static void start_thread(LocalServer *server)
{
    const int failed = thread_start(&server->thread, 0, disk_thread, server);
    ASSERT(failed == 0); // as out of memory
}

// Whoever calls setenv() later must not pull it from under the disk thread.
static const char *const *copy_environment(Arena *arena, const char *const *from)
{
    StringList copy = {0};
    for (; *from != NULL; from++)
        string_list_add(&copy, arena, arena_strdup(arena, *from));
    string_list_add(&copy, arena, NULL);
    return copy.items;
}

Server *local_server_new(const LocalServerOptions *options)
{
    static const ServerOps ops = {.observe = server_observe,
                                  .begin = begin,
                                  .cancel = cancel,
                                  .configure = configure,
                                  .sync_slots = server_sync_slots,
                                  .event_fd = event_fd,
                                  .free = free_server};
    LocalServer *server = calloc(1, sizeof *server);
    ASSERT(server != NULL);
    server->base.ops = &ops;
    server->processes = options->processes;
    server->clock = options->clock;
    server->resolver = options->resolver;
    server->environment_arena = arena_new(ARENA_CAP_DEFAULT);
    server->environment = copy_environment(
        server->environment_arena,
        options->environment != NULL ? options->environment : (const char *const *)environ);
    server->disk.clock = options->clock;
    atomic_init(&server->disk.since_ns, 0);
    atomic_init(&server->cancelled, false);
    (void)pthread_mutex_init(&server->lock, NULL);
    server->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    server->cancel_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    server->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ASSERT(server->wake_fd >= 0 && server->cancel_fd >= 0 && server->event_fd >= 0);
    server->settings = settings_copy_new(options->settings, NULL);
    server->worker.arena = arena_new(ARENA_CAP_DEFAULT);
    start_thread(server);
    return &server->base;
}
