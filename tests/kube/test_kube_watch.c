// Our watch at a real API server.
#include "common/os/files.h"
#include "dcs/kubernetes/watch.h"
#include "tests/kube/kube_calls.h"

#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_mutex_t mutex;
    char told[4096];
    char version[64];
    bool progress;
} seen = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void tell(const char *word, const Tree *object)
{
    pthread_mutex_lock(&seen.mutex);
    const size_t length = strlen(seen.told);
    const Tree *metadata = tree_get(object, "metadata");
    const char *value = tree_string_of(tree_path(metadata, "annotations.a"));
    snprintf(seen.told + length, sizeof seen.told - length, "%s%s%s ", word,
             tree_get_string(metadata, "name", ""), str_or(value, ""));
    pthread_mutex_unlock(&seen.mutex);
}

static void on_list(void *context, const Tree *items, const char *version, Instant asked_at)
{
    (void)context;
    (void)version;
    (void)asked_at;
    tell("list", NULL);
    for (size_t i = 0; i < items->count; i++)
        tell("-", items->entries[i].value);
}

static void on_event(void *context, KubeEvent event, const Tree *object, Instant at)
{
    static const char *const words[] = {"+", "~", "x"};
    (void)context;
    (void)at;
    tell(words[event], object);
}

static void on_progress(void *context, const char *version, Instant at)
{
    (void)context;
    (void)at;
    pthread_mutex_lock(&seen.mutex);
    seen.progress = copy_text(seen.version, sizeof seen.version, version);
    pthread_mutex_unlock(&seen.mutex);
}

static void on_state(void *context, bool streaming, Instant since, const char *why)
{
    (void)context;
    (void)since;
    (void)why;
    tell(streaming ? "up" : "down", NULL);
}

static const KubeWatchHandler handler = {on_list, on_event, on_progress, on_state};

static void await(const char *told)
{
    char now[sizeof seen.told] = "";
    for (int i = 0; i < 30000; i++) {
        pthread_mutex_lock(&seen.mutex);
        memcpy(now, seen.told, sizeof now);
        pthread_mutex_unlock(&seen.mutex);
        if (strcmp(now, told) == 0)
            return;
        poll(NULL, 0, 1);
    }
    fail_msg("expected '%s', got '%s'", told, now);
}

// Waits until it has told this, among other things.
static void await_word(const char *word)
{
    bool found = false;
    for (int i = 0; i < 30000 && !found; i++) {
        pthread_mutex_lock(&seen.mutex);
        found = strstr(seen.told, word) != NULL;
        pthread_mutex_unlock(&seen.mutex);
        poll(NULL, 0, 1);
    }
    if (!found)
        fail_msg("never told: '%s'", word);
}

static KubeWatch *watch_of(const char *resource, const char *query)
{
    KubeWatch *watch = NULL;
    memset(seen.told, 0, sizeof seen.told);
    const KubeWatchOptions options = {
        .shared = &shared, .path = path_of(resource, NULL), .query = query, .handler = &handler};
    must(kube_watch_start(&options, &watch, &err));
    return watch;
}

static void test_a_watch(void **state)
{
    (void)state;
    must(create("endpoints", "a", ""));
    KubeWatch *watch = watch_of("endpoints", "labelSelector=app%3Dx");
    await("list -a up ");
    must(create("endpoints", "b", ""));
    must(annotate("endpoints", "a", "1", NULL));
    must(delete_("endpoints", "b", NULL));
    await("list -a up +b ~a1 xb ");
    kube_watch_restart(watch);
    await("list -a up +b ~a1 xb list -a1 ");
    must(annotate("endpoints", "a", "2", NULL));
    await("list -a up +b ~a1 xb list -a1 ~a2 ");
    kube_watch_stop(watch);

    watch = watch_of("endpoints", kube_name_query(arena, "c")); // one object, not there yet
    await("list up ");
    must(create("endpoints", "c", ""));
    must(annotate("endpoints", "a", "3", NULL)); // not this one's business
    must(annotate("endpoints", "c", "1", NULL));
    await("list up +c ~c1 ");
    kube_watch_stop(watch);
}

typedef struct {
    char text[8192];
    size_t length;
    int status;
} Raw;

static bool on_bytes(void *context, const char *bytes, size_t length)
{
    Raw *raw = context;
    if (length > sizeof raw->text - 1 - raw->length)
        length = sizeof raw->text - 1 - raw->length;
    memcpy(raw->text + raw->length, bytes, length);
    raw->length += length;
    return true;
}

static void on_status(void *context, int status)
{
    ((Raw *)context)->status = status;
}

// Events have no cache in front of etcd, so what etcd has forgotten is gone for them at once.
static void compact(const char *revision)
{
    const char *etcd = getenv("HOWDAH_KUBE_ETCD");
    if (str_empty(etcd))
        fail_msg("HOWDAH_KUBE_ETCD is not set: URL of the API server's etcd");
    AUTO(http_release) Http *http = http_new(NULL, NULL);
    const HttpRequest request = {
        .method = "POST",
        .url = arena_printf(arena, "%s/v3/kv/compaction", etcd),
        .body = arena_printf(arena, "{\"revision\":\"%s\",\"physical\":true}", revision)};
    HttpReply done;
    must(http_call(http, arena, &request, deadline_in(clock_system(), 20000), &done, &err));
    if (done.status != 200)
        fail_msg("compaction: %s", done.body);
}

// What the server really says to a version that it has forgotten, and when a watch's time is over:
// the scripts of the unit tests rest on it.
static void test_how_a_stream_ends(void **state)
{
    (void)state;
    Raw raw = {.length = 0};
    int status = 0;
    must(create("configmaps", "a", ""));
    compact(reply.resource_version);
    must(kube_stream(&client, path_of("events", NULL), "watch=true&resourceVersion=1", 20000,
                     on_status, on_bytes, &raw, &status, &err));
    assert_int_equal(raw.status, 200);
    if (strstr(raw.text, "\"type\":\"ERROR\"") == NULL || strstr(raw.text, "\"code\":410") == NULL)
        fail_msg("status %d: %s", raw.status, raw.text);

    must(get("configmaps", "a"));
    const char *version = reply.resource_version;
    raw = (Raw){.length = 0};
    must(annotate("configmaps", "a", "1", NULL));
    must(kube_stream(&client, path_of("configmaps", NULL),
                     arena_printf(arena,
                                  "watch=true&allowWatchBookmarks=true&timeoutSeconds=2&"
                                  "resourceVersion=%s",
                                  version),
                     20000, on_status, on_bytes, &raw, &status, &err));
    assert_int_equal(raw.status, 200);
    assert_non_null(strstr(raw.text, "\"type\":\"MODIFIED\""));
    assert_int_equal(raw.text[raw.length - 1], '\n');
}

// --- a server that is frozen

static bool is_stopped(const char *task)
{
    char *stat = NULL;
    if (!file_read(arena, task, 4096, &stat, &err) || stat == NULL)
        return true; // a thread that has ended
    const char *state = strrchr(stat, ')');
    return state != NULL && str_starts(state, ") T");
}

// A thread that is running goes on for a moment after the signal was sent, and may still answer.
static void freeze(int64_t pid)
{
    const char *tasks = arena_printf(arena, "/proc/%" PRId64 "/task", pid);
    assert_int_equal(kill((pid_t)pid, SIGSTOP), 0);
    for (int i = 0; i < 10000; i++) {
        bool stopped = true;
        DIR *threads = opendir(tasks);
        assert_non_null(threads);
        for (const struct dirent *e; (e = readdir(threads)) != NULL;)
            if (e->d_name[0] != '.')
                stopped =
                    is_stopped(arena_printf(arena, "%s/%s/stat", tasks, e->d_name)) && stopped;
        closedir(threads);
        if (stopped)
            return;
        poll(NULL, 0, 1);
    }
    (void)kill((pid_t)pid, SIGCONT);
    fail_msg("process %" PRId64 " does not stop", pid);
}

static void test_a_frozen_server(void **state)
{
    (void)state;
    int64_t pid;
    if (!parse_int64(getenv("HOWDAH_KUBE_API_PID"), &pid))
        fail_msg("HOWDAH_KUBE_API_PID is not set: the process of the API server");
    must(create("endpoints", "demo", ""));
    const char *version = reply.resource_version;
    KubeWatch *watch = watch_of("endpoints", NULL);
    await("list -demo up ");

    freeze(pid);
    const Instant before = clock_now(clock_system());
    const KubeRequest read = {.method = KUBE_GET, .path = path_of("endpoints", "demo")};
    const bool got = call_as(&client, &read, 1000);
    const ErrorKind read_kind = err.kind;
    const bool patched = patch_as(
        &client, "endpoints", "demo", NULL,
        arena_printf(arena,
                     "{\"metadata\":{\"resourceVersion\":\"%s\",\"annotations\":{\"a\":\"1\"}}}",
                     version),
        false, 1000);
    const ErrorKind patch_kind = err.kind;
    const int64_t took_ms = instant_ms_between(before, clock_now(clock_system()));
    assert_int_equal(kill((pid_t)pid, SIGCONT), 0);

    assert_false(got);
    assert_int_equal(read_kind, ERR_UNAVAILABLE);
    assert_false(patched);
    // A connection that it did not accept carries no request; its backlog accepts many.
    assert_true(patch_kind == ERR_UNCERTAIN || patch_kind == ERR_UNAVAILABLE);
    assert_in_range(took_ms, 1000, 4000); // twice 1 s at most, on a machine that may be busy
    // The watch lives on: nothing was lost.
    must(annotate("endpoints", "demo", "2", NULL));
    await_word("~demo2 ");
    kube_watch_stop(watch);
}

int main(void)
{
    if (!have_kubeconfig())
        return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_watch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_how_a_stream_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_frozen_server, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
