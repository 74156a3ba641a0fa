#include "dcs/kubernetes/cache.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_REVISION "controller-revision-hash" // Kubernetes: on the pods of a StatefulSet

KubeKind kube_collection_kind(KubernetesObjects mode, KubeCollection collection)
{
    switch (collection) {
    case COLLECTION_PODS:
        return KIND_PODS;
    case COLLECTION_STATE:
        return kube_place(mode, OBJECT_LEADER).kind;
    case COLLECTION_CONFIG:
    case COLLECTION_COUNT:
        return kube_place(mode, OBJECT_CONFIG).kind;
    }
    ASSERT(false);
}

KubeCollection kube_collection_of(KubernetesObjects mode, KubeKind kind)
{
    for (KubeCollection c = 0; c < kube_collection_count(mode); c++) {
        if (kube_collection_kind(mode, c) == kind)
            return c;
    }
    return COLLECTION_COUNT;
}

size_t kube_collection_count(KubernetesObjects mode)
{
    return mode == KUBERNETES_LEASES ? COLLECTION_COUNT : COLLECTION_CONFIG;
}

void kube_cache_init(KubeCache *cache, const KubeLayout *layout, const char *member, int64_t ttl_ms)
{
    *cache = (KubeCache){.layout = *layout, .member = member, .ttl_ms = ttl_ms, .transitions = -1};
}

void kube_cache_done(KubeCache *cache)
{
    for (KubeRole role = 0; role < OBJECT_COUNT; role++)
        kube_object_free(cache->objects[role]);
    for (size_t i = 0; i < cache->pod_count; i++)
        kube_object_free(cache->pods[i]);
    free(cache->pods);
    kube_vacancy_done(&cache->vacancy);
    *cache = (KubeCache){0};
}

const KubeObject *kube_cache_object(const KubeCache *cache, KubeRole role)
{
    return cache->objects[role];
}

static const Tree *tree_of(const KubeObject *object)
{
    return object != NULL ? object->tree : NULL;
}

static size_t pod_index(const KubeCache *cache, const char *name)
{
    size_t i = 0;
    while (i < cache->pod_count && !str_eq(cache->pods[i]->name, name))
        i++;
    return i;
}

const KubeObject *kube_cache_pod(const KubeCache *cache, const char *name)
{
    const size_t i = pod_index(cache, name);
    return i < cache->pod_count ? cache->pods[i] : NULL;
}

LeaderState kube_cache_leader(const KubeCache *cache, Arena *arena)
{
    return kube_leader_state(arena, cache->layout.mode, tree_of(cache->objects[OBJECT_LEADER]));
}

int64_t kube_cache_revision(const KubeCache *cache)
{
    int64_t highest = 0;
    for (KubeCollection c = 0; c < COLLECTION_COUNT; c++) {
        if (cache->collections[c].highest > highest)
            highest = cache->collections[c].highest;
    }
    return highest;
}

// --- keys

static const char *value_in(const KubeCache *cache, Arena *arena, DcsKey key)
{
    const KeyPlace *place = kube_key_place(cache->layout.mode, key);
    return kube_key_value(arena, cache->layout.mode, key, tree_of(cache->objects[place->role]));
}

static const char *claim_in(const KubeCache *cache)
{
    return kube_annotation(tree_of(cache->objects[OBJECT_CONFIG]), ANNOTATION_CLAIM);
}

// Put by our bootstrap beside an empty initialize: it dies with the claimer's hold, where Patroni's
// claim stands until somebody takes it away.
static bool is_dead_claim(const KubeCache *cache, Arena *arena, const char *initialize, Instant now)
{
    const char *claim = claim_in(cache);
    if (initialize == NULL || initialize[0] != '\0' || claim == NULL)
        return false;
    const LeaderState state = kube_cache_leader(cache, arena);
    return !kube_vacancy_leads(&cache->vacancy, now) || !str_eq(state.session, claim);
}

static bool key_counts(const KubeCache *cache, Arena *arena, DcsKey key, const char *value,
                       Instant now)
{
    return value != NULL && (key != KEY_INITIALIZE || !is_dead_claim(cache, arena, value, now));
}

int64_t kube_cache_key_revision(const KubeCache *cache, Arena *arena, DcsKey key, Instant now)
{
    return key_counts(cache, arena, key, value_in(cache, arena, key), now)
               ? cache->key_revision[key]
               : 0;
}

static bool has_traces(const KubeCache *cache, Arena *arena)
{
    static const DcsKey traces[] = {KEY_INITIALIZE, KEY_HISTORY, KEY_STATUS, KEY_TERM};
    for (size_t i = 0; i < COUNT_OF(traces); i++) {
        if (value_in(cache, arena, traces[i]) != NULL)
            return true;
    }
    return kube_cache_leader(cache, arena).record.transitions != NULL;
}

// --- one object

static bool wakes(DcsKey key)
{
    return key != KEY_STATUS && key != KEY_FAILSAFE;
}

static bool leader_news(const LeaderState *before, const LeaderState *after)
{
    return before->exists != after->exists ||
           !str_eq(before->record.leader, after->record.leader) ||
           !str_eq(before->record.acquire_time, after->record.acquire_time) ||
           !str_eq(before->record.transitions, after->record.transitions) ||
           !str_eq(before->session, after->session) || before->stamped != after->stamped;
}

static bool follow_leader(KubeCache *cache, Arena *arena, const LeaderState *before,
                          int64_t version, Instant now)
{
    const VacancyKind kind = kube_vacancy_at(&cache->vacancy, now).kind;
    const LeaderState after = kube_cache_leader(cache, arena);
    if (before->exists != after.exists || !kube_record_equal(&before->record, &after.record))
        cache->leader_revision = after.exists ? version : 0;
    if (after.record.transitions != NULL && after.transitions > cache->transitions)
        cache->transitions = after.transitions;
    if (cache->filled)
        kube_vacancy_step(&cache->vacancy, before, &after, now, cache->ttl_ms);
    return leader_news(before, &after) || kube_vacancy_at(&cache->vacancy, now).kind != kind;
}

// object NULL: gone at that version.
static bool set_object(KubeCache *cache, Arena *arena, KubeRole role, KubeObject *object,
                       int64_t version, Instant now)
{
    KubeObject *old = cache->objects[role];
    const LeaderState before =
        role == OBJECT_LEADER ? kube_cache_leader(cache, arena) : (LeaderState){0};
    const char *values[DCS_KEY_COUNT];
    for (DcsKey key = 0; key < DCS_KEY_COUNT; key++)
        values[key] = value_in(cache, arena, key);
    const char *claim = claim_in(cache);

    cache->objects[role] = object;
    if (object == NULL)
        cache->gone[role] = version;
    bool news = false;
    for (DcsKey key = 0; key < DCS_KEY_COUNT; key++) {
        const char *is = value_in(cache, arena, key);
        if (str_eq(is, values[key]) &&
            (key != KEY_INITIALIZE || str_eq(claim, claim_in(cache)))) // empty twice, by two
            continue;
        cache->key_revision[key] = is != NULL ? version : 0;
        news = news || wakes(key);
    }
    if (role == OBJECT_LEADER)
        news = follow_leader(cache, arena, &before, version, now) || news;
    if (cache->filled)
        kube_vacancy_traces(&cache->vacancy, has_traces(cache, arena), now);
    kube_object_free(old); // the states above point into it
    return news;
}

// --- pods

// Of a member record only what decisions hang on: positions alone must not wake anybody.
static bool member_news(Arena *arena, const KubeObject *was, const KubeObject *is)
{
    static const char *const fields[] = {"state",    "role",    "tags",
                                         "conn_url", "api_url", "checkpoint_after_promote"};
    const KubeObject *pods[] = {was, is};
    const Tree *data[] = {NULL, NULL};
    Error ignored = {0};
    for (size_t i = 0; i < COUNT_OF(pods); i++) {
        const char *text = pods[i] != NULL ? kube_annotation(pods[i]->tree, "status") : NULL;
        if (text == NULL || !tree_parse_json(arena, text, &data[i], &ignored))
            data[i] = NULL;
    }
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        const Tree *old = tree_get(data[0], fields[i]), *new = tree_get(data[1], fields[i]);
        if ((old == NULL) != (new == NULL) || (old != NULL && !tree_equal(old, new)))
            return true;
    }
    return (was == NULL) != (is == NULL);
}

static bool set_pod(KubeCache *cache, Arena *arena, KubeObject *pod)
{
    const size_t i = pod_index(cache, pod->name);
    KubeObject *old = i < cache->pod_count ? cache->pods[i] : NULL;
    if (i == cache->pod_capacity) {
        const size_t capacity = i == 0 ? 8 : i * 2;
        KubeObject **pods = realloc(cache->pods, capacity * sizeof(void *));
        ASSERT(pods != NULL); // out of memory
        cache->pods = pods;
        cache->pod_capacity = capacity;
    }
    cache->pods[i] = pod;
    if (old == NULL)
        cache->pod_count++;
    const bool news = !str_eq(pod->name, cache->member) && member_news(arena, old, pod);
    kube_object_free(old);
    return news;
}

static bool remove_pod(KubeCache *cache, size_t i)
{
    const bool news = !str_eq(cache->pods[i]->name, cache->member);
    kube_object_free(cache->pods[i]);
    cache->pods[i] = cache->pods[--cache->pod_count];
    return news;
}

// --- taking over what the server says

void kube_cache_progress(KubeCache *cache, KubeCollection collection, int64_t version, Instant at)
{
    CollectionState *state = &cache->collections[collection];
    if (version > state->highest) {
        state->highest = version;
        state->highest_at = at;
    }
    if (instant_before(state->heard_at, at))
        state->heard_at = at;
}

// force: of a store that went back, versions say nothing.
static bool take(KubeCache *cache, Arena *arena, KubeKind kind, const Tree *tree, bool force,
                 Instant now)
{
    KubeObject *object = kube_object_new(kind, tree);
    const KubeRole role =
        object != NULL ? kube_role_of(&cache->layout, kind, object->name) : OBJECT_COUNT;
    const KubeObject *known = NULL;
    if (object != NULL)
        known = kind == KIND_PODS      ? kube_cache_pod(cache, object->name)
                : role != OBJECT_COUNT ? cache->objects[role]
                                       : NULL;
    const bool stale =
        object != NULL && !force &&
        ((known != NULL && object->version <= known->version) ||
         (role != OBJECT_COUNT && known == NULL && object->version < cache->gone[role]));
    if (object == NULL || stale || (kind != KIND_PODS && role == OBJECT_COUNT)) {
        kube_object_free(object);
        return false;
    }
    return kind == KIND_PODS ? set_pod(cache, arena, object)
                             : set_object(cache, arena, role, object, object->version, now);
}

bool kube_cache_put(KubeCache *cache, Arena *arena, KubeKind kind, const Tree *tree, Instant now)
{
    const KubeCollection collection = kube_collection_of(cache->layout.mode, kind);
    if (collection == COLLECTION_COUNT)
        return false;
    const bool news = take(cache, arena, kind, tree, false, now);
    kube_cache_progress(
        cache, collection,
        kube_version_of(tree_get_string(tree_get(tree, "metadata"), "resourceVersion", NULL)), now);
    return news;
}

bool kube_cache_remove(KubeCache *cache, Arena *arena, KubeKind kind, const char *name,
                       int64_t version, Instant now)
{
    const KubeCollection collection = kube_collection_of(cache->layout.mode, kind);
    if (collection == COLLECTION_COUNT)
        return false;
    kube_cache_progress(cache, collection, version, now);
    if (kind == KIND_PODS) {
        const size_t i = pod_index(cache, name);
        if (i == cache->pod_count || (version != 0 && version < cache->pods[i]->version))
            return false;
        return remove_pod(cache, i);
    }
    const KubeRole role = kube_role_of(&cache->layout, kind, name);
    const KubeObject *known = role != OBJECT_COUNT ? cache->objects[role] : NULL;
    if (known == NULL || (version != 0 && version < known->version))
        return false;
    return set_object(cache, arena, role, NULL, version != 0 ? version : known->version + 1, now);
}

static bool is_listed(const Tree *items, const char *name)
{
    for (size_t i = 0; i < items->count; i++) {
        const Tree *metadata = tree_get(items->entries[i].value, "metadata");
        if (str_eq(tree_get_string(metadata, "name", NULL), name))
            return true;
    }
    return false;
}

// Somebody took them off, or never put them on: no list and no watch shows it.
static bool lacks_labels(const KubeCache *cache, Arena *arena, const KubeObject *object)
{
    const Tree *labels = kube_labels(arena, &cache->layout);
    for (size_t i = 0; i < labels->count; i++) {
        if (!str_eq(kube_label(object->tree, labels->entries[i].key),
                    tree_string_of(labels->entries[i].value)))
            return true;
    }
    return false;
}

static bool drop_unlisted(KubeCache *cache, Arena *arena, KubeKind kind, const Tree *items,
                          int64_t version, bool force, Instant now)
{
    bool news = false;
    for (size_t i = cache->pod_count; kind == KIND_PODS && i-- > 0;) { // removing moves the last
        if ((force || cache->pods[i]->version <= version) &&
            !is_listed(items, cache->pods[i]->name))
            news = remove_pod(cache, i) || news;
    }
    for (KubeRole role = 0; kind != KIND_PODS && role < OBJECT_COUNT; role++) {
        const KubeObject *object = cache->objects[role];
        if (object != NULL && kube_place(cache->layout.mode, role).kind == kind &&
            (force || object->version <= version) && !is_listed(items, object->name) &&
            (force || !lacks_labels(cache, arena, object)))
            news = set_object(cache, arena, role, NULL, object->version + 1, now) || news;
    }
    return news;
}

static bool everything_listed(const KubeCache *cache)
{
    for (KubeCollection c = 0; c < kube_collection_count(cache->layout.mode); c++) {
        if (!cache->collections[c].listed)
            return false;
    }
    return true;
}

bool kube_cache_list(KubeCache *cache, Arena *arena, KubeCollection collection, const Tree *items,
                     int64_t version, Instant asked_at, Instant now)
{
    const KubeKind kind = kube_collection_kind(cache->layout.mode, collection);
    CollectionState *state = &cache->collections[collection];
    // A list asked for after a higher version was seen: the store was put back from a backup.
    const bool back = state->highest > version && instant_before(state->highest_at, asked_at);
    if (back)
        state->highest = 0;
    bool news = drop_unlisted(cache, arena, kind, items, version, back, now);
    for (size_t i = 0; i < items->count; i++)
        news = take(cache, arena, kind, items->entries[i].value, back, now) || news;
    if (back)
        memset(cache->gone, 0, sizeof cache->gone);
    kube_cache_progress(cache, collection, version, asked_at);
    state->listed = true;
    if (cache->filled || !everything_listed(cache))
        return news && cache->filled;
    cache->filled = true;
    const LeaderState leader = kube_cache_leader(cache, arena);
    kube_vacancy_first(&cache->vacancy, &leader, has_traces(cache, arena), now, cache->ttl_ms);
    return true;
}

// --- the view

static void add_key(RawKey *raw, size_t *count, const char *key, const char *value,
                    int64_t revision)
{
    raw[(*count)++] = (RawKey){.key = key,
                               .value = value,
                               .length = strlen(value),
                               .create_revision = revision,
                               .mod_revision = revision};
}

static const char *session_of(const KubeCache *cache, Arena *arena, const LeaderState *state,
                              const char *own)
{
    const bool mine =
        own != NULL && str_eq(state->session, own) && str_eq(state->record.leader, cache->member);
    if (state->session != NULL && (state->stamped || mine))
        return state->session;
    return arena_printf(arena, "patroni %s", str_or(state->record.acquire_time, "-"));
}

// A name that somebody wrote by hand shows without a session: it leads nobody, but is in the way.
static void add_leader(const KubeCache *cache, Arena *arena, const char *session, Instant now,
                       RawKey *raw, size_t *count)
{
    const LeaderState state = kube_cache_leader(cache, arena);
    const bool leads = kube_vacancy_leads(&cache->vacancy, now);
    if (state.record.leader == NULL || (!leads && cache->vacancy.kind != VACANCY_TAMPERED))
        return;
    add_key(raw, count, "leader", state.record.leader, cache->leader_revision);
    raw[*count - 1].create_revision = kube_term_of(&state);
    if (leads)
        raw[*count - 1].lease = session_of(cache, arena, &state, session);
}

static void add_members(const KubeCache *cache, Arena *arena, const char *session, RawKey *raw,
                        size_t *count)
{
    for (size_t i = 0; i < cache->pod_count; i++) {
        const KubeObject *pod = cache->pods[i];
        const char *status = kube_annotation(pod->tree, "status");
        add_key(raw, count, arena_printf(arena, "members/%s", pod->name), str_or(status, "{}"),
                pod->version);
        // A pod's record is bound to nothing; ours shows our session, so that it is known for ours.
        if (status != NULL && str_eq(pod->name, cache->member))
            raw[*count - 1].lease = session;
    }
}

// A member's record does not say it, its pod does.
static void add_revisions(const KubeCache *cache, Arena *arena, ClusterView *view)
{
    MemberView *members = ARENA_ARRAY(arena, MemberView, view->member_count);
    for (size_t i = 0; i < view->member_count; i++) {
        members[i] = view->members[i];
        const KubeObject *pod = kube_cache_pod(cache, members[i].name);
        if (pod != NULL)
            members[i].revision = arena_strdup(arena, kube_label(pod->tree, LABEL_REVISION));
    }
    view->members = members;
}

bool kube_cache_view(const KubeCache *cache, Arena *arena, const char *session, Instant now,
                     ClusterView *out)
{
    if (!cache->filled)
        return false;
    RawKey *raw = ARENA_ARRAY(arena, RawKey, DCS_KEY_COUNT + 1 + cache->pod_count);
    size_t count = 0;
    for (DcsKey key = 0; key < DCS_KEY_COUNT; key++) {
        const char *value = value_in(cache, arena, key);
        if (key_counts(cache, arena, key, value, now))
            add_key(raw, &count, records_key_name((int)key), value, cache->key_revision[key]);
    }
    add_leader(cache, arena, session, now, raw, &count);
    add_members(cache, arena, session, raw, &count);

    *out = (ClusterView){.seen_at = cache->collections[COLLECTION_STATE].heard_at,
                         .vacancy = kube_vacancy_at(&cache->vacancy, now)};
    out->vacancy.holder = arena_strdup(arena, out->vacancy.holder);
    records_parse(arena, raw, count, kube_cache_revision(cache), out);
    add_revisions(cache, arena, out);
    if (out->leader.mod_revision == 0) // what an acquire has to pass over
        out->leader.mod_revision = cache->leader_revision;
    return true;
}
