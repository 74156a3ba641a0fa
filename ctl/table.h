// Rows of values in the formats of patronictl: a bordered table, tab-separated text, JSON, YAML.
// Pure.
#pragma once
#include "common/model/tree.h"

typedef enum {
    FORMAT_PRETTY,
    FORMAT_TSV,
    FORMAT_JSON,
    FORMAT_YAML,
} Format;

extern const char *const FORMAT_CHOICES[]; // for OPTION_CHOICE
Format format_parse(const char *text);     // one of the choices; NULL: pretty

typedef struct {
    const char *name;    // key in JSON and YAML, heading in TSV
    const char *heading; // in a bordered table; NULL: name
    bool right;          // aligned to the right
} Column;

typedef struct {
    const Column *columns;
    size_t column_count;
    const Tree **cells; // rows one after another; NULL: empty
    size_t row_count;
    const char *title;     // laid over the top border; NULL: none
    bool omit_empty;       // JSON and YAML leave empty values out
    const char *delimiter; // of TSV; NULL: a tab
} Table;

// Ends with a newline, except for an empty one.
char *table_format(Arena *arena, const Table *table, Format format);
// As Python's str() shows it: maps and lists in YAML's flow style.
const char *table_cell_text(Arena *arena, const Tree *cell);
// Columns a terminal needs for it; UTF-8.
size_t display_width(const char *text, size_t length);
