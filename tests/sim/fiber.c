#include "tests/sim/fiber.h"

#include "common/base/attributes.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_BYTES = 256 * 1024, GUARD_BYTES = 64 * 1024, STACKS_KEPT = 16 };

struct Fiber {
    ucontext_t inside, outside;
    void (*run)(void *argument);
    void *argument;
    char *stack; // of GUARD_BYTES + STACK_BYTES
    bool ended;
    void *fake_inside, *fake_outside; // the sanitizer's own stacks
    const void *outside_bottom;
    size_t outside_size;
};

static Fiber *current;
static char *kept[STACKS_KEPT];
static size_t kept_count;

// --- what the sanitizer must be told, or it takes another stack for a corrupted one

static void leave(void **fake, const void *bottom, size_t size)
{
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(fake, bottom, size);
#else
    (void)fake, (void)bottom, (void)size;
#endif
}

static void arrive(void *fake, const void **bottom, size_t *size)
{
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(fake, bottom, size);
#else
    (void)fake, (void)bottom, (void)size;
#endif
}

// --- stacks

static char *stack_take(void)
{
    if (kept_count > 0)
        return kept[--kept_count];
    char *stack = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT(stack != MAP_FAILED);
    const int failed = mprotect(stack, GUARD_BYTES, PROT_NONE);
    ASSERT(failed == 0);
    return stack;
}

static void stack_give(char *stack)
{
    if (kept_count < STACKS_KEPT)
        kept[kept_count++] = stack;
    else
        (void)munmap(stack, GUARD_BYTES + STACK_BYTES); // cannot fail for a mapping of ours
}

// --- switching

static void enter(void)
{
    Fiber *self = current;
    arrive(NULL, &self->outside_bottom, &self->outside_size);
    self->run(self->argument);
    self->ended = true;
    leave(NULL, self->outside_bottom, self->outside_size); // NULL: this stack is done with
    (void)setcontext(&self->outside);
    ASSERT(false);
}

Fiber *fiber_new(void (*run)(void *argument), void *argument)
{
    Fiber *fiber = calloc(1, sizeof *fiber);
    ASSERT(fiber);
    fiber->run = run;
    fiber->argument = argument;
    fiber->stack = stack_take();
    const int failed = getcontext(&fiber->inside);
    ASSERT(failed == 0);
    fiber->inside.uc_stack.ss_sp = fiber->stack + GUARD_BYTES;
    fiber->inside.uc_stack.ss_size = STACK_BYTES;
    fiber->inside.uc_link = NULL;
    makecontext(&fiber->inside, enter, 0);
    return fiber;
}

void fiber_resume(Fiber *fiber)
{
    ASSERT(!current && !fiber->ended);
    current = fiber;
    leave(&fiber->fake_outside, fiber->stack + GUARD_BYTES, STACK_BYTES);
    const int failed = swapcontext(&fiber->outside, &fiber->inside);
    ASSERT(failed == 0);
    arrive(fiber->fake_outside, NULL, NULL);
    current = NULL;
}

void fiber_pause(void)
{
    Fiber *self = current;
    ASSERT(self);
    leave(&self->fake_inside, self->outside_bottom, self->outside_size);
    const int failed = swapcontext(&self->inside, &self->outside);
    ASSERT(failed == 0);
    arrive(self->fake_inside, &self->outside_bottom, &self->outside_size);
}

bool fiber_ended(const Fiber *fiber)
{
    return fiber->ended;
}

void fiber_free(Fiber *fiber)
{
    if (!fiber)
        return;
    ASSERT(fiber->ended);
    stack_give(fiber->stack);
    free(fiber);
}
