#include "dcs/kubernetes/announce.h"

#include "common/os/log.h"
#include "common/os/retry.h"
#include "common/os/thread.h"
#include "dcs/kubernetes/client.h"
#include "dcs/kubernetes/object.h"
#include "dcs/kubernetes/signs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    CALL_MS = 1000,
    LAST_MS = 1000,       // for what was told last, when we are to end
    RETRY_MIN_MS = 1000,  // after a call that failed, doubling
    RETRY_MAX_MS = 60000, // …
    REFUSED_MS = 30000,   // a rule of the role is missing: somebody may add it
    LOOK_AGAIN_MS = 5000, // after a change: what a former leader had under way may come late
    LOOK_MS = 30000,      // Services come and go, and others can write their labels too
    SETTLE_MS = 1000,     // a change is told when it is so old: who takes over has the API first
    STALE_MS = 600000,    // an Event that could not be written for so long is no news
    QUEUE_SIZE = 32,
    NAME_SIZE = 256,
};

typedef struct {
    char reason[64], message[512];
    bool warning, of_cluster;
    int64_t wall_us;
    uint64_t number;
    Instant since;
    bool on_pod; // written there
} QueuedEvent;

typedef struct {
    char leader[NAME_SIZE]; // "": nobody
    ClusterSigns signs;     // without the pointer
    bool ours;              // false: not ours to say
    uint64_t version;
    Instant since; // of the first change that is not shown yet; 0: there is none
} Shown;

// When a kind of call may be made, after one that failed.
typedef struct {
    Instant at;
    int failures;
    char told[sizeof((Error *)0)->text]; // what was refused last, logged once
} Patience;

typedef struct {
    Announcer base;
    KubeShared shared;
    KubeClient client; // the thread's
    Rng rng;           // the thread's
    Arena *kept;       // layout and member
    Arena *arena;      // the thread's scratch
    KubeLayout layout;
    KubernetesLabels labels;
    const char *member;
    int wake_fd;
    pthread_t thread;

    pthread_mutex_t mutex; // of what follows
    bool stop;
    Shown wanted;
    QueuedEvent queue[QUEUE_SIZE];
    size_t queued; // the oldest first
    uint64_t events;
    bool fate_wanted;
    PodFate fate;

    // The thread's own:
    uint64_t shown; // version that the Services bear
    Instant look_at;
    Patience signs_patience, events_patience;
    Arena *services_arena;
    const Tree *services; // as listed last; NULL: never
    Instant services_at;
    char pod_uid[64]; // "": not known yet
    Instant end_at;   // of the last round; 0: not asked to end
} KubeAnnouncer;

static KubeAnnouncer *self_of(Announcer *base)
{
    return (KubeAnnouncer *)(void *)base;
}

static void wake(KubeAnnouncer *self)
{
    const uint64_t one = 1;
    const ssize_t written = write(self->wake_fd, &one, sizeof one);
    (void)written; // full: it is readable all the same
}

static Instant now_of(const KubeAnnouncer *self)
{
    return clock_now(self->shared.clock);
}

// --- what the turn says

static void show(Announcer *base, const ClusterSigns *signs)
{
    KubeAnnouncer *self = self_of(base);
    Shown wanted = {.ours = signs != NULL};
    if (signs != NULL) {
        wanted.signs = *signs;
        wanted.signs.leader = NULL;
        (void)copy_text(wanted.leader, sizeof wanted.leader, str_or(signs->leader, "")); // it fits
    }
    pthread_mutex_lock(&self->mutex);
    const ClusterSigns *is = &self->wanted.signs;
    const bool same = self->wanted.ours == wanted.ours && is->state == wanted.signs.state &&
                      is->sync == wanted.signs.sync && is->timeline == wanted.signs.timeline &&
                      is->replicas == wanted.signs.replicas &&
                      str_eq(self->wanted.leader, wanted.leader);
    wanted.version = self->wanted.version + 1;
    wanted.since = instant_is_set(self->wanted.since) ? self->wanted.since : now_of(self);
    if (!same)
        self->wanted = wanted;
    pthread_mutex_unlock(&self->mutex);
    if (!same)
        wake(self);
}

static void event(Announcer *base, const Announcement *announcement)
{
    KubeAnnouncer *self = self_of(base);
    QueuedEvent queued = {.warning = announcement->warning,
                          .of_cluster = announcement->of_cluster,
                          .wall_us = announcement->wall_us};
    // What is cut is still good enough for people.
    (void)copy_text(queued.reason, sizeof queued.reason, announcement->reason);
    (void)copy_text(queued.message, sizeof queued.message, announcement->message);
    pthread_mutex_lock(&self->mutex);
    if (self->queued == QUEUE_SIZE) {
        memmove(self->queue, self->queue + 1, (QUEUE_SIZE - 1) * sizeof *self->queue);
        self->queued--;
    }
    queued.since = now_of(self);
    queued.number = ++self->events;
    self->queue[self->queued++] = queued;
    pthread_mutex_unlock(&self->mutex);
    wake(self);
}

static void ask_fate(Announcer *base)
{
    KubeAnnouncer *self = self_of(base);
    pthread_mutex_lock(&self->mutex);
    self->fate_wanted = true;
    self->fate = POD_NOT_KNOWN;
    pthread_mutex_unlock(&self->mutex);
    wake(self);
}

static PodFate fate(Announcer *base)
{
    KubeAnnouncer *self = self_of(base);
    pthread_mutex_lock(&self->mutex);
    const PodFate now = self->fate;
    pthread_mutex_unlock(&self->mutex);
    return now;
}

// --- calls

static Deadline brief(const KubeAnnouncer *self)
{
    const Deadline d = deadline_in(self->shared.clock, CALL_MS);
    return instant_is_set(self->end_at) ? deadline_min(d, deadline_at(self->end_at)) : d;
}

static bool may_try(const Patience *patience, Instant now)
{
    return !instant_before(now, patience->at);
}

static void went_well(Patience *patience)
{
    *patience = (Patience){0};
}

// One line for what is refused, however often it is tried.
static void say_once(Patience *patience, const char *what, const Error *err)
{
    if (err->kind != ERR_INVALID) {
        log_debug("%s error='%s'", what, err->text);
        return;
    }
    if (!str_eq(patience->told, err->text))
        log_warn("%s error='%s'", what, err->text);
    (void)copy_text(patience->told, sizeof patience->told, err->text); // the same size
}

static void went_wrong(KubeAnnouncer *self, Patience *patience, const char *what, const Error *err)
{
    const int64_t wait = err->kind == ERR_INVALID ? REFUSED_MS
                                                  : retry_wait_ms(&self->rng, patience->failures,
                                                                  RETRY_MIN_MS, RETRY_MAX_MS);
    patience->failures++;
    patience->at = instant_plus_ms(now_of(self), wait);
    say_once(patience, what, err);
}

// What is asked of them, and not what the API server tracks about their writers.
static const Tree *services_of(Arena *arena, const Tree *items)
{
    static const char *const fields[] = {"name", "uid", "labels"};
    Tree *services = tree_list(arena);
    for (size_t i = 0; items != NULL && items->kind == TREE_LIST && i < items->count; i++) {
        const Tree *from = tree_get(items->entries[i].value, "metadata");
        Tree *service = tree_map(arena), *metadata = tree_map(arena);
        for (size_t k = 0; k < COUNT_OF(fields); k++)
            if (tree_get(from, fields[k]) != NULL)
                tree_set(arena, metadata, fields[k], tree_copy(arena, tree_get(from, fields[k])));
        tree_set(arena, service, "metadata", metadata);
        tree_append(arena, services, service);
    }
    return services;
}

static bool list_services(KubeAnnouncer *self, Error *err)
{
    Arena *arena = self->arena;
    const KubeRequest request = {.method = KUBE_GET,
                                 .path = kube_path(arena, &self->layout, KIND_SERVICES, NULL),
                                 .query = kube_label_query(arena, self->layout.labels,
                                                           self->layout.scope_label,
                                                           self->layout.scope)};
    KubeReply reply = {0};
    if (!kube_call(&self->client, arena, &request, brief(self), &reply, err))
        return error_wrap(err, "list Services");
    arena_reset(self->services_arena);
    self->services = services_of(self->services_arena, tree_get(reply.body, "items"));
    self->services_at = now_of(self);
    return true;
}

static bool label_service(KubeAnnouncer *self, const Tree *service, const Tree *labels, Error *err)
{
    Arena *arena = self->arena;
    const Tree *missing = kube_signs_missing(arena, &self->layout, labels, service);
    if (missing == NULL)
        return true;
    const char *name = tree_get_string(tree_get(service, "metadata"), "name", "");
    Tree *metadata = tree_map(arena), *body = tree_map(arena);
    tree_set(arena, metadata, "labels", missing);
    tree_set(arena, body, "metadata", metadata);
    const KubeRequest request = {.method = KUBE_PATCH,
                                 .path = kube_path(arena, &self->layout, KIND_SERVICES, name),
                                 .body = tree_to_json(arena, body, JSON_COMPACT)};
    KubeReply reply = {0};
    return kube_call(&self->client, arena, &request, brief(self), &reply, err) ||
           reply.status == 404 || // it has gone meanwhile
           error_wrap(err, "labels of Service '%s'", name);
}

// --- labels

// One that may not be written must not keep the others from it: then *refused says why.
static bool label_services(KubeAnnouncer *self, const ClusterSigns *signs, Error *refused,
                           Error *err)
{
    const Tree *labels = kube_sign_labels(self->arena, signs);
    for (size_t i = 0; i < self->services->count; i++) {
        Error one = {0};
        if (label_service(self, self->services->entries[i].value, labels, &one))
            continue;
        Error *first = one.kind == ERR_INVALID ? refused : err;
        if (first->kind == ERR_NONE)
            *first = one;
    }
    return err->kind == ERR_NONE;
}

// Each change of a Service's labels is one more of its Endpoints and its EndpointSlices, and in the
// midst of a failover those who look after them have the new primary to tell.
static bool has_settled(const KubeAnnouncer *self, Instant since, Instant *out_at)
{
    *out_at = instant_plus_ms(since, SETTLE_MS);
    return instant_is_set(self->end_at) || !instant_before(now_of(self), *out_at);
}

static void shown(KubeAnnouncer *self, uint64_t version)
{
    pthread_mutex_lock(&self->mutex);
    if (self->wanted.version == version)
        self->wanted.since = (Instant){0};
    else
        self->wanted.since = now_of(self); // it changed again meanwhile
    pthread_mutex_unlock(&self->mutex);
    self->shown = version;
}

static Instant show_signs(KubeAnnouncer *self, Instant now)
{
    static const char not_shown[] = "state of the cluster not on its Services";
    pthread_mutex_lock(&self->mutex);
    Shown wanted = self->wanted;
    pthread_mutex_unlock(&self->mutex);
    const bool changed = wanted.version != self->shown;
    if (!wanted.ours) {
        shown(self, wanted.version);
        return (Instant){0};
    }
    Instant settled_at;
    if (changed && !has_settled(self, wanted.since, &settled_at))
        return settled_at;
    if (!changed && instant_before(now, self->look_at))
        return self->look_at;
    if (!may_try(&self->signs_patience, now))
        return self->signs_patience.at;
    wanted.signs.leader = wanted.leader[0] != '\0' ? wanted.leader : NULL;
    Error err = {0}, refused = {0};
    if (!list_services(self, &err) || !label_services(self, &wanted.signs, &refused, &err)) {
        went_wrong(self, &self->signs_patience, not_shown, &err);
        return self->signs_patience.at;
    }
    if (refused.kind == ERR_NONE)
        went_well(&self->signs_patience);
    else
        say_once(&self->signs_patience, not_shown, &refused);
    shown(self, wanted.version);
    self->look_at = instant_plus_ms(now_of(self), changed ? LOOK_AGAIN_MS : LOOK_MS);
    return self->look_at;
}

// --- our pod

static bool look_at_pod(KubeAnnouncer *self, PodFate *out, Error *err)
{
    const KubeRequest request = {
        .method = KUBE_GET, .path = kube_path(self->arena, &self->layout, KIND_PODS, self->member)};
    KubeReply reply = {0};
    if (!kube_call(&self->client, self->arena, &request, brief(self), &reply, err))
        return error_wrap(err, "look at our pod");
    const Tree *metadata = tree_get(reply.body, "metadata");
    const char *uid = tree_get_string(metadata, "uid", "");
    // Another one of the same name has taken its place.
    const bool other = self->pod_uid[0] != '\0' && !str_eq(uid, self->pod_uid);
    const bool goes =
        reply.body == NULL || other || tree_get(metadata, "deletionTimestamp") != NULL;
    *out = goes ? POD_GOES : POD_STAYS;
    if (!other)
        (void)copy_text(self->pod_uid, sizeof self->pod_uid, uid); // of 36 characters
    return true;
}

static void find_fate(KubeAnnouncer *self)
{
    pthread_mutex_lock(&self->mutex);
    const bool wanted = self->fate_wanted;
    self->fate_wanted = false;
    pthread_mutex_unlock(&self->mutex);
    PodFate found;
    Error err = {0};
    if (!wanted)
        return;
    if (!look_at_pod(self, &found, &err)) {
        log_debug("whether our pod is being deleted is not known error='%s'", err.text);
        return;
    }
    pthread_mutex_lock(&self->mutex);
    self->fate = found;
    pthread_mutex_unlock(&self->mutex);
}

// --- events

static bool write_event(KubeAnnouncer *self, const QueuedEvent *queued, const KubeAbout *about,
                        Error *err)
{
    Arena *arena = self->arena;
    // The same on every try, so that one that arrived twice is there once.
    const char *name = arena_printf(arena, "%s.%016" PRIx64, about->name,
                                    (uint64_t)queued->wall_us + queued->number);
    const Announcement announcement = {.reason = queued->reason,
                                       .message = queued->message,
                                       .warning = queued->warning,
                                       .wall_us = queued->wall_us};
    const KubeRequest request = {
        .method = KUBE_POST,
        .path = kube_path(arena, &self->layout, KIND_EVENTS, NULL),
        .body = kube_event_body(arena, &self->layout, name, about, self->member, &announcement)};
    KubeReply reply = {0};
    return kube_call(&self->client, arena, &request, brief(self), &reply, err) ||
           reply.status == 409 || error_wrap(err, "write Event %s", queued->reason);
}

static bool write_on_pod(KubeAnnouncer *self, QueuedEvent *queued, Error *err)
{
    PodFate ignored;
    if (queued->on_pod)
        return true;
    if (self->pod_uid[0] == '\0' && !look_at_pod(self, &ignored, err))
        return false;
    const KubeAbout pod = {.kind = KIND_PODS, .name = self->member, .uid = self->pod_uid};
    queued->on_pod = write_event(self, queued, &pod, err);
    return queued->on_pod;
}

static bool write_on_service(KubeAnnouncer *self, const QueuedEvent *queued, Error *err)
{
    if (!queued->of_cluster)
        return true;
    const bool old =
        self->services == NULL || instant_ms_between(self->services_at, now_of(self)) > LOOK_MS;
    if (old && !list_services(self, err))
        return false;
    const Tree *service = kube_service_of_cluster(&self->layout, self->services);
    const Tree *metadata = tree_get(service, "metadata");
    const KubeAbout about = {.kind = KIND_SERVICES,
                             .name = tree_get_string(metadata, "name", ""),
                             .uid = tree_get_string(metadata, "uid", NULL)};
    return service == NULL || write_event(self, queued, &about, err);
}

static bool first_event(KubeAnnouncer *self, QueuedEvent *out)
{
    pthread_mutex_lock(&self->mutex);
    const bool any = self->queued > 0;
    if (any)
        *out = self->queue[0];
    pthread_mutex_unlock(&self->mutex);
    return any;
}

// done: it leaves the queue, if it is still in it.
static void put_back(KubeAnnouncer *self, const QueuedEvent *event_, bool done)
{
    pthread_mutex_lock(&self->mutex);
    if (self->queued > 0 && self->queue[0].number == event_->number) {
        self->queue[0].on_pod = event_->on_pod;
        if (done)
            memmove(self->queue, self->queue + 1, --self->queued * sizeof *self->queue);
    }
    pthread_mutex_unlock(&self->mutex);
}

static Instant write_events(KubeAnnouncer *self, Instant now)
{
    QueuedEvent queued;
    while (first_event(self, &queued)) {
        Instant settled_at;
        if (!has_settled(self, queued.since, &settled_at))
            return settled_at;
        if (!may_try(&self->events_patience, now))
            return self->events_patience.at;
        Error err = {0};
        const int64_t age_ms = (clock_wall_us(self->shared.clock) - queued.wall_us) / 1000;
        const bool ok = age_ms > STALE_MS || (write_on_pod(self, &queued, &err) &&
                                              write_on_service(self, &queued, &err));
        // What is refused is refused for all that follows, and no news by the time it is allowed.
        put_back(self, &queued, ok || err.kind == ERR_INVALID);
        if (!ok) {
            went_wrong(self, &self->events_patience, "events not written", &err);
            return self->events_patience.at;
        }
        went_well(&self->events_patience);
    }
    return (Instant){0};
}

// --- the thread

static bool told_to_stop(KubeAnnouncer *self)
{
    pthread_mutex_lock(&self->mutex);
    const bool stop = self->stop;
    pthread_mutex_unlock(&self->mutex);
    return stop;
}

static void *run(void *context)
{
    KubeAnnouncer *self = context;
    bool last = false;
    for (;;) {
        find_fate(self);
        Instant next = show_signs(self, now_of(self));
        next = instant_earliest(next, write_events(self, now_of(self)));
        arena_reset(self->arena);
        if (last)
            return NULL;
        if (!told_to_stop(self))
            event_wait(self->wake_fd, now_of(self), next);
        if (told_to_stop(self)) {
            last = true;
            self->end_at = instant_plus_ms(now_of(self), LAST_MS);
        }
    }
}

static void start_thread(KubeAnnouncer *self)
{
    const int failed = thread_start(&self->thread, THREAD_STACK_SMALL, run, self);
    ASSERT(failed == 0); // out of threads at the start
}

static void announcer_done(Announcer *base)
{
    KubeAnnouncer *self = self_of(base);
    pthread_mutex_lock(&self->mutex);
    self->stop = true;
    pthread_mutex_unlock(&self->mutex);
    wake(self);
    pthread_join(self->thread, NULL);
    kube_client_done(&self->client);
    kube_shared_done(&self->shared);
    pthread_mutex_destroy(&self->mutex);
    (void)close(self->wake_fd); // an eventfd: nothing to lose
    arena_free(self->services_arena);
    arena_free(self->arena);
    arena_free(self->kept);
    free(self);
}

static const AnnouncerOps ops = {
    .show = show, .event = event, .ask_fate = ask_fate, .fate = fate, .free = announcer_done};

static KubernetesLabels copy_labels(Arena *arena, const KubernetesLabels *from)
{
    KubernetesLabels labels = {.items = ARENA_ARRAY(arena, KubernetesLabel, from->count),
                               .count = from->count};
    for (size_t i = 0; i < from->count; i++)
        labels.items[i] = (KubernetesLabel){.key = arena_strdup(arena, from->items[i].key),
                                            .value = arena_strdup(arena, from->items[i].value)};
    return labels;
}

Announcer *kube_announcer_new(const KubeAnnounceOptions *options)
{
    KubeAnnouncer *self = calloc(1, sizeof *self);
    ASSERT(self != NULL); // out of memory
    self->base.ops = &ops;
    self->kept = arena_new(ARENA_CAP_DEFAULT);
    self->arena = arena_new(ARENA_CAP_DEFAULT);
    self->services_arena = arena_new(ARENA_CAP_DEFAULT);
    self->rng = rng_from_os();
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(self->wake_fd >= 0); // out of file descriptors at the start
    const int failed = pthread_mutex_init(&self->mutex, NULL);
    ASSERT(failed == 0);
    const KubernetesSettings *settings = options->settings;
    self->labels = copy_labels(self->kept, &settings->labels);
    self->member = arena_strdup(self->kept, options->member);
    self->layout = (KubeLayout){
        .mode = settings->objects,
        .namespace = arena_strdup(
            self->kept, str_or(settings->namespace, kube_access_namespace(options->access))),
        .scope = arena_strdup(self->kept, options->scope),
        .labels = &self->labels,
        .scope_label = arena_strdup(self->kept, settings->scope_label)};
    kube_shared_init(&self->shared, options->clock, options->resolver, options->access, settings);
    kube_shared_set_timers(&self->shared, options->ttl_ms, options->loop_wait_ms,
                           options->retry_timeout_ms);
    kube_client_init(&self->client, &self->shared);
    start_thread(self);
    return &self->base;
}
