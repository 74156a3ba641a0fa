// Our client at a real API server.
#include "common/os/files.h"
#include "dcs/kubernetes/kubeconfig.h"
#include "tests/kube/kube_calls.h"

#include <stdlib.h>

// --- objects

static const char *annotation(void)
{
    return tree_string_of(tree_path(reply.body, "metadata.annotations.a"));
}

static void test_compare_and_swap(void **state)
{
    static const char *const resources[] = {"endpoints", "configmaps", "leases"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(resources); i++) {
        const char *r = resources[i];
        must(get(r, "demo"));
        assert_int_equal(reply.status, 404);
        assert_null(reply.body);
        expect(annotate(r, "demo", "1", NULL), ERR_CONFLICT, "not there any more");
        assert_int_equal(reply.status, 404);

        must(create(r, "demo", ""));
        assert_int_equal(reply.status, 201);
        const char *first = reply.resource_version;
        assert_true(first[0] != '\0');
        expect(create(r, "demo", ""), ERR_CONFLICT, "conflict");

        must(annotate(r, "demo", "1", first));
        assert_string_equal(annotation(), "1");
        assert_string_not_equal(reply.resource_version, first);
        expect(annotate(r, "demo", "2", first), ERR_CONFLICT, "conflict");
        must(annotate(r, "demo", "3", NULL)); // unconditional
        must(get(r, "demo"));
        assert_string_equal(annotation(), "3");
        must(annotate(r, "demo", NULL, reply.resource_version));
        assert_null(annotation());

        must(delete_(r, "demo", NULL));
        must(delete_(r, "demo", NULL));
        assert_int_equal(reply.status, 404);
    }
}

// Lists in a patch: both kinds replace them whole; a merge patch of a Lease's spec.
static void test_patches(void **state)
{
    (void)state;
    static const char *const types[] = {KUBE_STRATEGIC_MERGE, KUBE_MERGE};
    must(create("endpoints", "demo", ""));
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        must(patch_as(&client, "endpoints", "demo", types[i],
                      "{\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.5\"}],\"ports\":[{\"port\":"
                      "5432}]}]}",
                      false, 20000));
        must(patch_as(&client, "endpoints", "demo", types[i],
                      "{\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.6\"}],\"ports\":[{\"port\":"
                      "5432}]}]}",
                      false, 20000));
        const Tree *subsets = tree_get(reply.body, "subsets");
        assert_int_equal(subsets->count, 1);
        const Tree *addresses = tree_get(subsets->entries[0].value, "addresses");
        assert_int_equal(addresses->count, 1);
        assert_string_equal(tree_get_string(addresses->entries[0].value, "ip", ""), "10.0.0.6");
        must(patch_as(&client, "endpoints", "demo", types[i], "{\"subsets\":[]}", false, 20000));
        subsets = tree_get(reply.body, "subsets");
        assert_true(subsets == NULL || subsets->kind == TREE_NULL || subsets->count == 0);
    }
    must(create("leases", "demo", ",\"spec\":{\"holderIdentity\":\"demo-0\"}"));
    must(patch_as(&client, "leases", "demo", KUBE_MERGE,
                  "{\"spec\":{\"holderIdentity\":null,\"leaseDurationSeconds\":30}}", false,
                  20000));
    assert_null(tree_path(reply.body, "spec.holderIdentity"));
    assert_int_equal(tree_get_int(tree_get(reply.body, "spec"), "leaseDurationSeconds", 0), 30);
    expect(patch_as(&client, "leases", "demo", KUBE_MERGE,
                    "{\"spec\":{\"leaseDurationSeconds\":-1}}", false, 20000),
           ERR_INVALID, "422");
}

static void test_collections(void **state)
{
    (void)state;
    KubernetesLabel items[] = {{"app", "x"}};
    const KubernetesLabels labels = {.items = items, .count = 1};
    const char *query = kube_label_query(arena, &labels, "app", "x");
    must(create("configmaps", "a", ""));
    must(create("configmaps", "b", ""));
    const KubeRequest list = {
        .method = KUBE_GET, .path = path_of("configmaps", NULL), .query = query};
    must(call(&list));
    assert_int_equal(tree_get(reply.body, "items")->count, 2); // not what others put there
    assert_true(reply.resource_version[0] != '\0');
    must(delete_("configmaps", NULL, query));
    must(call(&list));
    assert_int_equal(tree_get(reply.body, "items")->count, 0);
}

static void test_what_is_not_served(void **state)
{
    (void)state;
    const KubeRequest group = {.method = KUBE_GET, .path = "/apis/nobody.example/v1/things/x"};
    const KubeRequest kind = {.method = KUBE_GET, .path = "/api/v1/namespaces/default/things/x"};
    const KubeRequest elsewhere = {.method = KUBE_POST,
                                   .path = "/api/v1/namespaces/no-such-namespace/configmaps",
                                   .body = "{\"metadata\":{\"name\":\"x\"}}"};
    expect(call(&group), ERR_INVALID, "does not have such a path");
    expect(call(&kind), ERR_INVALID, "does not have such a path");
    expect(call(&elsewhere), ERR_INVALID, "the namespace does not exist");
}

// --- who we are

static void put(const char *name, const char *content)
{
    must(file_write(arena_printf(arena, "%s/%s", directory, name), content, 0600, &err));
}

// A bound token of a service account, as the kubelet mounts it.
static const char *new_token(void)
{
    const KubeRequest request = {.method = KUBE_POST,
                                 .path = path_of("serviceaccounts", "agent/token"),
                                 .body = "{\"spec\":{\"expirationSeconds\":600}}"};
    must(call(&request));
    const char *token = tree_string_of(tree_path(reply.body, "status.token"));
    assert_non_null(token);
    return token;
}

static void grant(void)
{
    static const char *const kinds[] = {"roles", "rolebindings"};
    const char *bodies[] = {
        "{\"metadata\":{\"name\":\"agent\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":["
        "\"endpoints\"],\"verbs\":[\"get\",\"list\",\"patch\"]}]}",
        arena_printf(arena,
                     "{\"metadata\":{\"name\":\"agent\"},\"roleRef\":{\"apiGroup\":\"rbac."
                     "authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"agent\"},\"subjects\":[{"
                     "\"kind\":\"ServiceAccount\",\"name\":\"agent\",\"namespace\":\"%s\"}]}",
                     namespace)};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        const KubeRequest request = {
            .method = KUBE_POST,
            .path = arena_printf(arena, "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/%s",
                                 namespace, kinds[i]),
            .body = bodies[i]};
        must(call(&request));
    }
}

static void mount_service_account(void)
{
    KubeConfig config = {0};
    HttpUrl url;
    must(kubeconfig_read(arena, kubeconfig, NULL, &config, &err));
    must(http_parse_url(arena, config.server, &url, &err));
    char *ca = (char *)(uintptr_t)config.ca_pem;
    if (ca == NULL)
        must(file_read(arena, config.ca_file, 1 << 20, &ca, &err));
    setenv("KUBERNETES_SERVICE_HOST", url.host, 1);
    setenv("KUBERNETES_SERVICE_PORT", arena_printf(arena, "%d", url.port), 1);
    put("ca.crt", ca);
    put("namespace", namespace);
    put("token", new_token());
}

static void test_a_service_account(void **state)
{
    (void)state;
    must(create("serviceaccounts", "agent", ""));
    must(create("endpoints", "demo", ""));
    mount_service_account();
    AUTO(kube_access_release) KubeAccess *access = NULL;
    const KubeAccessOptions options = {.service_account_dir = directory, .kubeconfig = "/nowhere"};
    must(kube_access_open(&options, clock_system(), &access, &err));
    assert_true(kube_access_in_cluster(access));
    assert_string_equal(kube_access_namespace(access), namespace);
    KubeShared theirs;
    KubeClient agent;
    kube_shared_init(&theirs, clock_system(), NULL, access, NULL);
    kube_shared_set_timers(&theirs, 30000, 10000, 10000);
    kube_client_init(&agent, &theirs);

    // No role yet.
    expect(patch_as(&agent, "endpoints", "demo", NULL, "{}", false, 20000), ERR_INVALID,
           arena_printf(arena,
                        "forbidden: the role needs {apiGroups: [\"\"], resources: [endpoints], "
                        "verbs: [patch]} for endpoints 'demo' in namespace '%s'",
                        namespace));
    // Tried until the deadline: of the last try the answer may not have come in any more.
    const bool done = patch_as(&agent, "endpoints", "demo", NULL, "{}", true, 500);
    expect(done, err.kind == ERR_UNCERTAIN ? ERR_UNCERTAIN : ERR_UNAVAILABLE, "verbs: [patch]");
    // One that comes while a leader tries.
    grant();
    must(patch_as(&agent, "endpoints", "demo", NULL, "{}", true, 20000));
    expect(patch_as(&agent, "leases", "demo", NULL, "{}", false, 20000), ERR_INVALID,
           "apiGroups: [\"coordination.k8s.io\"], resources: [leases]");

    // A token that is no longer accepted, and its successor.
    put("token", "not-a-token");
    kube_access_unauthorized(access);
    expect(patch_as(&agent, "endpoints", "demo", NULL, "{}", false, 20000), ERR_INVALID,
           "credentials are not accepted");
    put("token", new_token());
    must(patch_as(&agent, "endpoints", "demo", NULL, "{}", false, 20000));

    // An authority that did not sign the server's certificate; found out on the next connection.
    kube_client_done(&agent);
    kube_client_init(&agent, &theirs);
    put("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    expect(patch_as(&agent, "endpoints", "demo", NULL, "{}", false, 1000), ERR_UNAVAILABLE,
           "https");
    mount_service_account();
    must(patch_as(&agent, "endpoints", "demo", NULL, "{}", false, 20000));
    kube_client_done(&agent);
    kube_shared_done(&theirs);
}

// An address that no packet can be sent to (RFC 1112, class E): found, tried, and then the
// service's.
static void test_the_api_servers_own_addresses(void **state)
{
    static const char path[] = "/api/v1/namespaces/default/endpoints";
    static const char subsets[] = "\"subsets\":[{\"addresses\":[{\"ip\":\"240.0.0.1\"}],"
                                  "\"ports\":[{\"name\":\"https\",\"port\":6443}]}]";
    const KubeRequest create_them = {
        .method = KUBE_POST,
        .path = path,
        .body = arena_printf(arena, "{\"metadata\":{\"name\":\"kubernetes\"},%s}", subsets)};
    const KubeRequest change_them = {.method = KUBE_PATCH,
                                     .path = arena_printf(arena, "%s/kubernetes", path),
                                     .body = arena_printf(arena, "{%s}", subsets)};
    (void)state;
    if (!call(&create_them)) { // an API server may look after them itself
        assert_int_equal(err.kind, ERR_CONFLICT);
        must(call(&change_them));
    }
    kube_client_done(&client);
    kube_shared_done(&shared);
    const KubernetesSettings settings = {.bypass_api_service = true};
    kube_shared_init(&shared, clock_system(), NULL, access_, &settings);
    kube_shared_set_timers(&shared, 30000, 10000, 10000);
    kube_client_init(&client, &shared);
    kube_client_discover(&client, false, deadline_in(clock_system(), 20000));
    assert_true(shared.bypass);
    assert_int_equal(shared.direct.count, 1);
    assert_string_equal(shared.direct.url[0], "https://240.0.0.1:6443");
    must(get("endpoints", "demo"));
    assert_int_equal(client.servers.count, 2);
}

int main(void)
{
    if (!have_kubeconfig())
        return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_compare_and_swap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_patches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_collections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_not_served, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_service_account, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_api_servers_own_addresses, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
