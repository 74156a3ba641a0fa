// Coroutines: a simulated process is one, so that others go on while it waits inside a call.
// One thread; fibers are resumed by the event loop only, never by each other.
#pragma once
#include <stdbool.h>

typedef struct Fiber Fiber;

Fiber *fiber_new(void (*run)(void *argument), void *argument);
void fiber_resume(Fiber *fiber); // returns when it pauses or ends
void fiber_pause(void);          // called inside one: back to whoever resumed it
bool fiber_ended(const Fiber *fiber);
void fiber_free(Fiber *fiber); // only one that has ended; accepts NULL
