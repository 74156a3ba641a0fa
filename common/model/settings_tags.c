#include "common/model/settings_check.h"
#include "common/model/units.h"

static const char *const flags[] = {"clonefrom", "nofailover", "noloadbalance", "nosync",
                                    "nostream"};
static const struct {
    const char *flag, *priority;
} pairs[] = {{"nofailover", "failover_priority"}, {"nosync", "sync_priority"}};

static bool is_one_of(const char *key, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(key, names[i]))
            return true;
    return false;
}

static const char *priority_of(const char *flag)
{
    for (size_t i = 0; i < COUNT_OF(pairs); i++)
        if (str_eq(flag, pairs[i].flag))
            return pairs[i].priority;
    return NULL;
}

// Patroni members take any text for true, "false" included: so it is not published as a text.
static const Tree *check_flag(Findings *findings, const char *path, const Tree *value)
{
    bool found;
    const char *text = tree_scalar_text(findings->arena, value);
    if (!parse_bool_word(text, &found)) {
        finding_error(findings, value, path, "expected true or false, found %s",
                      str_or(text, "a list or map"));
        return NULL;
    }
    if (value->kind == TREE_STRING)
        finding_warning(findings, value, path, "taken as %s; write it without quotes",
                        found ? "true" : "false");
    return tree_bool(findings->arena, found);
}

static const Tree *check_priority(Findings *findings, const char *path, const Tree *value)
{
    int64_t number;
    if (value->kind != TREE_BOOL &&
        parse_int_with_unit(tree_scalar_text(findings->arena, value), NULL, &number) &&
        number >= 0 && number <= INT32_MAX)
        return tree_int(findings->arena, number);
    finding_error(findings, value, path, "expected an integer of at least 0");
    return NULL;
}

static const Tree *check_tag(Findings *findings, const TreeEntry *entry)
{
    const char *path = arena_printf(findings->arena, "tags.%s", entry->key);
    if (is_one_of(entry->key, flags, COUNT_OF(flags)))
        return check_flag(findings, path, entry->value);
    if (str_eq(entry->key, "failover_priority") || str_eq(entry->key, "sync_priority"))
        return check_priority(findings, path, entry->value);
    if (str_eq(entry->key, "replicatefrom") && entry->value->kind != TREE_STRING) {
        finding_error(findings, entry->value, path, "expected the name of a member");
        return NULL;
    }
    return entry->value;
}

static void warn_of_contradictions(Findings *findings, const Tree *given, const Tree *tags)
{
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        const Tree *flag = tree_get(tags, pairs[i].flag);
        const Tree *priority = tree_get(tags, pairs[i].priority);
        if (flag != NULL && priority != NULL && flag->boolean != (priority->integer <= 0))
            finding_warning(findings, tree_get(given, pairs[i].flag),
                            arena_printf(findings->arena, "tags.%s", pairs[i].flag),
                            "contradicts %s; %s holds", pairs[i].priority, pairs[i].flag);
    }
}

// Which tags are published, as Patroni filters them.
static bool is_published(const Tree *tags, const char *key, const Tree *value)
{
    if (!is_one_of(key, flags, COUNT_OF(flags)) || value->boolean)
        return true;
    const char *priority = priority_of(key);
    return priority != NULL && tree_get(tags, priority) != NULL;
}

const Tree *settings_tags(Findings *findings, const Tree *given)
{
    Arena *arena = findings->arena;
    Tree *tags = tree_map(arena), *published = tree_map(arena);
    for (size_t i = 0; given != NULL && i < given->count; i++) {
        if (given->entries[i].value->kind == TREE_NULL)
            continue;
        const Tree *value = check_tag(findings, &given->entries[i]);
        if (value != NULL)
            tree_set(arena, tags, given->entries[i].key, value);
    }
    warn_of_contradictions(findings, given, tags);
    for (size_t i = 0; i < tags->count; i++)
        if (is_published(tags, tags->entries[i].key, tags->entries[i].value))
            tree_set(arena, published, tags->entries[i].key, tags->entries[i].value);
    return published->count > 0 ? published : NULL;
}
