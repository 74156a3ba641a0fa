#include "agent/core/slots_wanted.h"

#include "common/base/text.h"

#include <string.h>

typedef struct {
    const char *name;   // of the slot
    const char *member; // NULL: retained, its member is away
    Lsn lsn;            // as far as its user is known to be; LSN_NONE: not known
    bool in_use_here;   // its member streams from us, or should
} Wish;

typedef struct {
    Arena *arena;
    const SlotFacts *f;
    Wish *wishes;
    size_t wish_count;
    SlotStep *steps;
    SlotPlan plan;
} Planner;

static bool retains(const SlotFacts *f)
{
    return f->settings->postgresql.use_slots && f->settings->member_slots_ttl_ms > 0;
}

static const char *own_slot(Arena *arena, const SlotFacts *f)
{
    return slot_name_of(arena, f->settings->name);
}

// --- the leader's memory

static void see(RetainedSlots *kept, const char *name, bool member, bool of_use, Instant now)
{
    for (size_t i = 0; i < kept->count; i++) {
        if (!str_eq(kept->slots[i].name, name))
            continue;
        kept->slots[i].member = kept->slots[i].member || member;
        kept->slots[i].lost = kept->slots[i].lost && !of_use;
        if (of_use)
            kept->slots[i].seen_at = now;
        return;
    }
    if (kept->count == RETAINED_SLOTS_MAX || strlen(name) >= sizeof kept->slots[0].name)
        return; // what is not remembered is not dropped either
    (void)copy_text(kept->slots[kept->count].name, sizeof kept->slots[0].name, name);
    kept->slots[kept->count].member = member;
    kept->slots[kept->count++].seen_at = now;
}

static bool is_over(const SlotFacts *f, const RetainedSlots *kept, size_t i)
{
    return kept->slots[i].lost ||
           instant_ms_between(kept->slots[i].seen_at, f->now) >= f->settings->member_slots_ttl_ms;
}

static const SlotView *find_slot(const ServerView *server, const char *name)
{
    for (size_t i = 0; i < server->slot_count; i++)
        if (str_eq(server->slots[i].name, name))
            return &server->slots[i];
    return NULL;
}

static void forget(const SlotFacts *f, RetainedSlots *kept)
{
    size_t left = 0;
    for (size_t i = 0; i < kept->count; i++) {
        const SlotView *slot = find_slot(f->server, kept->slots[i].name);
        // Whoever is away has lost what it came back for.
        if (slot && slot->lost && instant_before(kept->slots[i].seen_at, f->now))
            kept->slots[i].lost = true;
        if (slot || !is_over(f, kept, i))
            kept->slots[left++] = kept->slots[i];
    }
    kept->count = left;
}

void slots_remember(Arena *arena, const SlotFacts *f, RetainedSlots *kept)
{
    const ClusterView *c = f->cluster;
    if (f->term == 0 || !f->server->slots_known)
        return;
    if (kept->term != f->term) {
        *kept = (RetainedSlots){.term = f->term};
        for (size_t i = 0; i < c->retain_slots.count; i++)
            see(kept, c->retain_slots.items[i], true, true, f->now);
    }
    see(kept, own_slot(arena, f), true, true, f->now); // our own key may have gone for a moment
    for (size_t i = 0; i < c->member_count; i++)
        if (!c->members[i].tags.nostream)
            see(kept, slot_name_of(arena, c->members[i].name), true, true, f->now);
    for (size_t i = 0; i < f->server->slot_count; i++) {
        const SlotView *slot = &f->server->slots[i];
        if (slot->physical && !slot->temporary)
            see(kept, slot->name, false, slot->active, f->now);
    }
    forget(f, kept);
}

static void sort_names(StringList *names) // libc's may allocate
{
    for (size_t i = 1; i < names->count; i++)
        for (size_t k = i; k > 0 && strcmp(names->items[k - 1], names->items[k]) > 0; k--) {
            const char *other = names->items[k];
            names->items[k] = names->items[k - 1];
            names->items[k - 1] = other;
        }
}

StringList slots_retained(Arena *arena, const SlotFacts *f, const RetainedSlots *kept)
{
    StringList names = {0};
    for (size_t i = 0; retains(f) && i < kept->count; i++)
        if (kept->slots[i].member && !is_over(f, kept, i))
            string_list_add(&names, arena, arena_strdup(arena, kept->slots[i].name));
    sort_names(&names);
    return names;
}

const Tree *slots_published(Arena *arena, const SlotFacts *f)
{
    Tree *map = tree_map(arena);
    if (!retains(f) || !f->server->slots_known)
        return map;
    for (size_t i = 0; i < f->server->slot_count; i++) {
        const SlotView *slot = &f->server->slots[i];
        if (slot->physical && !slot->temporary && slot->restart_lsn != LSN_NONE)
            tree_set(arena, map, slot->name, tree_int(arena, (int64_t)slot->restart_lsn));
    }
    tree_set(arena, map, own_slot(arena, f), tree_int(arena, (int64_t)f->server->flush_lsn));
    return map;
}

// --- what is wanted

// Before 4.0 Patroni did not publish members' slots.
static bool leader_publishes(const ClusterView *c)
{
    const MemberView *leader = cluster_leader_member(c);
    if (!leader || leader->howdah)
        return true;
    int major = 0;
    for (const char *v = str_or(leader->version, ""); *v >= '0' && *v <= '9' && major < 1000; v++)
        major = major * 10 + (*v - '0');
    return major >= 4;
}

static Lsn status_lsn(const ClusterView *c, const char *name)
{
    const int64_t lsn = tree_get_int(c->slots, name, 0);
    return lsn > 0 ? (Lsn)lsn : LSN_NONE;
}

static Lsn member_lsn(const ClusterView *c, const MemberView *m, const char *slot)
{
    const Lsn lsn = status_lsn(c, slot);
    // Its slot on the leader does not move while it streams from somebody else: its own word does.
    const bool by_its_word = m->tags.replicatefrom || !leader_publishes(c);
    return by_its_word && m->xlog_location > lsn ? m->xlog_location : lsn;
}

static bool streams_from_us(const SlotFacts *f, const MemberView *m)
{
    const char *from = m->tags.replicatefrom;
    if (f->term != 0)
        return !from || str_ieq(from, f->settings->name) || !cluster_member(f->cluster, from);
    return str_ieq(from, f->settings->name) && !str_ieq(m->name, f->cluster->leader.name);
}

static const Wish *find_wish(const Planner *p, const char *name)
{
    for (size_t i = 0; i < p->wish_count; i++)
        if (str_eq(p->wishes[i].name, name))
            return &p->wishes[i];
    return NULL;
}

static void wish_for(Planner *p, const Wish *wish)
{
    for (size_t i = 0; i < p->wish_count; i++) {
        Wish *other = &p->wishes[i];
        if (!str_eq(other->name, wish->name))
            continue;
        if (wish->member && other->member) { // one slot for two: kept where both can do with it
            p->plan.clash = other->member;
            p->plan.clash_with = wish->member;
            other->lsn = other->lsn < wish->lsn ? other->lsn : wish->lsn;
            other->in_use_here = other->in_use_here || wish->in_use_here;
        }
        return;
    }
    p->wishes[p->wish_count++] = *wish;
}

static void wish_for_members(Planner *p)
{
    const SlotFacts *f = p->f;
    const ClusterView *c = f->cluster;
    const char *own = own_slot(p->arena, f);
    for (size_t i = 0; f->settings->postgresql.use_slots && i < c->member_count; i++) {
        const MemberView *m = &c->members[i];
        if (str_ieq(m->name, f->settings->name) || m->tags.nostream)
            continue;
        const bool in_use = streams_from_us(f, m);
        // Who cannot become the leader needs those of its own cascade only.
        const bool cascade = str_ieq(m->tags.replicatefrom, f->settings->name);
        const bool ahead = retains(f) && (f->term != 0 || !f->settings->tags.nofailover || cascade);
        if (!ahead && !(in_use && !retains(f)))
            continue;
        const char *slot = slot_name_of(p->arena, m->name);
        if (str_eq(slot, own)) {
            p->plan.clash = f->settings->name;
            p->plan.clash_with = m->name;
        }
        wish_for(p, &(Wish){.name = slot,
                            .member = m->name,
                            .lsn = member_lsn(c, m, slot),
                            .in_use_here = in_use});
    }
}

static void wish_for_retained(Planner *p, const RetainedSlots *kept)
{
    const SlotFacts *f = p->f;
    const char *own = own_slot(p->arena, f);
    if (!retains(f) || (f->term == 0 && f->settings->tags.nofailover))
        return;
    StringList names = f->cluster->retain_slots;
    if (f->term != 0)
        names = slots_retained(p->arena, f, kept);
    for (size_t i = 0; i < names.count; i++)
        if (!str_eq(names.items[i], own))
            wish_for(p, &(Wish){.name = names.items[i],
                                .lsn = f->term != 0 ? LSN_NONE
                                                    : status_lsn(f->cluster, names.items[i])});
}

// --- what is there, and what is to be done with it

// Patroni: an entry matches when every field it has is equal; {} matches all.
static bool ignored_by(const Tree *entry, const char *slot)
{
    const char *name = tree_get_string(entry, "name", NULL);
    const char *type = tree_get_string(entry, "type", NULL);
    return (name == NULL || str_eq(name, slot)) && (type == NULL || str_eq(type, "physical")) &&
           tree_get(entry, "database") == NULL && tree_get(entry, "plugin") == NULL;
}

// By ignore_slots, or because somebody has named it a permanent one.
static bool is_left_alone(const SlotFacts *f, const char *slot)
{
    static const char *const permanent[] = {"slots", "permanent_slots",
                                            "permanent_replication_slots"};
    const Tree *dynamic = f->settings->dynamic;
    for (size_t i = 0; i < COUNT_OF(permanent); i++)
        if (tree_get(tree_get(dynamic, permanent[i]), slot) != NULL)
            return true;
    const Tree *list = tree_get(dynamic, "ignore_slots");
    for (size_t i = 0; list != NULL && list->kind == TREE_LIST && i < list->count; i++)
        if (ignored_by(list->entries[i].value, slot))
            return true;
    return false;
}

static bool is_members(const Planner *p, const char *slot)
{
    const ClusterView *c = p->f->cluster;
    for (size_t i = 0; i < c->member_count; i++)
        if (str_eq(slot_name_of(p->arena, c->members[i].name), slot))
            return true;
    for (size_t i = 0; i < c->retain_slots.count; i++)
        if (str_eq(c->retain_slots.items[i], slot))
            return true;
    return false;
}

static bool is_outlived(const SlotFacts *f, const RetainedSlots *kept, const char *slot)
{
    if (f->settings->member_slots_ttl_ms <= 0)
        return true;
    for (size_t i = 0; i < kept->count; i++)
        if (str_eq(kept->slots[i].name, slot))
            return is_over(f, kept, i);
    return false;
}

// Nobody wants it. Dropping cannot be undone, so it takes somebody who knows: the leader after
// member_slots_ttl, a standby while there is a leader.
static bool may_drop(const Planner *p, const RetainedSlots *kept, const char *slot)
{
    const SlotFacts *f = p->f;
    if (f->settings->pause || is_left_alone(f, slot))
        return false;
    if (!f->settings->postgresql.use_slots) // nobody's but the members' are ours to clear away
        return is_members(p, slot);
    if (f->term == 0 || str_eq(slot, own_slot(p->arena, f)))
        return true;
    return is_outlived(f, kept, slot);
}

static Lsn least(Lsn a, Lsn b)
{
    return a < b ? a : b;
}

static void step(Planner *p, SlotAction action, const char *name, Lsn lsn)
{
    p->steps[p->plan.count++] = (SlotStep){.action = action, .name = name, .lsn = lsn};
}

static void plan_existing(Planner *p, const RetainedSlots *kept, const SlotView *slot)
{
    const ServerView *s = p->f->server;
    const Wish *wish = find_wish(p, slot->name);
    if (!slot->physical || slot->temporary || slot->active)
        return;
    if (wish == NULL) {
        if (may_drop(p, kept, slot->name))
            step(p, SLOT_DROP, slot->name, LSN_NONE);
        return;
    }
    // An xmin that nobody moves any more holds back vacuum for ever, in the whole cluster; a slot
    // without a position cannot be moved; a lost one can serve nobody. Of an absent member the
    // position is worth more than its xmin costs until its time is over.
    const bool stale_xmin = slot->has_xmin && wish->member && !wish->in_use_here;
    if (slot->lost || slot->restart_lsn == LSN_NONE || stale_xmin) {
        if (!is_left_alone(p->f, slot->name))
            step(p, SLOT_RENEW, slot->name, LSN_NONE);
        return;
    }
    // Never past what this server has itself.
    const Lsn to = least(wish->lsn, s->in_recovery ? s->replay_lsn : s->flush_lsn);
    if (!wish->in_use_here && !slot->has_xmin && to > slot->restart_lsn)
        step(p, SLOT_ADVANCE, slot->name, to);
}

SlotPlan slots_wanted(Arena *arena, const SlotFacts *f, const RetainedSlots *kept)
{
    const ServerView *s = f->server;
    const ClusterView *c = f->cluster;
    Planner p = {.arena = arena, .f = f};
    // A primary without the leader key is about to stop or being found out about.
    if (!s->answered || !s->slots_known || (f->term == 0 && !s->in_recovery))
        return p.plan;
    const size_t room = c->member_count + c->retain_slots.count + kept->count;
    p.wishes = ARENA_ARRAY(arena, Wish, room);
    p.steps = ARENA_ARRAY(arena, SlotStep, room + s->slot_count);
    wish_for_members(&p);
    wish_for_retained(&p, kept);
    // Between the key and the promotion slots are made and none is taken away: whoever had one
    // needs it in a moment. Without another leader nothing is known for sure.
    const bool followed = c->leader.name && !str_ieq(c->leader.name, f->settings->name);
    const bool settled = f->term != 0 ? !s->in_recovery : followed;
    for (size_t i = 0; settled && i < s->slot_count; i++)
        plan_existing(&p, kept, &s->slots[i]);
    for (size_t i = 0; i < p.wish_count; i++)
        if (find_slot(s, p.wishes[i].name) == NULL && !str_empty(p.wishes[i].name))
            step(&p, SLOT_CREATE, p.wishes[i].name, LSN_NONE);
    p.plan.steps = p.steps;
    return p.plan;
}
