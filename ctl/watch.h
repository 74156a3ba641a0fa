// -W and --watch: the same again every few seconds, until interrupted.
#pragma once
#include "ctl/ctl.h"
#include "ctl/timestamps.h"

typedef struct {
    Ctl *ctl;
    int64_t period_ms; // 0: once
    bool clears;       // the screen, before each round
    bool begun;
    Instant next_at;
} Watch;

Watch watch_begin(Ctl *ctl, const Args *args, bool clears);
// Waits for the next round; false when there is none. Everything in ctl->arena is gone after it.
bool watch_next(Watch *watch);
