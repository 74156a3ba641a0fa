#include "common/model/snapshot.h"

#include <stdlib.h>
#include <string.h>

Snapshot *snapshot_new(void)
{
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Snapshot *snapshot = ARENA_NEW(arena, Snapshot);
    snapshot->arena = arena;
    snapshot->refs = 1;
    return snapshot;
}

Snapshot *snapshot_ref(Snapshot *snapshot)
{
    if (snapshot != NULL)
        (void)__atomic_add_fetch(&snapshot->refs, 1, __ATOMIC_RELAXED); // nobody needs the count
    return snapshot;
}

void snapshot_unref(Snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    const int left = __atomic_sub_fetch(&snapshot->refs, 1, __ATOMIC_ACQ_REL);
    ASSERT(left >= 0);
    if (left == 0)
        arena_free(snapshot->arena); // which holds the snapshot itself
}

void snapshot_release(Snapshot **snapshot)
{
    snapshot_unref(*snapshot);
    *snapshot = NULL;
}

static const WalSenderView *copy_senders(Arena *arena, const ServerView *from)
{
    WalSenderView *senders = ARENA_ARRAY(arena, WalSenderView, from->sender_count);
    for (size_t i = 0; i < from->sender_count; i++) {
        WalSenderView *s = &senders[i];
        *s = from->senders[i];
        s->application_name = arena_strdup(arena, s->application_name);
        s->client_addr = arena_strdup(arena, s->client_addr);
        s->state = arena_strdup(arena, s->state);
        s->sync_state = arena_strdup(arena, s->sync_state);
        s->usename = arena_strdup(arena, s->usename);
    }
    return senders;
}

static const SlotView *copy_slots(Arena *arena, const ServerView *from)
{
    SlotView *slots = ARENA_ARRAY(arena, SlotView, from->slot_count);
    for (size_t i = 0; i < from->slot_count; i++) {
        slots[i] = from->slots[i];
        slots[i].name = arena_strdup(arena, slots[i].name);
    }
    return slots;
}

void server_view_copy(Arena *arena, const ServerView *from, ServerView *to)
{
    ServerView copy = *from;
    copy.receiver_host = arena_strdup(arena, from->receiver_host);
    copy.postmaster_start_text = arena_strdup(arena, from->postmaster_start_text);
    copy.replayed_text = arena_strdup(arena, from->replayed_text);
    copy.upstream = arena_strdup(arena, from->upstream);
    copy.upstream_host = arena_strdup(arena, from->upstream_host);
    copy.task.phase = arena_strdup(arena, from->task.phase);
    copy.senders = copy_senders(arena, from);
    copy.slots = copy_slots(arena, from);

    TimelineSwitch *parents = ARENA_ARRAY(arena, TimelineSwitch, from->history.parent_count);
    if (from->history.parent_count > 0)
        memcpy(parents, from->history.parents, from->history.parent_count * sizeof *parents);
    copy.history.parents = parents;

    if (from->pending_restart_reason != NULL)
        copy.pending_restart_reason = tree_copy(arena, from->pending_restart_reason);
    *to = copy;
}
