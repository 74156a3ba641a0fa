// Calls to an API server that plays a script.
#include "dcs/kubernetes/client.h"

#include "common/os/files.h"
#include "common/os/log.h"
#include "tests/support/kube_server.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEMO "/api/v1/namespaces/ns/endpoints/demo"
#define BODY "{\"metadata\":{\"name\":\"demo\",\"resourceVersion\":\"4711\"}}"

static Arena *arena;
static KubeServer server;
static KubeAccess *access_;
static KubeShared shared;
static KubeClient client;
static KubeReply reply;
static char directory[64];
static Error err;
static int warnings;

static void count_warnings(void *context, LogLevel level, const char *line)
{
    (void)context;
    (void)line;
    warnings += level == LOG_WARN ? 1 : 0;
}

static const char *path_of(const char *name)
{
    return arena_printf(arena, "%s/%s", directory, name);
}

static void put(const char *name, const char *content)
{
    if (!file_write(path_of(name), content, 0600, &err))
        fail_msg("%s", err.text);
}

static const KubeStep ok[] = {{KUBE_ANSWERS, "200 OK", BODY}};

// A client of this server; settings NULL: none.
static void connect_to(int port, const KubernetesSettings *settings)
{
    put("config", arena_printf(arena,
                               "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:%d'}}]\n"
                               "users: [{name: u, user: {tokenFile: token}}]\n"
                               "contexts: [{name: a, context: {cluster: c, user: u}}]\n"
                               "current-context: a\n",
                               port));
    put("token", "secret");
    const KubeAccessOptions options = {.kubeconfig = path_of("config"), .never_in_cluster = true};
    if (!kube_access_open(&options, clock_system(), &access_, &err))
        fail_msg("%s", err.text);
    kube_shared_init(&shared, clock_system(), NULL, access_, settings);
    kube_shared_set_timers(&shared, 30000, 10000, 10000);
    kube_client_init(&client, &shared);
}

static void disconnect(void)
{
    kube_client_done(&client);
    kube_shared_done(&shared);
    kube_access_release(&access_);
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    err = (Error){0};
    strcpy(directory, "/tmp/howdah-kube-XXXXXX");
    assert_non_null(mkdtemp(directory));
    kube_server_start(&server, ok, 1);
    connect_to(server.port, NULL);
    warnings = 0;
    log_capture(count_warnings, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_capture(NULL, NULL);
    disconnect();
    kube_server_stop(&server);
    assert_true(directory_clear(directory, &err));
    assert_int_equal(rmdir(directory), 0);
    arena_free(arena);
    return 0;
}

static Deadline in_ms(int64_t ms)
{
    return deadline_in(clock_system(), ms);
}

static bool call(const KubeRequest *request, int64_t ms)
{
    err = (Error){0};
    return kube_call(&client, arena, request, in_ms(ms), &reply, &err);
}

static bool do_method(KubeMethod method, int64_t ms)
{
    const KubeRequest request = {
        .method = method, .path = DEMO, .body = method == KUBE_GET ? NULL : "{}"};
    return call(&request, ms);
}

static void expect(bool done, ErrorKind kind, const char *says)
{
    if (done)
        fail_msg("did not fail, as it should: %s", says);
    if (err.kind != kind || strstr(err.text, says) == NULL)
        fail_msg("expected %s, '%s', got %s, '%s'", error_kind_name(kind), says,
                 error_kind_name(err.kind), err.text);
}

// --- one try

static void test_what_is_sent(void **state)
{
    (void)state;
    const KubeRequest get = {.method = KUBE_GET, .path = DEMO, .query = "labelSelector=a%3Db"};
    assert_true(call(&get, 10000));
    assert_int_equal(err.kind, ERR_NONE); // filled by failures alone
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.resource_version, "4711");
    assert_string_equal(tree_get_string(tree_get(reply.body, "metadata"), "name", ""), "demo");
    assert_true(instant_is_set(reply.sent_at));
    static const char *const get_has[] = {"GET " DEMO "?labelSelector=a%3Db HTTP/1.1\r\n",
                                          "Authorization: Bearer secret\r\n",
                                          "Accept: application/json\r\n"};
    for (size_t i = 0; i < COUNT_OF(get_has); i++)
        assert_true(kube_server_saw(&server, 0, get_has[i]));

    const KubeRequest patch = {.method = KUBE_PATCH, .path = DEMO, .body = "{\"a\":1}"};
    assert_true(call(&patch, 10000));
    static const char *const patch_has[] = {
        "PATCH " DEMO " HTTP/1.1\r\n", "Content-Type: application/strategic-merge-patch+json\r\n",
        "\r\n\r\n{\"a\":1}"};
    for (size_t i = 0; i < COUNT_OF(patch_has); i++)
        assert_true(kube_server_saw(&server, 1, patch_has[i]));

    const KubeRequest merge = {
        .method = KUBE_PATCH, .path = DEMO, .body = "{}", .content_type = KUBE_MERGE};
    assert_true(call(&merge, 10000));
    assert_true(kube_server_saw(&server, 2, "Content-Type: application/merge-patch+json\r\n"));
    assert_true(do_method(KUBE_POST, 10000));
    assert_true(kube_server_saw(&server, 3, "POST "));
    assert_true(kube_server_saw(&server, 3, "Content-Type: application/json\r\n"));
    assert_true(do_method(KUBE_DELETE, 10000));
    assert_true(kube_server_saw(&server, 4, "DELETE "));
}

static void test_what_is_not_there(void **state)
{
    static const KubeStep missing[] = {
        {KUBE_ANSWERS, "404 Not Found",
         "{\"details\":{\"name\":\"demo\",\"kind\":\"endpoints\"}}"}};
    (void)state;
    kube_server_script(&server, missing, 1);
    assert_true(do_method(KUBE_GET, 10000));
    assert_int_equal(reply.status, 404);
    assert_null(reply.body);
    assert_string_equal(reply.resource_version, "");
    assert_true(do_method(KUBE_DELETE, 10000));
    expect(do_method(KUBE_PATCH, 10000), ERR_CONFLICT, "not there any more");
    assert_int_equal(reply.status, 404);
    assert_int_equal(kube_server_count(&server), 3);
}

// What is refused for good is asked once.
static void test_refusals(void **state)
{
    static const struct {
        KubeMethod method;
        const char *status;
        ErrorKind kind;
        const char *says;
    } rows[] = {
        {KUBE_PATCH, "409 Conflict", ERR_CONFLICT, "PATCH " DEMO ": conflict"},
        {KUBE_POST, "409 Conflict", ERR_CONFLICT, "conflict"},
        {KUBE_GET, "410 Gone", ERR_CONFLICT, "too old"},
        {KUBE_PATCH, "422 No", ERR_INVALID, "refused (HTTP status 422)"},
        {KUBE_PATCH, "403 Forbidden", ERR_INVALID,
         "forbidden: the role needs {apiGroups: [\"\"], resources: [endpoints], verbs: [patch]} "
         "for endpoints 'demo' in namespace 'ns'"},
        {KUBE_PATCH, "501 Not Implemented", ERR_UNCERTAIN, "the server failed"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const KubeStep step = {KUBE_ANSWERS, rows[i].status, "{}"};
        const size_t before = kube_server_count(&server);
        kube_server_script(&server, &step, 1);
        expect(do_method(rows[i].method, 10000), rows[i].kind, rows[i].says);
        assert_int_equal(kube_server_count(&server), before + 1);
        kube_server_script(&server, ok, 1);
    }
}

// --- again

static void test_what_may_pass_is_tried_again(void **state)
{
    static const char *const statuses[] = {"429 Busy", "500 Oops", "502 Bad", "503 Later",
                                           "504 Timeout"};
    static const KubeMethod methods[] = {KUBE_GET, KUBE_POST, KUBE_PATCH, KUBE_DELETE};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(statuses); i++)
        for (size_t k = 0; k < COUNT_OF(methods); k++) {
            const KubeStep steps[] = {{KUBE_ANSWERS, statuses[i], "{}"},
                                      {KUBE_ANSWERS, "200 OK", BODY}};
            const size_t before = kube_server_count(&server);
            kube_server_script(&server, steps, 2);
            if (!do_method(methods[k], 10000))
                fail_msg("%s: %s", statuses[i], err.text);
            assert_int_equal(kube_server_count(&server), before + 2);
            kube_server_script(&server, ok, 1);
        }
}

static void test_the_settings_own_codes(void **state)
{
    (void)state;
    int codes[] = {418};
    const KubernetesSettings settings = {.retriable_http_codes = codes,
                                         .retriable_http_code_count = 1};
    disconnect();
    connect_to(server.port, &settings);
    static const KubeStep steps[] = {{KUBE_ANSWERS, "418 Teapot", "{}"},
                                     {KUBE_ANSWERS, "200 OK", BODY}};
    kube_server_script(&server, steps, 2);
    assert_true(do_method(KUBE_PATCH, 10000));
    assert_int_equal(kube_server_count(&server), 2);
}

// Until the deadline, and by then what is known is told.
static void test_the_deadline_ends_it(void **state)
{
    static const struct {
        const char *status;
        KubeMethod method;
        ErrorKind kind;
    } rows[] = {{"503 Later", KUBE_GET, ERR_UNAVAILABLE},
                {"503 Later", KUBE_PATCH, ERR_UNCERTAIN},
                {"429 Busy", KUBE_PATCH, ERR_UNAVAILABLE}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const KubeStep step = {KUBE_ANSWERS, rows[i].status, "{}"};
        kube_server_script(&server, &step, 1);
        const Instant before = clock_now(clock_system());
        const size_t count = kube_server_count(&server);
        expect(do_method(rows[i].method, 600), rows[i].kind, "not served at the moment");
        assert_in_range(instant_ms_between(before, clock_now(clock_system())), 100, 3000);
        assert_true(kube_server_count(&server) >= count + 2);
        kube_server_script(&server, ok, 1);
    }
}

// However little time is left for the last try.
static void test_an_answer_is_not_forgotten(void **state)
{
    static const KubeStep later = {KUBE_ANSWERS, "503 Later", "{}"};
    (void)state;
    kube_server_script(&server, &later, 1);
    for (int64_t ms = 20; ms < 120; ms++) {
        const bool done = do_method(KUBE_GET, ms);
        if (done || reply.status != 0)
            expect(done, ERR_UNAVAILABLE, "not served at the moment");
    }
}

static void test_retry_after(void **state)
{
    static const KubeStep wait[] = {{KUBE_ANSWERS, "403 Slow down\r\nRetry-After: 1", "{}"},
                                    {KUBE_ANSWERS, "200 OK", BODY}};
    static const KubeStep too_long[] = {{KUBE_ANSWERS, "429 Busy\r\nRetry-After: 60", "{}"}};
    (void)state;
    Instant before = clock_now(clock_system());
    kube_server_script(&server, wait, 2);
    assert_true(do_method(KUBE_PATCH, 10000));
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 1000, 3000);

    // What cannot be waited for leaves the caller its time.
    before = clock_now(clock_system());
    kube_server_script(&server, too_long, 1);
    expect(do_method(KUBE_PATCH, 10000), ERR_UNAVAILABLE, "not served");
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 0, 5000);
    assert_int_equal(kube_server_count(&server), 3);
}

// A conflict may be due to our own first copy: only reading tells.
static void test_a_conflict_after_an_open_outcome(void **state)
{
    static const KubeStep steps[] = {{KUBE_ANSWERS, "504 Timeout", "{}"},
                                     {KUBE_ANSWERS, "409 Conflict", "{}"}};
    (void)state;
    kube_server_script(&server, steps, 2);
    expect(do_method(KUBE_PATCH, 10000), ERR_UNCERTAIN, "conflict");
    assert_int_equal(reply.status, 409);
    static const KubeStep busy[] = {{KUBE_ANSWERS, "429 Busy", "{}"},
                                    {KUBE_ANSWERS, "409 Conflict", "{}"}};
    kube_server_script(&server, busy, 2);
    expect(do_method(KUBE_PATCH, 10000), ERR_CONFLICT, "conflict");
}

static void test_lost_connections(void **state)
{
    static const KubeStep lose[] = {{KUBE_LOSES, NULL, NULL}, {KUBE_ANSWERS, "200 OK", BODY}};
    static const KubeStep garbage[] = {{KUBE_ANSWERS, "200 OK", "<html>"},
                                       {KUBE_ANSWERS, "200 OK", BODY}};
    static const KubeStep *const scripts[] = {lose, garbage};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        kube_server_script(&server, scripts[i], 2);
        assert_true(do_method(KUBE_GET, 10000));
        kube_server_script(&server, scripts[i], 2);
        assert_true(do_method(KUBE_DELETE, 10000));
        static const KubeMethod writes[] = {KUBE_POST, KUBE_PATCH};
        for (size_t k = 0; k < COUNT_OF(writes); k++) {
            const size_t before = kube_server_count(&server);
            kube_server_script(&server, scripts[i], 2);
            if (do_method(writes[k], 10000) || err.kind != ERR_UNCERTAIN)
                fail_msg("%s", err.text);
            assert_int_equal(kube_server_count(&server), before + 1); // at once, and not again
        }
    }
}

// Half of the time is left to find out what became of it.
static void test_a_server_that_hangs(void **state)
{
    static const KubeStep hang[] = {{KUBE_HANGS, NULL, NULL}};
    (void)state;
    kube_server_script(&server, hang, 1);
    const Instant before = clock_now(clock_system());
    expect(do_method(KUBE_PATCH, 3000), ERR_UNCERTAIN, "no answer by the deadline");
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 1400, 2700);
    expect(do_method(KUBE_GET, 600), ERR_UNAVAILABLE, "no answer by the deadline");
}

static void test_nobody_there(void **state)
{
    (void)state;
    disconnect();
    connect_to(tcp_refused_port(), NULL);
    expect(do_method(KUBE_PATCH, 300), ERR_UNAVAILABLE, "refused");
    assert_int_equal(reply.status, 0);
    expect(do_method(KUBE_PATCH, 0), ERR_UNAVAILABLE, "the deadline is over");
}

// --- who we are

static void test_a_new_token_after_401(void **state)
{
    static const KubeStep steps[] = {{KUBE_ANSWERS, "401 Unauthorized", "{}"},
                                     {KUBE_ANSWERS, "200 OK", BODY}};
    static const KubeStep never[] = {{KUBE_ANSWERS, "401 Unauthorized", "{}"}};
    (void)state;
    put("token", "rotated");
    kube_server_script(&server, steps, 2);
    assert_true(do_method(KUBE_PATCH, 10000));
    assert_true(kube_server_saw(&server, 0, "Bearer secret\r\n"));
    assert_true(kube_server_saw(&server, 1, "Bearer rotated\r\n"));

    kube_server_script(&server, never, 1);
    expect(do_method(KUBE_PATCH, 10000), ERR_INVALID, "credentials are not accepted");
    assert_int_equal(kube_server_count(&server), 4);
}

static void test_forbidden_until_the_role_is_back(void **state)
{
    static const KubeStep steps[] = {{KUBE_ANSWERS, "403 Forbidden", "{}"},
                                     {KUBE_ANSWERS, "200 OK", BODY}};
    static const KubeStep never[] = {{KUBE_ANSWERS, "403 Forbidden", "{}"}};
    const KubeRequest renew = {
        .method = KUBE_PATCH, .path = DEMO, .body = "{}", .retry_forbidden = true};
    (void)state;
    kube_server_script(&server, steps, 2);
    assert_true(call(&renew, 10000));
    kube_server_script(&server, never, 1);
    // Of the last try the answer may not have come in any more.
    const bool done = call(&renew, 400);
    expect(done, err.kind == ERR_UNCERTAIN ? ERR_UNCERTAIN : ERR_UNAVAILABLE, "verbs: [patch]");
}

// --- several servers

static KubernetesSettings bypassing(void)
{
    return (KubernetesSettings){.bypass_api_service = true};
}

static void test_servers_are_found(void **state)
{
    static const KubeStep list[] = {
        {KUBE_ANSWERS, "200 OK",
         "{\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::1\"},{\"ip\":\"x\"}],"
         "\"ports\":[{\"name\":\"http\",\"port\":1},{\"name\":\"https\",\"port\":6443,"
         "\"protocol\":\"TCP\"}]},{\"addresses\":[{\"ip\":\"10.0.0.2\"}],\"ports\":[{\"name\":"
         "\"https\",\"port\":7443}]},{\"addresses\":[{\"ip\":\"10.0.0.3\"}],\"ports\":[{\"name\":"
         "\"https\",\"port\":7443,\"protocol\":\"UDP\"}]}]}"}};
    (void)state;
    const KubernetesSettings settings = bypassing();
    disconnect();
    connect_to(server.port, &settings);
    kube_server_script(&server, list, 1);
    kube_client_discover(&client, false, in_ms(10000));
    assert_true(
        kube_server_saw(&server, 0, "GET /api/v1/namespaces/default/endpoints/kubernetes "));
    assert_int_equal(shared.direct.count, 3);
    assert_string_equal(shared.direct.url[0], "https://10.0.0.1:6443");
    assert_string_equal(shared.direct.url[1], "https://[fd00::1]:6443");
    assert_string_equal(shared.direct.url[2], "https://10.0.0.2:7443");
    kube_client_discover(&client, false, in_ms(10000)); // not every time
    assert_int_equal(kube_server_count(&server), 1);

    // A list that cannot be had leaves the old one standing.
    static const KubeStep empty[] = {{KUBE_ANSWERS, "200 OK", "{}"}};
    shared.direct.count = 0;
    kube_server_script(&server, empty, 1);
    kube_client_discover(&client, true, in_ms(10000));
    assert_true(shared.bypass);
}

static void test_a_bypass_that_is_refused(void **state)
{
    static const KubeStep refuse[] = {{KUBE_ANSWERS, "403 Forbidden", "{}"},
                                      {KUBE_ANSWERS, "200 OK", BODY}};
    (void)state;
    const KubernetesSettings settings = bypassing();
    disconnect();
    connect_to(server.port, &settings);
    kube_server_script(&server, refuse, 2);
    kube_client_discover(&client, false, in_ms(10000));
    kube_client_discover(&client, true, in_ms(10000)); // asked once in the life of the store
    assert_int_equal(kube_server_count(&server), 1);
    assert_int_equal(warnings, 1);
    assert_true(do_method(KUBE_GET, 10000));
}

// By hand, because direct addresses are always https.
static void use_servers(int first, int second)
{
    KubeServers servers = {.count = 2};
    snprintf(servers.url[0], KUBE_SERVER_SIZE, "http://127.0.0.1:%d", first);
    snprintf(servers.url[1], KUBE_SERVER_SIZE, "http://127.0.0.1:%d", second);
    shared.direct = servers;
    shared.servers_generation++;
}

// The budget is for all of them; who has failed is not asked first the next time.
static void test_servers_take_turns(void **state)
{
    (void)state;
    use_servers(tcp_refused_port(), server.port);
    assert_true(do_method(KUBE_PATCH, 10000));
    assert_true(do_method(KUBE_PATCH, 10000));
    assert_int_equal(kube_server_count(&server), 2);
    assert_true(strstr(client.servers.url[client.current],
                       arena_printf(arena, ":%d", server.port)) != NULL);

    int fds[8];
    const int silent = tcp_silent_port("127.0.0.1", 0, fds);
    for (int i = 0; i < 4; i++) { // whichever comes first after the shuffle
        use_servers(silent, server.port);
        const Instant before = clock_now(clock_system());
        assert_true(do_method(KUBE_PATCH, 4000));
        assert_in_range(instant_ms_between(before, clock_now(clock_system())), 0, 3000);
    }
    tcp_silent_close(fds);
}

// When none of the direct addresses answers, the service does.
static void test_the_service_helps_out(void **state)
{
    (void)state;
    use_servers(tcp_refused_port(), tcp_refused_port());
    assert_true(do_method(KUBE_PATCH, 10000));
    assert_int_equal(kube_server_count(&server), 1);
}

// Fast timers: a dead server does not eat the budget.
static void test_short_tries(void **state)
{
    static const KubeStep steps[] = {{KUBE_HANGS, NULL, NULL}, {KUBE_ANSWERS, "200 OK", BODY}};
    (void)state;
    kube_shared_set_timers(&shared, 5000, 1000, 2000);
    kube_server_script(&server, steps, 2);
    const Instant before = clock_now(clock_system());
    assert_true(do_method(KUBE_GET, 8000));
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 450, 3500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_may_pass_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_settings_own_codes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_deadline_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_answer_is_not_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_retry_after, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_conflict_after_an_open_outcome, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_server_that_hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_new_token_after_401, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_forbidden_until_the_role_is_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_servers_are_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_bypass_that_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_servers_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_service_helps_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_short_tries, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
