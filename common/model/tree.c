#include "common/model/tree.h"

#include "common/model/tree_build.h"
#include "common/model/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- building

Tree *tree_node(Arena *arena, TreeKind kind)
{
    Tree *tree = ARENA_NEW(arena, Tree);
    tree->kind = kind;
    return tree;
}

Tree *tree_null(Arena *arena)
{
    return tree_node(arena, TREE_NULL);
}

Tree *tree_bool(Arena *arena, bool value)
{
    Tree *tree = tree_node(arena, TREE_BOOL);
    tree->boolean = value;
    return tree;
}

Tree *tree_int(Arena *arena, int64_t value)
{
    Tree *tree = tree_node(arena, TREE_INT);
    tree->integer = value;
    return tree;
}

Tree *tree_real(Arena *arena, const char *source)
{
    Tree *tree = tree_node(arena, TREE_REAL);
    tree->text = arena_strdup(arena, source);
    return tree;
}

Tree *tree_string(Arena *arena, const char *text)
{
    if (text == NULL)
        return tree_null(arena);
    Tree *tree = tree_node(arena, TREE_STRING);
    tree->text = arena_strdup(arena, text);
    return tree;
}

Tree *tree_map(Arena *arena)
{
    return tree_node(arena, TREE_MAP);
}

Tree *tree_list(Arena *arena)
{
    return tree_node(arena, TREE_LIST);
}

void tree_push(Arena *arena, Tree *parent, const char *key, const Tree *value)
{
    if (parent->count >= parent->capacity) {
        const size_t capacity = parent->count < 4 ? 4 : parent->count * 2;
        TreeEntry *entries = ARENA_ARRAY(arena, TreeEntry, capacity);
        if (parent->count > 0)
            memcpy(entries, parent->entries, parent->count * sizeof *entries);
        parent->entries = entries;
        parent->capacity = capacity;
    }
    // The array was allocated above, or by an earlier call: const only to the readers.
    TreeEntry *entries = (TreeEntry *)(uintptr_t)parent->entries;
    entries[parent->count++] = (TreeEntry){.key = arena_strdup(arena, key), .value = value};
}

static const TreeEntry *find(const Tree *map, const char *key)
{
    if (map == NULL || map->kind != TREE_MAP || key == NULL)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->entries[i].key, key) == 0)
            return &map->entries[i];
    return NULL;
}

void tree_set(Arena *arena, Tree *map, const char *key, const Tree *value)
{
    ASSERT(map->kind == TREE_MAP && key != NULL && value != NULL);
    const TreeEntry *entry = find(map, key);
    if (entry == NULL) {
        tree_push(arena, map, key, value);
        return;
    }
    ((TreeEntry *)(uintptr_t)entry)->value = value;
}

void tree_remove(Tree *map, const char *key)
{
    const TreeEntry *entry = find(map, key);
    if (entry == NULL)
        return;
    const size_t at = (size_t)(entry - map->entries);
    TreeEntry *entries = (TreeEntry *)(uintptr_t)map->entries;
    memmove(&entries[at], &entries[at + 1], (map->count - at - 1) * sizeof *entries);
    map->count--;
}

void tree_append(Arena *arena, Tree *list, const Tree *value)
{
    ASSERT(list->kind == TREE_LIST && value != NULL);
    tree_push(arena, list, NULL, value);
}

typedef struct {
    const char *key;
    size_t at;
} KeyPlace;

static int compare_places(const void *a, const void *b)
{
    const KeyPlace *one = a, *two = b;
    const int order = strcmp(one->key, two->key);
    return order != 0 ? order : (one->at > two->at) - (one->at < two->at);
}

// By sorting, so that a hostile document with many keys costs n log n and not n².
void tree_drop_duplicates(Arena *arena, Tree *map)
{
    if (map->count < 2)
        return;
    KeyPlace *places = ARENA_ARRAY(arena, KeyPlace, map->count);
    for (size_t i = 0; i < map->count; i++)
        places[i] = (KeyPlace){map->entries[i].key, i};
    qsort(places, map->count, sizeof *places, compare_places);

    TreeEntry *entries = (TreeEntry *)(uintptr_t)map->entries;
    bool dropped = false;
    for (size_t i = 0; i < map->count;) {
        size_t last = i;
        while (last + 1 < map->count && strcmp(places[last + 1].key, places[i].key) == 0)
            last++;
        entries[places[i].at].value = entries[places[last].at].value;
        for (size_t gone = i + 1; gone <= last; gone++) {
            entries[places[gone].at].value = NULL;
            dropped = true;
        }
        i = last + 1;
    }
    if (!dropped)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < map->count; i++)
        if (entries[i].value != NULL)
            entries[kept++] = entries[i];
    map->count = kept;
}

// A file's name is copied where it changes from a node to those below it: mostly at the top alone.
static Tree *copy_below(Arena *arena, const Tree *tree, const char *file, const char *file_copy)
{
    Tree *copy = tree_node(arena, tree->kind);
    copy->line = tree->line;
    copy->file = tree->file == file ? file_copy : arena_strdup(arena, tree->file);
    copy->boolean = tree->boolean;
    copy->integer = tree->integer;
    copy->text = arena_strdup(arena, tree->text);
    for (size_t i = 0; i < tree->count; i++) {
        const Tree *value = tree->entries[i].value;
        tree_push(arena, copy, tree->entries[i].key,
                  value == NULL ? tree_null(arena)
                                : copy_below(arena, value, tree->file, copy->file));
    }
    return copy;
}

Tree *tree_copy(Arena *arena, const Tree *tree)
{
    return tree == NULL ? tree_null(arena) : copy_below(arena, tree, NULL, NULL);
}

// --- reading

const Tree *tree_get(const Tree *map, const char *key)
{
    const TreeEntry *entry = find(map, key);
    return entry == NULL ? NULL : entry->value;
}

static const Tree *get_part(const Tree *map, const char *key, size_t length)
{
    if (map == NULL || map->kind != TREE_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++) {
        const char *candidate = map->entries[i].key;
        if (strncmp(candidate, key, length) == 0 && candidate[length] == '\0')
            return map->entries[i].value;
    }
    return NULL;
}

const Tree *tree_path(const Tree *map, const char *dotted)
{
    for (;;) {
        const size_t length = strcspn(dotted, ".");
        map = get_part(map, dotted, length);
        if (map == NULL || dotted[length] == '\0')
            return map;
        dotted += length + 1;
    }
}

const char *tree_string_of(const Tree *tree)
{
    if (tree == NULL || (tree->kind != TREE_STRING && tree->kind != TREE_REAL))
        return NULL;
    return tree->text;
}

const char *tree_scalar_text(Arena *arena, const Tree *tree)
{
    if (tree == NULL)
        return NULL;
    switch (tree->kind) {
    case TREE_NULL:
        return "None";
    case TREE_BOOL:
        return tree->boolean ? "True" : "False";
    case TREE_INT:
        return arena_printf(arena, "%" PRId64, tree->integer);
    case TREE_REAL:
    case TREE_STRING:
        return tree->text;
    case TREE_LIST:
    case TREE_MAP:
        return NULL;
    }
    return NULL;
}

bool tree_get_bool(const Tree *map, const char *key, bool fallback)
{
    const Tree *tree = tree_get(map, key);
    if (tree == NULL)
        return fallback;
    if (tree->kind == TREE_BOOL)
        return tree->boolean;
    if (tree->kind == TREE_INT)
        return tree->integer == 0 || tree->integer == 1 ? tree->integer == 1 : fallback;
    bool value;
    return tree->kind == TREE_STRING && parse_bool_word(tree->text, &value) ? value : fallback;
}

int64_t tree_get_int(const Tree *map, const char *key, int64_t fallback)
{
    const Tree *tree = tree_get(map, key);
    if (tree == NULL)
        return fallback;
    if (tree->kind == TREE_INT)
        return tree->integer;
    int64_t value;
    if (tree->kind == TREE_STRING && parse_int64(tree->text, &value))
        return value;
    if (tree->kind == TREE_REAL) { // as Python's int(): towards zero
        const double real = strtod(tree->text, NULL);
        if (real > -9.2e18 && real < 9.2e18)
            return (int64_t)real;
    }
    return fallback;
}

const char *tree_get_string(const Tree *map, const char *key, const char *fallback)
{
    const char *text = tree_string_of(tree_get(map, key));
    return text == NULL ? fallback : text;
}

// --- comparing

static const char *scalar_text(const Tree *tree, char room[24])
{
    switch (tree->kind) {
    case TREE_NULL:
        return "None";
    case TREE_BOOL:
        return tree->boolean ? "True" : "False";
    case TREE_INT:
        snprintf(room, 24, "%" PRId64, tree->integer);
        return room;
    case TREE_REAL:
    case TREE_STRING:
        return tree->text;
    case TREE_LIST:
    case TREE_MAP:
        break;
    }
    return NULL;
}

static bool is_scalar(const Tree *tree)
{
    return tree->kind != TREE_LIST && tree->kind != TREE_MAP;
}

static bool scalars_equal(const Tree *a, const Tree *b)
{
    char room_a[24], room_b[24];
    return strcmp(scalar_text(a, room_a), scalar_text(b, room_b)) == 0;
}

static bool maps_equal(const Tree *a, const Tree *b, bool strict);

// strict: scalars of different kinds differ, as within a list that Python prints.
static bool trees_equal(const Tree *a, const Tree *b, bool strict)
{
    if (is_scalar(a) && is_scalar(b))
        return (!strict || a->kind == b->kind) && scalars_equal(a, b);
    if (a->kind != b->kind || a->count != b->count)
        return false;
    if (a->kind == TREE_MAP)
        return maps_equal(a, b, strict);
    for (size_t i = 0; i < a->count; i++)
        if (!trees_equal(a->entries[i].value, b->entries[i].value, strict))
            return false;
    return true;
}

static bool maps_equal(const Tree *a, const Tree *b, bool strict)
{
    for (size_t i = 0; i < a->count; i++) {
        const TreeEntry *entry = &a->entries[i];
        // Maps mostly agree in their order too: then no search is needed.
        const Tree *other = strcmp(b->entries[i].key, entry->key) == 0 ? b->entries[i].value
                                                                       : tree_get(b, entry->key);
        if (other == NULL || !trees_equal(entry->value, other, strict))
            return false;
    }
    return true;
}

bool tree_equal(const Tree *a, const Tree *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return trees_equal(a, b, false);
}

// --- patching

// Python's str() of both sides: bare scalars by their text, whatever is inside a list by its kind.
static bool same_when_printed(const Tree *a, const Tree *b)
{
    if (is_scalar(a) || is_scalar(b))
        return is_scalar(a) && is_scalar(b) && scalars_equal(a, b);
    return trees_equal(a, b, true);
}

static bool patch_entry(Arena *arena, Tree *result, const TreeEntry *entry)
{
    const Tree *value = entry->value, *old = tree_get(result, entry->key);
    if (value->kind == TREE_NULL) {
        tree_remove(result, entry->key);
        return old != NULL && old->kind != TREE_NULL;
    }
    if (old != NULL && value->kind == TREE_MAP && old->kind == TREE_MAP) {
        bool changed = false;
        tree_set(arena, result, entry->key, tree_patch(arena, old, value, &changed));
        return changed;
    }
    if (old != NULL && value->kind != TREE_MAP && same_when_printed(old, value))
        return false;
    tree_set(arena, result, entry->key, value);
    return true;
}

Tree *tree_patch(Arena *arena, const Tree *target, const Tree *patch, bool *changed)
{
    Tree *result = tree_map(arena);
    if (target != NULL && target->kind == TREE_MAP) {
        result->line = target->line;
        result->file = target->file;
        for (size_t i = 0; i < target->count; i++)
            tree_push(arena, result, target->entries[i].key, target->entries[i].value);
    }
    bool any = false;
    if (patch != NULL && patch->kind == TREE_MAP)
        for (size_t i = 0; i < patch->count; i++)
            any = patch_entry(arena, result, &patch->entries[i]) || any;
    if (changed != NULL)
        *changed = any;
    return result;
}

// --- text

void tree_format_real(double value, char out[40])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 38, "%.*g", digits, value);
        const double again = strtod(out, NULL);
        if (again >= value && again <= value)
            break;
    }
    if (strpbrk(out, ".e") == NULL)
        memcpy(out + strlen(out), ".0", sizeof ".0");
}

uint32_t tree_take_code_point(const char **text)
{
    const unsigned char *s = (const unsigned char *)*text;
    const unsigned lead = s[0];
    const size_t more = lead < 0x80                   ? 0
                        : lead >= 0xC2 && lead < 0xE0 ? 1
                        : lead >= 0xE0 && lead < 0xF0 ? 2
                        : lead >= 0xF0 && lead < 0xF5 ? 3
                                                      : SIZE_MAX;
    (*text)++;
    if (more == 0)
        return lead;
    if (more == SIZE_MAX)
        return 0xFFFD;
    uint32_t point = lead & (0x3FU >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((s[i] & 0xC0U) != 0x80U)
            return 0xFFFD;
        point = point << 6 | (s[i] & 0x3FU);
    }
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    if (point < smallest[more] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
        return 0xFFFD;
    *text += more;
    return point;
}

static void add_utf8(Text *text, uint32_t c)
{
    if (c < 0x80) {
        text_add_char(text, (char)c);
        return;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned leads[] = {0, 0xC0, 0xE0, 0xF0};
    text_add_char(text, (char)(leads[more] | (c >> (6 * more))));
    for (int i = more - 1; i >= 0; i--)
        text_add_char(text, (char)(0x80U | ((c >> (6 * i)) & 0x3FU)));
}

const char *tree_valid_utf8(Arena *arena, const char *text)
{
    Text out = text_new(arena);
    while (*text != '\0')
        add_utf8(&out, tree_take_code_point(&text));
    return out.data;
}
