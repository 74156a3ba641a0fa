#include "agent/postgres/command_line.h"

#include "common/os/files.h"

#include <string.h>

// --- words of a command

typedef struct {
    const char *s;
    Text word;
    bool any; // a word has begun; '' is one, too
} Splitter;

// Inside double quotes a backslash is special before a quote or another backslash only.
static bool take_quoted(Splitter *sp)
{
    const char quote = *sp->s++;
    sp->any = true;
    for (; *sp->s != '\0'; sp->s++) {
        if (*sp->s == quote) {
            sp->s++;
            return true;
        }
        if (quote == '"' && *sp->s == '\\' && (sp->s[1] == '"' || sp->s[1] == '\\'))
            sp->s++;
        text_add_char(&sp->word, *sp->s);
    }
    return false;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void end_word(Arena *arena, Splitter *sp, StringList *out)
{
    if (sp->any)
        string_list_add(out, arena, sp->word.data);
    sp->word = text_new(arena);
    sp->any = false;
}

bool shell_split(Arena *arena, const char *command, StringList *out, Error *err)
{
    Splitter sp = {.s = command, .word = text_new(arena)};
    *out = (StringList){0};
    while (*sp.s != '\0') {
        if (*sp.s == '\'' || *sp.s == '"') {
            if (!take_quoted(&sp))
                return error_set(err, ERR_INVALID, "command has a quote that is not closed: %s",
                                 command);
        } else if (is_space(*sp.s)) {
            end_word(arena, &sp, out);
            sp.s++;
        } else {
            if (*sp.s == '\\' && sp.s[1] != '\0')
                sp.s++;
            text_add_char(&sp.word, *sp.s++);
            sp.any = true;
        }
    }
    end_word(arena, &sp, out);
    if (out->count == 0)
        return error_set(err, ERR_INVALID, "command is empty");
    return true;
}

// --- option lists

static const char *const initdb_forbidden[] = {"pgdata",    "nosync",  "no-sync",  "pwfile",
                                               "sync-only", "version", "pwprompt", NULL};
static const char *const basebackup_forbidden[] = {
    "pgdata", "format", "wal-method", "xlog-method", "gzip",        "version", "dbname",
    "host",   "port",   "username",   "password",    "no-password", NULL};
static const char *const rewind_forbidden[] = {"target-pgdata",
                                               "source-pgdata",
                                               "source-server",
                                               "write-recovery-conf",
                                               "dry-run",
                                               "restore-target-wal",
                                               "config-file",
                                               "no-ensure-shutdown",
                                               "version",
                                               "help",
                                               NULL};

const OptionRules initdb_options = {"initdb", initdb_forbidden, true};
const OptionRules basebackup_options = {"basebackup", basebackup_forbidden, false};
const OptionRules rewind_options = {"rewind", rewind_forbidden, false};

// getopt_long takes abbreviations, so a beginning of a forbidden name is as bad as the name.
static bool is_forbidden(const OptionRules *rules, const char *name)
{
    for (const char *const *f = rules->forbidden; *f != NULL; f++)
        if (str_starts(*f, name))
            return true;
    return false;
}

static bool is_option_name(const char *name)
{
    return name[0] != '\0' && name[0] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(name);
}

// "'x y'" from a YAML that quoted twice.
static const char *unquoted(Arena *arena, const char *value)
{
    const size_t length = strlen(value);
    if (length >= 2 && (value[0] == '"' || value[0] == '\'') && value[length - 1] == value[0])
        return arena_strndup(arena, value + 1, length - 2);
    return value;
}

static bool reject(Arena *arena, const OptionRules *rules, const char *option, const char *why,
                   StringList *notes, Error *err)
{
    if (rules->strict)
        return error_set(err, ERR_INVALID, "%s option '%s' %s", rules->tool, option, why);
    string_list_add(
        notes, arena,
        arena_printf(arena, "%s option '%s' %s, ignoring it", rules->tool, option, why));
    return true;
}

// name may be "name=value" when value is NULL.
static bool add_option(Arena *arena, const OptionRules *rules, const char *option,
                       const char *value, StringList *argv, StringList *notes, Error *err)
{
    const char *name = arena_strndup(arena, option, strcspn(option, "="));
    if (!is_option_name(name))
        return reject(arena, rules, option, "is not the name of a long option", notes, err);
    if (is_forbidden(rules, name))
        return reject(arena, rules, option, "is set by Howdah itself", notes, err);
    string_list_add(argv, arena,
                    value == NULL ? arena_printf(arena, "--%s", option)
                                  : arena_printf(arena, "--%s=%s", option, unquoted(arena, value)));
    return true;
}

static bool add_entry(Arena *arena, const OptionRules *rules, const Tree *entry, StringList *argv,
                      StringList *notes, Error *err)
{
    const char *text = tree_scalar_text(arena, entry);
    if (text != NULL)
        return add_option(arena, rules, text, NULL, argv, notes, err);
    if (entry->kind != TREE_MAP || entry->count != 1)
        return reject(arena, rules, "?", "is neither a name nor one name with its value", notes,
                      err);
    const char *value = tree_scalar_text(arena, entry->entries[0].value);
    if (value == NULL)
        return reject(arena, rules, entry->entries[0].key, "has a value that is no text", notes,
                      err);
    return add_option(arena, rules, entry->entries[0].key, value, argv, notes, err);
}

bool options_add(Arena *arena, const OptionRules *rules, const Tree *options, StringList *argv,
                 StringList *notes, Error *err)
{
    if (options == NULL || options->kind == TREE_NULL)
        return true;
    if (options->kind != TREE_LIST && options->kind != TREE_MAP)
        return reject(arena, rules, "?", "is neither in a list nor in a map", notes, err);
    for (size_t i = 0; i < options->count; i++) {
        const TreeEntry *e = &options->entries[i];
        if (options->kind == TREE_LIST) {
            if (!add_entry(arena, rules, e->value, argv, notes, err))
                return false;
            continue;
        }
        const char *value = tree_scalar_text(arena, e->value);
        if (e->value->kind == TREE_NULL || str_empty(value))
            continue;
        if (!add_option(arena, rules, e->key, value, argv, notes, err))
            return false;
    }
    return true;
}

static bool names_option(const char *text, const char *name)
{
    const size_t length = strlen(name);
    return str_starts(text, name) && (text[length] == '\0' || text[length] == '=');
}

bool options_have(const Tree *options, const char *name)
{
    for (size_t i = 0; options != NULL && i < options->count; i++) {
        const TreeEntry *e = &options->entries[i];
        if (options->kind == TREE_MAP && str_eq(e->key, name))
            return true;
        if (options->kind != TREE_LIST)
            continue;
        if (e->value->kind == TREE_MAP && tree_get(e->value, name) != NULL)
            return true;
        if (names_option(str_or(tree_string_of(e->value), ""), name))
            return true;
    }
    return false;
}

// --- the postmaster

static const char *const command_line_names[] = {
    "listen_addresses",
    "port",
    "cluster_name",
    "wal_level",
    "hot_standby",
    "max_connections",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "track_commit_timestamp",
    "max_replication_slots",
    "max_worker_processes",
    "wal_log_hints",
};

// What the control file says of a parameter a standby may not have less of than its primary;
// 0: nothing, or not such a parameter.
static int control_minimum(const ControlData *c, const char *name)
{
    const struct {
        const char *name;
        int value;
    } minima[] = {
        {"max_connections", c->max_connections},
        {"max_prepared_transactions", c->max_prepared_transactions},
        {"max_locks_per_transaction", c->max_locks_per_transaction},
        {"max_worker_processes", c->max_worker_processes},
        {"max_wal_senders", c->max_wal_senders},
    };
    for (size_t i = 0; i < COUNT_OF(minima); i++)
        if (str_eq(minima[i].name, name))
            return minima[i].value;
    return 0;
}

// wanted NULL: not configured, so that the server's own default would count.
static const char *raise(Arena *arena, PostmasterCommand *command, const ControlData *control,
                         const char *name, const char *wanted)
{
    const int minimum = control_minimum(control, name);
    if (minimum <= 0)
        return wanted;
    const char *text = arena_printf(arena, "%d", minimum);
    if (wanted == NULL)
        return text;
    int64_t value;
    if (!parse_int64(wanted, &value) || value >= minimum)
        return wanted;
    ASSERT(command->raised_count < COUNT_OF(command->raised));
    command->raised[command->raised_count++] =
        (RaisedSetting){.name = name, .control = text, .wanted = wanted};
    return text;
}

PostmasterCommand postmaster_command(Arena *arena, const ConfInput *input, const char *config_file,
                                     const ControlData *control)
{
    const PostgresSettings *s = input->settings;
    PostmasterCommand command = {0};
    StringList *argv = &command.argv;
    string_list_add(argv, arena, program_path(arena, s, str_or(s->bin_name_postgres, "postgres")));
    string_list_add(argv, arena, "-D");
    string_list_add(argv, arena, s->data_dir);
    string_list_add(argv, arena, arena_printf(arena, "--config-file=%s", config_file));
    for (size_t i = 0; i < COUNT_OF(command_line_names); i++) {
        const char *name = command_line_names[i];
        const char *value = conf_parameter(arena, input, name);
        if (input->standby && control != NULL && control->known)
            value = raise(arena, &command, control, name, value);
        if (value != NULL)
            string_list_add(argv, arena, arena_printf(arena, "--%s=%s", name, value));
    }
    return command;
}

const char *program_path(Arena *arena, const PostgresSettings *settings, const char *name)
{
    return str_empty(settings->bin_dir) ? name : path_join(arena, settings->bin_dir, name);
}
