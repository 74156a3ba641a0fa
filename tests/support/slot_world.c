#include "tests/support/slot_world.h"

SlotView *add_slot(SlotWorld *w, const char *name, Lsn restart)
{
    SlotView *slot = &w->slots[w->server.slot_count++];
    *slot = (SlotView){.name = name, .physical = true, .restart_lsn = restart};
    return slot;
}

void publish(SlotWorld *w, const char *slot, int64_t lsn)
{
    tree_set(w->arena, w->status, slot, tree_int(w->arena, lsn));
}

void standby(SlotWorld *w)
{
    Arena *arena = w->arena;
    *w = (SlotWorld){.arena = arena};
    w->settings = (Settings){.name = "a",
                             .member_slots_ttl_ms = 1800000,
                             .dynamic = tree_map(arena),
                             .postgresql = {.use_slots = true}};
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        w->members[i] =
            (MemberView){.name = names[i], .howdah = "1", .version = "4.1.4", .xlog_location = 900};
    w->status = tree_map(arena);
    w->cluster = (ClusterView){
        .leader = {.name = "b"}, .members = w->members, .member_count = 3, .slots = w->status};
    string_list_add(&w->cluster.retain_slots, arena, "a");
    string_list_add(&w->cluster.retain_slots, arena, "b");
    string_list_add(&w->cluster.retain_slots, arena, "c");
    publish(w, "a", 500);
    publish(w, "b", 600);
    publish(w, "c", 500);
    w->server = (ServerView){.answered = true,
                             .in_recovery = true,
                             .replay_lsn = 1000,
                             .slots = w->slots,
                             .slots_known = true};
    (void)add_slot(w, "b", 600);
    (void)add_slot(w, "c", 500);
    w->f = (SlotFacts){
        .now = {S(5000)}, .settings = &w->settings, .cluster = &w->cluster, .server = &w->server};
}

void leader(SlotWorld *w)
{
    standby(w);
    w->f.term = 7;
    w->cluster.leader.name = "a";
    w->server.in_recovery = false;
    w->server.replay_lsn = LSN_NONE;
    w->server.flush_lsn = 1000;
    w->slots[0].active = w->slots[1].active = true;
}

static const char *steps_text(Arena *arena, const SlotPlan *plan)
{
    Text text = text_new(arena);
    for (size_t i = 0; i < plan->count; i++) {
        const SlotStep *s = &plan->steps[i];
        const char *sign = s->action == SLOT_CREATE  ? "+"
                           : s->action == SLOT_DROP  ? "-"
                           : s->action == SLOT_RENEW ? "~"
                                                     : "";
        text_addf(&text, "%s%s%s", i > 0 ? " " : "", sign, s->name);
        if (s->action == SLOT_ADVANCE)
            text_addf(&text, ">%llu", (unsigned long long)s->lsn);
    }
    return text.data;
}

const char *plan_text(SlotWorld *w)
{
    slots_remember(w->arena, &w->f, &w->kept);
    const SlotPlan plan = slots_wanted(w->arena, &w->f, &w->kept);
    return steps_text(w->arena, &plan);
}
