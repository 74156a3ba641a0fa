#include "common/os/http.h"

#include "common/os/clock.h"
#include "tests/support/name_service.h"
#include "tests/support/odd_server.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static OddServer server;
static Arena *arena;
static Resolver *resolver;
static Http *http;
static Error err;
static HttpReply reply;

static const char *const here[] = {"127.0.0.1", NULL};

static int setup(void **state)
{
    (void)state;
    name_service_set(here);
    assert_true(odd_server_start(&server, "127.0.0.1"));
    arena = arena_new(ARENA_CAP_DEFAULT);
    resolver = resolver_new();
    http = http_new(resolver, NULL);
    err = (Error){0};
    reply = (HttpReply){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_free(http);
    resolver_free(resolver);
    odd_server_stop(&server);
    assert_true(name_service_settle());
    arena_free(arena);
    return 0;
}

static const char *url_of(const char *host, int port, const char *path)
{
    return arena_printf(arena, "http://%s:%d%s", host, port, path);
}

static const char *url(const char *path)
{
    return url_of("127.0.0.1", server.port, path);
}

static bool call_by(const char *method, const char *to, int64_t ms)
{
    const HttpRequest request = {.method = method, .url = to};
    return http_call(http, arena, &request, deadline_in(clock_system(), ms), &reply, &err);
}

static void assert_fails(bool ok, ErrorKind kind, const char *says)
{
    if (ok)
        fail_msg("got an answer: %d", reply.status);
    if (err.kind != kind || strstr(err.text, says) == NULL)
        fail_msg("expected %s, '%s', got %s, '%s'", error_kind_name(kind), says,
                 error_kind_name(err.kind), err.text);
}

static void test_answers(void **state)
{
    (void)state;
    assert_true(call_by("GET", url("/ok"), 10000));
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "fine");
    assert_int_equal(reply.length, 4);
    assert_null(reply.lsn_header);
    assert_int_equal(reply.retry_after_ms, 0);

    assert_true(call_by("GET", url("/unavailable"), 10000));
    assert_int_equal(reply.status, 503);
    assert_string_equal(reply.body, "not now");
    assert_string_equal(reply.lsn_header, "83886408");
    assert_int_equal(reply.retry_after_ms, 7000);

    assert_true(call_by("GET", url("/empty"), 10000));
    assert_int_equal(reply.status, 204);
    assert_string_equal(reply.body, "");
    assert_null(reply.lsn_header);

    assert_true(call_by("GET", url("/redirect"), 10000)); // not followed
    assert_int_equal(reply.status, 302);
    assert_true(call_by("POST", url("/continue"), 10000));
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "ok");
    assert_true(call_by("OPTIONS", url("/nothing"), 10000));
    assert_int_equal(reply.status, 404);

    assert_int_equal(server.requests, 6);
    assert_int_equal(server.connections, 1); // re-used
}

static void test_what_is_sent(void **state)
{
    (void)state;
    const HttpRequest full = {
        .method = "PATCH",
        .url = url("/echo"),
        .body = "{\"pause\": true}",
        .content_type = "application/json",
        .authorization = "Basic aG93ZGFo",
        .header = "X-Extra: yes",
    };
    const Deadline deadline = deadline_in(clock_system(), 10000);
    assert_true(http_call(http, arena, &full, deadline, &reply, &err));
    static const char *const lines[] = {
        "PATCH /echo HTTP/1.1\r\n",   "\r\nContent-Type: application/json\r\n",
        "\r\nContent-Length: 15\r\n", "\r\nAuthorization: Basic aG93ZGFo\r\n",
        "\r\nX-Extra: yes\r\n",       "\r\nUser-Agent: howdah/",
        "\r\n\r\n{\"pause\": true}"};
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (strstr(reply.body, lines[i]) == NULL)
            fail_msg("no '%s' in:\n%s", lines[i], reply.body);
    assert_null(strstr(reply.body, "Expect"));

    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        assert_true(call_by(methods[i], url("/echo"), 10000));
        assert_memory_equal(reply.body, methods[i], strlen(methods[i]));
        assert_null(strstr(reply.body, "Content-Type"));
        const bool has_body = strcmp(methods[i], "POST") == 0 || strcmp(methods[i], "PUT") == 0;
        assert_int_equal(strstr(reply.body, "Content-Length: 0\r\n") != NULL, has_body);
    }
    assert_true(call_by("HEAD", url("/echo"), 10000));
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "");
}

static void test_a_bad_request_is_not_sent(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "127.0.0.1:8008/patroni",  "ftp://127.0.0.1/",    "file:///etc/passwd",
        "http://", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://a b/"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_fails(call_by("GET", bad[i], 10000), ERR_INVALID, "URL");

    const HttpRequest forged = {.method = "GET", .url = url("/ok"), .header = "X-A: 1\r\nX-B: 2"};
    const Deadline deadline = deadline_in(clock_system(), 10000);
    assert_fails(http_call(http, arena, &forged, deadline, &reply, &err), ERR_INVALID,
                 "line break");
    assert_fails(call_by("GET", url("/ok"), 0), ERR_UNAVAILABLE, "the deadline is over");
    assert_int_equal(server.requests, 0);
}

static void test_url_parts(void **state)
{
    (void)state;
    static const struct {
        const char *url, *scheme, *host, *path;
        int port;
    } rows[] = {
        {"http://member-1:8008/patroni", "http", "member-1", "/patroni", 8008},
        {"https://[2001:db8::1]:2379", "https", "2001:db8::1", "/", 2379},
        {"http://10.0.0.1", "http", "10.0.0.1", "/", 80},
        {"https://a.example/x/y?z=1", "https", "a.example", "/x/y", 443},
        {"HTTP://u:p@B.example:1/", "http", "B.example", "/", 1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        HttpUrl parts;
        assert_true(http_parse_url(arena, rows[i].url, &parts, &err));
        assert_string_equal(parts.scheme, rows[i].scheme);
        assert_string_equal(parts.host, rows[i].host);
        assert_string_equal(parts.path, rows[i].path);
        assert_int_equal(parts.port, rows[i].port);
        assert_int_equal(parts.tls, strcmp(parts.scheme, "https") == 0);
    }
    HttpUrl parts;
    assert_false(http_parse_url(arena, NULL, &parts, &err));
}

static void test_not_connected_is_not_done(void **state)
{
    (void)state;
    const int port = tcp_refused_port();
    assert_fails(call_by("POST", url_of("127.0.0.1", port, "/x"), 10000), ERR_UNAVAILABLE,
                 "Connection refused");
    const char *named = arena_printf(arena, "POST http://127.0.0.1:%d/x: ", port);
    assert_memory_equal(err.text, named, strlen(named));

    int fds[8];
    const int silent = tcp_silent_port("127.0.0.1", 0, fds);
    const Instant before = clock_now(clock_system());
    const bool ok = call_by("POST", url_of("127.0.0.1", silent, "/x"), 200);
    tcp_silent_close(fds);
    assert_fails(ok, ERR_UNAVAILABLE, "");
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 90, 2000);
}

static void test_sent_and_not_answered_is_uncertain(void **state)
{
    (void)state;
    static const char *const broken[] = {"/lost", "/reset", "/half"};
    for (size_t i = 0; i < COUNT_OF(broken); i++)
        assert_fails(call_by("POST", url(broken[i]), 10000), ERR_UNCERTAIN, broken[i]);

    static const char *const late[] = {"/hang", "/half-and-hang", "/ticks"};
    for (size_t i = 0; i < COUNT_OF(late); i++) {
        const Instant before = clock_now(clock_system());
        assert_fails(call_by("POST", url(late[i]), 100), ERR_UNCERTAIN,
                     "no answer by the deadline");
        assert_in_range(instant_ms_between(before, clock_now(clock_system())), 99, 2000);
    }
    assert_int_equal(server.requests, 6); // none was sent twice
}

// A server that closes a kept connection just when the next request comes: it may have worked on
// it. libcurl by itself would send a POST again.
static void test_only_what_may_be_repeated_is_sent_again(void **state)
{
    (void)state;
    const char *to = url("/second-is-lost");
    assert_true(call_by("POST", to, 10000));
    assert_fails(call_by("POST", to, 10000), ERR_UNCERTAIN, "connection lost before the answer");
    assert_int_equal(server.requests, 2);

    assert_true(call_by("GET", to, 10000)); // on a connection of its own
    assert_true(call_by("GET", to, 10000)); // lost, and sent again
    assert_int_equal(server.requests, 5);

    const HttpRequest read = {.method = "POST", .url = to, .repeatable = true};
    const Deadline deadline = deadline_in(clock_system(), 10000);
    assert_true(http_call(http, arena, &read, deadline, &reply, &err));
    assert_int_equal(server.requests, 7);
}

static void test_a_malformed_reply_is_invalid(void **state)
{
    (void)state;
    assert_fails(call_by("GET", url("/garbage"), 10000), ERR_INVALID, "/garbage");
    const HttpRequest big = {.method = "GET", .url = url("/big"), .limit_bytes = 1 << 20};
    const Deadline deadline = deadline_in(clock_system(), 10000);
    assert_fails(http_call(http, arena, &big, deadline, &reply, &err), ERR_INVALID,
                 "longer than the limit");
    assert_true(call_by("GET", url("/big"), 10000)); // 4 MiB, below the default of 8
    assert_int_equal(reply.length, ODD_BIG_BYTES);

    // What libcurl reports like a broken connection may have been done: never "invalid, not done".
    assert_fails(call_by("POST", url("/bad-chunk"), 10000), ERR_UNCERTAIN, "/bad-chunk");
}

static void test_names_are_resolved_by_the_resolver_alone(void **state)
{
    (void)state;
    const int before = name_service_lookups();
    const char *to = url_of("Member-1.example.", server.port, "/ok");
    for (int i = 0; i < 3; i++)
        assert_true(call_by("GET", to, 10000));
    assert_true(call_by("GET", url_of("member-1.example.", server.port, "/lost"), 10000) == false);
    assert_true(call_by("GET", to, 10000));
    assert_int_equal(name_service_lookups(), before + 1);

    assert_fails(call_by("GET", url_of("fail.example", server.port, "/ok"), 10000), ERR_UNAVAILABLE,
                 "cannot be resolved");
    const Instant start = clock_now(clock_system());
    assert_fails(call_by("GET", url_of("hang.example", server.port, "/ok"), 100), ERR_UNAVAILABLE,
                 "address is not known yet");
    assert_in_range(instant_ms_between(start, clock_now(clock_system())), 0, 5000);

    AUTO(http_release) Http *numeric_only = http_new(NULL, NULL);
    const HttpRequest named = {.method = "GET", .url = to};
    const Deadline deadline = deadline_in(clock_system(), 10000);
    assert_false(http_call(numeric_only, arena, &named, deadline, &reply, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
}

// The first address of the name does not answer, the second one does.
static void test_the_next_address_is_tried(void **state)
{
    (void)state;
    int fds[8];
    tcp_silent_port("127.0.0.2", server.port, fds);
    static const char *const both[] = {"127.0.0.2", "127.0.0.1", NULL};
    name_service_set(both);
    AUTO(http_release) Http *patient = http_new(resolver, &(HttpOptions){.connect_ms = 100});
    const HttpRequest request = {.method = "GET", .url = url_of("two", server.port, "/ok")};
    const Instant before = clock_now(clock_system());
    const bool ok =
        http_call(patient, arena, &request, deadline_in(clock_system(), 10000), &reply, &err);
    tcp_silent_close(fds);
    if (!ok)
        fail_msg("%s", err.text);
    assert_string_equal(reply.body, "fine");
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 50, 3000);
}

// A pod came back under another address: the name leads there once the resolver knows.
static void test_a_name_that_moves(void **state)
{
    (void)state;
    OddServer there;
    assert_true(odd_server_start(&there, "127.0.0.3"));
    static const char *const elsewhere[] = {"127.0.0.4", NULL};
    static const char *const three[] = {"127.0.0.3", NULL};
    name_service_set(elsewhere);
    AUTO(resolver_release) Resolver *fast = resolver_new_with(5, 5);
    AUTO(http_release) Http *client = http_new(fast, NULL);
    const HttpRequest request = {.method = "GET", .url = url_of("moving", there.port, "/ok")};
    const Deadline deadline = deadline_in(clock_system(), 10000);
    assert_false(http_call(client, arena, &request, deadline, &reply, &err));
    name_service_set(three);
    bool ok = false;
    while (!ok && !deadline_over(clock_system(), deadline))
        ok = http_call(client, arena, &request, deadline, &reply, &err);
    odd_server_stop(&there);
    assert_true(ok);
}

// The connection stays open after the call, so it can be looked at.
static int kept_connection(void)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in peer = {0};
        socklen_t length = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.sin_family == AF_INET &&
            ntohs(peer.sin_port) == server.port)
            return fd;
    }
    return -1;
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t length = sizeof value;
    assert_int_equal(getsockopt(fd, level, option, &value, &length), 0);
    return value;
}

static void test_sockets_are_tuned(void **state)
{
    (void)state;
    const HttpOptions options = {.keepalive_idle_ms = 4500, .tcp_user_timeout_ms = 7001};
    AUTO(http_release) Http *tuned = http_new(resolver, &options);
    const HttpRequest request = {.method = "GET", .url = url("/ok")};
    assert_true(
        http_call(tuned, arena, &request, deadline_in(clock_system(), 10000), &reply, &err));
    const int fd = kept_connection();
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 5);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 2);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 7001);
}

static void test_ipv6_hosts(void **state)
{
    (void)state;
    OddServer six;
    if (!odd_server_start(&six, "::1"))
        skip(); // no IPv6 on this machine
    static const char *const loopback[] = {"::1", NULL};
    name_service_set(loopback);
    const bool by_number = call_by("GET", url_of("[::1]", six.port, "/ok"), 10000);
    const bool by_name = call_by("GET", url_of("six", six.port, "/ok"), 10000);
    http_free(http);
    http = NULL;
    odd_server_stop(&six);
    assert_true(by_number);
    assert_true(by_name);
}

static void test_many_at_once_with_one_that_hangs(void **state)
{
    (void)state;
    const struct {
        const char *url;
        ErrorKind kind;
    } rows[] = {
        {url("/ok"), ERR_NONE},
        {url("/hang"), ERR_UNCERTAIN},
        {url("/ok"), ERR_NONE},
        {url_of("127.0.0.1", tcp_refused_port(), "/ok"), ERR_UNAVAILABLE},
        {url_of("member", server.port, "/ok"), ERR_NONE},
        {url_of("hang", server.port, "/ok"), ERR_UNAVAILABLE},
        {url_of("fail", server.port, "/ok"), ERR_UNAVAILABLE},
        {"nonsense", ERR_INVALID},
        {url("/ok"), ERR_NONE},
    };
    HttpExchange exchanges[COUNT_OF(rows)] = {{{0}}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        exchanges[i].request = (HttpRequest){.method = "GET", .url = rows[i].url};
    const Instant before = clock_now(clock_system());
    http_call_all(http, arena, exchanges, COUNT_OF(rows), deadline_in(clock_system(), 300));
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 299, 2000);

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(exchanges[i].ok, rows[i].kind == ERR_NONE);
        if (exchanges[i].ok)
            assert_string_equal(exchanges[i].reply.body, "fine");
        else
            assert_int_equal(exchanges[i].error.kind, rows[i].kind);
    }
    http_call_all(http, arena, NULL, 0, deadline_in(clock_system(), 300));
}

// With nothing that hangs, nobody waits for the deadline.
static void test_many_at_once_return_early(void **state)
{
    (void)state;
    HttpExchange exchanges[8] = {{{0}}};
    for (size_t i = 0; i < COUNT_OF(exchanges); i++)
        exchanges[i].request =
            (HttpRequest){.method = "GET", .url = url_of("member", server.port, "/ok")};
    const Instant before = clock_now(clock_system());
    http_call_all(http, arena, exchanges, COUNT_OF(exchanges), deadline_in(clock_system(), 60000));
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 0, 5000);
    for (size_t i = 0; i < COUNT_OF(exchanges); i++)
        assert_true(exchanges[i].ok);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    // Whatever the environment says about proxies: our requests go where the URL says.
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_answers),
        WITH_SERVER(test_what_is_sent),
        WITH_SERVER(test_a_bad_request_is_not_sent),
        WITH_SERVER(test_url_parts),
        WITH_SERVER(test_not_connected_is_not_done),
        WITH_SERVER(test_sent_and_not_answered_is_uncertain),
        WITH_SERVER(test_only_what_may_be_repeated_is_sent_again),
        WITH_SERVER(test_a_malformed_reply_is_invalid),
        WITH_SERVER(test_names_are_resolved_by_the_resolver_alone),
        WITH_SERVER(test_the_next_address_is_tried),
        WITH_SERVER(test_a_name_that_moves),
        WITH_SERVER(test_sockets_are_tuned),
        WITH_SERVER(test_ipv6_hosts),
        WITH_SERVER(test_many_at_once_with_one_that_hangs),
        WITH_SERVER(test_many_at_once_return_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
