#include "dcs/kubernetes/body.h"
#include "dcs/kubernetes/labels.h"
#include "tests/support/test.h"

#include <string.h>

// Bodies of requests, byte for byte; keys and annotations, both ways; labels by table.
static Arena *arena;
static KubernetesLabel label_items[] = {{"application", "patroni"}};
static const KubernetesLabels label_list = {label_items, 1};
static KubernetesPort port_items[] = {{.port = 5432, .protocol = "TCP"}};

static KubeLayout layout_of(KubernetesObjects mode)
{
    return (KubeLayout){.mode = mode,
                        .namespace = "ns",
                        .scope = "demo",
                        .labels = &label_list,
                        .scope_label = "cluster-name"};
}

static KubernetesSettings settings_of(void)
{
    return (KubernetesSettings){.labels = label_list,
                                .scope_label = "cluster-name",
                                .role_label = "role",
                                .leader_label_value = "primary",
                                .follower_label_value = "replica",
                                .standby_leader_label_value = "primary",
                                .ports = port_items,
                                .port_count = 1};
}

static int begin(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static const Tree *json(const char *text)
{
    const Tree *tree = NULL;
    Error err = {0};
    if (!tree_parse_json(arena, text, &tree, &err))
        fail_msg("%s: %s", err.text, text);
    return tree;
}

#define POD                                                                                        \
    "{\"metadata\":{\"name\":\"demo-0\",\"uid\":\"u-1\",\"resourceVersion\":\"4700\"},"            \
    "\"spec\":{\"hostname\":\"demo-0\",\"nodeName\":\"n1\"},"                                      \
    "\"status\":{\"podIP\":\"10.0.0.5\"}}"

static const LeaderWrite renewal = {.leader = "demo-0",
                                    .ttl_s = 30,
                                    .transitions = 3,
                                    .acquire_time = "2024-08-28T19:30:00.000001+00:00",
                                    .renew_time = "2024-08-28T19:39:36.100000+00:00"};

// As Patroni 4.1 sends it, to the byte.
static void test_renewal_is_patronis(void **state)
{
    (void)state;
    const KubeLayout layout = layout_of(KUBERNETES_ENDPOINTS);
    const KubernetesSettings settings = settings_of();
    KubePatch patch = kube_patch_new(arena, &layout);
    kube_patch_record(&patch, &renewal);
    assert_true(kube_key_patch(arena, KUBERNETES_ENDPOINTS, KEY_STATUS,
                               "{\"optime\":67395656,\"slots\":{\"demo_0\":67395656,\"demo_1\":"
                               "67395600},\"retain_slots\":[\"demo_1\",\"x\"]}",
                               patch.annotations));
    patch.subsets = kube_leader_subsets(arena, &layout, &settings, "demo-0", json("{}"), json(POD));
    assert_string_equal(
        kube_patch_body(&patch, "demo", "4711", false),
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"demo\",\"labels\":{\"application\":"
        "\"patroni\",\"cluster-name\":\"demo\"},\"resourceVersion\":\"4711\",\"annotations\":{"
        "\"leader\":\"demo-0\",\"ttl\":\"30\",\"renewTime\":\"2024-08-28T19:39:36.100000+00:00\","
        "\"acquireTime\":\"2024-08-28T19:30:00.000001+00:00\",\"transitions\":\"3\","
        "\"optime\":\"67395656\",\"slots\":\"{\\\"demo_0\\\":67395656,\\\"demo_1\\\":67395600}\","
        "\"retain_slots\":\"[\\\"demo_1\\\", \\\"x\\\"]\"}},"
        "\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.5\",\"hostname\":\"demo-0\",\"nodeName\":"
        "\"n1\",\"targetRef\":{\"kind\":\"Pod\",\"uid\":\"u-1\",\"namespace\":\"ns\",\"name\":"
        "\"demo-0\",\"resourceVersion\":\"4700\"}}],\"ports\":[{\"port\":5432}]}]}");
}

// The same, for the lack of an object: without nulls, without a version.
static void test_creation_leaves_out_what_is_not_there(void **state)
{
    (void)state;
    const KubeLayout layout = layout_of(KUBERNETES_CONFIGMAPS);
    KubePatch patch = kube_patch_new(arena, &layout);
    kube_patch_text(&patch, "leader", "a");
    kube_patch_text(&patch, "slots", NULL);
    assert_string_equal(kube_patch_body(&patch, "demo-leader", NULL, true),
                        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"demo-leader\",\"labels\":{"
                        "\"application\":\"patroni\",\"cluster-name\":\"demo\"},\"annotations\":{"
                        "\"leader\":\"a\"}}}");
}

// As Patroni sends it.
static void test_release_is_patronis(void **state)
{
    (void)state;
    const KubeLayout layout = layout_of(KUBERNETES_ENDPOINTS);
    KubePatch patch = kube_patch_new(arena, &layout);
    kube_patch_record(&patch, &(LeaderWrite){.leader = NULL});
    kube_patch_text(&patch, "optime", "67395800");
    patch.subsets = kube_empty_subsets(arena, json("{\"subsets\":[{\"addresses\":[]}]}"));
    assert_string_equal(
        kube_patch_body(&patch, "demo", "4720", false),
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"demo\",\"labels\":{\"application\":"
        "\"patroni\",\"cluster-name\":\"demo\"},\"resourceVersion\":\"4720\",\"annotations\":{"
        "\"leader\":null,\"optime\":\"67395800\"}},\"subsets\":[]}");
    assert_null(kube_empty_subsets(arena, json("{\"subsets\":null}")));
}

static void test_lease_holds_the_record_in_its_spec(void **state)
{
    (void)state;
    const KubeLayout layout = layout_of(KUBERNETES_LEASES);
    LeaderWrite record = renewal;
    record.acquire_time = "2024-08-28T19:30:00.000001Z";
    record.renew_time = kube_time(arena, KUBERNETES_LEASES, INT64_C(1724873976100000));
    KubePatch patch = kube_patch_new(arena, &layout);
    kube_patch_record(&patch, &record);
    const char *body = kube_patch_body(&patch, "demo", "9", false);
    assert_string_equal(
        body,
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"demo\",\"labels\":{\"application\":"
        "\"patroni\",\"cluster-name\":\"demo\"},\"resourceVersion\":\"9\",\"annotations\":{}},"
        "\"spec\":{\"holderIdentity\":\"demo-0\",\"leaseDurationSeconds\":30,\"renewTime\":"
        "\"2024-08-28T19:39:36.100000Z\",\"acquireTime\":\"2024-08-28T19:30:00.000001Z\","
        "\"leaseTransitions\":3}}");
    const LeaderState read = kube_leader_state(arena, KUBERNETES_LEASES, json(body));
    assert_string_equal(read.record.leader, "demo-0");
    assert_int_equal(read.ttl_s, 30);
    assert_int_equal(kube_term_of(&read), 4);
    assert_true(kube_patch_applied(&patch, json(body)));
    record.renew_time = "2024-08-28T19:39:36.100001Z";
    kube_patch_record(&patch, &record);
    assert_false(kube_patch_applied(&patch, json(body)));
}

static void test_points_in_time(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000000+00:00"},
        {INT64_C(951782400000001), "2000-02-29T00:00:00.000001+00:00"},
        {INT64_C(1724873966352526), "2024-08-28T19:39:26.352526+00:00"},
        {INT64_C(1735689599999999), "2024-12-31T23:59:59.999999+00:00"},
        {INT64_C(4107542400000000), "2100-03-01T00:00:00.000000+00:00"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_string_equal(kube_time(arena, KUBERNETES_ENDPOINTS, rows[i].us), rows[i].text);
}

static void test_subsets_are_left_alone_when_right(void **state)
{
    (void)state;
    const KubeLayout layout = layout_of(KUBERNETES_ENDPOINTS);
    KubernetesSettings settings = settings_of();
    static const struct {
        const char *endpoints, *pod;
        bool changes;
    } rows[] = {
        {"{\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.5\"}],\"ports\":[{\"port\":5432,"
         "\"protocol\":\"TCP\"}]}]}",
         POD, false},
        {"{\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.6\"}],\"ports\":[{\"port\":5432}]}]}", POD,
         true},
        {"{\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.5\"},{\"ip\":\"10.0.0.6\"}],\"ports\":[{"
         "\"port\":5432}]}]}",
         POD, true},
        {"{\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.5\"}],\"ports\":[{\"port\":5433}]}]}", POD,
         true},
        {"{}", "{}", false}, // our address is not known
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Tree *subsets = kube_leader_subsets(arena, &layout, &settings, "demo-0",
                                                  json(rows[i].endpoints), json(rows[i].pod));
        if ((subsets != NULL) != rows[i].changes)
            fail_msg("row %zu", i);
    }
    // A known target is used on; pod_ip wins; without the pod the address stands alone.
    const char *known = "{\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.5\",\"targetRef\":{"
                        "\"name\":\"demo-0\",\"resourceVersion\":\"1\"}}],\"ports\":[]}]}";
    assert_non_null(strstr(tree_to_json(arena,
                                        kube_leader_subsets(arena, &layout, &settings, "demo-0",
                                                            json(known), json(POD)),
                                        JSON_COMPACT),
                           "\"targetRef\":{\"name\":\"demo-0\",\"resourceVersion\":\"1\"}"));
    settings.pod_ip = "10.1.1.1";
    assert_string_equal(
        tree_to_json(arena,
                     kube_leader_subsets(arena, &layout, &settings, "demo-0", json("{}"), NULL),
                     JSON_COMPACT),
        "[{\"addresses\":[{\"ip\":\"10.1.1.1\"}],\"ports\":[{\"port\":5432}]}]");
}

static void test_pod_and_service_bodies(void **state)
{
    (void)state;
    const KubeLayout layout = layout_of(KUBERNETES_ENDPOINTS);
    assert_string_equal(kube_pod_body(arena, &layout, "demo-1", json("{\"role\":\"replica\"}"),
                                      json("{\"status\":\"{}\"}")),
                        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"demo-1\",\"labels\":{"
                        "\"role\":\"replica\"},\"annotations\":{\"status\":\"{}\"}}}");
    assert_string_equal(kube_config_service_body(arena, &layout),
                        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"demo-config\",\"labels\":{"
                        "\"application\":\"patroni\",\"cluster-name\":\"demo\"}},\"spec\":{"
                        "\"clusterIP\":\"None\"}}");
}

static const Tree *annotated(Tree *annotations)
{
    Tree *metadata = tree_map(arena), *object = tree_map(arena);
    tree_set(arena, metadata, "annotations", annotations);
    tree_set(arena, object, "metadata", metadata);
    return object;
}

// Every key in every mode: the annotations it makes, and the value they are read as.
static void test_keys_both_ways(void **state)
{
    (void)state;
    static const struct {
        DcsKey key;
        const char *value, *patroni, *lease;
    } rows[] = {
        {KEY_INITIALIZE, "7301", "{\"initialize\":\"7301\"}", "{\"initialize\":\"7301\"}"},
        {KEY_INITIALIZE, "", "{\"initialize\":\"\"}", "{\"initialize\":\"\"}"},
        {KEY_CONFIG, "{\"ttl\":30}", "{\"config\":\"{\\\"ttl\\\":30}\"}",
         "{\"config\":\"{\\\"ttl\\\":30}\"}"},
        {KEY_HISTORY, "[]", "{\"history\":\"[]\"}", "{\"history\":\"[]\"}"},
        {KEY_FAILSAFE, "{\"a\":\"u\"}", "{\"failsafe\":\"{\\\"a\\\":\\\"u\\\"}\"}",
         "{\"howdah.io/failsafe\":\"{\\\"a\\\":\\\"u\\\"}\"}"},
        {KEY_FAILOVER, "{\"leader\":\"a\",\"member\":\"b\"}",
         "{\"leader\":\"a\",\"member\":\"b\",\"scheduled_at\":null}",
         "{\"howdah.io/failover\":\"{\\\"leader\\\":\\\"a\\\",\\\"member\\\":\\\"b\\\"}\"}"},
        {KEY_FAILOVER, "{}", "{\"leader\":null,\"member\":null,\"scheduled_at\":null}",
         "{\"howdah.io/failover\":\"{}\"}"},
        {KEY_SYNC, "{\"leader\":\"a\",\"quorum\":1,\"sync_standby\":\"b,c\"}",
         "{\"leader\":\"a\",\"quorum\":\"1\",\"sync_standby\":\"b,c\"}",
         "{\"howdah.io/"
         "sync\":\"{\\\"leader\\\":\\\"a\\\",\\\"quorum\\\":1,\\\"sync_standby\\\":\\\"b,c\\\"}"
         "\"}"},
        {KEY_STATUS, "{\"optime\":9007199254740993}",
         "{\"optime\":\"9007199254740993\",\"slots\":null,\"retain_slots\":null}",
         "{\"howdah.io/status\":\"{\\\"optime\\\":9007199254740993}\"}"},
        {KEY_STATUS, "{\"optime\":5,\"slots\":{\"a\":4},\"retain_slots\":[\"a\",\"b\"]}",
         "{\"optime\":\"5\",\"slots\":\"{\\\"a\\\":4}\",\"retain_slots\":\"[\\\"a\\\", "
         "\\\"b\\\"]\"}",
         "{\"howdah.io/"
         "status\":\"{\\\"optime\\\":5,\\\"slots\\\":{\\\"a\\\":4},\\\"retain_slots\\\":[\\\"a\\\","
         "\\\"b\\\"]}\"}"},
        {KEY_TERM, "{\"holder\":\"a\"}", "{\"howdah.io/term\":\"{\\\"holder\\\":\\\"a\\\"}\"}",
         "{\"howdah.io/term\":\"{\\\"holder\\\":\\\"a\\\"}\"}"},
    };
    static const KubernetesObjects modes[] = {KUBERNETES_ENDPOINTS, KUBERNETES_CONFIGMAPS,
                                              KUBERNETES_LEASES};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t m = 0; m < COUNT_OF(modes); m++) {
            Tree *annotations = tree_map(arena);
            assert_true(kube_key_patch(arena, modes[m], rows[i].key, rows[i].value, annotations));
            assert_string_equal(tree_to_json(arena, annotations, JSON_COMPACT),
                                modes[m] == KUBERNETES_LEASES ? rows[i].lease : rows[i].patroni);
            assert_string_equal(
                kube_key_value(arena, modes[m], rows[i].key, annotated(annotations)),
                rows[i].value);
        }
    }
}

static void test_keys_that_are_not_there(void **state)
{
    (void)state;
    const Tree *bare = json("{\"metadata\":{\"name\":\"x\"}}");
    for (DcsKey key = 0; key < DCS_KEY_COUNT; key++) {
        assert_null(kube_key_value(arena, KUBERNETES_ENDPOINTS, key, NULL));
        const bool own_object = key == KEY_FAILOVER || key == KEY_SYNC;
        const char *value = kube_key_value(arena, KUBERNETES_ENDPOINTS, key, bare);
        if (own_object)
            assert_string_equal(value, "{}");
        else
            assert_null(value);
        assert_null(kube_key_value(arena, KUBERNETES_LEASES, key, bare));
    }
    Tree *annotations = tree_map(arena);
    assert_false(kube_key_patch(arena, KUBERNETES_ENDPOINTS, KEY_SYNC, "no json", annotations));
    assert_true(kube_key_patch(arena, KUBERNETES_ENDPOINTS, KEY_CONFIG, NULL, annotations));
    assert_string_equal(tree_to_json(arena, annotations, JSON_COMPACT), "{\"config\":null}");
}

static void test_names_and_paths(void **state)
{
    (void)state;
    static const struct {
        KubernetesObjects mode;
        KubeRole role;
        const char *path;
    } rows[] = {
        {KUBERNETES_ENDPOINTS, OBJECT_LEADER, "/api/v1/namespaces/ns/endpoints/demo"},
        {KUBERNETES_ENDPOINTS, OBJECT_SYNC, "/api/v1/namespaces/ns/endpoints/demo-sync"},
        {KUBERNETES_CONFIGMAPS, OBJECT_LEADER, "/api/v1/namespaces/ns/configmaps/demo-leader"},
        {KUBERNETES_CONFIGMAPS, OBJECT_FAILOVER, "/api/v1/namespaces/ns/configmaps/demo-failover"},
        {KUBERNETES_LEASES, OBJECT_LEADER,
         "/apis/coordination.k8s.io/v1/namespaces/ns/leases/demo"},
        {KUBERNETES_LEASES, OBJECT_CONFIG, "/api/v1/namespaces/ns/configmaps/demo-config"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const KubeLayout layout = layout_of(rows[i].mode);
        const KubeKind kind = kube_place(rows[i].mode, rows[i].role).kind;
        const char *name = kube_object_name(arena, &layout, rows[i].role);
        assert_string_equal(kube_path(arena, &layout, kind, name), rows[i].path);
        assert_int_equal(kube_role_of(&layout, kind, name), rows[i].role);
        assert_int_equal(kube_role_of(&layout, kind, "demo-other"), OBJECT_COUNT);
    }
    const KubeLayout leases = layout_of(KUBERNETES_LEASES);
    assert_int_equal(kube_role_of(&leases, KIND_CONFIGMAPS, "demo-leader"), OBJECT_COUNT);
}

// The first row that matches.
static void test_labels_by_table(void **state)
{
    (void)state;
    KubernetesLabel bootstrap[] = {{"boot", "yes"}};
    KubernetesSettings settings = settings_of();
    settings.tmp_role_label = "tmp";
    settings.standby_leader_label_value = "standby";
    settings.bootstrap_labels = (KubernetesLabels){bootstrap, 1};
    static const struct {
        PodFacts facts;
        const char *labels;
    } rows[] = {
        {{true, "primary", "running"}, "{\"role\":\"primary\",\"tmp\":\"primary\",\"boot\":null}"},
        {{true, "replica", "running"}, "{\"role\":\"primary\",\"tmp\":\"primary\",\"boot\":null}"},
        {{true, "standby_leader", "running"},
         "{\"role\":\"standby\",\"tmp\":\"primary\",\"boot\":null}"},
        {{true, NULL, NULL}, "{\"role\":\"primary\",\"tmp\":\"primary\",\"boot\":null}"},
        {{false, "replica", "running"}, "{\"role\":\"replica\",\"tmp\":\"replica\",\"boot\":null}"},
        {{false, "standby_leader", "running"},
         "{\"role\":\"standby_leader\",\"tmp\":\"standby_leader\",\"boot\":null}"},
        {{false, "primary", "running"}, "{\"role\":null,\"tmp\":null,\"boot\":null}"},
        {{false, "replica", "stopped"}, "{\"role\":null,\"tmp\":null,\"boot\":null}"},
        {{false, "replica", "creating replica"}, "{\"role\":null,\"tmp\":null,\"boot\":\"yes\"}"},
        {{false, "uninitialized", "initializing new cluster"},
         "{\"role\":null,\"tmp\":null,\"boot\":\"yes\"}"},
        {{false, NULL, NULL}, "{\"role\":null,\"tmp\":null,\"boot\":null}"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_string_equal(
            tree_to_json(arena, kube_pod_labels(arena, &settings, &rows[i].facts), JSON_COMPACT),
            rows[i].labels);

    Tree *missing = tree_map(arena);
    kube_labels_missing(arena, json("{\"role\":\"replica\",\"tmp\":null,\"boot\":null}"),
                        json("{\"metadata\":{\"labels\":{\"role\":\"primary\",\"boot\":\"yes\"}}}"),
                        missing);
    assert_string_equal(tree_to_json(arena, missing, JSON_COMPACT),
                        "{\"role\":\"replica\",\"boot\":null}");
    assert_true(kube_bears_leader_label(
        &settings, json("{\"metadata\":{\"labels\":{\"role\":\"primary\"}}}")));
    assert_true(kube_bears_leader_label(&settings,
                                        json("{\"metadata\":{\"labels\":{\"tmp\":\"primary\"}}}")));
    assert_false(kube_bears_leader_label(
        &settings, json("{\"metadata\":{\"labels\":{\"role\":\"replica\"}}}")));
    assert_false(kube_bears_leader_label(&settings, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_renewal_is_patronis, begin, end),
        cmocka_unit_test_setup_teardown(test_creation_leaves_out_what_is_not_there, begin, end),
        cmocka_unit_test_setup_teardown(test_release_is_patronis, begin, end),
        cmocka_unit_test_setup_teardown(test_lease_holds_the_record_in_its_spec, begin, end),
        cmocka_unit_test_setup_teardown(test_points_in_time, begin, end),
        cmocka_unit_test_setup_teardown(test_subsets_are_left_alone_when_right, begin, end),
        cmocka_unit_test_setup_teardown(test_pod_and_service_bodies, begin, end),
        cmocka_unit_test_setup_teardown(test_keys_both_ways, begin, end),
        cmocka_unit_test_setup_teardown(test_keys_that_are_not_there, begin, end),
        cmocka_unit_test_setup_teardown(test_names_and_paths, begin, end),
        cmocka_unit_test_setup_teardown(test_labels_by_table, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
