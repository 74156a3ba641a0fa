#include "common/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What a reset took away is poisoned, so that AddressSanitizer reports a value kept too long.
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISONS 1
#endif
#endif
#if defined(ARENA_POISONS)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes)   ((void)(start), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#endif

enum {
    ALIGNMENT = _Alignof(max_align_t),
    FIRST_BLOCK_BYTES = 1024,
    LARGEST_STEP_BYTES = 256 * 1024,
};

typedef struct Block {
    struct Block *next; // the one before it; the first block ends the chain
    size_t size;        // of bytes[]
    size_t used;
    max_align_t bytes[];
} Block;

struct Arena {
    Block *newest;
    size_t cap;
    size_t used; // sum over all blocks
};

static Block *block_new(size_t size, Block *next)
{
    Block *block = malloc(sizeof(Block) + size);
    ASSERT(block != NULL); // out of memory
    *block = (Block){.next = next, .size = size};
    ASAN_POISON_MEMORY_REGION(block->bytes, size);
    return block;
}

static void block_free(Block *block)
{
    ASAN_UNPOISON_MEMORY_REGION(block->bytes, block->size);
    free(block);
}

Arena *arena_new(size_t cap_bytes)
{
    Arena *arena = malloc(sizeof *arena);
    ASSERT(arena != NULL); // out of memory
    *arena = (Arena){.newest = block_new(FIRST_BLOCK_BYTES, NULL), .cap = cap_bytes};
    return arena;
}

static void drop_all_but_first(Arena *arena)
{
    while (arena->newest->next != NULL) {
        Block *gone = arena->newest;
        arena->newest = gone->next;
        block_free(gone);
    }
}

void arena_reset(Arena *arena)
{
    drop_all_but_first(arena);
    arena->newest->used = 0;
    arena->used = 0;
    ASAN_POISON_MEMORY_REGION(arena->newest->bytes, arena->newest->size);
}

void arena_free(Arena *arena)
{
    if (arena == NULL)
        return;
    drop_all_but_first(arena);
    block_free(arena->newest);
    free(arena);
}

void arena_release(Arena **arena)
{
    arena_free(*arena);
    *arena = NULL;
}

// Blocks double, so that a large arena has few of them and a small one stays small.
static void grow(Arena *arena, size_t bytes)
{
    size_t step = arena->newest->size * 2;
    if (step > LARGEST_STEP_BYTES)
        step = LARGEST_STEP_BYTES;
    arena->newest = block_new(bytes > step ? bytes : step, arena->newest);
}

void *arena_alloc(Arena *arena, size_t bytes)
{
    ASSERT(bytes <= arena->cap);
    const size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    ASSERT(rounded <= arena->cap - arena->used);

    if (rounded > arena->newest->size - arena->newest->used)
        grow(arena, rounded);
    Block *block = arena->newest;
    char *start = (char *)block->bytes + block->used;
    block->used += rounded;
    arena->used += rounded;
    ASAN_UNPOISON_MEMORY_REGION(start, bytes);
    return memset(start, 0, bytes);
}

char *arena_strndup(Arena *arena, const char *s, size_t length)
{
    if (s == NULL)
        return NULL;
    const size_t copied = strnlen(s, length);
    char *copy = arena_alloc(arena, copied + 1);
    memcpy(copy, s, copied);
    return copy;
}

char *arena_strdup(Arena *arena, const char *s)
{
    return s == NULL ? NULL : arena_strndup(arena, s, strlen(s));
}

char *arena_printf(Arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(length >= 0);

    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, fmt, again);
    va_end(again);
    return text;
}

size_t arena_used(const Arena *arena)
{
    return arena->used;
}
