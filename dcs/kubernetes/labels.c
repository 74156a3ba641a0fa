#include "dcs/kubernetes/labels.h"

#include "dcs/kubernetes/object.h"

static bool bootstraps(const char *state)
{
    static const char *const states[] = {"initializing new cluster",
                                         "running custom bootstrap script",
                                         "starting after custom bootstrap", "creating replica"};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        if (str_eq(state, states[i]))
            return true;
    }
    return false;
}

typedef struct {
    const char *role, *tmp; // NULL: no label
} RoleLabels;

// In pause or while it promotes a leader's pod already bears the leader's label: traffic waits
// there, not at a pod that has lost.
static RoleLabels role_labels(const KubernetesSettings *settings, const PodFacts *facts)
{
    const char *role = str_or(facts->role, "");
    if (facts->leader)
        return (RoleLabels){str_eq(role, "standby_leader") ? settings->standby_leader_label_value
                                                           : settings->leader_label_value,
                            "primary"};
    if (str_eq(facts->state, "running") && !str_eq(role, "primary") && !str_empty(role))
        return (RoleLabels){str_eq(role, "replica") ? settings->follower_label_value : role, role};
    return (RoleLabels){NULL, NULL};
}

Tree *kube_pod_labels(Arena *arena, const KubernetesSettings *settings, const PodFacts *facts)
{
    Tree *labels = tree_map(arena);
    const RoleLabels wanted = role_labels(settings, facts);
    tree_set(arena, labels, settings->role_label, tree_string(arena, wanted.role));
    if (!str_empty(settings->tmp_role_label))
        tree_set(arena, labels, settings->tmp_role_label, tree_string(arena, wanted.tmp));
    const bool now = bootstraps(facts->state);
    for (size_t i = 0; i < settings->bootstrap_labels.count; i++) {
        const KubernetesLabel *label = &settings->bootstrap_labels.items[i];
        tree_set(arena, labels, label->key, tree_string(arena, now ? label->value : NULL));
    }
    return labels;
}

void kube_labels_missing(Arena *arena, const Tree *wanted, const Tree *pod, Tree *out)
{
    for (size_t i = 0; i < wanted->count; i++) {
        const TreeEntry *entry = &wanted->entries[i];
        if (!str_eq(tree_string_of(entry->value), kube_label(pod, entry->key)))
            tree_set(arena, out, entry->key, entry->value);
    }
}

bool kube_bears_leader_label(const KubernetesSettings *settings, const Tree *pod)
{
    const char *role = kube_label(pod, settings->role_label);
    const char *tmp =
        str_empty(settings->tmp_role_label) ? NULL : kube_label(pod, settings->tmp_role_label);
    // A value that replicas bear too says nothing.
    if (role != NULL && str_eq(role, settings->follower_label_value))
        return false;
    return role != NULL ? str_eq(role, settings->leader_label_value) ||
                              str_eq(role, settings->standby_leader_label_value)
                        : str_eq(tmp, "primary");
}

Tree *kube_strip_labels(Arena *arena, const KubernetesSettings *settings)
{
    Tree *labels = tree_map(arena);
    tree_set(arena, labels, settings->role_label, tree_null(arena));
    if (!str_empty(settings->tmp_role_label))
        tree_set(arena, labels, settings->tmp_role_label, tree_null(arena));
    return labels;
}
