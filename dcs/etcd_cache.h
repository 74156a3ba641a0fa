// The watched keys as last known, and how the last leader went. Pure but for malloc: the store
// locks around it. docs/store.md, "A leader key that is not there".
#pragma once
#include "dcs/etcd_txn.h"

// How the leader key went, as one observer follows it from revision to revision.
typedef struct {
    VacancyKind kind;
    Instant since;
    char *holder;            // the last one that led by right; NULL: none known
    int64_t create_revision; // of its key
    char *session;           // of its key
    bool fenced;             // it is one of ours: it wrote a term record, and leaves a marker
    bool led;                // a leader was seen at all
} VacancyTracker;

// What one revision did beside changing the leader key.
typedef struct {
    bool term_put;          // the term record was written in the same transaction
    size_t bound_deleted;   // other keys that went with it, bound to the leader's lease
    size_t foreign_deleted; // other keys that went with it and were not
} RevisionChange;

// before NULL: the first look. Both views are complete; change is one transaction's.
void vacancy_first(VacancyTracker *tracker, const ClusterView *after, Instant now);
void vacancy_step(VacancyTracker *tracker, const ClusterView *before, const ClusterView *after,
                  const RevisionChange *change, Instant now);
// Anything may have happened in between. replaced: it is another store, or one that went back.
void vacancy_leap(VacancyTracker *tracker, const ClusterView *before, const ClusterView *after,
                  bool replaced, Instant now);
void vacancy_done(VacancyTracker *tracker);

typedef struct {
    char *key, *value;
    size_t length;
    int64_t create_revision, mod_revision;
    char lease[24]; // "": none
} CachedKey;

typedef struct {
    bool filled; // a complete listing has been taken over
    int64_t revision;
    uint64_t cluster_id;
    Instant seen_at;
    CachedKey *keys; // unordered
    size_t count, capacity;
    VacancyTracker vacancy;
    char *own_key; // "members/<us>": our own writes are no news; NULL: none
} EtcdCache;

void etcd_cache_init(EtcdCache *cache, const char *member);
void etcd_cache_done(EtcdCache *cache);
// A complete listing at revision, asked for at sent_at. One older than what is cached is ignored,
// unless replaced says that the store has really gone back. True: something that wakes a turn has
// changed. The arena is for scratch.
bool etcd_cache_list(EtcdCache *cache, Arena *arena, const EtcdKeys *keys, int64_t revision,
                     uint64_t cluster_id, bool replaced, Instant sent_at, Instant now);
// Events in the order of their revisions; a revision is never split between two calls.
bool etcd_cache_events(EtcdCache *cache, Arena *arena, const EtcdEvent *events, size_t count,
                       Instant now);
// The store said at this revision how many keys there are and which is the newest. True if that is
// what we have: then the view is current.
bool etcd_cache_confirm(EtcdCache *cache, int64_t revision, uint64_t cluster_id, int64_t count,
                        int64_t newest, Instant sent_at);
// A reply that named this revision: if it is ours, the view was current when the request left.
void etcd_cache_note_revision(EtcdCache *cache, int64_t revision, uint64_t cluster_id,
                              Instant sent_at);
// False while nothing is known.
bool etcd_cache_view(const EtcdCache *cache, Arena *arena, ClusterView *out);
