// The whole store, its threads too, at an API server that plays a script.
#include "common/os/files.h"
#include "dcs/kubernetes/kubernetes.h"
#include "tests/support/kube_server.h"
#include "tests/support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SELECTED "?labelSelector=application%3Dhowdah%2Ccluster-name%3Ddemo"
#define CORE     "/api/v1/namespaces/ns/"
#define LEASES   "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
#define SESSION  "00000000000000ab"

#define LIST(items) "{\"metadata\":{\"resourceVersion\":\"100\"},\"items\":[" items "]}"
#define POD(name, version, label)                                                                  \
    "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version                          \
    "\",\"labels\":{\"application\":\"howdah\",\"cluster-name\":\"demo\"" label "}}}"
#define PRIMARY ",\"role\":\"primary\""
#define HELD(holder, session)                                                                      \
    "{\"metadata\":{\"name\":\"demo\",\"resourceVersion\":\"50\","                                 \
    "\"labels\":{\"application\":\"howdah\",\"cluster-name\":\"demo\"},"                           \
    "\"annotations\":{\"howdah.io/session\":\"" session " 2026-01-01T00:00:00.000001Z\","          \
    "\"howdah.io/term\":\"{\\\"holder\\\":\\\"" holder                                             \
    "\\\",\\\"instance\\\":\\\"i\\\",\\\"term\\\":4}\"}},"                                         \
    "\"spec\":{\"holderIdentity\":\"" holder "\",\"leaseDurationSeconds\":30,"                     \
    "\"acquireTime\":\"2026-01-01T00:00:00.000001Z\",\"leaseTransitions\":3,"                      \
    "\"renewTime\":\"2026-01-01T00:00:00.000001Z\"}}"

#define GET_OF(what) "GET " what SELECTED " HTTP"
#define FOLLOWED(what, items)                                                                      \
    {KUBE_ANSWERS, "200 OK", LIST(items), GET_OF(what)},                                           \
    {                                                                                              \
        KUBE_KEEPS, NULL, "", what SELECTED "&watch=true"                                          \
    }

static Arena *arena;
static KubeServer server;
static KubeAccess *access_;
static Dcs *dcs;
static char directory[64];
static Error err;
static KubernetesLabel label_items[] = {{"application", "howdah"}};
static KubernetesSettings settings;

static int begin(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    err = (Error){0};
    settings = (KubernetesSettings){.objects = KUBERNETES_LEASES,
                                    .namespace = "ns",
                                    .labels = {label_items, 1},
                                    .scope_label = "cluster-name",
                                    .role_label = "role",
                                    .leader_label_value = "primary",
                                    .follower_label_value = "replica",
                                    .standby_leader_label_value = "primary"};
    strcpy(directory, "/tmp/howdah-kube-XXXXXX");
    assert_non_null(mkdtemp(directory));
    return 0;
}

static void start_as(const char *member, const KubeStep *steps, size_t count, bool watch)
{
    kube_server_start(&server, steps, count);
    const char *path = arena_printf(arena, "%s/config", directory);
    const char *config =
        arena_printf(arena,
                     "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:%d'}}]\n"
                     "users: [{name: u, user: {token: t}}]\n"
                     "contexts: [{name: a, context: {cluster: c, user: u}}]\n"
                     "current-context: a\n",
                     server.port);
    assert_true(file_write(path, config, 0600, &err));
    const KubeAccessOptions access = {.kubeconfig = path, .never_in_cluster = true};
    assert_true(kube_access_open(&access, clock_system(), &access_, &err));
    const KubernetesOptions options = {.settings = &settings,
                                       .scope = "demo",
                                       .member = member,
                                       .watch = watch,
                                       .access = access_,
                                       .ttl_ms = 30000,
                                       .loop_wait_ms = 10000,
                                       .retry_timeout_ms = 10000,
                                       .clock = clock_system()};
    dcs = kubernetes_new(&options);
}

static void start(const KubeStep *steps, size_t count, bool watch)
{
    start_as("demo-0", steps, count, watch);
}

static int end(void **state)
{
    (void)state;
    dcs_free(dcs);
    dcs = NULL;
    kube_access_release(&access_);
    kube_server_stop(&server);
    assert_true(directory_clear(directory, &err));
    assert_int_equal(rmdir(directory), 0);
    arena_free(arena);
    return 0;
}

static Deadline soon(void)
{
    return deadline_in(clock_system(), 5000);
}

static const char *open_session(const char *resume)
{
    const char *session = NULL;
    LeaseProof proof;
    if (!dcs->ops->open_session(dcs, 30000, resume, soon(), &session, &proof, &err))
        fail_msg("%s", err.text);
    return session;
}

// The leader takes the label off a pod that has lost, however long it takes until it may, and
// though it was not this agent that has won the lease.
static void test_a_losers_label_goes_in_the_end(void **state)
{
    static const KubeStep steps[] = {
        FOLLOWED(CORE "pods", POD("demo-0", "11", PRIMARY) "," POD("demo-1", "12", PRIMARY)),
        FOLLOWED(CORE "configmaps", ""),
        FOLLOWED(LEASES, HELD("demo-0", SESSION)),
        {KUBE_ANSWERS, "200 OK", HELD("demo-0", SESSION), "GET " LEASES "/demo "},
        {KUBE_ANSWERS, "503 No\r\nRetry-After: 5", "{}", "PATCH " CORE "pods/demo-1 "},
        {KUBE_ANSWERS, "503 No\r\nRetry-After: 5", "{}", "PATCH " CORE "pods/demo-1 "},
        {KUBE_ANSWERS, "503 No\r\nRetry-After: 5", "{}", "PATCH " CORE "pods/demo-1 "},
        {KUBE_ANSWERS, "503 No\r\nRetry-After: 5", "{}", "PATCH " CORE "pods/demo-1 "},
        {KUBE_ANSWERS, "200 OK", POD("demo-1", "101", ""), "PATCH " CORE "pods/demo-1 "},
    };
    (void)state;
    start(steps, COUNT_OF(steps), true);
    assert_string_equal(open_session(SESSION), SESSION);
    size_t at = 0;
    for (int i = 0; i < 5; i++) {
        at = kube_server_find(&server, "PATCH " CORE "pods/demo-1 ", at);
        assert_true(at < KUBE_REQUESTS_MAX);
        assert_true(kube_server_saw(&server, at++, "\"labels\":{\"role\":null}"));
    }
}

// An agent goes on with a term of its predecessor, whose fence stands by the ttl in the record:
// nobody is told another one by that.
static void test_a_session_goes_on_with_its_ttl(void **state)
{
    static const KubeStep steps[] = {
        {KUBE_ANSWERS, "200 OK", HELD("demo-0", SESSION), "GET " LEASES "/demo "},
    };
    const char *session = NULL;
    LeaseProof proof;
    (void)state;
    start(steps, COUNT_OF(steps), false);
    if (!dcs->ops->open_session(dcs, 10000, SESSION, soon(), &session, &proof, &err))
        fail_msg("%s", err.text);
    assert_int_equal(proof.ttl_ms, 30000);
    // By now the fence is bound by the other one.
    if (!dcs->ops->open_session(dcs, 10000, NULL, soon(), &session, &proof, &err))
        fail_msg("%s", err.text);
    assert_string_equal(session, SESSION);
    assert_int_equal(proof.ttl_ms, 10000);
}

#define OF_DEMO(annotations)                                                                       \
    "{\"metadata\":{\"name\":\"demo\",\"resourceVersion\":\"60\",\"annotations\":{" annotations    \
    "}}}"
#define NOWHERE(what)                                                                              \
    {                                                                                              \
        KUBE_ANSWERS, "404 Not Found", "{\"kind\":\"Status\",\"details\":{\"name\":\"it\"}}",      \
            "GET " what " "                                                                        \
    }
#define NOTHING_HERE                                                                               \
    {KUBE_ANSWERS, "200 OK", LIST(""), GET_OF(CORE "pods")},                                       \
        {KUBE_ANSWERS, "200 OK", LIST(""), GET_OF(CORE "configmaps")},                             \
    {                                                                                              \
        KUBE_ANSWERS, "200 OK", LIST(""), GET_OF(LEASES)                                           \
    }

static bool was_asked(const char *text)
{
    for (size_t i = 0; i < kube_server_count(&server); i++)
        if (kube_server_saw(&server, i, text))
            return true;
    return false;
}

static ClusterView looked_at(void)
{
    ClusterView view = {0};
    if (!dcs->ops->refresh(dcs, arena, soon(), &view, &err))
        fail_msg("%s", err.text);
    return view;
}

static void remove_is_refused(const char *why)
{
    assert_false(dcs->ops->remove_cluster(dcs, soon(), &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, why));
    assert_false(was_asked("DELETE"));
}

// howdahctl's settings name leases, and the cluster is kept in Endpoints.
static void test_a_command_that_looks_in_the_wrong_mode(void **state)
{
    static const KubeStep steps[] = {
        NOTHING_HERE,
        {KUBE_ANSWERS, "200 OK", OF_DEMO("\"leader\":\"demo-1\",\"ttl\":\"30\""),
         "GET " CORE "endpoints/demo "},
        NOWHERE(CORE "endpoints/demo-config"),
    };
    (void)state;
    start_as(NULL, steps, COUNT_OF(steps), false);
    const ClusterView view = looked_at();
    assert_string_equal(view.other_store, "'demo-1' leads this cluster in Endpoints 'demo'");
    assert_string_equal(view.other_store_line, "kubernetes.store: endpoints");
    remove_is_refused("'demo-1' leads this cluster in Endpoints 'demo'");
}

// Nobody leads it, and the ConfigMap that leases mode has, too, is another mode's by its mark.
static void test_a_command_that_looks_beside_an_initialize(void **state)
{
    static const KubeStep steps[] = {
        NOTHING_HERE,
        NOWHERE(CORE "endpoints/demo"),
        NOWHERE(CORE "endpoints/demo-config"),
        NOWHERE(CORE "configmaps/demo-leader"),
        {KUBE_ANSWERS, "200 OK", OF_DEMO("\"initialize\":\"7301012345678\""),
         "GET " CORE "configmaps/demo-config "},
    };
    (void)state;
    start_as(NULL, steps, COUNT_OF(steps), false);
    const ClusterView view = looked_at();
    assert_non_null(strstr(view.other_store, "ConfigMap: 'demo-config' has its initialize"));
    assert_string_equal(view.other_store_line, "kubernetes.store: configmaps");
    remove_is_refused("has its initialize");
}

// A cluster that is here is looked at here; what there is elsewhere keeps remove alone from acting.
static void test_a_command_that_looks_in_the_right_mode(void **state)
{
    static const KubeStep steps[] = {
        {KUBE_ANSWERS, "200 OK", LIST(""), GET_OF(CORE "pods")},
        {KUBE_ANSWERS, "200 OK", LIST(""), GET_OF(CORE "configmaps")},
        {KUBE_ANSWERS, "200 OK", LIST(HELD("demo-0", SESSION)), GET_OF(LEASES)},
        {KUBE_ANSWERS, "200 OK", OF_DEMO("\"leader\":\"demo-9\",\"ttl\":\"30\""),
         "GET " CORE "endpoints/demo "},
        NOWHERE(CORE "endpoints/demo-config"),
    };
    (void)state;
    start_as(NULL, steps, COUNT_OF(steps), false);
    const ClusterView view = looked_at();
    assert_string_equal(view.leader.name, "demo-0");
    assert_null(view.other_store);
    assert_false(was_asked("endpoints"));
    remove_is_refused("'demo-9' leads");
}

// A pod whose predecessor of the same name holds the lease does not hold it.
static void test_a_pod_of_the_same_name_is_no_leader(void **state)
{
    static const KubeStep steps[] = {
        FOLLOWED(CORE "pods", POD("demo-0", "11", "")),
        FOLLOWED(CORE "configmaps", ""),
        FOLLOWED(LEASES, HELD("demo-0", SESSION)),
        {KUBE_ANSWERS, "200 OK", HELD("demo-0", SESSION), "GET " LEASES "/demo "},
        {KUBE_ANSWERS, "200 OK", POD("demo-0", "101", ",\"role\":\"replica\""),
         "PATCH " CORE "pods/demo-0 "},
    };
    (void)state;
    start(steps, COUNT_OF(steps), true);
    assert_string_not_equal(open_session(NULL), SESSION);
    ClusterView view;
    for (int i = 0; i < 1000 && !dcs->ops->view(dcs, arena, &view); i++)
        (void)usleep(10000);
    const char *json = "{\"state\":\"running\",\"role\":\"replica\"}";
    if (!dcs->ops->put_member(dcs, json, soon(), &err))
        fail_msg("%s", err.text);
    const size_t at = kube_server_find(&server, "PATCH " CORE "pods/demo-0 ", 0);
    assert_true(kube_server_saw(&server, at, "\"role\":\"replica\""));
    assert_false(kube_server_saw(&server, at, "\"role\":\"primary\""));
}

static atomic_bool done;

static void *look(void *context)
{
    (void)context;
    while (!atomic_load(&done)) {
        AUTO(arena_release) Arena *own = arena_new(ARENA_CAP_DEFAULT);
        ClusterView view;
        (void)dcs->ops->view(dcs, own, &view); // there, or not yet
    }
    return NULL;
}

// REST looks at the cluster while the turn opens a session: what both touch is guarded (TSan).
static void test_a_view_by_another_thread(void **state)
{
    static const KubeStep steps[] = {
        FOLLOWED(CORE "pods", POD("demo-0", "11", "")),
        FOLLOWED(CORE "configmaps", ""),
        FOLLOWED(LEASES, HELD("demo-1", SESSION)),
        {KUBE_ANSWERS, "200 OK", HELD("demo-1", SESSION), "GET " LEASES "/demo "},
    };
    pthread_t thread;
    (void)state;
    start(steps, COUNT_OF(steps), true);
    atomic_store(&done, false);
    assert_int_equal(pthread_create(&thread, NULL, look, NULL), 0);
    for (int i = 0; i < 20; i++)
        (void)open_session(NULL);
    atomic_store(&done, true);
    pthread_join(thread, NULL);
}

// Threads end together: none begins another try while others are waited for.
static void test_the_end_while_the_server_hangs(void **state)
{
    static const KubeStep steps[] = {{KUBE_HANGS, NULL, NULL, NULL}};
    (void)state;
    start(steps, COUNT_OF(steps), true);
    assert_true(kube_server_wait(&server, 12)); // by now a list has several seconds
    const Instant before = clock_now(clock_system());
    dcs_free(dcs);
    dcs = NULL;
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 0, 3500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_losers_label_goes_in_the_end, begin, end),
        cmocka_unit_test_setup_teardown(test_a_session_goes_on_with_its_ttl, begin, end),
        cmocka_unit_test_setup_teardown(test_a_command_that_looks_in_the_wrong_mode, begin, end),
        cmocka_unit_test_setup_teardown(test_a_command_that_looks_beside_an_initialize, begin, end),
        cmocka_unit_test_setup_teardown(test_a_command_that_looks_in_the_right_mode, begin, end),
        cmocka_unit_test_setup_teardown(test_a_pod_of_the_same_name_is_no_leader, begin, end),
        cmocka_unit_test_setup_teardown(test_a_view_by_another_thread, begin, end),
        cmocka_unit_test_setup_teardown(test_the_end_while_the_server_hangs, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
