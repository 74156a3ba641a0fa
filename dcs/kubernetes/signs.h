// What is written on Services, and the Events: texts and bodies. Pure.
#pragma once
#include "dcs/announce.h"
#include "dcs/kubernetes/layout.h"

#define SIGN_LEADER   "howdah.io/leader"
#define SIGN_STATE    "howdah.io/state"
#define SIGN_TIMELINE "howdah.io/timeline"
#define SIGN_REPLICAS "howdah.io/replicas"
#define SIGN_SYNC     "howdah.io/sync"

// A label's value has at most 63 characters: of a longer name the first 54, '-', and 8 hexadecimal
// digits of its FNV-1a hash, so that two long names stay two.
const char *kube_label_of_name(Arena *arena, const char *name);
// All five; null removes one.
Tree *kube_sign_labels(Arena *arena, const ClusterSigns *signs);
// Those of them that the Service does not bear yet; NULL: none. NULL too for the Service that only
// keeps the configuration's Endpoints alive: nobody looks there.
const Tree *kube_signs_missing(Arena *arena, const KubeLayout *layout, const Tree *labels,
                               const Tree *service);

// What an Event is about.
typedef struct {
    KubeKind kind;
    const char *name, *uid;
} KubeAbout;

// The Service that clients of the primary use, among the items of a list: the one of the scope's
// name, else the first that is written on. NULL: none.
const Tree *kube_service_of_cluster(const KubeLayout *layout, const Tree *items);
// Of the core group's Events. name is the Event's own.
char *kube_event_body(Arena *arena, const KubeLayout *layout, const char *name,
                      const KubeAbout *about, const char *member, const Announcement *event);
