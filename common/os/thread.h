// What all threads and their waits have in common.
#pragma once
#include "common/base/time.h"

#include <pthread.h>

#define THREAD_STACK_SMALL ((size_t)512 * 1024)

// A thread that gets no signals: they belong to the main thread, which reads them from a signalfd.
// stack_bytes 0: the system's default. 0, or the error number.
int thread_start(pthread_t *out, size_t stack_bytes, void *(*run)(void *), void *context);

// A condition that counts by CLOCK_MONOTONIC, which stands still in a suspended machine: whoever
// has a deadline looks at it again after waiting.
void cond_init(pthread_cond_t *cond);
// False when the time is over. The mutex is held. ms >= 0.
bool cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ms);

// Sleeps until the eventfd is raised, and clears it, or until next (unset: nothing is due); for a
// minute at the most.
void event_wait(int fd, Instant now, Instant next);
