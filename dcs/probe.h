// What `howdahctl doctor` asks the store's servers, and no agent does. Nothing is written: an
// access review is answered and not kept.
//
// Errors are those of the rooms below: ERR_UNAVAILABLE nobody answered, ERR_INVALID refused.
#pragma once
#include "common/model/settings.h"
#include "common/os/clock.h"
#include "common/os/resolver.h"

// --- Kubernetes

typedef struct KubeProbe KubeProbe;

// Connects to nobody yet. The settings must outlive it. ERR_INVALID: how to reach the API server
// cannot be found out.
bool kube_probe_open(const KubernetesSettings *settings, Clock *clock, Resolver *resolver,
                     KubeProbe **out, Error *err) MUST_CHECK;
void kube_probe_close(KubeProbe *probe);        // accepts NULL
void kube_probe_release(KubeProbe **probe);     // for AUTO
bool kube_probe_in_pod(const KubeProbe *probe); // by the service account of the pod that we run in
const char *kube_probe_server(const KubeProbe *probe);
const char *kube_probe_namespace(const KubeProbe *probe); // where the cluster's objects are

typedef struct {
    bool present;      // a token is what proves who we are
    int64_t issued_s;  // seconds since 1970, by the token's own word; 0: it does not say
    int64_t expires_s; // 0: never, or it does not say
} KubeToken;

KubeToken kube_probe_token(KubeProbe *probe);
// The same of the value of an Authorization header. Pure.
KubeToken kube_token_of(Arena *arena, const char *authorization);

// kind is "pods", "services", "statefulsets" or "version", which has neither namespace nor name;
// name NULL: all of them. What is not there: true, and *out NULL. *out_status as KubeReply.status.
bool kube_probe_get(KubeProbe *probe, Arena *arena, const char *kind, const char *name,
                    const char *query, Deadline deadline, const Tree **out, int *out_status,
                    Error *err) MUST_CHECK;
// "labelSelector=…" of the cluster's objects.
const char *kube_probe_query(Arena *arena, const KubernetesSettings *settings, const char *scope);

typedef struct {
    const char *group, *resource; // "" is the core group; "endpoints/restricted"
    const char *name;             // NULL: the collection
    const char *verb;
} KubeRight;

// May it? account NULL: may we ourselves (SelfSubjectAccessReview)? Else a service account of the
// namespace (SubjectAccessReview, which takes a right of its own).
bool kube_probe_right(KubeProbe *probe, Arena *arena, const char *account, const KubeRight *right,
                      Deadline deadline, bool *out_allowed, int *out_status, Error *err) MUST_CHECK;

// What another mode of the store holds of this scope.
typedef struct {
    const char *mode;          // "endpoints"
    const char *leader_object; // "Endpoints demo"
    const char *config_object; // "Endpoints demo-config"
    const char *leader;        // the name in its leader record; NULL: none
    int64_t age_s;             // since it was renewed, by this machine's clock; -1: it does not say
    bool initialized;          // it holds a valid initialize
    const char *unread;        // why it could not be looked at; NULL: it could
} KubeOtherMode;

// One of KUBE_OTHER_MODES, the settings' own left out.
#define KUBE_OTHER_MODES 2
KubeOtherMode kube_probe_other(KubeProbe *probe, Arena *arena, const char *scope, size_t index,
                               Deadline deadline);

// --- etcd

typedef struct {
    const char *url;
    const char *error;  // of the first question that failed; NULL: none
    bool authenticated; // user and password were taken, or none are configured
    bool readable;      // the cluster's prefix could be read
    const Tree *status; // reply of maintenance/status; NULL: none
} EtcdEndpointFacts;

// Asks one endpoint, whatever the others do. base_path: "/service/demo".
EtcdEndpointFacts etcd_ask_endpoint(const EtcdSettings *settings, const char *url,
                                    const char *base_path, Arena *arena, Clock *clock,
                                    Resolver *resolver, Deadline deadline);
