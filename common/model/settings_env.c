#include "common/model/settings_env.h"

#include "common/model/settings_table.h"
#include "common/model/units.h"

#include <string.h>

static const char *const prefixes[] = {"HOWDAH_", "PATRONI_"}; // the first beats the second

typedef enum { ENV_TEXT, ENV_BOOL, ENV_INT, ENV_LIST, ENV_MAP } EnvType;

typedef struct {
    Arena *arena;
    char *const *environment;
    SettingsNotes *notes;
    Tree *overlay;
} Reader;

// --- variables

static const char *value_of(char *const *environment, const char *prefix, const char *name)
{
    for (size_t i = 0; environment[i] != NULL; i++) {
        const char *at = environment[i];
        if (!str_starts(at, prefix) || !str_starts(at + strlen(prefix), name))
            continue;
        at += strlen(prefix) + strlen(name);
        if (*at == '=')
            return at + 1;
    }
    return NULL;
}

static void warn(Arena *arena, SettingsNotes *notes, const char *line)
{
    if (notes != NULL)
        string_list_add(&notes->warnings, arena, line);
}

const char *settings_env_get(Arena *arena, char *const *environment, const char *name,
                             SettingsNotes *notes)
{
    const char *ours = value_of(environment, prefixes[0], name);
    const char *theirs = value_of(environment, prefixes[1], name);
    if (ours != NULL && theirs != NULL && strcmp(ours, theirs) != 0)
        warn(arena, notes,
             arena_printf(arena, "environment: HOWDAH_%s and PATRONI_%s differ; HOWDAH_%s holds",
                          name, name, name));
    return ours != NULL ? ours : theirs;
}

static const char *full_name(const Reader *reader, const char *name)
{
    const bool ours = value_of(reader->environment, prefixes[0], name) != NULL;
    return arena_printf(reader->arena, "%s%s", prefixes[ours ? 0 : 1], name);
}

// --- values

static const Tree *parse_collection(const Reader *reader, const char *text, bool map)
{
    const char *start = text + strspn(text, " \t\n");
    const bool wrap = map ? *start != '{' : *start != '-' && strchr(start, '[') == NULL;
    const char *document = !wrap ? text : arena_printf(reader->arena, map ? "{%s}" : "[%s]", text);
    const Tree *tree;
    Error err = {0};
    if (!tree_parse_yaml(reader->arena, document, NULL, &tree, &err))
        return NULL;
    return tree->kind == (map ? TREE_MAP : TREE_LIST) ? tree : NULL;
}

static Tree *parse_scalar(const Reader *reader, EnvType type, const char *text)
{
    bool flag;
    int64_t number;
    if (type == ENV_TEXT)
        return tree_string(reader->arena, text);
    if (type == ENV_BOOL)
        return parse_bool_word(text, &flag) ? tree_bool(reader->arena, flag) : NULL;
    return parse_int_with_unit(text, NULL, &number) ? tree_int(reader->arena, number) : NULL;
}

// Its findings shall name the variable where they would name a file.
static Tree *named(const Reader *reader, const Tree *value, const char *name)
{
    Tree *copy = tree_copy(reader->arena, value);
    copy->file = full_name(reader, name);
    copy->line = 0;
    for (size_t i = 0; i < copy->count; i++)
        if (copy->kind == TREE_LIST) { // one level: lists of texts are all there is
            Tree *item = tree_copy(reader->arena, copy->entries[i].value);
            item->file = copy->file;
            item->line = 0;
            ((TreeEntry *)(uintptr_t)copy->entries)[i].value = item;
        }
    return copy;
}

static void set_path(const Reader *reader, const char *path, const Tree *value)
{
    Tree *map = reader->overlay;
    for (;;) {
        const size_t length = strcspn(path, ".");
        const char *key = arena_strndup(reader->arena, path, length);
        if (path[length] == '\0') {
            tree_set(reader->arena, map, key, value);
            return;
        }
        const Tree *inner = tree_get(map, key);
        Tree *next = tree_patch(reader->arena, inner, NULL, NULL); // ours to change
        tree_set(reader->arena, map, key, next);
        map = next;
        path += length + 1;
    }
}

static void take(Reader *reader, const char *name, const char *path, EnvType type, bool keep_empty)
{
    const char *text = settings_env_get(reader->arena, reader->environment, name, reader->notes);
    if (text == NULL || (text[0] == '\0' && !keep_empty))
        return;
    const Tree *value = type == ENV_LIST || type == ENV_MAP
                            ? parse_collection(reader, text, type == ENV_MAP)
                            : parse_scalar(reader, type, text);
    if (value != NULL) {
        set_path(reader, path, named(reader, value, name));
        return;
    }
    static const char *const expected[] = {"a text", "true or false", "an integer", "a list",
                                           "a map"};
    warn(reader->arena, reader->notes,
         arena_printf(reader->arena, "%s: expected %s; ignored", full_name(reader, name),
                      expected[type]));
}

static EnvType type_of(const Option *option)
{
    switch (option->type) {
    case OPTION_BOOL:
        return ENV_BOOL;
    case OPTION_INT:
        return ENV_INT;
    case OPTION_TEXTS:
    case OPTION_CSV:
    case OPTION_OPTIONS:
        return ENV_LIST;
    case OPTION_MAP:
        return ENV_MAP;
    case OPTION_TEXT:
    case OPTION_SECRET:
    case OPTION_SECONDS:
    case OPTION_BYTES:
    case OPTION_ADDRESS:
    case OPTION_LISTEN:
    case OPTION_WORD:
    case OPTION_ANY:
        break;
    }
    return ENV_TEXT;
}

static void take_table(Reader *reader)
{
    for (size_t i = 0; i < option_count; i++) {
        const Option *option = &option_table[i];
        if (option->env != NULL && !str_starts(option->path, "etcd3.") &&
            !str_starts(option->path, "kubernetes."))
            take(reader, option->env, option->path, type_of(option), false);
    }
    static const struct {
        const char *name, *path;
    } old[] = {
        {"LOGLEVEL", "log.level"}, {"LOGFORMAT", "log.format"}, {"LOG_DATEFMT", "log.dateformat"}};
    for (size_t i = 0; i < COUNT_OF(old); i++)
        if (tree_path(reader->overlay, old[i].path) == NULL)
            take(reader, old[i].name, old[i].path, ENV_TEXT, false);
}

// --- the stores' sections: any suffix for any of them

static const char *const stores[] = {"ETCD",      "ETCD3",      "CONSUL", "ZOOKEEPER",
                                     "EXHIBITOR", "KUBERNETES", "CITUS",  "RAFT"};
static const struct {
    const char *name;
    EnvType type;
} suffixes[] = {
    {"HOST", ENV_TEXT},
    {"HOSTS", ENV_LIST},
    {"PORT", ENV_INT},
    {"PORTS", ENV_LIST},
    {"USE_PROXIES", ENV_BOOL},
    {"PROTOCOL", ENV_TEXT},
    {"SRV", ENV_TEXT},
    {"SRV_SUFFIX", ENV_TEXT},
    {"URL", ENV_TEXT},
    {"PROXY", ENV_TEXT},
    {"CACERT", ENV_TEXT},
    {"CERT", ENV_TEXT},
    {"KEY", ENV_TEXT},
    {"LABELS", ENV_MAP},
    {"USE_ENDPOINTS", ENV_BOOL},
    {"STORE", ENV_TEXT},
    {"NAMESPACE", ENV_TEXT},
    {"CONTEXT", ENV_TEXT},
    {"SCOPE_LABEL", ENV_TEXT},
    {"ROLE_LABEL", ENV_TEXT},
    {"LEADER_LABEL_VALUE", ENV_TEXT},
    {"FOLLOWER_LABEL_VALUE", ENV_TEXT},
    {"STANDBY_LEADER_LABEL_VALUE", ENV_TEXT},
    {"TMP_ROLE_LABEL", ENV_TEXT},
    {"BOOTSTRAP_LABELS", ENV_MAP},
    {"BYPASS_API_SERVICE", ENV_BOOL},
    {"RETRIABLE_HTTP_CODES", ENV_LIST},
    {"POD_IP", ENV_TEXT},
    {"SELF_ADDR", ENV_TEXT},
    {"GROUP", ENV_INT},
    {"DATABASE", ENV_TEXT},
};

static char *lower(Arena *arena, const char *text)
{
    char *out = arena_strdup(arena, text);
    for (char *s = out; *s != '\0'; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s - 'A' + 'a');
    return out;
}

// User and password alone make no section.
static void take_credentials(Reader *reader, const Tree *document, const char *store)
{
    const char *section = lower(reader->arena, store);
    if (tree_get(reader->overlay, section) == NULL && tree_get(document, section) == NULL)
        return;
    static const char *const names[] = {"USERNAME", "PASSWORD"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        take(reader, arena_printf(reader->arena, "%s_%s", store, names[i]),
             arena_printf(reader->arena, "%s.%s", section, lower(reader->arena, names[i])),
             ENV_TEXT, false);
}

static void take_stores(Reader *reader, const Tree *document)
{
    for (size_t i = 0; i < COUNT_OF(stores); i++) {
        for (size_t j = 0; j < COUNT_OF(suffixes); j++)
            take(reader, arena_printf(reader->arena, "%s_%s", stores[i], suffixes[j].name),
                 arena_printf(reader->arena, "%s.%s", lower(reader->arena, stores[i]),
                              lower(reader->arena, suffixes[j].name)),
                 suffixes[j].type, true);
        if (str_starts(stores[i], "ETCD"))
            take_credentials(reader, document, stores[i]);
    }
}

// Documented for Patroni, and never read by it either.
static void warn_of_ignored(const Reader *reader)
{
    static const struct {
        const char *name, *instead;
    } ignored[] = {
        {"RESTAPI_THREAD_POOL_SIZE", NULL},
        {"RETRIABLE_HTTP_CODES", "KUBERNETES_RETRIABLE_HTTP_CODES"},
        {"POSTGRESQL_BIN_IS_READY", "POSTGRESQL_BIN_PG_ISREADY"},
    };
    for (size_t i = 0; i < COUNT_OF(ignored); i++)
        for (size_t j = 0; j < COUNT_OF(prefixes); j++)
            if (value_of(reader->environment, prefixes[j], ignored[i].name) != NULL)
                warn(reader->arena, reader->notes,
                     arena_printf(reader->arena, "%s%s: has no effect%s%s", prefixes[j],
                                  ignored[i].name,
                                  ignored[i].instead == NULL ? "" : "; its name is ",
                                  str_or(ignored[i].instead, "")));
}

const Tree *settings_env_overlay(Arena *arena, char *const *environment, const Tree *document,
                                 SettingsNotes *notes)
{
    Reader reader = {
        .arena = arena, .environment = environment, .notes = notes, .overlay = tree_map(arena)};
    take_table(&reader);
    take_stores(&reader, document);
    warn_of_ignored(&reader);
    return reader.overlay;
}
