#include "common/model/cluster.h"

#include "common/model/tree_build.h"

#include <inttypes.h>
#include <string.h>

const MemberView *cluster_member(const ClusterView *view, const char *name)
{
    if (name == NULL)
        return NULL;
    for (size_t i = 0; i < view->member_count; i++)
        if (str_ieq(view->members[i].name, name))
            return &view->members[i];
    return NULL;
}

const MemberView *cluster_leader_member(const ClusterView *view)
{
    return cluster_member(view, view->leader.name);
}

bool cluster_is_all_howdah(const ClusterView *view)
{
    for (size_t i = 0; i < view->member_count; i++) {
        const MemberView *member = &view->members[i];
        const bool silent = member->data != NULL && member->data->count == 0;
        if (member->howdah == NULL && !silent)
            return false;
    }
    return true;
}

uint32_t cluster_timeline(const ClusterView *view)
{
    if (!view->history_known)
        return 0;
    if (view->history_count == 0)
        return 1;
    const uint32_t last = view->history[view->history_count - 1].timeline;
    return last == UINT32_MAX ? 0 : last + 1;
}

// Lines out of order would make a history that PostgreSQL never wrote: then it is not known.
TimelineHistory cluster_history(Arena *arena, const ClusterView *view)
{
    const uint32_t timeline = cluster_timeline(view);
    if (timeline == 0)
        return (TimelineHistory){0};
    TimelineSwitch *parents = ARENA_ARRAY(arena, TimelineSwitch, view->history_count);
    for (size_t i = 0; i < view->history_count; i++) {
        const HistoryLine *line = &view->history[i];
        if (line->timeline == 0 || (i > 0 && line->timeline <= parents[i - 1].timeline))
            return (TimelineHistory){0};
        parents[i] = (TimelineSwitch){.timeline = line->timeline, .switch_lsn = line->lsn};
    }
    return (TimelineHistory){
        .timeline = timeline, .parents = parents, .parent_count = view->history_count};
}

// The record was written by the transaction that created the leader key, or names that
// transaction's revision as its term (rewritten since, to confirm its timeline).
bool term_record_valid(const TermRecord *record, const LeaderView *leader)
{
    if (!record->present || leader->name == NULL || !str_eq(record->holder, leader->name))
        return false;
    return record->mod_revision == leader->create_revision ||
           record->term == leader->create_revision;
}

bool initialize_is_valid(const char *initialize)
{
    enum { FEWEST_DIGITS = 10 };
    if (initialize == NULL)
        return false;
    const size_t digits = strspn(initialize, "0123456789");
    return digits >= FEWEST_DIGITS && initialize[digits] == '\0';
}

// Where Patroni's str.lower() meets a name beyond ASCII; these scripts cover what hosts are called.
static uint32_t lower(uint32_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c + 32;
    if (c >= 0xC0 && c <= 0xDE && c != 0xD7) // Latin-1
        return c + 32;
    if ((c >= 0x391 && c <= 0x3A9 && c != 0x3A2) || (c >= 0x410 && c <= 0x42F)) // Greek, Cyrillic
        return c + 32;
    return c >= 0x400 && c <= 0x40F ? c + 80 : c;
}

const char *slot_name_of(Arena *arena, const char *member)
{
    enum { SLOT_NAME_MAX = 63 };
    Text name = text_new(arena);
    while (*member != '\0') {
        const uint32_t c = lower(tree_take_code_point(&member));
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')
            text_add_char(&name, (char)c);
        else if (c == '-' || c == '.')
            text_add_char(&name, '_');
        else
            text_addf(&name, "u%04" PRIu32, c);
    }
    if (name.length > SLOT_NAME_MAX)
        name.data[SLOT_NAME_MAX] = '\0';
    return name.data;
}
