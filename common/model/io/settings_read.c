#include "common/model/io/settings_read.h"

#include "common/model/settings_env.h"
#include "common/os/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1024 * 1024 };

static const char installed_file[] = "/etc/howdah/howdah.yml";

typedef struct {
    Arena *arena;
    SettingsNotes *notes;
    Error *err;
} Reader;

static void warn(const Reader *reader, const char *line)
{
    if (reader->notes != NULL)
        string_list_add(&reader->notes->warnings, reader->arena, line);
}

// --- one file

static bool holds_password(const Tree *tree)
{
    static const char *const names[] = {"password", "sslpassword", "keyfile_password", "token"};
    if (tree->kind != TREE_MAP && tree->kind != TREE_LIST)
        return false;
    for (size_t i = 0; i < tree->count; i++) {
        const TreeEntry *entry = &tree->entries[i];
        for (size_t j = 0; j < COUNT_OF(names); j++)
            if (str_eq(entry->key, names[j]) && entry->value->kind != TREE_NULL)
                return true;
        if (holds_password(entry->value))
            return true;
    }
    return false;
}

static void warn_if_exposed(const Reader *reader, const char *path, const Tree *tree)
{
    struct stat status;
    if (stat(path, &status) == 0 && (status.st_mode & S_IROTH) && holds_password(tree))
        warn(reader, arena_printf(reader->arena,
                                  "%s: holds passwords and can be read by everybody: chmod o= %s",
                                  path, path));
}

static bool read_file(const Reader *reader, const char *path, const Tree **out)
{
    char *text;
    if (!file_read(reader->arena, path, FILE_BYTES_MAX, &text, reader->err))
        return error_wrap(reader->err, "settings");
    if (text == NULL)
        return error_set(reader->err, ERR_INVALID, "%s: there is no such file", path);
    const Tree *tree;
    if (!tree_parse_yaml(reader->arena, text, path, &tree, reader->err))
        return false;
    if (tree->kind == TREE_NULL)
        tree = tree_map(reader->arena);
    if (tree->kind != TREE_MAP)
        return error_set(reader->err, ERR_INVALID,
                         "%s: expected a map of options (key: value) at the top", path);
    warn_if_exposed(reader, path, tree);
    *out = tree;
    return true;
}

// --- a directory of them

static int is_settings_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.' &&
           (str_ends(entry->d_name, ".yml") || str_ends(entry->d_name, ".yaml"));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); // bytes, whatever the locale
}

static bool read_directory(const Reader *reader, const char *path, const Tree **out)
{
    struct dirent **entries;
    const int count = scandir(path, &entries, is_settings_file, by_name);
    if (count < 0)
        return error_set(reader->err, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno));
    const Tree *merged = tree_map(reader->arena);
    bool ok = true;
    for (int i = 0; i < count; i++) {
        const char *file = path_join(reader->arena, path, entries[i]->d_name);
        const Tree *tree;
        if (ok && path_kind(file) == PATH_FILE) {
            ok = read_file(reader, file, &tree);
            if (ok)
                merged = tree_patch(reader->arena, merged, tree, NULL);
        }
        free(entries[i]);
    }
    free(entries);
    *out = merged;
    return ok;
}

static bool read_path(const Reader *reader, const char *path, const Tree **out)
{
    return path_kind(path) == PATH_DIRECTORY ? read_directory(reader, path, out)
                                             : read_file(reader, path, out);
}

// --- which file

static const char *below_config_home(Arena *arena, const char *name)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (!str_empty(config))
        return path_join(arena, config, name);
    return str_empty(home) ? NULL : path_join(arena, home, arena_printf(arena, ".config/%s", name));
}

// What somebody named must be there; the usual places may be empty.
static bool find_for_ctl(const Reader *reader, const char *given, const char **out)
{
    const char *named = given != NULL ? given : getenv("HOWDAHCTL_CONFIG_FILE");
    if (str_empty(named))
        named = getenv("PATRONICTL_CONFIG_FILE");
    if (!str_empty(named)) {
        if (path_kind(named) == PATH_MISSING || access(named, R_OK) != 0)
            return error_set(reader->err, ERR_INVALID,
                             "%s: the settings file is missing or cannot be read: check -c", named);
        *out = named;
        return true;
    }
    const char *const usual[] = {below_config_home(reader->arena, "howdah/howdahctl.yml"),
                                 below_config_home(reader->arena, "patroni/patronictl.yaml"),
                                 installed_file};
    *out = NULL;
    for (size_t i = 0; i < COUNT_OF(usual) && *out == NULL; i++)
        if (usual[i] != NULL && access(usual[i], R_OK) == 0)
            *out = usual[i];
    return true;
}

static const Tree *patched_by_environment(const Reader *reader, const Tree *document)
{
    const Tree *overlay = settings_env_overlay(reader->arena, environ, document, reader->notes);
    return tree_patch(reader->arena, document, overlay, NULL);
}

// The whole document in one variable; then no other variable counts.
static bool read_variable(const Reader *reader, const Tree **out, bool *found)
{
    const char *text = settings_env_get(reader->arena, environ, "CONFIGURATION", reader->notes);
    *found = !str_empty(text);
    if (!*found)
        return true;
    if (!tree_parse_yaml(reader->arena, text, "variable CONFIGURATION", out, reader->err))
        return false;
    if ((*out)->kind != TREE_MAP)
        return error_set(reader->err, ERR_INVALID,
                         "variable CONFIGURATION: expected a map of options (key: value)");
    return true;
}

static bool read_without_file(const Reader *reader, const char *missing, bool for_ctl,
                              const Tree **out)
{
    bool found;
    if (!read_variable(reader, out, &found))
        return false;
    if (found)
        return true;
    const Tree *document = patched_by_environment(reader, NULL);
    const bool complete = tree_get(document, "scope") != NULL;
    if (!for_ctl && !complete && missing == NULL && access(installed_file, R_OK) == 0) {
        if (!read_file(reader, installed_file, &document))
            return false;
        document = tree_patch(reader->arena, document,
                              settings_env_overlay(reader->arena, environ, document, NULL), NULL);
    }
    if (document->count == 0 && !for_ctl)
        return error_set(reader->err, ERR_INVALID,
                         "%s: no settings found, neither in a file nor in the environment",
                         missing == NULL ? installed_file : missing);
    *out = document;
    return true;
}

// ~/pgpass, as Patroni's users write it.
static const Tree *with_home(const Reader *reader, const Tree *document)
{
    const char *pgpass = tree_string_of(tree_path(document, "postgresql.pgpass"));
    const char *home = getenv("HOME");
    if (!str_starts(pgpass, "~/") || str_empty(home))
        return document;
    Tree *section = tree_map(reader->arena), *patch = tree_map(reader->arena);
    tree_set(reader->arena, section, "pgpass",
             tree_string(reader->arena, path_join(reader->arena, home, pgpass + 2)));
    tree_set(reader->arena, patch, "postgresql", section);
    return tree_patch(reader->arena, document, patch, NULL);
}

static bool read_source(const Reader *reader, const SettingsSource *source, const Tree **out)
{
    const char *path = source->path;
    if (source->for_ctl && !find_for_ctl(reader, source->path, &path))
        return false;

    const Tree *document;
    if (path != NULL && path_kind(path) != PATH_MISSING) {
        if (!read_path(reader, path, &document))
            return false;
        document = patched_by_environment(reader, document);
    } else {
        if (path != NULL)
            warn(reader, arena_printf(reader->arena,
                                      "%s: there is no such file; the environment is used", path));
        if (!read_without_file(reader, path, source->for_ctl, &document))
            return false;
    }
    *out = with_home(reader, document);
    return true;
}

// Reading leaves many times the document behind, and the caller's arena may live for long.
bool settings_read_local(Arena *arena, const SettingsSource *source, const Tree **out,
                         SettingsNotes *notes, Error *err)
{
    AUTO(arena_release) Arena *scratch = arena_new(ARENA_CAP_DEFAULT);
    SettingsNotes found = {0};
    const Reader reader = {.arena = scratch, .notes = &found, .err = err};
    const Tree *document;
    const bool ok = read_source(&reader, source, &document);
    for (size_t i = 0; notes != NULL && i < found.warnings.count; i++)
        string_list_add(&notes->warnings, arena, arena_strdup(arena, found.warnings.items[i]));
    if (ok)
        *out = tree_copy(arena, document);
    return ok;
}
