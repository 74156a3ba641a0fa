// The store behind kubernetes.h, as its own files see it.
//
// Threads: the caller's (DcsOps), one a watch, and the upkeep's. What they share is the cache and
// what stands below it, under the mutex.
#pragma once
#include "dcs/kubernetes/body.h"
#include "dcs/kubernetes/cache.h"
#include "dcs/kubernetes/client.h"
#include "dcs/kubernetes/kubernetes.h"
#include "dcs/kubernetes/labels.h"
#include "dcs/kubernetes/watch.h"

typedef struct Kube Kube;

// One watch, and what its stream owes us.
typedef struct {
    Kube *kube;
    KubeCollection collection;
    KubeWatch *watch; // NULL: none is run
    // Under the mutex:
    bool streaming;
    int64_t streamed;   // highest version it has shown
    int64_t owed;       // version that a reply named
    Instant owed_since; // 0: nothing is owed
} KubeFollower;

// What we know of the term we hold: enough to put the record back when somebody deletes it.
typedef struct {
    int64_t term; // 0: none
    char *acquire_time, *term_text;
    Instant valid_until;
} KubeHold;

// A leader record of another mode, followed by our clock like our own.
typedef struct {
    char seen[400]; // the record, as one text
    Instant changed_at;
} OtherLeader;

struct Kube {
    Dcs dcs;
    KubeShared shared;
    KubeClient turn;             // the caller's thread
    KubeClient upkeep;           // the upkeep thread's
    KubernetesSettings settings; // in kept
    KubeLayout layout;           // in kept
    const char *member;          // in kept; NULL: howdahctl
    Arena *arena;                // scratch of the caller's thread, reset by each call
    Arena *kept;
    int event_fd; // for the caller: something that wakes turns has changed

    KubeFollower followers[COLLECTION_COUNT];
    bool watching;    // set before the threads can look
    pthread_t thread; // upkeep
    int upkeep_fd;    // readable when it has something to do
    atomic_bool stop;

    // Written by the caller's thread alone, and under the mutex, so that it may read them without:
    char session[20]; // "": none open
    KubeHold hold;
    // The caller's thread alone:
    int64_t session_ttl_ms;
    Instant member_at;            // when the record was written last
    int64_t last_stamp_us;        // of a renewTime: they must differ
    _Atomic int64_t loop_wait_ms; // the upkeep reads it too
    Rng rng;

    pthread_mutex_t mutex; // of all that follows
    Arena *cache_arena;    // scratch
    KubeCache cache;
    char *member_text;         // last record put, NULL: none
    Instant labels_left_until; // see kube_labels_left_until
    bool service_due;
    OtherLeader others[3];
    char other_store[200];  // "": none is known
    const char *other_line; // of the settings, that would be right; NULL: none is known
};

// --- kubernetes.c

Kube *kube_of(Dcs *dcs);
Arena *kube_begin(Kube *kube); // the scratch arena, empty: every call begins here
Instant kube_now(const Kube *kube);
bool kube_op_view(Dcs *dcs, Arena *arena, ClusterView *out);

// --- follow.c: what the watches say, and what replies do

extern const KubeWatchHandler kube_follow;
void kube_raise(int fd);
// Somebody else's threads may hear of it: event_fd if news, the upkeep thread always.
void kube_signal(Kube *kube, bool news);
// An object that a reply showed; status 404: its absence. Any thread.
void kube_take_reply(Kube *kube, KubeKind kind, const char *name, const KubeReply *reply);
// Reads one object into the cache, linearizably. *out_there may be NULL.
bool kube_read_object(Kube *kube, KubeClient *client, Arena *arena, KubeKind kind, const char *name,
                      Deadline deadline, bool *out_there, Error *err) MUST_CHECK;
bool kube_list_collection(Kube *kube, Arena *arena, KubeCollection collection, Deadline deadline,
                          Error *err) MUST_CHECK;
// Both streams of what the leader's record hangs on are open, and were heard of since.
bool kube_heard_since(Kube *kube, Instant since);

// --- update.c: a conditional write to one of our objects, carried through

typedef struct KubeUpdate KubeUpdate;
struct KubeUpdate {
    const char *what; // "renew"
    KubeRole role;
    // Looks at the object as it is now (NULL: absent) and fills in the patch, under the mutex.
    // False: err. *done: it is so already. May be called again, after a lost race.
    bool (*prepare)(Kube *kube, const KubeUpdate *update, const Tree *object, KubePatch *patch,
                    bool *done, Error *err);
    void *context;
    bool retry_forbidden;
    bool once; // not to be repeated after a lost reply: others' writes in between would be undone
};

// *out_sent_at: before the write that counts left. ERR_CONFLICT comes from prepare alone.
bool kube_update(Kube *kube, const KubeUpdate *update, Deadline deadline, Instant *out_sent_at,
                 Error *err) MUST_CHECK;

// --- leader.c: DcsOps

bool kube_op_open_session(Dcs *dcs, int64_t ttl_ms, const char *resume, Deadline deadline,
                          const char **out_session, LeaseProof *out, Error *err);
bool kube_op_keep_session(Dcs *dcs, Deadline deadline, LeaseProof *out, Error *err);
bool kube_op_acquire(Dcs *dcs, const AcquireRequest *request, Deadline deadline, Acquired *out,
                     Error *err);
bool kube_op_renew(Dcs *dcs, int64_t term, const char *status, Deadline deadline, LeaseProof *out,
                   Error *err);
bool kube_op_release(Dcs *dcs, const ReleaseRequest *request, Deadline deadline, Error *err);

// --- keys.c: DcsOps

bool kube_op_write(Dcs *dcs, DcsKey key, const char *value, int64_t expected, Deadline deadline,
                   int64_t *out_revision, Error *err);
bool kube_op_remove_cluster(Dcs *dcs, Deadline deadline, Error *err);
// initialize, put empty by a bootstrap of this session; it counts while that leads.
bool kube_claim_initialize(Kube *kube, Deadline deadline, Error *err) MUST_CHECK;

// --- member.c

bool kube_op_put_member(Dcs *dcs, const char *json, Deadline deadline, Error *err);
// The leader record that holds is this very session's: a member of our name in another pod is
// somebody else. Under the mutex.
bool kube_leads(Kube *kube, Arena *arena);
// What our pod should bear and does not, by what was put last; NULL: nothing. Under the mutex.
const Tree *kube_own_labels_missing(Kube *kube, Arena *arena);
// A handover has begun: the leader's label on our pod is left to the successor, who takes it off in
// the moment in which it puts on its own. Taken off before, it would be one change more for
// kube-proxy, which makes two at once and then one a second.
void kube_leave_labels(Kube *kube, Arena *arena);
// Until then it may still be there; 0: our pod's labels are ours to keep. Under the mutex.
Instant kube_labels_left_until(Kube *kube, Arena *arena);
bool kube_patch_pod(Kube *kube, KubeClient *client, Arena *arena, const char *pod,
                    const Tree *labels, const Tree *annotations, Deadline deadline, Error *err)
    MUST_CHECK;
// A record without what changes all the time.
char *kube_member_fixed(Arena *arena, const char *json);

// --- upkeep.c: the thread that watches the clock and keeps labels right

bool kube_upkeep_start(Kube *kube, Error *err) MUST_CHECK;
void kube_upkeep_stop(Kube *kube);

// --- other.c: is this cluster kept in another mode?

// Looks at the other modes' objects and says so in other_store. Failure leaves it as it was.
bool kube_look_at_others(Kube *kube, KubeClient *client, Arena *arena, Deadline deadline,
                         Error *err) MUST_CHECK;
// Looks, and tells who uses this cluster in another mode: in the caller's arena; NULL: nobody.
bool kube_find_elsewhere(Kube *kube, Deadline deadline, const char **out, Error *err) MUST_CHECK;
// For howdahctl, which looks once: where nobody leads and nothing is initialized the settings may
// name the wrong mode. A cluster that is here alone is not looked for elsewhere: what a predecessor
// has left there could not be told from a leader that lives.
bool kube_look_for_cluster(Kube *kube, Deadline deadline, Error *err) MUST_CHECK;
