#include "common/model/settings_check.h"

#include "common/model/units.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// --- findings

static void add_finding(Findings *findings, const char *severity, const Tree *at, const char *path,
                        const char *what)
{
    Text line = text_new(findings->arena);
    if (at != NULL && at->file != NULL)
        text_addf(&line, "%s: ", at->file);
    if (at != NULL && at->line > 0)
        text_addf(&line, "line %d: ", at->line);
    if (path != NULL)
        text_addf(&line, "%s%s: ", findings->prefix == NULL ? "" : findings->prefix, path);
    text_add(&line, what);
    if (str_eq(severity, "error") && !findings->failed)
        error_set(findings->err, ERR_INVALID, "%s", line.data);
    findings->failed = findings->failed || str_eq(severity, "error");
    if (findings->notes != NULL)
        string_list_add(&findings->notes->warnings, findings->arena,
                        arena_printf(findings->arena, "%s%s",
                                     str_eq(severity, "error") ? "error: " : "", line.data));
}

PRINTF_LIKE(2, 0) static char *format_all(Arena *arena, const char *fmt, va_list args)
{
    char text[512];
    vsnprintf(text, sizeof text, fmt, args);
    return arena_strdup(arena, text);
}

void finding_error(Findings *findings, const Tree *at, const char *path, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *what = format_all(findings->arena, fmt, args);
    va_end(args);
    if (findings->lenient)
        add_finding(findings, "warning", at, path,
                    arena_printf(findings->arena, "%s; ignored", what));
    else
        add_finding(findings, "error", at, path, what);
}

void finding_warning(Findings *findings, const Tree *at, const char *path, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_finding(findings, "warning", at, path, format_all(findings->arena, fmt, args));
    va_end(args);
}

// What was found, for a message; never the text of a secret.
static const char *shown(Findings *findings, const Option *option, const Tree *value)
{
    switch (value->kind) {
    case TREE_NULL:
        return "nothing";
    case TREE_BOOL:
        return value->boolean ? "true" : "false";
    case TREE_INT:
    case TREE_REAL:
        return option->type == OPTION_SECRET ? "a number"
                                             : tree_scalar_text(findings->arena, value);
    case TREE_STRING:
        return option->type == OPTION_SECRET
                   ? "a text"
                   : arena_printf(findings->arena, "'%.100s'", value->text);
    case TREE_LIST:
        return "a list";
    case TREE_MAP:
        return "a map";
    }
    return "";
}

static Tree *refuse(Findings *findings, const Option *option, const Tree *value,
                    const char *expected)
{
    finding_error(findings, value, option->path, "expected %s, found %s", expected,
                  shown(findings, option, value));
    return NULL;
}

// The same node with other content: it keeps its file and line.
static Tree *at_place_of(Tree *tree, const Tree *place)
{
    tree->file = place->file;
    tree->line = place->line;
    return tree;
}

// --- one value

static const Tree *check_text(Findings *findings, const Option *option, const Tree *value)
{
    if (value->kind == TREE_STRING)
        return value;
    if (value->kind != TREE_INT && value->kind != TREE_REAL)
        return refuse(findings, option, value,
                      value->kind == TREE_BOOL ? "a text (write it in quotes)" : "a text");
    // What was 0123 in the file is 83 by now.
    if (option->type == OPTION_SECRET)
        finding_warning(findings, value, option->path,
                        "a number without quotes: leading zeros and underscores are lost");
    return at_place_of(tree_string(findings->arena, tree_scalar_text(findings->arena, value)),
                       value);
}

static const Tree *check_bool(Findings *findings, const Option *option, const Tree *value)
{
    if (value->kind == TREE_BOOL)
        return value;
    bool found;
    const char *text = tree_scalar_text(findings->arena, value);
    if (!parse_bool_word(text, &found))
        return refuse(findings, option, value, "true or false");
    return at_place_of(tree_bool(findings->arena, found), value);
}

static const Tree *check_int(Findings *findings, const Option *option, const Tree *value)
{
    const char *unit = option->type == OPTION_SECONDS ? "s"
                       : option->type == OPTION_BYTES ? "B"
                                                      : NULL;
    const char *kind = unit == NULL ? "an integer" : option_type_name(option->type);
    int64_t number;
    if (value->kind == TREE_BOOL ||
        !parse_int_with_unit(tree_scalar_text(findings->arena, value), unit, &number))
        return refuse(findings, option, value, kind);
    if (option->bounded && (number < option->min || number > option->max)) {
        const char *expected = option->max >= INT32_MAX
                                   ? arena_printf(findings->arena, "at least %" PRId64, option->min)
                                   : arena_printf(findings->arena, "%" PRId64 " to %" PRId64,
                                                  option->min, option->max);
        return refuse(findings, option, value, expected);
    }
    return at_place_of(tree_int(findings->arena, number), value);
}

static const Tree *check_address(Findings *findings, const Option *option, const Tree *value)
{
    const bool list = option->type == OPTION_LISTEN;
    Address address;
    if (value->kind == TREE_INT)
        return refuse(findings, option, value,
                      "host:port in quotes (without them YAML reads some as numbers)");
    if (value->kind != TREE_STRING ||
        !address_parse(findings->arena, value->text, list ? 5432 : 0, &address) ||
        (!list && strchr(address.host, ',') != NULL))
        return refuse(findings, option, value, list ? "host:port or host,host:port" : "host:port");
    return value;
}

static const Tree *check_word(Findings *findings, const Option *option, const Tree *value)
{
    const char *text = value->kind == TREE_BOOL ? (value->boolean ? "on" : "off")
                                                : tree_scalar_text(findings->arena, value);
    for (const char *word = option->words; *word != '\0';) {
        const size_t length = strcspn(word, " ");
        const char *one = arena_strndup(findings->arena, word, length);
        if (str_ieq(text, one))
            return at_place_of(tree_string(findings->arena, one), value);
        word += length + (word[length] == ' ' ? 1 : 0);
    }
    return refuse(findings, option, value,
                  arena_printf(findings->arena, "one of %s", option->words));
}

static Tree *split_commas(Findings *findings, const Tree *value)
{
    Tree *list = at_place_of(tree_list(findings->arena), value);
    for (const char *s = value->text;;) {
        s += strspn(s, " \t");
        size_t length = strcspn(s, ",");
        const char *next = s + length;
        while (length > 0 && (s[length - 1] == ' ' || s[length - 1] == '\t'))
            length--;
        if (length > 0)
            tree_append(
                findings->arena, list,
                at_place_of(tree_string(findings->arena, arena_strndup(findings->arena, s, length)),
                            value));
        if (*next == '\0')
            return list;
        s = next + 1;
    }
}

static const Tree *check_texts(Findings *findings, const Option *option, const Tree *value)
{
    if (option->type == OPTION_CSV && value->kind == TREE_STRING)
        return split_commas(findings, value);
    if (value->kind != TREE_LIST)
        return refuse(findings, option, value, option_type_name(option->type));
    Tree *list = at_place_of(tree_list(findings->arena), value);
    for (size_t i = 0; i < value->count; i++) {
        const Tree *item = check_text(findings, option, value->entries[i].value);
        if (item == NULL)
            return NULL;
        tree_append(findings->arena, list, item);
    }
    return list;
}

// Patroni: a text, or a map of one option; a text for its value.
static bool is_option_item(const Tree *item)
{
    if (item->kind == TREE_STRING)
        return true;
    return item->kind == TREE_MAP && item->count == 1 &&
           item->entries[0].value->kind != TREE_LIST && item->entries[0].value->kind != TREE_MAP;
}

static const Tree *check_options(Findings *findings, const Option *option, const Tree *value)
{
    if (value->kind != TREE_LIST && value->kind != TREE_MAP)
        return refuse(findings, option, value, "a list or map of options");
    for (size_t i = 0; i < value->count; i++) {
        const Tree *item = value->entries[i].value;
        if (value->kind == TREE_LIST ? !is_option_item(item)
                                     : item->kind == TREE_LIST || item->kind == TREE_MAP)
            return refuse(findings, option, item, "an option like 'name' or 'name: value'");
    }
    return value;
}

static const Tree *check_value(Findings *findings, const Option *option, const Tree *value)
{
    switch (option->type) {
    case OPTION_TEXT:
    case OPTION_SECRET:
        return check_text(findings, option, value);
    case OPTION_BOOL:
        return check_bool(findings, option, value);
    case OPTION_INT:
    case OPTION_SECONDS:
    case OPTION_BYTES:
        return check_int(findings, option, value);
    case OPTION_ADDRESS:
    case OPTION_LISTEN:
        return check_address(findings, option, value);
    case OPTION_WORD:
        return check_word(findings, option, value);
    case OPTION_TEXTS:
    case OPTION_CSV:
        return check_texts(findings, option, value);
    case OPTION_MAP:
        return value->kind == TREE_MAP ? value : refuse(findings, option, value, "a map");
    case OPTION_OPTIONS:
        return check_options(findings, option, value);
    case OPTION_ANY:
        return value;
    }
    return NULL;
}

// --- the document

typedef struct {
    Findings *findings;
    Arena *paths; // not kept: what is checked may live for long
    unsigned where;
} Checker;

static void check_map(Checker *checker, const Tree *map, const char *path, Tree *out);

static void misplaced(Checker *checker, const Option *option, const Tree *value)
{
    if (checker->where == LOCAL)
        finding_warning(checker->findings, value, option->path,
                        "has no effect here: it belongs to the cluster's configuration "
                        "(bootstrap.dcs of a new cluster, howdahctl edit-config afterwards)");
    else
        finding_warning(checker->findings, value, option->path,
                        "has no effect in the cluster's configuration: it is each member's own");
}

static void check_option(Checker *checker, const Option *option, const TreeEntry *entry,
                         const Tree *map, Tree *out)
{
    Findings *findings = checker->findings;
    if (!(option->where & checker->where)) {
        misplaced(checker, option, entry->value);
        return;
    }
    const char *key = entry->key;
    if (option->alias_of != NULL) {
        const char *dot = strrchr(option->alias_of, '.');
        key = dot == NULL ? option->alias_of : dot + 1;
        if (tree_get(map, key) != NULL)
            return; // the new name is there too, and wins
        option = option_find(option->alias_of);
    }
    const Tree *value = check_value(findings, option, entry->value);
    if (value != NULL)
        tree_set(findings->arena, out, key, value);
}

// Methods are sections with names of the user's choice: postgresql.pgbackrest,
// bootstrap.from_backup.
static bool is_method(const char *path, const TreeEntry *entry, const Tree *map)
{
    if (!str_eq(path, "postgresql.") && !str_eq(path, "bootstrap."))
        return false;
    if (entry->value->kind != TREE_MAP)
        return false;
    if (tree_get(entry->value, "command") != NULL)
        return true;
    static const char *const lists[] = {"create_replica_methods", "create_replica_method"};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        const Tree *list = tree_get(map, lists[i]);
        for (size_t j = 0; list != NULL && j < list->count; j++)
            if (str_eq(tree_string_of(list->entries[j].value), entry->key))
                return true;
    }
    return false;
}

static void unknown(Checker *checker, const TreeEntry *entry, const char *path)
{
    Findings *findings = checker->findings;
    const char *nearest = option_nearest(checker->paths, path, checker->where);
    if (nearest != NULL)
        finding_warning(findings, entry->value, path, "unknown option; did you mean '%s'?",
                        nearest);
    else
        finding_warning(findings, entry->value, path, "unknown option, without effect");
}

// Sections of Patroni's that change what the agent would have to do: not to be overlooked.
static bool refuse_section(Checker *checker, const TreeEntry *entry, const char *path)
{
    static const char *const stores[] = {"consul", "exhibitor", "raft", "zookeeper"};
    if (checker->where != LOCAL)
        return false;
    for (size_t i = 0; i < COUNT_OF(stores); i++) {
        if (!str_eq(path, stores[i]))
            continue;
        finding_error(checker->findings, entry->value, path,
                      "only etcd and Kubernetes are supported by this build: a section etcd3 or "
                      "kubernetes is needed");
        return true;
    }
    if (str_eq(path, "citus")) {
        finding_error(checker->findings, entry->value, path,
                      "Citus is not supported by this build");
        return true;
    }
    return false;
}

static void check_entry(Checker *checker, const Tree *map, const TreeEntry *entry,
                        const char *parent, Tree *out)
{
    Findings *findings = checker->findings;
    const char *path = arena_printf(checker->paths, "%s%s", parent, entry->key);
    const Option *option = option_find(path);
    if (entry->value->kind == TREE_NULL || refuse_section(checker, entry, path))
        return; // null is how YAML says "not set"
    if (option != NULL) {
        check_option(checker, option, entry, map, out);
        return;
    }
    if (option_is_section(path)) {
        if (entry->value->kind != TREE_MAP) {
            finding_error(findings, entry->value, path, "expected a map of options");
            return;
        }
        Tree *section = at_place_of(tree_map(findings->arena), entry->value);
        check_map(checker, entry->value, arena_printf(checker->paths, "%s.", path), section);
        tree_set(findings->arena, out, entry->key, section);
        return;
    }
    if (!is_method(parent, entry, map))
        unknown(checker, entry, path);
    tree_set(findings->arena, out, entry->key, entry->value);
}

static void check_map(Checker *checker, const Tree *map, const char *path, Tree *out)
{
    for (size_t i = 0; i < map->count; i++)
        check_entry(checker, map, &map->entries[i], path, out);
}

const Tree *settings_check(Findings *findings, const Tree *document, unsigned where)
{
    Tree *out = tree_map(findings->arena);
    if (document == NULL)
        return out;
    at_place_of(out, document);
    if (document->kind != TREE_MAP) {
        finding_error(findings, document, NULL, "expected a map of options");
        return out;
    }
    AUTO(arena_release) Arena *paths = arena_new(ARENA_CAP_DEFAULT);
    Checker checker = {.findings = findings, .paths = paths, .where = where};
    check_map(&checker, document, "", out);
    return out;
}
