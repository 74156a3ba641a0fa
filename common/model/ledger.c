#include "common/model/ledger.h"

#include "common/model/tree.h"

#include <time.h>

char *ledger_time(Arena *arena, int64_t wall_us)
{
    enum { US_PER_S = 1000000 };
    int64_t seconds = wall_us / US_PER_S, micros = wall_us % US_PER_S;
    if (micros < 0) { // before 1970: the fraction still counts upwards
        micros += US_PER_S;
        seconds--;
    }
    const time_t t = (time_t)seconds;
    struct tm tm;
    char text[40];
    if (gmtime_r(&t, &tm) == NULL || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        return arena_printf(arena, "%lld", (long long)wall_us); // a year with ten digits
    return arena_printf(arena, "%s.%06lld+00:00", text, (long long)micros);
}

char *ledger_format(Arena *arena, const LedgerEntry *entry)
{
    Tree *line = tree_map(arena);
    tree_set(arena, line, "time", tree_string(arena, ledger_time(arena, entry->wall_us)));
    tree_set(arena, line, "turn", tree_int(arena, (int64_t)entry->turn));
    tree_set(arena, line, "reason", tree_string(arena, reason_name(entry->reason)));
    tree_set(arena, line, "reason_text", tree_string(arena, reason_text(entry->reason)));
    tree_set(arena, line, "key_action", tree_string(arena, str_or(entry->key_action, "")));
    tree_set(arena, line, "pg_action", tree_string(arena, str_or(entry->pg_action, "")));
    tree_set(arena, line, "evidence", tree_string(arena, str_or(entry->evidence, "")));
    tree_set(arena, line, "outcome", tree_string(arena, str_or(entry->outcome, "")));
    return tree_to_json(arena, line, JSON_SPACED);
}
