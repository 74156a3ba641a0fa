// $EDITOR on a temporary file.
#pragma once
#include "ctl/ctl.h"

// name becomes part of the file's name. *out: what the text has become.
bool editor_run(Arena *arena, const char *name, const char *text, const char **out, Error *err)
    MUST_CHECK;
