// The section kubernetes: defaults, values, and which store is meant.
#include "tests/support/settings_world.h"
#include "tests/support/test.h"

// The minimal document with this section instead of etcd3.
static bool build_kubernetes(const char *section, const char *more, bool for_ctl, Settings *out,
                             Error *err)
{
    Tree *local = tree_patch(arena, yaml(minimal), yaml(more), NULL);
    tree_remove(local, "etcd3");
    tree_set(arena, local, "kubernetes", yaml(section));
    return settings_build(arena, local, NULL, 0, false, 0, for_ctl, out, &notes, err);
}

static const KubernetesSettings *kubernetes(const char *section, const char *more, Settings *out)
{
    Error err = {0};
    if (!build_kubernetes(section, more, false, out, &err))
        fail_msg("%s: %s", section, err.text);
    assert_int_equal(out->store, STORE_KUBERNETES);
    return &out->kubernetes;
}

static void test_kubernetes_defaults(void **state)
{
    (void)state;
    Settings s;
    const KubernetesSettings *k = kubernetes("{labels: {application: patroni}}", NULL, &s);
    assert_int_equal(notes.warnings.count, 0);
    assert_int_equal(k->objects, KUBERNETES_CONFIGMAPS);
    assert_null(k->namespace);
    assert_int_equal(k->labels.count, 1);
    assert_string_equal(k->labels.items[0].key, "application");
    assert_string_equal(k->labels.items[0].value, "patroni");
    assert_string_equal(k->scope_label, "cluster-name");
    assert_string_equal(k->role_label, "role");
    assert_string_equal(k->leader_label_value, "primary");
    assert_string_equal(k->follower_label_value, "replica");
    assert_string_equal(k->standby_leader_label_value, "primary");
    assert_null(k->tmp_role_label);
    assert_int_equal(k->bootstrap_labels.count, 0);
    assert_null(k->pod_ip);
    assert_int_equal(k->port_count, 1);
    assert_null(k->ports[0].name);
    assert_int_equal(k->ports[0].port, 5432);
    assert_string_equal(k->ports[0].protocol, "TCP");
    assert_false(k->bypass_api_service);
    assert_int_equal(k->retriable_http_code_count, 0);
    assert_null(k->cacert);
    assert_null(k->context);
}

static void test_kubernetes_values(void **state)
{
    (void)state;
    Settings s;
    const KubernetesSettings *k = kubernetes(
        "{labels: {cluster-name: demo, app.io/part: '', tier: 2}, scope_label: cluster-name, "
        "namespace: ns1, use_endpoints: 'on', role_label: r, leader_label_value: master, "
        "tmp_role_label: tmp, bootstrap_labels: {phase: new}, pod_ip: '10.0.0.7', "
        "ports: [{name: pg, port: 5433}, {name: b, port: '6432', protocol: UDP}], "
        "bypass_api_service: true, cacert: /ca, context: lab}",
        NULL, &s);
    assert_int_equal(notes.warnings.count, 0);
    assert_int_equal(k->objects, KUBERNETES_ENDPOINTS);
    assert_string_equal(k->namespace, "ns1");
    assert_int_equal(k->labels.count, 2); // the scope's own is not among them
    assert_string_equal(k->labels.items[0].key, "app.io/part");
    assert_string_equal(k->labels.items[1].value, "2");
    assert_string_equal(k->leader_label_value, "master");
    assert_string_equal(k->tmp_role_label, "tmp");
    assert_string_equal(k->bootstrap_labels.items[0].value, "new");
    assert_string_equal(k->pod_ip, "10.0.0.7");
    assert_int_equal(k->port_count, 2);
    assert_string_equal(k->ports[0].name, "pg");
    assert_int_equal(k->ports[1].port, 6432);
    assert_string_equal(k->ports[1].protocol, "UDP");
    assert_true(k->bypass_api_service);
    assert_string_equal(k->cacert, "/ca");
    assert_string_equal(k->context, "lab");
}

// The top-level namespace wins, as in Patroni; a store that is named wins over use_endpoints.
static void test_kubernetes_choices(void **state)
{
    (void)state;
    static const struct {
        const char *section;
        KubernetesObjects objects;
        const char *namespace;
        size_t warnings;
    } rows[] = {
        {"{labels: {a: b}, store: leases, namespace: ''}", KUBERNETES_LEASES, "top", 0},
        {"{labels: {a: b}, store: endpoints, namespace: x}", KUBERNETES_ENDPOINTS, "top", 0},
        {"{labels: {a: b}, use_endpoints: false}", KUBERNETES_CONFIGMAPS, "top", 0},
        {"{labels: {a: b}, store: configmaps, use_endpoints: true}", KUBERNETES_CONFIGMAPS, "top",
         1},
        {"{labels: {a: b}, store: endpoints, use_endpoints: true}", KUBERNETES_ENDPOINTS, "top", 0},
        {"{labels: {cluster-name: other}}", KUBERNETES_CONFIGMAPS, "top", 1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Settings s;
        notes = (SettingsNotes){0};
        const KubernetesSettings *k = kubernetes(rows[i].section, "namespace: top", &s);
        if (k->objects != rows[i].objects || !str_eq(k->namespace, rows[i].namespace) ||
            notes.warnings.count != rows[i].warnings)
            fail_msg("%s: %d %s %zu", rows[i].section, (int)k->objects, k->namespace,
                     notes.warnings.count);
    }
}

static void test_kubernetes_codes(void **state)
{
    (void)state;
    static const struct {
        const char *codes;
        size_t count;
        int last;
    } rows[] = {{"501", 1, 501},
                {"[501, '599']", 2, 599},
                {"'404, 501 ,503'", 3, 503},
                {"[]", 0, 0},
                {"''", 0, 0}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Settings s;
        const char *section =
            arena_printf(arena, "{labels: {a: b}, retriable_http_codes: %s}", rows[i].codes);
        const KubernetesSettings *k = kubernetes(section, NULL, &s);
        if (k->retriable_http_code_count != rows[i].count ||
            (rows[i].count > 0 && k->retriable_http_codes[rows[i].count - 1] != rows[i].last))
            fail_msg("%s: %zu", rows[i].codes, k->retriable_http_code_count);
    }
}

// howdahctl may be given the scope later; of two stores etcd is taken, as by Patroni.
static void test_kubernetes_for_ctl(void **state)
{
    (void)state;
    Settings s;
    Error err = {0};
    assert_true(settings_build(arena, yaml("kubernetes: {labels: {a: b}}"), NULL, 0, false, 0, true,
                               &s, &notes, &err));
    assert_int_equal(s.store, STORE_KUBERNETES);
    assert_int_equal(s.kubernetes.labels.count, 1);
    assert_true(settings_build(arena, yaml("{etcd3: {host: e}, kubernetes: {labels: {a: b}}}"),
                               NULL, 0, false, 0, true, &s, &notes, &err));
    assert_int_equal(s.store, STORE_ETCD);
    assert_int_equal(notes.warnings.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kubernetes_defaults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kubernetes_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kubernetes_choices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kubernetes_codes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kubernetes_for_ctl, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
