// Bodies of the requests, byte for byte what Patroni's would be where it has the same, and whether
// an object already says what one would have it say. Pure.
#pragma once
#include "dcs/kubernetes/object.h"

// One PATCH, or the POST that stands in for it when the object is not there.
typedef struct {
    Arena *arena;
    const KubeLayout *layout;
    Tree *annotations;   // a null value removes
    Tree *spec;          // of a Lease; NULL: not touched
    const Tree *subsets; // of Endpoints, replaced whole; NULL: not touched
} KubePatch;

KubePatch kube_patch_new(Arena *arena, const KubeLayout *layout);
void kube_patch_text(KubePatch *patch, const char *annotation, const char *text); // NULL removes
// version NULL: unconditional. With create the nulls are left out, for there is nothing to remove.
char *kube_patch_body(const KubePatch *patch, const char *name, const char *version, bool create);
// Every annotation and spec field of the patch is in the object as written.
bool kube_patch_applied(const KubePatch *patch, const Tree *object);

typedef struct {
    const char *leader; // NULL: released
    int64_t ttl_s, transitions;
    const char *acquire_time, *renew_time;
} LeaderWrite;

// leader NULL removes the name alone: the rest of the record stays, as Patroni leaves it.
void kube_patch_record(KubePatch *patch, const LeaderWrite *record);
// Microseconds since 1970 as the mode writes points in time.
char *kube_time(Arena *arena, KubernetesObjects mode, int64_t wall_us);

// The subsets that make the leader's Endpoints point at us; NULL: they do already, or our address
// is not known. pod: our own, NULL: not known.
const Tree *kube_leader_subsets(Arena *arena, const KubeLayout *layout,
                                const KubernetesSettings *settings, const char *member,
                                const Tree *endpoints, const Tree *pod);
const Tree *kube_empty_subsets(Arena *arena, const Tree *endpoints); // NULL: they are empty

// labels and annotations may be NULL.
char *kube_pod_body(Arena *arena, const KubeLayout *layout, const char *pod, const Tree *labels,
                    const Tree *annotations);
// The Service without a selector that keeps Endpoints P-config alive.
char *kube_config_service_body(Arena *arena, const KubeLayout *layout);
