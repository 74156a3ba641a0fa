// The REST server against clients that are broken, slow, many or not allowed, and while its
// settings change under them.
#include "common/os/log.h"
#include "tests/support/ports.h"
#include "tests/unit/test_api_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int setup(void **state)
{
    *state = lab_new();
    return 0;
}

static int teardown(void **state)
{
    lab_free(*state);
    return 0;
}

// --- malformed requests

static void test_bodies(void **state)
{
    static const struct {
        const char *method, *target, *headers, *body;
        int status;
    } rows[] = {
        {"PATCH", "/config", NULL, NULL, 411},
        {"PATCH", "/config", NULL, "", 400},
        {"PATCH", "/config", NULL, "{}", 400},
        {"PATCH", "/config", NULL, "[1]", 400},
        {"PATCH", "/config", NULL, "{\"a\":", 400},
        {"PUT", "/config", NULL, "null", 400},
        {"POST", "/switchover", NULL, NULL, 411},
        {"POST", "/restart", NULL, "{\"a\":", 400},
        {"POST", "/restart", NULL, "7", 400},
        {"POST", "/reinitialize", NULL, "{\"force\":", 400},
        {"POST", "/restart", "Transfer-Encoding: chunked\r\n", NULL, 411},
        {"POST", "/nothing", NULL, NULL, 501},
        {"POST", "/nothing", NULL, "{}", 501},
        {"DELETE", "/failover", NULL, NULL, 501},
        {"PATCH", "/nothing", NULL, NULL, 501},
        {"BREW", "/patroni", NULL, NULL, 501},
        {"POST", "/reload", "Content-Length: 1048577\r\n", NULL, 413},
        {"POST", "/reload", "Content-Length: x\r\n", NULL, 400},
    };
    Lab *lab = *state;
    LabReply reply;
    lab_start(lab);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        lab_request(lab, rows[i].method, rows[i].target, rows[i].headers, rows[i].body, &reply);
        if (reply.status != rows[i].status || strstr(reply.body, "<html>") == NULL)
            fail_msg("%s %s %s: %d '%s'", rows[i].method, rows[i].target,
                     rows[i].body != NULL ? rows[i].body : "-", reply.status, reply.body);
    }
    lab_request(lab, "POST", "/nothing", NULL, NULL, &reply);
    assert_non_null(strstr(reply.body, "Server does not support this operation"));
    assert_non_null(strstr(reply.head, "Content-Type: text/html;charset=utf-8\r\n"));
    assert_int_equal(lab->submitted, 0);
}

static void test_large_body(void **state)
{
    // A mebibyte is read, a byte more is not; a body sent to a probe passes by.
    Lab *lab = *state;
    enum { MIB = 1024 * 1024 };
    char *body = malloc(MIB + 1);
    LabReply reply;
    assert_non_null(body);
    memset(body, ' ', MIB);
    memcpy(body, "{\"ttl\": 20", 10);
    body[MIB - 1] = '}';
    body[MIB] = '\0';
    lab_start(lab);
    const int fd = lab_connect(lab);
    lab_send(fd, "PATCH /config HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n");
    lab_send(fd, body);
    ApiRequest *request = lab_wait_request(lab);
    assert_int_equal(tree_get_int(request->body, "ttl", 0), 20);
    api_complete(request, 200, "application/json", "{}");
    lab_receive(fd, &reply);
    lab_send(fd, "GET /replica HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n");
    lab_send(fd, body);
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 200);
    close(fd);
    free(body);
}

static void test_garbage(void **state)
{
    static const char *const garbage[] = {
        "\r\n\r\n\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET /primary\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello on a plain port",
        "GET /primary HTTP/9.9\r\n\r\n",
        "POST /reload HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /reload HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET /%00primary%zz?%=%&&=& HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    Lab *lab = *state;
    lab_start(lab);
    for (size_t i = 0; i < COUNT_OF(garbage); i++) {
        const int fd = lab_connect(lab);
        lab_send(fd, garbage[i]);
        close(fd);
        assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
    }
    // The URI alone is larger than what a connection may take; the answer may be lost on the way,
    // for the server closes with the rest unread.
    char uri[20000] = "GET /";
    memset(uri + 5, 'p', sizeof uri - 6);
    const int fd = lab_connect(lab);
    (void)send(fd, uri, sizeof uri - 1, MSG_NOSIGNAL);
    char answer[16] = "";
    const ssize_t got = recv(fd, answer, 12, MSG_WAITALL);
    if (got > 0)
        assert_string_equal(answer, "HTTP/1.1 414");
    close(fd);
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
}

static void test_slow_client(void **state)
{
    // A byte every now and then keeps a connection from being idle, but not for ever.
    Lab *lab = *state;
    lab_start(lab);
    const int slow = lab_connect(lab), waiting = lab_connect(lab);
    lab_send(slow, "GET /replica HT");
    lab_send(waiting, "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    ApiRequest *request = lab_wait_request(lab);
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
    lab_advance_ms(lab, 29000); // whom the agent keeps waiting is not slow
    lab_send(slow, "T");
    lab_advance_ms(lab, 2000);
    assert_true(lab_is_closed(slow));
    api_complete(request, 202, NULL, "reload scheduled");
    LabReply reply;
    lab_receive(waiting, &reply);
    assert_int_equal(reply.status, 503); // its own deadline of 30 s has passed meanwhile
    close(slow);
    close(waiting);
}

static void test_thousand_connections(void **state)
{
    enum { COUNT = 1000 };
    Lab *lab = *state;
    LabReply reply;
    static int fds[COUNT];
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * COUNT + 100)
        skip();
    lab_start(lab);
    for (int i = 0; i < COUNT; i++)
        fds[i] = lab_connect(lab);
    for (int i = 0; i < COUNT; i++)
        lab_send(fds[i], "GET /replica HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < COUNT; i++) {
        lab_receive(fds[i], &reply);
        assert_int_equal(reply.status, 200);
    }
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
}

// --- access

static void test_basic_auth(void **state)
{
    Lab *lab = *state;
    LabReply reply;
    lab->settings.username = "admin";
    lab->settings.password = (Secret){"s3cret"};
    lab_start(lab);
    lab_request(lab, "POST", "/reload", NULL, "", &reply);
    assert_int_equal(reply.status, 401);
    assert_string_equal(reply.body, "no auth header received");
    assert_non_null(strstr(reply.head, "WWW-Authenticate: Basic realm=\"Patroni\"\r\n"));
    lab_request(lab, "POST", "/reload", "Authorization: Basic YWRtaW46czNjcmV0Cg==\r\n", "",
                &reply);
    assert_int_equal(reply.status, 401);
    assert_string_equal(reply.body, "not authenticated");
    // Refused before its body is looked at, and 501 before access is.
    lab_request(lab, "PATCH", "/config", NULL, NULL, &reply);
    assert_int_equal(reply.status, 401);
    lab_request(lab, "POST", "/nothing", NULL, NULL, &reply);
    assert_int_equal(reply.status, 501);
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
    assert_int_equal(lab_status(lab, "GET", "/patroni"), 200);

    const int fd = lab_connect(lab);
    lab_send(fd, "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
                 "Authorization: Basic YWRtaW46czNjcmV0\r\n\r\n");
    api_complete(lab_wait_request(lab), 202, NULL, "reload scheduled");
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 202);
    close(fd);
}

static void test_allowlist(void **state)
{
    static const char *const elsewhere[] = {"192.0.2.0/24", "fd00::/8"};
    static const char *const here[] = {"192.0.2.0/24", "127.0.0.0/8"};
    Lab *lab = *state;
    LabReply reply;
    Error err = {0};
    lab->settings.listen.host = "*"; // dual stack: we come as ::ffff:127.0.0.1
    lab->settings.allowlist =
        (StringList){.items = (const char **)(uintptr_t)elsewhere, .count = 2};
    lab_start(lab);
    lab_request(lab, "DELETE", "/restart", NULL, NULL, &reply);
    assert_int_equal(reply.status, 403);
    assert_string_equal(reply.body, "Access is denied");
    assert_int_equal(lab_status(lab, "GET", "/config"), 503); // open; there is no view

    lab->settings.allowlist.items = (const char **)(uintptr_t)here;
    assert_true(api_configure(lab->api, &lab->settings, &err));
    const int fd = lab_connect(lab);
    lab_send(fd, "DELETE /restart HTTP/1.1\r\nHost: x\r\n\r\n");
    ApiRequest *request = lab_wait_request(lab);
    assert_int_equal(request->kind, API_DELETE_RESTART);
    api_complete(request, 404, NULL, "no restarts are scheduled");
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 404);
    close(fd);
}

// --- logs

typedef struct {
    int lines;
    bool secret;
} Seen;

static void look(void *context, LogLevel level, const char *line)
{
    Seen *seen = context;
    if (level == LOG_DEBUG && strstr(line, "peer=127.0.0.1") != NULL)
        seen->lines++;
    seen->secret = seen->secret || strstr(line, "s3cret") != NULL || strstr(line, "YWRt") != NULL;
}

static void test_requests_are_logged_at_debug(void **state)
{
    Lab *lab = *state;
    Seen seen = {0};
    LabReply reply;
    lab->settings.username = "admin";
    lab->settings.password = (Secret){"s3cret"};
    lab_start(lab);
    log_capture(look, &seen);
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
    assert_int_equal(seen.lines, 0);
    log_start(&(LogOptions){.level = LOG_DEBUG});
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
    lab_request(lab, "POST", "/reload", "Authorization: Basic YWRtaW46czNjcmV0Cg==\r\n", "",
                &reply);
    lab_stop(lab);
    log_stop();
    log_configure(&(LogOptions){.level = LOG_INFO});
    log_capture(NULL, NULL);
    assert_int_equal(seen.lines, 2);
    assert_false(seen.secret);
}

// --- settings in force

static void test_extra_headers(void **state)
{
    Lab *lab = *state;
    LabReply reply;
    Error err = {0};
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Tree *headers = tree_map(arena);
    tree_set(arena, headers, "X-Frame-Options", tree_string(arena, "SAMEORIGIN"));
    lab_start(lab);
    lab_request(lab, "GET", "/replica", NULL, NULL, &reply);
    assert_null(strstr(reply.head, "SAMEORIGIN"));
    lab->settings.http_extra_headers = headers;
    assert_true(api_configure(lab->api, &lab->settings, &err));
    lab_request(lab, "GET", "/replica", NULL, NULL, &reply);
    assert_non_null(strstr(reply.head, "X-Frame-Options: SAMEORIGIN\r\n"));
    lab_request(lab, "HEAD", "/replica", NULL, NULL, &reply);
    assert_null(strstr(reply.head, "SAMEORIGIN"));

    tree_set(arena, headers, "X-Bad", tree_string(arena, "a\r\nb"));
    assert_false(api_configure(lab->api, &lab->settings, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "X-Bad"));
}

static void test_new_address(void **state)
{
    // Another port, then a wider address on the same port, then a port that is taken.
    Lab *lab = *state, *other = lab_new();
    Error err = {0};
    lab_start(lab);
    lab_start(other);
    const int old_port = lab->port;
    lab->settings.listen.port = lab->port = free_port();
    assert_true(api_configure(lab->api, &lab->settings, &err));
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
    lab->settings.listen.host = NULL;
    assert_true(api_configure(lab->api, &lab->settings, &err));
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);

    lab->settings.listen.port = other->port;
    assert_false(api_configure(lab->api, &lab->settings, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
    lab_free(other);
    other = lab_new();
    other->settings.listen.port = other->port = old_port;
    lab_start(other); // it is free again
    lab_free(other);
}

// One client that never gives up: probes, samples and requests, on connections that break.
typedef struct {
    Lab *lab;
    bool done; // atomic
    int answers;
} Crowd;

static void *crowd(void *argument)
{
    static const char *const requests[] = {
        "GET /replica HTTP/1.1\r\nHost: x\r\n\r\n", "GET /patroni HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"};
    Crowd *c = argument;
    for (size_t i = 0; !__atomic_load_n(&c->done, __ATOMIC_SEQ_CST);) {
        char answer[4096];
        const int fd = lab_connect(c->lab);
        ssize_t got = 1;
        for (int n = 0; n < 10 && got > 0; n++, i++) {
            const char *request = requests[i % COUNT_OF(requests)];
            got = send(fd, request, strlen(request), MSG_NOSIGNAL);
            got = got > 0 ? recv(fd, answer, sizeof answer, 0) : got;
            c->answers += got > 0 ? 1 : 0;
        }
        close(fd);
    }
    return NULL;
}

static void *obliging_agent(void *argument)
{
    Crowd *c = argument;
    while (!__atomic_load_n(&c->done, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&c->lab->lock);
        ApiRequest *request = c->lab->requests;
        c->lab->requests = request != NULL ? request->next : NULL;
        pthread_mutex_unlock(&c->lab->lock);
        if (request != NULL)
            api_complete(request, 202, NULL, "reload scheduled");
        else
            usleep(100);
    }
    return NULL;
}

static void test_new_workers_under_load(void **state)
{
    // Whatever is suspended when workers are replaced is answered, and nothing is lost twice.
    Lab *lab = *state;
    Crowd crowds[3];
    pthread_t clients[COUNT_OF(crowds)], agent;
    Crowd helper = {.lab = lab};
    lab_start(lab);
    for (size_t i = 0; i < COUNT_OF(crowds); i++) {
        crowds[i] = (Crowd){.lab = lab};
        assert_int_equal(pthread_create(&clients[i], NULL, crowd, &crowds[i]), 0);
    }
    assert_int_equal(pthread_create(&agent, NULL, obliging_agent, &helper), 0);
    for (int i = 0; i < 30; i++) {
        Error err = {0};
        lab->settings.ciphers = i % 2 == 0 ? "NORMAL" : NULL; // reason enough for new workers
        if (!api_configure(lab->api, &lab->settings, &err))
            fail_msg("%s", err.text);
        usleep(10000);
    }
    for (size_t i = 0; i < COUNT_OF(crowds); i++) {
        __atomic_store_n(&crowds[i].done, true, __ATOMIC_SEQ_CST);
        pthread_join(clients[i], NULL);
        assert_true(crowds[i].answers > 0);
    }
    __atomic_store_n(&helper.done, true, __ATOMIC_SEQ_CST);
    pthread_join(agent, NULL);
    while (lab->requests != NULL) { // whom the client left before the agent saw it
        ApiRequest *request = lab->requests;
        lab->requests = request->next;
        api_complete(request, 202, NULL, "");
    }
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
}

static void test_address_in_use(void **state)
{
    Lab *lab = *state, *second = lab_new();
    Error err = {0};
    lab_start(lab);
    second->settings = lab->settings;
    const ApiOptions options = {.settings = &second->settings,
                                .host = &second->host,
                                .clock = &second->clock.clock,
                                .resolver = second->resolver};
    assert_false(api_start(&options, &second->api, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "restapi.listen"));
    lab_free(second);
}

#define API_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(test_bodies),
        API_TEST(test_large_body),
        API_TEST(test_garbage),
        API_TEST(test_slow_client),
        API_TEST(test_thousand_connections),
        API_TEST(test_basic_auth),
        API_TEST(test_allowlist),
        API_TEST(test_requests_are_logged_at_debug),
        API_TEST(test_extra_headers),
        API_TEST(test_new_address),
        API_TEST(test_new_workers_under_load),
        API_TEST(test_address_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
