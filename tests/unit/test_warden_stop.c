// Being told to stop, and the respawner.
#include "tests/unit/test_warden_lab.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static bool ended(Lab *lab)
{
    const WardenView view = lab_view(lab);
    const ChildView *child = lab_child(&view, CHILD_POSTGRES);
    return child && !child->running;
}

static int64_t since(Lab *lab, Instant start)
{
    return instant_ms_between(start, clock_now(lab->clock));
}

// The agent is told, hands over, stops Postgres itself, and leaves; then the warden ends.
static void test_agent_hands_over(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGQUIT};
    Lab *lab = *state;
    Error err = {0};
    for (size_t i = 0; i < COUNT_OF(signals); i++) {
        uint64_t count;
        lab_start_warden(lab, NULL);
        lab_attach(lab);
        lab_spawn_postgres(lab, NULL);
        while (read(warden_client_event_fd(lab->client), &count, sizeof count) > 0)
            continue;
        assert_false(lab_view(lab).terminating);
        assert_int_equal(kill(lab->warden, signals[i]), 0);
        struct pollfd event = {.fd = warden_client_event_fd(lab->client), .events = POLLIN};
        assert_int_equal(poll(&event, 1, WAIT_MS), 1);
        WAIT_FOR(lab, lab_view(lab).terminating);
        assert_int_equal(lab_count(lab, NULL, 0), 3); // its turn has come, nobody else's
        lab_sh(lab, "hook", "echo handed over");      // tasks may still run
        assert_string_equal(lab_wait(lab, "hook").output, "handed over\n");
        assert_true(
            lab->client->ops->signal(lab->client, CHILD_POSTGRES, SIGINT, lab_deadline(lab), &err));
        assert_int_equal(lab_wait(lab, CHILD_POSTGRES).status, 0);
        assert_false(lab_try_postgres(lab, NULL, &err));
        assert_non_null(strstr(err.text, "told to stop"));
        lab_sh(lab, "look", "echo last word"); // and Postgres being gone, the agent may look
        assert_string_equal(lab_wait(lab, "look").output, "last word\n");
        const Instant left = clock_now(lab->clock);
        warden_client_release(&lab->client);
        assert_int_equal(lab_wait_warden(lab), 0);
        assert_in_range(since(lab, left), 0, 1900); // nobody is waited for
        assert_int_not_equal(access(lab->socket, F_OK), 0);
    }
}

// An agent that does nothing, or is stopped, has its time and not more. It may stay attached.
static void test_agent_does_nothing(void **state)
{
    Lab *lab = *state;
    lab_start_warden(lab, WORDS("--stop-timeout", "0.4"));
    lab_attach(lab);
    lab_spawn_postgres(lab, NULL);
    const Instant told = clock_now(lab->clock);
    assert_int_equal(kill(lab->warden, SIGTERM), 0);
    WAIT_FOR(lab, ended(lab));
    assert_in_range(since(lab, told), 400, 5000);
    assert_int_equal(lab_wait(lab, CHILD_POSTGRES).status, 0); // a fast shutdown, no kill
    assert_int_equal(lab_wait_warden(lab), 0);
    WAIT_FOR(lab, !lab_view(lab).connected);
}

static void test_no_agent(void **state)
{
    Lab *lab = *state;
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    lab_spawn_postgres(lab, NULL);
    warden_client_release(&lab->client);
    const Instant left = clock_now(lab->clock);
    WAIT_FOR(lab, lab_log_has(lab, "agent detached"));
    assert_int_equal(kill(lab->warden, SIGTERM), 0);
    assert_int_equal(lab_wait_warden(lab), 0); // after the 2 s in which one might come back
    assert_in_range(since(lab, left), 1900, 10000);
    assert_int_equal(lab_count(lab, NULL, 0), 0);
}

// Alone for long already: nothing to wait for.
static void test_nobody_at_all(void **state)
{
    Lab *lab = *state;
    lab_start_warden(lab, NULL);
    const Instant told = clock_now(lab->clock);
    assert_int_equal(kill(lab->warden, SIGTERM), 0);
    assert_int_equal(lab_wait_warden(lab), 0);
    assert_in_range(since(lab, told), 0, 1900);
}

static void test_agent_dies_while_handing_over(void **state)
{
    Lab *lab = *state;
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    lab_spawn_postgres(lab, NULL);
    assert_int_equal(kill(lab->warden, SIGTERM), 0);
    WAIT_FOR(lab, lab_view(lab).terminating);
    warden_client_release(&lab->client);
    assert_int_equal(lab_wait_warden(lab), 0);
    assert_int_equal(lab_count(lab, NULL, 0), 0);
}

static void test_shutdown_that_hangs(void **state)
{
    Lab *lab = *state;
    lab_start_warden(lab, WORDS("--stop-timeout", "0.1", "--fast-timeout", "0.3"));
    lab_attach(lab);
    lab_spawn_postgres(lab, WORDS("deaf", "deaf-postmaster"));
    const Instant told = clock_now(lab->clock);
    assert_int_equal(kill(lab->warden, SIGTERM), 0);
    WAIT_FOR(lab, ended(lab));
    assert_in_range(since(lab, told), 2300, 8000); // 0.1 + 0.3 + 2 from SIGQUIT to SIGKILL
    assert_int_equal(WTERMSIG(lab_wait(lab, CHILD_POSTGRES).status), SIGKILL);
    assert_int_equal(lab_count(lab, NULL, 0), 0);
    warden_client_release(&lab->client);
    assert_int_equal(lab_wait_warden(lab), 0);
}

// Handing over takes its time, but the lease runs out meanwhile: the fence knows no patience.
static void test_fence_while_stopping(void **state)
{
    Lab *lab = *state;
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    lab_spawn_postgres(lab, WORDS("slow-stop-ms=20000"));
    lab_fence(lab, 500, 800, "");
    const Instant told = clock_now(lab->clock);
    assert_int_equal(kill(lab->warden, SIGTERM), 0);
    WAIT_FOR(lab, ended(lab));
    assert_in_range(since(lab, told), 400, 5000);
    warden_client_release(&lab->client);
    assert_int_equal(lab_wait_warden(lab), 0);
}

static void test_stays_without_a_postmaster(void **state)
{
    Lab *lab = *state;
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    lab_spawn_postgres(lab, WORDS("exit=0"));
    (void)lab_wait(lab, CHILD_POSTGRES);
    warden_client_release(&lab->client);
    static const int ignored[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE};
    for (size_t i = 0; i < COUNT_OF(ignored); i++)
        assert_int_equal(kill(lab->warden, ignored[i]), 0);
    lab_attach(lab);
    assert_true(lab_view(lab).connected);
    lab_spawn_postgres(lab, NULL);
}

// ---- the respawner

// Starts `howdah-warden --respawn -- sh -c script`, its output in the log.
static void respawn(Lab *lab, const char *const *before, const char *script)
{
    const char *argv[16] = {lab->program};
    size_t count = 1;
    for (; before && before[count - 1]; count++)
        argv[count] = before[count - 1];
    const char *const rest[] = {"--respawn", "--", "sh", "-c", script};
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        argv[count++] = rest[i];
    lab->warden = fork();
    if (lab->warden == 0) {
        char *copy[16];
        const int log = open(lab->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        memcpy(copy, argv, sizeof copy);
        (void)dup2(log, STDOUT_FILENO);
        (void)dup2(log, STDERR_FILENO);
        (void)execv(lab->program, copy);
        _exit(127);
    }
}

static size_t count_in_log(Lab *lab, const char *text)
{
    size_t count = 0;
    for (const char *at = lab_read(lab, lab->log); (at = strstr(at, text)); at++)
        count++;
    return count;
}

static bool log_is_there(const Lab *lab)
{
    return access(lab->log, F_OK) == 0;
}

static void test_respawns(void **state)
{
    Lab *lab = *state;
    const Instant start = clock_now(lab->clock);
    respawn(lab, NULL, "echo began; kill -SEGV $$");
    WAIT_FOR(lab, log_is_there(lab) && count_in_log(lab, "began\n") >= 4);
    assert_in_range(since(lab, start), 150, 5000); // 0, 50, 100 ms
    assert_int_equal(kill(lab->warden, SIGTERM), 0);
    const int status = lab_wait_warden(lab); // caught between two starts, or running
    assert_true(WIFEXITED(status));
}

static void test_respawner_forwards(void **state)
{
    Lab *lab = *state;
    const char *script = "trap 'echo got-hup' HUP; trap 'echo got-usr1' USR1;"
                         "trap 'echo got-usr2' USR2; trap 'echo got-term; exit 0' TERM;"
                         "echo began; while :; do sleep 0.01; done";
    respawn(lab, NULL, script);
    WAIT_FOR(lab, log_is_there(lab) && lab_log_has(lab, "began\n"));
    static const struct {
        int signal;
        const char *word;
    } rows[] = {{SIGHUP, "got-hup"}, {SIGUSR1, "got-usr1"}, {SIGUSR2, "got-usr2"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(kill(lab->warden, rows[i].signal), 0);
        WAIT_FOR(lab, lab_log_has(lab, rows[i].word));
    }
    assert_int_equal(kill(lab->warden, SIGTERM), 0);
    assert_int_equal(lab_wait_warden(lab), 0);
    assert_true(lab_log_has(lab, "got-term"));
    assert_int_equal(count_in_log(lab, "began\n"), 1);
}

// Whatever the program makes of the stop signal is what the respawner says.
static void test_respawner_exit_code(void **state)
{
    static const struct {
        const char *script;
        int signal, code;
    } rows[] = {
        {"trap 'exit 3' INT; echo began; while :; do sleep 0.01; done", SIGINT, 3},
        {"trap 'exit 0' QUIT; echo began; while :; do sleep 0.01; done", SIGQUIT, 0},
        {"echo began; exec sleep 969", SIGTERM, 128 + SIGTERM},
    };
    Lab *lab = *state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        (void)unlink(lab->log);
        respawn(lab, NULL, rows[i].script);
        WAIT_FOR(lab, log_is_there(lab) && lab_log_has(lab, "began\n"));
        assert_int_equal(kill(lab->warden, rows[i].signal), 0);
        assert_int_equal(WEXITSTATUS(lab_wait_warden(lab)), rows[i].code);
    }
}

// An exit nobody asked for, as for an upgrade, is followed by a start, whatever its status.
static void test_respawns_after_success(void **state)
{
    Lab *lab = *state;
    respawn(lab, NULL, "trap 'exit 0' USR2; echo began; while :; do sleep 0.01; done");
    WAIT_FOR(lab, log_is_there(lab) && lab_log_has(lab, "began\n"));
    assert_int_equal(kill(lab->warden, SIGUSR2), 0);
    WAIT_FOR(lab, count_in_log(lab, "began\n") == 2);
    lab_kill_warden(lab, SIGKILL);
}

// Orphans come to PID 1, and to us where we stand in for it; they are reaped.
static void test_reaps_strangers(void **state)
{
    Lab *lab = *state;
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    lab_sh(lab, "t", "for i in 1 2 3 4 5; do (sleep 0.02 & echo $!) ; done");
    const char *at = lab_wait(lab, "t").output;
    for (int pid, used; sscanf(at, "%d%n", &pid, &used) == 1; at += used)
        WAIT_FOR(lab, process_start_time(pid) == 0); // not even a zombie
}

static void test_program_that_is_not_there(void **state)
{
    Lab *lab = *state;
    respawn(lab, NULL, "exit 127");
    assert_int_equal(WEXITSTATUS(lab_wait_warden(lab)), 127);
}

// One container: the warden is PID 1, the agent its program. An agent's crash is none of Postgres's
// business; a stop signal is everybody's.
static void test_warden_and_program(void **state)
{
    Lab *lab = *state;
    respawn(lab, WORDS("--socket", lab->socket, "--data-dir", lab->data),
            "trap 'echo got-term; exit 0' TERM; echo up $$; while :; do sleep 0.01; done");
    lab_attach(lab);
    lab_spawn_postgres(lab, NULL);
    WAIT_FOR(lab, lab_log_has(lab, "up "));
    const pid_t agent = atoi(strstr(lab_read(lab, lab->log), "up ") + 3);
    assert_int_equal(kill(agent, SIGKILL), 0);
    WAIT_FOR(lab, count_in_log(lab, "up ") == 2);
    assert_int_equal(lab_count(lab, NULL, 0), 3);

    assert_int_equal(kill(lab->warden, SIGINT), 0);
    WAIT_FOR(lab, lab_view(lab).terminating);
    WAIT_FOR(lab, lab_log_has(lab, "got-term")); // the agent knows but one word for it
    assert_int_equal(lab_count(lab, NULL, 0), 3);
    warden_client_release(&lab->client);
    assert_int_equal(lab_wait_warden(lab), 0);
    assert_int_equal(lab_count(lab, NULL, 0), 0);
    assert_int_equal(count_in_log(lab, "up "), 2);
}

// ---- arguments

static void test_arguments(void **state)
{
    static const char *const wrong[][6] = {
        {NULL},
        {"--socket", "/tmp/x"},
        {"--data-dir", "/tmp"},
        {"--socket", "relative", "--data-dir", "/tmp"},
        {"--socket", "/tmp/x", "--data-dir", "relative"},
        {"--socket", "/tmp/x", "--data-dir"},
        {"--socket", "/tmp/x", "--data-dir", "/tmp", "--nonsense", "1"},
        {"--stop-timeout", "soon", "--respawn", "--", "true"},
        {"--stop-timeout", "1.5.5", "--respawn", "--", "true"},
        {"--stop-timeout", "99999999999999999999", "--respawn", "--", "true"},
        {"--respawn", "true"},
        {"--respawn", "--"},
    };
    Lab *lab = *state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        const char *line = arena_printf(lab->arena, "%s", lab->program);
        for (size_t k = 0; k < COUNT_OF(wrong[i]) && wrong[i][k]; k++)
            line = arena_printf(lab->arena, "%s %s", line, wrong[i][k]);
        line = arena_printf(lab->arena, "%s 2>%s", line, lab->log);
        const int status = system(line);
        if (WEXITSTATUS(status) != 2 || !lab_log_has(lab, "howdah-warden: "))
            fail_msg("%s: %d", line, WEXITSTATUS(status));
    }
    char *path = arena_alloc(lab->arena, 200);
    memset(path, 'x', 120);
    path[0] = '/';
    assert_int_equal(
        WEXITSTATUS(system(arena_printf(lab->arena, "%s --socket %s --data-dir /tmp 2>%s",
                                        lab->program, path, lab->log))),
        2);
    assert_true(lab_log_has(lab, "at most 107 bytes"));
    assert_int_equal(system(arena_printf(lab->arena, "%s --version >%s", lab->program, lab->log)),
                     0);
    assert_string_equal(lab_read(lab, lab->log), "howdah-warden " HOWDAH_VERSION "\n");
    assert_int_equal(system(arena_printf(lab->arena, "%s --help >%s", lab->program, lab->log)), 0);
    assert_true(lab_log_has(lab, "--stop-timeout"));
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
        TEST(test_agent_hands_over),
        TEST(test_agent_does_nothing),
        TEST(test_no_agent),
        TEST(test_nobody_at_all),
        TEST(test_agent_dies_while_handing_over),
        TEST(test_shutdown_that_hangs),
        TEST(test_fence_while_stopping),
        TEST(test_stays_without_a_postmaster),
        TEST(test_respawns),
        TEST(test_respawner_forwards),
        TEST(test_respawner_exit_code),
        TEST(test_respawns_after_success),
        TEST(test_reaps_strangers),
        TEST(test_program_that_is_not_there),
        TEST(test_warden_and_program),
        TEST(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
