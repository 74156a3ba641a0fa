#include "common/os/memory.h"

#include <malloc.h>

// A heap for each thread would double what a dozen of them need, who seldom want any. What is large
// goes back to the system as soon as it is freed: left to itself, malloc takes the first large
// piece for a sign that there will be more, and keeps the room of it.
void memory_configure(void)
{
    enum { LARGE_BYTES = 64 * 1024 };
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, LARGE_BYTES);
}

void memory_give_back(void)
{
    (void)malloc_trim(0);
}
