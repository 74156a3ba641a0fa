// Which settings wait for a restart: those that differ from what we want although we wrote them,
// and those that PostgreSQL itself marks (an ALTER SYSTEM, a file edited by hand).
#include "agent/postgres/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// recovery_target and its kind are for the next recovery: whoever was promoted began with them.
#define SETTINGS_QUERY                                                                             \
    "SELECT name, setting, coalesce(unit, ''), vartype, pending_restart, current_setting(name)"    \
    " FROM pg_settings WHERE context = 'postmaster' AND name NOT IN"                               \
    " ('config_file', 'hba_file', 'ident_file', 'data_directory', 'external_pid_file')"            \
    " AND name !~ '^recovery_target'"                                                              \
    " ORDER BY name"

enum { COL_NAME, COL_SETTING, COL_UNIT, COL_TYPE, COL_PENDING, COL_SHOWN, COL_COUNT };

// How many of the smallest unit (bytes or microseconds) a unit is; 0: not one.
static double unit_size(const char *unit, size_t length)
{
    static const struct {
        const char *name;
        double size;
    } units[] = {{"B", 1},
                 {"kB", 1024.0},
                 {"MB", 1048576.0},
                 {"GB", 1073741824.0},
                 {"TB", 1099511627776.0},
                 {"us", 1},
                 {"ms", 1000.0},
                 {"s", 1000000.0},
                 {"min", 60000000.0},
                 {"h", 3600000000.0},
                 {"d", 86400000000.0}};
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (strlen(units[i].name) == length && strncmp(units[i].name, unit, length) == 0)
            return units[i].size;
    return 0;
}

// pg_settings.unit may carry a multiplier: "8kB", "16MB".
static double base_unit_size(const char *unit)
{
    char *rest;
    const double factor = strtod(unit, &rest);
    const double size = unit_size(rest, strlen(rest));
    return size * (rest == unit ? 1 : factor);
}

// A number with an optional unit, in the setting's own unit. False: it is none.
static bool number_in(const char *text, const char *base_unit, double *out)
{
    char *rest;
    while (*text == ' ')
        text++;
    // A leading 0 means octal, 0x hexadecimal, as in PostgreSQL's parse_int().
    const bool octal = text[0] == '0' && strspn(text, "01234567") == strlen(text);
    double value = octal ? (double)strtoll(text, &rest, 8) : strtod(text, &rest);
    if (rest == text)
        return false;
    while (*rest == ' ')
        rest++;
    size_t length = strlen(rest);
    while (length > 0 && rest[length - 1] == ' ')
        length--;
    if (length > 0) {
        const double size = unit_size(rest, length), base = base_unit_size(base_unit);
        if (size <= 0 || base <= 0)
            return false;
        value = value * size / base;
    }
    *out = value;
    return true;
}

static int truth(const char *text) // 1, 0, or -1
{
    static const struct {
        const char *word;
        int value;
    } words[] = {{"on", 1},  {"true", 1},  {"yes", 1}, {"1", 1},
                 {"off", 0}, {"false", 0}, {"no", 0},  {"0", 0}};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_ieq(words[i].word, text))
            return words[i].value;
    return -1;
}

bool setting_equal(const char *type, const char *unit, const char *setting, const char *wanted)
{
    double have, want;
    if (str_eq(type, "bool"))
        return truth(setting) >= 0 && truth(setting) == truth(wanted);
    if (str_eq(type, "enum"))
        return str_ieq(setting, wanted);
    if (!str_eq(type, "integer") && !str_eq(type, "real"))
        return str_eq(setting, wanted);
    if (!number_in(setting, "", &have) || !number_in(wanted, unit, &want))
        return false;
    // Integers are rounded, and reals go through the text they are shown as.
    return fabs(have - want) <= (str_eq(type, "integer") ? 0.5 : 1e-9 * fabs(have) + 1e-12);
}

static const char *wanted_value(const ConfSetting *settings, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (str_ieq(settings[i].name, name))
            return settings[i].value;
    return NULL;
}

static void add(Arena *arena, Tree *all, const char *name, const char *old, const char *new)
{
    Tree *reason = tree_map(arena);
    tree_set(arena, reason, "old_value", tree_string(arena, old));
    tree_set(arena, reason, "new_value", tree_string(arena, new));
    tree_set(arena, all, name, reason);
}

static const Tree *compare(Arena *arena, const PGresult *rows, const ConfSetting *settings,
                           size_t count)
{
    Tree *all = tree_map(arena);
    for (int i = 0; i < PQntuples(rows); i++) {
        const char *name = pg_text(rows, i, COL_NAME), *setting = pg_text(rows, i, COL_SETTING);
        const char *wanted = wanted_value(settings, count, name);
        // A standby has to have it, and a primary always has.
        if (name == NULL || setting == NULL || str_eq(name, "hot_standby"))
            continue;
        const bool marked = str_eq(pg_text(rows, i, COL_PENDING), "t");
        // -1 is "work it out", which is what the server shows the result of.
        const bool differs =
            wanted != NULL && !str_eq(wanted, "-1") &&
            !setting_equal(pg_text(rows, i, COL_TYPE), pg_text(rows, i, COL_UNIT), setting, wanted);
        if (marked || differs)
            add(arena, all, name, str_or(pg_text(rows, i, COL_SHOWN), setting),
                str_or(wanted, "?"));
    }
    return all->count > 0 ? all : NULL;
}

void pending_publish(LocalServer *server, Arena *arena, const Tree *pending)
{
    pthread_mutex_lock(&server->lock);
    Arena *old = server->shared.pending_arena;
    server->shared.pending_arena = arena;
    server->shared.pending = pending;
    pthread_mutex_unlock(&server->lock);
    arena_free(old);
}

bool pending_check(LocalServer *server, const SettingsCopy *copy, PgConn *pg, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    if (!pg_query(pg, SETTINGS_QUERY, deadline_in(server->clock, 2000), &rows, err))
        return error_wrap(err, "compare settings");
    if (PQnfields(rows) != COL_COUNT)
        return error_set(err, ERR_INVALID, "compare settings: answer of an unknown shape");
    const ConfInput input = {.settings = &copy->settings.postgresql,
                             .scope = copy->settings.scope,
                             .overlay = copy->overlay};
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    size_t count;
    const ConfSetting *settings = conf_settings(arena, &input, &count);
    pending_publish(server, arena, compare(arena, rows, settings, count));
    return true;
}
