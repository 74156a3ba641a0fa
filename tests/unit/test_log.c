#include "common/os/log.h"

#include "common/os/clock.h"
#include "common/os/files.h"
#include "tests/support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Standard error is a pipe while a test looks at it.
typedef struct {
    int saved, reader;
    char text[1 << 20];
    size_t length;
} Captured;

static Captured captured;

static void redirect_stderr(void)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    captured.saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    captured.reader = ends[0];
    captured.length = 0;
    captured.text[0] = '\0';
}

// Reads until needle has come, for at most 10 s.
static void read_until(const char *needle)
{
    const Deadline deadline = deadline_in(clock_system(), 10000);
    while (strstr(captured.text, needle) == NULL) {
        struct pollfd ready = {.fd = captured.reader, .events = POLLIN};
        const int64_t left = deadline_left_ms(deadline, clock_now(clock_system()));
        if (left == 0 || poll(&ready, 1, (int)left) <= 0)
            break;
        const ssize_t got = read(captured.reader, captured.text + captured.length,
                                 sizeof captured.text - captured.length - 1);
        if (got <= 0)
            break;
        captured.length += (size_t)got;
        captured.text[captured.length] = '\0';
    }
}

static void restore_stderr(void)
{
    dup2(captured.saved, STDERR_FILENO);
    close(captured.saved);
    close(captured.reader);
}

static void assert_matches(const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE), 0);
    const bool found = regexec(&regex, captured.text, 0, NULL, 0) == 0;
    regfree(&regex);
    if (!found)
        fail_msg("no match for %s in:\n%s", pattern, captured.text);
}

static size_t count_of(const char *needle)
{
    size_t count = 0;
    for (const char *at = captured.text; (at = strstr(at, needle)) != NULL; at++)
        count++;
    return count;
}

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}"

static void test_text_lines_and_levels(void **state)
{
    (void)state;
    redirect_stderr();
    log_start(&(LogOptions){.level = LOG_INFO});
    assert_false(log_enabled(LOG_DEBUG));
    log_debug("not to be seen");
    log_info("turn done action=%s", "none");
    log_warn("store slow ms=%d", 900);
    log_error("two\nlines\tand \x1b[31m colour, \"quotes\" and a caf\xc3\xa9\n\n");
    errno = ENOENT;
    log_info("end");
    assert_int_equal(errno, ENOENT);
    read_until("INFO: end\n");

    log_configure(&(LogOptions){.level = LOG_DEBUG});
    log_debug("now to be seen");
    log_stop();
    read_until("now to be seen\n");
    restore_stderr();

    assert_matches("^" TIME " INFO: turn done action=none$");
    assert_matches("^" TIME " WARNING: store slow ms=900$");
    assert_matches("^" TIME
                   " ERROR: two\\\\nlines\\\\tand \\\\x1b\\[31m colour, \"quotes\" and a caf");
    assert_matches("^" TIME " DEBUG: now to be seen$");
    assert_null(strstr(captured.text, "not to be seen"));
    assert_int_equal(count_of("\n"), 5);
}

static void test_json_escapes(void **state)
{
    (void)state;
    redirect_stderr();
    log_start(&(LogOptions){.level = LOG_INFO, .json = true});
    log_info("quote \" backslash \\ newline \n bell \a delete \x7f");
    log_info("good \xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98 bad \xff \xc3( \xed\xa0\x80 \xe2\x82");
    log_info("end");
    log_stop();
    read_until("\"end\"}\n");
    restore_stderr();

    assert_matches("^\\{\"asctime\": \"" TIME
                   "\", \"levelname\": \"INFO\", \"message\": \"end\"\\}$");
    assert_non_null(strstr(captured.text, "quote \\\" backslash \\\\ newline \\n bell \\u0007 "
                                          "delete \\u007f\"}\n"));
    assert_non_null(strstr(captured.text, "good \xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98 bad \\ufffd "
                                          "\\ufffd( \\ufffd\\ufffd\\ufffd \\ufffd\\ufffd\"}\n"));
}

static void test_long_messages_are_cut(void **state)
{
    (void)state;
    static char message[100000];
    memset(message, 'x', sizeof message - 1);
    redirect_stderr();
    log_start(&(LogOptions){.level = LOG_INFO});
    log_info("%s", message);
    log_info("end");
    read_until("INFO: end\n");
    log_stop();
    restore_stderr();
    assert_int_equal(count_of("x"), 16 * 1024);
    assert_int_equal(count_of("\n"), 2);
}

static uint64_t sum_of_losses(void)
{
    static const char needle[] = "WARNING: log records lost count=";
    uint64_t sum = 0;
    for (const char *at = captured.text; (at = strstr(at, needle)) != NULL; at++)
        sum += strtoull(at + sizeof needle - 1, NULL, 10);
    return sum;
}

// Nobody reads the pipe. Callers go on at full speed, what does not fit is counted, and once
// somebody reads again the log says how much is missing and where.
static void test_a_blocked_pipe_stalls_nobody(void **state)
{
    (void)state;
    enum { RECORDS = 2000, QUEUE = 100 };
    static char padding[1024];
    memset(padding, 'p', sizeof padding - 1);
    redirect_stderr();
    const uint64_t dropped_before = log_dropped();
    log_start(&(LogOptions){.level = LOG_INFO, .queue_records = QUEUE});

    int64_t slowest_ms = 0;
    for (int i = 0; i < RECORDS; i++) {
        const Instant before = clock_now(clock_system());
        log_info("record=%d %s", i, padding);
        const int64_t took_ms = instant_ms_between(before, clock_now(clock_system()));
        slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
    }
    const uint64_t dropped = log_dropped() - dropped_before;
    // The pipe holds 64 KiB, so at most some 64 records plus the queue can have got through.
    const bool many_dropped = dropped > RECORDS - 64 - QUEUE - 10;

    read_until("log records lost");
    log_info("unblocked");
    read_until("INFO: unblocked\n");
    log_stop();
    restore_stderr();

    assert_true(slowest_ms < 200); // the machine may be busy, but a stall would last for ever
    assert_true(many_dropped);
    assert_int_equal(count_of("INFO: record="), RECORDS - dropped);
    assert_int_equal(sum_of_losses(), dropped);
}

// The sink stays blocked: the flush gives up after 2 s, and so does the direct way afterwards.
static void test_stop_gives_up_on_a_blocked_pipe(void **state)
{
    (void)state;
    redirect_stderr();
    const int flags = fcntl(STDERR_FILENO, F_GETFL);
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK), 0);
    while (write(STDERR_FILENO, "fill", 4) > 0)
        continue;
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, flags), 0);

    const uint64_t dropped_before = log_dropped();
    log_start(&(LogOptions){.level = LOG_INFO});
    for (int i = 0; i < 10; i++)
        log_info("stuck=%d", i);
    const Instant before = clock_now(clock_system());
    log_stop();
    const int64_t stop_ms = instant_ms_between(before, clock_now(clock_system()));
    log_info("directly, to nobody");
    const Deadline deadline = deadline_in(clock_system(), 5000);
    while (log_dropped() - dropped_before < 11 && !deadline_over(clock_system(), deadline))
        poll(NULL, 0, 5); // the writer that was given up on counts its record when it notices
    restore_stderr();
    assert_in_range(stop_ms, 1900, 4000);
    assert_int_equal(log_dropped() - dropped_before, 11);

    // A new start works, with a new thread.
    redirect_stderr();
    log_start(&(LogOptions){.level = LOG_INFO});
    log_info("works again");
    log_stop();
    read_until("works again\n");
    restore_stderr();
    assert_matches("^" TIME " INFO: works again$");
}

static void test_before_start_records_go_straight_out(void **state)
{
    (void)state;
    redirect_stderr();
    log_info("straight");
    read_until("straight\n");
    restore_stderr();
    assert_matches("^" TIME " INFO: straight$");
}

static char *slurp(Arena *arena, const char *directory, const char *name)
{
    Error err = {0};
    char *content = NULL;
    if (!file_read(arena, path_join(arena, directory, name), 1 << 20, &content, &err))
        fail_msg("%s", err.text);
    return content;
}

static void test_files_rotate(void **state)
{
    (void)state;
    char top[] = "/tmp/howdah-log-XXXXXX";
    assert_non_null(mkdtemp(top));
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const char *directory = path_join(arena, top, "made/by/log");

    // A line of this kind has 41 bytes, so five of them fit into one file.
    log_start(&(LogOptions){
        .level = LOG_INFO, .dir = directory, .file_size_bytes = 210, .file_count = 2});
    for (int i = 0; i < 18; i++)
        log_info("record=%03d", i);
    log_stop();

    char *newest = slurp(arena, directory, "howdah.log");
    char *older = slurp(arena, directory, "howdah.log.1");
    char *oldest = slurp(arena, directory, "howdah.log.2");
    assert_null(slurp(arena, directory, "howdah.log.3"));
    assert_non_null(strstr(newest, "record=017\n"));
    assert_non_null(strstr(newest, "record=015\n"));
    assert_null(strstr(newest, "record=014\n"));
    assert_non_null(strstr(older, "record=014\n"));
    assert_non_null(strstr(older, "record=010\n"));
    assert_non_null(strstr(oldest, "record=009\n"));
    assert_non_null(strstr(oldest, "record=005\n"));
    assert_null(strstr(oldest, "record=004\n"));

    // A new start appends.
    log_start(&(LogOptions){.level = LOG_INFO, .dir = directory, .file_size_bytes = 210});
    log_info("record=018");
    log_stop();
    newest = slurp(arena, directory, "howdah.log");
    assert_non_null(strstr(newest, "record=017\n"));
    assert_non_null(strstr(newest, "record=018\n"));

    Error err = {0};
    assert_true(directory_clear(top, &err));
    assert_int_equal(rmdir(top), 0);
}

// The disk is full for a while: what could not be written is counted, and said once it can be.
static void test_a_full_disk(void **state)
{
    (void)state;
    char directory[] = "/tmp/howdah-log-XXXXXX", name[64];
    assert_non_null(mkdtemp(directory));
    snprintf(name, sizeof name, "%s/howdah.log", directory);
    assert_int_equal(symlink("/dev/full", name), 0);

    const uint64_t dropped_before = log_dropped();
    redirect_stderr();
    log_start(&(LogOptions){.level = LOG_INFO, .dir = directory});
    for (int i = 0; i < 5; i++)
        log_info("into the void");
    const Deadline deadline = deadline_in(clock_system(), 10000);
    while (log_dropped() - dropped_before < 5 && !deadline_over(clock_system(), deadline))
        poll(NULL, 0, 1);
    log_configure(&(LogOptions){.level = LOG_INFO});
    log_info("room again");
    log_stop();
    read_until("room again\n");
    restore_stderr();
    assert_int_equal(log_dropped() - dropped_before, 5);
    assert_matches("WARNING: log records lost count=5$");
    assert_null(strstr(captured.text, "void"));
    assert_int_equal(unlink(name), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void test_without_its_file_the_log_goes_to_stderr(void **state)
{
    (void)state;
    redirect_stderr();
    log_start(&(LogOptions){.level = LOG_INFO, .dir = "/dev/null/cannot/be"});
    log_info("first");
    log_info("second");
    read_until("second\n");
    log_stop();
    read_until("WARNING");
    restore_stderr();
    assert_matches("INFO: first$");
    assert_matches("INFO: second$");
    assert_int_equal(count_of("WARNING: log goes to stderr instead of the file"), 1);
}

static void collect(void *context, LogLevel level, const char *line)
{
    char *to = context;
    char record[64];
    snprintf(record, sizeof record, "[%d %s]", (int)level, line);
    strcat(to, record);
}

static void test_capture(void **state)
{
    (void)state;
    char seen[256] = "";
    log_capture(collect, seen);
    log_info("one n=%d", 1);
    log_error("two");
    log_capture(NULL, NULL);
    assert_string_equal(seen, "[1 one n=1][3 two]");
}

static void *chatter(void *context)
{
    const int id = *(const int *)context;
    for (int i = 0; i < 200; i++)
        log_info("thread=%d record=%d", id, i);
    return NULL;
}

// Many threads, while the options change under them: nothing lost, nothing torn.
static void test_many_threads(void **state)
{
    (void)state;
    char directory[] = "/tmp/howdah-log-XXXXXX";
    assert_non_null(mkdtemp(directory));
    const LogOptions options = {.level = LOG_INFO, .dir = directory, .queue_records = 10000};
    log_start(&options);
    pthread_t threads[4];
    int ids[COUNT_OF(threads)];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        ids[i] = (int)i;
        assert_int_equal(pthread_create(&threads[i], NULL, chatter, &ids[i]), 0);
    }
    for (int i = 0; i < 50; i++)
        log_configure(&options);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    log_stop();

    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const char *content = slurp(arena, directory, "howdah.log");
    int next[COUNT_OF(threads)] = {0};
    size_t lines = 0;
    for (const char *at = content; *at != '\0'; lines++) {
        unsigned id;
        int record;
        assert_int_equal(sscanf(at, "%*s %*s INFO: thread=%u record=%d\n", &id, &record), 2);
        assert_true(id < COUNT_OF(threads));
        assert_int_equal(record, next[id]++); // each thread's own order is kept
        at = strchr(at, '\n') + 1;
    }
    assert_int_equal(lines, 200 * COUNT_OF(threads));
    Error err = {0};
    assert_true(directory_clear(directory, &err));
    assert_int_equal(rmdir(directory), 0);
}

static void test_level_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        LogLevel level;
    } rows[] = {{"debug", LOG_DEBUG}, {"INFO", LOG_INFO},      {"Warning", LOG_WARN},
                {"warn", LOG_WARN},   {"CRITICAL", LOG_ERROR}, {"error", LOG_ERROR}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        LogLevel level;
        assert_true(log_level_parse(rows[i].name, &level));
        assert_int_equal(level, rows[i].level);
    }
    LogLevel level = LOG_WARN;
    assert_false(log_level_parse("loud", &level) || log_level_parse("", &level) ||
                 log_level_parse(NULL, &level));
    assert_int_equal(level, LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_start_records_go_straight_out),
        cmocka_unit_test(test_text_lines_and_levels),
        cmocka_unit_test(test_json_escapes),
        cmocka_unit_test(test_long_messages_are_cut),
        cmocka_unit_test(test_a_blocked_pipe_stalls_nobody),
        cmocka_unit_test(test_stop_gives_up_on_a_blocked_pipe),
        cmocka_unit_test(test_files_rotate),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_without_its_file_the_log_goes_to_stderr),
        cmocka_unit_test(test_capture),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_level_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
