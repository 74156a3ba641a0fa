// Base64 as in RFC 4648: with padding, without line breaks. Results live in the arena.
#pragma once
#include "common/base/arena.h"

#include <stdbool.h>
#include <stddef.h>

char *base64_of(Arena *arena, const char *bytes, size_t length);
// *out is NUL-terminated beyond *out_length, and may hold NULs. False: not base64.
bool base64_parse(Arena *arena, const char *text, char **out, size_t *out_length) MUST_CHECK;
