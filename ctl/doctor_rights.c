// Which rights the agents need, by mode of the store: docs/kubernetes.md, "The store". Pure.
#include "ctl/doctor.h"

#include <string.h>

enum {
    IN_ENDPOINTS = 1 << KUBERNETES_ENDPOINTS,
    IN_CONFIGMAPS = 1 << KUBERNETES_CONFIGMAPS,
    IN_LEASES = 1 << KUBERNETES_LEASES,
    IN_ALL = IN_ENDPOINTS | IN_CONFIGMAPS | IN_LEASES,
};

#define LEASES "coordination.k8s.io"

typedef struct {
    unsigned modes;
    const char *group, *resource;
    const char *suffixes; // of the objects' names after the scope, "." is none; NULL: unnamed
    const char *verbs;
    bool optional;
    const char *for_what;
} Rule;

static const Rule rules[] = {
    {IN_LEASES, LEASES, "leases", NULL, "create list watch", false, "the leader's lease"},
    {IN_LEASES, LEASES, "leases", ".", "get patch", false, "the leader's lease"},
    {IN_ENDPOINTS, "", "endpoints", NULL, "create list watch", false, "the cluster's state"},
    {IN_ENDPOINTS, "", "endpoints", ". -config -failover -sync", "get patch", false,
     "the cluster's state"},
    {IN_ENDPOINTS, "", "endpoints/restricted", NULL, "create", true,
     "OpenShift, which asks for it before addresses of pods are written into Endpoints"},
    {IN_ENDPOINTS, "", "services", NULL, "create", false,
     "the Service that keeps the configuration's Endpoints alive"},
    {IN_CONFIGMAPS, "", "configmaps", NULL, "create list watch", false, "the cluster's state"},
    {IN_CONFIGMAPS, "", "configmaps", "-leader -config -failover -sync", "get patch", false,
     "the cluster's state"},
    {IN_LEASES, "", "configmaps", NULL, "create list watch", false, "configuration and history"},
    {IN_LEASES, "", "configmaps", "-config", "get patch", false, "configuration and history"},
    {IN_ALL, "", "pods", NULL, "get list watch patch", false, "members and their role labels"},
    {IN_ALL, "", "services", NULL, "list", true, "the cluster's state in labels of its Services"},
    {IN_ALL, "", "events", NULL, "create", true, "Events: Promoted, FailoverRefused, …"},
    {IN_LEASES | IN_ENDPOINTS, "", "configmaps", "-leader", "get", true,
     "seeing whether ConfigMaps hold this cluster"},
    {IN_ENDPOINTS, "", "configmaps", "-config", "get", true,
     "seeing whether ConfigMaps hold this cluster"},
    {IN_LEASES | IN_CONFIGMAPS, "", "endpoints", ". -config", "get", true,
     "seeing whether Endpoints hold this cluster"},
    {IN_ENDPOINTS | IN_CONFIGMAPS, LEASES, "leases", ".", "get", true,
     "seeing whether a Lease holds this cluster"},
};

typedef struct {
    Arena *arena;
    RightFact *items;
    size_t count, capacity;
} Rights;

static void add(Rights *rights, const Rule *rule, const char *name, const char *verb)
{
    ASSERT(rights->count < rights->capacity);
    rights->items[rights->count++] = (RightFact){.group = rule->group,
                                                 .resource = rule->resource,
                                                 .name = name,
                                                 .verb = verb,
                                                 .optional = rule->optional,
                                                 .for_what = rule->for_what};
}

// The next word of a text with blanks; NULL at its end.
static const char *next_word(Arena *arena, const char **text)
{
    const char *word = *text + strspn(*text, " ");
    const size_t length = strcspn(word, " ");
    *text = word + length;
    return length == 0 ? NULL : arena_strndup(arena, word, length);
}

static void add_verbs(Rights *rights, const Rule *rule, const char *name)
{
    const char *verbs = rule->verbs;
    for (const char *verb; (verb = next_word(rights->arena, &verbs)) != NULL;)
        add(rights, rule, name, verb);
}

static void add_rule(Rights *rights, const Rule *rule, const char *scope)
{
    if (rule->suffixes == NULL) {
        add_verbs(rights, rule, NULL);
        return;
    }
    const char *suffixes = rule->suffixes;
    for (const char *suffix; (suffix = next_word(rights->arena, &suffixes)) != NULL;)
        add_verbs(rights, rule,
                  arena_printf(rights->arena, "%s%s", scope, str_eq(suffix, ".") ? "" : suffix));
}

// Those that bear the cluster's labels; the one that keeps Endpoints alive is nobody's to look at.
static bool is_written_on(Arena *arena, const Settings *s, const char *scope, const Tree *service)
{
    const Tree *labels = object_labels(service);
    if (!str_eq(tree_get_string(labels, s->kubernetes.scope_label, NULL), scope) ||
        str_eq(object_name(service), arena_printf(arena, "%s-config", scope)))
        return false;
    for (size_t i = 0; i < s->kubernetes.labels.count; i++)
        if (!str_eq(tree_get_string(labels, s->kubernetes.labels.items[i].key, NULL),
                    s->kubernetes.labels.items[i].value))
            return false;
    return true;
}

size_t doctor_rights_of(Arena *arena, const Settings *settings, const char *scope,
                        const Tree *services, RightFact **out)
{
    enum { PER_RULE = 16 };
    static const Rule signs = {IN_ALL,
                               "",
                               "services",
                               ".",
                               "patch",
                               true,
                               "the cluster's state in labels of its Services"};
    const size_t capacity = COUNT_OF(rules) * PER_RULE + list_count(services);
    Rights rights = {
        .arena = arena, .items = ARENA_ARRAY(arena, RightFact, capacity), .capacity = capacity};
    const unsigned mode = 1U << settings->kubernetes.objects;
    for (size_t i = 0; i < COUNT_OF(rules); i++)
        if ((rules[i].modes & mode) != 0)
            add_rule(&rights, &rules[i], scope);
    for (size_t i = 0; i < list_count(services); i++)
        if (is_written_on(arena, settings, scope, list_at(services, i)))
            add(&rights, &signs, object_name(list_at(services, i)), "patch");
    *out = rights.items;
    return rights.count;
}
