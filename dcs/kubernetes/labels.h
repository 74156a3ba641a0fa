// The labels of our own pod, by which Services find it: docs/store.md, "On Kubernetes". Pure.
#pragma once
#include "common/model/settings.h"

typedef struct {
    bool leader;      // the leader record that holds names us
    const char *role; // as published: "primary", "replica", …
    const char *state;
} PodFacts;

// What the pod shall bear: a text, or null for a label that is to go.
Tree *kube_pod_labels(Arena *arena, const KubernetesSettings *settings, const PodFacts *facts);
// Adds the labels that differ from the pod's to out.
void kube_labels_missing(Arena *arena, const Tree *wanted, const Tree *pod, Tree *out);
// The value a leader's pod bears, which a winner takes off the loser's. True: this pod bears one.
bool kube_bears_leader_label(const KubernetesSettings *settings, const Tree *pod);
// Takes them off.
Tree *kube_strip_labels(Arena *arena, const KubernetesSettings *settings);
