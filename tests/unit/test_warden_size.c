// What the warden that is installed costs: its memory, locked, under load; and that it sleeps.
#include "tests/unit/test_warden_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define RESIDENT_MAX_KB 300
#define PROGRAM_MAX     (512 * 1024) // with its debug information

static long status_kb(Lab *lab, const char *field)
{
    const char *path = arena_printf(lab->arena, "/proc/%d/status", (int)lab->warden);
    const char *at = strstr(lab_read(lab, path), field);
    if (!at)
        fail_msg("no %s in %s", field, path);
    return atol(at + strlen(field));
}

static void test_resident_size(void **state)
{
    Lab *lab = lab_new();
    struct stat seen;
    (void)state;
    assert_int_equal(stat(lab->program, &seen), 0);
    assert_in_range(seen.st_size, 1, PROGRAM_MAX);
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    lab_spawn_postgres(lab, WORDS("backends=4", "deaf"));
    lab_fence(lab, 20000, 20500, "note");
    for (int i = 0; i < WARDEN_CHILDREN - 1; i++)
        lab_sh(lab, arena_printf(lab->arena, "t%d", i), "seq 1 20000; sleep 967");
    lab_fence(lab, 100, 300, "");
    WAIT_FOR(lab, lab_view(lab).fenced_count == 1);

    const long resident = status_kb(lab, "VmRSS:");
    const long locked = status_kb(lab, "VmLck:");
    print_message("resident %ld kB, locked %ld kB, program %ld bytes\n", resident, locked,
                  (long)seen.st_size);
    assert_in_range(resident, 1, RESIDENT_MAX_KB);
    // Where the limit on locked memory is too low, it has said so.
    assert_true(locked > 0 || lab_log_has(lab, "memory not locked"));
    assert_int_equal(status_kb(lab, "Threads:"), 1);
    lab_free(lab);
}

// How often it woke up in 400 ms. Spinning would be hundreds of times, or none and all of a CPU.
static long wakes(Lab *lab)
{
    const long before = status_kb(lab, "\nvoluntary_ctxt_switches:");
    const Instant start = clock_now(lab->clock);
    WAIT_FOR(lab, instant_ms_between(start, clock_now(lab->clock)) >= 400);
    const long after = status_kb(lab, "\nvoluntary_ctxt_switches:");
    const char *path = arena_printf(lab->arena, "/proc/%d/stat", (int)lab->warden);
    const char *at = strstr(lab_read(lab, path), ") S ");
    assert_non_null(at); // asleep
    return after - before;
}

static void test_sleeps(void **state)
{
    Lab *lab = lab_ready();
    Error err = {0};
    (void)state;
    lab_spawn_postgres(lab, NULL);
    assert_in_range(wakes(lab), 0, 10);
    lab_fence(lab, 20000, 20500, ""); // a margin of 1 s: four ticks in it, and some
    assert_in_range(wakes(lab), 1, 20);
    assert_true(lab->client->ops->unfence(lab->client, "", true, lab_deadline(lab), &err));
    // Without an agent: an end nobody has heard of, and a pipe that nobody empties.
    lab_sh(lab, "ends", "sleep 0.05");
    lab_sh(lab, "talks", "yes");
    lab_sh(lab, "leaves", "exec sleep 965 & exit 0");
    warden_client_release(&lab->client);
    WAIT_FOR(lab, lab_log_has(lab, "agent detached"));
    assert_in_range(wakes(lab), 1, 40);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resident_size),
                                       cmocka_unit_test(test_sleeps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
