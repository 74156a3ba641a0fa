// The dead-man's switch at work, and the killing of what belongs to the data directory.
#include "agent/warden/warden.h"

#include <signal.h>

#define PASS_MIN        (1 * NS_PER_MS)
#define PASS_MAX        (50 * NS_PER_MS)
#define LEFTOVER_EVERY  (200 * NS_PER_MS)
#define INHERITED_GRACE (500 * NS_PER_MS)

static int64_t min_time(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void sweep_start(Warden *w, int64_t kill_at)
{
    Sweep *sweep = &w->sweep;
    report_careful(true);
    if (!sweep->active)
        *sweep = (Sweep){.active = true, .kill_at = kill_at};
    sweep->kill_at = min_time(sweep->kill_at, kill_at);
    sweep->next_pass = w->now;
    sweep->pause = PASS_MIN;
    sweep_step(w);
}

static void fence_done(Warden *w)
{
    const int64_t took = time_boot() - w->struck_at;
    w->fence.striking = false;
    w->fenced_at = w->struck_at;
    w->fenced_total++;
    report("fenced took_ms=%lld", (long long)(took / NS_PER_MS));
    tell_state(w, 0);
    WireWriter event = client_begin(w, WIRE_FENCED, 0);
    wire_put_i64(&event, w->fenced_at);
    wire_put_i64(&event, took);
    client_end(w, &event);
}

static void sweep_done(Warden *w)
{
    w->sweep.active = false;
    w->leftover = false;
    if (w->fence.striking)
        fence_done(w);
    else if (!child_postmaster(w)) // its end is told with its status
        tell_state(w, 0);
}

// SIGQUIT goes out once: whoever has it is on its way, and a postmaster that has it forks no more.
void sweep_step(Warden *w)
{
    Sweep *sweep = &w->sweep;
    if (!sweep->active || w->now < sweep->next_pass)
        return;
    const bool killing = w->now >= sweep->kill_at;
    const int found = proc_sweep(w, killing ? SIGKILL : sweep->quit_sent ? 0 : SIGQUIT);
    sweep->quit_sent = true;
    if (found == 0) {
        sweep_done(w);
        return;
    }
    time_take(w); // a pass over many processes takes its time
    sweep->next_pass = w->now + sweep->pause;
    if (!killing)
        sweep->next_pass = min_time(sweep->next_pass, sweep->kill_at);
    sweep->pause = min_time(2 * sweep->pause, PASS_MAX);
}

// There is something that a log on a dead disk must not hold up.
static bool must_not_wait(const Warden *w)
{
    return w->sweep.active || w->fence.striking || (w->fence.armed && !w->fence.struck);
}

void fence_step(Warden *w)
{
    const Strike strike = fence_tick(&w->fence, w->now, w->wall);
    report_careful(must_not_wait(w));
    if (strike != STRIKE_NONE) {
        w->struck_at = w->now;
        sweep_start(w, fence_kill_time(&w->fence, w->now));
        // The deadline on CLOCK_BOOTTIME, for whoever compares it with what clients saw.
        report("fence struck reason=%s late_ms=%lld kill_at_boot_ms=%lld", strike_name(strike),
               (long long)((w->struck_at - w->fence.quit_at) / NS_PER_MS),
               (long long)(w->sweep.kill_at / NS_PER_MS));
        tell_state(w, 0);
    }
    sweep_step(w);
    if (w->leftover && !w->sweep.active && w->now >= w->leftover_next) {
        leftover_look(w);
        if (!w->leftover)
            tell_state(w, 0);
    }
}

// Processes of the data directory without a postmaster of ours: another warden's, or somebody has
// started one by hand. Looked for when the agent asks, watched until they are gone.
void leftover_look(Warden *w)
{
    w->leftover = !child_postmaster(w) && proc_sweep(w, 0) != 0;
    w->leftover_next = w->now + LEFTOVER_EVERY;
}

// A warden that is killed takes its postmaster along by SIGQUIT. One that is stopped at that moment
// (SIGSTOP) does not hear it, its backends go on, and the fence over them has died with the warden.
// Whom its parent's death has told to quit is ended before anything else; a server that runs well
// is somebody else's, and left alone.
void leftover_inherit(Warden *w)
{
    if (proc_count_doomed(w) <= 0)
        return;
    report("ending what a warden that was killed has left behind");
    w->leftover = true;
    sweep_start(w, w->now + INHERITED_GRACE);
}

int64_t fence_next(const Warden *w)
{
    const int64_t tick = fence_next_tick(&w->fence, w->now);
    int64_t next = tick != 0 ? tick : NEVER;
    if (w->sweep.active)
        next = min_time(next, w->sweep.next_pass);
    else if (w->leftover)
        next = min_time(next, w->leftover_next);
    return next;
}
