// Children of the warden that are no postmaster: how they start, what they write, how they end.
#include "tests/unit/test_warden_lab.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static void test_output_and_status(void **state)
{
    Lab *lab = *state;
    lab_sh(lab, "t", "echo out; echo err >&2; exit 7");
    const ChildExit ended = lab_wait(lab, "t");
    assert_true(WIFEXITED(ended.status));
    assert_int_equal(WEXITSTATUS(ended.status), 7);
    assert_string_equal(ended.output, "out\nerr\n");
    const WardenView view = lab_view(lab);
    const ChildView *child = lab_child(&view, "t");
    assert_false(child->running);
    assert_false(child->postmaster);
    assert_true(child->pid > 1);
    assert_true(instant_is_set(child->started_at));
    assert_true(instant_before(child->started_at, child->exited_at));
    // The id is free again, and the old output is not the new one's.
    lab_sh(lab, "t", "echo again");
    assert_string_equal(lab_wait(lab, "t").output, "again\n");
}

static void test_input_environment_directory(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    const SpawnRequest request = {.id = "t",
                                  .argv = WORDS("sh", "-c", "cat /dev/stdin; env; pwd"),
                                  .env = WORDS("PATH=/usr/bin:/bin", "SECRET=x y"),
                                  .cwd = lab->data,
                                  .stdin_text = "pass\nword"};
    assert_true(lab_try_spawn(lab, &request, &err));
    const char *output = lab_wait(lab, "t").output;
    assert_non_null(strstr(output, "pass\nword"));
    assert_non_null(strstr(output, "SECRET=x y\n"));
    assert_non_null(strstr(output, lab->data));
    assert_null(strstr(output, "HOWDAH_BIN")); // nothing of the warden's own environment

    lab_sh(lab, "t", "cat; pwd");
    assert_string_equal(lab_wait(lab, "t").output, "/\n");
}

// Nothing of the warden's reaches a program: no descriptor, no blocked or ignored signal.
static void test_clean_start(void **state)
{
    Lab *lab = *state;
    lab_sh(lab, "t", "ls /proc/self/fd; grep -E '^Sig(Blk|Ign)' /proc/self/status");
    assert_string_equal(lab_wait(lab, "t").output,
                        "0\n1\n2\n3\n" // ls's own, on the directory
                        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void test_what_cannot_start(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    SpawnRequest request = {.id = "t", .argv = WORDS("no-such-program"), .env = WORDS("PATH=/bin")};
    assert_false(lab_try_spawn(lab, &request, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "exec"));
    request.argv = WORDS("true");
    request.cwd = "/no/such/directory";
    assert_false(lab_try_spawn(lab, &request, &err));
    assert_non_null(strstr(err.text, "chdir"));
    request.cwd = NULL;
    request.id = "no blanks";
    assert_false(lab_try_spawn(lab, &request, &err));
    request.id = "a-name-longer-than-31-characters";
    assert_false(lab_try_spawn(lab, &request, &err));
    request.id = "t";
    request.argv = (const char *const[]){NULL};
    assert_false(lab_try_spawn(lab, &request, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_int_equal(lab_view(lab).child_count, 0);

    // More than a message holds.
    char *text = arena_alloc(lab->arena, WIRE_FRAME_MAX + 1);
    memset(text, 'x', WIRE_FRAME_MAX);
    request.argv = WORDS("true");
    request.stdin_text = text;
    assert_false(lab_try_spawn(lab, &request, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    // And just as much as it does.
    text[60000] = 0;
    request.argv = WORDS("wc", "-c");
    assert_true(lab_try_spawn(lab, &request, &err));
    assert_string_equal(lab_wait(lab, "t").output, "60000\n");

    ChildExit out;
    assert_false(lab->client->ops->wait(lab->client, lab->arena, "never-was", lab_deadline(lab),
                                        &out, &err));
    assert_int_equal(err.kind, ERR_INVALID);
}

static void test_long_output_keeps_its_end(void **state)
{
    Lab *lab = *state;
    lab_sh(lab, "t", "seq 1 100000; echo the end");
    const char *output = lab_wait(lab, "t").output;
    assert_int_equal(strlen(output), 65536);
    assert_string_equal(output + 65536 - 15, "100000\nthe end\n");
}

static void test_signal_reaches_the_whole_task(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    const char *script, *path;
    // The shell waits for its child, which has to die first.
    path = arena_printf(lab->arena, "%s/pid", lab->data);
    script =
        arena_printf(lab->arena, "sleep 976 & echo $! > %s+; mv %s+ %s; wait", path, path, path);
    lab_sh(lab, "t", script);
    lab_sh(lab, "other", "sleep 975");
    WAIT_FOR(lab, lab_file_exists(lab, "pid"));
    const pid_t sleeper = atoi(lab_read(lab, path));
    assert_true(process_runs(sleeper));
    assert_true(lab->client->ops->signal(lab->client, "t", SIGTERM, lab_deadline(lab), &err));
    const ChildExit ended = lab_wait(lab, "t");
    assert_true(WIFSIGNALED(ended.status) && WTERMSIG(ended.status) == SIGTERM);
    WAIT_FOR(lab, !process_runs(sleeper));
    const WardenView view = lab_view(lab);
    assert_true(lab_child(&view, "other")->running);

    assert_false(lab->client->ops->signal(lab->client, "t", SIGTERM, lab_deadline(lab), &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_false(lab->client->ops->signal(lab->client, "other", 0, lab_deadline(lab), &err));
    assert_true(lab->client->ops->signal(lab->client, "other", SIGKILL, lab_deadline(lab), &err));
    assert_int_equal(WTERMSIG(lab_wait(lab, "other").status), SIGKILL);
}

static void test_sixteen_at_a_time(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    const char *id;
    for (int i = 0; i < WARDEN_CHILDREN; i++) {
        id = arena_printf(lab->arena, "t%d", i);
        lab_spawn(lab, id, WORDS("sleep", "974"));
    }
    const SpawnRequest more = {.id = "more", .argv = WORDS("true"), .env = WORDS("PATH=/bin")};
    assert_false(lab_try_spawn(lab, &more, &err));
    assert_non_null(strstr(err.text, "16 children"));
    const SpawnRequest same = {.id = "t3", .argv = WORDS("true"), .env = WORDS("PATH=/bin")};
    assert_false(lab_try_spawn(lab, &same, &err));
    assert_non_null(strstr(err.text, "runs already"));
    assert_true(lab->client->ops->signal(lab->client, "t3", SIGKILL, lab_deadline(lab), &err));
    (void)lab_wait(lab, "t3");
    assert_true(lab_try_spawn(lab, &more, &err)); // the ended one makes room
    (void)lab_wait(lab, "more");
    const WardenView view = lab_view(lab);
    assert_int_equal(view.child_count, WARDEN_CHILDREN);
    assert_null(lab_child(&view, "t3"));
    // All at once: more news than the warden's buffer holds, which is not our fault.
    for (int i = 0; i < WARDEN_CHILDREN; i++) {
        id = arena_printf(lab->arena, "t%d", i);
        if (i != 3)
            assert_true(
                lab->client->ops->signal(lab->client, id, SIGKILL, lab_deadline(lab), &err));
    }
    for (int i = 0; i < WARDEN_CHILDREN; i++) {
        id = arena_printf(lab->arena, "t%d", i);
        if (i != 3)
            assert_int_equal(WTERMSIG(lab_wait(lab, id).status), SIGKILL);
    }
    assert_true(lab_view(lab).connected);
}

// An agent dies while its task runs. The next one learns how that ended, and what it said.
static void test_end_without_an_agent(void **state)
{
    Lab *lab = *state;
    const char *script;
    script = arena_printf(lab->arena, "echo before; cat %s/fifo; echo after; exit 3", lab->data);
    const char *make;
    make = arena_printf(lab->arena, "mkfifo %s/fifo", lab->data);
    lab_sh(lab, "make", make);
    (void)lab_wait(lab, "make");
    lab_sh(lab, "t", script);
    const WardenView view = lab_view(lab);
    const pid_t task = lab_child(&view, "t")->pid;
    warden_client_release(&lab->client);
    WAIT_FOR(lab, lab_log_has(lab, "agent detached"));

    // The task goes on, says more than its pipe holds, and nobody makes it wait.
    make = arena_printf(lab->arena, "seq 1 50000 > %s/fifo", lab->data);
    assert_int_equal(system(make), 0);
    WAIT_FOR(lab, !process_runs(task));
    lab_attach(lab);
    const ChildExit ended = lab_wait(lab, "t");
    assert_int_equal(WEXITSTATUS(ended.status), 3);
    assert_non_null(strstr(ended.output, "[output lost here]"));
    assert_non_null(strstr(ended.output, "50000\nafter\n"));
}

// A child that hands its output to a process which stays: its end is its end.
static void test_heir_of_the_pipe(void **state)
{
    Lab *lab = *state;
    lab_sh(lab, "t", "sleep 973 & echo $!");
    const ChildExit ended = lab_wait(lab, "t");
    assert_int_equal(ended.status, 0);
    const pid_t heir = atoi(ended.output);
    assert_true(process_runs(heir)); // not ours to end: a hook may leave a helper
    const char *kill_it;
    kill_it = arena_printf(lab->arena, "kill %d", (int)heir);
    lab_sh(lab, "kill", kill_it);
    assert_int_equal(lab_wait(lab, "kill").status, 0);
    WAIT_FOR(lab, !process_runs(heir));
}

static void test_event_fd_and_deadlines(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    ChildExit out;
    uint64_t count;
    const int fd = warden_client_event_fd(lab->client);
    while (read(fd, &count, sizeof count) > 0)
        continue;
    lab_sh(lab, "t", "sleep 972");
    struct pollfd event = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&event, 1, 0), 0); // our own doing is no news
    assert_false(lab->client->ops->wait(lab->client, lab->arena, "t", deadline_in(lab->clock, 20),
                                        &out, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_true(lab->client->ops->signal(lab->client, "t", SIGKILL, lab_deadline(lab), &err));
    assert_int_equal(poll(&event, 1, WAIT_MS), 1);
    assert_int_equal(WTERMSIG(lab_wait(lab, "t").status), SIGKILL);
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
        TEST(test_output_and_status),
        TEST(test_input_environment_directory),
        TEST(test_clean_start),
        TEST(test_what_cannot_start),
        TEST(test_long_output_keeps_its_end),
        TEST(test_signal_reaches_the_whole_task),
        TEST(test_sixteen_at_a_time),
        TEST(test_end_without_an_agent),
        TEST(test_heir_of_the_pipe),
        TEST(test_event_fd_and_deadlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
