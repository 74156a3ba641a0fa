// What carries over from one turn to the next: the ends of tasks, and how long things have been so.
#include "agent/core/rules.h"

#include "common/base/text.h"

// Patience after a failed task, so that a full disk or a sick source is not hammered.
static int64_t patience_ms(TaskKind kind, int failures)
{
    int64_t wait = 100;
    for (int i = 1; i < failures && wait < 10000; i++)
        wait *= 2;
    const bool heavy = kind == TASK_CLONE || kind == TASK_REWIND || kind == TASK_CRASH_RECOVERY;
    const int64_t most = heavy ? 10000 : 1000;
    return wait < most ? wait : most;
}

static void digest_success(Memory *m, const Facts *f, const TaskView *task)
{
    switch (task->kind) {
    case TASK_CHECK_DIVERGENCE:
        // Booked on the leader it was compared with: there may be another one by now.
        if (task->divergence == DIVERGENCE_FOUND)
            m->diverged_term = m->task_term;
        else if (task->divergence == DIVERGENCE_NONE)
            m->checked_term = m->task_term;
        else // undecided: the leader is not ready to be compared with yet
            m->task_retry_at = instant_plus_ms(f->now, 500);
        break;
    case TASK_REWIND:
        m->diverged_term = 0;
        m->rewind_failures = 0;
        m->rewound = true;
        m->checked_term = m->task_term;
        break;
    case TASK_CLONE:
        m->diverged_term = 0;
        m->rewind_failures = 0;
        m->reinit = m->reinit_from_leader = m->rewound = m->recovered = false;
        m->checked_term = m->task_term;
        break;
    case TASK_WIPE:
        m->diverged_term = 0;
        m->rewind_failures = 0;
        m->rewound = m->recovered = false;
        break;
    case TASK_CRASH_RECOVERY:
        m->recovered = true;
        break;
    case TASK_POST_BOOTSTRAP:
        m->post_bootstrap_done = true;
        break;
    case TASK_START_STANDBY: // a promote was for the postmaster before this one
    case TASK_STOP:
        m->promoted_term = 0;
        break;
    case TASK_INSPECT: // a missing mount is looked for once a second, not all the time
        if (f->server->dir == DIR_INACCESSIBLE || f->server->dir == DIR_UNKNOWN)
            m->task_retry_at = instant_plus_ms(f->now, 1000);
        break;
    case TASK_NONE:
    case TASK_BOOTSTRAP:
    case TASK_START_PRIMARY:
    case TASK_PROMOTE:
    case TASK_FOLLOW:
    case TASK_RELOAD:
    case TASK_CHECKPOINT:
    case TASK_COUNT:
        break;
    }
}

static void digest_failure(Memory *m, const TaskView *task)
{
    // A cluster that cannot even be started for the first time is given up, and its claim with it.
    if (m->bootstrapping && task->kind == TASK_START_PRIMARY && m->task_failures > 5)
        m->bootstrap_failed = true;
    if (task->kind == TASK_BOOTSTRAP || task->kind == TASK_POST_BOOTSTRAP)
        m->bootstrap_failed = true;
    // A source that went away in the middle is no proof against the rewind, and
    // another leader is another chance.
    if (task->kind == TASK_REWIND && !task->unchanged && !task->source_lost) {
        m->rewind_failures = m->rewind_failed_term == m->task_term ? m->rewind_failures + 1 : 1;
        m->rewind_failed_term = m->task_term;
    }
    if (task->kind == TASK_CRASH_RECOVERY)
        m->recovered = true; // once is enough: pg_rewind says what is wrong better than we could
    if (task->kind == TASK_PROMOTE)
        m->promoted_term = 0; // the request did not leave: ask again
    if (task->kind == TASK_STOP)
        m->restarting = false;
}

static void digest_task(Memory *m, const Facts *f)
{
    const TaskView *task = &f->server->task;
    if (task->running || task->kind == TASK_NONE || task->number == m->task_seen)
        return;
    m->task_seen = task->number;
    if (task->ok) {
        m->task_failures = 0;
        m->task_retry_at = (Instant){0};
        digest_success(m, f, task);
        return;
    }
    m->task_failures++;
    m->task_retry_at = instant_plus_ms(f->now, patience_ms(task->kind, m->task_failures));
    digest_failure(m, task);
}

Memory memory_digest(const Facts *f)
{
    Memory m = f->memory;
    const ServerView *s = f->server;
    digest_task(&m, f);

    if (!s->running || s->answered)
        m.silent_since = (Instant){0};
    else if (!instant_is_set(m.silent_since))
        m.silent_since = f->now;

    if (!is_standby(f) || s->streaming) {
        m.apart_since = (Instant){0};
        m.nudges = 0;
    } else if (!instant_is_set(m.apart_since)) {
        m.apart_since = f->now;
    }

    if (s->running || !s->remains)
        m.remains_since = (Instant){0};
    else if (!instant_is_set(m.remains_since))
        m.remains_since = f->now;

    if (s->running && s->answered) {
        if (s->task.kind != TASK_STOP)
            m.restarting = false;
        m.recovered = m.rewound = false;
        if (f->lease.held && (!s->in_recovery || f->lease.term != m.promoted_term))
            m.trying_to_start_since = (Instant){0};
    }
    if (f->lease.held) {
        m.released_at = (Instant){0};
        if (is_primary(f))
            m.primary_term = f->lease.term;
        else if (!instant_is_set(m.trying_to_start_since) && !m.bootstrapping && !is_standby(f))
            m.trying_to_start_since = f->now;
    } else {
        m.trying_to_start_since = (Instant){0};
        if (!f->lease.resuming) {
            m.bootstrapping = false;
            // A lease that is gone cannot be handed over; being told to stop stays true.
            if (m.handover != HANDOVER_SHUTDOWN)
                m.handover = HANDOVER_NONE;
        }
    }
    if (f->request.reinit) {
        m.reinit = true;
        m.reinit_from_leader = f->request.reinit_from_leader;
    }
    return m;
}
