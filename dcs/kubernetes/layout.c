#include "dcs/kubernetes/layout.h"

#include <string.h>

static const struct {
    const char *name, *plural, *api;
} kinds[] = {
    [KIND_PODS] = {"Pod", "pods", "/api/v1"},
    [KIND_ENDPOINTS] = {"Endpoints", "endpoints", "/api/v1"},
    [KIND_CONFIGMAPS] = {"ConfigMap", "configmaps", "/api/v1"},
    [KIND_LEASES] = {"Lease", "leases", "/apis/coordination.k8s.io/v1"},
    [KIND_SERVICES] = {"Service", "services", "/api/v1"},
    [KIND_EVENTS] = {"Event", "events", "/api/v1"},
};

static const KubePlace places[][OBJECT_COUNT] = {
    [KUBERNETES_ENDPOINTS] =
        {
            [OBJECT_LEADER] = {KIND_ENDPOINTS, ""},
            [OBJECT_CONFIG] = {KIND_ENDPOINTS, "-config"},
            [OBJECT_FAILOVER] = {KIND_ENDPOINTS, "-failover"},
            [OBJECT_SYNC] = {KIND_ENDPOINTS, "-sync"},
        },
    [KUBERNETES_CONFIGMAPS] =
        {
            [OBJECT_LEADER] = {KIND_CONFIGMAPS, "-leader"},
            [OBJECT_CONFIG] = {KIND_CONFIGMAPS, "-config"},
            [OBJECT_FAILOVER] = {KIND_CONFIGMAPS, "-failover"},
            [OBJECT_SYNC] = {KIND_CONFIGMAPS, "-sync"},
        },
    [KUBERNETES_LEASES] =
        {
            [OBJECT_LEADER] = {KIND_LEASES, ""},
            [OBJECT_CONFIG] = {KIND_CONFIGMAPS, "-config"},
            [OBJECT_FAILOVER] = {KIND_LEASES, NULL},
            [OBJECT_SYNC] = {KIND_LEASES, NULL},
        },
};

static const KeyField status_fields[] = {
    {"optime", FIELD_NUMBER}, {"slots", FIELD_JSON}, {"retain_slots", FIELD_JSON_SPACED}};
static const KeyField failover_fields[] = {
    {"leader", FIELD_TEXT}, {"member", FIELD_TEXT}, {"scheduled_at", FIELD_TEXT}};
static const KeyField sync_fields[] = {
    {"leader", FIELD_TEXT}, {"quorum", FIELD_NUMBER}, {"sync_standby", FIELD_TEXT}};

#define TEXT(role, name)                                                                           \
    {                                                                                              \
        (role), FORM_TEXT, (name), NULL, 0                                                         \
    }
#define FIELDS(role, table)                                                                        \
    {                                                                                              \
        (role), FORM_FIELDS, NULL, (table), COUNT_OF(table)                                        \
    }

// As Patroni has it, for both of its modes.
static const KeyPlace patroni_keys[DCS_KEY_COUNT] = {
    [KEY_INITIALIZE] = TEXT(OBJECT_CONFIG, "initialize"),
    [KEY_CONFIG] = TEXT(OBJECT_CONFIG, "config"),
    [KEY_HISTORY] = TEXT(OBJECT_CONFIG, "history"),
    [KEY_FAILOVER] = FIELDS(OBJECT_FAILOVER, failover_fields),
    [KEY_SYNC] = FIELDS(OBJECT_SYNC, sync_fields),
    [KEY_FAILSAFE] = TEXT(OBJECT_LEADER, "failsafe"),
    [KEY_STATUS] = FIELDS(OBJECT_LEADER, status_fields),
    [KEY_TERM] = TEXT(OBJECT_LEADER, ANNOTATION_TERM),
};

// One object for all that a race is decided from, so that an acquire is one exact compare-and-swap.
static const KeyPlace lease_keys[DCS_KEY_COUNT] = {
    [KEY_INITIALIZE] = TEXT(OBJECT_CONFIG, "initialize"),
    [KEY_CONFIG] = TEXT(OBJECT_CONFIG, "config"),
    [KEY_HISTORY] = TEXT(OBJECT_CONFIG, "history"),
    [KEY_FAILOVER] = TEXT(OBJECT_LEADER, "howdah.io/failover"),
    [KEY_SYNC] = TEXT(OBJECT_LEADER, "howdah.io/sync"),
    [KEY_FAILSAFE] = TEXT(OBJECT_LEADER, "howdah.io/failsafe"),
    [KEY_STATUS] = TEXT(OBJECT_LEADER, "howdah.io/status"),
    [KEY_TERM] = TEXT(OBJECT_LEADER, ANNOTATION_TERM),
};

KubePlace kube_place(KubernetesObjects mode, KubeRole role)
{
    ASSERT(role < OBJECT_COUNT);
    return places[mode][role];
}

const KeyPlace *kube_key_place(KubernetesObjects mode, DcsKey key)
{
    return mode == KUBERNETES_LEASES ? &lease_keys[key] : &patroni_keys[key];
}

KubeRole kube_role_of(const KubeLayout *layout, KubeKind kind, const char *name)
{
    if (name == NULL || !str_starts(name, layout->scope))
        return OBJECT_COUNT;
    const char *suffix = name + strlen(layout->scope);
    for (KubeRole role = 0; role < OBJECT_COUNT; role++) {
        const KubePlace place = kube_place(layout->mode, role);
        if (place.kind == kind && str_eq(place.suffix, suffix))
            return role;
    }
    return OBJECT_COUNT;
}

const char *kube_mode_line(KubernetesObjects mode)
{
    switch (mode) {
    case KUBERNETES_ENDPOINTS:
        return "kubernetes.store: endpoints";
    case KUBERNETES_CONFIGMAPS:
        return "kubernetes.store: configmaps";
    case KUBERNETES_LEASES:
        return "kubernetes.store: leases";
    }
    ASSERT(false);
}

const char *kube_kind_name(KubeKind kind)
{
    return kinds[kind].name;
}

const char *kube_object_name(Arena *arena, const KubeLayout *layout, KubeRole role)
{
    const KubePlace place = kube_place(layout->mode, role);
    ASSERT(place.suffix != NULL); // of the key tables, which name no such role
    return arena_printf(arena, "%s%s", layout->scope, place.suffix);
}

char *kube_path(Arena *arena, const KubeLayout *layout, KubeKind kind, const char *name)
{
    return arena_printf(arena, "%s/namespaces/%s/%s%s%s", kinds[kind].api, layout->namespace,
                        kinds[kind].plural, name != NULL ? "/" : "", name != NULL ? name : "");
}

Tree *kube_labels(Arena *arena, const KubeLayout *layout)
{
    Tree *labels = tree_map(arena);
    for (size_t i = 0; i < layout->labels->count; i++)
        tree_set(arena, labels, layout->labels->items[i].key,
                 tree_string(arena, layout->labels->items[i].value));
    tree_set(arena, labels, layout->scope_label, tree_string(arena, layout->scope));
    return labels;
}
