// What tests of the settings have in common.
#pragma once
#include "common/model/settings.h"

extern Arena *arena;
extern SettingsNotes notes;
extern const char minimal[]; // the least an agent needs

int set_up(void **state);
int tear_down(void **state);
// In the arena; NULL gives NULL. What is no YAML fails the test.
const Tree *yaml(const char *text);
