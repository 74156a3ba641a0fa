#include "common/base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

Text text_new(Arena *arena)
{
    enum { START = 64 };
    return (Text){.arena = arena, .data = arena_alloc(arena, START), .capacity = START};
}

static void reserve(Text *text, size_t more)
{
    const size_t needed = text->length + more + 1;
    if (needed <= text->capacity)
        return;
    size_t capacity = text->capacity * 2;
    if (capacity < needed)
        capacity = needed;
    char *data = arena_alloc(text->arena, capacity);
    memcpy(data, text->data, text->length);
    text->data = data;
    text->capacity = capacity;
}

void text_add_bytes(Text *text, const char *bytes, size_t length)
{
    if (length == 0)
        return;
    reserve(text, length);
    memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_add(Text *text, const char *s)
{
    if (s != NULL)
        text_add_bytes(text, s, strlen(s));
}

void text_add_char(Text *text, char c)
{
    text_add_bytes(text, &c, 1);
}

void text_addf(Text *text, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(length >= 0);

    reserve(text, (size_t)length);
    vsnprintf(text->data + text->length, (size_t)length + 1, fmt, again);
    va_end(again);
    text->length += (size_t)length;
}

void string_list_add(StringList *list, Arena *arena, const char *s)
{
    if (list->count >= list->capacity) {
        const size_t capacity = list->count < 4 ? 8 : list->count * 2;
        const char **items = ARENA_ARRAY(arena, const char *, capacity);
        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = s;
}

StringList string_list_copy(Arena *arena, const StringList *list)
{
    StringList copy = {0};
    for (size_t i = 0; i < list->count; i++)
        string_list_add(&copy, arena, arena_strdup(arena, list->items[i]));
    return copy;
}

bool string_list_has_ignoring_case(const StringList *list, const char *s)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_ieq(list->items[i], s))
            return true;
    return false;
}

bool str_eq(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

// Not strcasecmp: that one asks the locale.
static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_ieq(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    while (*a != '\0' && ascii_lower(*a) == ascii_lower(*b)) {
        a++;
        b++;
    }
    return ascii_lower(*a) == ascii_lower(*b);
}

bool str_starts(const char *s, const char *prefix)
{
    return s != NULL && strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    if (s == NULL)
        return false;
    const size_t length = strlen(s), ending = strlen(suffix);
    return ending <= length && strcmp(s + length - ending, suffix) == 0;
}

const char *str_or(const char *s, const char *fallback)
{
    return str_empty(s) ? fallback : s;
}

bool parse_uint64(const char *s, uint64_t *out)
{
    if (str_empty(s))
        return false;
    uint64_t value = 0;
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9')
            return false;
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

bool parse_int64(const char *s, int64_t *out)
{
    const bool negative = s != NULL && *s == '-';
    uint64_t magnitude;
    if (!parse_uint64(negative ? s + 1 : s, &magnitude))
        return false;

    const uint64_t largest = (uint64_t)INT64_MAX;
    if (magnitude > largest + (negative ? 1 : 0))
        return false;
    if (negative && magnitude > 0)
        *out = -(int64_t)(magnitude - 1) - 1; // INT64_MIN has no positive twin
    else
        *out = (int64_t)magnitude;
    return true;
}

bool copy_text(char *to, size_t size, const char *s)
{
    ASSERT(size > 0);
    const size_t length = s == NULL ? 0 : strlen(s);
    const size_t copied = length < size ? length : size - 1;
    if (copied > 0)
        memcpy(to, s, copied);
    to[copied] = '\0';
    return copied == length;
}
