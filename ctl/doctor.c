// doctor: gathers, checks, prints. docs/howdahctl.md, "doctor".
#include "ctl/doctor.h"

#include "ctl/connect.h"
#include "ctl/table.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS = 5 };

static void print_indented(const char *text, const char *first, const char *next)
{
    const char *lead = first;
    while (*text != '\0') {
        const size_t length = strcspn(text, "\n");
        printf("%s%.*s\n", lead, (int)length, text);
        lead = next;
        text += length + (text[length] == '\n' ? 1 : 0);
    }
}

static void print_pretty(const DoctorReport *report)
{
    const char *topic = NULL;
    for (size_t i = 0; i < report->count; i++) {
        const DoctorLine *line = &report->lines[i];
        if (!str_eq(line->topic, topic))
            puts(line->topic);
        topic = line->topic;
        printf("  %-7s  %s: %s\n", verdict_name(line->verdict), line->check, line->found);
        if (line->mend != NULL)
            print_indented(line->mend, "             > ", "             > ");
    }
    printf("\n%zu ok, %zu warn, %zu wrong, %zu skipped\n", doctor_count(report, DOCTOR_OK),
           doctor_count(report, DOCTOR_WARN), doctor_count(report, DOCTOR_WRONG),
           doctor_count(report, DOCTOR_SKIPPED));
}

// A record of TSV is one line: what mends it has its line breaks written as \n.
static const char *on_one_line(Arena *arena, const char *text)
{
    Text line = text_new(arena);
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            text_add(&line, "\\n");
        else
            text_add_char(&line, *text);
    }
    return line.data;
}

static void print_table(const DoctorReport *report, Format format)
{
    static const Column columns[COLUMNS] = {{"Status", NULL, false},
                                            {"Topic", NULL, false},
                                            {"Check", NULL, false},
                                            {"Found", NULL, false},
                                            {"Mend", NULL, false}};
    const size_t all = report->count * COLUMNS;
    const Tree **cells = ARENA_ARRAY(report->arena, const Tree *, all);
    for (size_t i = 0; i < report->count; i++) {
        const DoctorLine *line = &report->lines[i];
        const char *const texts[COLUMNS] = {verdict_name(line->verdict), line->topic, line->check,
                                            line->found, str_or(line->mend, "")};
        for (size_t c = 0; c < COLUMNS; c++)
            cells[i * COLUMNS + c] =
                tree_string(report->arena,
                            format == FORMAT_TSV ? on_one_line(report->arena, texts[c]) : texts[c]);
    }
    const Table table = {
        .columns = columns, .column_count = COLUMNS, .cells = cells, .row_count = report->count};
    fputs(table_format(report->arena, &table, format), stdout);
}

bool run_doctor(Ctl *ctl, const Args *args, Error *err)
{
    DoctorFacts facts;
    if (ctl->api_url != NULL)
        return error_set(err, ERR_INVALID,
                         "doctor looks at the store itself, not through a member: leave out --api");
    if (!ctl->has_settings)
        return error_set(err, ERR_INVALID,
                         "no settings: give an agent's file, or one of howdahctl's (-c)");
    const char *scope = args_word(args, 0);
    if (scope == NULL && !ctl_default_scope(ctl, &scope, err))
        return false;
    doctor_gather(ctl, args_text(args, OPT_CONFIG), scope, &facts);
    DoctorReport report = {.arena = ctl->arena};
    doctor_run_checks(&facts, &report);
    const Format format = format_parse(args_text(args, OPT_FORMAT));
    if (format == FORMAT_PRETTY)
        print_pretty(&report);
    else
        print_table(&report, format);
    ctl->found_wrong = doctor_count(&report, DOCTOR_WRONG) > 0;
    return true;
}
