// The ledger on disk: its lines, its second file, and a disk that hangs.
#include "agent/ledger_file.h"

#include "common/base/arena.h"
#include "common/os/clock.h"
#include "common/os/files.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char directory[64];
static Arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    strcpy(directory, "/tmp/howdah-ledger-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    Error err = {0};
    (void)state;
    arena_free(arena);
    return directory_clear(directory, &err) && rmdir(directory) == 0 ? 0 : -1;
}

static const char *path_of(const char *name)
{
    return arena_printf(arena, "%s/%s", directory, name);
}

static const char *content_of(const char *name)
{
    char *text = NULL;
    Error err = {0};
    if (!file_read(arena, path_of(name), 4 << 20, &text, &err))
        fail_msg("%s", err.text);
    assert_non_null(text);
    return text;
}

static void keep(const char *line)
{
    LedgerFile *file = ledger_file_open(directory);
    ledger_file_keep(file, line);
    ledger_file_close(file);
}

static void test_lines_in_order(void **state)
{
    struct stat seen;
    (void)state;
    LedgerFile *file = ledger_file_open(directory);
    for (int i = 0; i < 100; i++) {
        char line[32]; // gone before it is written
        (void)snprintf(line, sizeof line, "{\"n\":%d}", i);
        ledger_file_keep(file, line);
    }
    ledger_file_close(file);
    keep("{\"n\":\"after a restart\"}");
    const char *text = content_of("ledger.jsonl");
    for (int i = 0; i < 100; i++) {
        const char *line = arena_printf(arena, "{\"n\":%d}\n", i);
        assert_memory_equal(text, line, strlen(line));
        text += strlen(line);
    }
    assert_string_equal(text, "{\"n\":\"after a restart\"}\n");
    assert_int_equal(stat(path_of("ledger.jsonl"), &seen), 0);
    assert_int_equal(seen.st_mode & 0777, 0600);
    ledger_file_close(NULL);
}

static void test_second_file(void **state)
{
    (void)state;
    const int fd = open(path_of("ledger.jsonl"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "old\n", 4), 4);
    assert_int_equal(ftruncate(fd, 1024 * 1024), 0);
    close(fd);
    keep("still fits");
    assert_int_equal(access(path_of("ledger.1.jsonl"), F_OK), -1);
    keep("new");
    assert_string_equal(content_of("ledger.jsonl"), "new\n");
    struct stat seen;
    assert_int_equal(stat(path_of("ledger.1.jsonl"), &seen), 0);
    assert_int_equal(seen.st_size, 1024 * 1024 + (int)strlen("still fits\n"));
}

static void test_no_directory(void **state)
{
    (void)state;
    LedgerFile *file = ledger_file_open(path_of("missing"));
    ledger_file_keep(file, "lost, and nobody waits");
    ledger_file_close(file);
    assert_int_equal(access(path_of("missing"), F_OK), -1);
}

// The agent neither waits for it nor keeps more than 256 lines for it; its end comes in time.
static void test_disk_hangs(void **state)
{
    Clock *clock = clock_system();
    char read_back[64 * 1024];
    size_t used = 0, lines = 0;
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN); // a line more may come after we have stopped reading
    assert_int_equal(mkfifo(path_of("ledger.jsonl"), 0600), 0); // opening it waits for a reader
    LedgerFile *file = ledger_file_open(directory);
    for (int i = 0; i < 1000; i++)
        ledger_file_keep(file, "line");
    const Instant before = clock_now(clock);
    ledger_file_close(file);
    assert_in_range(instant_ms_between(before, clock_now(clock)), 900, 20000);

    // Left to itself, the writer ends when the disk comes back.
    const int fd = open(path_of("ledger.jsonl"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    const Deadline until = deadline_in(clock, 20000);
    while (lines < 256 && !deadline_over(clock, until)) {
        const ssize_t got = read(fd, read_back + used, sizeof read_back - used);
        for (ssize_t i = 0; i < got; i++)
            lines += read_back[used + (size_t)i] == '\n';
        used += got > 0 ? (size_t)got : 0;
        const struct timespec pause = {.tv_nsec = 2 * NS_PER_MS};
        (void)nanosleep(&pause, NULL);
    }
    close(fd);
    assert_in_range(lines, 256, 257); // one may have been taken out before the queue was full
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_lines_in_order),
        TEST(test_second_file),
        TEST(test_no_directory),
        TEST(test_disk_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
