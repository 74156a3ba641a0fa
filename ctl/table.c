#include "ctl/table.h"

#include <string.h>
#include <wchar.h>

const char *const FORMAT_CHOICES[] = {"pretty", "tsv", "json", "yaml", "yml", NULL};

Format format_parse(const char *text)
{
    static const struct {
        const char *name;
        Format format;
    } names[] = {
        {"tsv", FORMAT_TSV}, {"json", FORMAT_JSON}, {"yaml", FORMAT_YAML}, {"yml", FORMAT_YAML}};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(names[i].name, text))
            return names[i].format;
    return FORMAT_PRETTY;
}

// Bytes that are not UTF-8 count as one column each.
size_t display_width(const char *text, size_t length)
{
    size_t width = 0;
    mbstate_t state = {0};
    while (length > 0) {
        wchar_t c;
        const size_t taken = mbrtowc(&c, text, length, &state);
        if (taken == 0 || taken > length) {
            state = (mbstate_t){0};
            width++;
            text++;
            length--;
            continue;
        }
        const int columns = wcwidth(c);
        width += columns > 0 ? (size_t)columns : 0;
        text += taken;
        length -= taken;
    }
    return width;
}

const char *table_cell_text(Arena *arena, const Tree *cell)
{
    if (cell == NULL)
        return "";
    if (cell->kind == TREE_MAP || cell->kind == TREE_LIST)
        return tree_to_yaml_flow(arena, cell);
    return str_or(tree_scalar_text(arena, cell), "");
}

static const Tree *cell_at(const Table *table, size_t row, size_t column)
{
    return table->cells[row * table->column_count + column];
}

// --- a bordered table

typedef struct {
    const Table *table;
    Arena *arena;
    const char **texts; // of the cells
    size_t *widths;
    Text out;
} Grid;

static const char *heading(const Column *column)
{
    return column->heading != NULL ? column->heading : column->name;
}

// The nth line of a cell; false past the last.
static bool line_of(const char *text, size_t n, const char **out, size_t *out_length)
{
    for (; n > 0; n--) {
        text = strchr(text, '\n');
        if (text == NULL)
            return false;
        text++;
    }
    *out = text;
    *out_length = strcspn(text, "\n");
    return true;
}

static void widen(size_t *width, const char *text)
{
    const char *line;
    size_t length;
    for (size_t n = 0; line_of(text, n, &line, &length); n++) {
        const size_t needed = display_width(line, length);
        if (needed > *width)
            *width = needed;
    }
}

static Grid grid_of(Arena *arena, const Table *table)
{
    const size_t columns = table->column_count, cells = columns * table->row_count;
    Grid grid = {.table = table,
                 .arena = arena,
                 .texts = ARENA_ARRAY(arena, const char *, cells),
                 .widths = ARENA_ARRAY(arena, size_t, columns),
                 .out = text_new(arena)};
    for (size_t c = 0; c < columns; c++)
        widen(&grid.widths[c], heading(&table->columns[c]));
    for (size_t i = 0; i < cells; i++) {
        grid.texts[i] = table_cell_text(arena, table->cells[i]);
        widen(&grid.widths[i % columns], grid.texts[i]);
    }
    return grid;
}

static void add_repeated(Text *out, char c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        text_add_char(out, c);
}

static void add_rule(Grid *grid)
{
    text_add_char(&grid->out, '+');
    for (size_t c = 0; c < grid->table->column_count; c++) {
        add_repeated(&grid->out, '-', grid->widths[c] + 2);
        text_add_char(&grid->out, '+');
    }
    text_add_char(&grid->out, '\n');
}

// How many bytes of the text fill at most so many columns.
static size_t bytes_within(const char *text, size_t columns)
{
    size_t taken = 0, best = 0;
    while (text[taken] != '\0') {
        taken++;
        while (((unsigned char)text[taken] & 0xC0U) == 0x80U)
            taken++; // into the middle of a character
        if (display_width(text, taken) > columns)
            break;
        best = taken;
    }
    return best;
}

// The title overlays the border behind its first '+', which stays, and so does the last.
static void add_titled_rule(Grid *grid)
{
    const char *title = grid->table->title;
    const size_t start = grid->out.length;
    add_rule(grid);
    if (title == NULL)
        return;
    const size_t width = grid->out.length - 1 - start; // the rule is ASCII: bytes are columns
    const size_t bytes = bytes_within(title, width - 2);
    const char *rest =
        arena_strdup(grid->arena, grid->out.data + start + 1 + display_width(title, bytes));
    grid->out.length = start + 1;
    text_add_bytes(&grid->out, title, bytes);
    text_add(&grid->out, rest);
}

static void add_padded(Grid *grid, size_t column, const char *text, size_t length)
{
    const size_t blanks = grid->widths[column] - display_width(text, length);
    const bool right = grid->table->columns[column].right;
    text_add_char(&grid->out, ' ');
    add_repeated(&grid->out, ' ', right ? blanks : 0);
    text_add_bytes(&grid->out, text, length);
    add_repeated(&grid->out, ' ', right ? 0 : blanks);
    text_add(&grid->out, " |");
}

static void add_lines(Grid *grid, const char *const *texts)
{
    bool more = true;
    for (size_t n = 0; more; n++) {
        const size_t start = grid->out.length;
        more = false;
        text_add_char(&grid->out, '|');
        for (size_t c = 0; c < grid->table->column_count; c++) {
            const char *line = "";
            size_t length = 0;
            if (line_of(texts[c], n, &line, &length))
                more = true;
            add_padded(grid, c, line, length);
        }
        text_add_char(&grid->out, '\n');
        if (!more) { // every cell had ended before
            grid->out.length = start;
            grid->out.data[start] = '\0';
        }
    }
}

static char *format_pretty(Arena *arena, const Table *table)
{
    Grid grid = grid_of(arena, table);
    bool ruled = false;
    for (size_t i = 0; i < table->column_count * table->row_count; i++)
        ruled = ruled || strchr(grid.texts[i], '\n') != NULL;

    const char **headings = ARENA_ARRAY(arena, const char *, table->column_count);
    for (size_t c = 0; c < table->column_count; c++)
        headings[c] = heading(&table->columns[c]);
    add_titled_rule(&grid);
    add_lines(&grid, headings);
    add_rule(&grid);
    for (size_t row = 0; row < table->row_count; row++) {
        add_lines(&grid, grid.texts + row * table->column_count);
        if (ruled || row + 1 == table->row_count)
            add_rule(&grid);
    }
    if (table->row_count == 0)
        add_rule(&grid);
    return grid.out.data;
}

// --- the others

static char *format_tsv(Arena *arena, const Table *table)
{
    const char *delimiter = table->delimiter != NULL ? table->delimiter : "\t";
    Text out = text_new(arena);
    for (size_t c = 0; c < table->column_count; c++)
        text_addf(&out, "%s%s", c > 0 ? delimiter : "", table->columns[c].name);
    for (size_t row = 0; row < table->row_count; row++)
        for (size_t c = 0; c < table->column_count; c++)
            text_addf(&out, "%s%s", c > 0 ? delimiter : "\n",
                      table_cell_text(arena, cell_at(table, row, c)));
    text_add(&out, "\n");
    return out.data;
}

static const Tree *objects_of(Arena *arena, const Table *table)
{
    Tree *list = tree_list(arena);
    for (size_t row = 0; row < table->row_count; row++) {
        Tree *object = tree_map(arena);
        for (size_t c = 0; c < table->column_count; c++) {
            const Tree *cell = cell_at(table, row, c);
            if (table->omit_empty && str_empty(table_cell_text(arena, cell)))
                continue;
            tree_set(arena, object, table->columns[c].name,
                     cell != NULL ? cell : tree_string(arena, ""));
        }
        tree_append(arena, list, object);
    }
    return list;
}

char *table_format(Arena *arena, const Table *table, Format format)
{
    switch (format) {
    case FORMAT_PRETTY:
        return format_pretty(arena, table);
    case FORMAT_TSV:
        return format_tsv(arena, table);
    case FORMAT_JSON:
        return arena_printf(arena, "%s\n",
                            tree_to_json(arena, objects_of(arena, table), JSON_SPACED));
    case FORMAT_YAML:
        return arena_printf(arena, "%s\n", tree_to_yaml(arena, objects_of(arena, table)));
    }
    return NULL;
}
