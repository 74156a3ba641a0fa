#include "common/model/settings_parameters.h"

#include "common/model/units.h"

#include <inttypes.h>
#include <string.h>

typedef enum { CONTROLLED_INT, CONTROLLED_BOOL, CONTROLLED_TRUE, CONTROLLED_WAL_LEVEL } Check;

// In the order in which Patroni puts them on the command line, behind listen_addresses, port and
// cluster_name. They must agree between the members, so only the cluster's configuration sets them.
static const struct {
    const char *name;
    Check check;
    int64_t fallback, min, max; // of an INT; max 0: any
    const char *text;           // fallback of the others
} controlled[] = {
    {"wal_level", CONTROLLED_WAL_LEVEL, .text = "replica"},
    {"hot_standby", CONTROLLED_TRUE, .text = "on"},
    {"max_connections", CONTROLLED_INT, .fallback = 100, .min = 25, .max = 262143},
    {"max_wal_senders", CONTROLLED_INT, .fallback = 10, .min = 3},
    {"max_prepared_transactions", CONTROLLED_INT, .fallback = 0, .min = 0},
    {"max_locks_per_transaction", CONTROLLED_INT, .fallback = 64, .min = 32},
    {"track_commit_timestamp", CONTROLLED_BOOL, .text = "off"},
    {"max_replication_slots", CONTROLLED_INT, .fallback = 10, .min = 4},
    {"max_worker_processes", CONTROLLED_INT, .fallback = 8, .min = 2},
    {"wal_log_hints", CONTROLLED_BOOL, .text = "on"},
};

// Controlled as well, but made from other settings or written to the file.
static const char *const protected_names[] = {"listen_addresses", "port", "cluster_name",
                                              "wal_keep_segments", "wal_keep_size"};

static bool is_protected(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(protected_names); i++)
        if (str_ieq(name, protected_names[i]))
            return true;
    for (size_t i = 0; i < COUNT_OF(controlled); i++)
        if (str_ieq(name, controlled[i].name))
            return true;
    return false;
}

static const Tree *get_ignoring_case(const Tree *map, const char *name)
{
    const Tree *found = NULL;
    for (size_t i = 0; map != NULL && i < map->count; i++)
        if (str_ieq(map->entries[i].key, name))
            found = map->entries[i].value; // the last one wins
    return found != NULL && found->kind == TREE_NULL ? NULL : found;
}

// --- the controlled ones

static const char *wal_level_of(const char *text)
{
    if (str_ieq(text, "replica") || str_ieq(text, "hot_standby"))
        return "replica";
    return str_ieq(text, "logical") ? "logical" : NULL;
}

// The value to use; NULL, with *expected set: not acceptable.
static Tree *controlled_value(Arena *arena, size_t which, const Tree *given, const char **expected)
{
    const char *text = tree_scalar_text(arena, given);
    bool flag;
    int64_t number;
    switch (controlled[which].check) {
    case CONTROLLED_INT:
        *expected = arena_printf(arena, "an integer of at least %" PRId64, controlled[which].min);
        if (!parse_int_with_unit(text, NULL, &number) || number < controlled[which].min)
            return NULL;
        return number <= (controlled[which].max > 0 ? controlled[which].max : INT32_MAX)
                   ? tree_int(arena, number)
                   : NULL;
    case CONTROLLED_BOOL:
        *expected = "on or off";
        return parse_bool_word(text, &flag) ? tree_string(arena, flag ? "on" : "off") : NULL;
    case CONTROLLED_TRUE:
        *expected = "on";
        return parse_bool_word(text, &flag) && flag ? tree_string(arena, "on") : NULL;
    case CONTROLLED_WAL_LEVEL:
        *expected = "replica or logical";
        return wal_level_of(text) != NULL ? tree_string(arena, wal_level_of(text)) : NULL;
    }
    return NULL;
}

// A value that fails is not clamped: the default holds.
static const Tree *choose_controlled(Findings *findings, size_t which, const Tree *dynamic)
{
    Arena *arena = findings->arena;
    const Tree *given = get_ignoring_case(dynamic, controlled[which].name);
    if (given != NULL) {
        const char *expected = "";
        const Tree *value = controlled_value(arena, which, given, &expected);
        if (value != NULL)
            return value;
        finding_warning(findings, given,
                        arena_printf(arena, "postgresql.parameters.%s", controlled[which].name),
                        "expected %s, found %s; the default is used", expected,
                        str_or(tree_scalar_text(arena, given), "a list or map"));
    }
    return controlled[which].check == CONTROLLED_INT ? tree_int(arena, controlled[which].fallback)
                                                     : tree_string(arena, controlled[which].text);
}

// 16 MB a segment; PostgreSQL 13 and later know the size alone.
static const char *wal_keep_size(Findings *findings, const Tree *dynamic)
{
    enum { SEGMENT_MB = 16 };
    Arena *arena = findings->arena;
    const Tree *size = get_ignoring_case(dynamic, "wal_keep_size");
    const Tree *segments = get_ignoring_case(dynamic, "wal_keep_segments");
    int64_t number;
    if (size != NULL) {
        const char *text = tree_scalar_text(arena, size);
        if (parse_int_with_unit(text, "MB", &number) && number >= SEGMENT_MB)
            return text;
        finding_warning(findings, size, "postgresql.parameters.wal_keep_size",
                        "expected at least 16MB, found %s; the default is used",
                        str_or(text, "a list or map"));
    } else if (segments != NULL) {
        if (parse_int_with_unit(tree_scalar_text(arena, segments), NULL, &number) && number >= 1 &&
            number < INT32_MAX / SEGMENT_MB)
            return arena_printf(arena, "%" PRId64 "MB", number * SEGMENT_MB);
        finding_warning(findings, segments, "postgresql.parameters.wal_keep_segments",
                        "expected an integer of at least 1; the default is used");
    }
    return "128MB";
}

// --- the user's own

static bool is_parameter_name(const char *name)
{
    return name[0] != '\0' && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           "0123456789_.$-") == strlen(name);
}

static bool check_parameter(Findings *findings, const TreeEntry *entry)
{
    const char *path = arena_printf(findings->arena, "postgresql.parameters.%s", entry->key);
    if (!is_parameter_name(entry->key)) {
        finding_error(findings, entry->value, path, "not a name of a PostgreSQL setting");
        return false;
    }
    const char *text = tree_scalar_text(findings->arena, entry->value);
    if (text == NULL) {
        finding_error(findings, entry->value, path, "expected one value, found a list or map");
        return false;
    }
    if (strpbrk(text, "\r\n") != NULL) { // postgresql.conf has no way to write one
        finding_error(findings, entry->value, path, "a value cannot hold a line break");
        return false;
    }
    return true;
}

static void add_parameters(Findings *findings, const Tree *from, Tree *to)
{
    for (size_t i = 0; from != NULL && i < from->count; i++) {
        const TreeEntry *entry = &from->entries[i];
        if (is_protected(entry->key) || !check_parameter(findings, entry))
            continue;
        for (size_t j = 0; j < to->count; j++)
            if (str_ieq(to->entries[j].key, entry->key)) {
                tree_remove(to, to->entries[j].key);
                break;
            }
        // null takes away what the cluster's configuration said, and is itself not written
        if (entry->value->kind != TREE_NULL)
            tree_set(findings->arena, to, entry->key, entry->value);
    }
}

void settings_parameters(Findings *findings, const Tree *local, const Tree *dynamic,
                         int server_major, const char *cluster_name, PostgresSettings *out)
{
    enum { FIRST_WITH_KEEP_SIZE = 13 };
    Arena *arena = findings->arena;
    Tree *ours = tree_map(arena), *users = tree_map(arena);
    tree_set(arena, ours, "listen_addresses",
             tree_string(arena, str_or(out->listen_addresses, "")));
    tree_set(arena, ours, "port", tree_int(arena, out->port));
    tree_set(arena, ours, "cluster_name", tree_string(arena, str_or(cluster_name, "")));
    for (size_t i = 0; i < COUNT_OF(controlled); i++)
        tree_set(arena, ours, controlled[i].name, choose_controlled(findings, i, dynamic));
    if (server_major == 0 || server_major >= FIRST_WITH_KEEP_SIZE)
        tree_set(arena, users, "wal_keep_size",
                 tree_string(arena, wal_keep_size(findings, dynamic)));

    const bool was_lenient = findings->lenient;
    findings->lenient = true; // what the store holds must never keep a member from running
    add_parameters(findings, dynamic, users);
    findings->lenient = was_lenient;
    add_parameters(findings, local, users);
    out->controlled = ours;
    out->parameters = users;
}
