// Calls to a real API server, as its administrator, for the programs of this directory. Each test
// has a namespace of its own, which ends with it.
//
// Needs HOWDAH_KUBE_CONFIG, the administrator's kubeconfig file; HOWDAH_KUBE_API_PID is the API
// server's process, to be frozen for a moment; HOWDAH_KUBE_ETCD is the URL of its etcd.
// tests/kube/test_client.py starts one and runs them.
#pragma once
#include "dcs/kubernetes/client.h"
#include "tests/support/test.h"

extern Arena *arena;
extern const char *kubeconfig;
extern KubeAccess *access_;
extern KubeShared shared;
extern KubeClient client;
extern KubeReply reply; // of the last call
extern Error err;
extern const char *namespace; // of this test
extern char directory[64];

bool call_as(KubeClient *who, const KubeRequest *request, int64_t ms);
bool call(const KubeRequest *request);
void must(bool done);
void expect(bool done, ErrorKind kind, const char *says);
const char *path_of(const char *resource, const char *name);
bool create(const char *resource, const char *name, const char *more);
bool get(const char *resource, const char *name);
bool patch_as(KubeClient *who, const char *resource, const char *name, const char *type,
              const char *body, bool retry_forbidden, int64_t ms);
bool annotate(const char *resource, const char *name, const char *value, const char *version);
bool delete_(const char *resource, const char *name, const char *query);
int set_up(void **state);
int tear_down(void **state);
// True if the variable is there; otherwise it has said what it should be.
bool have_kubeconfig(void);
