#include "ctl/options.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const CommandLine *line;
    Arena *arena;
    int argc, next;
    char *const *argv;
    Args *args;
    bool only_words; // after "--"
    const char *problem;
} Parser;

static const Option NO_OPTIONS[] = {{OPTION_END}};

static const Option *options_of(const Command *command)
{
    return command != NULL && command->options != NULL ? command->options : NO_OPTIONS;
}

static bool is_required(const Word *word)
{
    return word->kind == WORD_REQUIRED || word->kind == WORD_ACTION;
}

static void add_word_usage(Text *text, const Command *command, const Word *word)
{
    switch (word->kind) {
    case WORD_NONE:
        break;
    case WORD_REQUIRED:
        text_addf(text, " %s", word->name);
        break;
    case WORD_OPTIONAL:
        text_addf(text, " [%s]", word->name);
        break;
    case WORD_ANY_NUMBER:
        text_addf(text, " [%s]...", word->name);
        break;
    case WORD_ACTION:
        text_add(text, " {");
        for (size_t i = 0; command->actions[i] != NULL; i++)
            text_addf(text, "%s%s", i > 0 ? "|" : "", command->actions[i]);
        text_add(text, "}");
        break;
    }
}

static void add_usage(Text *text, const CommandLine *line, const Command *command)
{
    text_addf(text, "Usage: %s ", line->program);
    if (command == NULL) {
        text_add(text, "[OPTIONS] COMMAND [ARGS]...\n");
        return;
    }
    text_addf(text, "%s [OPTIONS]", command->name);
    for (size_t i = 0; i < COUNT_OF(command->words); i++)
        add_word_usage(text, command, &command->words[i]);
    text_add(text, "\n");
}

// Always false: the caller passes it on.
static bool usage_error(Parser *p, const char *message)
{
    const Command *command = p->args->command;
    Text text = text_new(p->arena);
    add_usage(&text, p->line, command);
    text_addf(&text, "Try '%s%s%s --help' for help.\n\nError: %s\n", p->line->program,
              command != NULL ? " " : "", command != NULL ? command->name : "", message);
    p->problem = text.data;
    return false;
}

// "'--format' / '-f'"
static const char *quoted_names(Arena *arena, const Option *option)
{
    Text text = text_new(arena);
    for (size_t i = COUNT_OF(option->names); i > 0; i--)
        if (option->names[i - 1] != NULL)
            text_addf(&text, "%s'%s'", text.length > 0 ? " / " : "", option->names[i - 1]);
    return text.data;
}

static bool invalid_value(Parser *p, const Option *option, const char *why)
{
    return usage_error(
        p, arena_printf(p->arena, "Invalid value for %s: %s", quoted_names(p->arena, option), why));
}

static const char *choice_list(Arena *arena, const char *const *choices)
{
    Text text = text_new(arena);
    for (size_t i = 0; choices[i] != NULL; i++)
        text_addf(&text, "%s'%s'", i > 0 ? ", " : "", choices[i]);
    return text.data;
}

static bool is_choice(const char *const *choices, const char *value)
{
    for (size_t i = 0; choices[i] != NULL; i++)
        if (str_eq(choices[i], value))
            return true;
    return false;
}

static bool not_a_choice(Parser *p, const char *where, const char *value,
                         const char *const *choices)
{
    return usage_error(p, arena_printf(p->arena, "Invalid value for %s: '%s' is not one of %s.",
                                       where, value, choice_list(p->arena, choices)));
}

static bool take_number(Parser *p, const Option *option, OptionValue *value)
{
    if (option->kind == OPTION_INTEGER) {
        int64_t number;
        if (!parse_int64(value->text, &number) || number > INT32_MAX || number < INT32_MIN)
            return invalid_value(
                p, option, arena_printf(p->arena, "'%s' is not a valid integer.", value->text));
        value->number = (double)number;
        return true;
    }
    char *end;
    value->number = strtod(value->text, &end);
    // No watch of a negative time, and none of a time that never comes.
    if (end == value->text || *end != '\0' || !(value->number >= 0 && value->number < 1e6))
        return invalid_value(p, option,
                             arena_printf(p->arena, "'%s' is not a valid float.", value->text));
    return true;
}

static bool take_value(Parser *p, const Option *option, const char *text)
{
    OptionValue *value = &p->args->values[option->id];
    value->given = true;
    value->text = text;
    switch (option->kind) {
    case OPTION_END:
    case OPTION_FLAG:
    case OPTION_TEXT:
        return true;
    case OPTION_LIST:
        string_list_add(&value->all, p->arena, text);
        return true;
    case OPTION_INTEGER:
    case OPTION_FLOAT:
        return take_number(p, option, value);
    case OPTION_CHOICE:
        if (is_choice(option->choices, text))
            return true;
        return not_a_choice(p, quoted_names(p->arena, option), text, option->choices);
    case OPTION_FILE:
        if (str_eq(text, "-") || access(text, R_OK) == 0)
            return true;
        return invalid_value(
            p, option, arena_printf(p->arena, "'%s': No such file, or it cannot be read", text));
    }
    return false;
}

static const Option *find_in(const Option *options, const char *name, size_t length)
{
    for (; options->kind != OPTION_END; options++)
        for (size_t i = 0; i < COUNT_OF(options->names); i++)
            if (options->names[i] != NULL && strlen(options->names[i]) == length &&
                memcmp(options->names[i], name, length) == 0)
                return options;
    return NULL;
}

// The command's own first: query's -c is not the configuration file.
static const Option *find_option(const Parser *p, const char *name, size_t length)
{
    const Option *option = find_in(options_of(p->args->command), name, length);
    return option != NULL ? option : find_in(p->line->globals, name, length);
}

static bool take_next_as_value(Parser *p, const Option *option, const char *name)
{
    if (p->next >= p->argc)
        return usage_error(p, arena_printf(p->arena, "Option '%s' requires an argument.", name));
    return take_value(p, option, p->argv[p->next++]);
}

static bool parse_long(Parser *p, const char *word)
{
    const char *equals = strchr(word, '=');
    const size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const char *name = arena_strndup(p->arena, word, length);
    const Option *option = find_option(p, word, length);
    if (option == NULL)
        return usage_error(p, arena_printf(p->arena, "No such option: %s", name));
    if (option->kind != OPTION_FLAG)
        return equals != NULL ? take_value(p, option, equals + 1)
                              : take_next_as_value(p, option, name);
    if (equals != NULL)
        return usage_error(p, arena_printf(p->arena, "Option '%s' does not take a value.", name));
    return take_value(p, option, NULL);
}

// "-et", "-fjson", "-f json"
static bool parse_short(Parser *p, const char *word)
{
    for (const char *at = word + 1; *at != '\0'; at++) {
        const char name[3] = {'-', *at, '\0'};
        const Option *option = find_option(p, name, 2);
        if (option == NULL)
            return usage_error(p, arena_printf(p->arena, "No such option: %s", name));
        if (option->kind != OPTION_FLAG)
            return at[1] != '\0' ? take_value(p, option, at + 1)
                                 : take_next_as_value(p, option, arena_strdup(p->arena, name));
        if (!take_value(p, option, NULL))
            return false;
    }
    return true;
}

static bool take_word(Parser *p, const char *word)
{
    if (p->args->command != NULL) {
        string_list_add(&p->args->words, p->arena, word);
        return true;
    }
    for (size_t i = 0; i < p->line->command_count; i++) {
        if (str_eq(p->line->commands[i].name, word)) {
            p->args->command = &p->line->commands[i];
            return true;
        }
    }
    return usage_error(p, arena_printf(p->arena, "No such command '%s'.", word));
}

static bool parse_all(Parser *p)
{
    while (p->next < p->argc) {
        const char *word = p->argv[p->next++];
        bool ok = true;
        if (p->only_words || word[0] != '-' || word[1] == '\0')
            ok = take_word(p, word);
        else if (str_eq(word, "--"))
            p->only_words = true;
        else if (word[1] == '-')
            ok = parse_long(p, word);
        else
            ok = parse_short(p, word);
        if (!ok)
            return false;
    }
    return true;
}

// The action comes last, behind any number of members.
static bool take_action(Parser *p, const Word *word)
{
    Args *args = p->args;
    size_t required = 0;
    for (size_t i = 0; i < COUNT_OF(args->command->words); i++)
        required += is_required(&args->command->words[i]);
    if (args->words.count > 0 && args->words.count < required)
        return usage_error(p, arena_printf(p->arena, "Missing argument '%s'.", word->name));
    if (args->words.count == 0) // then the first one is missing, too
        return true;
    args->action = args->words.items[--args->words.count];
    if (is_choice(args->command->actions, args->action))
        return true;
    return not_a_choice(p, arena_printf(p->arena, "'%s'", word->name), args->action,
                        args->command->actions);
}

static bool check_words(Parser *p)
{
    const Command *command = p->args->command;
    size_t most = 0;
    for (size_t i = COUNT_OF(command->words); i > 0; i--)
        if (command->words[i - 1].kind == WORD_ACTION && !take_action(p, &command->words[i - 1]))
            return false;
    for (size_t i = 0; i < COUNT_OF(command->words); i++) {
        const Word *word = &command->words[i];
        if (word->kind == WORD_NONE || word->kind == WORD_ACTION)
            continue;
        if (is_required(word) && p->args->words.count <= i)
            return usage_error(p, arena_printf(p->arena, "Missing argument '%s'.", word->name));
        if (word->kind == WORD_ANY_NUMBER)
            return true;
        most++;
    }
    if (p->args->words.count > most)
        return usage_error(p, arena_printf(p->arena, "Got unexpected extra argument (%s)",
                                           p->args->words.items[most]));
    return true;
}

bool options_parse(const CommandLine *line, Arena *arena, int argc, char *const argv[], Args *out,
                   const char **out_problem)
{
    *out = (Args){0};
    Parser parser = {
        .line = line, .arena = arena, .argc = argc, .next = 1, .argv = argv, .args = out};
    bool ok = parse_all(&parser);
    const bool informs = args_has(out, OPT_HELP) || args_has(out, OPT_VERSION);
    if (ok && !informs)
        ok = out->command == NULL ? usage_error(&parser, "Missing command.") : check_words(&parser);
    *out_problem = parser.problem;
    return ok;
}

static const char *value_name(Arena *arena, const Option *option)
{
    switch (option->kind) {
    case OPTION_END:
    case OPTION_FLAG:
        break;
    case OPTION_TEXT:
    case OPTION_LIST:
        return " TEXT";
    case OPTION_INTEGER:
        return " INTEGER";
    case OPTION_FLOAT:
        return " FLOAT";
    case OPTION_FILE:
        return " FILENAME";
    case OPTION_CHOICE: {
        Text text = text_new(arena);
        for (size_t i = 0; option->choices[i] != NULL; i++)
            text_addf(&text, "%s%s", i > 0 ? "|" : " [", option->choices[i]);
        text_add(&text, "]");
        return text.data;
    }
    }
    return "";
}

enum { HELP_COLUMN = 34 }; // where the descriptions start

static void add_help_line(Text *text, const char *left, const char *right)
{
    const int length = (int)strlen(left);
    if (length + 2 > HELP_COLUMN)
        text_addf(text, "%s\n%*s%s\n", left, HELP_COLUMN, "", right);
    else
        text_addf(text, "%-*s%s\n", HELP_COLUMN, left, right);
}

static void add_option_lines(Text *text, Arena *arena, const Option *options)
{
    for (; options->kind != OPTION_END; options++) {
        Text left = text_new(arena);
        text_add(&left, "  ");
        for (size_t i = 0; i < COUNT_OF(options->names); i++)
            if (options->names[i] != NULL)
                text_addf(&left, "%s%s", i > 0 ? ", " : "", options->names[i]);
        text_add(&left, value_name(arena, options));
        add_help_line(text, left.data, options->help);
    }
}

char *options_help(const CommandLine *line, Arena *arena, const Command *command)
{
    Text text = text_new(arena);
    add_usage(&text, line, command);
    text_addf(&text, "\n  %s\n\nOptions:\n", command != NULL ? command->summary : line->summary);
    add_option_lines(&text, arena, command != NULL ? options_of(command) : line->globals);
    if (command != NULL) {
        text_addf(&text, "\nThe options of %s --help may follow the command, too.\n",
                  line->program);
    } else {
        text_add(&text, "\nCommands:\n");
        for (size_t i = 0; i < line->command_count; i++)
            add_help_line(&text, arena_printf(arena, "  %s", line->commands[i].name),
                          line->commands[i].summary);
    }
    return text.data;
}
