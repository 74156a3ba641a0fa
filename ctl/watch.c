#include "ctl/watch.h"

#include <stdio.h>
#include <unistd.h>

enum { DEFAULT_PERIOD_MS = 2000 };

Watch watch_begin(Ctl *ctl, const Args *args, bool clears)
{
    const OptionValue *period = &args->values[OPT_WATCH];
    int64_t ms = args_has(args, OPT_WATCH_2S) ? DEFAULT_PERIOD_MS : 0;
    if (period->given && period->number > 0)
        ms = (int64_t)(period->number * (double)MS_PER_S);
    return (Watch){.ctl = ctl, .period_ms = ms, .clears = clears && isatty(STDOUT_FILENO)};
}

bool watch_next(Watch *watch)
{
    Ctl *ctl = watch->ctl;
    if (watch->begun && watch->period_ms == 0)
        return false;
    if (watch->begun) {
        if (fflush(stdout) != 0)
            return false; // nobody reads it any more
        // What a round took is taken off the wait for the next one.
        const int64_t left = instant_ms_between(clock_now(ctl->clock), watch->next_at);
        if (left > 0)
            ctl_sleep(left);
        arena_reset(ctl->arena);
    }
    watch->begun = true;
    watch->next_at = instant_plus_ms(clock_now(ctl->clock), watch->period_ms);
    if (watch->clears && watch->period_ms > 0)
        fputs("\033[2J\033[1;1H", stdout);
    return true;
}
