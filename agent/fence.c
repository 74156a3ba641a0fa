// The fence, as the agent keeps it: armed and moved by what the lease has been proven to be, and
// its note, by which the next agent goes on: docs/architecture.md, "The lease and the fence".
#include "agent/state.h"

#include "common/base/text.h"
#include "common/os/log.h"

#include <stdio.h>
#include <string.h>

// Before the proof's end, by the margin of the ttl that it was had with: a longer ttl wants more,
// and has not given it yet.
static Instant before_end(const Agent *agent, int64_t part)
{
    const LeaseProof *proof = &agent->lease.proof;
    const int64_t margin_ms = settings_fence(settings_of(agent), proof->ttl_ms).margin_ms;
    return instant_plus_ms(lease_capped(agent, *proof).valid_until, -margin_ms / part);
}

Instant fence_quit_at(const Agent *agent)
{
    return before_end(agent, 1);
}

bool lease_fence(Agent *agent, bool writer, Error *err)
{
    const Lease *lease = &agent->lease;
    char note[FENCE_NOTE_SIZE];
    (void)snprintf(note, sizeof note, "session=%s term=%lld writer=%d instance=%s", lease->session,
                   (long long)lease->term, writer ? 1 : 0, agent->instance);
    const Instant quit_at = fence_quit_at(agent), kill_at = before_end(agent, 2);
    Processes *p = agent->world.processes;
    if (!p->ops->fence(p, quit_at, kill_at, note, deadline_in(agent->world.clock, 500), err))
        return error_wrap(err, "arm the fence");
    agent->fence_writer = writer;
    p->ops->view(p, &agent->warden);
    return true;
}

// One that has struck stands: what it told to die may be stuck in the kernel, and must not be taken
// for alive again.
bool fence_may_move(const Agent *agent)
{
    const WardenView *w = &agent->warden;
    return w->connected && w->fence_armed && instant_before(now_of(agent), w->quit_at);
}

static const char *note_value(Arena *arena, const char *note, const char *key)
{
    const char *at = strstr(note, key);
    if (!at)
        return "";
    at += strlen(key);
    return arena_strndup(arena, at, strcspn(at, " "));
}

void lease_attach(Agent *agent)
{
    const WardenView *w = &agent->warden;
    Lease *lease = &agent->lease;
    Arena *arena = agent->turn_arena;
    agent->fence_writer = w->fence_armed && str_eq(note_value(arena, w->note, "writer="), "1");
    if (!w->fence_armed || lease->held)
        return;
    int64_t term = 0;
    const char *session = note_value(arena, w->note, "session=");
    if (!parse_int64(note_value(arena, w->note, "term="), &term) || str_empty(session) ||
        !str_eq(note_value(arena, w->note, "instance="), agent->instance) ||
        term == lease->abandoned_term)
        return;
    log_info("found the fence of our predecessor armed session=%s term=%lld", session,
             (long long)term);
    (void)copy_text(lease->session, sizeof lease->session, session);
    lease->session_valid_until = (Instant){0}; // to be opened again, by its id
    lease->session_retry_at = (Instant){0};
    lease->term = term;
    lease->resuming = true;
}

// Where the warden was not there, or did not answer, when the lease was renewed.
void fence_catch_up(Agent *agent)
{
    const Lease *lease = &agent->lease;
    const WardenView *w = &agent->warden;
    Error err = {0};
    if (lease->held && fence_may_move(agent) && instant_before(w->quit_at, fence_quit_at(agent)) &&
        !lease_fence(agent, agent->fence_writer, &err))
        log_warn("fence not moved error='%s'", err.text);
}

// A lowered ttl binds us at once, whatever the store still grants.
LeaseProof lease_capped(const Agent *agent, LeaseProof proof)
{
    const int64_t ttl_ms = settings_of(agent)->ttl_ms;
    proof.ttl_ms = proof.ttl_ms < ttl_ms ? proof.ttl_ms : ttl_ms;
    proof.valid_until = instant_min(proof.valid_until, instant_plus_ms(proof.sent_at, ttl_ms));
    return proof;
}
