// Which logical key lives in which object, under which annotation: docs/store.md, "On Kubernetes".
// Tables only; everything else in this room is written against them. Pure.
#pragma once
#include "common/model/settings.h"
#include "dcs/dcs.h"

typedef enum {
    KIND_PODS,
    KIND_ENDPOINTS,
    KIND_CONFIGMAPS,
    KIND_LEASES,
    KIND_SERVICES,
    KIND_EVENTS,
    KIND_COUNT
} KubeKind;

// What an object is for. In leases mode the leader's carries failover and sync too.
typedef enum { OBJECT_LEADER, OBJECT_CONFIG, OBJECT_FAILOVER, OBJECT_SYNC, OBJECT_COUNT } KubeRole;

#define DCS_KEY_COUNT (KEY_TERM + 1)

// How a key's value stands in its object's annotations.
typedef enum {
    FORM_TEXT,   // one annotation, the value as it is
    FORM_FIELDS, // the fields of a JSON object, an annotation each
} KeyForm;

typedef enum { FIELD_TEXT, FIELD_NUMBER, FIELD_JSON, FIELD_JSON_SPACED } FieldKind;

typedef struct {
    const char *name; // of the field and of the annotation
    FieldKind kind;
} KeyField;

typedef struct {
    KubeRole role;
    KeyForm form;
    const char *annotation; // FORM_TEXT
    const KeyField *fields; // FORM_FIELDS
    size_t field_count;
} KeyPlace;

// Annotations of our own: what Patroni does not know survives its patches.
#define ANNOTATION_TERM    "howdah.io/term"
#define ANNOTATION_SESSION "howdah.io/session" // "<session> <renewTime of the same patch>"
#define ANNOTATION_CLAIM   "howdah.io/claim"   // session that bootstraps under an empty initialize
#define ANNOTATION_STORE   "howdah.io/store"   // "leases": whose initialize the ConfigMap holds
#define STORE_LEASES       "leases"

typedef struct {
    KubernetesObjects mode;
    const char *namespace, *scope;
    const KubernetesLabels *labels;
    const char *scope_label;
} KubeLayout;

// One object, or "" where the mode has none of its own for that role.
typedef struct {
    KubeKind kind;
    const char *suffix; // after the scope; NULL: no such object
} KubePlace;

KubePlace kube_place(KubernetesObjects mode, KubeRole role);
const KeyPlace *kube_key_place(KubernetesObjects mode, DcsKey key);
// The role an object of that kind and name has, OBJECT_COUNT: none of ours.
KubeRole kube_role_of(const KubeLayout *layout, KubeKind kind, const char *name);

const char *kube_kind_name(KubeKind kind);          // "Endpoints"
const char *kube_mode_line(KubernetesObjects mode); // of the settings: "kubernetes.store: leases"
const char *kube_object_name(Arena *arena, const KubeLayout *layout, KubeRole role);
// "/api/v1/namespaces/ns/endpoints/demo"; name NULL: the collection.
char *kube_path(Arena *arena, const KubeLayout *layout, KubeKind kind, const char *name);
// The labels that every object of ours bears, the scope's own last.
Tree *kube_labels(Arena *arena, const KubeLayout *layout);
