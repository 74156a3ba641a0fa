// The longest common subsequence by the textbook's table: configurations have hundreds of lines,
// and what both texts begin and end with is set aside first.
#include "ctl/diff.h"

#include "common/base/text.h"

#include <string.h>

enum { CONTEXT = 3, CELLS_MAX = 4 * 1000 * 1000 };

typedef struct {
    const char *text;
    size_t length;
} Line;

typedef struct {
    Line *lines;
    size_t count;
} Lines;

typedef struct {
    char kind; // ' ', '-', '+'
    Line line;
    size_t before, after; // lines of either text in front of this one
} Step;

typedef struct {
    Arena *arena;
    Step *steps;
    size_t count;
    size_t before, after;
} Script;

static Lines split(Arena *arena, const char *text)
{
    size_t count = 0;
    for (const char *c = text; *c != '\0'; c++)
        count += *c == '\n' || c[1] == '\0';
    Lines out = {.lines = ARENA_ARRAY(arena, Line, count)};
    while (*text != '\0') {
        const size_t length = strcspn(text, "\n");
        out.lines[out.count++] = (Line){.text = text, .length = length};
        text += length + (text[length] == '\n' ? 1 : 0);
    }
    return out;
}

static bool same(const Line *a, const Line *b)
{
    return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

static void add_step(Script *script, char kind, const Line *line)
{
    script->steps[script->count++] =
        (Step){.kind = kind, .line = *line, .before = script->before, .after = script->after};
    script->before += kind != '+';
    script->after += kind != '-';
}

// table[i][k]: how many lines the texts have in common from line i and line k on.
static unsigned *common_table(Arena *arena, const Line *a, size_t a_count, const Line *b,
                              size_t b_count)
{
    const size_t width = b_count + 1, cells = (a_count + 1) * width;
    unsigned *table = ARENA_ARRAY(arena, unsigned, cells);
    for (size_t i = a_count; i-- > 0;) {
        for (size_t k = b_count; k-- > 0;) {
            const unsigned down = table[(i + 1) * width + k], right = table[i * width + k + 1];
            table[i * width + k] = same(&a[i], &b[k]) ? table[(i + 1) * width + k + 1] + 1
                                   : down >= right    ? down
                                                      : right;
        }
    }
    return table;
}

static void add_middle(Script *script, const Line *a, size_t a_count, const Line *b, size_t b_count)
{
    size_t i = 0, k = 0;
    if ((a_count + 1) * (b_count + 1) <= CELLS_MAX) {
        const size_t width = b_count + 1;
        const unsigned *table = common_table(script->arena, a, a_count, b, b_count);
        while (i < a_count && k < b_count) {
            if (same(&a[i], &b[k])) {
                add_step(script, ' ', &a[i++]);
                k++;
            } else if (table[(i + 1) * width + k] >= table[i * width + k + 1]) {
                add_step(script, '-', &a[i++]);
            } else {
                add_step(script, '+', &b[k++]);
            }
        }
    }
    while (i < a_count) // and texts too long for the table are replaced whole
        add_step(script, '-', &a[i++]);
    while (k < b_count)
        add_step(script, '+', &b[k++]);
}

static Script compare(Arena *arena, Lines a, Lines b)
{
    Script script = {.arena = arena, .steps = ARENA_ARRAY(arena, Step, a.count + b.count)};
    const size_t shorter = a.count < b.count ? a.count : b.count;
    size_t head = 0, tail = 0;
    while (head < shorter && same(&a.lines[head], &b.lines[head]))
        add_step(&script, ' ', &a.lines[head++]);
    while (tail < shorter - head &&
           same(&a.lines[a.count - 1 - tail], &b.lines[b.count - 1 - tail]))
        tail++;
    add_middle(&script, a.lines + head, a.count - head - tail, b.lines + head,
               b.count - head - tail);
    for (size_t i = a.count - tail; i < a.count; i++)
        add_step(&script, ' ', &a.lines[i]);
    return script;
}

static void add_coloured(Text *out, const char *colour, const char *text, size_t length)
{
    if (colour != NULL)
        text_add(out, colour);
    text_add_bytes(out, text, length);
    if (colour != NULL)
        text_add(out, "\033[0m");
    text_add_char(out, '\n');
}

// "12,3", but "12" for one line, and "11,0" for none behind line 11.
static const char *range(Arena *arena, size_t start, size_t count)
{
    if (count == 1)
        return arena_printf(arena, "%zu", start + 1);
    return arena_printf(arena, "%zu,%zu", start + (count > 0 ? 1 : 0), count);
}

static void add_hunk(Text *out, const Script *script, size_t first, size_t end, bool colour)
{
    size_t before = 0, after = 0;
    for (size_t i = first; i < end; i++) {
        before += script->steps[i].kind != '+';
        after += script->steps[i].kind != '-';
    }
    const Step *start = &script->steps[first];
    const char *heading =
        arena_printf(script->arena, "@@ -%s +%s @@", range(script->arena, start->before, before),
                     range(script->arena, start->after, after));
    add_coloured(out, colour ? "\033[36m" : NULL, heading, strlen(heading));
    for (size_t i = first; i < end; i++) {
        const Step *step = &script->steps[i];
        const char *line = arena_printf(script->arena, "%c%.*s", step->kind, (int)step->line.length,
                                        step->line.text);
        const char *escape = step->kind == '-' ? "\033[31m" : step->kind == '+' ? "\033[32m" : NULL;
        add_coloured(out, colour ? escape : NULL, line, strlen(line));
    }
}

char *diff_unified(Arena *arena, const char *before, const char *after, bool colour)
{
    const Script script = compare(arena, split(arena, before), split(arena, after));
    Text out = text_new(arena);
    for (size_t i = 0; i < script.count; i++) {
        if (script.steps[i].kind == ' ')
            continue;
        // A hunk goes on while no more than twice the context lies between two changes.
        size_t last = i;
        for (size_t k = i; k < script.count && k - last <= 2 * CONTEXT + 1; k++)
            if (script.steps[k].kind != ' ')
                last = k;
        const size_t first = i > CONTEXT ? i - CONTEXT : 0;
        const size_t end = last + 1 + CONTEXT < script.count ? last + 1 + CONTEXT : script.count;
        if (out.length == 0)
            text_add(&out, "--- \n+++ \n");
        add_hunk(&out, &script, first, end, colour);
        i = last;
    }
    return out.data;
}
