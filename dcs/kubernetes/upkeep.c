// The thread that does what nobody should wait for: tells the turn when a leader's time is over,
// takes the label off a pod that has lost, keeps our own right, and looks after streams that have
// fallen behind.
#include "common/os/log.h"
#include "common/os/thread.h"
#include "dcs/kubernetes/store.h"

#include <unistd.h>

enum {
    CALL_MS = 1000, // of one request: the end of a leader's time must not wait for long
    REFUSED_MS = 30000,
    RETRY_MS = 1000,  // after one that failed
    BEHIND_MS = 2000, // a stream that lives has shown a version by then
    STRIP_ROUND = 8,  // pods, between two looks at the rest
    SERVICE_MS = 10000,
};

typedef struct {
    char text[sizeof((Error *)0)->text]; // "": nothing
} LabelsTold;

typedef struct {
    Kube *kube;
    Arena *arena;
    Instant told_over_at; // the end of a leader's time that the turn was told of
    Instant labels_at, strip_at, service_at, others_at;
    bool was_led; // when we looked last
    LabelsTold labels_told, strip_told;
    bool service_done;
} Upkeep;

static Deadline brief(const Kube *kube)
{
    return deadline_in(kube->shared.clock, CALL_MS);
}

static bool is_due(Instant at, Instant now)
{
    return !instant_before(now, at);
}

// --- the end of a leader's time

static Instant tell_when_over(Upkeep *upkeep, Instant now)
{
    Kube *kube = upkeep->kube;
    pthread_mutex_lock(&kube->mutex);
    const Instant over_at = kube_vacancy_over_at(&kube->cache.vacancy);
    const bool leads = kube_vacancy_leads(&kube->cache.vacancy, now);
    pthread_mutex_unlock(&kube->mutex);
    if (!instant_is_set(over_at))
        return (Instant){0};
    if (leads)
        return (Instant){over_at.ns + NS_PER_MS}; // the very moment still counts
    if (upkeep->told_over_at.ns != over_at.ns)
        kube_raise(kube->event_fd);
    upkeep->told_over_at = over_at;
    return (Instant){0};
}

// --- labels

// Of a leader that was lost, or of anybody else: while we lead, no other pod bears a leader's
// label. In the arena; NULL: none.
static const char *next_loser(Upkeep *upkeep)
{
    Kube *kube = upkeep->kube;
    const char *name = NULL;
    pthread_mutex_lock(&kube->mutex);
    const bool leads = kube->session[0] != '\0' && kube_leads(kube, upkeep->arena);
    for (size_t i = 0; leads && name == NULL && i < kube->cache.pod_count; i++) {
        const KubeObject *pod = kube->cache.pods[i];
        if (!str_eq(pod->name, kube->member) && kube_bears_leader_label(&kube->settings, pod->tree))
            name = arena_strdup(upkeep->arena, pod->name);
    }
    pthread_mutex_unlock(&kube->mutex);
    return name;
}

// What is wrong with labels, logged once; then it is tried again.
static Instant labels_failed(Upkeep *upkeep, LabelsTold *told, const char *what, const char *pod,
                             const Error *err)
{
    if (!str_eq(told->text, err->text))
        log_warn("%s pod=%s error='%s'", what, pod, err->text);
    (void)copy_text(told->text, sizeof told->text, err->text); // the same size
    const int64_t wait_ms = err->kind == ERR_INVALID ? REFUSED_MS : RETRY_MS;
    return instant_plus_ms(kube_now(upkeep->kube), wait_ms);
}

static Instant strip_losers(Upkeep *upkeep, Instant now)
{
    Kube *kube = upkeep->kube;
    const char *pod = next_loser(upkeep);
    if (pod == NULL)
        return (Instant){0};
    if (!is_due(upkeep->strip_at, now))
        return upkeep->strip_at;
    for (int i = 0; i < STRIP_ROUND && pod != NULL; i++) {
        Error err = {0};
        const Tree *labels = kube_strip_labels(upkeep->arena, &kube->settings);
        const bool ok = kube_patch_pod(kube, &kube->upkeep, upkeep->arena, pod, labels, NULL,
                                       brief(kube), &err);
        const char *next = next_loser(upkeep);
        if (!ok && str_eq(next, pod)) { // it is still there
            upkeep->strip_at =
                labels_failed(upkeep, &upkeep->strip_told,
                              "role label of a pod that does not lead stays", pod, &err);
            return upkeep->strip_at;
        }
        upkeep->strip_told.text[0] = '\0';
        pod = next;
    }
    // One that is found later must not wait.
    upkeep->strip_at = pod != NULL ? instant_plus_ms(kube_now(kube), RETRY_MS) : (Instant){0};
    return upkeep->strip_at;
}

static Instant keep_own_labels(Upkeep *upkeep, Instant now)
{
    Kube *kube = upkeep->kube;
    pthread_mutex_lock(&kube->mutex);
    const Tree *labels = kube_own_labels_missing(kube, upkeep->arena);
    const Instant left_until = kube_labels_left_until(kube, upkeep->arena);
    pthread_mutex_unlock(&kube->mutex);
    if (labels == NULL)
        return left_until;
    if (!is_due(upkeep->labels_at, now))
        return upkeep->labels_at;
    Error err = {0};
    if (kube_patch_pod(kube, &kube->upkeep, upkeep->arena, kube->member, labels, NULL, brief(kube),
                       &err)) {
        upkeep->labels_told.text[0] = '\0';
        return (Instant){0};
    }
    upkeep->labels_at = labels_failed(upkeep, &upkeep->labels_told, "labels of our pod not written",
                                      kube->member, &err);
    return upkeep->labels_at;
}

// --- the Service of P-config

// With a refusal it is done as well: somebody else makes it, or nobody may.
static Instant make_service(Upkeep *upkeep, Instant now)
{
    Kube *kube = upkeep->kube;
    pthread_mutex_lock(&kube->mutex);
    const bool due = kube->service_due;
    pthread_mutex_unlock(&kube->mutex);
    if (kube->layout.mode != KUBERNETES_ENDPOINTS || upkeep->service_done || !due)
        return (Instant){0};
    if (!is_due(upkeep->service_at, now))
        return upkeep->service_at;
    const KubeRequest request = {.method = KUBE_POST,
                                 .path =
                                     kube_path(upkeep->arena, &kube->layout, KIND_SERVICES, NULL),
                                 .body = kube_config_service_body(upkeep->arena, &kube->layout)};
    KubeReply reply = {0};
    Error err = {0};
    upkeep->service_done =
        kube_call(&kube->upkeep, upkeep->arena, &request, brief(kube), &reply, &err) ||
        reply.status == 409 || reply.status == 403;
    if (upkeep->service_done)
        return (Instant){0};
    log_warn("service of the configuration not created error='%s'", err.text);
    upkeep->service_at = instant_plus_ms(kube_now(kube), SERVICE_MS);
    return upkeep->service_at;
}

// --- other modes

static Instant look_at_others(Upkeep *upkeep, Instant now)
{
    Kube *kube = upkeep->kube;
    pthread_mutex_lock(&kube->mutex);
    const bool filled = kube->cache.filled;
    const bool led = filled && kube_vacancy_leads(&kube->cache.vacancy, now);
    const bool wanted = (filled && !led) || kube->other_store[0] != '\0';
    pthread_mutex_unlock(&kube->mutex);
    // In a handover there is more urgent work, and a moment ago somebody led here.
    if (upkeep->was_led && !led)
        upkeep->others_at = instant_plus_ms(now, RETRY_MS);
    upkeep->was_led = led;
    if (kube->member == NULL || !wanted)
        return (Instant){0};
    if (!is_due(upkeep->others_at, now))
        return upkeep->others_at;
    Error err = {0};
    const bool ok = kube_look_at_others(kube, &kube->upkeep, upkeep->arena, brief(kube), &err);
    if (!ok)
        log_debug("other modes of the store not looked at error='%s'", err.text);
    upkeep->others_at =
        instant_plus_ms(kube_now(kube), ok ? atomic_load(&kube->loop_wait_ms) : (int64_t)RETRY_MS);
    return upkeep->others_at;
}

// --- streams

static Instant mend_streams(Upkeep *upkeep, Instant now)
{
    Kube *kube = upkeep->kube;
    Instant next = {0};
    for (KubeCollection c = 0; c < kube_collection_count(kube->layout.mode); c++) {
        KubeFollower *follower = &kube->followers[c];
        pthread_mutex_lock(&kube->mutex);
        const bool owes = follower->streaming && instant_is_set(follower->owed_since);
        const Instant due = instant_plus_ms(follower->owed_since, BEHIND_MS);
        const bool behind = owes && is_due(due, now);
        if (behind)
            follower->owed_since = (Instant){0}; // once for this version
        pthread_mutex_unlock(&kube->mutex);
        if (behind)
            kube_watch_restart(follower->watch);
        else if (owes)
            next = instant_earliest(next, due);
    }
    return next;
}

// --- the thread

static void *run(void *context)
{
    static Instant (*const jobs[])(Upkeep *, Instant) = {
        strip_losers, tell_when_over, keep_own_labels, make_service, look_at_others, mend_streams};
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Upkeep upkeep = {.kube = context, .arena = arena};
    Kube *kube = context;
    while (!atomic_load(&kube->stop)) {
        Instant next = {0};
        for (size_t i = 0; i < COUNT_OF(jobs) && !atomic_load(&kube->stop); i++)
            next = instant_earliest(next, jobs[i](&upkeep, kube_now(kube)));
        arena_reset(arena);
        if (!atomic_load(&kube->stop))
            event_wait(kube->upkeep_fd, kube_now(kube), next);
    }
    return NULL;
}

bool kube_upkeep_start(Kube *kube, Error *err)
{
    const int failed = thread_start(&kube->thread, THREAD_STACK_SMALL, run, kube);
    if (failed != 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot start the upkeep thread (error %d)", failed);
    return true;
}

void kube_upkeep_stop(Kube *kube)
{
    atomic_store(&kube->stop, true);
    kube_raise(kube->upkeep_fd);
    pthread_join(kube->thread, NULL);
}
