// The other values as Patroni writes them. Compact JSON, keys in its order.
#include "dcs/records_internal.h"

#include <stdlib.h>
#include <string.h>

static Tree *lsn_node(Arena *arena, Lsn lsn)
{
    return tree_int(arena, (int64_t)lsn);
}

char *records_status(Arena *arena, Lsn optime, const Tree *slots, const StringList *retain_slots)
{
    Tree *map = tree_map(arena);
    tree_set(arena, map, "optime", lsn_node(arena, optime));
    if (slots != NULL && slots->count > 0)
        tree_set(arena, map, "slots", slots);
    if (retain_slots != NULL && retain_slots->count > 0) {
        Tree *names = tree_list(arena);
        for (size_t i = 0; i < retain_slots->count; i++)
            tree_append(arena, names, tree_string(arena, retain_slots->items[i]));
        tree_set(arena, map, "retain_slots", names);
    }
    return tree_to_json(arena, map, JSON_COMPACT);
}

char *records_history(Arena *arena, const HistoryLine *lines, size_t count)
{
    Tree *list = tree_list(arena);
    for (size_t i = 0; i < count; i++) {
        const HistoryLine *line = &lines[i];
        Tree *row = tree_list(arena);
        tree_append(arena, row, tree_int(arena, line->timeline));
        tree_append(arena, row, lsn_node(arena, line->lsn));
        tree_append(arena, row, tree_string(arena, str_or(line->reason, "")));
        if (line->timestamp != NULL) {
            tree_append(arena, row, tree_string(arena, line->timestamp));
            if (line->new_leader != NULL)
                tree_append(arena, row, tree_string(arena, line->new_leader));
        }
        tree_append(arena, list, row);
    }
    return tree_to_json(arena, list, JSON_COMPACT);
}

static void add_if_given(Arena *arena, Tree *map, const char *key, const char *text)
{
    if (!str_empty(text))
        tree_set(arena, map, key, tree_string(arena, text));
}

char *records_failover(Arena *arena, const char *leader, const char *candidate,
                       const char *scheduled_at)
{
    Tree *map = tree_map(arena);
    add_if_given(arena, map, "leader", leader);
    add_if_given(arena, map, "member", candidate);
    add_if_given(arena, map, "scheduled_at", scheduled_at);
    return tree_to_json(arena, map, JSON_COMPACT);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *records_sync(Arena *arena, const char *leader, const StringList *standbys, int quorum)
{
    const size_t count = standbys != NULL ? standbys->count : 0;
    const char **sorted = ARENA_ARRAY(arena, const char *, count);
    Text joined = text_new(arena);
    if (count > 0) {
        memcpy(sorted, standbys->items, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, by_text);
    }
    for (size_t i = 0; i < count; i++)
        text_addf(&joined, "%s%s", i > 0 ? "," : "", sorted[i]);

    Tree *map = tree_map(arena);
    tree_set(arena, map, "leader", tree_string(arena, leader));
    tree_set(arena, map, "quorum", tree_int(arena, quorum));
    tree_set(arena, map, "sync_standby",
             count > 0 ? tree_string(arena, joined.data) : tree_null(arena));
    return tree_to_json(arena, map, JSON_COMPACT);
}

char *records_term(Arena *arena, const char *holder, const char *instance, int64_t term,
                   uint32_t parent_timeline, uint32_t timeline, bool confirmed, bool released,
                   Lsn lsn)
{
    Tree *map = tree_map(arena);
    tree_set(arena, map, "holder", tree_string(arena, holder));
    tree_set(arena, map, "instance", tree_string(arena, str_or(instance, "")));
    tree_set(arena, map, "term", tree_int(arena, term));
    tree_set(arena, map, "parent_timeline", tree_int(arena, parent_timeline));
    tree_set(arena, map, "timeline", tree_int(arena, timeline));
    tree_set(arena, map, "confirmed", tree_bool(arena, confirmed));
    tree_set(arena, map, "released", tree_bool(arena, released));
    if (released)
        tree_set(arena, map, "lsn", lsn_node(arena, lsn));
    return tree_to_json(arena, map, JSON_COMPACT);
}
