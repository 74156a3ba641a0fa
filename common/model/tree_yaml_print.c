// YAML out, through libyaml's emitter: it is the twin of PyYAML's, so that safe_dump's layout and
// quoting come out by themselves. Ours are the resolver (what must be quoted) and the order.
#include "common/model/tree_build.h"
#include "common/model/tree_yaml.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

typedef struct {
    Arena *arena;
    yaml_emitter_t emitter;
    YamlResolver resolver;
    bool flow;
    Text text;
} Printer;

static int write_text(void *data, unsigned char *buffer, size_t size)
{
    Printer *printer = data;
    text_add_bytes(&printer->text, (const char *)buffer, size);
    return 1;
}

static void emit(Printer *printer, yaml_event_t *event, int initialized)
{
    ASSERT(initialized); // only memory can be missing: every text is valid UTF-8
    const int emitted = yaml_emitter_emit(&printer->emitter, event);
    ASSERT(emitted);
}

static yaml_char_t *yaml_text(const char *text)
{
    return (yaml_char_t *)(uintptr_t)text; // libyaml copies what it takes without const
}

static void print_scalar(Printer *printer, const char *text, bool plain, yaml_scalar_style_t style)
{
    yaml_event_t event;
    emit(printer, &event,
         yaml_scalar_event_initialize(&event, NULL, NULL, yaml_text(text), (int)strlen(text), plain,
                                      true, style));
}

static void print_string(Printer *printer, const char *source)
{
    const char *text = tree_valid_utf8(printer->arena, source);
    const bool plain = yaml_resolve(&printer->resolver, text) == YAML_PLAIN_STRING;
    print_scalar(printer, text, plain, YAML_ANY_SCALAR_STYLE);
}

// JSON writes reals that YAML 1.1 takes for strings (1e5).
static void print_real(Printer *printer, const char *source)
{
    const YamlPlain plain = yaml_resolve(&printer->resolver, source);
    if (plain == YAML_PLAIN_REAL || plain == YAML_PLAIN_INT) {
        print_scalar(printer, source, true, YAML_PLAIN_SCALAR_STYLE);
        return;
    }
    const double value = strtod(source, NULL);
    char shortest[40];
    if (!isfinite(value)) {
        print_scalar(printer,
                     value > 0   ? ".inf"
                     : value < 0 ? "-.inf"
                                 : ".nan",
                     true, YAML_PLAIN_SCALAR_STYLE);
        return;
    }
    tree_format_real(value, shortest);
    const char *exponent = strchr(shortest, 'e');
    const char *text = exponent == NULL || strchr(shortest, '.') != NULL
                           ? shortest
                           : arena_printf(printer->arena, "%.*s.0%s", (int)(exponent - shortest),
                                          shortest, exponent);
    print_scalar(printer, text, true, YAML_PLAIN_SCALAR_STYLE);
}

static int compare_keys(const void *a, const void *b)
{
    const TreeEntry *one = a, *two = b;
    return strcmp(one->key, two->key);
}

static void print_node(Printer *printer, const Tree *tree);

static void print_list(Printer *printer, const Tree *list)
{
    yaml_event_t event;
    emit(printer, &event,
         yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                              printer->flow ? YAML_FLOW_SEQUENCE_STYLE
                                                            : YAML_BLOCK_SEQUENCE_STYLE));
    for (size_t i = 0; i < list->count; i++)
        print_node(printer, list->entries[i].value);
    emit(printer, &event, yaml_sequence_end_event_initialize(&event));
}

static void print_map(Printer *printer, const Tree *map)
{
    yaml_event_t event;
    emit(printer, &event,
         yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                             printer->flow ? YAML_FLOW_MAPPING_STYLE
                                                           : YAML_BLOCK_MAPPING_STYLE));
    TreeEntry *sorted = ARENA_ARRAY(printer->arena, TreeEntry, map->count);
    if (map->count > 0) {
        memcpy(sorted, map->entries, map->count * sizeof *sorted);
        qsort(sorted, map->count, sizeof *sorted, compare_keys);
    }
    for (size_t i = 0; i < map->count; i++) {
        print_string(printer, sorted[i].key);
        print_node(printer, sorted[i].value);
    }
    emit(printer, &event, yaml_mapping_end_event_initialize(&event));
}

static void print_node(Printer *printer, const Tree *tree)
{
    switch (tree->kind) {
    case TREE_NULL:
        print_scalar(printer, "null", true, YAML_PLAIN_SCALAR_STYLE);
        return;
    case TREE_BOOL:
        print_scalar(printer, tree->boolean ? "true" : "false", true, YAML_PLAIN_SCALAR_STYLE);
        return;
    case TREE_INT:
        print_scalar(printer, tree_scalar_text(printer->arena, tree), true,
                     YAML_PLAIN_SCALAR_STYLE);
        return;
    case TREE_REAL:
        print_real(printer, tree->text);
        return;
    case TREE_STRING:
        print_string(printer, tree->text);
        return;
    case TREE_LIST:
        print_list(printer, tree);
        return;
    case TREE_MAP:
        print_map(printer, tree);
        return;
    }
}

static char *print(Arena *arena, const Tree *tree, bool flow, int width)
{
    Printer printer = {.arena = arena, .flow = flow, .text = text_new(arena)};
    const int ready = yaml_emitter_initialize(&printer.emitter);
    ASSERT(ready); // out of memory otherwise
    yaml_resolver_init(&printer.resolver);
    yaml_emitter_set_output(&printer.emitter, write_text, &printer);
    yaml_emitter_set_width(&printer.emitter, width);
    yaml_emitter_set_unicode(&printer.emitter, 1);

    yaml_event_t event;
    emit(&printer, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    emit(&printer, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    print_node(&printer, tree == NULL ? tree_null(arena) : tree);
    emit(&printer, &event, yaml_document_end_event_initialize(&event, 1));
    emit(&printer, &event, yaml_stream_end_event_initialize(&event));
    yaml_emitter_delete(&printer.emitter);
    yaml_resolver_done(&printer.resolver);
    return printer.text.data;
}

char *tree_to_yaml(Arena *arena, const Tree *tree)
{
    return print(arena, tree, false, 200);
}

static char *print_flow(Arena *arena, const Tree *tree, int width)
{
    char *text = print(arena, tree, true, width);
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    return text;
}

char *tree_to_yaml_flow(Arena *arena, const Tree *tree)
{
    enum { UNLIMITED = -1 };
    return print_flow(arena, tree, UNLIMITED);
}

char *tree_to_yaml_flow_wrapped(Arena *arena, const Tree *tree)
{
    return print_flow(arena, tree, 200);
}
