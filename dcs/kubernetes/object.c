#include "dcs/kubernetes/object.h"

#include <stdlib.h>
#include <string.h>

int64_t kube_version_of(const char *resource_version)
{
    int64_t version = 0;
    return parse_int64(resource_version, &version) && version > 0 ? version : 0;
}

static void copy_fields(Arena *arena, Tree *to, const Tree *from, const char *const *names,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Tree *value = tree_get(from, names[i]);
        if (value != NULL)
            tree_set(arena, to, names[i], tree_copy(arena, value));
    }
}

static Tree *part_of(Arena *arena, const Tree *object, const char *part, const char *const *names,
                     size_t count)
{
    Tree *map = tree_map(arena);
    copy_fields(arena, map, tree_get(object, part), names, count);
    return map;
}

// What the API server tracks about its writers (managedFields) is as long as all the rest.
static Tree *trimmed(Arena *arena, KubeKind kind, const Tree *object)
{
    static const char *const metadata[] = {"name",   "uid",         "resourceVersion",
                                           "labels", "annotations", "deletionTimestamp"};
    static const char *const pod_spec[] = {"hostname", "nodeName"};
    static const char *const pod_status[] = {"podIP"};
    static const char *const whole[] = {"spec", "subsets"};
    Tree *map = tree_map(arena);
    tree_set(arena, map, "metadata",
             part_of(arena, object, "metadata", metadata, COUNT_OF(metadata)));
    if (kind == KIND_PODS) {
        tree_set(arena, map, "spec", part_of(arena, object, "spec", pod_spec, COUNT_OF(pod_spec)));
        tree_set(arena, map, "status",
                 part_of(arena, object, "status", pod_status, COUNT_OF(pod_status)));
    } else {
        copy_fields(arena, map, object, whole, COUNT_OF(whole));
    }
    return map;
}

KubeObject *kube_object_new(KubeKind kind, const Tree *tree)
{
    const Tree *metadata = tree_get(tree, "metadata");
    const char *version = tree_get_string(metadata, "resourceVersion", NULL);
    if (str_empty(tree_get_string(metadata, "name", NULL)) || kube_version_of(version) == 0)
        return NULL;
    KubeObject *object = calloc(1, sizeof *object);
    ASSERT(object != NULL); // out of memory
    object->arena = arena_new(ARENA_CAP_DEFAULT);
    object->tree = trimmed(object->arena, kind, tree);
    const Tree *own = tree_get(object->tree, "metadata");
    object->name = tree_get_string(own, "name", "");
    object->resource_version = tree_get_string(own, "resourceVersion", "");
    object->version = kube_version_of(version);
    return object;
}

void kube_object_free(KubeObject *object)
{
    if (object == NULL)
        return;
    arena_free(object->arena);
    free(object);
}

const char *kube_annotation(const Tree *object, const char *name)
{
    return tree_string_of(tree_get(tree_get(tree_get(object, "metadata"), "annotations"), name));
}

const char *kube_label(const Tree *object, const char *name)
{
    return tree_string_of(tree_get(tree_get(tree_get(object, "metadata"), "labels"), name));
}

// --- keys and annotations

static const Tree *field_value(Arena *arena, const KeyField *field, const char *text)
{
    const Tree *tree = NULL;
    Error ignored = {0};
    int64_t number = 0;
    switch (field->kind) {
    case FIELD_TEXT:
        return tree_string(arena, text);
    case FIELD_NUMBER: // garbage stays a text, which the reader of the record judges
        return parse_int64(text, &number) ? tree_int(arena, number) : tree_string(arena, text);
    case FIELD_JSON:
    case FIELD_JSON_SPACED:
        return tree_parse_json(arena, text, &tree, &ignored) ? tree : tree_string(arena, text);
    }
    return NULL;
}

// Their object exists for them alone: it stays when they are cleared.
static bool owns_object(const KeyPlace *place)
{
    return place->role == OBJECT_FAILOVER || place->role == OBJECT_SYNC;
}

const char *kube_key_value(Arena *arena, KubernetesObjects mode, DcsKey key, const Tree *object)
{
    const KeyPlace *place = kube_key_place(mode, key);
    if (object == NULL)
        return NULL;
    if (place->form == FORM_TEXT)
        return arena_strdup(arena, kube_annotation(object, place->annotation));
    Tree *map = tree_map(arena);
    for (size_t i = 0; i < place->field_count; i++) {
        const char *text = kube_annotation(object, place->fields[i].name);
        if (text != NULL)
            tree_set(arena, map, place->fields[i].name,
                     field_value(arena, &place->fields[i], text));
    }
    if (map->count == 0 && !owns_object(place))
        return NULL;
    return tree_to_json(arena, map, JSON_COMPACT);
}

// NULL: the annotation goes. Empty lists and maps are not kept, nor is an empty text.
static const char *field_text(Arena *arena, const KeyField *field, const Tree *value)
{
    if (value == NULL || value->kind == TREE_NULL)
        return NULL;
    if (field->kind == FIELD_JSON || field->kind == FIELD_JSON_SPACED) {
        const bool spaced = field->kind == FIELD_JSON_SPACED;
        if ((value->kind == TREE_MAP || value->kind == TREE_LIST) && value->count == 0)
            return NULL;
        return tree_to_json(arena, value, spaced ? JSON_SPACED : JSON_COMPACT);
    }
    const char *text = tree_scalar_text(arena, value);
    return str_empty(text) ? NULL : text;
}

bool kube_key_patch(Arena *arena, KubernetesObjects mode, DcsKey key, const char *value,
                    Tree *annotations)
{
    const KeyPlace *place = kube_key_place(mode, key);
    if (place->form == FORM_TEXT) {
        tree_set(arena, annotations, place->annotation, tree_string(arena, value));
        return true;
    }
    const Tree *map = NULL;
    Error ignored = {0};
    if (value != NULL && (!tree_parse_json(arena, value, &map, &ignored) || map->kind != TREE_MAP))
        return false;
    for (size_t i = 0; i < place->field_count; i++) {
        const KeyField *field = &place->fields[i];
        const char *text = field_text(arena, field, tree_get(map, field->name));
        tree_set(arena, annotations, field->name, tree_string(arena, text));
    }
    return true;
}

// --- the leader record

static const char *spec_text(Arena *arena, const Tree *object, const char *name)
{
    return tree_scalar_text(arena, tree_get(tree_get(object, "spec"), name));
}

static LeaderRecord record_of(Arena *arena, KubernetesObjects mode, const Tree *object)
{
    LeaderRecord record;
    if (mode == KUBERNETES_LEASES)
        record = (LeaderRecord){.leader = spec_text(arena, object, "holderIdentity"),
                                .acquire_time = spec_text(arena, object, "acquireTime"),
                                .renew_time = spec_text(arena, object, "renewTime"),
                                .ttl = spec_text(arena, object, "leaseDurationSeconds"),
                                .transitions = spec_text(arena, object, "leaseTransitions")};
    else
        record = (LeaderRecord){.leader = kube_annotation(object, "leader"),
                                .acquire_time = kube_annotation(object, "acquireTime"),
                                .renew_time = kube_annotation(object, "renewTime"),
                                .ttl = kube_annotation(object, "ttl"),
                                .transitions = kube_annotation(object, "transitions")};
    if (str_empty(record.leader))
        record.leader = NULL;
    return record;
}

// More is nonsense: a Lease counts its transitions in 32 bits, and a ttl has to fit into a clock.
// Ten years are the longest that is written, by whoever moves a cluster.
enum { TRANSITIONS_MAX = 1000 * 1000 * 1000, TTL_MAX_S = 400 * 1000 * 1000 };

static int64_t number_below(const char *text, int64_t limit)
{
    int64_t number = 0;
    return text != NULL && parse_int64(text, &number) && number > 0 && number < limit ? number : 0;
}

static TermRecord term_of(Arena *arena, const Tree *object)
{
    ClusterView view = {0};
    const char *text = kube_annotation(object, ANNOTATION_TERM);
    if (text == NULL)
        return (TermRecord){0};
    const RawKey raw = {.key = records_key_name(KEY_TERM), .value = text, .length = strlen(text)};
    records_parse(arena, &raw, 1, 0, &view);
    view.term.mod_revision =
        kube_version_of(tree_get_string(tree_get(object, "metadata"), "resourceVersion", NULL));
    return view.term;
}

// A renewal by anybody else, who leaves our annotations as they are, does not make it his own.
static void read_session(Arena *arena, const Tree *object, LeaderState *state)
{
    const char *text = kube_annotation(object, ANNOTATION_SESSION);
    const size_t length = text != NULL ? strcspn(text, " ") : 0;
    if (length == 0)
        return;
    state->session = arena_strndup(arena, text, length);
    state->stamp = text[length] == ' ' ? arena_strdup(arena, text + length + 1) : NULL;
    state->stamped = state->stamp != NULL && str_eq(state->stamp, state->record.renew_time);
}

LeaderState kube_leader_state(Arena *arena, KubernetesObjects mode, const Tree *object)
{
    LeaderState state = {.exists = object != NULL};
    if (object == NULL)
        return state;
    state.record = record_of(arena, mode, object);
    state.transitions = number_below(state.record.transitions, TRANSITIONS_MAX);
    state.ttl_s = number_below(state.record.ttl, TTL_MAX_S);
    state.term = term_of(arena, object);
    read_session(arena, object, &state);
    state.ours = state.stamped && state.term.present && !state.term.released &&
                 str_eq(state.term.holder, state.record.leader) &&
                 state.term.term == kube_term_of(&state);
    return state;
}

bool kube_record_equal(const LeaderRecord *a, const LeaderRecord *b)
{
    return str_eq(a->leader, b->leader) && str_eq(a->acquire_time, b->acquire_time) &&
           str_eq(a->renew_time, b->renew_time) && str_eq(a->ttl, b->ttl) &&
           str_eq(a->transitions, b->transitions);
}
