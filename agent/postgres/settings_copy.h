// A counted copy of the settings this room uses: a task keeps those it began with, whatever the
// turn does with its own.
#pragma once
#include "common/model/settings.h"

#include <stdatomic.h>

typedef struct {
    Arena *arena; // owns all below, and overlay
    atomic_int refs;
    // name, scope, timers, pause, tags.nostream, dynamic, postgresql, bootstrap and howdah are
    // there; the rest is zero.
    Settings settings;
    const Tree *overlay; // parameters the agent sets itself; NULL: none
} SettingsCopy;

SettingsCopy *settings_copy_new(const Settings *from, const Tree *overlay); // one reference
SettingsCopy *settings_copy_ref(SettingsCopy *copy);
void settings_copy_unref(SettingsCopy *copy); // accepts NULL
