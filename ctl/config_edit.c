#include "ctl/config_edit.h"

#include <string.h>

bool config_parse(Arena *arena, const char *text, const char *name, const Tree **out, Error *err)
{
    const Tree *document;
    if (!tree_parse_yaml(arena, text, name, &document, err))
        return false;
    if (document == NULL || document->kind == TREE_NULL)
        document = tree_map(arena);
    if (document->kind != TREE_MAP)
        return error_set(err, ERR_INVALID, "%s: must be a mapping (key: value)", name);
    *out = document;
    return true;
}

// The next key of a dotted path; what is below postgresql.parameters is one.
static const char *take_key(Arena *arena, const char **path, int depth, bool parameters)
{
    const char *start = *path;
    const size_t length = parameters && depth >= 2 ? strlen(start) : strcspn(start, ".");
    *path = start + length + (start[length] == '.' ? 1 : 0);
    return arena_strndup(arena, start, length);
}

// A copy of the map with the value put at the path; NULL when nothing is left in it.
static Tree *with_value(Arena *arena, const Tree *map, const char *path, int depth, bool parameters,
                        const Tree *value)
{
    Tree *copy = map != NULL && map->kind == TREE_MAP ? tree_copy(arena, map) : tree_map(arena);
    const char *key = take_key(arena, &path, depth, parameters);
    const Tree *put = value;
    if (path[0] != '\0')
        put = with_value(arena, tree_get(copy, key), path, depth + 1, parameters, value);
    if (put == NULL)
        tree_remove(copy, key);
    else
        tree_set(arena, copy, key, put);
    return copy->count > 0 ? copy : NULL;
}

bool config_set(Arena *arena, const Tree *config, const char *prefix, const char *assignment,
                const Tree **out, Error *err)
{
    const char *equals = strchr(assignment, '=');
    if (equals == NULL || equals == assignment)
        return error_set(err, ERR_INVALID, "Invalid parameter setting %s", assignment);
    const char *path =
        arena_printf(arena, "%s%.*s", prefix, (int)(equals - assignment), assignment);
    if (strstr(path, "..") != NULL || path[0] == '.' || str_ends(path, "."))
        return error_set(err, ERR_INVALID, "Invalid parameter setting %s: an empty key",
                         assignment);
    const Tree *value;
    if (!tree_parse_yaml(arena, equals + 1, path, &value, err))
        return error_wrap(err, "Invalid parameter setting %s", assignment);
    const bool parameters = str_starts(path, "postgresql.parameters.");
    const Tree *changed = with_value(arena, config, path, 0, parameters,
                                     value == NULL || value->kind == TREE_NULL ? NULL : value);
    *out = changed != NULL ? changed : tree_map(arena);
    return true;
}
