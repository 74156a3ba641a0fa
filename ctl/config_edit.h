// Changes to the dynamic configuration, as edit-config's options describe them. Pure.
#pragma once
#include "common/model/tree.h"

// YAML whose document is a map; nothing at all is an empty one. name is for messages.
bool config_parse(Arena *arena, const char *text, const char *name, const Tree **out, Error *err)
    MUST_CHECK;
// Applies "a.b.c=value" (prefix goes in front): value is YAML, null (and nothing is null) deletes,
// parents that become empty go too, and what follows postgresql.parameters. is one key, dots
// included.
bool config_set(Arena *arena, const Tree *config, const char *prefix, const char *assignment,
                const Tree **out, Error *err) MUST_CHECK;
