// Labels on Services and bodies of Events: texts alone.
#include "dcs/kubernetes/signs.h"
#include "tests/support/test.h"

#include <string.h>

static Arena *arena;
static KubernetesLabel label_items[] = {{"application", "howdah"}};
static const KubernetesLabels label_list = {label_items, 1};
static const KubeLayout layout = {.mode = KUBERNETES_ENDPOINTS,
                                  .namespace = "ns",
                                  .scope = "demo",
                                  .labels = &label_list,
                                  .scope_label = "cluster-name"};

static const Tree *json(const char *text)
{
    const Tree *tree = NULL;
    Error err = {0};
    if (!tree_parse_json(arena, text, &tree, &err))
        fail_msg("%s: %s", err.text, text);
    return tree;
}

static const char *text_of(const Tree *tree)
{
    return tree == NULL ? "" : tree_to_json(arena, tree, JSON_COMPACT);
}

static void test_long_names(void **state)
{
    (void)state;
    char name[254];
    assert_null(kube_label_of_name(arena, NULL));
    assert_string_equal(kube_label_of_name(arena, "demo-0"), "demo-0");
    memset(name, 'a', 63);
    name[63] = '\0';
    assert_string_equal(kube_label_of_name(arena, name), name);
    memset(name, 'a', 253);
    name[253] = '\0';
    const char *label = kube_label_of_name(arena, name);
    assert_int_equal(strlen(label), 63);
    assert_memory_equal(label, name, 54);
    assert_int_equal(label[54], '-');
    assert_int_equal(strspn(label + 55, "0123456789abcdef"), 8);
    name[252] = 'b'; // two long names stay two
    assert_string_not_equal(kube_label_of_name(arena, name), label);
}

static void test_labels(void **state)
{
    (void)state;
    const ClusterSigns signs = {.state = SIGN_HEALTHY,
                                .sync = SIGN_SYNC_QUORUM,
                                .leader = "demo-0",
                                .timeline = 4,
                                .replicas = 2};
    assert_string_equal(text_of(kube_sign_labels(arena, &signs)),
                        "{\"howdah.io/leader\":\"demo-0\",\"howdah.io/state\":\"healthy\","
                        "\"howdah.io/timeline\":\"4\",\"howdah.io/replicas\":\"2\","
                        "\"howdah.io/sync\":\"quorum\"}");
    const ClusterSigns none = {0};
    assert_string_equal(text_of(kube_sign_labels(arena, &none)),
                        "{\"howdah.io/leader\":null,\"howdah.io/state\":\"no-leader\","
                        "\"howdah.io/timeline\":null,\"howdah.io/replicas\":\"0\","
                        "\"howdah.io/sync\":\"off\"}");
    const ClusterSigns not_known = {.state = SIGN_NOT_KNOWN, .leader = "demo-1"};
    assert_string_equal(text_of(kube_sign_labels(arena, &not_known)),
                        "{\"howdah.io/leader\":\"demo-1\",\"howdah.io/state\":null,"
                        "\"howdah.io/timeline\":null,\"howdah.io/replicas\":null,"
                        "\"howdah.io/sync\":null}");
}

static void test_only_what_differs_is_written(void **state)
{
    (void)state;
    const ClusterSigns signs = {.state = SIGN_DEGRADED, .leader = "demo-0", .timeline = 4};
    const Tree *labels = kube_sign_labels(arena, &signs);
    const Tree *service =
        json("{\"metadata\":{\"name\":\"demo\",\"labels\":{\"howdah.io/leader\":\"demo-1\","
             "\"howdah.io/state\":\"degraded\",\"howdah.io/timeline\":\"3\","
             "\"howdah.io/replicas\":\"0\",\"howdah.io/sync\":\"off\"}}}");
    assert_string_equal(text_of(kube_signs_missing(arena, &layout, labels, service)),
                        "{\"howdah.io/leader\":\"demo-0\",\"howdah.io/timeline\":\"4\"}");
    service = json("{\"metadata\":{\"name\":\"demo\",\"labels\":{\"howdah.io/leader\":\"demo-0\","
                   "\"howdah.io/state\":\"degraded\",\"howdah.io/timeline\":\"4\","
                   "\"howdah.io/replicas\":\"0\",\"howdah.io/sync\":\"off\"}}}");
    assert_null(kube_signs_missing(arena, &layout, labels, service));
    // The one that we made ourselves.
    service = json("{\"metadata\":{\"name\":\"demo-config\"}}");
    assert_null(kube_signs_missing(arena, &layout, labels, service));
}

static void test_service_of_cluster(void **state)
{
    (void)state;
    const Tree *items = json("[{\"metadata\":{\"name\":\"demo-config\"}},"
                             "{\"metadata\":{\"name\":\"demo-members\"}},"
                             "{\"metadata\":{\"name\":\"demo\"}}]");
    assert_ptr_equal(kube_service_of_cluster(&layout, items), items->entries[2].value);
    items = json("[{\"metadata\":{\"name\":\"demo-config\"}},{\"metadata\":{\"name\":\"other\"}}]");
    assert_ptr_equal(kube_service_of_cluster(&layout, items), items->entries[1].value);
    assert_null(kube_service_of_cluster(&layout, json("[]")));
    assert_null(kube_service_of_cluster(&layout, NULL));
}

static void test_event(void **state)
{
    (void)state;
    const KubeAbout pod = {.kind = KIND_PODS, .name = "demo-0", .uid = "u-1"};
    const Announcement event = {.reason = "FailoverRefused",
                                .message = "RACE_LAG: too far behind",
                                .warning = true,
                                .wall_us = INT64_C(1724873966352526)};
    assert_string_equal(
        kube_event_body(arena, &layout, "demo-0.1", &pod, "demo-0", &event),
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"demo-0.1\"},\"involvedObject\":{"
        "\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"namespace\":\"ns\",\"name\":\"demo-0\","
        "\"uid\":\"u-1\"},\"reason\":\"FailoverRefused\",\"message\":\"RACE_LAG: too far "
        "behind\",\"type\":\"Warning\",\"firstTimestamp\":\"2024-08-28T19:39:26.352526Z\","
        "\"lastTimestamp\":\"2024-08-28T19:39:26.352526Z\",\"count\":1,\"source\":{\"component\":"
        "\"howdah\"},\"reportingComponent\":\"howdah\",\"reportingInstance\":\"demo-0\"}");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_only_what_differs_is_written),
        cmocka_unit_test(test_service_of_cluster),
        cmocka_unit_test(test_event),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
