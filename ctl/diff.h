// A unified diff of two texts, as diff -u shows it. Pure.
#pragma once
#include "common/base/arena.h"

#include <stdbool.h>

// "" when they are equal. With colour: red, green and cyan by terminal escapes.
char *diff_unified(Arena *arena, const char *before, const char *after, bool colour);
