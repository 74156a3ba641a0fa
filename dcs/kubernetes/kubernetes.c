#include "dcs/kubernetes/kubernetes.h"
#include "dcs/kubernetes/store.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NOT_LOOKED_YET "other modes of the store were not looked at yet"

Kube *kube_of(Dcs *dcs)
{
    return (Kube *)(void *)dcs;
}

// Every call of the caller's thread begins here.
Arena *kube_begin(Kube *kube)
{
    arena_reset(kube->arena);
    return kube->arena;
}

Instant kube_now(const Kube *kube)
{
    return clock_now(kube->shared.clock);
}

// --- the view

bool kube_op_view(Dcs *dcs, Arena *arena, ClusterView *out)
{
    Kube *kube = kube_of(dcs);
    pthread_mutex_lock(&kube->mutex);
    const char *session = kube->session[0] != '\0' ? arena_strdup(arena, kube->session) : NULL;
    const bool known = kube_cache_view(&kube->cache, arena, session, kube_now(kube), out);
    if (known && kube->other_store[0] != '\0')
        out->other_store = arena_strdup(arena, kube->other_store);
    if (known)
        out->other_store_line = kube->other_line;
    pthread_mutex_unlock(&kube->mutex);
    return known;
}

static bool op_refresh(Dcs *dcs, Arena *arena, Deadline deadline, ClusterView *out, Error *err)
{
    Kube *kube = kube_of(dcs);
    (void)kube_begin(kube);
    for (KubeCollection c = 0; c < kube_collection_count(kube->layout.mode); c++) {
        if (!kube_list_collection(kube, kube->arena, c, deadline, err))
            return error_wrap(err, "read the store");
    }
    if (kube->member == NULL && !kube_look_for_cluster(kube, deadline, err))
        return error_wrap(err, "read the store");
    return kube_op_view(dcs, arena, out) || error_set(err, ERR_UNAVAILABLE, "nothing read yet");
}

// --- the store itself

static int op_event_fd(Dcs *dcs)
{
    return kube_of(dcs)->event_fd;
}

static void op_set_ttl(Dcs *dcs, int64_t ttl_ms, int64_t loop_wait_ms, int64_t retry_timeout_ms)
{
    Kube *kube = kube_of(dcs);
    pthread_mutex_lock(&kube->mutex);
    kube->cache.ttl_ms = ttl_ms;
    pthread_mutex_unlock(&kube->mutex);
    atomic_store(&kube->loop_wait_ms, loop_wait_ms);
    kube_shared_set_timers(&kube->shared, ttl_ms, loop_wait_ms, retry_timeout_ms);
}

static void stop_threads(Kube *kube)
{
    if (!kube->watching)
        return;
    for (KubeCollection c = 0; c < COLLECTION_COUNT; c++) // all at once, so that they end together
        kube_watch_end(kube->followers[c].watch);
    kube_upkeep_stop(kube); // before they are gone: it restarts them
    for (KubeCollection c = 0; c < COLLECTION_COUNT; c++)
        kube_watch_stop(kube->followers[c].watch);
}

static void op_free(Dcs *dcs)
{
    Kube *kube = kube_of(dcs);
    stop_threads(kube);
    kube_client_done(&kube->turn);
    kube_client_done(&kube->upkeep);
    kube_shared_done(&kube->shared);
    kube_cache_done(&kube->cache);
    pthread_mutex_destroy(&kube->mutex);
    (void)close(kube->event_fd); // eventfds: nothing to lose
    (void)close(kube->upkeep_fd);
    free(kube->member_text);
    free(kube->hold.acquire_time);
    free(kube->hold.term_text);
    arena_free(kube->arena);
    arena_free(kube->cache_arena);
    arena_free(kube->kept);
    free(kube);
}

static const DcsOps ops = {
    .view = kube_op_view,
    .refresh = op_refresh,
    .open_session = kube_op_open_session,
    .keep_session = kube_op_keep_session,
    .acquire = kube_op_acquire,
    .renew = kube_op_renew,
    .release = kube_op_release,
    .put_member = kube_op_put_member,
    .write = kube_op_write,
    .remove_cluster = kube_op_remove_cluster,
    .event_fd = op_event_fd,
    .set_ttl = op_set_ttl,
    .free = op_free,
};

// --- making one

static KubernetesLabels copy_labels(Arena *arena, const KubernetesLabels *from)
{
    KubernetesLabels labels = {.items = ARENA_ARRAY(arena, KubernetesLabel, from->count),
                               .count = from->count};
    for (size_t i = 0; i < from->count; i++)
        labels.items[i] = (KubernetesLabel){.key = arena_strdup(arena, from->items[i].key),
                                            .value = arena_strdup(arena, from->items[i].value)};
    return labels;
}

static void copy_settings(Kube *kube, const KubernetesSettings *from)
{
    Arena *arena = kube->kept;
    KubernetesSettings *to = &kube->settings;
    *to = *from;
    to->namespace = arena_strdup(arena, from->namespace);
    to->labels = copy_labels(arena, &from->labels);
    to->bootstrap_labels = copy_labels(arena, &from->bootstrap_labels);
    to->scope_label = arena_strdup(arena, from->scope_label);
    to->role_label = arena_strdup(arena, from->role_label);
    to->leader_label_value = arena_strdup(arena, from->leader_label_value);
    to->follower_label_value = arena_strdup(arena, from->follower_label_value);
    to->standby_leader_label_value = arena_strdup(arena, from->standby_leader_label_value);
    to->tmp_role_label = arena_strdup(arena, from->tmp_role_label);
    to->pod_ip = arena_strdup(arena, from->pod_ip);
    to->ports = ARENA_ARRAY(arena, KubernetesPort, from->port_count);
    for (size_t i = 0; i < from->port_count; i++)
        to->ports[i] = (KubernetesPort){.name = arena_strdup(arena, from->ports[i].name),
                                        .port = from->ports[i].port,
                                        .protocol = arena_strdup(arena, from->ports[i].protocol)};
    // Used up by kube_shared_init.
    to->retriable_http_codes = NULL;
    to->retriable_http_code_count = 0;
    to->cacert = to->context = NULL;
}

static int new_eventfd(void)
{
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(fd >= 0); // out of file descriptors at the start
    return fd;
}

static void start_threads(Kube *kube)
{
    const char *query = kube_label_query(kube->kept, kube->layout.labels, kube->layout.scope_label,
                                         kube->layout.scope);
    Error err = {0};
    bool started = true;
    kube->watching = true;
    for (KubeCollection c = 0; started && c < kube_collection_count(kube->layout.mode); c++) {
        const KubeWatchOptions options = {
            .shared = &kube->shared,
            .path = kube_path(kube->kept, &kube->layout, kube_collection_kind(kube->layout.mode, c),
                              NULL),
            .query = query,
            .handler = &kube_follow,
            .context = &kube->followers[c]};
        started = kube_watch_start(&options, &kube->followers[c].watch, &err);
    }
    started = started && kube_upkeep_start(kube, &err); // last: it restarts watches
    ASSERT(started);                                    // out of threads at the start
}

Dcs *kubernetes_new(const KubernetesOptions *options)
{
    Kube *kube = calloc(1, sizeof *kube);
    ASSERT(kube != NULL); // out of memory
    kube->dcs.ops = &ops;
    kube->kept = arena_new(ARENA_CAP_DEFAULT);
    kube->arena = arena_new(ARENA_CAP_DEFAULT);
    kube->cache_arena = arena_new(ARENA_CAP_DEFAULT);
    kube->rng = rng_from_os();
    kube->event_fd = new_eventfd();
    kube->upkeep_fd = new_eventfd();
    const int failed = pthread_mutex_init(&kube->mutex, NULL);
    ASSERT(failed == 0);

    copy_settings(kube, options->settings);
    kube->member = arena_strdup(kube->kept, options->member);
    kube->layout = (KubeLayout){
        .mode = kube->settings.objects,
        .namespace = str_or(kube->settings.namespace,
                            arena_strdup(kube->kept, kube_access_namespace(options->access))),
        .scope = arena_strdup(kube->kept, options->scope),
        .labels = &kube->settings.labels,
        .scope_label = kube->settings.scope_label};
    kube_cache_init(&kube->cache, &kube->layout, kube->member, options->ttl_ms);
    for (KubeCollection c = 0; c < COLLECTION_COUNT; c++) {
        kube->followers[c].kube = kube;
        kube->followers[c].collection = c;
    }
    if (kube->member != NULL && options->watch)
        (void)copy_text(kube->other_store, sizeof kube->other_store, NOT_LOOKED_YET); // it fits

    kube_shared_init(&kube->shared, options->clock, options->resolver, options->access,
                     options->settings);
    op_set_ttl(&kube->dcs, options->ttl_ms, options->loop_wait_ms, options->retry_timeout_ms);
    kube_client_init(&kube->turn, &kube->shared);
    kube_client_init(&kube->upkeep, &kube->shared);
    if (options->watch)
        start_threads(kube);
    return &kube->dcs;
}
