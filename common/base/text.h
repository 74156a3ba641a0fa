// Strings: a builder on an arena, comparisons that take NULL, strict number parsing.
#pragma once
#include "common/base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Always NUL-terminated. Grows; the old copy stays in the arena, so build once and keep.
typedef struct {
    Arena *arena;
    char *data;
    size_t length;
    size_t capacity;
} Text;

Text text_new(Arena *arena);
void text_add(Text *text, const char *s); // NULL adds nothing
void text_add_bytes(Text *text, const char *bytes, size_t length);
void text_add_char(Text *text, char c);
void text_addf(Text *text, const char *fmt, ...) PRINTF_LIKE(2, 3);

// Copy the struct only once it is complete: two copies that both grow would share their room.
typedef struct {
    const char **items;
    size_t count;
    size_t capacity; // 0: items is somebody else's array, copied before the first addition
} StringList;

void string_list_add(StringList *list, Arena *arena, const char *s); // s is kept, not copied
StringList string_list_copy(Arena *arena, const StringList *list);   // with its strings
bool string_list_has_ignoring_case(const StringList *list, const char *s);

bool str_eq(const char *a, const char *b);  // NULL equals only NULL
bool str_ieq(const char *a, const char *b); // ASCII case ignored; NULL equals only NULL
static inline bool str_empty(const char *s) // NULL or ""
{
    return s == NULL || s[0] == '\0';
}
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
const char *str_or(const char *s, const char *fallback); // s unless NULL or empty

// The whole string must be a decimal number in range; no blanks, no '+'.
bool parse_int64(const char *s, int64_t *out);
bool parse_uint64(const char *s, uint64_t *out);

// Copies at most size-1 bytes and terminates. False if s did not fit (the copy is then cut).
bool copy_text(char *to, size_t size, const char *s);
