// Is this cluster kept in another mode? Two agents that look in different places would make two
// primaries of one cluster.
#include "common/os/log.h"
#include "dcs/kubernetes/store.h"

#include <stdio.h>

// Not there, or not for us to see: a role without rights on it cannot have written it either.
static bool read_of_mode(KubeClient *client, Arena *arena, const KubeLayout *layout, KubeRole role,
                         Deadline deadline, const Tree **out, Error *err)
{
    const KubeKind kind = kube_place(layout->mode, role).kind;
    const KubeRequest request = {
        .method = KUBE_GET,
        .path = kube_path(arena, layout, kind, kube_object_name(arena, layout, role))};
    KubeReply reply = {0};
    *out = NULL;
    if (!kube_call(client, arena, &request, deadline, &reply, err)) {
        if (err->kind != ERR_INVALID || reply.status != 403)
            return error_wrap(err, "look at the %s of another mode", kube_kind_name(kind));
        *err = (Error){0};
        return true;
    }
    *out = reply.body;
    return true;
}

// By our own clock, like our own: a first sight is honoured for a ttl. Under the mutex.
static bool is_live(Kube *kube, KubernetesObjects mode, const LeaderState *state)
{
    OtherLeader *other = &kube->others[mode];
    const LeaderRecord *r = &state->record;
    const Instant now = kube_now(kube);
    char seen[sizeof other->seen]; // what changes first: it may be cut
    (void)snprintf(seen, sizeof seen, "%s %s %s %s %s", str_or(r->renew_time, "-"),
                   str_or(r->acquire_time, "-"), str_or(r->transitions, "-"), str_or(r->ttl, "-"),
                   str_or(r->leader, "-"));
    if (!str_eq(seen, other->seen)) {
        (void)copy_text(other->seen, sizeof other->seen, seen); // the same size
        other->changed_at = now;
    }
    const int64_t ttl_ms = state->ttl_s > 0 ? state->ttl_s * MS_PER_S : kube->cache.ttl_ms;
    return r->leader != NULL && !str_eq(r->leader, KUBERNETES_MOVED) &&
           !instant_before(instant_plus_ms(other->changed_at, ttl_ms), now);
}

// ConfigMap P-config is shared by two modes; the mark beside initialize says whose it is.
static bool is_initialized(KubernetesObjects mode, const Tree *config)
{
    const bool of_leases = str_eq(kube_annotation(config, ANNOTATION_STORE), STORE_LEASES);
    return initialize_is_valid(kube_annotation(config, "initialize")) &&
           (mode == KUBERNETES_ENDPOINTS || of_leases == (mode == KUBERNETES_LEASES));
}

// A cluster that is initialized here may have left an old initialize behind elsewhere: then only a
// leader that lives counts. Under the mutex.
static bool initialized_here(Kube *kube)
{
    const KubeObject *config = kube_cache_object(&kube->cache, OBJECT_CONFIG);
    return config != NULL && is_initialized(kube->layout.mode, config->tree);
}

static bool look_at_mode(Kube *kube, KubeClient *client, Arena *arena, KubernetesObjects mode,
                         Deadline deadline, const char **out_finding, Error *err)
{
    KubeLayout layout = kube->layout;
    const Tree *leader, *config;
    layout.mode = mode;
    if (!read_of_mode(client, arena, &layout, OBJECT_LEADER, deadline, &leader, err) ||
        !read_of_mode(client, arena, &layout, OBJECT_CONFIG, deadline, &config, err))
        return false;
    const LeaderState state = kube_leader_state(arena, mode, leader);
    pthread_mutex_lock(&kube->mutex);
    const bool live = is_live(kube, mode, &state);
    const bool initialized = !live && is_initialized(mode, config) && !initialized_here(kube) &&
                             !str_eq(state.record.leader, KUBERNETES_MOVED);
    pthread_mutex_unlock(&kube->mutex);
    const char *kind = kube_kind_name(kube_place(mode, OBJECT_LEADER).kind);
    const char *name = kube_object_name(arena, &layout, OBJECT_LEADER);
    if (live)
        *out_finding = arena_printf(arena, "'%.60s' leads this cluster in %s '%.60s'",
                                    state.record.leader, kind, name);
    else if (initialized)
        *out_finding = arena_printf(arena, "this cluster is kept in %s: '%.60s' has its initialize",
                                    kind, kube_object_name(arena, &layout, OBJECT_CONFIG));
    return true;
}

bool kube_look_at_others(Kube *kube, KubeClient *client, Arena *arena, Deadline deadline,
                         Error *err)
{
    static const KubernetesObjects modes[] = {KUBERNETES_ENDPOINTS, KUBERNETES_CONFIGMAPS,
                                              KUBERNETES_LEASES};
    const char *finding = NULL, *line = NULL;
    for (size_t i = 0; i < COUNT_OF(modes) && finding == NULL; i++) {
        line = kube_mode_line(modes[i]);
        if (modes[i] != kube->layout.mode &&
            !look_at_mode(kube, client, arena, modes[i], deadline, &finding, err))
            return false;
    }
    pthread_mutex_lock(&kube->mutex);
    kube->other_line = finding != NULL ? line : NULL;
    const bool changed = !str_eq(kube->other_store, str_or(finding, ""));
    (void)copy_text(kube->other_store, sizeof kube->other_store, str_or(finding, "")); // may be cut
    pthread_mutex_unlock(&kube->mutex);
    if (changed && finding != NULL && kube->member != NULL) // howdahctl says so itself
        log_warn("another store is in use found='%s'", finding);
    if (changed)
        kube_raise(kube->event_fd);
    return true;
}

bool kube_find_elsewhere(Kube *kube, Deadline deadline, const char **out, Error *err)
{
    *out = NULL;
    if (!kube_look_at_others(kube, &kube->turn, kube->arena, deadline, err))
        return false;
    pthread_mutex_lock(&kube->mutex);
    if (kube->other_store[0] != '\0')
        *out = arena_strdup(kube->arena, kube->other_store);
    pthread_mutex_unlock(&kube->mutex);
    return true;
}

bool kube_look_for_cluster(Kube *kube, Deadline deadline, Error *err)
{
    pthread_mutex_lock(&kube->mutex);
    arena_reset(kube->cache_arena);
    const bool here = kube_cache_leader(&kube->cache, kube->cache_arena).record.leader != NULL ||
                      initialized_here(kube);
    pthread_mutex_unlock(&kube->mutex);
    return here || kube_look_at_others(kube, &kube->turn, kube->arena, deadline, err);
}
