// A watch of a collection, at an API server that plays a script.
#include "dcs/kubernetes/watch.h"

#include "common/os/files.h"
#include "common/os/log.h"
#include "tests/support/kube_server.h"
#include "tests/support/test.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PODS "/api/v1/namespaces/ns/pods"

static Arena *arena;
static KubeServer server;
static KubeAccess *access_;
static KubeShared shared;
static KubeWatch *watch;
static char directory[64];
static Error err;

// What the watch has told, one word each.
static struct {
    pthread_mutex_t mutex;
    char told[4096];
    char why[256];
} seen = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void tell(const char *word, const char *more)
{
    pthread_mutex_lock(&seen.mutex);
    const size_t length = strlen(seen.told);
    snprintf(seen.told + length, sizeof seen.told - length, "%s%s ", word, more);
    pthread_mutex_unlock(&seen.mutex);
}

static const char *name_of(const Tree *object)
{
    return tree_get_string(tree_get(object, "metadata"), "name", "?");
}

static void on_list(void *context, const Tree *items, const char *version, Instant asked_at)
{
    assert_ptr_equal(context, &seen);
    assert_true(instant_is_set(asked_at));
    tell("list@", version);
    for (size_t i = 0; i < items->count; i++)
        tell("-", name_of(items->entries[i].value));
}

static void on_event(void *context, KubeEvent event, const Tree *object, Instant at)
{
    static const char *const words[] = {"+", "~", "x"};
    (void)context;
    assert_true(instant_is_set(at));
    tell(words[event], name_of(object));
}

static void on_progress(void *context, const char *version, Instant at)
{
    (void)context;
    (void)at;
    tell("at@", version);
}

static void on_state(void *context, bool streaming, Instant since, const char *why)
{
    (void)context;
    assert_true(instant_is_set(since));
    assert_true(streaming == (why[0] == '\0'));
    if (!streaming) {
        pthread_mutex_lock(&seen.mutex);
        snprintf(seen.why, sizeof seen.why, "%s", why);
        pthread_mutex_unlock(&seen.mutex);
    }
    tell(streaming ? "up" : "down", "");
}

static const KubeWatchHandler handler = {on_list, on_event, on_progress, on_state};

static const char *path_of(const char *name)
{
    return arena_printf(arena, "%s/%s", directory, name);
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    err = (Error){0};
    memset(seen.told, 0, sizeof seen.told);
    memset(seen.why, 0, sizeof seen.why);
    strcpy(directory, "/tmp/howdah-kube-XXXXXX");
    assert_non_null(mkdtemp(directory));
    return 0;
}

static void start(const KubeStep *steps, size_t count)
{
    kube_server_start(&server, steps, count);
    const char *config =
        arena_printf(arena,
                     "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:%d'}}]\n"
                     "users: [{name: u, user: {token: t}}]\n"
                     "contexts: [{name: a, context: {cluster: c, user: u}}]\n"
                     "current-context: a\n",
                     server.port);
    assert_true(file_write(path_of("config"), config, 0600, &err));
    const KubeAccessOptions access = {.kubeconfig = path_of("config"), .never_in_cluster = true};
    assert_true(kube_access_open(&access, clock_system(), &access_, &err));
    kube_shared_init(&shared, clock_system(), NULL, access_, NULL);
    kube_shared_set_timers(&shared, 30000, 10000, 10000);
    const KubeWatchOptions options = {.shared = &shared,
                                      .path = PODS,
                                      .query = "labelSelector=a%3Db",
                                      .handler = &handler,
                                      .context = &seen};
    assert_true(kube_watch_start(&options, &watch, &err));
}

static int tear_down(void **state)
{
    (void)state;
    const Instant before = clock_now(clock_system());
    kube_watch_stop(watch);
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 0, 4000);
    kube_shared_done(&shared);
    kube_access_release(&access_);
    kube_server_stop(&server);
    assert_true(directory_clear(directory, &err));
    assert_int_equal(rmdir(directory), 0);
    arena_free(arena);
    return 0;
}

// Waits until it has told exactly this.
static void expect(const char *told)
{
    char now[sizeof seen.told] = "";
    for (int i = 0; i < 10000; i++) {
        pthread_mutex_lock(&seen.mutex);
        memcpy(now, seen.told, sizeof now);
        pthread_mutex_unlock(&seen.mutex);
        if (strcmp(now, told) == 0)
            return;
        poll(NULL, 0, 1);
    }
    fail_msg("expected '%s', got '%s' (%s)", told, now, seen.why);
}

#define META(name, version)                                                                        \
    "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version "\"}}"
#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":" META(name, version) "}\n"
#define LIST(version, items)                                                                       \
    {                                                                                              \
        KUBE_ANSWERS, "200 OK",                                                                    \
            "{\"metadata\":{\"resourceVersion\":\"" version "\"},\"items\":" items "}"             \
    }
#define GONE                                                                                       \
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}}\n"

static void test_a_list_and_what_comes_after(void **state)
{
    static const KubeStep steps[] = {
        LIST("10", "[" META("a", "3") "," META("b", "4") "]"),
        {KUBE_KEEPS, NULL,
         EVENT("ADDED", "c", "11") EVENT("MODIFIED", "a", "12") EVENT("NOVELTY", "a", "13")
             EVENT("DELETED", "b", "14") EVENT("BOOKMARK", "", "20")},
    };
    (void)state;
    start(steps, COUNT_OF(steps));
    expect("list@10 -a -b up +c ~a xb at@20 ");
    assert_true(kube_server_saw(&server, 0, "GET " PODS "?labelSelector=a%3Db HTTP/1.1\r\n"));
    assert_true(kube_server_saw(&server, 1,
                                "GET " PODS "?labelSelector=a%3Db&watch=true&allowWatchBookmarks="
                                "true&resourceVersion=10&timeoutSeconds="));
    assert_true(kube_server_saw(&server, 1, "Authorization: Bearer t\r\n"));
}

// As planned, every few minutes: no list, no gap, not a word.
static void test_an_end_in_peace(void **state)
{
    static const KubeStep steps[] = {
        LIST("10", "null"),
        {KUBE_STREAMS, NULL, EVENT("ADDED", "c", "11") EVENT("BOOKMARK", "", "15")},
        {KUBE_KEEPS, NULL, EVENT("ADDED", "d", "16")},
    };
    (void)state;
    start(steps, COUNT_OF(steps));
    expect("list@10 up +c at@15 +d ");
    assert_true(kube_server_saw(&server, 2, "&resourceVersion=15&"));
}

// A stream without end that ends at once must not become a busy loop.
static void test_an_end_again_and_again(void **state)
{
    static const KubeStep steps[] = {LIST("10", "[]"), {KUBE_STREAMS, NULL, ""}};
    (void)state;
    start(steps, COUNT_OF(steps));
    poll(NULL, 0, 1000);
    assert_in_range(kube_server_count(&server), 3, 15);
    expect("list@10 up ");
}

static void test_too_old_a_version(void **state)
{
    static const KubeStep by_event[] = {LIST("10", "[]"),
                                        {KUBE_KEEPS, NULL, EVENT("ADDED", "c", "11") GONE},
                                        LIST("30", "[" META("c", "11") "]"),
                                        {KUBE_KEEPS, NULL, EVENT("MODIFIED", "c", "31")}};
    (void)state;
    start(by_event, COUNT_OF(by_event));
    expect("list@10 up +c list@30 -c ~c ");
    assert_true(kube_server_saw(&server, 3, "&resourceVersion=30&"));
}

static void test_too_old_a_version_by_status(void **state)
{
    static const KubeStep steps[] = {LIST("10", "[]"),
                                     {KUBE_ANSWERS, "410 Gone", "{\"code\":410}"},
                                     LIST("30", "[]"),
                                     {KUBE_KEEPS, NULL, EVENT("ADDED", "c", "31")}};
    (void)state;
    start(steps, COUNT_OF(steps));
    expect("list@10 list@30 up +c ");
}

// Whatever else ends a stream: it is said, and everything is read anew.
static void test_streams_that_break(void **state)
{
    static const struct {
        KubeStep step;
        const char *told, *why;
    } rows[] = {
        {{KUBE_BREAKS, NULL, EVENT("ADDED", "c", "11")}, "list@10 up +c down list@30 up +d ", PODS},
        {{KUBE_KEEPS, NULL, "{\"type\":\"ADDED\"}\n"},
         "list@10 up down list@30 up +d ",
         "an event without an object"},
        {{KUBE_KEEPS, NULL, "{\"type\":\"ADDED\",\"object\":{}}\n"},
         "list@10 up down list@30 up +d ",
         "an event without a resourceVersion"},
        {{KUBE_KEEPS, NULL, "<html>\n"}, "list@10 up down list@30 up +d ", "watch " PODS},
        {{KUBE_KEEPS, NULL,
          "{\"type\":\"ERROR\",\"object\":{\"code\":500,\"message\":\"oops\"}}\n"},
         "list@10 up down list@30 up +d ",
         "oops"},
        {{KUBE_ANSWERS, "500 Oops", "{}"}, "list@10 list@30 up +d ", ""},
        {{KUBE_ANSWERS, "403 Forbidden", "{}"}, "list@10 list@30 up +d ", ""},
        {{KUBE_STREAMS, NULL, EVENT("ADDED", "c", "11") "{\"type\":"},
         "list@10 up +c down list@30 up +d ",
         "within a line"},
    };
    void *none = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const KubeStep steps[] = {LIST("10", "[]"),
                                  rows[i].step,
                                  LIST("30", "[]"),
                                  {KUBE_KEEPS, NULL, EVENT("ADDED", "d", "31")}};
        if (i > 0)
            set_up(&none);
        start(steps, COUNT_OF(steps));
        expect(rows[i].told);
        if (strstr(seen.why, rows[i].why) == NULL)
            fail_msg("row %zu: '%s'", i, seen.why);
        if (i + 1 < COUNT_OF(rows))
            tear_down(&none);
    }
}

// A re-used connection that dies under the request is no failure of the server's.
static void test_a_connection_that_had_died(void **state)
{
    static const KubeStep steps[] = {
        LIST("10", "[]"), {KUBE_LOSES, NULL, NULL}, {KUBE_KEEPS, NULL, EVENT("ADDED", "c", "11")}};
    (void)state;
    start(steps, COUNT_OF(steps));
    expect("list@10 up +c ");
}

static atomic_int warnings;

static void count_warnings(void *context, LogLevel level, const char *line)
{
    (void)context;
    (void)line;
    atomic_fetch_add(&warnings, level == LOG_WARN ? 1 : 0);
}

// One that was up and is then refused: the text names the rule, and the log says it, once.
static void test_a_watch_that_is_forbidden(void **state)
{
    static const KubeStep steps[] = {LIST("10", "[]"),
                                     {KUBE_STREAMS, NULL, EVENT("BOOKMARK", "", "15")},
                                     {KUBE_ANSWERS, "403 Forbidden", "{}"}};
    (void)state;
    atomic_store(&warnings, 0);
    log_capture(count_warnings, NULL);
    start(steps, COUNT_OF(steps));
    expect("list@10 up at@15 down ");
    assert_true(kube_server_wait(&server, 6));
    log_capture(NULL, NULL);
    assert_in_range(atomic_load(&warnings), 1, 2); // the watch, and then the list
    assert_non_null(strstr(seen.why, "forbidden: the role needs {apiGroups: [\"\"], resources: "
                                     "[pods], verbs: [")); // watch, or list by now
}

static void count_lists(void *context, LogLevel level, const char *line)
{
    static const char rule[] =
        "the role needs {apiGroups: [\"\"], resources: [pods], verbs: [list]}";
    (void)context;
    atomic_fetch_add(&warnings, level == LOG_WARN && strstr(line, rule) != NULL ? 1 : 0);
}

// What is refused is one line with the rule, however often it is asked for; and again when it had
// been allowed in between.
static void test_a_list_that_is_forbidden(void **state)
{
    static const KubeStep refused[] = {{KUBE_ANSWERS, "403 Forbidden", "{}"}};
    static const KubeStep allowed[] = {LIST("10", "[]"),
                                       {KUBE_STREAMS, NULL, EVENT("BOOKMARK", "", "15")},
                                       {KUBE_BREAKS, NULL, ""},
                                       {KUBE_ANSWERS, "403 Forbidden", "{}"}};
    (void)state;
    atomic_store(&warnings, 0);
    log_capture(count_lists, NULL);
    start(refused, COUNT_OF(refused));
    assert_true(kube_server_wait(&server, 4));
    assert_int_equal(atomic_load(&warnings), 1);
    kube_server_script(&server, allowed, COUNT_OF(allowed));
    assert_true(kube_server_wait(&server, kube_server_count(&server) + 6));
    log_capture(NULL, NULL);
    assert_int_equal(atomic_load(&warnings), 2);
}

static void test_lists_that_are_none(void **state)
{
    static const KubeStep steps[] = {{KUBE_ANSWERS, "200 OK", "{\"items\":[]}"},
                                     {KUBE_ANSWERS, "200 OK", "{\"metadata\":{}}"},
                                     {KUBE_ANSWERS, "403 Forbidden", "{}"},
                                     LIST("10", "[]"),
                                     {KUBE_KEEPS, NULL, ""}};
    (void)state;
    start(steps, COUNT_OF(steps));
    expect("list@10 up ");
    assert_int_equal(kube_server_count(&server), 5);
}

// A server that is too busy for a list says when it may be asked again, and is not asked before.
static void test_a_list_that_is_put_off(void **state)
{
    static const KubeStep steps[] = {{KUBE_ANSWERS, "429 Busy\r\nRetry-After: 4", "{}"},
                                     LIST("10", "[]"),
                                     {KUBE_KEEPS, NULL, ""}};
    (void)state;
    const Instant before = clock_now(clock_system());
    start(steps, COUNT_OF(steps));
    expect("list@10 up ");
    assert_true(instant_ms_between(before, clock_now(clock_system())) >= 4000);
    assert_int_equal(kube_server_count(&server), 3);
}

// Somebody knows that the stream is behind.
static void test_restart(void **state)
{
    static const KubeStep steps[] = {LIST("10", "[]"),
                                     {KUBE_KEEPS, NULL, EVENT("ADDED", "c", "11")},
                                     LIST("30", "[]"),
                                     {KUBE_KEEPS, NULL, EVENT("ADDED", "d", "31")}};
    (void)state;
    start(steps, COUNT_OF(steps));
    expect("list@10 up +c ");
    kube_watch_restart(watch);
    expect("list@10 up +c list@30 +d ");
}

// Stopping does not wait: not for a list that hangs, not for a quiet stream (tear_down looks).
static void test_stopping_while_a_list_hangs(void **state)
{
    static const KubeStep steps[] = {{KUBE_HANGS, NULL, NULL}};
    (void)state;
    start(steps, COUNT_OF(steps));
    assert_true(kube_server_wait(&server, 1));
}

// A server that takes the request and is silent is given up after 5 s, not after the 90 of an open
// stream.
static void test_a_watch_that_is_not_answered(void **state)
{
    static const KubeStep steps[] = {LIST("10", "[]"),
                                     {KUBE_STREAMS, NULL, EVENT("BOOKMARK", "", "15")},
                                     {KUBE_HANGS, NULL, NULL},
                                     LIST("30", "[]"),
                                     {KUBE_KEEPS, NULL, ""}};
    (void)state;
    start(steps, COUNT_OF(steps));
    const Instant before = clock_now(clock_system());
    expect("list@10 up at@15 down list@30 up ");
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 4000, 9000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_list_and_what_comes_after, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_end_in_peace, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_end_again_and_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_old_a_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_old_a_version_by_status, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_streams_that_break, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_connection_that_had_died, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_watch_that_is_forbidden, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_list_that_is_forbidden, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists_that_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_list_that_is_put_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopping_while_a_list_hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_watch_that_is_not_answered, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
