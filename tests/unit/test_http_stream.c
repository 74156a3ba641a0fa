#include "common/os/http.h"

#include "common/os/clock.h"
#include "tests/support/name_service.h"
#include "tests/support/odd_server.h"
#include "tests/support/test.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>

static OddServer server;
static Arena *arena;
static Resolver *resolver;
static Http *http;
static Error err;

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

static void assert_fails(bool ok, ErrorKind kind, const char *says)
{
    if (ok)
        fail_msg("did not fail, as it should: %s", says);
    if (err.kind != kind || strstr(err.text, says) == NULL)
        fail_msg("expected %s, '%s', got %s, '%s'", error_kind_name(kind), says,
                 error_kind_name(err.kind), err.text);
}

static void call(void)
{
    const HttpRequest request = {.method = "GET", .url = url("/ok")};
    HttpReply reply;
    if (!http_call(http, arena, &request, deadline_in(clock_system(), 10000), &reply, &err))
        fail_msg("%s", err.text);
}

typedef struct {
    char seen[4096];
    size_t length;
    size_t stop_after; // bytes; 0: never
    int status_at_first;
    const int *status;
    Http *interrupt; // by the sink itself, after the first bytes
} Watcher;

static bool on_bytes(void *context, const char *bytes, size_t length)
{
    Watcher *watcher = context;
    if (watcher->length == 0)
        watcher->status_at_first = *watcher->status;
    if (length > sizeof watcher->seen - 1 - watcher->length)
        length = sizeof watcher->seen - 1 - watcher->length;
    memcpy(watcher->seen + watcher->length, bytes, length);
    watcher->length += length;
    if (watcher->interrupt != NULL)
        http_interrupt(watcher->interrupt);
    return watcher->stop_after == 0 || watcher->length < watcher->stop_after;
}

static bool stream(Watcher *watcher, const char *to, int64_t idle_ms, int *status)
{
    const HttpRequest request = {.method = "GET", .url = to};
    watcher->status = status;
    return http_stream(http, &request, idle_ms, on_bytes, watcher, status, &err);
}

static void test_a_stream_until_its_end(void **state)
{
    (void)state;
    Watcher watcher = {.length = 0};
    int status = -1;
    assert_true(stream(&watcher, url("/three"), 10000, &status));
    assert_int_equal(status, 200);
    assert_int_equal(watcher.status_at_first, 200);
    assert_string_equal(watcher.seen, "one\ntwo\nthree\n");

    Watcher refused = {.length = 0};
    assert_true(stream(&refused, url("/unavailable"), 10000, &status));
    assert_int_equal(refused.status_at_first, 503);
    assert_string_equal(refused.seen, "not now");
}

static void test_a_stream_stopped_by_its_sink(void **state)
{
    (void)state;
    Watcher watcher = {.stop_after = 20};
    int status = -1;
    assert_true(stream(&watcher, url_of("named", server.port, "/ticks"), 10000, &status));
    assert_int_equal(status, 200);
    assert_in_range(watcher.length, 20, 100);
    assert_memory_equal(watcher.seen, "tick\ntick\n", 10);
    call(); // the client is still good
}

static void *interrupt_later(void *context)
{
    const Deadline deadline = deadline_in(clock_system(), 10000);
    while (server.requests == 0 && !deadline_over(clock_system(), deadline))
        poll(NULL, 0, 1);
    poll(NULL, 0, 20);
    http_interrupt(context);
    return NULL;
}

static void test_a_stream_interrupted_by_another_thread(void **state)
{
    (void)state;
    static const char *const paths[] = {"/one-tick", "/hang"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        atomic_store(&server.requests, 0);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, interrupt_later, http), 0);
        Watcher watcher = {.length = 0};
        int status = -1;
        const Instant before = clock_now(clock_system());
        const bool ok = stream(&watcher, url(paths[i]), 60000, &status);
        pthread_join(thread, NULL);
        assert_true(ok);
        assert_in_range(instant_ms_between(before, clock_now(clock_system())), 10, 10000);
        assert_int_equal(status, i == 0 ? 200 : 0);
        assert_string_equal(watcher.seen, i == 0 ? "tick\n" : "");
    }
}

// The interruption counts whenever it comes: before the stream, from its sink, during the lookup.
static void test_an_interruption_is_never_lost(void **state)
{
    (void)state;
    int status = -1;
    Watcher watcher = {.length = 0};
    http_interrupt(http);
    call(); // concerns streams only
    assert_true(stream(&watcher, url("/one-tick"), 60000, &status));

    Watcher self = {.interrupt = http};
    assert_true(stream(&self, url("/one-tick"), 60000, &status));
    assert_string_equal(self.seen, "tick\n");

    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_later, http), 0);
    const Instant before = clock_now(clock_system());
    const bool ok = stream(&watcher, url_of("hang", server.port, "/ticks"), 1200, &status);
    const int64_t took_ms = instant_ms_between(before, clock_now(clock_system()));
    pthread_join(thread, NULL);
    assert_true(ok);
    assert_true(took_ms < 590); // the lookup alone would have been waited for so long
}

static void test_an_idle_or_lost_stream_fails(void **state)
{
    (void)state;
    Watcher watcher = {.length = 0};
    int status = -1;
    const Instant before = clock_now(clock_system());
    assert_fails(stream(&watcher, url("/one-tick"), 150, &status), ERR_UNAVAILABLE, "/one-tick");
    assert_string_equal(watcher.seen, "tick\n");
    assert_fails(stream(&watcher, url("/hang"), 150, &status), ERR_UNAVAILABLE, "/hang");
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 300, 5000);

    assert_fails(stream(&watcher, url("/half"), 10000, &status), ERR_UNAVAILABLE, "/half");
    assert_fails(stream(&watcher, url("/reset"), 10000, &status), ERR_UNAVAILABLE, "/reset");
    assert_fails(stream(&watcher, url("/garbage"), 10000, &status), ERR_INVALID, "/garbage");
    assert_fails(stream(&watcher, url_of("127.0.0.1", tcp_refused_port(), "/"), 10000, &status),
                 ERR_UNAVAILABLE, "refused");
    assert_int_equal(status, 0);
    assert_fails(stream(&watcher, "nonsense", 10000, &status), ERR_INVALID, "URL");
}

// A stream that gets bytes all the time lives longer than its idle time.
static void test_a_busy_stream_is_not_idle(void **state)
{
    (void)state;
    Watcher watcher = {.stop_after = 500}; // a hundred ticks of 5 ms
    int status = -1;
    assert_true(stream(&watcher, url("/ticks"), 200, &status));
    assert_in_range(watcher.length, 500, 1000);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void keep_status(void *context, int status)
{
    *(int *)context = status;
}

// That a stream has been accepted is known before its first byte; one that is not answered is given
// up sooner than one that is merely quiet.
static void test_a_stream_that_is_accepted(void **state)
{
    (void)state;
    int told = 0, status = -1;
    Watcher watcher = {.status = &status, .stop_after = 1};
    HttpRequest request = {.method = "GET",
                           .url = url("/half-and-hang"),
                           .answer_ms = 100,
                           .on_status = keep_status,
                           .on_status_context = &told};
    assert_true(http_stream(http, &request, 10000, on_bytes, &watcher, &status, &err));
    assert_int_equal(told, 200);

    told = 0;
    request.url = url("/continue"); // an interim answer is none
    assert_true(http_stream(http, &request, 10000, on_bytes, &watcher, &status, &err));
    assert_int_equal(told, 200);

    told = 0;
    request.url = url("/unavailable");
    assert_true(http_stream(http, &request, 10000, on_bytes, &watcher, &status, &err));
    assert_int_equal(told, 503);

    told = 0;
    request.url = url("/hang");
    Instant before = clock_now(clock_system());
    assert_fails(http_stream(http, &request, 60000, on_bytes, &watcher, &status, &err),
                 ERR_UNAVAILABLE, "/hang");
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 100, 5000);
    assert_int_equal(told, 0);

    request.url = url("/one-tick"); // accepted, then quiet for longer
    watcher = (Watcher){.status = &status};
    before = clock_now(clock_system());
    assert_fails(http_stream(http, &request, 400, on_bytes, &watcher, &status, &err),
                 ERR_UNAVAILABLE, "/one-tick");
    assert_in_range(instant_ms_between(before, clock_now(clock_system())), 400, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_a_stream_until_its_end),
        WITH_SERVER(test_a_stream_stopped_by_its_sink),
        WITH_SERVER(test_a_stream_interrupted_by_another_thread),
        WITH_SERVER(test_an_interruption_is_never_lost),
        WITH_SERVER(test_an_idle_or_lost_stream_fails),
        WITH_SERVER(test_a_stream_that_is_accepted),
        WITH_SERVER(test_a_busy_stream_is_not_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
