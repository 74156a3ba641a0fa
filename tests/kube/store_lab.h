// What the tests of the Kubernetes store share: stores on a real API server, somebody's hand in it,
// and conditions to wait for. Needs HOWDAH_KUBE_CONFIG, a kubeconfig file of an administrator.
#pragma once
#include "dcs/kubernetes/store.h"
#include "tests/support/dcs_lab.h"
#include "tests/support/lossy_proxy.h"

#define TTL_MS 30000

extern KubernetesObjects lab_mode; // of the stores to come
extern const char *lab_scope;      // one of its own for each
extern LossyProxy *lab_proxy;      // before the API server

int lab_start(void **state); // group: namespace, pods' service account, proxy
int lab_stop(void **state);
void lab_begin(KubernetesObjects mode); // a new scope
extern const KubernetesObjects lab_modes[3];

typedef struct {
    const char *member;
    bool watch, lossy; // lossy: through the proxy
    int64_t ttl_ms;    // 0: TTL_MS
} LabOptions;

Dcs *lab_store(const LabOptions *options);
Dcs *lab_member(const char *member); // with watches, a session and a pod
bool lab_is_vacant(const ClusterView *view, const void *kind);

// --- by hand
const Tree *lab_get(KubeKind kind, const char *name);                 // NULL: not there
void lab_patch(KubeKind kind, const char *name, const char *body);    // strategic merge
int lab_try_patch(KubeKind kind, const char *name, const char *body); // status
bool lab_annotate(KubeKind kind, const char *name, const char *key, const char *value);
void lab_create(KubeKind kind, const char *body);
void lab_delete(KubeKind kind, const char *name);
void lab_pod(const char *name);
KubeKind lab_leader_kind(void);
const char *lab_leader_name(void);
// The leader's name, alone: NULL removes it.
void lab_write_leader(const char *name);

// --- one call, that must or must not succeed
extern const VacancyKind lab_never, lab_released, lab_expired, lab_tampered; // for lab_is_vacant
LeaseProof lab_renew(Dcs *dcs, int64_t term, const char *status);
void lab_refuse_renewal(Dcs *dcs, int64_t term);
const char *lab_address_of(const char *member); // of its pod
void lab_release(Dcs *dcs, int64_t term);
void lab_hand_over(Dcs *dcs, int64_t term); // released, with somebody there who is about to acquire
int64_t lab_put(Dcs *dcs, DcsKey key, const char *value, int64_t expected);
void lab_refuse_write(Dcs *dcs, DcsKey key, const char *value, int64_t expected);
void lab_forget_pods(void); // every scope begins with the same names

#define IN_ALL_MODES(name)                                                                         \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        for (size_t i = 0; i < COUNT_OF(lab_modes); i++) {                                         \
            lab_begin(lab_modes[i]);                                                               \
            lab_forget_pods();                                                                     \
            name();                                                                                \
        }                                                                                          \
    }
