// The watcher: one thread that catches up by a listing or a probe, follows the stream from there,
// and begins again when it ends.
#include "common/os/log.h"
#include "common/os/retry.h"
#include "common/os/thread.h"
#include "dcs/etcd_store.h"

#include <poll.h>
#include <unistd.h>

enum {
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 1000,
    PATIENCE_MS = 3000,
    FAILURES_BEFORE_SRV = 3,
    STEADY_MS = 2000, // a stream that lived this long was no failure to connect
    // etcd sends a progress message after ten quiet minutes.
    IDLE_MS = 11 * 60 * 1000,
};

typedef struct {
    Etcd *etcd;
    Arena *arena; // of one document
    EtcdSplitter splitter;
    bool failed;
    char why[160];
} Stream;

static bool stop_stream(Stream *stream, const char *why)
{
    stream->failed = true;
    (void)copy_text(stream->why, sizeof stream->why, why); // may be cut
    return false;
}

static bool header_is_current(Etcd *etcd, const Tree *result)
{
    uint64_t cluster_id = 0;
    const Tree *header = tree_get(result, "header");
    if (!parse_uint64(tree_get_string(header, "cluster_id", ""), &cluster_id))
        return false;
    pthread_mutex_lock(&etcd->cache_mutex);
    const bool same = etcd->cache.cluster_id == cluster_id;
    pthread_mutex_unlock(&etcd->cache_mutex);
    if (!same)
        atomic_store(&etcd->list_again, true);
    return same &&
           etcd_guard_check(&etcd->shared, cluster_id, tree_get_int(header, "raft_term", 0));
}

static void take_events(Etcd *etcd, Arena *arena, const Tree *result)
{
    size_t count = 0;
    const EtcdEvent *events = etcd_events_of(arena, etcd->base, result, &count);
    const int64_t revision = tree_get_int(tree_get(result, "header"), "revision", 0);

    pthread_mutex_lock(&etcd->cache_mutex);
    bool news = false;
    const Instant now = clock_now(etcd->shared.clock);
    if (count > 0) {
        news = etcd_cache_events(&etcd->cache, etcd->cache_arena, events, count, now);
    } else { // progress: everything up to this revision has been sent
        if (revision > etcd->cache.revision)
            etcd->cache.revision = revision;
        etcd_cache_note_revision(&etcd->cache, etcd->cache.revision, etcd->cache.cluster_id, now);
    }
    pthread_mutex_unlock(&etcd->cache_mutex);
    etcd_signal(etcd, news);
}

static bool on_document(void *context, const char *text)
{
    Stream *stream = context;
    Etcd *etcd = stream->etcd;
    const Tree *document = NULL;
    Error err = {0};
    const char *said = NULL;

    arena_reset(stream->arena);
    if (!tree_parse_json(stream->arena, text, &document, &err))
        return stop_stream(stream, err.text);
    const EtcdVerdict verdict = etcd_error_of(document, &said);
    if (verdict != ETCD_SAYS_OK)
        return stop_stream(stream, said);

    const Tree *result = tree_get(document, "result");
    if (result == NULL || result->kind != TREE_MAP)
        return stop_stream(stream, "neither result nor error");
    if (tree_get_bool(result, "canceled", false)) {
        if (tree_get_int(result, "compact_revision", 0) == 0)
            return stop_stream(stream, tree_get_string(result, "cancel_reason", "canceled"));
        atomic_store(&etcd->list_again, true);
        return stop_stream(stream, "compacted");
    }
    if (!header_is_current(etcd, result))
        return stop_stream(stream, "another cluster, or a node behind it");
    if (tree_get_bool(result, "created", false))
        atomic_store(&etcd->streaming, true); // its revision says nothing about what was sent
    else
        take_events(etcd, stream->arena, result);
    return true;
}

static bool on_bytes(void *context, const char *bytes, size_t length)
{
    Stream *stream = context;
    if (atomic_load(&stream->etcd->stop))
        return false;
    if (etcd_split(&stream->splitter, bytes, length, on_document, stream))
        return true;
    return stream->failed ? false : stop_stream(stream, "no JSON");
}

// --- catching up

// Continues where the cache is if it can: the stream then replays what was missed with its exact
// revisions, which is what tells an expired leader from a deleted one.
static bool catch_up(Etcd *etcd, Arena *arena, Deadline deadline, Error *err)
{
    pthread_mutex_lock(&etcd->cache_mutex);
    const bool filled = etcd->cache.filled;
    pthread_mutex_unlock(&etcd->cache_mutex);

    if (filled && !atomic_load(&etcd->list_again)) {
        bool current = false;
        if (!etcd_probe(etcd, &etcd->watch, arena, deadline, &current, err))
            return false;
        if (!atomic_load(&etcd->list_again)) // the probe may have found another store
            return true;
    }
    if (!etcd_list(etcd, &etcd->watch, arena, deadline, NULL, err))
        return false;
    atomic_store(&etcd->list_again, false);
    return true;
}

static bool follow(Etcd *etcd, Arena *arena, Error *err)
{
    AUTO(arena_release) Arena *documents = arena_new(ARENA_CAP_DEFAULT);
    Stream stream = {.etcd = etcd, .arena = documents};
    const char *body = etcd_watch_body(arena, etcd->base, etcd_view_revision(etcd) + 1);
    int status = 0;
    const bool ended =
        etcd_stream(&etcd->watch, "/watch", body, IDLE_MS, on_bytes, &stream, &status, err);
    atomic_store(&etcd->streaming, false);
    etcd_splitter_done(&stream.splitter);
    if (ended && stream.failed)
        return error_set(err, ERR_UNAVAILABLE, "watch: %s", stream.why);
    if (ended && status != 0 && status != 200)
        return error_set(err, ERR_UNAVAILABLE, "watch: HTTP status %d", status);
    return ended;
}

static void wait_ms(Etcd *etcd, int64_t ms)
{
    struct pollfd stop = {.fd = etcd->stop_fd, .events = POLLIN};
    (void)poll(&stop, 1, (int)ms); // interrupted or not, the caller looks at stop
}

// How long catching up may take: short at first, so that stopping does not wait for a dead store.
static int64_t patience_ms(const Etcd *etcd, int failures)
{
    const int64_t ms = PATIENCE_MS * (int64_t)(1 + failures);
    const int64_t most = atomic_load(&etcd->retry_timeout_ms);
    return ms < most ? ms : most;
}

static bool round_once(Etcd *etcd, Arena *arena, int failures, Error *err)
{
    const Deadline deadline = deadline_in(etcd->shared.clock, patience_ms(etcd, failures));
    // When nobody answers any more, perhaps they have moved.
    const bool again = failures >= FAILURES_BEFORE_SRV;
    if (!etcd_discover_srv(etcd, arena, again, deadline, err) ||
        !catch_up(etcd, arena, deadline, err))
        return false;
    etcd_discover_members(etcd, &etcd->watch, deadline);
    if (atomic_load(&etcd->stop))
        return true;
    return follow(etcd, arena, err);
}

static void *watcher(void *context)
{
    Etcd *etcd = context;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    int attempt = 0, failures = 0;
    while (!atomic_load(&etcd->stop)) {
        Error err = {0};
        const Instant began = clock_now(etcd->shared.clock);
        arena_reset(arena);
        const bool ok = round_once(etcd, arena, failures, &err);
        failures = ok ? 0 : failures + (failures < 100 ? 1 : 0);
        if (atomic_load(&etcd->stop))
            break;
        const int64_t lived_ms = instant_ms_between(began, clock_now(etcd->shared.clock));
        if (!ok) {
            log_debug("store watch interrupted error='%s'", err.text);
            etcd_client_next_endpoint(&etcd->watch);
        }
        attempt = lived_ms >= STEADY_MS ? 0 : attempt + 1;
        if (attempt > 1 || !ok) // the first time it ends in peace it is opened again at once
            wait_ms(etcd, retry_wait_ms(&etcd->watch.rng, attempt > 0 ? attempt - 1 : 0, BACKOFF_MS,
                                        BACKOFF_MAX_MS));
    }
    return NULL;
}

// --- from the caller's thread

bool etcd_watch_start(Etcd *etcd, Error *err)
{
    const int failed = thread_start(&etcd->thread, THREAD_STACK_SMALL, watcher, etcd);
    if (failed != 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot start the watcher thread (error %d)",
                         failed);
    atomic_store(&etcd->watching, true);
    return true;
}

void etcd_watch_stop(Etcd *etcd)
{
    if (!atomic_load(&etcd->watching))
        return;
    atomic_store(&etcd->stop, true);
    const uint64_t one = 1;
    const ssize_t written = write(etcd->stop_fd, &one, sizeof one);
    (void)written; // it stays readable for good
    http_interrupt(etcd->watch.http);
    pthread_join(etcd->thread, NULL);
    atomic_store(&etcd->watching, false);
}

void etcd_watch_restart(Etcd *etcd, bool list)
{
    if (list)
        atomic_store(&etcd->list_again, true);
    if (atomic_load(&etcd->watching))
        http_interrupt(etcd->watch.http);
}
