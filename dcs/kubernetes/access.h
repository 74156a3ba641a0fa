// How to reach the API server, and who we are: the service account of the pod, or a kubeconfig
// file (docs/kubernetes-api.md, "Access"). Tokens and certificates are rotated under a running
// process, so they are files that are looked at again, not values that are kept. One KubeAccess is
// shared by all threads of a store.
#pragma once
#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/os/clock.h"
#include "common/os/http.h"

typedef struct KubeAccess KubeAccess;

typedef struct {
    const char *cacert;  // instead of the service account's ca.crt; NULL: that
    const char *context; // NULL: "kind-kind" if the file has one, else its current-context
    // For tests; NULL: as in a pod.
    const char *service_account_dir; // /var/run/secrets/kubernetes.io/serviceaccount
    const char *kubeconfig;          // $KUBECONFIG, else ~/.kube/config
    bool never_in_cluster;           // go straight to the kubeconfig
} KubeAccessOptions;

// In a pod if KUBERNETES_SERVICE_HOST and _PORT are set and the service account has a token and a
// ca.crt, otherwise by the kubeconfig. ERR_INVALID says which of the two failed and why.
bool kube_access_open(const KubeAccessOptions *options, Clock *clock, KubeAccess **out, Error *err)
    MUST_CHECK;
void kube_access_free(KubeAccess *access);
void kube_access_release(KubeAccess **access); // for AUTO

bool kube_access_in_cluster(const KubeAccess *access);
const char *kube_access_server(const KubeAccess *access); // "https://10.96.0.1:443"
// Where to look when the settings name no namespace: the pod's own, elsewhere "default".
const char *kube_access_namespace(const KubeAccess *access);

// The value of the Authorization header, or NULL if certificates are all there is. A token file is
// read again when what we have is older than 60 s; if it cannot be, the old one is used on.
const char *kube_access_authorization(KubeAccess *access, Arena *arena);
// The server has answered 401 to this header: the file is read again at once.
void kube_access_unauthorized(KubeAccess *access);

// The TLS half of HttpOptions, if it is another one than *generation (0: none yet), which is then
// moved on. A ca.crt that has been replaced counts from the next connection.
bool kube_access_tls(KubeAccess *access, uint64_t *generation, Arena *arena, HttpOptions *out);
