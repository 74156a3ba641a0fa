#include "dcs/kubernetes/body.h"

#include <inttypes.h>
#include <string.h>

static void set_text(Arena *arena, Tree *map, const char *key, const char *text)
{
    tree_set(arena, map, key, tree_string(arena, text));
}

KubePatch kube_patch_new(Arena *arena, const KubeLayout *layout)
{
    return (KubePatch){.arena = arena, .layout = layout, .annotations = tree_map(arena)};
}

void kube_patch_text(KubePatch *patch, const char *annotation, const char *text)
{
    set_text(patch->arena, patch->annotations, annotation, text);
}

static const Tree *without_nulls(Arena *arena, const Tree *map)
{
    Tree *kept = tree_map(arena);
    for (size_t i = 0; i < map->count; i++) {
        if (map->entries[i].value->kind != TREE_NULL)
            tree_set(arena, kept, map->entries[i].key, map->entries[i].value);
    }
    return kept;
}

char *kube_patch_body(const KubePatch *patch, const char *name, const char *version, bool create)
{
    Arena *arena = patch->arena;
    Tree *metadata = tree_map(arena);
    set_text(arena, metadata, "namespace", patch->layout->namespace);
    set_text(arena, metadata, "name", name);
    tree_set(arena, metadata, "labels", kube_labels(arena, patch->layout));
    if (version != NULL && !create)
        set_text(arena, metadata, "resourceVersion", version);
    tree_set(arena, metadata, "annotations",
             create ? without_nulls(arena, patch->annotations) : patch->annotations);
    Tree *body = tree_map(arena);
    tree_set(arena, body, "metadata", metadata);
    if (patch->spec != NULL)
        tree_set(arena, body, "spec", create ? without_nulls(arena, patch->spec) : patch->spec);
    if (patch->subsets != NULL)
        tree_set(arena, body, "subsets", patch->subsets);
    return tree_to_json(arena, body, JSON_COMPACT);
}

static bool holds(const Tree *wanted, const Tree *is)
{
    for (size_t i = 0; wanted != NULL && i < wanted->count; i++) {
        const Tree *value = tree_get(is, wanted->entries[i].key);
        const bool absent = value == NULL || value->kind == TREE_NULL;
        if (wanted->entries[i].value->kind == TREE_NULL
                ? !absent
                : absent || !tree_equal(wanted->entries[i].value, value))
            return false;
    }
    return true;
}

bool kube_patch_applied(const KubePatch *patch, const Tree *object)
{
    return object != NULL &&
           holds(patch->annotations, tree_get(tree_get(object, "metadata"), "annotations")) &&
           holds(patch->spec, tree_get(object, "spec"));
}

// --- the leader record

void kube_patch_record(KubePatch *patch, const LeaderWrite *record)
{
    Arena *arena = patch->arena;
    const bool lease = patch->layout->mode == KUBERNETES_LEASES;
    if (lease && patch->spec == NULL)
        patch->spec = tree_map(arena);
    Tree *to = lease ? patch->spec : patch->annotations;
    set_text(arena, to, lease ? "holderIdentity" : "leader", record->leader);
    if (record->leader == NULL)
        return;
    if (lease) {
        tree_set(arena, to, "leaseDurationSeconds", tree_int(arena, record->ttl_s));
        set_text(arena, to, "renewTime", record->renew_time);
        set_text(arena, to, "acquireTime", record->acquire_time);
        tree_set(arena, to, "leaseTransitions", tree_int(arena, record->transitions));
    } else {
        set_text(arena, to, "ttl", arena_printf(arena, "%" PRId64, record->ttl_s));
        set_text(arena, to, "renewTime", record->renew_time);
        set_text(arena, to, "acquireTime", record->acquire_time);
        set_text(arena, to, "transitions", arena_printf(arena, "%" PRId64, record->transitions));
    }
}

// Python's isoformat in UTC; a Lease's MicroTime comes back with a Z, and is compared as text.
char *kube_time(Arena *arena, KubernetesObjects mode, int64_t wall_us)
{
    enum { US_PER_S = 1000000, S_PER_DAY = 86400 };
    const int64_t seconds = wall_us / US_PER_S;
    int64_t days = seconds / S_PER_DAY + 719468; // from 0000-03-01: leap days are then at the end
    const int64_t era = days / 146097;
    days -= era * 146097;
    const int64_t year_of_era = (days - days / 1460 + days / 36524 - days / 146096) / 365;
    const int64_t day_of_year = days - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t month = (5 * day_of_year + 2) / 153; // 0: March
    const int64_t in_day = seconds % S_PER_DAY;
    return arena_printf(arena, "%04d-%02d-%02dT%02d:%02d:%02d.%06d%s",
                        (int)(year_of_era + era * 400 + (month >= 10 ? 1 : 0)),
                        (int)(month < 10 ? month + 3 : month - 9),
                        (int)(day_of_year - (153 * month + 2) / 5 + 1), (int)(in_day / 3600),
                        (int)(in_day / 60 % 60), (int)(in_day % 60), (int)(wall_us % US_PER_S),
                        mode == KUBERNETES_LEASES ? "Z" : "+00:00");
}

// --- subsets

static const char *port_protocol(const Tree *port)
{
    return tree_get_string(port, "protocol", "TCP");
}

static bool has_port(const Tree *ports, const KubernetesPort *wanted)
{
    for (size_t i = 0; i < ports->count; i++) {
        const Tree *port = ports->entries[i].value;
        if (tree_get_int(port, "port", 0) == wanted->port &&
            str_eq(str_or(tree_get_string(port, "name", ""), NULL), str_or(wanted->name, NULL)) &&
            str_ieq(port_protocol(port), str_or(wanted->protocol, "TCP")))
            return true;
    }
    return false;
}

static const Tree *only_entry(const Tree *list)
{
    return list != NULL && list->kind == TREE_LIST && list->count == 1 ? list->entries[0].value
                                                                       : NULL;
}

static bool subsets_hold(const Tree *subsets, const KubernetesSettings *settings, const char *ip)
{
    const Tree *subset = only_entry(subsets);
    const Tree *address = only_entry(tree_get(subset, "addresses"));
    const Tree *ports = tree_get(subset, "ports");
    if (!str_eq(tree_get_string(address, "ip", NULL), ip) || ports == NULL ||
        ports->count != settings->port_count)
        return false;
    for (size_t i = 0; i < settings->port_count; i++) {
        if (!has_port(ports, &settings->ports[i]))
            return false;
    }
    return true;
}

// One for the same address and pod is used on: it says nothing new with another version.
static const Tree *known_target(const Tree *subsets, const char *ip, const char *member)
{
    for (size_t i = 0; subsets != NULL && i < subsets->count; i++) {
        const Tree *addresses = tree_get(subsets->entries[i].value, "addresses");
        for (size_t k = 0; addresses != NULL && k < addresses->count; k++) {
            const Tree *target = tree_get(addresses->entries[k].value, "targetRef");
            if (str_eq(tree_get_string(addresses->entries[k].value, "ip", NULL), ip) &&
                str_eq(tree_get_string(target, "name", NULL), member))
                return target;
        }
    }
    return NULL;
}

static const Tree *new_target(Arena *arena, const KubeLayout *layout, const Tree *pod)
{
    const Tree *metadata = tree_get(pod, "metadata");
    Tree *target = tree_map(arena);
    set_text(arena, target, "kind", "Pod");
    set_text(arena, target, "uid", tree_get_string(metadata, "uid", ""));
    set_text(arena, target, "namespace", layout->namespace);
    set_text(arena, target, "name", tree_get_string(metadata, "name", ""));
    set_text(arena, target, "resourceVersion", tree_get_string(metadata, "resourceVersion", ""));
    return target;
}

static void copy_text_field(Arena *arena, Tree *to, const Tree *from, const char *key)
{
    const char *text = tree_get_string(from, key, NULL);
    if (!str_empty(text))
        set_text(arena, to, key, text);
}

static Tree *port_list(Arena *arena, const KubernetesSettings *settings)
{
    Tree *ports = tree_list(arena);
    for (size_t i = 0; i < settings->port_count; i++) {
        const KubernetesPort *wanted = &settings->ports[i];
        Tree *port = tree_map(arena);
        if (!str_empty(wanted->name))
            set_text(arena, port, "name", wanted->name);
        tree_set(arena, port, "port", tree_int(arena, wanted->port));
        if (!str_empty(wanted->protocol) && !str_ieq(wanted->protocol, "TCP"))
            set_text(arena, port, "protocol", wanted->protocol);
        tree_append(arena, ports, port);
    }
    return ports;
}

const Tree *kube_leader_subsets(Arena *arena, const KubeLayout *layout,
                                const KubernetesSettings *settings, const char *member,
                                const Tree *endpoints, const Tree *pod)
{
    const Tree *subsets = tree_get(endpoints, "subsets");
    const char *pod_ip = tree_get_string(tree_get(pod, "status"), "podIP", NULL);
    const char *ip = str_or(settings->pod_ip, pod_ip);
    if (str_empty(ip) || subsets_hold(subsets, settings, ip))
        return NULL;
    Tree *address = tree_map(arena);
    set_text(arena, address, "ip", ip);
    if (pod != NULL) {
        const Tree *known = known_target(subsets, ip, member);
        copy_text_field(arena, address, tree_get(pod, "spec"), "hostname");
        copy_text_field(arena, address, tree_get(pod, "spec"), "nodeName");
        tree_set(arena, address, "targetRef",
                 known != NULL ? known : new_target(arena, layout, pod));
    }
    Tree *addresses = tree_list(arena), *subset = tree_map(arena), *list = tree_list(arena);
    tree_append(arena, addresses, address);
    tree_set(arena, subset, "addresses", addresses);
    tree_set(arena, subset, "ports", port_list(arena, settings));
    tree_append(arena, list, subset);
    return list;
}

const Tree *kube_empty_subsets(Arena *arena, const Tree *endpoints)
{
    const Tree *subsets = tree_get(endpoints, "subsets");
    return subsets != NULL && subsets->count > 0 ? tree_list(arena) : NULL;
}

// --- others

char *kube_pod_body(Arena *arena, const KubeLayout *layout, const char *pod, const Tree *labels,
                    const Tree *annotations)
{
    Tree *metadata = tree_map(arena), *body = tree_map(arena);
    set_text(arena, metadata, "namespace", layout->namespace);
    set_text(arena, metadata, "name", pod);
    if (labels != NULL && labels->count > 0)
        tree_set(arena, metadata, "labels", labels);
    if (annotations != NULL && annotations->count > 0)
        tree_set(arena, metadata, "annotations", annotations);
    tree_set(arena, body, "metadata", metadata);
    return tree_to_json(arena, body, JSON_COMPACT);
}

char *kube_config_service_body(Arena *arena, const KubeLayout *layout)
{
    Tree *metadata = tree_map(arena), *spec = tree_map(arena), *body = tree_map(arena);
    set_text(arena, metadata, "namespace", layout->namespace);
    set_text(arena, metadata, "name", kube_object_name(arena, layout, OBJECT_CONFIG));
    tree_set(arena, metadata, "labels", kube_labels(arena, layout));
    set_text(arena, spec, "clusterIP", "None");
    tree_set(arena, body, "metadata", metadata);
    tree_set(arena, body, "spec", spec);
    return tree_to_json(arena, body, JSON_COMPACT);
}
