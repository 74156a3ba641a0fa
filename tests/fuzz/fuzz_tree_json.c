// Any bytes as JSON: refused, or printed so that they read back the same.
#include "common/model/tree.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const char *text = arena_strndup(arena, (const char *)data, size);
    const Tree *tree, *again;
    Error err = {0};
    if (!tree_parse_json(arena, text, &tree, &err)) {
        ASSERT(err.kind == ERR_INVALID && err.text[0] != '\0');
        return 0;
    }
    const char *printed = tree_to_json(arena, tree, JSON_COMPACT);
    ASSERT(tree_parse_json(arena, printed, &again, &err));
    ASSERT(strcmp(tree_to_json(arena, again, JSON_COMPACT), printed) == 0);
    ASSERT(tree_parse_yaml(arena, tree_to_yaml(arena, tree), NULL, &again, &err));
    bool changed;
    ASSERT(tree->kind != TREE_MAP || (tree_patch(arena, tree, tree, &changed) && !changed));
    return 0;
}
