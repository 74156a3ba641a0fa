// The objects and pods of one cluster as last known, and what they amount to. Pure but for malloc:
// the store locks around it.
//
// Revisions: a key's is the resourceVersion at which its content was last seen to change, so that
// several keys can share an object and renewals do not touch the others.
#pragma once
#include "dcs/kubernetes/vacancy.h"

// What is listed and watched together.
typedef enum {
    COLLECTION_PODS,
    COLLECTION_STATE,  // the leader's kind
    COLLECTION_CONFIG, // leases mode: the ConfigMap
    COLLECTION_COUNT
} KubeCollection;

KubeKind kube_collection_kind(KubernetesObjects mode, KubeCollection collection);
KubeCollection kube_collection_of(KubernetesObjects mode, KubeKind kind);
size_t kube_collection_count(KubernetesObjects mode);

typedef struct {
    bool listed;
    int64_t highest;    // version seen
    Instant highest_at; // when
    Instant heard_at;   // of the server, about this collection
} CollectionState;

typedef struct {
    KubeLayout layout; // its strings are somebody else's
    const char *member;
    int64_t ttl_ms; // ours: for a record that names none
    KubeObject *objects[OBJECT_COUNT];
    // Of an object that is gone, the version from which on it may be there again: news below are
    // stale. That of a deletion is not: who takes off its labels makes the object vanish from the
    // watch at the version it goes on with.
    int64_t gone[OBJECT_COUNT];
    KubeObject **pods;
    size_t pod_count, pod_capacity;
    CollectionState collections[COLLECTION_COUNT];
    bool filled; // everything was listed once
    int64_t key_revision[DCS_KEY_COUNT];
    int64_t leader_revision;
    int64_t transitions; // the most that were seen, also of an object that is gone; -1: none
    KubeVacancy vacancy;
} KubeCache;

void kube_cache_init(KubeCache *cache, const KubeLayout *layout, const char *member,
                     int64_t ttl_ms);
void kube_cache_done(KubeCache *cache);

// All of these say whether something that wakes a turn has changed. The arena is for scratch.

// A complete list, asked for at asked_at. What is newer here stays, unless the store went back.
bool kube_cache_list(KubeCache *cache, Arena *arena, KubeCollection collection, const Tree *items,
                     int64_t version, Instant asked_at, Instant now);
// One object, from an event or a reply. Older than what is known: ignored.
bool kube_cache_put(KubeCache *cache, Arena *arena, KubeKind kind, const Tree *tree, Instant now);
// Gone, as of that version of it. version 0: as of now, by a read that did not find it.
bool kube_cache_remove(KubeCache *cache, Arena *arena, KubeKind kind, const char *name,
                       int64_t version, Instant now);
void kube_cache_progress(KubeCache *cache, KubeCollection collection, int64_t version, Instant at);

const KubeObject *kube_cache_object(const KubeCache *cache, KubeRole role); // NULL: absent
const KubeObject *kube_cache_pod(const KubeCache *cache, const char *name);
// 0: absent. An empty initialize whose claimer does not lead is absent.
int64_t kube_cache_key_revision(const KubeCache *cache, Arena *arena, DcsKey key, Instant now);
int64_t kube_cache_revision(const KubeCache *cache); // the newest thing seen
LeaderState kube_cache_leader(const KubeCache *cache, Arena *arena);

// False while nothing is known. session: our own, NULL: none.
bool kube_cache_view(const KubeCache *cache, Arena *arena, const char *session, Instant now,
                     ClusterView *out);
