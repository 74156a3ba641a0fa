// The environment as a layer over the settings file. Pure: the caller reads environ.
#pragma once
#include "common/model/settings.h"

// HOWDAH_<name>, else PATRONI_<name>; NULL: neither. Both and different is a warning.
const char *settings_env_get(Arena *arena, char *const *environment, const char *name,
                             SettingsNotes *notes);
// What to patch over the document: a map, empty if there is nothing.
const Tree *settings_env_overlay(Arena *arena, char *const *environment, const Tree *document,
                                 SettingsNotes *notes);
