// What `howdahctl doctor` finds wrong in Kubernetes: rights, pods, Services.
#include "common/os/files.h"
#include "dcs/probe.h"
#include "tests/unit/test_doctor_world.h"

#include <stdlib.h>
#include <string.h>

static void test_nothing_is_wrong(void **state)
{
    (void)state;
    const DoctorFacts facts = world_facts(world_document());
    DoctorReport report = {.arena = world_arena};
    doctor_run_checks(&facts, &report);
    for (size_t i = 0; i < report.count; i++)
        if (report.lines[i].verdict != DOCTOR_OK)
            fail_msg("%s: %s: %s", report.lines[i].check, verdict_name(report.lines[i].verdict),
                     report.lines[i].found);
    assert_true(report.count > 30);
}

#define MODE         "agent/kubernetes/store"
#define IN_ENDPOINTS "{\"publishNotReadyAddresses\":true,\"ports\":[{\"port\":5432}]}"

static const WorldRow rows[] = {
    {"no answer", "api server/api", "kube/version", "\"timed out\"", DOCTOR_WRONG, "timed out",
     "readyz"},
    {"no answer", "kubernetes/kubernetes", "kube/version", "\"timed out\"", DOCTOR_SKIPPED,
     "does not answer"},
    {"token over", "api server/token", "kube/now", "4600", DOCTOR_WRONG, "expired 100 s ago",
     "kubelet"},
    {"token nearly over", "api server/token", "kube/now", "4450", DOCTOR_WARN, "expires in 50 s",
     "kubelet"},
    {"token from elsewhere", "api server/token", "kube/in_pod", "false", DOCTOR_WRONG, "expired",
     "kubeconfig", "kube/now", "5000"},
    {"token refused", "api server/token", "pods", "\"401: Unauthorized\"", DOCTOR_WRONG,
     "Unauthorized"},
    {"eternal token", "api server/token", "kube/expires", "0", DOCTOR_OK, "does not expire"},
    {"certificate", "api server/token", "kube/issued", NULL, DOCTOR_OK, "certificate"},
    {"a verb is missing", "api server/rights", "kube/without", "\"patch leases\"", DOCTOR_WRONG,
     "may not patch leases demo, which is for the leader's lease",
     "- apiGroups: [coordination.k8s.io]\n  resources: [leases]\n  resourceNames: [demo]\n  verbs: "
     "[patch]"},
    {"a verb of the collection", "api server/rights", "kube/without", "\"watch configmaps\"",
     DOCTOR_WRONG, "configuration and history",
     "- apiGroups: [\"\"]\n  resources: [configmaps]\n  verbs: [watch]"},
    {"pods", "api server/rights", "kube/without", "\"patch pods\"", DOCTOR_WRONG, "role labels",
     "resources: [pods]\n  verbs: [patch]"},
    {"Events", "api server/rights", "kube/without", "\"create events\"", DOCTOR_WARN, "Promoted"},
    {"Services", "api server/rights", "kube/without", "\"patch services\"", DOCTOR_WARN,
     "labels of its Services", "resourceNames: [demo, demo-replicas]"},
    {"endpoints mode", "api server/rights", "kube/without", "\"patch endpoints\"", DOCTOR_WRONG,
     NULL, "resourceNames: [demo, demo-config, demo-failover, demo-sync]", MODE, "\"endpoints\""},
    {"configmaps mode", "api server/rights", "kube/without", "\"get configmaps\"", DOCTOR_WRONG,
     NULL, "resourceNames: [demo-leader, demo-config, demo-failover, demo-sync]", MODE,
     "\"configmaps\""},
    {"rights out of reach", "api server/rights", "kube/rights_why", "\"403\"", DOCTOR_SKIPPED,
     "403"},
    {"the account's", "api server/rights", "kube/account", "\"demo\"", DOCTOR_OK,
     "of ServiceAccount demo"},

    {"pods out of reach", "kubernetes/labels", "pods", "\"forbidden\"", DOCTOR_SKIPPED,
     "forbidden"},
    {"no pod", "kubernetes/labels", "pods", "[]", DOCTOR_WRONG,
     "application=howdah,cluster-name=demo"},
    {"a label is missing", "kubernetes/labels", "strays",
     "{\"demo-2\":{\"application\":\"howdah\"}}", DOCTOR_WRONG, "demo-2 lacks",
     "kubectl -n default label pod demo-2 --overwrite cluster-name=demo"},
    {"the leader's label", "kubernetes/roles", "pods/0/metadata/labels/role", NULL, DOCTOR_WRONG,
     "demo-0 leads, and its label role is missing", "label pod demo-0 --overwrite role=primary"},
    {"two primaries", "kubernetes/roles", "pods/1/metadata/labels/role", "\"primary\"",
     DOCTOR_WRONG, "demo-1 has role=primary, and demo-0 leads",
     "label pod demo-1 --overwrite role=replica"},
    {"no role", "kubernetes/roles", "pods/1/metadata/labels/role", NULL, DOCTOR_WARN,
     "demo-1 has no label"},
    {"nobody leads", "kubernetes/roles", "view/leader", NULL, DOCTOR_WRONG,
     "role=primary: nobody leads", "explain", "pods/0/metadata/labels/role", "\"replica\""},
    {"a leader that is no pod of these", "kubernetes/roles", "view/leader", "\"demo-9\"",
     DOCTOR_WRONG, "demo-9 leads, and is none of them", "explain", "pods/0/metadata/labels/role",
     "\"replica\""},
    {"a stale primary", "kubernetes/roles", "view/leader", NULL, DOCTOR_WRONG,
     "demo-0 has role=primary, and nobody"},
    {"no store", "kubernetes/roles", "view", NULL, DOCTOR_SKIPPED, "nobody answers"},
    {"grace", "kubernetes/grace period", "pods/1/spec/terminationGracePeriodSeconds", "30",
     DOCTOR_WRONG, "demo-1: terminationGracePeriodSeconds is 30",
     "{\"terminationGracePeriodSeconds\":120}"},
    {"users", "kubernetes/users", "pods/0/spec/containers/0/securityContext/runAsUser", "70",
     DOCTOR_WRONG, "container postgres runs as user 70 and howdah as 999", "runAsUser"},
    {"group", "kubernetes/volume group", "pods/0/spec/securityContext/fsGroupChangePolicy", NULL,
     DOCTOR_WRONG, "opens the data directory", "OnRootMismatch"},
    {"another container's user is its own", "kubernetes/users", "pods/0/spec/containers/2",
     "{\"name\":\"exporter\",\"securityContext\":{\"runAsUser\":1}}", DOCTOR_OK},

    {"readiness", "kubernetes/primary's Service", "services/0/spec/publishNotReadyAddresses", NULL,
     DOCTOR_WRONG, "waits for readiness", "publishNotReadyAddresses\":true"},
    {"wrong role", "kubernetes/primary's Service", "services/0/spec/selector/role", "\"master\"",
     DOCTOR_WRONG, "does not select role=primary",
     "\"value\":{\"application\":\"howdah\",\"cluster-name\":\"demo\",\"role\":\"primary\"}"},
    {"no selector", "kubernetes/primary's Service", "services/0/spec/selector", NULL, DOCTOR_WRONG,
     "has no selector", "\"op\":\"add\""},
    {"wrong label", "kubernetes/primary's Service", "services/0/spec/selector/application",
     "\"patroni\"", DOCTOR_WRONG, "no pod of the cluster", "\"op\":\"replace\""},
    {"port by name", "kubernetes/primary's Service", "services/0/spec/ports/0/targetPort",
     "\"pgsql\"", DOCTOR_WRONG, "no container has a port named pgsql"},
    {"no Service", "kubernetes/primary's Service", "services", "[]", DOCTOR_WARN,
     "no Service leads to the primary",
     "selector: {application: howdah, cluster-name: demo, role: primary}"},
    {"endpoints: selector", "kubernetes/primary's Service", MODE, "\"endpoints\"", DOCTOR_WRONG,
     "has a selector", "\"op\":\"remove\""},
    {"endpoints: named port", "kubernetes/primary's Service", MODE, "\"endpoints\"", DOCTOR_WRONG,
     "names of its ports", "[{\"port\":5432}]", "services/0/spec",
     "{\"ports\":[{\"port\":5432,\"name\":\"postgres\"}]}"},
    {"endpoints: right", "kubernetes/primary's Service", MODE, "\"endpoints\"", DOCTOR_OK, NULL,
     NULL, "services/0/spec", IN_ENDPOINTS},
    {"no replicas' Service", "kubernetes/replicas' Service", "services/1", NULL, DOCTOR_WARN,
     "no Service leads"},
    {"replicas that are not ready", "kubernetes/replicas' Service",
     "services/1/spec/publishNotReadyAddresses", "true", DOCTOR_WARN, "not ready"},
    {"replicas' role", "kubernetes/replicas' Service", "services/1/spec/selector/role",
     "\"primary\"", DOCTOR_WRONG, "does not select role=replica"},
    {"no names", "kubernetes/members' Service", "services/2", NULL, DOCTOR_WRONG, "is not there",
     "clusterIP: None"},
    {"not headless", "kubernetes/members' Service", "services/2/spec/clusterIP", "\"10.0.0.9\"",
     DOCTOR_WRONG, "not headless"},
    {"members by role", "kubernetes/members' Service", "services/2/spec/selector/role",
     "\"primary\"", DOCTOR_WRONG, "whatever their role"},
    {"members that are not ready", "kubernetes/members' Service",
     "services/2/spec/publishNotReadyAddresses", NULL, DOCTOR_WARN, "have no name"},
    {"a Service called howdah is harmless", "kubernetes/variables", "services/3",
     "{\"metadata\":{\"name\":\"howdah\"}}", DOCTOR_OK},
    {"a variable", "kubernetes/variables", "services/3",
     "{\"metadata\":{\"name\":\"howdah-etcd3\"}}", DOCTOR_WRONG, "HOWDAH_ETCD3_PORT=tcp://",
     "enableServiceLinks: false"},
    {"an old name", "kubernetes/variables", "services/3",
     "{\"metadata\":{\"name\":\"patroni-etcd\"}}", DOCTOR_WRONG, "PATRONI_ETCD_PORT"},
    {"no links", "kubernetes/variables", "services/3", "{\"metadata\":{\"name\":\"howdah-etcd3\"}}",
     DOCTOR_WRONG, "HOWDAH_ETCD3_PORT", NULL, "pods/0/spec/enableServiceLinks", "false"},

    {"led elsewhere", "kubernetes/other stores", "others/0/leader", "\"demo-1\"", DOCTOR_WRONG,
     "Endpoints demo says that demo-1 leads", "kubectl -n default delete Endpoints demo"},
    {"left over", "kubernetes/other stores", "others/0/leader", "\"demo-1\"", DOCTOR_WARN,
     "left over", "kubectl -n default delete Endpoints demo", "others/0/age", "86400"},
    {"kept elsewhere", "kubernetes/other stores", "others/1/initialized", "true", DOCTOR_WRONG,
     "nobody bootstraps here", "ConfigMap demo-config", "view/initialize", NULL},
    {"an old initialize", "kubernetes/other stores", "others/0/initialized", "true", DOCTOR_WARN,
     "left over"},
    {"out of sight", "kubernetes/other stores", "others/1/unread", "\"forbidden\"", DOCTOR_SKIPPED,
     "forbidden"},
};

static void test_rows(void **state)
{
    (void)state;
    world_rows(rows, COUNT_OF(rows));
    static const char *const checks[] = {"api server/api",
                                         "api server/token",
                                         "api server/rights",
                                         "kubernetes/labels",
                                         "kubernetes/roles",
                                         "kubernetes/grace period",
                                         "kubernetes/users",
                                         "kubernetes/volume group",
                                         "kubernetes/primary's Service",
                                         "kubernetes/replicas' Service",
                                         "kubernetes/members' Service",
                                         "kubernetes/variables",
                                         "kubernetes/other stores"};
    world_expect_seen(checks, COUNT_OF(checks));
}

// The leader's ConfigMap of one mode stands beside a configuration that two modes share.
static void test_shared_configuration_is_not_deleted(void **state)
{
    (void)state;
    const Tree *document = world_edit(world_document(), "others/1/leader", "\"demo-1\"");
    const DoctorFacts facts = world_facts(document);
    DoctorReport report = {.arena = world_arena};
    doctor_run_checks(&facts, &report);
    for (size_t i = 0; i < report.count; i++)
        if (report.lines[i].mend != NULL)
            assert_null(strstr(report.lines[i].mend, "delete ConfigMap demo-config"));
}

static void test_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *authorization;
        bool present;
        int64_t issued_s, expires_s;
    } rows_of_tokens[] = {
        {NULL, false, 0, 0},
        {"Basic eDp5", false, 0, 0},
        {"Bearer opaque", true, 0, 0},
        {"Bearer a.%%%.c", true, 0, 0},
        {"Bearer a.bm8ganNvbg.c", true, 0, 0},
        // {"exp":1700003600,"iat":1700000000}, whose base64 lacks its padding
        {"Bearer e30.eyJleHAiOjE3MDAwMDM2MDAsImlhdCI6MTcwMDAwMDAwMH0.c2ln", true, 1700000000,
         1700003600},
        // {"sub":"system:serviceaccount:a:b"}: one that never ends
        {"Bearer e30.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiIn0.c2ln", true, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows_of_tokens); i++) {
        const KubeToken token = kube_token_of(world_arena, rows_of_tokens[i].authorization);
        assert_int_equal(token.present, rows_of_tokens[i].present);
        assert_int_equal(token.issued_s, rows_of_tokens[i].issued_s);
        assert_int_equal(token.expires_s, rows_of_tokens[i].expires_s);
    }
}

// --- the rights that are asked for, and those that our manifests give

static bool list_has(const Tree *list, const char *text)
{
    for (size_t i = 0; i < list_count(list); i++)
        if (str_eq(tree_string_of(list_at(list, i)), text))
            return true;
    return false;
}

static bool rule_allows(const Tree *rule, const RightFact *right)
{
    const Tree *names = tree_get(rule, "resourceNames");
    return list_has(tree_get(rule, "apiGroups"), right->group) &&
           list_has(tree_get(rule, "resources"), right->resource) &&
           list_has(tree_get(rule, "verbs"), right->verb) &&
           (names == NULL || (right->name != NULL && list_has(names, right->name)));
}

// The Role of a file that may hold more than that.
static const Tree *role_of_file(const char *name)
{
    const char *path =
        arena_printf(world_arena, "%s/docker/kubernetes/%s", getenv("HOWDAH_SOURCE"), name);
    char *text = NULL;
    Error err = {0};
    const Tree *role = NULL;
    if (!file_read(world_arena, path, 65536, &text, &err) || text == NULL)
        fail_msg("%s: %s", path, err.text);
    for (char *part = text, *next = NULL; part != NULL && role == NULL; part = next) {
        next = strstr(part, "\n---\n");
        if (next != NULL) {
            *next = '\0';
            next += 5;
        }
        const Tree *document;
        if (!tree_parse_yaml(world_arena, part, path, &document, &err))
            fail_msg("%s", err.text);
        if (str_eq(tree_get_string(document, "kind", ""), "Role"))
            role = document;
    }
    assert_non_null(role);
    return role;
}

static void test_manifests_give_what_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *store, *file;
    } modes[] = {{"\"leases\"", "10-access.yaml"},
                 {"\"endpoints\"", "access/endpoints.yaml"},
                 {"\"configmaps\"", "access/configmaps.yaml"}};
    for (size_t m = 0; m < COUNT_OF(modes); m++) {
        const DoctorFacts facts = world_facts(world_edit(world_document(), MODE, modes[m].store));
        const Tree *rules = tree_get(role_of_file(modes[m].file), "rules");
        assert_true(facts.kube.right_count > 15);
        for (size_t i = 0; i < facts.kube.right_count; i++) {
            const RightFact *right = &facts.kube.rights[i];
            bool allowed = false;
            for (size_t k = 0; k < list_count(rules); k++)
                allowed = allowed || rule_allows(list_at(rules, k), right);
            if (!allowed)
                fail_msg("%s does not allow: %s %s %s", modes[m].file, right->verb, right->resource,
                         str_or(right->name, ""));
        }
    }
}

static int start(void **state)
{
    (void)state;
    world_arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&world_arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_wrong),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_shared_configuration_is_not_deleted),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_manifests_give_what_is_asked_for),
    };
    return cmocka_run_group_tests(tests, start, end);
}
