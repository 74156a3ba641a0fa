// Memory that goes all at once. Values come from an arena and are never freed singly.
//
// An arena grows by blocks and keeps the first on reset. Past its cap it aborts: every edge limits
// its input, so only a bug gets there. Allocation failure aborts too. One thread at a time.
#pragma once
#include "common/base/attributes.h"

#include <stddef.h>

typedef struct Arena Arena;

#define ARENA_CAP_DEFAULT ((size_t)64 * 1024 * 1024)

Arena *arena_new(size_t cap_bytes);
void arena_free(Arena *arena);                   // accepts NULL
void arena_release(Arena **arena);               // for AUTO
void arena_reset(Arena *arena);                  // everything allocated from it is gone
void *arena_alloc(Arena *arena, size_t bytes);   // zeroed, aligned for any type; never NULL
char *arena_strdup(Arena *arena, const char *s); // NULL stays NULL
char *arena_strndup(Arena *arena, const char *s, size_t length);
char *arena_printf(Arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
size_t arena_used(const Arena *arena); // bytes handed out since the last reset

#define ARENA_NEW(arena, T) ((T *)arena_alloc((arena), sizeof(T)))
#define ARENA_ARRAY(arena, T, count)                                                               \
    ((T *)arena_alloc((arena), sizeof(T) * ((count) ? (count) : 1)))
