// The postmaster: its death, the warden's death, one that somebody else started.
#include "tests/unit/test_warden_lab.h"

#include <stdio.h>
#include <stdlib.h>

static pid_t postmaster_pid(Lab *lab)
{
    const WardenView view = lab_view(lab);
    return lab_child(&view, CHILD_POSTGRES)->pid;
}

static bool postmaster_ended(Lab *lab)
{
    const WardenView view = lab_view(lab);
    const ChildView *child = lab_child(&view, CHILD_POSTGRES);
    return child && !child->running;
}

static bool adopt(Lab *lab, pid_t pid, uint64_t start_time, Error *err)
{
    return lab->client->ops->adopt(lab->client, pid, start_time, lab_deadline(lab), err);
}

// kill -9 leaves backends that are busy and would go on writing: `exited` is said only when none of
// them is left, without anybody asking, and a new start works at once.
static void test_killed_with_backends(void **state)
{
    static const char *const kinds[][4] = {{"backends=6"}, {"backends=6", "deaf", "archiver"}};
    Lab *lab = *state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        lab_spawn_postgres(lab, kinds[i]);
        WAIT_FOR(lab, lab_count(lab, NULL, 0) == 7); // the archiver is at first a copy, too
        assert_true(lab_view(lab).remains);
        const Instant killed = clock_now(lab->clock);
        assert_int_equal(kill(postmaster_pid(lab), SIGKILL), 0);
        WAIT_FOR(lab, postmaster_ended(lab));
        assert_int_equal(lab_count(lab, NULL, 0), 0);
        assert_in_range(instant_ms_between(killed, clock_now(lab->clock)), 0, 2500);
        const WardenView view = lab_view(lab);
        assert_false(view.remains);
        assert_int_equal(WTERMSIG(lab_child(&view, CHILD_POSTGRES)->status), SIGKILL);
    }
    // The archive command is no postgres, and gone all the same: nobody works there any more.
    const char *look =
        arena_printf(lab->arena, "ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -c ' %s$'", lab->data);
    lab_sh(lab, "look", look);
    assert_string_equal(lab_wait(lab, "look").output, "0\n");
}

static void test_exit_status_and_output(void **state)
{
    Lab *lab = *state;
    lab_spawn_postgres(lab, WORDS("exit=1", "backends=0"));
    const ChildExit ended = lab_wait(lab, CHILD_POSTGRES);
    assert_int_equal(WEXITSTATUS(ended.status), 1);
    assert_string_equal(ended.output, "");                  // nothing is kept of it:
    assert_true(lab_log_has(lab, "postmaster is ready\n")); // it goes where the warden's own goes
}

static void test_only_one(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    const SpawnRequest second = {.id = "second",
                                 .argv = WORDS(lab->postgres, "-D", lab->data),
                                 .env = WORDS("PATH=/bin"),
                                 .postmaster = true};
    lab_spawn_postgres(lab, NULL);
    assert_false(lab_try_spawn(lab, &second, &err));
    assert_non_null(strstr(err.text, "a postmaster runs already"));
    assert_false(adopt(lab, postmaster_pid(lab), process_start_time(postmaster_pid(lab)), &err));
}

// The warden's death is the postmaster's: SIGQUIT, so that it takes its backends along.
static void test_killed_warden(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    lab_spawn_postgres(lab, WORDS("backends=4"));
    lab_spawn(lab, "task", WORDS("sleep", "970"));
    const WardenView before = lab_view(lab);
    const pid_t task = lab_child(&before, "task")->pid;
    lab_kill_warden(lab, SIGKILL);
    WAIT_FOR(lab, lab_count(lab, NULL, 0) == 0);
    WAIT_FOR(lab, !process_runs(task)); // a new warden could not tell anybody about it
    WAIT_FOR(lab, !lab_view(lab).connected);
    assert_false(lab_try_fence(lab, 500, 700, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);

    lab_start_warden(lab, NULL); // the same client finds its successor
    lab_attach(lab);
    const WardenView view = lab_view(lab);
    assert_true(view.connected);
    assert_false(view.replaced);
    assert_int_equal(view.child_count, 0);
    lab_spawn_postgres(lab, NULL);
}

// What a postmaster that died together with its warden leaves behind: a new warden sees it, starts
// nothing beside it, and a fence ends it.
static void test_leftovers(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    pid_t pids[8];
    lab_spawn_postgres(lab, WORDS("backends=2", "deaf"));
    assert_int_equal(kill(lab->warden, SIGSTOP), 0);
    assert_int_equal(kill(postmaster_pid(lab), SIGKILL), 0);
    lab_kill_warden(lab, SIGKILL);
    WAIT_FOR(lab, lab_count(lab, pids, COUNT_OF(pids)) == 2);

    lab_start_warden(lab, NULL);
    lab_attach(lab);
    assert_true(lab_view(lab).remains);
    assert_false(lab_try_postgres(lab, NULL, &err));
    assert_non_null(strstr(err.text, "processes of the data directory remain"));
    assert_false(lab->client->ops->unfence(lab->client, "", false, lab_deadline(lab), &err));
    lab_fence(lab, -20, 100, "end it");
    WAIT_FOR(lab, !lab_view(lab).remains);
    assert_int_equal(lab_count(lab, NULL, 0), 0);
    assert_true(lab->client->ops->unfence(lab->client, "", false, lab_deadline(lab), &err));
    lab_spawn_postgres(lab, NULL);
}

static bool is_stopped(Lab *lab, pid_t pid)
{
    const char *stat = lab_read(lab, arena_printf(lab->arena, "/proc/%d/stat", (int)pid));
    const char *name_end = strrchr(stat, ')');
    return name_end && name_end[1] == ' ' && name_end[2] == 'T';
}

// A postmaster that is stopped when its warden is killed does not hear of it, and its backends go
// on: the next warden ends them by itself, before any agent has attached.
static void test_stopped_postmaster_of_a_killed_warden(void **state)
{
    Lab *lab = *state;
    lab_spawn_postgres(lab, WORDS("backends=3", "deaf"));
    const pid_t postmaster = postmaster_pid(lab);
    assert_int_equal(kill(postmaster, SIGSTOP), 0);
    WAIT_FOR(lab, is_stopped(lab, postmaster));
    lab_kill_warden(lab, SIGKILL);
    assert_int_equal(lab_count(lab, NULL, 0), 4);
    lab_start_warden(lab, NULL);
    WAIT_FOR(lab, lab_count(lab, NULL, 0) == 0);
    assert_true(lab_log_has(lab, "ending what a warden that was killed has left behind"));
    lab_attach(lab);
    WAIT_FOR(lab, !lab_view(lab).remains);
    lab_spawn_postgres(lab, NULL);
}

// Leftovers that go by themselves are noticed too.
static void test_leftovers_that_leave(void **state)
{
    Lab *lab = *state;
    pid_t pids[8];
    lab_spawn_postgres(lab, WORDS("backends=1", "deaf"));
    assert_int_equal(kill(lab->warden, SIGSTOP), 0);
    assert_int_equal(kill(postmaster_pid(lab), SIGKILL), 0);
    lab_kill_warden(lab, SIGKILL);
    WAIT_FOR(lab, lab_count(lab, pids, COUNT_OF(pids)) == 1);
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    assert_true(lab_view(lab).remains);
    assert_int_equal(kill(pids[0], SIGKILL), 0);
    WAIT_FOR(lab, !lab_view(lab).remains);
}

// A postmaster that somebody else has started, as Patroni would: found by its pid, proven by its
// start time, and fenced like our own, but for what happens when we die.
static pid_t start_elsewhere(Lab *lab, const char *word)
{
    const pid_t pid = fork();
    if (pid == 0) {
        (void)setsid();
        (void)execl(lab->postgres, "postgres", "-D", lab->data, word, (char *)NULL);
        _exit(127);
    }
    WAIT_FOR(lab, lab_file_exists(lab, "ready"));
    return pid;
}

static void test_adopted(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    const pid_t pid = start_elsewhere(lab, "backends=3");
    const uint64_t start_time = process_start_time(pid);
    assert_false(adopt(lab, pid, start_time + 1, &err));
    assert_non_null(strstr(err.text, "reused"));
    assert_false(adopt(lab, getpid(), process_start_time(getpid()), &err));
    assert_non_null(strstr(err.text, "not a postgres"));
    assert_false(adopt(lab, 0, 0, &err));
    assert_false(adopt(lab, 1, 0, &err));

    assert_true(adopt(lab, pid, start_time, &err));
    WardenView view = lab_view(lab);
    assert_true(view.fence_weak);
    assert_true(view.remains);
    assert_true(lab_child(&view, CHILD_POSTGRES)->postmaster);
    assert_int_equal(lab_child(&view, CHILD_POSTGRES)->pid, pid);
    lab_fence(lab, 200, 500, "");
    WAIT_FOR(lab, lab_count(lab, NULL, 0) == 0);
    WAIT_FOR(lab, lab_view(lab).fenced_count == 1);
    WAIT_FOR(lab, postmaster_ended(lab));
    view = lab_view(lab);
    assert_int_equal(lab_child(&view, CHILD_POSTGRES)->status, CHILD_STATUS_UNKNOWN);
    assert_false(view.fence_weak);
}

static void test_adopted_is_killed_or_stopped(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    pid_t pid = start_elsewhere(lab, "deaf");
    assert_true(adopt(lab, pid, process_start_time(pid), &err));
    assert_int_equal(kill(pid, SIGKILL), 0);
    WAIT_FOR(lab, postmaster_ended(lab));
    assert_int_equal(lab_count(lab, NULL, 0), 0); // its backends were never our children

    assert_int_equal(unlink(arena_printf(lab->arena, "%s/ready", lab->data)), 0);
    pid = start_elsewhere(lab, "backends=1");
    assert_true(adopt(lab, pid, process_start_time(pid), &err));
    assert_true(
        lab->client->ops->signal(lab->client, CHILD_POSTGRES, SIGINT, lab_deadline(lab), &err));
    WAIT_FOR(lab, postmaster_ended(lab));
}

// pg_ctl under the warden: the daemon it leaves becomes our child, so adopting it yields a status.
static void test_adopted_own_orphan(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    const char *script;
    script = arena_printf(lab->arena, "%s -D %s backends=1 >/dev/null 2>&1 & echo $!",
                          lab->postgres, lab->data);
    lab_sh(lab, "pg_ctl", script);
    const pid_t pid = atoi(lab_wait(lab, "pg_ctl").output);
    WAIT_FOR(lab, lab_file_exists(lab, "ready"));
    assert_true(adopt(lab, pid, process_start_time(pid), &err));
    assert_int_equal(kill(pid, SIGKILL), 0);
    WAIT_FOR(lab, postmaster_ended(lab));
    const WardenView view = lab_view(lab);
    assert_int_equal(WTERMSIG(lab_child(&view, CHILD_POSTGRES)->status), SIGKILL);
    assert_int_equal(lab_count(lab, NULL, 0), 0);
}

// The data directory is made anew while the warden runs (a clone): what counts is where the
// postmaster works, not what the path meant when the warden started.
static void test_new_data_directory(void **state)
{
    Lab *lab = *state;
    const char *script;
    script = arena_printf(lab->arena, "mv %s %s-old && mkdir %s", lab->data, lab->data, lab->data);
    lab_sh(lab, "clone", script);
    assert_int_equal(lab_wait(lab, "clone").status, 0);
    lab_spawn_postgres(lab, WORDS("backends=3", "deaf"));
    assert_int_equal(kill(postmaster_pid(lab), SIGKILL), 0);
    WAIT_FOR(lab, postmaster_ended(lab));
    assert_int_equal(lab_count(lab, NULL, 0), 0);
}

// The fence finds what a dead postmaster leaves by its directory: no other one is served. How ours
// is spelled does not matter.
static void test_another_data_directory(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    const char *other = arena_printf(lab->arena, "%s/other", lab->dir);
    const char *link = arena_printf(lab->arena, "%s/link", lab->dir);
    const char *pgdata = arena_printf(lab->arena, "PGDATA=%s", lab->data);
    lab_sh(lab, "make",
           arena_printf(lab->arena, "mkdir %s && ln -s %s %s", other, lab->data, link));
    assert_int_equal(lab_wait(lab, "make").status, 0);
    const struct {
        const char *const *argv, *env;
        const char *error; // NULL: it starts
    } rows[] = {
        {WORDS(lab->postgres, "-D", other), pgdata, "other is not that of this warden"},
        {WORDS(lab->postgres), arena_printf(lab->arena, "PGDATA=%s", other), "is not that of"},
        {WORDS(lab->postgres, "-D", lab->data, "-c",
               arena_printf(lab->arena, "data_directory=%s", other)),
         pgdata, "is not that of"},
        {WORDS(lab->postgres, "-D", "/nowhere"), pgdata, "/nowhere is not that of"},
        {WORDS(lab->postgres), "LANG=C", "wants its data directory by -D or PGDATA"},
        {WORDS(lab->postgres, "-D", link, "backends=0"), "LANG=C", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const SpawnRequest request = {.id = CHILD_POSTGRES,
                                      .argv = rows[i].argv,
                                      .env = WORDS(rows[i].env),
                                      .postmaster = true};
        const bool started = lab_try_spawn(lab, &request, &err);
        if (started != !rows[i].error)
            fail_msg("row %zu: %d %s", i, (int)started, err.text);
        if (!started && !strstr(err.text, rows[i].error))
            fail_msg("row %zu: %s", i, err.text);
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
        TEST(test_killed_with_backends),
        TEST(test_exit_status_and_output),
        TEST(test_only_one),
        TEST(test_killed_warden),
        TEST(test_leftovers),
        TEST(test_leftovers_that_leave),
        TEST(test_stopped_postmaster_of_a_killed_warden),
        TEST(test_adopted),
        TEST(test_adopted_is_killed_or_stopped),
        TEST(test_adopted_own_orphan),
        TEST(test_new_data_directory),
        TEST(test_another_data_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
