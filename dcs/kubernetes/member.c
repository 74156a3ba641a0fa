// Our own pod: the member record in its annotation, and its labels.
#include "dcs/kubernetes/store.h"

#include <stdlib.h>
#include <string.h>

// What moves while nothing happens. Patroni's members read it from the pod once a loop_wait; ours
// ask each other when it counts.
char *kube_member_fixed(Arena *arena, const char *json)
{
    static const char *const moving[] = {"xlog_location", "receive_lsn", "replay_lsn"};
    const Tree *record = NULL;
    Error ignored = {0};
    if (json == NULL || !tree_parse_json(arena, json, &record, &ignored) ||
        record->kind != TREE_MAP)
        return NULL;
    Tree *fixed = tree_copy(arena, record);
    for (size_t i = 0; i < COUNT_OF(moving); i++)
        tree_remove(fixed, moving[i]);
    return tree_to_json(arena, fixed, JSON_COMPACT);
}

bool kube_leads(Kube *kube, Arena *arena)
{
    const LeaderState state = kube_cache_leader(&kube->cache, arena);
    // Without its session it is ours by the time of our acquire, and our renewal puts that back.
    const bool ours =
        str_eq(state.session, kube->session) ||
        (kube->hold.term != 0 && str_eq(state.record.acquire_time, kube->hold.acquire_time));
    return ours && str_eq(state.record.leader, kube->member) &&
           kube_vacancy_leads(&kube->cache.vacancy, kube_now(kube));
}

// Under the mutex.
static PodFacts pod_facts(Kube *kube, Arena *arena)
{
    const Tree *record = NULL;
    Error ignored = {0};
    if (kube->member_text != NULL && !tree_parse_json(arena, kube->member_text, &record, &ignored))
        record = NULL;
    return (PodFacts){.leader = kube_leads(kube, arena),
                      .role = tree_get_string(record, "role", NULL),
                      .state = tree_get_string(record, "state", NULL)};
}

Instant kube_labels_left_until(Kube *kube, Arena *arena)
{
    const KubeObject *pod = kube_cache_pod(&kube->cache, kube->member);
    const bool left = instant_before(kube_now(kube), kube->labels_left_until) && pod != NULL &&
                      kube_bears_leader_label(&kube->settings, pod->tree) &&
                      !kube_leads(kube, arena);
    return left ? kube->labels_left_until : (Instant){0};
}

const Tree *kube_own_labels_missing(Kube *kube, Arena *arena)
{
    const KubeObject *pod = kube_cache_pod(&kube->cache, kube->member);
    // Before the first record nothing is known of our server, and the pod keeps what it has.
    if (pod == NULL || kube->member_text == NULL || !kube->cache.filled ||
        instant_is_set(kube_labels_left_until(kube, arena)))
        return NULL;
    const PodFacts facts = pod_facts(kube, arena);
    Tree *missing = tree_map(arena);
    kube_labels_missing(arena, kube_pod_labels(arena, &kube->settings, &facts), pod->tree, missing);
    return missing->count > 0 ? missing : NULL;
}

bool kube_patch_pod(Kube *kube, KubeClient *client, Arena *arena, const char *pod,
                    const Tree *labels, const Tree *annotations, Deadline deadline, Error *err)
{
    const KubeRequest request = {.method = KUBE_PATCH,
                                 .path = kube_path(arena, &kube->layout, KIND_PODS, pod),
                                 .body =
                                     kube_pod_body(arena, &kube->layout, pod, labels, annotations)};
    KubeReply reply = {0};
    if (kube_call(client, arena, &request, deadline, &reply, err)) {
        kube_take_reply(kube, KIND_PODS, pod, &reply);
        return true;
    }
    if (reply.status == 404 && err->kind == ERR_CONFLICT) { // else it is the path that is not there
        kube_take_reply(kube, KIND_PODS, pod, &reply);
        return error_set(err, ERR_INVALID,
                         "there is no pod '%.80s' in namespace '%.60s': a member's name must be "
                         "its pod's",
                         pod, kube->layout.namespace);
    }
    return error_wrap(err, "patch pod '%s'", pod);
}

// --- the record

// Patroni's members take positions from pods; so as long as one is there, they travel.
static bool has_patroni_member(Kube *kube, Arena *arena)
{
    ClusterView view;
    if (kube->layout.mode == KUBERNETES_LEASES ||
        !kube_cache_view(&kube->cache, arena, NULL, kube_now(kube), &view))
        return false;
    for (size_t i = 0; i < view.member_count; i++) {
        if (view.members[i].data->count > 0 && view.members[i].howdah == NULL)
            return true;
    }
    return false;
}

// Patroni takes off nobody's label but its own.
void kube_leave_labels(Kube *kube, Arena *arena)
{
    enum { LEFT_MS = 2000 };
    pthread_mutex_lock(&kube->mutex);
    kube->labels_left_until =
        has_patroni_member(kube, arena) ? (Instant){0} : instant_plus_ms(kube_now(kube), LEFT_MS);
    pthread_mutex_unlock(&kube->mutex);
}

static bool record_is_due(Kube *kube, Arena *arena, const char *json, const char *fixed)
{
    const KubeObject *pod = kube_cache_pod(&kube->cache, kube->member);
    const char *there = pod != NULL ? kube_annotation(pod->tree, "status") : NULL;
    if (fixed == NULL || !str_eq(fixed, kube_member_fixed(arena, there)))
        return true;
    if (str_eq(json, there) || !has_patroni_member(kube, arena))
        return false;
    return instant_ms_between(kube->member_at, kube_now(kube)) >= kube->loop_wait_ms;
}

static void keep_text(char **to, const char *text)
{
    char *copy = strdup(text);
    ASSERT(copy != NULL); // out of memory
    free(*to);
    *to = copy;
}

bool kube_op_put_member(Dcs *dcs, const char *json, Deadline deadline, Error *err)
{
    Kube *kube = kube_of(dcs);
    Arena *arena = kube_begin(kube);
    if (kube->session[0] == '\0')
        return error_set(err, ERR_CONFLICT, "write member record: no session is open");
    const char *fixed = kube_member_fixed(arena, json);
    pthread_mutex_lock(&kube->mutex);
    keep_text(&kube->member_text, json);
    const Tree *labels = kube_own_labels_missing(kube, arena);
    const bool due = record_is_due(kube, arena, json, fixed);
    kube->service_due = true;
    pthread_mutex_unlock(&kube->mutex);
    kube_raise(kube->upkeep_fd);
    if (!due && labels == NULL)
        return true;
    Tree *annotations = tree_map(arena);
    tree_set(arena, annotations, "status", tree_string(arena, json));
    // Twice is once: nobody else writes it, and the last one wins.
    bool ok =
        kube_patch_pod(kube, &kube->turn, arena, kube->member, labels, annotations, deadline, err);
    if (!ok && err->kind == ERR_UNCERTAIN)
        ok = kube_patch_pod(kube, &kube->turn, arena, kube->member, labels, annotations, deadline,
                            err);
    if (!ok)
        return error_wrap(err, "write member record");
    kube->member_at = kube_now(kube);
    return true;
}
