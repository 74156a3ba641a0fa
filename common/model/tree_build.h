// Inside the tree's own files: what parsers need beyond tree.h.
#pragma once
#include "common/model/tree.h"

// Every parser's bounds: far above any real document, far below what an arena holds.
enum {
    TREE_NODES_MAX = 100 * 1000,
    TREE_DEPTH_MAX = 100,
    TREE_BYTES_MAX = 8 * 1024 * 1024,
};

Tree *tree_node(Arena *arena, TreeKind kind);
// Appends without looking for an equal key; tree_drop_duplicates must follow.
void tree_push(Arena *arena, Tree *parent, const char *key, const Tree *value);
// Of entries with one key the last one's value stays, at the first one's place.
void tree_drop_duplicates(Arena *arena, Tree *map);
Tree *tree_real(Arena *arena, const char *source); // copied
// The shortest decimal text that reads back as value; has a '.' or an exponent. Finite values only.
void tree_format_real(double value, char out[40]);
// Decodes one code point and moves *text behind it; a byte that is not UTF-8 gives U+FFFD.
uint32_t tree_take_code_point(const char **text);
// A copy in which every byte that is not UTF-8 has become U+FFFD.
const char *tree_valid_utf8(Arena *arena, const char *text);
