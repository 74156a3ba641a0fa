// Reads the local document: files and environment (docs/settings.md).
#pragma once
#include "common/model/settings.h"

// Where the local document comes from.
typedef struct {
    const char *path; // positional argument, or -c; NULL: none given
    bool for_ctl;     // howdahctl: other places, and nothing found is no error
} SettingsSource;

// Merges files and environment (HOWDAH_X beats PATRONI_X) into one local document. ERR_INVALID
// names file and line. May be called again on reload; the environment is left as it is.
bool settings_read_local(Arena *arena, const SettingsSource *source, const Tree **out,
                         SettingsNotes *notes, Error *err) MUST_CHECK;
