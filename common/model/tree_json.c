// JSON both ways. cJSON checks and parses; it keeps numbers as doubles, so a scan beside it hands
// each number node its own source text, in document order.
#include "common/model/tree.h"
#include "common/model/tree_build.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void cjson_release(cJSON **json)
{
    cJSON_Delete(*json);
}

// --- the scan beside the parser

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// RFC 8259's number; the length, 0 if there is none. *real: it has a fraction or an exponent.
static size_t number_length(const char *s, bool *real)
{
    const char *at = s + (*s == '-' ? 1 : 0);
    *real = false;
    if (!is_digit(*at) || (*at == '0' && is_digit(at[1])))
        return 0;
    while (is_digit(*at))
        at++;
    if (*at == '.') {
        *real = true;
        if (!is_digit(*++at))
            return 0;
        while (is_digit(*at))
            at++;
    }
    if (*at == 'e' || *at == 'E') {
        *real = true;
        at++;
        at += *at == '+' || *at == '-' ? 1 : 0;
        if (!is_digit(*at))
            return 0;
        while (is_digit(*at))
            at++;
    }
    return (size_t)(at - s);
}

// s stands on a quote; gives the place behind the closing one, or the text's end.
static const char *skip_string(const char *s, bool *has_nul)
{
    for (s++; *s != '\0' && *s != '"'; s++) {
        if (*s != '\\' || s[1] == '\0')
            continue;
        s++;
        *has_nul = *has_nul || strncmp(s, "u0000", 5) == 0;
    }
    return *s == '"' ? s + 1 : s;
}

// Bounds what the parser is going to allocate, before it does.
static bool check_bounds(const char *text, Error *err)
{
    size_t nodes = 1;
    int depth = 0;
    bool has_nul = false;
    for (const char *s = text; *s != '\0';) {
        if (*s == '"') {
            s = skip_string(s, &has_nul);
            continue;
        }
        nodes += *s == ',' || *s == '[' || *s == '{' ? 1 : 0;
        depth += *s == '[' || *s == '{' ? 1 : 0;
        depth -= *s == ']' || *s == '}' ? 1 : 0;
        if (depth > TREE_DEPTH_MAX)
            return error_set(err, ERR_INVALID, "JSON is nested deeper than %d", TREE_DEPTH_MAX);
        s++;
    }
    if (nodes > TREE_NODES_MAX)
        return error_set(err, ERR_INVALID, "JSON has more than %d values", TREE_NODES_MAX);
    if (has_nul)
        return error_set(err, ERR_INVALID, "JSON string holds a NUL character");
    return true;
}

static const char *next_number(const char *s)
{
    bool ignored = false;
    while (*s != '\0' && *s != '-' && !is_digit(*s))
        s = *s == '"' ? skip_string(s, &ignored) : s + 1;
    return s;
}

// --- cJSON's tree into ours

typedef struct {
    Arena *arena;
    const char *rest; // source behind the last number taken
    Error *err;
} Reader;

static bool read_number(Reader *reader, const Tree **out)
{
    reader->rest = next_number(reader->rest);
    bool real;
    const size_t length = number_length(reader->rest, &real);
    if (length == 0)
        return error_set(reader->err, ERR_INVALID, "JSON number '%.20s' is malformed",
                         reader->rest);
    const char *source = arena_strndup(reader->arena, reader->rest, length);
    reader->rest += length;
    int64_t value;
    // An integer beyond int64 keeps its digits as a real does: it is printed as it came.
    *out = !real && parse_int64(source, &value) ? tree_int(reader->arena, value)
                                                : tree_real(reader->arena, source);
    return true;
}

static bool read_value(Reader *reader, const cJSON *json, const Tree **out)
{
    switch (json->type & 0xFF) {
    case cJSON_False:
    case cJSON_True:
        *out = tree_bool(reader->arena, cJSON_IsTrue(json));
        return true;
    case cJSON_Number:
        return read_number(reader, out);
    case cJSON_String:
        *out = tree_string(reader->arena, tree_valid_utf8(reader->arena, json->valuestring));
        return true;
    case cJSON_Array:
    case cJSON_Object:
        break;
    default:
        *out = tree_null(reader->arena);
        return true;
    }
    Tree *parent = cJSON_IsArray(json) ? tree_list(reader->arena) : tree_map(reader->arena);
    for (const cJSON *child = json->child; child != NULL; child = child->next) {
        const Tree *value;
        if (!read_value(reader, child, &value))
            return false;
        // Before duplicates are looked for: two broken keys may become one.
        const char *key =
            child->string == NULL ? NULL : tree_valid_utf8(reader->arena, child->string);
        tree_push(reader->arena, parent, key, value);
    }
    if (parent->kind == TREE_MAP)
        tree_drop_duplicates(reader->arena, parent);
    *out = parent;
    return true;
}

static int line_of(const char *text, const char *at, int *column)
{
    int line = 1;
    *column = 1;
    for (; text < at && *text != '\0'; text++) {
        line += *text == '\n' ? 1 : 0;
        *column = *text == '\n' ? 1 : *column + 1;
    }
    return line;
}

bool tree_parse_json(Arena *arena, const char *text, const Tree **out, Error *err)
{
    if (text == NULL)
        return error_set(err, ERR_INVALID, "no JSON text");
    const size_t length = strlen(text);
    if (length > TREE_BYTES_MAX)
        return error_set(err, ERR_INVALID, "JSON of %zu bytes is larger than the limit of %d",
                         length, TREE_BYTES_MAX);
    if (!check_bounds(text, err))
        return false;

    const char *stopped = text;
    AUTO(cjson_release) cJSON *json = cJSON_ParseWithLengthOpts(text, length + 1, &stopped, true);
    if (json == NULL) {
        int column;
        const int line = line_of(text, stopped, &column);
        return error_set(err, ERR_INVALID, "JSON is malformed at line %d, column %d, near '%.20s'",
                         line, column, stopped < text + length ? stopped : "");
    }
    Reader reader = {.arena = arena, .rest = text, .err = err};
    return read_value(&reader, json, out);
}

// --- printing

typedef struct {
    Text text;
    const char *comma, *colon;
} Printer;

static void print_string(Text *text, const char *s)
{
    text_add_char(text, '"');
    while (*s != '\0') {
        const uint32_t point = tree_take_code_point(&s);
        static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
        const char *found = point < 0x80 ? strchr(escaped, (int)point) : NULL;
        if (found != NULL) {
            text_add_char(text, '\\');
            text_add_char(text, letters[found - escaped]);
        } else if (point >= 0x10000) {
            text_addf(text, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xD800 + ((point - 0x10000) >> 10),
                      0xDC00 + ((point - 0x10000) & 0x3FF));
        } else if (point < 0x20 || point >= 0x7F) {
            text_addf(text, "\\u%04" PRIx32, point);
        } else {
            text_add_char(text, (char)point);
        }
    }
    text_add_char(text, '"');
}

// A real that YAML wrote in a way JSON does not know (1_0.5, .5, .inf) is rewritten.
static void print_real(Text *text, const char *source)
{
    bool real;
    if (source[number_length(source, &real)] == '\0' && *source != '\0') {
        text_add(text, source);
        return;
    }
    char plain[64]; // has room for tree_format_real too
    size_t length = 0;
    for (const char *s = source; *s != '\0' && length + 1 < sizeof plain; s++)
        if (*s != '_')
            plain[length++] = *s;
    plain[length] = '\0';
    char *end;
    const double value = strtod(plain, &end);
    if (*end != '\0' || !isfinite(value)) {
        print_string(text, source); // JSON has no infinity
        return;
    }
    tree_format_real(value, plain);
    text_add(text, plain);
}

static void print_value(Printer *printer, const Tree *tree)
{
    Text *text = &printer->text;
    switch (tree->kind) {
    case TREE_NULL:
        text_add(text, "null");
        return;
    case TREE_BOOL:
        text_add(text, tree->boolean ? "true" : "false");
        return;
    case TREE_INT:
        text_addf(text, "%" PRId64, tree->integer);
        return;
    case TREE_REAL:
        print_real(text, tree->text);
        return;
    case TREE_STRING:
        print_string(text, tree->text);
        return;
    case TREE_LIST:
    case TREE_MAP:
        break;
    }
    const bool map = tree->kind == TREE_MAP;
    text_add_char(text, map ? '{' : '[');
    for (size_t i = 0; i < tree->count; i++) {
        if (i > 0)
            text_add(text, printer->comma);
        if (map) {
            print_string(text, tree->entries[i].key);
            text_add(text, printer->colon);
        }
        print_value(printer, tree->entries[i].value);
    }
    text_add_char(text, map ? '}' : ']');
}

char *tree_to_json(Arena *arena, const Tree *tree, JsonStyle style)
{
    const bool spaced = style == JSON_SPACED;
    Printer printer = {
        .text = text_new(arena), .comma = spaced ? ", " : ",", .colon = spaced ? ": " : ":"};
    if (tree == NULL)
        text_add(&printer.text, "null");
    else
        print_value(&printer, tree);
    return printer.text.data;
}
