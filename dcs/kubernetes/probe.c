// Questions to the API server for `howdahctl doctor`: objects as they are, and rights.
#include "dcs/probe.h"

#include "common/base/base64.h"
#include "common/base/timestamp.h"
#include "dcs/kubernetes/client.h"
#include "dcs/kubernetes/kubernetes.h"
#include "dcs/kubernetes/object.h"

#include <stdlib.h>
#include <string.h>

#define US_PER_S INT64_C(1000000)

struct KubeProbe {
    const KubernetesSettings *settings;
    KubeAccess *access;
    KubeShared shared;
    KubeClient client;
    const char *namespace;
};

bool kube_probe_open(const KubernetesSettings *settings, Clock *clock, Resolver *resolver,
                     KubeProbe **out, Error *err)
{
    const KubeAccessOptions how = {.cacert = settings->cacert, .context = settings->context};
    KubeAccess *access = NULL;
    if (!kube_access_open(&how, clock, &access, err))
        return false;
    KubeProbe *probe = calloc(1, sizeof *probe);
    ASSERT(probe != NULL); // out of memory
    probe->settings = settings;
    probe->access = access;
    probe->namespace = str_or(settings->namespace, kube_access_namespace(access));
    // At the one address: a bypass would hide what is wrong with it.
    kube_shared_init(&probe->shared, clock, resolver, access, NULL);
    kube_client_init(&probe->client, &probe->shared);
    *out = probe;
    return true;
}

void kube_probe_close(KubeProbe *probe)
{
    if (probe == NULL)
        return;
    kube_client_done(&probe->client);
    kube_shared_done(&probe->shared);
    kube_access_free(probe->access);
    free(probe);
}

void kube_probe_release(KubeProbe **probe)
{
    kube_probe_close(*probe);
    *probe = NULL;
}

bool kube_probe_in_pod(const KubeProbe *probe)
{
    return kube_access_in_cluster(probe->access);
}

const char *kube_probe_server(const KubeProbe *probe)
{
    return kube_access_server(probe->access);
}

const char *kube_probe_namespace(const KubeProbe *probe)
{
    return probe->namespace;
}

// --- the token

// RFC 7515: base64url without padding.
static const Tree *claims_of(Arena *arena, const char *token)
{
    const char *begin = strchr(token, '.');
    const char *end = begin == NULL ? NULL : strchr(begin + 1, '.');
    if (end == NULL)
        return NULL;
    const size_t length = (size_t)(end - begin - 1);
    char *text = arena_alloc(arena, length + 4);
    memcpy(text, begin + 1, length);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '-' ? '+' : *c == '_' ? '/' : *c;
    for (size_t i = length; i % 4 != 0; i++)
        text[i] = '=';
    char *json = NULL;
    size_t json_length = 0;
    const Tree *claims = NULL;
    Error ignored = {0};
    return base64_parse(arena, text, &json, &json_length) && strlen(json) == json_length &&
                   tree_parse_json(arena, json, &claims, &ignored)
               ? claims
               : NULL;
}

KubeToken kube_token_of(Arena *arena, const char *authorization)
{
    static const char bearer[] = "Bearer ";
    if (!str_starts(authorization, bearer))
        return (KubeToken){0};
    const Tree *claims = claims_of(arena, authorization + sizeof bearer - 1);
    return (KubeToken){.present = true,
                       .issued_s = tree_get_int(claims, "iat", 0),
                       .expires_s = tree_get_int(claims, "exp", 0)};
}

KubeToken kube_probe_token(KubeProbe *probe)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    return kube_token_of(arena, kube_access_authorization(probe->access, arena));
}

// --- objects

static const char *path_of(const KubeProbe *probe, Arena *arena, const char *kind, const char *name)
{
    if (str_eq(kind, "version"))
        return "/version";
    return arena_printf(arena, "%s/namespaces/%s/%s%s%s",
                        str_eq(kind, "statefulsets") ? "/apis/apps/v1" : "/api/v1",
                        probe->namespace, kind, name != NULL ? "/" : "", str_or(name, ""));
}

static bool get(KubeProbe *probe, Arena *arena, const char *path, const char *query,
                Deadline deadline, const Tree **out, int *out_status, Error *err)
{
    const KubeRequest request = {.method = KUBE_GET, .path = path, .query = query};
    KubeReply reply = {0};
    const bool ok = kube_call(&probe->client, arena, &request, deadline, &reply, err);
    *out = ok ? reply.body : NULL;
    *out_status = reply.status;
    return ok;
}

bool kube_probe_get(KubeProbe *probe, Arena *arena, const char *kind, const char *name,
                    const char *query, Deadline deadline, const Tree **out, int *out_status,
                    Error *err)
{
    return get(probe, arena, path_of(probe, arena, kind, name), query, deadline, out, out_status,
               err);
}

const char *kube_probe_query(Arena *arena, const KubernetesSettings *settings, const char *scope)
{
    return kube_label_query(arena, &settings->labels, settings->scope_label, scope);
}

// --- rights

static void set_text(Arena *arena, Tree *map, const char *key, const char *text)
{
    tree_set(arena, map, key, tree_string(arena, text));
}

static Tree *attributes_of(Arena *arena, const char *namespace, const KubeRight *right)
{
    Tree *map = tree_map(arena);
    const char *slash = strchr(right->resource, '/');
    set_text(arena, map, "namespace", namespace);
    set_text(arena, map, "group", right->group);
    set_text(arena, map, "verb", right->verb);
    set_text(arena, map, "resource",
             slash == NULL
                 ? right->resource
                 : arena_strndup(arena, right->resource, (size_t)(slash - right->resource)));
    if (slash != NULL)
        set_text(arena, map, "subresource", slash + 1);
    if (right->name != NULL)
        set_text(arena, map, "name", right->name);
    return map;
}

static const char *review_body(Arena *arena, const char *namespace, const char *account,
                               const KubeRight *right)
{
    Tree *body = tree_map(arena), *spec = tree_map(arena);
    set_text(arena, body, "apiVersion", "authorization.k8s.io/v1");
    set_text(arena, body, "kind",
             account == NULL ? "SelfSubjectAccessReview" : "SubjectAccessReview");
    tree_set(arena, spec, "resourceAttributes", attributes_of(arena, namespace, right));
    if (account != NULL) {
        Tree *groups = tree_list(arena);
        set_text(arena, spec, "user",
                 arena_printf(arena, "system:serviceaccount:%s:%s", namespace, account));
        tree_append(arena, groups, tree_string(arena, "system:authenticated"));
        tree_append(arena, groups, tree_string(arena, "system:serviceaccounts"));
        tree_append(
            arena, groups,
            tree_string(arena, arena_printf(arena, "system:serviceaccounts:%s", namespace)));
        tree_set(arena, spec, "groups", groups);
    }
    tree_set(arena, body, "spec", spec);
    return tree_to_json(arena, body, JSON_COMPACT);
}

bool kube_probe_right(KubeProbe *probe, Arena *arena, const char *account, const KubeRight *right,
                      Deadline deadline, bool *out_allowed, int *out_status, Error *err)
{
    const KubeRequest request = {
        .method = KUBE_POST,
        .path = account == NULL ? "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
                                : "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        .body = review_body(arena, probe->namespace, account, right)};
    KubeReply reply = {0};
    const bool ok = kube_call(&probe->client, arena, &request, deadline, &reply, err);
    *out_allowed = ok && tree_get_bool(tree_get(reply.body, "status"), "allowed", false);
    *out_status = reply.status;
    return ok;
}

// --- other modes

static const struct {
    KubernetesObjects mode;
    const char *name;
} modes[] = {{KUBERNETES_ENDPOINTS, "endpoints"},
             {KUBERNETES_CONFIGMAPS, "configmaps"},
             {KUBERNETES_LEASES, "leases"}};

// ConfigMap P-config is shared by two modes: docs/store.md, "On Kubernetes".
static bool holds_initialize(KubernetesObjects mode, const Tree *config)
{
    const bool of_leases = str_eq(kube_annotation(config, ANNOTATION_STORE), STORE_LEASES);
    return initialize_is_valid(kube_annotation(config, "initialize")) &&
           (mode == KUBERNETES_ENDPOINTS || of_leases == (mode == KUBERNETES_LEASES));
}

// False: it could not be read.
static bool read_role(KubeProbe *probe, Arena *arena, const KubeLayout *layout, KubeRole role,
                      Deadline deadline, const char **out_name, const Tree **out,
                      const char **out_unread)
{
    const KubeKind kind = kube_place(layout->mode, role).kind;
    const char *name = kube_object_name(arena, layout, role);
    int status = 0;
    Error err = {0};
    *out_name = arena_printf(arena, "%s %s", kube_kind_name(kind), name);
    if (get(probe, arena, kube_path(arena, layout, kind, name), NULL, deadline, out, &status, &err))
        return true;
    *out_unread = arena_strdup(arena, err.text);
    return false;
}

KubeOtherMode kube_probe_other(KubeProbe *probe, Arena *arena, const char *scope, size_t index,
                               Deadline deadline)
{
    size_t at = 0;
    for (size_t seen = 0; at < COUNT_OF(modes); at++)
        if (modes[at].mode != probe->settings->objects && seen++ == index)
            break;
    ASSERT(at < COUNT_OF(modes));
    const KubernetesObjects mode = modes[at].mode;
    const KubeLayout layout = {.mode = mode,
                               .namespace = probe->namespace,
                               .scope = scope,
                               .labels = &probe->settings->labels,
                               .scope_label = probe->settings->scope_label};
    KubeOtherMode other = {.mode = modes[at].name, .age_s = -1};
    const Tree *leader = NULL, *config = NULL;
    if (!read_role(probe, arena, &layout, OBJECT_LEADER, deadline, &other.leader_object, &leader,
                   &other.unread) ||
        !read_role(probe, arena, &layout, OBJECT_CONFIG, deadline, &other.config_object, &config,
                   &other.unread))
        return other;
    const LeaderRecord record = kube_leader_state(arena, mode, leader).record;
    if (!str_eq(record.leader, KUBERNETES_MOVED))
        other.leader = record.leader;
    Timestamp renewed;
    if (timestamp_parse(str_or(record.renew_time, ""), NULL, &renewed))
        other.age_s = (clock_wall_us(probe->shared.clock) - timestamp_us(&renewed)) / US_PER_S;
    other.initialized = holds_initialize(mode, config);
    return other;
}
