// The other values as Patroni writes them: dcs.md §5. Compact JSON, keys in its order.
#include "dcs/records_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

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

// --- timestamps

// Exactly `digits` decimal digits.
static bool take_number(const char **at, int digits, int *out)
{
    int value = 0;
    const char *s = *at;
    for (int i = 0; i < digits; i++, s++) {
        if (*s < '0' || *s > '9')
            return false;
        value = value * 10 + (*s - '0');
    }
    *at = s;
    *out = value;
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

static bool take_date(const char **at, struct tm *out)
{
    int year = 0, month = 0, day = 0;
    if (!take_number(at, 4, &year) || !take_char(at, '-') || !take_number(at, 2, &month) ||
        !take_char(at, '-') || !take_number(at, 2, &day))
        return false;
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1970 || month < 1 || month > 12 || day < 1)
        return false;
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > month_days[month - 1] + (month == 2 && leap ? 1 : 0))
        return false;
    out->tm_year = year - 1900;
    out->tm_mon = month - 1;
    out->tm_mday = day;
    return true;
}

// Hours and minutes, then perhaps seconds, then perhaps a fraction.
static bool take_time(const char **at, struct tm *out, int64_t *out_us)
{
    int hour = 0, minute = 0, second = 0;
    int64_t us = 0;
    if (!take_number(at, 2, &hour) || !take_char(at, ':') || !take_number(at, 2, &minute))
        return false;
    if (take_char(at, ':')) {
        if (!take_number(at, 2, &second))
            return false;
        if (take_char(at, '.')) {
            int digit = 0, count = 0;
            for (int64_t unit = 100000; take_number(at, 1, &digit); unit /= 10, count++)
                us += digit * unit;
            if (count == 0)
                return false;
        }
    }
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    out->tm_hour = hour;
    out->tm_min = minute;
    out->tm_sec = second;
    *out_us = us;
    return true;
}

// Z, UTC, +HH, +HHMM or +HH:MM, after at most one blank. Nothing at all is no zone.
static bool take_zone(const char **at, bool *out_given, int64_t *out_offset_s)
{
    *out_given = false;
    *out_offset_s = 0;
    if (**at == '\0')
        return true;
    (void)take_char(at, ' ');
    *out_given = true;
    if (str_eq(*at, "Z") || str_eq(*at, "z") || str_eq(*at, "UTC") || str_eq(*at, "GMT")) {
        *at += strlen(*at);
        return true;
    }
    const int sign = **at == '-' ? -1 : 1;
    int hours = 0, minutes = 0;
    if (!take_char(at, '+') && !take_char(at, '-'))
        return false;
    if (!take_number(at, 2, &hours))
        return false;
    if (take_char(at, ':') || **at != '\0') {
        if (!take_number(at, 2, &minutes))
            return false;
    }
    if (hours > 23 || minutes > 59)
        return false;
    *out_offset_s = sign * (hours * INT64_C(3600) + minutes * INT64_C(60));
    return true;
}

bool records_parse_timestamp(const char *text, int64_t *out_us, bool *out_has_zone)
{
    struct tm when = {0};
    int64_t us = 0, offset_s = 0;
    bool zone = false;
    const char *at = text;

    *out_has_zone = true; // of what cannot be read nothing is said to be missing
    if (at == NULL || !take_date(&at, &when))
        return false;
    if (*at != '\0' && !((take_char(&at, 'T') || take_char(&at, ' ') || take_char(&at, 't')) &&
                         take_time(&at, &when, &us)))
        return false;
    if (!take_zone(&at, &zone, &offset_s) || *at != '\0')
        return false;
    *out_has_zone = zone;
    if (!zone)
        return false;
    *out_us = ((int64_t)timegm(&when) - offset_s) * 1000000 + us;
    return true;
}
