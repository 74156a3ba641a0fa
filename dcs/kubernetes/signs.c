#include "dcs/kubernetes/signs.h"

#include "dcs/kubernetes/body.h"
#include "dcs/kubernetes/labels.h"

#include <inttypes.h>
#include <string.h>

const char *kube_label_of_name(Arena *arena, const char *name)
{
    enum { LABEL_MAX = 63, KEPT = 54 };
    if (name == NULL || strlen(name) <= LABEL_MAX)
        return name;
    uint32_t hash = UINT32_C(2166136261);
    for (const char *c = name; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT32_C(16777619);
    return arena_printf(arena, "%.*s-%08" PRIx32, KEPT, name, hash);
}

static const char *number(Arena *arena, uint64_t value)
{
    return arena_printf(arena, "%" PRIu64, value);
}

Tree *kube_sign_labels(Arena *arena, const ClusterSigns *signs)
{
    Tree *labels = tree_map(arena);
    const bool known = signs->state != SIGN_NOT_KNOWN;
    const struct {
        const char *key, *value;
    } all[] = {
        {SIGN_LEADER, kube_label_of_name(arena, signs->leader)},
        {SIGN_STATE, sign_state_name(signs->state)},
        {SIGN_TIMELINE, signs->timeline != 0 ? number(arena, signs->timeline) : NULL},
        {SIGN_REPLICAS, known ? number(arena, signs->replicas) : NULL},
        {SIGN_SYNC, known ? sign_sync_name(signs->sync) : NULL},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        tree_set(arena, labels, all[i].key, tree_string(arena, all[i].value));
    return labels;
}

static const char *name_of(const Tree *object)
{
    return tree_get_string(tree_get(object, "metadata"), "name", "");
}

// Made by the agents themselves in one mode (kube_config_service_body).
static bool only_keeps_endpoints(const KubeLayout *layout, const Tree *service)
{
    const char *name = name_of(service);
    const size_t scope = strlen(layout->scope);
    return str_starts(name, layout->scope) && str_eq(name + scope, "-config");
}

const Tree *kube_signs_missing(Arena *arena, const KubeLayout *layout, const Tree *labels,
                               const Tree *service)
{
    if (only_keeps_endpoints(layout, service))
        return NULL;
    Tree *missing = tree_map(arena);
    kube_labels_missing(arena, labels, service, missing);
    return missing->count > 0 ? missing : NULL;
}

const Tree *kube_service_of_cluster(const KubeLayout *layout, const Tree *items)
{
    const Tree *first = NULL;
    for (size_t i = 0; items != NULL && i < items->count; i++) {
        const Tree *service = items->entries[i].value;
        if (str_eq(name_of(service), layout->scope))
            return service;
        if (first == NULL && !only_keeps_endpoints(layout, service))
            first = service;
    }
    return first;
}

static void set_text(Arena *arena, Tree *map, const char *key, const char *text)
{
    tree_set(arena, map, key, tree_string(arena, text));
}

char *kube_event_body(Arena *arena, const KubeLayout *layout, const char *name,
                      const KubeAbout *about, const char *member, const Announcement *event)
{
    Tree *metadata = tree_map(arena), *object = tree_map(arena), *source = tree_map(arena);
    set_text(arena, metadata, "namespace", layout->namespace);
    set_text(arena, metadata, "name", name);
    set_text(arena, object, "apiVersion", "v1");
    set_text(arena, object, "kind", kube_kind_name(about->kind));
    set_text(arena, object, "namespace", layout->namespace);
    set_text(arena, object, "name", about->name);
    if (!str_empty(about->uid)) // kubectl describe finds an Event by it
        set_text(arena, object, "uid", about->uid);
    set_text(arena, source, "component", "howdah");
    Tree *body = tree_map(arena);
    tree_set(arena, body, "metadata", metadata);
    tree_set(arena, body, "involvedObject", object);
    set_text(arena, body, "reason", event->reason);
    set_text(arena, body, "message", event->message);
    set_text(arena, body, "type", event->warning ? "Warning" : "Normal");
    const char *when = kube_time(arena, KUBERNETES_LEASES, event->wall_us);
    set_text(arena, body, "firstTimestamp", when);
    set_text(arena, body, "lastTimestamp", when);
    tree_set(arena, body, "count", tree_int(arena, 1));
    tree_set(arena, body, "source", source);
    set_text(arena, body, "reportingComponent", "howdah");
    set_text(arena, body, "reportingInstance", member);
    return tree_to_json(arena, body, JSON_COMPACT);
}
