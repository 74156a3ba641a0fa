// The agent's side: starting a warden, attaching, losing it, many threads at once.
#include "tests/unit/test_warden_lab.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

static bool start(Lab *lab, const char *program, int64_t ms, Error *err)
{
    const int log = open(lab->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(log >= 0);
    const bool started = warden_start_detached(program, lab->socket, lab->data, log,
                                               deadline_in(lab->clock, ms), err);
    (void)close(log);
    return started;
}

static pid_t serving_pid(const Lab *lab)
{
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    const int fd = raw_connect(lab);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
    (void)close(fd);
    return peer.pid;
}

static void test_start_detached(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    // Something nobody marked close-on-exec, as libraries will.
    const int stray = open(lab->data, O_RDONLY | O_DIRECTORY);
    if (!start(lab, lab->program, WAIT_MS, &err))
        fail_msg("%s", err.text);
    (void)close(stray);
    const pid_t pid = serving_pid(lab);
    assert_int_equal(getpgid(pid), getsid(pid)); // a session of its own, without a terminal
    assert_int_not_equal(getsid(pid), getsid(0));
    assert_int_not_equal(getsid(pid), pid); // nor its leader, who could take one
    lab_attach(lab);
    const char *look =
        arena_printf(lab->arena, "readlink /proc/%d/cwd /proc/%d/fd/*", (int)pid, (int)pid);
    lab_sh(lab, "look", look);
    const char *seen = lab_wait(lab, "look").output;
    assert_ptr_equal(strstr(seen, "/\n"), seen);
    assert_null(strstr(seen, lab->data));
    assert_true(lab_log_has(lab, "ready"));

    assert_true(start(lab, lab->program, WAIT_MS, &err)); // one serves already
    assert_int_equal(serving_pid(lab), pid);
}

static void test_start_that_fails(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    assert_false(start(lab, "/no/such/howdah-warden", WAIT_MS, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "No such file"));
    assert_false(start(lab, "/bin/true", 100, &err));
    assert_non_null(strstr(err.text, "does not listen"));
    char path[200];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = 0;
    assert_false(warden_start_detached(lab->program, path, lab->data, 2, lab_deadline(lab), &err));
    assert_int_equal(err.kind, ERR_INVALID);
    Processes *client = warden_client_new(path, lab->clock);
    assert_false(warden_client_connect(client, lab_deadline(lab), &err));
    assert_int_equal(err.kind, ERR_INVALID);
    warden_client_free(client);
    warden_client_free(NULL);
}

static void test_nobody_there(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    lab->client = warden_client_new(lab->socket, lab->clock);
    assert_false(lab_view(lab).connected);
    assert_false(warden_client_connect(lab->client, lab_deadline(lab), &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_false(lab->client->ops->signal(lab->client, "t", SIGTERM, lab_deadline(lab), &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    ChildExit out;
    assert_false(
        lab->client->ops->wait(lab->client, lab->arena, "t", lab_deadline(lab), &out, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
}

// A warden that does not answer costs the deadline and not more; when it does, all is well.
static void test_frozen_warden(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    lab_start_warden(lab, NULL);
    assert_int_equal(kill(lab->warden, SIGSTOP), 0);
    lab->client = warden_client_new(lab->socket, lab->clock);
    const Instant began = clock_now(lab->clock);
    assert_false(warden_client_connect(lab->client, deadline_in(lab->clock, 100), &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_in_range(instant_ms_between(began, clock_now(lab->clock)), 100, 2000);
    assert_int_equal(kill(lab->warden, SIGCONT), 0);
    lab_attach(lab);
    assert_true(lab_view(lab).connected);
    assert_true(warden_client_connect(lab->client, lab_deadline(lab), &err)); // fine while attached
}

static void test_lost_and_found(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    uint64_t count;
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    lab_fence(lab, 20, 50, "");
    WAIT_FOR(lab, lab_view(lab).fenced_count == 1);
    const uint64_t epoch = lab_view(lab).epoch;
    while (read(warden_client_event_fd(lab->client), &count, sizeof count) > 0)
        continue;
    lab_kill_warden(lab, SIGKILL);
    struct pollfd event = {.fd = warden_client_event_fd(lab->client), .events = POLLIN};
    assert_int_equal(poll(&event, 1, WAIT_MS), 1);
    assert_false(lab_view(lab).connected);
    assert_false(lab_view(lab).replaced);
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    assert_int_equal(lab_view(lab).epoch, epoch); // another warden's first
    assert_int_equal(lab_view(lab).fenced_count, 1);
    lab_fence(lab, 20, 50, "");
    WAIT_FOR(lab, lab_view(lab).fenced_count == 2);

    // A wait ends with the connection.
    lab_sh(lab, "t", "sleep 968");
    assert_int_equal(kill(lab->warden, SIGKILL), 0);
    ChildExit out;
    assert_false(
        lab->client->ops->wait(lab->client, lab->arena, "t", lab_deadline(lab), &out, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    (void)lab_wait_warden(lab);
}

// Something else listens there, and says whatever it likes.
static void test_no_warden_at_all(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "HW\x40\x00\x01\x00\x00\x00\x04\x00\x00\x00zzzz",     // a STATE of four bytes
        "HW\x40\x00\x01\x00\x00\x00\xff\xff\xff\x00zzzz",     // longer than any
        "HW\x42\x00\x01\x00\x00\x00\x02\x00\x00\x00\x01\x00", // an ERROR without its text
    };
    static const size_t sizes[] = {28, 16, 16, 14};
    Lab *lab = *state;
    Error err = {0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", lab->socket);
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 4), 0);
    const pid_t server = fork();
    for (size_t i = 0; server == 0 && i < COUNT_OF(answers); i++) {
        char hello[64];
        const int fd = accept(listener, NULL, NULL);
        (void)!read(fd, hello, sizeof hello);
        (void)!write(fd, answers[i], sizes[i]);
        while (read(fd, hello, sizeof hello) > 0)
            continue;
        (void)close(fd);
    }
    if (server == 0)
        _exit(0);
    (void)close(listener);
    lab->client = warden_client_new(lab->socket, lab->clock);
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        assert_false(warden_client_connect(lab->client, lab_deadline(lab), &err));
        assert_int_equal(err.kind, ERR_UNAVAILABLE);
        assert_false(lab_view(lab).connected);
    }
    int status = 0;
    assert_int_equal(waitpid(server, &status, 0), server);
    assert_int_equal(status, 0);
}

typedef struct {
    Lab *lab;
    atomic_bool *stop;
    int number;
    atomic_int *done;
} Caller;

// Failures are expected, for the warden is killed now and then; being stuck is not.
static void *call_around(void *argument)
{
    const Caller *caller = argument;
    Processes *client = caller->lab->client;
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    char id[16];
    (void)snprintf(id, sizeof id, "t%d", caller->number);
    const char *const argv[] = {"sh", "-c", "echo $0; exit 4", id, NULL};
    const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    while (!atomic_load(caller->stop)) {
        Error err = {0};
        ChildExit out;
        WardenView view;
        const SpawnRequest request = {.id = id, .argv = argv, .env = env};
        const Deadline deadline = deadline_in(caller->lab->clock, WAIT_MS);
        arena_reset(arena);
        client->ops->view(client, &view);
        if (client->ops->spawn(client, &request, deadline, &err) &&
            client->ops->wait(client, arena, id, deadline, &out, &err) &&
            WEXITSTATUS(out.status) == 4 && strncmp(out.output, id, strlen(id)) == 0)
            (void)atomic_fetch_add(caller->done, 1);
        const Instant now = clock_now(caller->lab->clock);
        (void)client->ops->fence(client, instant_plus_ms(now, 20000), instant_plus_ms(now, 20500),
                                 id, deadline, &err);
        (void)client->ops->signal(client, id, SIGTERM, deadline, &err);
    }
    arena_free(arena);
    return NULL;
}

static void test_many_threads(void **state)
{
    Lab *lab = *state;
    atomic_bool stop = false;
    atomic_int done = 0;
    pthread_t threads[4];
    Caller callers[COUNT_OF(threads)];
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    for (int i = 0; i < (int)COUNT_OF(threads); i++) {
        callers[i] = (Caller){lab, &stop, i, &done};
        assert_int_equal(pthread_create(&threads[i], NULL, call_around, &callers[i]), 0);
    }
    for (int round = 0; round < 3; round++) {
        const int before = atomic_load(&done);
        WAIT_FOR(lab, atomic_load(&done) > before + 8);
        lab_kill_warden(lab, SIGKILL);
        lab_start_warden(lab, NULL);
        WAIT_FOR(lab, !lab_view(lab).connected);
        lab_attach(lab);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static int set_up(void **state)
{
    *state = lab_new();
    return 0;
}

static int tear_down(void **state)
{
    lab_free(*state);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_start_detached), TEST(test_start_that_fails), TEST(test_nobody_there),
        TEST(test_frozen_warden),  TEST(test_lost_and_found),   TEST(test_no_warden_at_all),
        TEST(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
