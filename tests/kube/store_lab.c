#include "tests/kube/store_lab.h"

#include "common/os/files.h"

#include <unistd.h>

KubernetesObjects lab_mode;
const char *lab_scope;
LossyProxy *lab_proxy;
const KubernetesObjects lab_modes[3] = {KUBERNETES_ENDPOINTS, KUBERNETES_CONFIGMAPS,
                                        KUBERNETES_LEASES};

const VacancyKind lab_never = VACANCY_NEVER, lab_released = VACANCY_RELEASED,
                  lab_expired = VACANCY_EXPIRED, lab_tampered = VACANCY_TAMPERED;

static char directory[64], lossy_config[96], namespace[64];
static KubeAccess *direct, *lossy;
static KubeShared shared;
static KubeClient hand;
static int scopes;

static KubernetesLabel label_items[] = {{"application", "patroni"}};
static KubernetesPort port_items[] = {{.name = "postgresql", .port = 5432, .protocol = "TCP"}};

// --- by hand

static KubeLayout layout_here(void)
{
    static const KubernetesLabels labels = {label_items, 1};
    return (KubeLayout){.mode = lab_mode,
                        .namespace = namespace,
                        .scope = lab_scope,
                        .labels = &labels,
                        .scope_label = "cluster-name"};
}

static KubeReply call(const KubeRequest *request, bool must)
{
    Error err = {0};
    KubeReply reply = {0};
    const bool ok = kube_call(&hand, lab_arena, request, lab_in(20000), &reply, &err);
    if (must)
        lab_check(ok, &err, request->path);
    return reply;
}

static const char *path_of(KubeKind kind, const char *name)
{
    const KubeLayout layout = layout_here();
    return kube_path(lab_arena, &layout, kind, name);
}

const Tree *lab_get(KubeKind kind, const char *name)
{
    const KubeRequest request = {.method = KUBE_GET, .path = path_of(kind, name)};
    return call(&request, true).body;
}

void lab_patch(KubeKind kind, const char *name, const char *body)
{
    const KubeRequest request = {.method = KUBE_PATCH, .path = path_of(kind, name), .body = body};
    (void)call(&request, true);
}

int lab_try_patch(KubeKind kind, const char *name, const char *body)
{
    const KubeRequest request = {.method = KUBE_PATCH, .path = path_of(kind, name), .body = body};
    return call(&request, false).status;
}

bool lab_annotate(KubeKind kind, const char *name, const char *key, const char *value)
{
    Tree *annotations = tree_map(lab_arena);
    tree_set(lab_arena, annotations, key, tree_string(lab_arena, value));
    const KubeRequest request = {
        .method = KUBE_PATCH,
        .path = path_of(kind, name),
        .body = arena_printf(lab_arena, "{\"metadata\":{\"annotations\":%s}}",
                             tree_to_json(lab_arena, annotations, JSON_COMPACT))};
    return call(&request, false).status == 200;
}

void lab_create(KubeKind kind, const char *body)
{
    const KubeRequest request = {.method = KUBE_POST, .path = path_of(kind, NULL), .body = body};
    (void)call(&request, true);
}

void lab_delete(KubeKind kind, const char *name)
{
    const KubeRequest request = {.method = KUBE_DELETE,
                                 .path = path_of(kind, name),
                                 .query = kind == KIND_PODS ? "gracePeriodSeconds=0" : NULL};
    (void)call(&request, true);
}

// Nothing runs it; it must only be let in, also where pods are restricted.
#define POD_SPEC                                                                                   \
    "{\"automountServiceAccountToken\":false,\"securityContext\":{\"runAsNonRoot\":true,"          \
    "\"runAsUser\":999,\"seccompProfile\":{\"type\":\"RuntimeDefault\"}},\"containers\":[{"        \
    "\"name\":\"x\",\"image\":\"x\",\"securityContext\":{\"allowPrivilegeEscalation\":false,"      \
    "\"readOnlyRootFilesystem\":true,\"capabilities\":{\"drop\":[\"ALL\"]}}}]}"

static const char *pod_body(const char *name)
{
    return arena_printf(lab_arena,
                        "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"application\":\"patroni\","
                        "\"cluster-name\":\"%s\"}},\"spec\":" POD_SPEC "}",
                        name, lab_scope);
}

void lab_pod(const char *name)
{
    lab_create(KIND_PODS, pod_body(name));
}

KubeKind lab_leader_kind(void)
{
    return kube_place(lab_mode, OBJECT_LEADER).kind;
}

const char *lab_leader_name(void)
{
    const KubeLayout layout = layout_here();
    return kube_object_name(lab_arena, &layout, OBJECT_LEADER);
}

void lab_write_leader(const char *name)
{
    const char *value = name != NULL ? arena_printf(lab_arena, "\"%s\"", name) : "null";
    lab_patch(
        lab_leader_kind(), lab_leader_name(),
        lab_mode == KUBERNETES_LEASES
            ? arena_printf(lab_arena, "{\"spec\":{\"holderIdentity\":%s}}", value)
            : arena_printf(lab_arena, "{\"metadata\":{\"annotations\":{\"leader\":%s}}}", value));
}

// --- the group

static KubeAccess *open_access(const char *kubeconfig)
{
    const KubeAccessOptions options = {.kubeconfig = kubeconfig, .never_in_cluster = true};
    KubeAccess *access = NULL;
    Error err = {0};
    CHECK(kube_access_open(&options, clock_system(), &access, &err));
    return access;
}

// The same file, with the proxy's port for the server's.
static void write_lossy_config(const char *kubeconfig)
{
    char *text = NULL;
    Error err = {0};
    CHECK(file_read(lab_arena, kubeconfig, 1 << 20, &text, &err));
    const char *server = strstr(text, "127.0.0.1:");
    assert_non_null(server);
    const char *rest = server + strlen("127.0.0.1:");
    const int port = atoi(rest);
    lab_proxy = lossy_proxy_start(port);
    const char *url = lossy_proxy_url(lab_proxy);
    (void)snprintf(lossy_config, sizeof lossy_config, "%s/lossy.conf", directory);
    CHECK(file_write(lossy_config,
                     arena_printf(lab_arena, "%.*s%s%s", (int)(server - text), text,
                                  url + strlen("http://"), rest + strspn(rest, "0123456789")),
                     0600, &err));
}

// A new namespace refuses pods until its service account and that one's token are made.
static void wait_until_pods_may_be(void)
{
    const Instant began = lab_now();
    const KubeRequest request = {
        .method = KUBE_POST, .path = path_of(KIND_PODS, NULL), .body = pod_body("probe")};
    while (call(&request, false).status != 201) {
        if (lab_ms_since(began) > 30000)
            fail_msg("the namespace takes no pods");
        lab_sleep_ms(50);
    }
    lab_delete(KIND_PODS, "probe");
}

int lab_start(void **state)
{
    (void)state;
    const char *kubeconfig = getenv("HOWDAH_KUBE_CONFIG");
    lab_arena = arena_new(ARENA_CAP_DEFAULT);
    if (str_empty(kubeconfig))
        fail_msg("HOWDAH_KUBE_CONFIG must name a kubeconfig; tests/kube/test_store.py does");
    (void)snprintf(directory, sizeof directory, "/tmp/howdah-kube-store-XXXXXX");
    assert_non_null(mkdtemp(directory));
    write_lossy_config(kubeconfig);
    direct = open_access(kubeconfig);
    lossy = open_access(lossy_config);
    kube_shared_init(&shared, clock_system(), NULL, direct, NULL);
    kube_client_init(&hand, &shared);
    (void)snprintf(namespace, sizeof namespace, "store-%d", (int)getpid());
    const KubeRequest request = {
        .method = KUBE_POST,
        .path = "/api/v1/namespaces",
        .body = arena_printf(lab_arena, "{\"metadata\":{\"name\":\"%s\"}}", namespace)};
    lab_scope = "none";
    (void)call(&request, true);
    wait_until_pods_may_be();
    return 0;
}

int lab_stop(void **state)
{
    (void)state;
    const KubeRequest request = {
        .method = KUBE_DELETE, .path = arena_printf(lab_arena, "/api/v1/namespaces/%s", namespace)};
    (void)call(&request, true);
    kube_client_done(&hand);
    kube_shared_done(&shared);
    kube_access_free(direct);
    kube_access_free(lossy);
    lossy_proxy_stop(lab_proxy);
    (void)unlink(lossy_config); // a temporary directory
    (void)rmdir(directory);
    arena_release(&lab_arena);
    return 0;
}

void lab_begin(KubernetesObjects mode)
{
    static char scope[32];
    arena_reset(lab_arena);
    lossy_proxy_lose(lab_proxy, "", 0, LOSE_REPLY);
    (void)snprintf(scope, sizeof scope, "demo%d", ++scopes);
    lab_scope = scope;
    lab_mode = mode;
    static char where[32];
    (void)snprintf(where, sizeof where, "mode %d: ", (int)mode);
    lab_where = where;
    // Endpoints without a Service are fair game: once one was deleted, the control plane deletes
    // the next one of that name too.
    if (mode == KUBERNETES_ENDPOINTS)
        lab_create(KIND_SERVICES, arena_printf(lab_arena,
                                               "{\"metadata\":{\"name\":\"%s\"},\"spec\":{"
                                               "\"ports\":[{\"port\":5432}]}}",
                                               scope));
}

// --- stores

const char *lab_address_of(const char *member)
{
    return arena_printf(lab_arena, "10.9.9.%d", (unsigned char)member[0]);
}

Dcs *lab_store(const LabOptions *options)
{
    static Resolver *resolver;
    if (resolver == NULL)
        resolver = resolver_new();
    const KubernetesSettings settings = {.objects = lab_mode,
                                         .namespace = namespace,
                                         .labels = {label_items, 1},
                                         .scope_label = "cluster-name",
                                         .role_label = "role",
                                         .leader_label_value = "primary",
                                         .follower_label_value = "replica",
                                         .standby_leader_label_value = "primary",
                                         .pod_ip = lab_address_of(str_or(options->member, "")),
                                         .ports = port_items,
                                         .port_count = 1};
    return kubernetes_new(
        &(KubernetesOptions){.settings = &settings,
                             .scope = lab_scope,
                             .member = options->member,
                             .watch = options->watch,
                             .access = options->lossy ? lossy : direct,
                             .ttl_ms = options->ttl_ms != 0 ? options->ttl_ms : TTL_MS,
                             .loop_wait_ms = 10000,
                             .retry_timeout_ms = 10000,
                             .clock = clock_system(),
                             .resolver = resolver});
}

Dcs *lab_member(const char *member)
{
    lab_pod(member);
    Dcs *dcs = lab_store(&(LabOptions){.member = member, .watch = true});
    (void)lab_open(dcs, TTL_MS);
    return dcs;
}

bool lab_is_vacant(const ClusterView *view, const void *kind)
{
    return view->leader.session == NULL && view->vacancy.kind == *(const VacancyKind *)kind;
}

// --- one call, that must or must not succeed

LeaseProof lab_renew(Dcs *dcs, int64_t term, const char *status)
{
    LeaseProof proof = {0};
    Error err = {0};
    CHECK(dcs->ops->renew(dcs, term, status, lab_in(3000), &proof, &err));
    return proof;
}

void lab_refuse_renewal(Dcs *dcs, int64_t term)
{
    LeaseProof proof;
    Error err = {0};
    assert_false(dcs->ops->renew(dcs, term, NULL, lab_in(3000), &proof, &err));
    if (err.kind != ERR_CONFLICT)
        fail_msg("mode %d: %s: %s", (int)lab_mode, error_kind_name(err.kind), err.text);
}

static void release(Dcs *dcs, int64_t term, bool to_successor)
{
    Error err = {0};
    const ReleaseRequest request = {.term = term,
                                    .instance = "i",
                                    .timeline = 2,
                                    .lsn = 77,
                                    .status = "{\"optime\":77}",
                                    .to_successor = to_successor};
    CHECK(dcs->ops->release(dcs, &request, lab_in(3000), &err));
}

void lab_release(Dcs *dcs, int64_t term)
{
    release(dcs, term, false);
}

void lab_hand_over(Dcs *dcs, int64_t term)
{
    release(dcs, term, true);
}

int64_t lab_put(Dcs *dcs, DcsKey key, const char *value, int64_t expected)
{
    int64_t revision = 0;
    Error err = {0};
    CHECK(dcs->ops->write(dcs, key, value, expected, lab_in(3000), &revision, &err));
    return revision;
}

void lab_refuse_write(Dcs *dcs, DcsKey key, const char *value, int64_t expected)
{
    Error err = {0};
    assert_false(dcs->ops->write(dcs, key, value, expected, lab_in(3000), NULL, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
}

void lab_forget_pods(void)
{
    static const char *const pods[] = {"a", "b", "c"};
    for (size_t i = 0; i < COUNT_OF(pods); i++) {
        if (lab_get(KIND_PODS, pods[i]) != NULL)
            lab_delete(KIND_PODS, pods[i]);
    }
}
