#include "agent/positions.h"

#include "common/base/text.h"
#include "common/os/thread.h"

#include <stdlib.h>

#define ASK_MS          1000
#define LEAST_PERIOD_MS 500

typedef struct {
    const char *name;
    WalPositions at;
    Instant told_at;
} Known;

typedef struct {
    Arena *arena;
    Known *items;
    size_t count;
} KnownList;

struct Positions {
    Clock *clock;
    Peers *peers; // the thread's
    pthread_t thread;
    pthread_mutex_t lock; // of what follows
    pthread_cond_t changed;
    bool stop;
    int64_t period_ms;
    Arena *targets_arena;
    PeerTarget *targets;
    size_t target_count;
    KnownList known;
};

static const Known *find(const KnownList *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_ieq(list->items[i].name, name))
            return &list->items[i];
    return NULL;
}

static bool same_targets(const Positions *p, const PeerTarget *targets, size_t count)
{
    if (p->target_count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!str_eq(p->targets[i].name, targets[i].name) ||
            !str_eq(p->targets[i].api_url, targets[i].api_url))
            return false;
    return true;
}

static PeerTarget *copy_targets(Arena *arena, const PeerTarget *from, size_t count)
{
    PeerTarget *targets = ARENA_ARRAY(arena, PeerTarget, count);
    for (size_t i = 0; i < count; i++)
        targets[i] =
            (PeerTarget){arena_strdup(arena, from[i].name), arena_strdup(arena, from[i].api_url)};
    return targets;
}

static bool is_told_by(const MemberView *m, const char *self)
{
    return m->howdah && m->api_url && !str_ieq(m->name, self);
}

void positions_follow(Positions *p, const ClusterView *view, const char *self, int64_t period_ms)
{
    AUTO(arena_release) Arena *scratch = arena_new(ARENA_CAP_DEFAULT);
    PeerTarget *targets = ARENA_ARRAY(scratch, PeerTarget, view->member_count);
    size_t count = 0;
    for (size_t i = 0; i < view->member_count; i++)
        if (is_told_by(&view->members[i], self))
            targets[count++] = (PeerTarget){view->members[i].name, view->members[i].api_url};
    pthread_mutex_lock(&p->lock);
    p->period_ms = period_ms > LEAST_PERIOD_MS ? period_ms : LEAST_PERIOD_MS;
    if (!same_targets(p, targets, count)) {
        arena_reset(p->targets_arena);
        p->targets = copy_targets(p->targets_arena, targets, count);
        p->target_count = count;
        pthread_cond_signal(&p->changed); // somebody new is asked at once
    }
    pthread_mutex_unlock(&p->lock);
}

void positions_apply(Positions *p, Arena *arena, const char *self, ClusterView *view)
{
    MemberView *members = ARENA_ARRAY(arena, MemberView, view->member_count);
    const Instant now = clock_now(p->clock);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < view->member_count; i++) {
        members[i] = view->members[i];
        if (!is_told_by(&members[i], self))
            continue;
        const Known *known = find(&p->known, members[i].name);
        const WalPositions none = {0};
        const bool fresh =
            known && instant_ms_between(known->told_at, now) <= 3 * p->period_ms + ASK_MS;
        member_set_positions(&members[i], fresh ? &known->at : &none);
    }
    pthread_mutex_unlock(&p->lock);
    view->members = members;
}

// Who has not answered keeps what it said before, with its age. Under the lock.
static void keep_answers(Positions *p, const PeerAnswer *answers, size_t count, Instant now)
{
    KnownList next = {.arena = arena_new(ARENA_CAP_DEFAULT)};
    next.items = ARENA_ARRAY(next.arena, Known, count);
    for (size_t i = 0; i < count; i++) {
        const Known *before = find(&p->known, answers[i].name);
        Known known = {.name = arena_strdup(next.arena, answers[i].name)};
        if (answers[i].reachable)
            known.at = answers[i].positions;
        else if (before)
            known.at = before->at;
        else
            continue;
        known.told_at = answers[i].reachable ? now : before->told_at;
        next.items[next.count++] = known;
    }
    arena_free(p->known.arena);
    p->known = next;
}

static void *run(void *context)
{
    Positions *p = context;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        arena_reset(arena);
        const size_t count = p->target_count;
        const PeerTarget *targets = copy_targets(arena, p->targets, count);
        PeerAnswer *answers = ARENA_ARRAY(arena, PeerAnswer, count);
        pthread_mutex_unlock(&p->lock);
        if (count > 0)
            p->peers->ops->ask(p->peers, arena, targets, count, deadline_in(p->clock, ASK_MS),
                               answers);
        pthread_mutex_lock(&p->lock);
        keep_answers(p, answers, count, clock_now(p->clock));
        if (!p->stop)
            (void)cond_wait_ms(&p->changed, &p->lock, p->period_ms);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

Positions *positions_new(Clock *clock, Peers *peers)
{
    enum { FIRST_PERIOD_MS = 10000 };
    Positions *p = calloc(1, sizeof *p);
    ASSERT(p); // out of memory
    p->clock = clock;
    p->peers = peers;
    p->period_ms = FIRST_PERIOD_MS;
    p->targets_arena = arena_new(ARENA_CAP_DEFAULT);
    pthread_mutex_init(&p->lock, NULL);
    cond_init(&p->changed);
    const int failed = thread_start(&p->thread, THREAD_STACK_SMALL, run, p);
    ASSERT(failed == 0); // out of threads at the start
    return p;
}

void positions_free(Positions *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL); // at most as long as an answer may take
    p->peers->ops->free(p->peers);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    arena_free(p->targets_arena);
    arena_free(p->known.arena);
    free(p);
}
