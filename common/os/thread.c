#include "common/os/thread.h"

#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

int thread_start(pthread_t *out, size_t stack_bytes, void *(*run)(void *), void *context)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    (void)pthread_attr_init(&attributes); // cannot fail on Linux
    if (stack_bytes > 0)
        (void)pthread_attr_setstacksize(&attributes, stack_bytes); // the default works too
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(out, &attributes, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failed;
}

void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const int64_t ns = until.tv_nsec + ms % MS_PER_S * NS_PER_MS;
    until.tv_sec += (time_t)(ms / MS_PER_S + ns / (MS_PER_S * NS_PER_MS));
    until.tv_nsec = (long)(ns % (MS_PER_S * NS_PER_MS));
    return pthread_cond_timedwait(cond, mutex, &until) == 0;
}

void event_wait(int fd, Instant now, Instant next)
{
    enum { LONG_MS = 60000 };
    int64_t ms = LONG_MS;
    if (instant_is_set(next)) { // rounded up, or the last millisecond would be spun through
        ms = (next.ns - now.ns + NS_PER_MS - 1) / NS_PER_MS;
        ms = ms < 0 ? 0 : ms > LONG_MS ? LONG_MS : ms;
    }
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    uint64_t count = 0;
    if (poll(&ready, 1, (int)ms) > 0)
        (void)!read(fd, &count, sizeof count); // only there to be cleared
}
