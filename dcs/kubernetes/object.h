// An object of the API server as the store keeps it, and what stands in it. Pure.
#pragma once
#include "dcs/kubernetes/layout.h"
#include "dcs/records.h"

// A copy of what counts, in an arena of its own.
typedef struct {
    Arena *arena;
    const Tree *tree; // metadata (name, uid, resourceVersion, labels, annotations), spec, subsets,
                      // status
    const char *name, *resource_version;
    int64_t version; // the same as a number: grows with every write to the store
} KubeObject;

// NULL if it has no name or no numeric resourceVersion.
KubeObject *kube_object_new(KubeKind kind, const Tree *tree);
void kube_object_free(KubeObject *object);             // accepts NULL
int64_t kube_version_of(const char *resource_version); // 0: none

const char *kube_annotation(const Tree *object, const char *name); // NULL: absent
const char *kube_label(const Tree *object, const char *name);

// --- keys and annotations, both ways

// The key's value as text, as dcs/records.h reads and writes it; NULL: absent. Fields of an object
// that exists for this key alone are "{}" when none is there.
const char *kube_key_value(Arena *arena, KubernetesObjects mode, DcsKey key, const Tree *object);
// Adds what a patch has to say for this value to the annotations. value NULL: the key is deleted.
// False: FORM_FIELDS and not a JSON object.
bool kube_key_patch(Arena *arena, KubernetesObjects mode, DcsKey key, const char *value,
                    Tree *annotations);

// --- the leader record: five annotations, or the spec of a Lease

typedef struct {
    const char *leader;                                        // NULL: nobody
    const char *acquire_time, *renew_time, *ttl, *transitions; // as they stand; NULL: absent
} LeaderRecord;

typedef struct {
    bool exists; // the object
    LeaderRecord record;
    int64_t transitions, ttl_s; // 0: absent or garbage
    TermRecord term;            // mod_revision is the object's version
    const char *session;        // in ANNOTATION_SESSION, NULL: none
    const char *stamp;          // the renewTime of its holder's last own renewal
    bool stamped;               // and the last renewal was its holder's
    bool ours;                  // the holder is a Howdah member: stamped, with a valid term record
} LeaderState;

// object NULL: absent. Strings live in the arena or in the object.
LeaderState kube_leader_state(Arena *arena, KubernetesObjects mode, const Tree *object);
// The number that names this acquisition, never 0: docs/store.md, "On Kubernetes".
static inline int64_t kube_term_of(const LeaderState *state)
{
    return state->transitions + 1;
}
bool kube_record_equal(const LeaderRecord *a, const LeaderRecord *b);
