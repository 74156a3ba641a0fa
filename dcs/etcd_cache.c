#include "dcs/etcd_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_PREFIX "members/"

// --- the keys

static char *heap_bytes(const char *bytes, size_t length)
{
    char *copy = malloc(length + 1);
    ASSERT(copy != NULL); // out of memory
    memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

static void key_done(CachedKey *key)
{
    free(key->key);
    free(key->value);
}

static CachedKey *find_key(const EtcdCache *cache, const char *name)
{
    for (size_t i = 0; i < cache->count; i++) {
        if (str_eq(cache->keys[i].key, name))
            return &cache->keys[i];
    }
    return NULL;
}

static CachedKey *add_key(EtcdCache *cache, const char *name)
{
    if (cache->count == cache->capacity) {
        const size_t capacity = cache->capacity == 0 ? 16 : cache->capacity * 2;
        CachedKey *keys = realloc(cache->keys, capacity * sizeof *keys);
        ASSERT(keys != NULL); // out of memory
        cache->keys = keys;
        cache->capacity = capacity;
    }
    CachedKey *key = &cache->keys[cache->count++];
    *key = (CachedKey){.key = heap_bytes(name, strlen(name))};
    return key;
}

static void set_key(EtcdCache *cache, const RawKey *kv)
{
    CachedKey *key = find_key(cache, kv->key);
    if (key == NULL)
        key = add_key(cache, kv->key);
    free(key->value);
    key->value = heap_bytes(kv->value, kv->length);
    key->length = kv->length;
    key->create_revision = kv->create_revision;
    key->mod_revision = kv->mod_revision;
    (void)copy_text(key->lease, sizeof key->lease, kv->lease != NULL ? kv->lease : ""); // fits
}

static void remove_key(EtcdCache *cache, const char *name)
{
    CachedKey *key = find_key(cache, name);
    if (key == NULL)
        return;
    key_done(key);
    *key = cache->keys[--cache->count];
}

static RawKey raw_of(const CachedKey *key)
{
    return (RawKey){.key = key->key,
                    .value = key->value,
                    .length = key->length,
                    .create_revision = key->create_revision,
                    .mod_revision = key->mod_revision,
                    .lease = key->lease[0] != '\0' ? key->lease : NULL};
}

void etcd_cache_init(EtcdCache *cache, const char *member)
{
    *cache = (EtcdCache){0};
    if (member != NULL) {
        const int length = asprintf(&cache->own_key, MEMBERS_PREFIX "%s", member);
        ASSERT(length > 0); // out of memory
    }
}

void etcd_cache_done(EtcdCache *cache)
{
    for (size_t i = 0; i < cache->count; i++)
        key_done(&cache->keys[i]);
    free(cache->keys);
    free(cache->own_key);
    vacancy_done(&cache->vacancy);
    *cache = (EtcdCache){0};
}

// --- what wakes a turn

// Of a member record only what decisions hang on: positions alone must not wake anybody.
static bool member_news(Arena *arena, const RawKey *was, const RawKey *is)
{
    static const char *const fields[] = {"state",    "role",    "tags",
                                         "conn_url", "api_url", "checkpoint_after_promote"};
    ClusterView views[2] = {{0}};
    records_parse(arena, was, 1, 0, &views[0]);
    records_parse(arena, is, 1, 0, &views[1]);
    if (views[0].member_count != 1 || views[1].member_count != 1)
        return false; // not a member's key
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        const Tree *old = tree_get(views[0].members[0].data, fields[i]);
        const Tree *new = tree_get(views[1].members[0].data, fields[i]);
        if ((old == NULL) != (new == NULL) || (old != NULL && !tree_equal(old, new)))
            return true;
    }
    return false;
}

// NULL: absent.
static bool is_news(const EtcdCache *cache, Arena *arena, const RawKey *was, const RawKey *is)
{
    static const char *const waking[] = {"leader", "howdah",     "config", "failover",
                                         "sync",   "initialize", "history"};
    const char *name = was != NULL ? was->key : is->key;
    for (size_t i = 0; i < COUNT_OF(waking); i++) {
        if (str_eq(name, waking[i]))
            return was == NULL || is == NULL || was->length != is->length ||
                   memcmp(was->value, is->value, is->length) != 0 || !str_eq(was->lease, is->lease);
    }
    if (!str_starts(name, MEMBERS_PREFIX) || strchr(name + strlen(MEMBERS_PREFIX), '/') != NULL)
        return false;
    if (was == NULL || is == NULL)
        return is == NULL || !str_eq(name, cache->own_key);
    return !str_eq(name, cache->own_key) && member_news(arena, was, is);
}

// --- views

static void parse_into(const EtcdCache *cache, Arena *arena, ClusterView *out)
{
    RawKey *raw = ARENA_ARRAY(arena, RawKey, cache->count);
    for (size_t i = 0; i < cache->count; i++)
        raw[i] = raw_of(&cache->keys[i]);
    out->cluster_id = (int64_t)cache->cluster_id;
    out->seen_at = cache->seen_at;
    out->vacancy = (Vacancy){.kind = cache->vacancy.kind, .since = cache->vacancy.since};
    if (cache->vacancy.kind != VACANCY_NONE && cache->vacancy.kind != VACANCY_NEVER)
        out->vacancy.holder = arena_strdup(arena, cache->vacancy.holder);
    records_parse(arena, raw, cache->count, cache->revision, out);
}

bool etcd_cache_view(const EtcdCache *cache, Arena *arena, ClusterView *out)
{
    if (!cache->filled)
        return false;
    *out = (ClusterView){0};
    parse_into(cache, arena, out);
    return true;
}

static void set_seen(EtcdCache *cache, Instant at)
{
    if (instant_before(cache->seen_at, at))
        cache->seen_at = at;
}

// --- taking over what the store says

static const RawKey *find_raw(const EtcdKeys *keys, const char *name)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (str_eq(keys->keys[i].key, name))
            return &keys->keys[i];
    }
    return NULL;
}

static bool replace_keys(EtcdCache *cache, Arena *arena, const EtcdKeys *keys)
{
    bool news = false;
    for (size_t i = cache->count; i-- > 0;) { // backwards: removing moves the last one here
        const RawKey was = raw_of(&cache->keys[i]);
        const RawKey *is = find_raw(keys, was.key);
        if (is == NULL || is->mod_revision != was.mod_revision)
            news = news || is_news(cache, arena, &was, is);
        if (is == NULL)
            remove_key(cache, was.key);
    }
    for (size_t i = 0; i < keys->count; i++) {
        if (find_key(cache, keys->keys[i].key) == NULL)
            news = news || is_news(cache, arena, NULL, &keys->keys[i]);
        set_key(cache, &keys->keys[i]);
    }
    return news;
}

bool etcd_cache_list(EtcdCache *cache, Arena *arena, const EtcdKeys *keys, int64_t revision,
                     uint64_t cluster_id, bool replaced, Instant sent_at, Instant now)
{
    const bool other_store = cache->filled && cluster_id != cache->cluster_id;
    if (cache->filled && !other_store && !replaced && revision < cache->revision)
        return false;

    ClusterView before = {0}, after = {0};
    const bool first = !cache->filled;
    const VacancyKind kind = cache->vacancy.kind;
    if (!first)
        parse_into(cache, arena, &before);
    const bool news = replace_keys(cache, arena, keys);
    cache->filled = true;
    cache->revision = revision;
    cache->cluster_id = cluster_id;
    set_seen(cache, sent_at);
    parse_into(cache, arena, &after);
    if (first)
        vacancy_first(&cache->vacancy, &after, now);
    else
        vacancy_leap(&cache->vacancy, &before, &after, other_store || replaced, now);
    return first || news || other_store || kind != cache->vacancy.kind;
}

static RevisionChange change_of(const EtcdCache *cache, const EtcdEvent *events, size_t count,
                                const char *leader_lease)
{
    RevisionChange change = {0};
    for (size_t i = 0; i < count; i++) {
        const char *name = events[i].kv.key;
        if (str_eq(name, "howdah") && !events[i].deleted)
            change.term_put = true;
        if (!events[i].deleted || str_eq(name, "leader"))
            continue;
        const CachedKey *key = find_key(cache, name);
        if (key == NULL)
            continue;
        if (leader_lease != NULL && str_eq(key->lease, leader_lease))
            change.bound_deleted++;
        else
            change.foreign_deleted++;
    }
    return change;
}

// The events of one revision: one transaction, or the end of one lease.
static bool apply_revision(EtcdCache *cache, Arena *arena, const EtcdEvent *events, size_t count,
                           Instant now)
{
    bool news = false, about_leader = !cache->vacancy.led;
    for (size_t i = 0; i < count; i++)
        about_leader = about_leader || str_eq(events[i].kv.key, "leader");

    ClusterView before = {0}, after = {0};
    if (about_leader)
        parse_into(cache, arena, &before);
    const RevisionChange change = change_of(cache, events, count, before.leader.session);
    for (size_t i = 0; i < count; i++) {
        const RawKey *is = events[i].deleted ? NULL : &events[i].kv;
        const CachedKey *old = find_key(cache, events[i].kv.key);
        const RawKey was = old != NULL ? raw_of(old) : (RawKey){0};
        if (old != NULL || is != NULL)
            news = news || is_news(cache, arena, old != NULL ? &was : NULL, is);
        if (is != NULL)
            set_key(cache, is);
        else
            remove_key(cache, events[i].kv.key);
    }
    cache->revision = events[0].kv.mod_revision;
    if (about_leader) {
        parse_into(cache, arena, &after);
        vacancy_step(&cache->vacancy, &before, &after, &change, now);
    }
    return news;
}

bool etcd_cache_events(EtcdCache *cache, Arena *arena, const EtcdEvent *events, size_t count,
                       Instant now)
{
    bool news = false;
    if (!cache->filled)
        return false;
    for (size_t i = 0; i < count;) {
        const int64_t revision = events[i].kv.mod_revision;
        size_t end = i + 1;
        while (end < count && events[end].kv.mod_revision == revision)
            end++;
        if (revision > cache->revision) {
            arena_reset(arena);
            news = apply_revision(cache, arena, &events[i], end - i, now) || news;
        }
        i = end;
    }
    set_seen(cache, now);
    return news;
}

bool etcd_cache_confirm(EtcdCache *cache, int64_t revision, uint64_t cluster_id, int64_t count,
                        int64_t newest, Instant sent_at)
{
    int64_t own_newest = 0;
    for (size_t i = 0; i < cache->count; i++) {
        if (cache->keys[i].mod_revision > own_newest)
            own_newest = cache->keys[i].mod_revision;
    }
    if (!cache->filled || cluster_id != cache->cluster_id || (int64_t)cache->count != count ||
        own_newest != newest)
        return false;
    if (revision > cache->revision)
        cache->revision = revision;
    set_seen(cache, sent_at);
    return true;
}

void etcd_cache_note_revision(EtcdCache *cache, int64_t revision, uint64_t cluster_id,
                              Instant sent_at)
{
    if (cache->filled && revision == cache->revision && cluster_id == cache->cluster_id)
        set_seen(cache, sent_at);
}
