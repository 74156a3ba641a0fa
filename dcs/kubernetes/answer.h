// What an answer of the API server means: docs/kubernetes-api.md, "Tries". Pure.
#pragma once
#include "dcs/kubernetes/client.h"

typedef enum {
    KUBE_DONE,
    KUBE_ABSENT,       // of a GET or DELETE: not there
    KUBE_LOST,         // not done: the object has moved on, or is there already, or is gone
    KUBE_BUSY,         // not done, later or elsewhere it may be
    KUBE_OPEN,         // perhaps done; may be sent again
    KUBE_UNKNOWN,      // perhaps done, and nobody can say: only what is harmless is sent again
    KUBE_UNAUTHORIZED, // 401
    KUBE_FORBIDDEN,    // 403
    KUBE_REFUSED,      // not done, and never will be
} KubeVerdict;

typedef struct {
    const Tree *body; // of KUBE_DONE
    const char *text; // of everything else
    int64_t wait_ms;  // before the next try; 0: as the caller likes
} KubeAnswer;

// codes: the settings' retriable ones. What is in *out lives in the arena.
KubeVerdict kube_judge(Arena *arena, const KubeRequest *request, const HttpReply *reply,
                       const int *codes, size_t code_count, KubeAnswer *out);

typedef struct {
    const char *group;     // "" is the core group
    const char *namespace; // NULL: not in one
    const char *resource;  // "endpoints"; NULL: this is no path of the API
    const char *name;      // NULL: the collection
} KubePath;

KubePath kube_path_parse(Arena *arena, const char *path);
// "patch endpoints 'demo' in namespace 'ns' is forbidden; the role needs …"
const char *kube_forbidden_text(Arena *arena, const char *verb, const char *path);
const char *kube_method_name(KubeMethod method); // "PATCH"
