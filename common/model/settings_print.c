// Help, reference and sample file, printed from the table.
#include "common/model/settings_check.h"

#include <inttypes.h>
#include <string.h>

static const char *type_text(Arena *arena, const Option *option)
{
    if (option->type == OPTION_WORD)
        return arena_printf(arena, "one of %s", option->words);
    if (!option->bounded)
        return option_type_name(option->type);
    if (option->max >= INT32_MAX)
        return arena_printf(arena, "%s, at least %" PRId64, option_type_name(option->type),
                            option->min);
    return arena_printf(arena, "%s, %" PRId64 " to %" PRId64, option_type_name(option->type),
                        option->min, option->max);
}

static const char *default_text(const Option *option)
{
    return option->required ? "required"
                            : str_or(option->fallback, str_or(option->prose_default, ""));
}

static const char *help_text(Arena *arena, const Option *option)
{
    return option->alias_of != NULL ? arena_printf(arena, "old name of %s", option->alias_of)
                                    : option->help;
}

static const char *section_of(Arena *arena, const Option *option)
{
    if (option->where == DYNAMIC && strchr(option->path, '.') == NULL)
        return "The cluster's configuration";
    const size_t length = strcspn(option->path, ".");
    if (option->path[length] == '\0' && !str_eq(option->path, "tags"))
        return "Top level";
    return arena_strndup(arena, option->path, length);
}

// --- reference

static const char *where_text(const Option *option)
{
    switch (option->where) {
    case LOCAL:
        return "member";
    case DYNAMIC:
        return "cluster";
    case BOTH:
        return "both";
    default:
        return "";
    }
}

static const char *applies_text(Applies applies)
{
    switch (applies) {
    case ON_RELOAD:
        return "reload";
    case ON_RESTART:
        return "agent restart";
    case AT_BOOTSTRAP:
        return "new cluster";
    case ON_SERVER_RESTART:
        return "server restart";
    }
    return "";
}

// A pipe would end the table's cell, and <name> would be taken for HTML.
static void add_cell(Text *text, const char *content)
{
    text_add(text, " ");
    for (const char *s = content; *s != '\0'; s++) {
        if (*s == '|' || *s == '<')
            text_add_char(text, '\\');
        text_add_char(text, *s);
    }
    text_add(text, " |");
}

static void add_reference_row(Arena *arena, Text *text, const Option *option)
{
    text_add_char(text, '|');
    add_cell(text, arena_printf(arena, "`%s`", option->path));
    add_cell(text, type_text(arena, option));
    add_cell(text, default_text(option));
    add_cell(text, where_text(option));
    add_cell(text, applies_text(option->applies));
    add_cell(text, option->env == NULL ? "" : arena_printf(arena, "`%s`", option->env));
    add_cell(text, help_text(arena, option));
    text_add_char(text, '\n');
}

char *settings_reference_markdown(Arena *arena)
{
    Text text = text_new(arena);
    text_add(&text,
             "# Settings\n\n"
             "*Printed from the table that checks them, common/model/settings_table.c.*\n\n"
             "Where: *member* = the settings file and the environment; *cluster* = the "
             "cluster's configuration in\n"
             "the store (`howdahctl edit-config`; `bootstrap.dcs` of a new cluster); *both* = "
             "either, and the\n"
             "member's own wins. The variable's name begins with `HOWDAH_` or `PATRONI_`; the "
             "first beats the\n"
             "second, and both beat the file. The section may be called `etcd` as well as "
             "`etcd3`.\n");
    const char *section = "";
    for (size_t i = 0; i < option_count; i++) {
        const char *now = section_of(arena, &option_table[i]);
        if (!str_eq(now, section))
            text_addf(&text,
                      "\n## %s\n\n| option | type | default | where | takes effect on | variable | "
                      "meaning |\n|---|---|---|---|---|---|---|\n",
                      now);
        section = now;
        add_reference_row(arena, &text, &option_table[i]);
    }
    return text.data;
}

// --- help

char *settings_help(Arena *arena)
{
    Text text = text_new(arena);
    const char *section = "";
    for (size_t i = 0; i < option_count; i++) {
        const Option *option = &option_table[i];
        if (option->alias_of != NULL)
            continue;
        const char *now = section_of(arena, option);
        if (!str_eq(now, section))
            text_addf(&text, "%s%s:\n", section[0] == '\0' ? "" : "\n", now);
        section = now;
        const char *fallback = default_text(option);
        text_addf(&text, "  %s (%s%s%s)\n      %s\n", option->path, type_text(arena, option),
                  option->required      ? "; "
                  : fallback[0] == '\0' ? ""
                                        : "; default: ",
                  fallback, option->help);
    }
    return text.data;
}

// --- sample file

typedef struct {
    Arena *arena;
    Text text;
    const char *open; // path of the section whose lines are being written: "postgresql.bin_name"
} Sample;

// Has this section, or one below it, a line that is not commented out?
static bool has_sample(const char *section, unsigned where)
{
    const size_t length = strlen(section);
    for (size_t i = 0; i < option_count; i++)
        if ((option_table[i].where & where) && option_table[i].sample != NULL &&
            str_starts(option_table[i].path, section) && option_table[i].path[length] == '.')
            return true;
    return false;
}

static void add_indented(Sample *sample, int depth, bool active, const char *line)
{
    text_addf(&sample->text, "%*s%s%s\n", 2 * depth, "", active ? "" : "#", line);
}

// Writes the headers of the sections that the option is in and the last one was not.
static int open_sections(Sample *sample, const Option *option, int depth)
{
    const char *path = option->path;
    for (const char *dot = strchr(path, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        const char *section = arena_strndup(sample->arena, path, (size_t)(dot - path));
        const size_t length = strlen(section);
        const bool open = str_starts(sample->open, section) &&
                          (sample->open[length] == '\0' || sample->open[length] == '.');
        const char *dash = strrchr(section, '.');
        if (!open)
            add_indented(sample, depth, has_sample(section, option->where),
                         arena_printf(sample->arena, "%s:", dash == NULL ? section : dash + 1));
        depth++;
    }
    const char *last = strrchr(path, '.');
    sample->open = last == NULL ? "" : arena_strndup(sample->arena, path, (size_t)(last - path));
    return depth;
}

static void add_sample_option(Sample *sample, const Option *option, int depth)
{
    depth = open_sections(sample, option, depth);
    const char *dot = strrchr(option->path, '.');
    add_indented(sample, depth, false,
                 option->prose_default == NULL ? arena_printf(sample->arena, " %s", option->help)
                                               : arena_printf(sample->arena, " %s; default: %s",
                                                              option->help, option->prose_default));
    const char *value = option->sample != NULL ? option->sample : str_or(option->fallback, "");
    add_indented(sample, depth, option->sample != NULL,
                 arena_printf(sample->arena, "%s:%s%s", dot == NULL ? option->path : dot + 1,
                              value[0] == '\0' ? "" : " ", value));
}

static void add_cluster_options(Sample *sample)
{
    sample->open = "";
    text_add(&sample->text, "  # The new cluster's configuration; howdahctl edit-config changes it "
                            "afterwards.\n  dcs:\n");
    for (size_t i = 0; i < option_count; i++) {
        const Option *option = &option_table[i];
        if (option->where == DYNAMIC && option->alias_of == NULL &&
            strchr(option->path, '.') == NULL && !str_starts(option->help, "accepted for Patroni"))
            add_sample_option(sample, option, 2);
    }
    text_add(&sample->text, "    postgresql:\n      use_pg_rewind: true\n      parameters:\n"
                            "        max_connections: 100\n");
    sample->open = "bootstrap";
}

char *settings_sample_yaml(Arena *arena)
{
    Sample sample = {.arena = arena, .text = text_new(arena), .open = ""};
    text_add(&sample.text, "# Settings of a Howdah member. What is commented out shows the "
                           "default.\n");
    const char *section = "";
    for (size_t i = 0; i < option_count; i++) {
        const Option *option = &option_table[i];
        if (!(option->where & LOCAL) || option->alias_of != NULL ||
            str_starts(option->help, "accepted for Patroni"))
            continue;
        const char *now = section_of(arena, option);
        if (!str_eq(now, section))
            text_add(&sample.text, "\n");
        section = now;
        if (str_eq(option->path, "bootstrap.dcs")) {
            (void)open_sections(&sample, option, 0);
            add_cluster_options(&sample);
        } else {
            add_sample_option(&sample, option, 0);
        }
    }
    return sample.text.data;
}
