// Settings and records as a tree of our own: libyaml and cJSON only parse into it.
//
// Nodes live in an arena and are not changed once shared. Integers are int64; reals keep their
// source text, so that 1.10 stays 1.10. Map keys keep their order.
#pragma once
#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    TREE_NULL,
    TREE_BOOL,
    TREE_INT,
    TREE_REAL,
    TREE_STRING,
    TREE_LIST,
    TREE_MAP
} TreeKind;

typedef struct Tree Tree;

typedef struct {
    const char *key;
    const Tree *value;
} TreeEntry;

struct Tree {
    TreeKind kind;
    int line;         // of the file it came from, 1-based; 0: not from a file
    const char *file; // NULL: not from a file
    bool boolean;
    int64_t integer;
    const char *text;         // STRING, and the source text of REAL
    const TreeEntry *entries; // MAP: key and value; LIST: value alone, key NULL
    size_t count;
    size_t capacity; // room behind entries while it is being built; nobody else's business
};

// --- building
Tree *tree_null(Arena *arena);
Tree *tree_bool(Arena *arena, bool value);
Tree *tree_int(Arena *arena, int64_t value);
Tree *tree_string(Arena *arena, const char *text); // copied; NULL gives a null node
Tree *tree_map(Arena *arena);
Tree *tree_list(Arena *arena);
void tree_set(Arena *arena, Tree *map, const char *key, const Tree *value); // replaces or appends
void tree_remove(Tree *map, const char *key);
void tree_append(Arena *arena, Tree *list, const Tree *value);
Tree *tree_copy(Arena *arena, const Tree *tree); // deep

// --- reading. All accept NULL for the tree and then find nothing.
const Tree *tree_get(const Tree *map, const char *key);
const Tree *tree_path(const Tree *map, const char *dotted); // "postgresql.parameters"
const char *tree_string_of(const Tree *tree);               // STRING's or REAL's text, else NULL
// Scalar as Patroni's str() shows it: True, False, None, numbers, text; NULL for list, map and
// NULL.
const char *tree_scalar_text(Arena *arena, const Tree *tree);
bool tree_get_bool(const Tree *map, const char *key, bool fallback); // on/true/yes/1 texts count
int64_t tree_get_int(const Tree *map, const char *key, int64_t fallback); // decimal texts count
const char *tree_get_string(const Tree *map, const char *key, const char *fallback);
bool tree_equal(const Tree *a,
                const Tree *b); // deep; scalars by their text form; map order ignored

// --- Patroni's merge ("patch"). Not RFC 7396. *changed may be NULL. What is not a
// map counts as an empty one. The result shares nodes with both: copy it if it must outlive them.
Tree *tree_patch(Arena *arena, const Tree *target, const Tree *patch, bool *changed);

// --- JSON (cJSON inside). Integers of up to 64 bits survive. At most 8 MiB.
bool tree_parse_json(Arena *arena, const char *text, const Tree **out, Error *err) MUST_CHECK;
typedef enum { JSON_COMPACT, JSON_SPACED } JsonStyle; // "," ":" or ", " ": "; non-ASCII escaped
char *tree_to_json(Arena *arena, const Tree *tree, JsonStyle style);

// --- YAML 1.1 scalars as PyYAML's safe loader reads them (libyaml inside).
bool tree_parse_yaml(Arena *arena, const char *text, const char *file, const Tree **out, Error *err)
    MUST_CHECK;
// Block style as PyYAML's safe_dump writes it: sorted keys, width 200.
char *tree_to_yaml(Arena *arena, const Tree *tree);
char *tree_to_yaml_flow(Arena *arena, const Tree *tree); // "{k: v, k2: v2}"
char *tree_to_yaml_flow_wrapped(Arena *arena,
                                const Tree *tree); // lines of 200, as safe_dump has it
