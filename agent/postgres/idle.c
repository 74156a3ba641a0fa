// What the disk thread does between tasks: a look whether the disk and the postmaster still answer,
// and small questions of the turn. A new task interrupts any waiting here.
#include "agent/postgres/task.h"

#include "common/os/log.h"

#define PROMOTION_POLL_MS 3
#define NUDGE_UNTAKEN_MS  20  // an order is taken at once, or slept through
#define NUDGE_FIRST_MS    200 // taken, but slept on: past what a promotion takes
#define CONNECT_MS        2000
#define LEAVE_MS          20
#define SELF_AGAIN_MS     2000
#define LONGEST_SLEEP_MS  10000

// --- a history file for the turn

static void look_for_history(TaskRun *run)
{
    LocalServer *server = run->server;
    pthread_mutex_lock(&server->lock);
    const uint32_t wanted = server->shared.history_wanted;
    pthread_mutex_unlock(&server->lock);
    if (wanted == 0)
        return;
    TimelineHistory history;
    Error err;
    const bool found = read_history(run, wanted, &history, &err);
    if (found)
        history_publish(server, &history);
    else
        log_debug("no timeline history timeline=%u error='%s'", wanted, err.text);
    pthread_mutex_lock(&server->lock);
    if (server->shared.history_wanted == wanted)
        server->shared.history_wanted = 0;
    server->shared.history_missed = found ? 0 : wanted;
    server->shared.history_missed_at = clock_now(server->clock);
    pthread_mutex_unlock(&server->lock);
    if (found)
        server_wake(server->event_fd); // the turn can now tell more
}

// --- the end of a promotion, seen within milliseconds so that the turn need not poll for it

// Between two tries to stream, PostgreSQL's startup process sleeps up to
// wal_retrieve_retry_interval. When a WAL receiver ends in the same moment it goes to sleep on the
// order, taken (the file that carries it is gone) or not; and right after the old primary's end
// receivers do end. Any wake-up will do, and a reload is the one that changes nothing.
static void nudge(TaskRun *run)
{
    LocalServer *server = run->server;
    const Instant now = clock_now(server->clock), asked = server->worker.promotion_asked;
    const int64_t asked_ms = instant_ms_between(asked, now);
    const int64_t last_ms = instant_is_set(server->worker.promotion_nudged)
                                ? instant_ms_between(asked, server->worker.promotion_nudged)
                                : 0;
    const bool late = asked_ms >= NUDGE_FIRST_MS;
    if (asked_ms < NUDGE_UNTAKEN_MS || asked_ms < 2 * last_ms || (!late && last_ms > 0))
        return;
    if (!late && disk_kind(run->disk, data_path(run, "promote")) != PATH_FILE)
        return;
    server->worker.promotion_nudged = now;
    log_debug("waking the startup process for the promotion asked_ms=%lld", (long long)asked_ms);
    Error err;
    if (!pg_exec(server->worker.promotion, "SELECT pg_reload_conf()",
                 deadline_in(server->clock, CONNECT_MS), &err))
        log_debug("not woken error='%s'", err.text);
}

static bool still_promoting(TaskRun *run)
{
    LocalServer *server = run->server;
    AUTO(pgresult_release) PGresult *rows = NULL;
    Error err;
    if (!pg_is_open(server->worker.promotion))
        return false;
    if (instant_before(server->worker.promotion_until, clock_now(server->clock)))
        return false;
    if (!pg_query(server->worker.promotion, "SELECT pg_is_in_recovery()",
                  deadline_in(server->clock, CONNECT_MS), &rows, &err))
        return false;
    if (str_eq(pg_text(rows, 0, 0), "t")) {
        nudge(run);
        return true;
    }
    server_wake(server->event_fd);
    // Until the first checkpoint on the new timeline nobody can be rewound to follow us, and
    // PostgreSQL's own is spread over minutes. It is asked for and left to itself: the session ends
    // here, the checkpoint does not.
    if (!pg_exec(server->worker.promotion, "CHECKPOINT", deadline_in(server->clock, LEAVE_MS),
                 &err))
        log_debug("checkpoint asked for after the promotion, not waited for");
    return false;
}

static bool watch_promotion(TaskRun *run)
{
    if (run->server->worker.promotion == NULL)
        return false;
    if (still_promoting(run))
        return true;
    pg_release(&run->server->worker.promotion);
    return false;
}

// --- the timeline that a standby without a WAL receiver replays

static void ask_self(TaskRun *run)
{
    LocalServer *server = run->server;
    ChildView child;
    pthread_mutex_lock(&server->lock);
    const bool wanted = server->shared.self_timeline_wanted;
    const bool at_once = server->shared.self_timeline_at_once;
    pthread_mutex_unlock(&server->lock);
    const Instant now = clock_now(server->clock);
    if (!wanted || !postmaster_runs(server, &child) ||
        (!at_once && server->worker.self_of.ns == child.started_at.ns &&
         instant_ms_between(server->worker.self_at, now) < SELF_AGAIN_MS))
        return;
    server->worker.self_at = now;
    server->worker.self_of = child.started_at;
    Identity self;
    Error err;
    const bool known = identify_self(run, &self, &err);
    if (!known)
        log_debug("cannot ask our own server for its timeline error='%s'", err.text);
    pthread_mutex_lock(&server->lock);
    server->shared.self_timeline_wanted = server->shared.self_timeline_at_once = false;
    const bool news = known && (server->shared.self_timeline != self.timeline ||
                                server->shared.self_timeline_of.ns != child.started_at.ns);
    if (known) {
        server->shared.self_timeline = self.timeline;
        server->shared.self_timeline_of = child.started_at;
    }
    pthread_mutex_unlock(&server->lock);
    if (news)
        server_wake(server->event_fd);
}

// --- once a loop

// A hung disk shows by these not coming back: see disk_busy_ms().
static void probe_disk(TaskRun *run)
{
    Error err = {0};
    (void)disk_mode(run->disk, run->pg->data_dir); // only the time it takes counts
    if (!disk_make(run->disk, run->settings->howdah.state_dir, 0700, &err) ||
        !disk_write(run->disk, state_path(run, "disk-probe"), "", 0600, &err))
        log_warn("the state directory cannot be written error='%s'", err.text);
}

// Promoting must not wait for a connection to be made.
static void keep_spare(LocalServer *server, const ChildView *child, PgConn *pg)
{
    pg_release(&server->worker.spare);
    server->worker.spare = pg;
    server->worker.spare_of = child->started_at;
}

// A cached connection says nothing about a postmaster that is stopped or lets nobody in any more.
static void probe_postmaster(TaskRun *run)
{
    LocalServer *server = run->server;
    ChildView child;
    AUTO(pg_release) PgConn *pg = NULL;
    PgFailure failure;
    Error err = {0};
    if (!postmaster_runs(server, &child)) {
        pg_release(&server->worker.spare);
        return;
    }
    const bool connected =
        task_try_connect(run, task_deadline(run, CONNECT_MS), &pg, &failure, &err);
    if (!connected && !failure.timed_out)
        return; // starting up, stopping, full: that is an answer
    pthread_mutex_lock(&server->lock);
    const bool known = server->shared.refusing.ns == child.started_at.ns;
    server->shared.refusing = connected ? (Instant){0} : child.started_at;
    pthread_mutex_unlock(&server->lock);
    if (!connected && known)
        return;
    if (!connected) {
        log_warn("the postmaster accepts no connection pid=%d", child.pid);
        server_wake(server->event_fd);
        return;
    }
    if (server->worker.settings_checked.ns != child.started_at.ns) {
        if (pending_check(server, run->copy, pg, &err))
            server->worker.settings_checked = child.started_at;
        else
            log_debug("settings not compared error='%s'", err.text);
    }
    if (!replay_go_on(run, pg, &err))
        log_debug("replay not looked after error='%s'", err.text);
    if (pg_is_open(pg))
        keep_spare(server, &child, TAKE(pg));
}

static bool probe_is_due(LocalServer *server, const Settings *settings, int64_t *left_ms)
{
    const Instant now = clock_now(server->clock);
    const int64_t every = settings->loop_wait_ms > 0 ? settings->loop_wait_ms : LONGEST_SLEEP_MS;
    const int64_t since = instant_ms_between(server->worker.probe_at, now);
    if (instant_is_set(server->worker.probe_at) && since < every) {
        *left_ms = every - since;
        return false;
    }
    server->worker.probe_at = now;
    *left_ms = every;
    return true;
}

int64_t server_idle(LocalServer *server, SettingsCopy *copy)
{
    static const ServerTask nothing = {.kind = TASK_NONE};
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    TaskRun run = {.server = server,
                   .copy = copy,
                   .settings = &copy->settings,
                   .pg = &copy->settings.postgresql,
                   .task = &nothing,
                   .arena = arena,
                   .disk = &server->disk,
                   .interrupt_fd = server->wake_fd};
    int64_t left_ms;
    if (watch_promotion(&run)) {
        look_for_history(&run);
        return PROMOTION_POLL_MS;
    }
    look_for_history(&run);
    ask_self(&run);
    if (probe_is_due(server, &copy->settings, &left_ms)) {
        probe_disk(&run);
        probe_postmaster(&run);
    }
    return left_ms < LONGEST_SLEEP_MS ? left_ms : LONGEST_SLEEP_MS;
}
