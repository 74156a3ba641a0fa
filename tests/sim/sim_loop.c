// Time: a heap of events, actors that may be frozen, and the hosts' clocks.
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>

// --- the heap

static bool earlier(const Event *a, const Event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void swap(Event *a, Event *b)
{
    const Event kept = *a;
    *a = *b;
    *b = kept;
}

static void push(Sim *sim, Event event)
{
    if (sim->queue_count == sim->queue_capacity) {
        sim->queue_capacity = sim->queue_capacity ? 2 * sim->queue_capacity : 256;
        sim->queue = realloc(sim->queue, sim->queue_capacity * sizeof *sim->queue);
        ASSERT(sim->queue);
    }
    size_t i = sim->queue_count++;
    sim->queue[i] = event;
    for (; i > 0 && earlier(&sim->queue[i], &sim->queue[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&sim->queue[i], &sim->queue[(i - 1) / 2]);
}

static Event pop(Sim *sim)
{
    const Event first = sim->queue[0];
    sim->queue[0] = sim->queue[--sim->queue_count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < sim->queue_count && earlier(&sim->queue[child], &sim->queue[least]))
                least = child;
        if (least == i)
            return first;
        swap(&sim->queue[i], &sim->queue[least]);
        i = least;
    }
}

void sim_at(Sim *sim, int64_t at, Actor *actor, EventFn *fn, void *context, uint64_t argument)
{
    push(sim, (Event){.at = at < sim->now ? sim->now : at,
                      .order = sim->orders++,
                      .fn = fn,
                      .context = context,
                      .argument = argument,
                      .actor = actor});
}

void sim_in(Sim *sim, int64_t delay, Actor *actor, EventFn *fn, void *context, uint64_t argument)
{
    sim_at(sim, sim->now + (delay > 0 ? delay : 0), actor, fn, context, argument);
}

// --- actors

static Actor *who_is_frozen(Actor *actor)
{
    for (; actor; actor = actor->parent)
        if (actor->frozen)
            return actor;
    return NULL;
}

bool actor_frozen(const Actor *actor)
{
    for (; actor; actor = actor->parent)
        if (actor->frozen)
            return true;
    return false;
}

void actor_freeze(Actor *actor)
{
    actor->frozen = true;
}

static void defer(Actor *actor, Event event)
{
    if (actor->waiting_count == actor->waiting_capacity) {
        actor->waiting_capacity = actor->waiting_capacity ? 2 * actor->waiting_capacity : 16;
        actor->waiting = realloc(actor->waiting, actor->waiting_capacity * sizeof *actor->waiting);
        ASSERT(actor->waiting);
    }
    actor->waiting[actor->waiting_count++] = event;
}

// What waited happens now, in its order, a moment apart.
void actor_thaw(Sim *sim, Actor *actor)
{
    actor->frozen = false;
    Event *waiting = actor->waiting;
    const size_t count = actor->waiting_count;
    actor->waiting = NULL;
    actor->waiting_count = actor->waiting_capacity = 0;
    int64_t at = sim->now;
    for (size_t i = 0; i < count; i++) {
        at += roll(sim, 0, 50 * 1000);
        sim_at(sim, at, waiting[i].actor, waiting[i].fn, waiting[i].context, waiting[i].argument);
    }
    free(waiting);
}

void actor_forget(Actor *actor)
{
    free(actor->waiting);
    *actor = (Actor){.parent = actor->parent};
}

bool sim_step(Sim *sim, int64_t until)
{
    if (sim->queue_count == 0 || sim->queue[0].at > until) {
        sim->now = until;
        return false;
    }
    const Event event = pop(sim);
    sim->now = event.at;
    Actor *frozen = who_is_frozen(event.actor);
    if (frozen)
        defer(frozen, event);
    else
        event.fn(sim, event.context, event.argument);
    return true;
}

void loop_done(Sim *sim)
{
    free(sim->queue);
    free(sim->ring);
}

// --- dice

int64_t roll(Sim *sim, int64_t from, int64_t to)
{
    ASSERT(from <= to);
    return from + (int64_t)rng_below(&sim->rng, (uint64_t)(to - from) + 1);
}

bool chance(Sim *sim, int permille)
{
    return permille > 0 && roll(sim, 0, 999) < permille;
}

// --- clocks

Instant host_now(const Member *m)
{
    const int64_t t = m->sim->now;
    return (Instant){m->boot_offset + t + t / 1000000 * m->rate_ppm};
}

int64_t host_wall_us(const Member *m)
{
    return (m->sim->now + m->wall_offset) / 1000 + INT64_C(1700000000000000);
}

int64_t host_to_true(const Member *m, Instant at)
{
    const int64_t span = at.ns - m->boot_offset;
    int64_t t = span - span / (1000000 + m->rate_ppm) * m->rate_ppm;
    // The division above is off by less than a microsecond; late by one is right for a deadline.
    for (t -= 2000; m->boot_offset + t + t / 1000000 * m->rate_ppm < at.ns;)
        t += 500;
    return t;
}

// --- the trace

enum { RING = 600 };

void trace(Sim *sim, const char *fmt, ...)
{
    if (!sim->ring) {
        sim->ring = calloc(RING, sizeof *sim->ring);
        ASSERT(sim->ring);
    }
    char *line = sim->ring[sim->ring_next];
    const int64_t ms = (sim->now - sim->began) / MS(1);
    const int head = snprintf(line, sizeof *sim->ring, "%6lld.%03lld ", (long long)(ms / 1000),
                              (long long)(ms % 1000));
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line + head, sizeof *sim->ring - (size_t)head, fmt, args); // cut is fine
    va_end(args);
    if (sim->options.trace)
        fprintf(stderr, "%s\n", line);
    sim->ring_next = (sim->ring_next + 1) % RING;
    if (sim->ring_count < RING)
        sim->ring_count++;
}

void trace_dump(const Sim *sim)
{
    for (size_t i = 0; i < sim->ring_count && !sim->options.trace; i++)
        fprintf(stderr, "%s\n", sim->ring[(sim->ring_next + RING - sim->ring_count + i) % RING]);
}
