#include "common/os/thread.h"

#include "common/os/clock.h"
#include "tests/support/test.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void *tell_signals(void *blocked)
{
    pthread_sigmask(SIG_SETMASK, NULL, blocked);
    return NULL;
}

static void test_a_thread_gets_no_signals_and_its_parent_still_does(void **state)
{
    (void)state;
    sigset_t before, after, blocked;
    sigemptyset(&blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    pthread_t thread;
    assert_int_equal(thread_start(&thread, THREAD_STACK_SMALL, tell_signals, &blocked), 0);
    pthread_join(thread, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&blocked, SIGTERM), 1);
    assert_int_equal(sigismember(&blocked, SIGCHLD), 1);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

static void *tell_stack(void *bytes)
{
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstacksize(&attributes, bytes);
    pthread_attr_destroy(&attributes);
    return NULL;
}

static void test_a_stack_is_as_small_as_asked_for(void **state)
{
    (void)state;
    size_t small = 0, usual = 0;
    pthread_t thread;
    assert_int_equal(thread_start(&thread, THREAD_STACK_SMALL, tell_stack, &small), 0);
    pthread_join(thread, NULL);
    assert_int_equal(thread_start(&thread, 0, tell_stack, &usual), 0);
    pthread_join(thread, NULL);
    assert_true(small >= THREAD_STACK_SMALL && small < 2 * THREAD_STACK_SMALL);
    assert_true(usual > small);
}

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool told;
} Told;

static void *tell(void *context)
{
    Told *told = context;
    pthread_mutex_lock(&told->mutex);
    told->told = true;
    pthread_cond_signal(&told->cond);
    pthread_mutex_unlock(&told->mutex);
    return NULL;
}

static void test_a_wait_ends_with_its_time_or_before(void **state)
{
    (void)state;
    enum { SHORT_MS = 30, LONG_MS = 60000, OVER_A_SECOND_MS = 1001 };
    Told told = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    cond_init(&told.cond);
    pthread_mutex_lock(&told.mutex);

    const int waits[] = {0, SHORT_MS, OVER_A_SECOND_MS};
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        const Instant began = clock_now(clock_system());
        while (cond_wait_ms(&told.cond, &told.mutex, waits[i]))
            assert_false(told.told); // nobody tells: woken for nothing
        assert_true(instant_ms_between(began, clock_now(clock_system())) >= waits[i]);
    }

    pthread_t thread;
    assert_int_equal(thread_start(&thread, THREAD_STACK_SMALL, tell, &told), 0);
    while (!told.told)
        assert_true(cond_wait_ms(&told.cond, &told.mutex, LONG_MS));
    pthread_mutex_unlock(&told.mutex);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&told.cond);
}

static bool is_raised(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, 0) > 0;
}

static void test_an_event_wait_ends_with_its_instant(void **state)
{
    (void)state;
    enum { SHORT_MS = 20 };
    const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    const Instant now = clock_now(clock_system());
    const Instant next = {now.ns + SHORT_MS * NS_PER_MS + 1}; // a part of a millisecond
    event_wait(fd, now, next);
    assert_false(instant_before(clock_now(clock_system()), next)); // rounded up
    event_wait(fd, next, now);                                     // over already
    close(fd);
}

static void test_an_event_ends_the_wait_and_is_cleared(void **state)
{
    (void)state;
    enum { MOST_MS = 30000 };
    const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    const Instant now = clock_now(clock_system());
    assert_int_equal(eventfd_write(fd, 2), 0);
    event_wait(fd, now, (Instant){0}); // nothing is due
    assert_true(instant_ms_between(now, clock_now(clock_system())) < MOST_MS);
    assert_false(is_raised(fd));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_gets_no_signals_and_its_parent_still_does),
        cmocka_unit_test(test_a_stack_is_as_small_as_asked_for),
        cmocka_unit_test(test_a_wait_ends_with_its_time_or_before),
        cmocka_unit_test(test_an_event_wait_ends_with_its_instant),
        cmocka_unit_test(test_an_event_ends_the_wait_and_is_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
