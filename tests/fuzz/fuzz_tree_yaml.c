// Any bytes as YAML: refused, or printed so that they read back the same. What reads as a map is
// taken for settings as well, local and dynamic: these must survive anything.
#include "common/model/settings.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build_settings(Arena *arena, const Tree *tree)
{
    Settings settings;
    SettingsNotes notes = {0};
    Error err = {0};
    const bool ok = settings_build(arena, tree, tree, 1, false, 15, false, &settings, &notes, &err);
    ASSERT(ok || (err.kind == ERR_INVALID && notes.warnings.count > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const char *text = arena_strndup(arena, (const char *)data, size);
    const Tree *tree, *again;
    Error err = {0};
    if (!tree_parse_yaml(arena, text, "fuzz.yml", &tree, &err)) {
        ASSERT(err.kind == ERR_INVALID && err.text[0] != '\0');
        return 0;
    }
    ASSERT(tree_parse_yaml(arena, tree_to_yaml(arena, tree), NULL, &again, &err));
    ASSERT(tree_equal(tree, again));
    ASSERT(tree_parse_yaml(arena, tree_to_yaml_flow(arena, tree), NULL, &again, &err));
    ASSERT(tree_equal(tree, again));
    ASSERT(tree_parse_json(arena, tree_to_json(arena, tree, JSON_SPACED), &again, &err));
    build_settings(arena, tree);
    return 0;
}
