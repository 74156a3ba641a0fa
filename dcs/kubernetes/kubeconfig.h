// A kubeconfig file, as far as it says where the API server is and how we prove who we are.
// Kubernetes docs, "Organizing Cluster Access Using kubeconfig Files"; one file,
// no merging, no plugins.
#pragma once
#include "common/base/arena.h"
#include "common/base/error.h"

typedef struct {
    const char *server; // "https://host:port", perhaps with a path, no slash at the end
    // Each pair: a file (absolute) or PEM text, or neither.
    const char *ca_file, *ca_pem;
    const char *cert_file, *cert_pem;
    const char *key_file, *key_pem;
    bool skip_verify;
    const char *token, *token_file; // the file is what counts
    const char *username, *password;
} KubeConfig;

// $KUBECONFIG, else ~/.kube/config; NULL: there is no home either.
const char *kubeconfig_path(Arena *arena);
// context NULL: "kind-kind" if there is one (Patroni's), else the file's current-context.
// ERR_INVALID names file, context and what is wrong.
bool kubeconfig_read(Arena *arena, const char *path, const char *context, KubeConfig *out,
                     Error *err) MUST_CHECK;
