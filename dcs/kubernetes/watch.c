#include "dcs/kubernetes/watch.h"

#include "common/os/files.h"
#include "common/os/log.h"
#include "common/os/retry.h"
#include "common/os/thread.h"
#include "dcs/kubernetes/answer.h"
#include "dcs/kubernetes/lines.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 1000,
    ASKED_MAX_MS = 30000, // of what a server that is too busy asks for
    PATIENCE_MS = 3000,
    PATIENCE_MAX_MS = 10000,
    STEADY_MS = 2000, // a stream that lived this long was no failure
    // The server ends a watch itself, so that connections spread over servers again; random, so
    // that not all members come back at once.
    WATCH_S = 240,
    WATCH_SPREAD_S = 60,
    IDLE_MS = 90 * 1000,
    VERSION_SIZE = 64,
};

struct KubeWatch {
    KubeClient client;
    KubeShared *shared;
    Arena *kept;
    const char *path, *query;
    KubeWatchHandler handler;
    void *context;

    pthread_t thread;
    int stop_fd; // for the thread's waits
    atomic_bool stop;
    atomic_bool list_again;     // what we have cannot be continued
    char version[VERSION_SIZE]; // up to which we know all
    bool streaming;
    int64_t asked_wait_ms;               // by the refusal of a list
    char told[sizeof((Error *)0)->text]; // what is refused for good, logged once
};

// How a stream ended.
typedef enum {
    ENDED,  // as planned, or we were interrupted: go on where it was
    GONE,   // the version is too old: list
    BROKEN, // list, after a wait
} Ending;

typedef struct {
    KubeWatch *watch;
    Arena *arena; // of one event
    KubeLines lines;
    int status;
    bool gone, failed;
    Instant last_byte;
    char why[200];
} Stream;

static void set_state(KubeWatch *watch, bool streaming, const char *why)
{
    if (watch->streaming == streaming)
        return;
    watch->streaming = streaming;
    watch->handler.on_state(watch->context, streaming, clock_now(watch->shared->clock), why);
}

static bool keep_version(KubeWatch *watch, const Tree *object)
{
    const char *version = tree_get_string(tree_get(object, "metadata"), "resourceVersion", "");
    return version[0] != '\0' && copy_text(watch->version, sizeof watch->version, version);
}

// --- events

static bool fail(Stream *stream, const char *why)
{
    stream->failed = true;
    (void)copy_text(stream->why, sizeof stream->why, why); // may be cut
    return false;
}

static bool on_error_event(Stream *stream, const Tree *status)
{
    enum { HTTP_GONE = 410 };
    stream->gone = tree_get_int(status, "code", 0) == HTTP_GONE;
    return fail(stream, tree_get_string(status, "message", "an error without a text"));
}

static bool take_event(Stream *stream, const char *type, const Tree *object)
{
    static const struct {
        const char *type;
        KubeEvent event;
    } events[] = {{"ADDED", KUBE_ADDED}, {"MODIFIED", KUBE_MODIFIED}, {"DELETED", KUBE_DELETED}};
    KubeWatch *watch = stream->watch;
    const bool bookmark = str_eq(type, "BOOKMARK");
    for (size_t i = 0; i < COUNT_OF(events) + 1; i++) {
        const bool known = i < COUNT_OF(events) && str_eq(type, events[i].type);
        if (!known && !(bookmark && i == COUNT_OF(events)))
            continue;
        if (!keep_version(watch, object))
            return fail(stream, "an event without a resourceVersion");
        if (bookmark)
            watch->handler.on_progress(watch->context, watch->version, stream->last_byte);
        else
            watch->handler.on_event(watch->context, events[i].event, object, stream->last_byte);
        return true;
    }
    log_debug("store watch: unknown event ignored type='%s'", type);
    return true;
}

static bool take_line(Stream *stream, const char *text)
{
    const Tree *document = NULL;
    Error err = {0};
    if (atomic_load(&stream->watch->stop))
        return false;
    if (!tree_parse_json(stream->arena, text, &document, &err))
        return fail(stream, err.text);
    const char *type = tree_get_string(document, "type", "");
    const Tree *object = tree_get(document, "object");
    if (object == NULL || object->kind != TREE_MAP)
        return fail(stream, "an event without an object");
    if (str_eq(type, "ERROR"))
        return on_error_event(stream, object);
    return take_event(stream, type, object);
}

static bool on_line(void *context, const char *text)
{
    Stream *stream = context;
    const bool taken = take_line(stream, text);
    arena_reset(stream->arena); // the next event may be minutes away
    return taken;
}

// --- the stream

static void on_status(void *context, int status)
{
    Stream *stream = context;
    stream->status = status;
    stream->last_byte = clock_now(stream->watch->shared->clock);
    if (status != 200)
        return;
    stream->watch->told[0] = '\0';
    set_state(stream->watch, true, "");
}

static bool on_bytes(void *context, const char *bytes, size_t length)
{
    Stream *stream = context;
    stream->last_byte = clock_now(stream->watch->shared->clock);
    if (atomic_load(&stream->watch->stop) || stream->status != 200)
        return false; // what a refusal says is known by its status
    if (kube_lines_take(&stream->lines, bytes, length, on_line, stream))
        return true;
    return stream->failed ? false : fail(stream, "no JSON, or more than 8 MiB of it");
}

static Ending judge_refusal(Stream *stream, Error *err)
{
    KubeWatch *watch = stream->watch;
    enum { HTTP_UNAUTHORIZED = 401, HTTP_FORBIDDEN = 403, HTTP_GONE = 410 };
    if (stream->status == HTTP_GONE)
        return GONE;
    if (stream->status == HTTP_UNAUTHORIZED)
        kube_access_unauthorized(watch->shared->access);
    if (stream->status == HTTP_FORBIDDEN) {
        AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
        (void)error_set(err, ERR_INVALID, "%s", kube_forbidden_text(arena, "watch", watch->path));
    } else {
        (void)error_set(err, ERR_UNAVAILABLE, "watch %s: HTTP status %d", watch->path,
                        stream->status);
    }
    return BROKEN;
}

static const char *watch_query(KubeWatch *watch, Arena *arena)
{
    return arena_printf(arena,
                        "%s%swatch=true&allowWatchBookmarks=true&resourceVersion=%s"
                        "&timeoutSeconds=%" PRIu64,
                        str_or(watch->query, ""), str_empty(watch->query) ? "" : "&",
                        kube_escape(arena, watch->version),
                        WATCH_S + rng_below(&watch->client.rng, WATCH_SPREAD_S + 1));
}

static Ending follow(KubeWatch *watch, Arena *arena, Error *err)
{
    AUTO(arena_release) Arena *events = arena_new(ARENA_CAP_DEFAULT);
    Stream stream = {.watch = watch, .arena = events};
    int status = 0;
    const bool ok = kube_stream(&watch->client, watch->path, watch_query(watch, arena), IDLE_MS,
                                on_status, on_bytes, &stream, &status, err);
    if (ok && !stream.failed && stream.lines.length > 0 && !atomic_load(&watch->list_again))
        (void)fail(&stream, "it ended within a line"); // and nobody had interrupted it
    kube_lines_done(&stream.lines);
    if (stream.status != 0 && stream.status != 200)
        return judge_refusal(&stream, err);
    if (stream.failed) {
        (void)error_set(err, ERR_UNAVAILABLE, "watch %s: %s", watch->path, stream.why);
        return stream.gone ? GONE : BROKEN;
    }
    if (ok)
        return ENDED;
    // Silent for so long that a bookmark is overdue: the server is frozen, or has none to send
    // (one that has just started, while nothing of this kind has changed). Opening it anew tells.
    const int64_t silent_ms = instant_ms_between(stream.last_byte, clock_now(watch->shared->clock));
    return stream.status == 200 && silent_ms >= IDLE_MS ? ENDED : BROKEN;
}

// --- the list

static bool list(KubeWatch *watch, Arena *arena, Deadline deadline, Error *err)
{
    static const Tree nothing = {.kind = TREE_LIST};
    const KubeRequest request = {.method = KUBE_GET, .path = watch->path, .query = watch->query};
    KubeReply reply;
    if (!kube_call(&watch->client, arena, &request, deadline, &reply, err)) {
        watch->asked_wait_ms = reply.asked_wait_ms;
        return false;
    }
    const Tree *items = tree_get(reply.body, "items");
    if (items == NULL || items->kind == TREE_NULL) // Go's empty list
        items = &nothing;
    if (reply.body == NULL || items->kind != TREE_LIST || !keep_version(watch, reply.body))
        return error_set(err, ERR_INVALID, "list %s: the answer is no list", watch->path);
    watch->handler.on_list(watch->context, items, watch->version, reply.sent_at);
    return true;
}

static bool catch_up(KubeWatch *watch, Arena *arena, Deadline deadline, Error *err)
{
    if (!atomic_exchange(&watch->list_again, false))
        return true;
    if (list(watch, arena, deadline, err))
        return true;
    atomic_store(&watch->list_again, true);
    return false;
}

// Nobody else may notice: what others read and write may well be allowed.
static void say_refused(KubeWatch *watch, const Error *err)
{
    if (err->kind == ERR_INVALID && !str_eq(watch->told, err->text)) {
        log_warn("store watch refused error='%s'", err->text);
        (void)copy_text(watch->told, sizeof watch->told, err->text); // the same size
    } else {
        log_debug("store watch interrupted error='%s'", err->text);
    }
}

// --- the thread

static void wait_ms(KubeWatch *watch, int64_t ms)
{
    struct pollfd stop = {.fd = watch->stop_fd, .events = POLLIN};
    (void)poll(&stop, 1, (int)ms); // interrupted or not, the caller looks at stop
}

// How long a list may take.
static int64_t patience_ms(int failures)
{
    const int64_t ms = PATIENCE_MS * (int64_t)(1 + failures);
    return ms < PATIENCE_MAX_MS ? ms : PATIENCE_MAX_MS;
}

// Before the next round.
static int64_t pause_ms(KubeWatch *watch, int attempt)
{
    const int64_t own = retry_wait_ms(&watch->client.rng, attempt > 0 ? attempt - 1 : 0, BACKOFF_MS,
                                      BACKOFF_MAX_MS);
    const int64_t asked = watch->asked_wait_ms < ASKED_MAX_MS ? watch->asked_wait_ms : ASKED_MAX_MS;
    return asked > own ? asked : own;
}

static Ending round_once(KubeWatch *watch, Arena *arena, int failures, Error *err)
{
    const Deadline deadline = deadline_in(watch->shared->clock, patience_ms(failures));
    kube_client_discover(&watch->client, failures > 0, deadline);
    if (!catch_up(watch, arena, deadline, err))
        return BROKEN;
    if (atomic_load(&watch->stop))
        return ENDED;
    arena_reset(arena); // the list: a stream lives for minutes
    return follow(watch, arena, err);
}

static void *watcher(void *context)
{
    KubeWatch *watch = context;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    int attempt = 0, failures = 0;
    while (!atomic_load(&watch->stop)) {
        Error err = {0};
        const Instant began = clock_now(watch->shared->clock);
        arena_reset(arena);
        watch->asked_wait_ms = 0;
        const Ending ending = round_once(watch, arena, failures, &err);
        if (atomic_load(&watch->stop))
            break;
        if (ending != ENDED)
            atomic_store(&watch->list_again, true);
        if (ending == BROKEN) {
            say_refused(watch, &err);
            set_state(watch, false, err.text);
            kube_client_next_server(&watch->client);
        }
        failures = ending == BROKEN ? failures + (failures < 100 ? 1 : 0) : 0;
        const int64_t lived_ms = instant_ms_between(began, clock_now(watch->shared->clock));
        attempt = lived_ms >= STEADY_MS ? 0 : attempt + 1;
        if (attempt > 1 || ending == BROKEN) // the first time, it is opened again at once
            wait_ms(watch, pause_ms(watch, attempt));
    }
    return NULL;
}

// --- from other threads

static void watch_free(KubeWatch *watch)
{
    kube_client_done(&watch->client);
    arena_free(watch->kept);
    fd_release(&watch->stop_fd);
    free(watch);
}

bool kube_watch_start(const KubeWatchOptions *options, KubeWatch **out, Error *err)
{
    KubeWatch *watch = calloc(1, sizeof *watch);
    ASSERT(watch != NULL); // out of memory
    watch->shared = options->shared;
    watch->handler = *options->handler;
    watch->context = options->context;
    watch->kept = arena_new(ARENA_CAP_DEFAULT);
    watch->path = arena_strdup(watch->kept, options->path);
    watch->query = arena_strdup(watch->kept, options->query);
    watch->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(watch->stop_fd >= 0); // out of descriptors at the start
    atomic_store(&watch->list_again, true);
    kube_client_init(&watch->client, options->shared);

    const int failed = thread_start(&watch->thread, THREAD_STACK_SMALL, watcher, watch);
    if (failed != 0) {
        watch_free(watch);
        return error_set(err, ERR_UNAVAILABLE, "cannot start the watcher thread (error %d)",
                         failed);
    }
    *out = watch;
    return true;
}

void kube_watch_end(KubeWatch *watch)
{
    if (watch == NULL)
        return;
    const uint64_t one = 1;
    atomic_store(&watch->stop, true);
    const ssize_t written = write(watch->stop_fd, &one, sizeof one);
    (void)written; // it stays readable for good
    http_end(watch->client.http);
}

void kube_watch_stop(KubeWatch *watch)
{
    if (watch == NULL)
        return;
    kube_watch_end(watch);
    pthread_join(watch->thread, NULL);
    watch_free(watch);
}

void kube_watch_restart(KubeWatch *watch)
{
    atomic_store(&watch->list_again, true);
    http_interrupt(watch->client.http);
}
