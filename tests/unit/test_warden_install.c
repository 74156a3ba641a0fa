// --install: what a pod's init container puts where the Postgres container finds it.
#include "tests/unit/test_warden_lab.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SOME_ID 12345

// Only root can be somebody else. Everybody else is tested as who they are.
static unsigned test_uid(void)
{
    return geteuid() == 0 ? SOME_ID : geteuid();
}

static unsigned test_gid(void)
{
    return geteuid() == 0 ? SOME_ID : getegid();
}

// A copy of the program and an empty directory, where any user reaches them.
static const char *prepare(Lab *lab)
{
    const char *dir = arena_printf(lab->arena, "%s/shared", lab->dir);
    const char *program = arena_printf(lab->arena, "%s/warden", lab->dir);
    assert_int_equal(chmod(lab->dir, 0755), 0);
    assert_int_equal(mkdir(dir, 0755), 0);
    assert_int_equal(chown(dir, test_uid(), test_gid()), 0);
    assert_int_equal(system(arena_printf(lab->arena, "cp -L %s %s && chmod 755 %s", lab->program,
                                         program, program)),
                     0);
    lab->program = program;
    return dir;
}

// The exit code of PROGRAM --install DIR, run by this user.
static int run(Lab *lab, const char *program, const char *dir, unsigned uid, unsigned gid)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const int log = open(lab->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        (void)dup2(log, STDERR_FILENO);
        (void)umask(077); // it must not matter
        if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0))
            _exit(99);
        (void)execl(program, program, "--install", dir, (char *)NULL);
        _exit(98);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const char *installed(Lab *lab, const char *dir, const char *name, mode_t mode)
{
    const char *path = arena_printf(lab->arena, "%s/%s", dir, name);
    struct stat seen;
    assert_int_equal(stat(path, &seen), 0);
    assert_int_equal(seen.st_mode & 07777, mode);
    assert_int_equal(seen.st_uid, test_uid());
    return path;
}

static size_t count_entries(Lab *lab, const char *dir)
{
    const char *list = arena_printf(lab->arena, "%s/list", lab->dir);
    assert_int_equal(system(arena_printf(lab->arena, "ls -A %s >%s", dir, list)), 0);
    size_t count = 0;
    for (const char *at = lab_read(lab, list); *at; at++)
        count += *at == '\n';
    return count;
}

static void assert_complete(Lab *lab, const char *dir)
{
    const char *warden = installed(lab, dir, "howdah-warden", 0755);
    assert_string_equal(lab_read(lab, installed(lab, dir, "passwd", 0644)),
                        arena_printf(lab->arena,
                                     "root:x:0:0:root:/:/sbin/nologin\n"
                                     "postgres:x:%u:%u:PostgreSQL:/:/bin/sh\n",
                                     test_uid(), test_gid()));
    assert_int_equal(system(arena_printf(lab->arena, "cmp -s %s %s", lab->program, warden)), 0);
    assert_int_equal(count_entries(lab, dir), 3); // and no temporary file
}

static void test_installs(void **state)
{
    Lab *lab = *state;
    const char *dir = prepare(lab);
    assert_int_equal(run(lab, lab->program, dir, test_uid(), test_gid()), 0);
    assert_complete(lab, dir);
    if (test_gid() != 0)
        assert_string_equal(lab_read(lab, installed(lab, dir, "group", 0644)),
                            arena_printf(lab->arena, "root:x:0:\npostgres:x:%u:\n", test_gid()));
}

// A pod whose init container runs again: the program that is there runs, and something was left by
// an installation that was interrupted.
static void test_installs_again_over_what_runs(void **state)
{
    Lab *lab = *state;
    const char *dir = prepare(lab), *original = lab->program;
    assert_int_equal(run(lab, original, dir, test_uid(), test_gid()), 0);
    assert_int_equal(system(arena_printf(lab->arena, "echo half >%s/.howdah-warden.new", dir)), 0);

    lab->program = arena_printf(lab->arena, "%s/howdah-warden", dir);
    lab_start_warden(lab, NULL);
    lab->program = original;
    assert_int_equal(run(lab, original, dir, test_uid(), test_gid()), 0);
    assert_complete(lab, dir);
    lab_attach(lab); // the one that runs goes on
    lab_sh(lab, "hello", "echo hello");
    assert_string_equal(lab_wait(lab, "hello").output, "hello\n");
}

// As OpenShift runs a pod: a random uid, and root's group, which is not named twice.
static void test_random_uid_with_root_group(void **state)
{
    Lab *lab = *state;
    const char *dir = prepare(lab);
    if (geteuid() != 0)
        skip();
    assert_int_equal(run(lab, lab->program, dir, SOME_ID, 0), 0);
    assert_string_equal(lab_read(lab, installed(lab, dir, "group", 0644)), "root:x:0:\n");
    assert_string_equal(lab_read(lab, installed(lab, dir, "passwd", 0644)),
                        "root:x:0:0:root:/:/sbin/nologin\n"
                        "postgres:x:12345:0:PostgreSQL:/:/bin/sh\n");
}

static void test_refusals(void **state)
{
    Lab *lab = *state;
    const char *dir = prepare(lab);
    assert_int_equal(run(lab, lab->program, "shared", test_uid(), test_gid()), 2);
    assert_true(lab_log_has(lab, "absolute path, not 'shared'"));
    const char *missing = arena_printf(lab->arena, "%s/nowhere", dir);
    assert_int_equal(run(lab, lab->program, missing, test_uid(), test_gid()), 1);
    assert_true(lab_log_has(lab, "/nowhere/.passwd.new: No such file"));
    if (geteuid() != 0)
        return;
    assert_int_equal(run(lab, lab->program, dir, 0, 0), 2);
    assert_true(lab_log_has(lab, "which is not root"));
    assert_int_equal(run(lab, lab->program, dir, SOME_ID + 1, SOME_ID + 1), 1);
    assert_true(lab_log_has(lab, "Permission denied"));
    assert_int_equal(count_entries(lab, dir), 0);
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
        TEST(test_installs),
        TEST(test_installs_again_over_what_runs),
        TEST(test_random_uid_with_root_group),
        TEST(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
