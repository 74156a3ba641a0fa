// The dead-man's switch: what arms, moves and lifts it, and that it strikes whatever has happened
// to the agent, to Postgres, or to the warden itself.
#include "tests/unit/test_warden_lab.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static bool unfence(Lab *lab, bool sure, Error *err)
{
    return lab->client->ops->unfence(lab->client, "lifted", sure, lab_deadline(lab), err);
}

// How long after `armed` the last process of Postgres was gone.
static int64_t gone_after_ms(Lab *lab, Instant armed)
{
    WAIT_FOR(lab, lab_count(lab, NULL, 0) == 0);
    return instant_ms_between(armed, clock_now(lab->clock));
}

static void test_strikes_at_its_deadline(void **state)
{
    Lab *lab = *state;
    lab_spawn_postgres(lab, WORDS("backends=4"));
    assert_int_equal(lab_count(lab, NULL, 0), 5);
    const Instant armed = clock_now(lab->clock);
    lab_fence(lab, 600, 2600, "session 12 term 3");
    WardenView view = lab_view(lab);
    assert_true(view.fence_armed);
    assert_false(view.fence_weak);
    assert_string_equal(view.note, "session 12 term 3");
    assert_int_equal(instant_ms_between(view.quit_at, view.kill_at), 2000);

    assert_in_range(gone_after_ms(lab, armed), 600, 2500); // SIGQUIT was enough
    WAIT_FOR(lab, lab_view(lab).fenced_count == 1);
    WAIT_FOR(lab, !lab_view(lab).remains);
    view = lab_view(lab);
    assert_in_range(instant_ms_between(armed, view.fenced_at), 600, 2500);
    assert_false(lab_child(&view, CHILD_POSTGRES)->running);
    // It stands, passed, until somebody decides what comes next.
    assert_true(view.fence_armed);
    assert_true(lab_log_has(lab, "fence struck reason=deadline"));
}

// Hung backends do not hear SIGQUIT, nor does a stopped postmaster.
static void test_kills_what_does_not_quit(void **state)
{
    Lab *lab = *state;
    lab_spawn_postgres(lab, WORDS("backends=3", "deaf", "deaf-postmaster", "archiver"));
    const Instant armed = clock_now(lab->clock);
    lab_fence(lab, 300, 700, "");
    assert_in_range(gone_after_ms(lab, armed), 690, 5000);
    WAIT_FOR(lab, lab_view(lab).fenced_count == 1);
}

static void test_kills_a_stopped_postmaster(void **state)
{
    Lab *lab = *state;
    pid_t pids[8];
    lab_spawn_postgres(lab, WORDS("backends=2"));
    const size_t count = lab_count(lab, pids, COUNT_OF(pids));
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(kill(pids[i], SIGSTOP), 0);
    const Instant armed = clock_now(lab->clock);
    lab_fence(lab, 300, 2300, "");
    // SIGQUIT is heard only after SIGCONT, which goes along with it.
    assert_in_range(gone_after_ms(lab, armed), 300, 2200);
    WAIT_FOR(lab, lab_view(lab).fenced_count == 1);
    // The same again with one that would not stop itself: SIGKILL needs no leave.
    lab_fence(lab, 20000, 20500, "");
    lab_spawn_postgres(lab, WORDS("backends=2", "deaf", "deaf-postmaster"));
    assert_int_equal(lab_count(lab, pids, COUNT_OF(pids)), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(kill(pids[i], SIGSTOP), 0);
    lab_fence(lab, 100, 300, "");
    WAIT_FOR(lab, lab_count(lab, NULL, 0) == 0);
}

static void test_survives_the_agent(void **state)
{
    Lab *lab = *state;
    lab_spawn_postgres(lab, NULL);
    const Instant armed = clock_now(lab->clock);
    lab_fence(lab, 500, 900, "mine");
    warden_client_release(&lab->client);
    assert_in_range(gone_after_ms(lab, armed), 500, 5000);
    WAIT_FOR(lab, lab_log_has(lab, "fenced took_ms=")); // the warden has seen them gone, too

    lab_attach(lab); // a new one hears of it
    WAIT_FOR(lab, instant_is_set(lab_view(lab).fenced_at));
    WardenView view = lab_view(lab);
    assert_string_equal(view.note, "mine");
    assert_int_equal(view.fenced_count, 0); // not since it attached
}

// An agent that is stopped (SIGSTOP) goes on holding its connection, and renews nothing. What it
// sent in its last moment, or will send when it wakes up, does not help either.
static void test_stopped_agent(void **state)
{
    Lab *lab = *state;
    lab_spawn_postgres(lab, NULL);
    warden_client_release(&lab->client);
    const pid_t agent = fork();
    if (agent == 0) {
        lab->client = NULL;
        lab_attach(lab);
        for (;;) {
            Error err = {0};
            (void)lab_try_fence(lab, 600, 1000, &err);
            lab_pause();
        }
    }
    WAIT_FOR(lab, lab_log_has(lab, "fence armed"));
    assert_int_equal(kill(agent, SIGSTOP), 0);
    const Instant stopped = clock_now(lab->clock);
    assert_in_range(gone_after_ms(lab, stopped), 400, 5000);
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
}

static void test_is_moved(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    lab_spawn_postgres(lab, NULL);
    const Instant armed = clock_now(lab->clock);
    while (instant_ms_between(armed, clock_now(lab->clock)) < 4500) {
        lab_fence(lab, 2000, 2600, "renewed");
        lab_pause();
    }
    assert_int_equal(lab_count(lab, NULL, 0), 3);
    assert_int_equal(lab_view(lab).fenced_count, 0);
    // Further ahead than a ttl: refused, and the one that stands stays.
    const Instant before = lab_view(lab).kill_at;
    assert_false(lab_try_fence(lab, 29990, 30100, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "more than a ttl ahead"));
    assert_int_equal(lab_view(lab).kill_at.ns, before.ns);
    WAIT_FOR(lab, lab_count(lab, NULL, 0) == 0);
    // No ttl, no fence.
    warden_client_set_ttl(lab->client, 0);
    assert_false(lab_try_fence(lab, 500, 800, &err));
    assert_int_equal(err.kind, ERR_INVALID);
}

static void test_is_lifted(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    lab_fence(lab, 2500, 2800, "armed before the start");
    lab_spawn_postgres(lab, NULL);
    assert_false(unfence(lab, false, &err)); // it might be writing
    assert_int_equal(err.kind, ERR_INVALID);
    assert_true(lab_view(lab).fence_armed);
    assert_true(unfence(lab, true, &err));
    const WardenView view = lab_view(lab);
    assert_false(view.fence_armed);
    assert_string_equal(view.note, "lifted");
    const Instant lifted = clock_now(lab->clock);
    WAIT_FOR(lab, instant_ms_between(lifted, clock_now(lab->clock)) > 3000);
    assert_int_equal(lab_count(lab, NULL, 0), 3);
    // With nothing running nobody has to be sure.
    lab_fence(lab, 10000, 10500, "");
    assert_true(
        lab->client->ops->signal(lab->client, CHILD_POSTGRES, SIGINT, lab_deadline(lab), &err));
    assert_int_equal(lab_wait(lab, CHILD_POSTGRES).status, 0);
    assert_true(unfence(lab, false, &err));
}

// The fence strikes with nothing running. A start that was sent before that and read after it would
// run without a fence, so the passed deadline refuses it.
static void test_struck_fence_bars_the_start(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    lab_fence(lab, 50, 100, "");
    WAIT_FOR(lab, lab_view(lab).fenced_count == 1);
    assert_false(lab_try_postgres(lab, NULL, &err));
    assert_non_null(strstr(err.text, "the fence has struck"));
    assert_true(unfence(lab, false, &err));
    lab_spawn_postgres(lab, NULL);
    lab_fence(lab, 50, 100, "");
    WAIT_FOR(lab, lab_view(lab).fenced_count == 2);
    lab_fence(lab, 10000, 10500, "a new term");
    lab_spawn_postgres(lab, NULL);
}

// The warden itself was frozen for longer than the margin: nobody knows what happened meanwhile, so
// it strikes, however far ahead the deadline, and whatever waits in its socket.
static void test_frozen_warden(void **state)
{
    Lab *lab = *state;
    lab_spawn_postgres(lab, NULL);
    lab_fence(lab, 20000, 20250, ""); // the margin is 500 ms
    assert_int_equal(kill(lab->warden, SIGSTOP), 0);
    const Instant stopped = clock_now(lab->clock);
    Error err = {0};
    while (instant_ms_between(stopped, clock_now(lab->clock)) < 700) {
        const Instant now = clock_now(lab->clock);
        assert_false(lab->client->ops->fence(lab->client, instant_plus_ms(now, 20000),
                                             instant_plus_ms(now, 20250), "",
                                             deadline_in(lab->clock, 50), &err));
        assert_int_equal(err.kind, ERR_UNCERTAIN); // sent, not answered
    }
    assert_int_equal(lab_count(lab, NULL, 0), 3);
    const Instant thawed = clock_now(lab->clock);
    assert_int_equal(kill(lab->warden, SIGCONT), 0);
    assert_in_range(gone_after_ms(lab, thawed), 0, 5000);
    WAIT_FOR(lab, lab_view(lab).fenced_count == 1);
    assert_true(lab_log_has(lab, "fence struck reason=was-frozen"));
}

static void test_frozen_beyond_the_deadline(void **state)
{
    Lab *lab = *state;
    lab_spawn_postgres(lab, WORDS("deaf", "deaf-postmaster"));
    lab_fence(lab, 300, 1800, "");
    assert_int_equal(kill(lab->warden, SIGSTOP), 0);
    const Instant stopped = clock_now(lab->clock);
    WAIT_FOR(lab, instant_ms_between(stopped, clock_now(lab->clock)) > 1900);
    const Instant thawed = clock_now(lab->clock);
    assert_int_equal(kill(lab->warden, SIGCONT), 0);
    assert_in_range(gone_after_ms(lab, thawed), 0, 1400); // SIGKILL at once
}

// A short freeze, and being scheduled late, are not held against anybody.
static void test_short_freeze(void **state)
{
    Lab *lab = *state;
    lab_spawn_postgres(lab, NULL);
    lab_fence(lab, 20000, 21000, ""); // the margin is 2 s
    assert_int_equal(kill(lab->warden, SIGSTOP), 0);
    const Instant stopped = clock_now(lab->clock);
    WAIT_FOR(lab, instant_ms_between(stopped, clock_now(lab->clock)) > 200);
    assert_int_equal(kill(lab->warden, SIGCONT), 0);
    lab_fence(lab, 20000, 21000, "");
    assert_int_equal(lab_view(lab).fenced_count, 0);
    assert_int_equal(lab_count(lab, NULL, 0), 3);
}

// A fence is for the data directory; tasks and what else runs here are not its business. Nor is a
// postgres of another directory.
static void test_spares_others(void **state)
{
    Lab *lab = *state;
    const char *other, *script;
    other = arena_printf(lab->arena, "%s/other", lab->dir);
    script = arena_printf(lab->arena, "mkdir %s && exec %s -D %s backends=1", other, lab->postgres,
                          other);
    lab_sh(lab, "other", script);
    WAIT_FOR(lab, lab_count(lab, NULL, 0) == 2);
    script = arena_printf(lab->arena, "cd %s; sleep 971", lab->data);
    lab_sh(lab, "task", script);
    lab_spawn_postgres(lab, NULL);
    lab_fence(lab, 50, 150, "");
    WAIT_FOR(lab, lab_view(lab).fenced_count == 1);
    const WardenView view = lab_view(lab);
    assert_true(lab_child(&view, "other")->running);
    assert_true(lab_child(&view, "task")->running);
    assert_false(lab_child(&view, CHILD_POSTGRES)->running);
    assert_int_equal(lab_count(lab, NULL, 0), 2);
}

// Nobody reads the log: the pipe is full, and whoever writes to it blocks. Not the warden.
static void test_full_log(void **state)
{
    static const int kinds[] = {0, 1};
    Lab *lab = *state;
    lab_kill_warden(lab, SIGKILL);
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        int pair[2];
        const char noise[512] = {0};
        assert_int_equal(kinds[i] ? socketpair(AF_UNIX, SOCK_STREAM, 0, pair) : pipe(pair), 0);
        assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
        while (write(pair[1], noise, sizeof noise) > 0)
            continue;
        assert_int_equal(fcntl(pair[1], F_SETFL, 0), 0); // as it is for Postgres, who shares it
        lab->log_fd = pair[1];
        lab_start_warden(lab, NULL);
        lab_attach(lab);
        const Instant armed = clock_now(lab->clock);
        lab_fence(lab, 200, 500, "");
        lab_sh(lab, "t", "exec sleep 966");
        WAIT_FOR(lab, lab_view(lab).fenced_count == i + 1);
        assert_in_range(instant_ms_between(armed, clock_now(lab->clock)), 200, 3000);
        assert_int_equal(fcntl(pair[1], F_GETFL) & O_NONBLOCK, 0); // left as it was
        lab_kill_warden(lab, SIGKILL);
        (void)close(pair[0]);
        (void)close(pair[1]);
    }
}

static int set_up(void **state)
{
    *state = lab_ready();
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
        TEST(test_strikes_at_its_deadline),
        TEST(test_kills_what_does_not_quit),
        TEST(test_kills_a_stopped_postmaster),
        TEST(test_survives_the_agent),
        TEST(test_stopped_agent),
        TEST(test_is_moved),
        TEST(test_is_lifted),
        TEST(test_struck_fence_bars_the_start),
        TEST(test_frozen_warden),
        TEST(test_frozen_beyond_the_deadline),
        TEST(test_short_freeze),
        TEST(test_spares_others),
        TEST(test_full_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
