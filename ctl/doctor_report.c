#include "ctl/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *verdict_name(Verdict verdict)
{
    static const char *const names[] = {[DOCTOR_OK] = "ok",
                                        [DOCTOR_WARN] = "warn",
                                        [DOCTOR_WRONG] = "wrong",
                                        [DOCTOR_SKIPPED] = "skipped"};
    return names[verdict];
}

size_t doctor_count(const DoctorReport *report, Verdict verdict)
{
    size_t count = 0;
    for (size_t i = 0; i < report->count; i++)
        count += report->lines[i].verdict == verdict ? 1 : 0;
    return count;
}

PRINTF_LIKE(2, 0) static const char *formatted(Arena *arena, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, fmt, args);
    ASSERT(length >= 0);
    char *text = arena_alloc(arena, (size_t)length + 1);
    (void)vsnprintf(text, (size_t)length + 1, fmt, again);
    va_end(again);
    return text;
}

static void add(DoctorReport *report, Verdict verdict, const char *mend, const char *found)
{
    if (report->count == report->capacity) {
        const size_t capacity = report->capacity == 0 ? 64 : 2 * report->capacity;
        DoctorLine *lines = ARENA_ARRAY(report->arena, DoctorLine, capacity);
        if (report->count > 0)
            memcpy(lines, report->lines, report->count * sizeof *lines);
        report->lines = lines;
        report->capacity = capacity;
    }
    report->lines[report->count++] = (DoctorLine){.verdict = verdict,
                                                  .topic = report->topic,
                                                  .check = report->check,
                                                  .found = found,
                                                  .mend = mend};
}

void doctor_ok(DoctorReport *report, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add(report, DOCTOR_OK, NULL, formatted(report->arena, fmt, args));
    va_end(args);
}

void doctor_skipped(DoctorReport *report, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add(report, DOCTOR_SKIPPED, NULL, formatted(report->arena, fmt, args));
    va_end(args);
}

void doctor_warn(DoctorReport *report, const char *mend, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add(report, DOCTOR_WARN, mend, formatted(report->arena, fmt, args));
    va_end(args);
}

void doctor_wrong(DoctorReport *report, const char *mend, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add(report, DOCTOR_WRONG, mend, formatted(report->arena, fmt, args));
    va_end(args);
}

bool doctor_known(DoctorReport *report, const Known *known, const char *what)
{
    if (known->value != NULL)
        return true;
    doctor_skipped(report, "%s: %s", what, str_or(known->why, "not asked for"));
    return false;
}

// --- what checks share

size_t list_count(const Tree *list)
{
    return list != NULL && list->kind == TREE_LIST ? list->count : 0;
}

const Tree *list_at(const Tree *list, size_t i)
{
    return list->entries[i].value;
}

const char *object_name(const Tree *object)
{
    return tree_get_string(tree_get(object, "metadata"), "name", "");
}

const Tree *object_labels(const Tree *object)
{
    return tree_get(tree_get(object, "metadata"), "labels");
}

bool selector_fits(const Tree *selector, const Tree *labels)
{
    if (selector == NULL || selector->kind != TREE_MAP || selector->count == 0)
        return false;
    for (size_t i = 0; i < selector->count; i++)
        if (!str_eq(tree_string_of(selector->entries[i].value),
                    tree_get_string(labels, selector->entries[i].key, NULL)))
            return false;
    return true;
}

const char *join_names(Arena *arena, const StringList *names)
{
    Text text = text_new(arena);
    for (size_t i = 0; i < names->count; i++)
        text_addf(&text, "%s%s", i == 0 ? "" : ", ", names->items[i]);
    return text.data;
}
