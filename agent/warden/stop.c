// Told to stop, by systemd or the kubelet: first the agent may hand over, then Postgres is stopped,
// and each step has an end.
#include "agent/warden/warden.h"

#include <signal.h>
#include <unistd.h>

#define ALONE_NS  (2000 * NS_PER_MS) // no agent for so long: nobody hands over
#define QUIT_NS   (2000 * NS_PER_MS) // from SIGQUIT to SIGKILL
#define LINGER_NS (5000 * NS_PER_MS) // for the agent to read the control file and leave
#define ENDING_NS (2000 * NS_PER_MS) // from SIGTERM to SIGKILL for what still runs then

void stop_begin(Warden *w, int signal)
{
    if (w->stop != STOP_NO)
        return;
    w->stop = STOP_HAND_OVER;
    w->stop_next = w->now + w->stop_timeout_ms * NS_PER_MS;
    report("told to stop signal=%d agent=%s", signal, w->client.fd >= 0 ? "attached" : "none");
    tell_state(w, 0);
    WireWriter event = client_begin(w, WIRE_TERMINATING, 0);
    client_end(w, &event);
    program_signal(w, SIGTERM);
}

static bool stop_alone(const Warden *w)
{
    return w->client.fd < 0 && w->now >= w->alone_since + ALONE_NS;
}

static void stop_fast(Warden *w)
{
    const Child *postmaster = child_postmaster(w);
    report("fast shutdown agent=%s", w->client.fd >= 0 ? "attached" : "none");
    w->stop = STOP_FAST;
    w->stop_next = w->now + w->fast_timeout_ms * NS_PER_MS;
    if (postmaster->state == CHILD_RUNNING) {
        (void)child_signal(postmaster, SIGINT); // gone is as good, and the bound covers the rest
        (void)child_signal(postmaster, SIGCONT);
    }
}

// What is left to end: the agent we started and the tasks.
static void stop_signal_rest(Warden *w, int signal)
{
    program_signal(w, signal);
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        const Child *child = &w->children[i];
        if (child->state == CHILD_RUNNING && !child->postmaster)
            (void)child_signal(child, signal);
    }
}

static bool stop_busy(const Warden *w)
{
    return w->program.pid != 0 || children_running_tasks(w) > 0;
}

static void stop_linger(Warden *w)
{
    const bool busy = stop_busy(w);
    if (w->client.fd < 0 && !busy) {
        w->finished = true;
    } else if (w->now >= w->stop_next) {
        w->stop = STOP_END;
        w->stop_next = w->now + ENDING_NS;
        stop_signal_rest(w, SIGTERM);
        w->finished = !busy;
    }
}

static void stop_end(Warden *w)
{
    if (stop_busy(w) && w->now < w->stop_next)
        return;
    stop_signal_rest(w, SIGKILL);
    w->finished = true;
}

void stop_step(Warden *w)
{
    const bool gone = !child_postmaster(w);
    if (w->stop != STOP_NO && w->stop < STOP_LINGER && gone) {
        w->stop = STOP_LINGER;
        w->stop_next = w->now + LINGER_NS;
    }
    switch (w->stop) {
    case STOP_NO:
        break;
    case STOP_HAND_OVER:
        if (w->now >= w->stop_next || stop_alone(w))
            stop_fast(w);
        break;
    case STOP_FAST:
        if (w->now >= w->stop_next) {
            w->stop = STOP_KILL;
            report("fast shutdown takes too long, killing");
            sweep_start(w, w->now + QUIT_NS);
        }
        break;
    case STOP_KILL:
        break;
    case STOP_LINGER:
        stop_linger(w);
        break;
    case STOP_END:
        stop_end(w);
        break;
    }
}

int64_t stop_next(const Warden *w)
{
    int64_t next = NEVER;
    if (w->stop != STOP_NO && w->stop != STOP_KILL)
        next = w->stop_next;
    if (w->stop == STOP_LINGER && w->client.fd < 0 && !stop_busy(w))
        next = w->now; // it left after our turn
    if (w->stop == STOP_HAND_OVER && w->client.fd < 0 && w->alone_since + ALONE_NS < next)
        next = w->alone_since + ALONE_NS;
    return next;
}
