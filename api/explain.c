#include "api/explain.h"

#include "api/member_status.h"

char *decisions_document(Arena *arena, const Snapshot *snapshot, size_t limit)
{
    const size_t count = snapshot->ledger_count;
    Text text = text_new(arena);
    text_add_char(&text, '[');
    for (size_t i = count > limit ? count - limit : 0; i < count; i++) {
        if (text.length > 1)
            text_add(&text, ",\n ");
        text_add(&text, ledger_format(arena, &snapshot->ledger[i]));
    }
    text_add_char(&text, ']');
    return text.data;
}

char *why_document(Arena *arena, const Snapshot *snapshot, Instant now)
{
    const LedgerEntry *decision = &snapshot->decision;
    const bool leads = snapshot_leads(snapshot, now);
    const int64_t left_ms = leads ? instant_ms_between(now, snapshot->leader_until) : 0;
    Tree *why = tree_map(arena);
    const struct {
        const char *key, *text;
    } texts[] = {
        {"name", snapshot->name},
        {"role", role_name(snapshot->server.role)},
        {"leader", snapshot->cluster.leader.name}, // null: nobody
        {"reason", reason_name(decision->reason)},
        {"reason_text", reason_text(decision->reason)},
        {"evidence", str_or(decision->evidence, "")},
        {"outcome", str_or(decision->outcome, "")},
        {"since", ledger_time(arena, decision->wall_us)},
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        tree_set(arena, why, texts[i].key, tree_string(arena, texts[i].text));
    tree_set(arena, why, "fenced", tree_bool(arena, snapshot->fenced));
    tree_set(arena, why, "fence_armed", tree_bool(arena, snapshot->fence_armed));
    tree_set(arena, why, "lease_left_ms", leads ? tree_int(arena, left_ms) : tree_null(arena));
    return tree_to_json(arena, why, JSON_SPACED);
}
