// The announcer at an API server that plays a script: the latest state wins, what is refused is one
// line in the log, an Event that arrived twice is there once.
#include "dcs/kubernetes/announce.h"

#include "common/os/files.h"
#include "common/os/log.h"
#include "tests/support/kube_server.h"
#include "tests/support/test.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVICES                                                                                   \
    "{\"items\":[{\"metadata\":{\"name\":\"demo\",\"uid\":\"s-1\"}}],"                             \
    "\"metadata\":{\"resourceVersion\":\"7\"}}"
#define OBJECT "{\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"8\"}}"
#define POD    "{\"metadata\":{\"name\":\"demo-0\",\"uid\":\"p-1\",\"resourceVersion\":\"8\"%s}}"

static Arena *arena;
static KubeServer server;
static KubeAccess *access_;
static Announcer *announcer;
static char directory[64];
static Error err;
static atomic_int warnings;
static KubernetesLabel label_items[] = {{"application", "howdah"}};

static void count_warnings(void *context, LogLevel level, const char *line)
{
    (void)context;
    (void)line;
    atomic_fetch_add(&warnings, level == LOG_WARN ? 1 : 0);
}

static const char *put(const char *name, const char *content)
{
    const char *path = arena_printf(arena, "%s/%s", directory, name);
    if (!file_write(path, content, 0600, &err))
        fail_msg("%s", err.text);
    return path;
}

static void announce_at(const KubeStep *steps, size_t count)
{
    static const KubernetesSettings settings = {
        .namespace = "ns", .labels = {label_items, 1}, .scope_label = "cluster-name"};
    kube_server_start(&server, steps, count);
    const char *config =
        put("config", arena_printf(arena,
                                   "clusters: [{name: c, cluster: {server: "
                                   "'http://127.0.0.1:%d'}}]\nusers: [{name: u, user: {token: t}}]"
                                   "\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
                                   "current-context: a\n",
                                   server.port));
    const KubeAccessOptions access_options = {.kubeconfig = config, .never_in_cluster = true};
    if (!kube_access_open(&access_options, clock_system(), &access_, &err))
        fail_msg("%s", err.text);
    const KubeAnnounceOptions options = {.settings = &settings,
                                         .scope = "demo",
                                         .member = "demo-0",
                                         .access = access_,
                                         .ttl_ms = 30000,
                                         .loop_wait_ms = 10000,
                                         .retry_timeout_ms = 10000,
                                         .clock = clock_system()};
    announcer = kube_announcer_new(&options);
}

static int begin(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    (void)snprintf(directory, sizeof directory, "/tmp/howdah-announce-XXXXXX");
    assert_non_null(mkdtemp(directory));
    atomic_store(&warnings, 0);
    log_capture(count_warnings, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    announcer_free(announcer);
    announcer = NULL;
    kube_server_stop(&server);
    kube_access_free(access_);
    log_capture(NULL, NULL);
    (void)unlink(arena_printf(arena, "%s/config", directory));
    (void)rmdir(directory);
    arena_free(arena);
    return 0;
}

static void wait_count(size_t count)
{
    if (!kube_server_wait(&server, count))
        fail_msg("%zu requests, not %zu", kube_server_count(&server), count);
}

static void wait_fate(PodFate wanted)
{
    for (int i = 0; i < 500 && announcer->ops->fate(announcer) != wanted; i++)
        (void)usleep(10000);
    assert_int_equal(announcer->ops->fate(announcer), wanted);
}

static void test_signs_are_written_once(void **state)
{
    (void)state;
    static const KubeStep steps[] = {{KUBE_ANSWERS, "200 OK", SERVICES},
                                     {KUBE_ANSWERS, "200 OK", OBJECT}};
    announce_at(steps, COUNT_OF(steps));
    const ClusterSigns signs = {.state = SIGN_HEALTHY, .leader = "demo-0", .timeline = 1};
    announcer->ops->show(announcer, &signs);
    wait_count(2);
    assert_true(kube_server_saw(&server, 0,
                                "GET /api/v1/namespaces/ns/services?labelSelector=application%3D"
                                "howdah%2Ccluster-name%3Ddemo "));
    assert_true(kube_server_saw(&server, 1, "PATCH /api/v1/namespaces/ns/services/demo "));
    assert_true(kube_server_saw(&server, 1, "\"howdah.io/state\":\"healthy\""));
    // The same once more is no change, and what is not ours to say is not said.
    announcer->ops->show(announcer, &signs);
    announcer->ops->show(announcer, NULL);
    announcer->ops->ask_fate(announcer); // for a sign that it has been through it all
    wait_count(3);
    assert_true(kube_server_saw(&server, 2, "GET /api/v1/namespaces/ns/pods/demo-0 "));
}

// A switchover takes less than a second, and each change of a Service's labels is work for those
// who are to lead clients to the new primary.
static void test_what_passes_is_not_told(void **state)
{
    (void)state;
    static const KubeStep steps[] = {{KUBE_ANSWERS, "200 OK", SERVICES},
                                     {KUBE_ANSWERS, "200 OK", OBJECT}};
    announce_at(steps, COUNT_OF(steps));
    const ClusterSigns passing = {.state = SIGN_FAILING_OVER, .leader = "demo-0", .timeline = 1};
    const ClusterSigns signs = {.state = SIGN_HEALTHY, .leader = "demo-0", .timeline = 2};
    announcer->ops->show(announcer, &passing);
    (void)usleep(100000);
    announcer->ops->show(announcer, &signs);
    wait_count(2);
    assert_true(kube_server_saw(&server, 1, "\"howdah.io/state\":\"healthy\""));
    assert_true(kube_server_saw(&server, 1, "\"howdah.io/timeline\":\"2\""));
}

// Who ends will not be there in a second.
static void test_at_the_end_it_is_told_at_once(void **state)
{
    (void)state;
    static const KubeStep steps[] = {{KUBE_ANSWERS, "200 OK", SERVICES},
                                     {KUBE_ANSWERS, "200 OK", OBJECT}};
    announce_at(steps, COUNT_OF(steps));
    const ClusterSigns signs = {.state = SIGN_NO_LEADER};
    announcer->ops->show(announcer, &signs);
    announcer_free(announcer);
    announcer = NULL;
    assert_int_equal(kube_server_count(&server), 2);
    assert_true(kube_server_saw(&server, 1, "\"howdah.io/state\":\"no-leader\""));
}

// A 403 is one line, however often the state changes; nothing is asked of the server meanwhile.
static void test_refusal_is_said_once(void **state)
{
    (void)state;
    static const KubeStep steps[] = {{KUBE_ANSWERS, "403 Forbidden", "{\"kind\":\"Status\"}"}};
    announce_at(steps, COUNT_OF(steps));
    ClusterSigns signs = {.state = SIGN_HEALTHY, .leader = "demo-0"};
    announcer->ops->show(announcer, &signs);
    wait_count(1);
    for (uint32_t i = 1; i < 5; i++) {
        signs.timeline = i;
        announcer->ops->show(announcer, &signs);
    }
    announcer->ops->ask_fate(announcer);
    wait_count(2);
    announcer->ops->ask_fate(announcer);
    wait_count(3);
    assert_int_equal(atomic_load(&warnings), 1);
    assert_int_equal(announcer->ops->fate(announcer), POD_NOT_KNOWN);
}

// A Service of somebody else's with our labels, that the Role does not name.
static void test_one_refusal_keeps_no_other_from_it(void **state)
{
    (void)state;
    static const char two[] = "{\"items\":[{\"metadata\":{\"name\":\"alien\"}},"
                              "{\"metadata\":{\"name\":\"demo\"}}],"
                              "\"metadata\":{\"resourceVersion\":\"7\"}}";
    static const KubeStep steps[] = {{KUBE_ANSWERS, "200 OK", two},
                                     {KUBE_ANSWERS, "403 Forbidden", "{\"kind\":\"Status\"}"},
                                     {KUBE_ANSWERS, "200 OK", OBJECT},
                                     {KUBE_ANSWERS, "200 OK", two},
                                     {KUBE_ANSWERS, "403 Forbidden", "{\"kind\":\"Status\"}"},
                                     {KUBE_ANSWERS, "200 OK", OBJECT}};
    announce_at(steps, COUNT_OF(steps));
    ClusterSigns signs = {.state = SIGN_HEALTHY, .leader = "demo-0"};
    for (uint32_t i = 1; i <= 2; i++) {
        signs.timeline = i;
        announcer->ops->show(announcer, &signs);
        wait_count(3 * i);
        assert_true(kube_server_saw(&server, 3 * i - 1, "/services/demo "));
    }
    announcer_free(announcer);
    announcer = NULL;
    assert_int_equal(atomic_load(&warnings), 1);
}

static void test_events(void **state)
{
    (void)state;
    static const KubeStep steps[] = {{KUBE_ANSWERS, "200 OK", POD},
                                     {KUBE_ANSWERS, "409 Conflict", "{\"kind\":\"Status\"}"},
                                     {KUBE_ANSWERS, "200 OK", SERVICES},
                                     {KUBE_ANSWERS, "201 Created", OBJECT}};
    static KubeStep own[COUNT_OF(steps)];
    memcpy(own, steps, sizeof steps);
    own[0].body = arena_printf(arena, POD, "");
    announce_at(own, COUNT_OF(own));
    const Announcement event = {.reason = "Promoted",
                                .message = "LEADER_HEALTHY: leading",
                                .of_cluster = true,
                                .wall_us = clock_wall_us(clock_system())};
    announcer->ops->event(announcer, &event);
    wait_count(4);
    assert_true(kube_server_saw(&server, 0, "GET /api/v1/namespaces/ns/pods/demo-0 "));
    assert_true(kube_server_saw(&server, 1, "POST /api/v1/namespaces/ns/events "));
    assert_true(kube_server_saw(&server, 1, "\"uid\":\"p-1\""));
    assert_true(kube_server_saw(&server, 1, "\"reason\":\"Promoted\""));
    assert_true(kube_server_saw(&server, 3, "POST /api/v1/namespaces/ns/events "));
    assert_true(kube_server_saw(&server, 3, "\"kind\":\"Service\""));
    assert_int_equal(atomic_load(&warnings), 0);
}

// Nobody waits for a server that is away, not even at the end; the oldest go when there are too
// many.
static void test_server_away(void **state)
{
    (void)state;
    static const KubeStep steps[] = {{KUBE_HANGS, NULL, NULL}};
    announce_at(steps, COUNT_OF(steps));
    const Instant began = clock_now(clock_system());
    for (int i = 0; i < 100; i++) {
        const Announcement event = {
            .reason = "Crashed", .message = "", .wall_us = clock_wall_us(clock_system())};
        announcer->ops->event(announcer, &event);
    }
    assert_true(instant_ms_between(began, clock_now(clock_system())) < 2000);
    announcer_free(announcer);
    announcer = NULL;
    assert_true(instant_ms_between(began, clock_now(clock_system())) < 4000);
}

static void test_fate(void **state)
{
    (void)state;
    KubeStep steps[] = {{KUBE_ANSWERS, "200 OK", arena_printf(arena, POD, "")}};
    announce_at(steps, 1);
    announcer->ops->ask_fate(announcer);
    wait_fate(POD_STAYS);
    KubeStep deleted[] = {
        {KUBE_ANSWERS, "200 OK",
         arena_printf(arena, POD, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"")}};
    kube_server_script(&server, deleted, 1);
    announcer->ops->ask_fate(announcer);
    wait_fate(POD_GOES);
    // Another pod of the same name, and none at all.
    KubeStep other[] = {{KUBE_ANSWERS, "200 OK",
                         "{\"metadata\":{\"name\":\"demo-0\",\"uid\":\"p-2\","
                         "\"resourceVersion\":\"9\"}}"}};
    kube_server_script(&server, other, 1);
    announcer->ops->ask_fate(announcer);
    wait_fate(POD_GOES);
    static const KubeStep gone[] = {
        {KUBE_ANSWERS, "404 Not Found",
         "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"details\":{\"name\":\"demo-0\"}}"}};
    kube_server_script(&server, gone, 1);
    announcer->ops->ask_fate(announcer);
    wait_fate(POD_GOES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_signs_are_written_once, begin, end),
        cmocka_unit_test_setup_teardown(test_what_passes_is_not_told, begin, end),
        cmocka_unit_test_setup_teardown(test_at_the_end_it_is_told_at_once, begin, end),
        cmocka_unit_test_setup_teardown(test_refusal_is_said_once, begin, end),
        cmocka_unit_test_setup_teardown(test_one_refusal_keeps_no_other_from_it, begin, end),
        cmocka_unit_test_setup_teardown(test_events, begin, end),
        cmocka_unit_test_setup_teardown(test_server_away, begin, end),
        cmocka_unit_test_setup_teardown(test_fate, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
