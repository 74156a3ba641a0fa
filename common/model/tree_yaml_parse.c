// YAML in: libyaml's events into a tree. PyYAML's safe loader is the measure, but for timestamps,
// which stay strings.
#include "common/model/tree_build.h"
#include "common/model/tree_yaml.h"

#include <string.h>
#include <yaml.h>

// How much a node becomes once its aliases are written out: what bounds alias bombs.
typedef struct {
    size_t nodes;
    int height;
} Shape;

typedef struct {
    const char *name;
    const Tree *tree;
    Shape shape;
} Anchor;

enum { ANCHORS_MAX = 1000 };

typedef struct {
    Arena *arena;
    const char *file;
    Error *err;
    yaml_parser_t parser;
    YamlResolver resolver;
    Anchor *anchors;
    size_t anchor_count;
    size_t nodes;
    int depth;
} Reader;

static bool read_node(Reader *reader, const yaml_event_t *event, const Tree **out, Shape *shape);

// --- errors

static bool fail_at(Reader *reader, yaml_mark_t mark, const char *what, const char *detail)
{
    return error_set(reader->err, ERR_INVALID, "%s%sline %zu, column %zu: %s%s",
                     reader->file == NULL ? "" : reader->file, reader->file == NULL ? "" : ": ",
                     mark.line + 1, mark.column + 1, what, detail);
}

static bool next_event(Reader *reader, yaml_event_t *event)
{
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    const yaml_parser_t *parser = &reader->parser;
    const char *problem = parser->problem == NULL ? "malformed YAML" : parser->problem;
    if (parser->error == YAML_READER_ERROR)
        return error_set(reader->err, ERR_INVALID, "%s%sbyte %zu: %s",
                         reader->file == NULL ? "" : reader->file, reader->file == NULL ? "" : ": ",
                         parser->problem_offset, problem);
    return fail_at(reader, parser->problem_mark, problem, "");
}

static bool charge(Reader *reader, yaml_mark_t mark, Shape shape)
{
    reader->nodes += shape.nodes;
    if (reader->nodes > TREE_NODES_MAX)
        return fail_at(reader, mark, "too many values, aliases counted in full", "");
    if (reader->depth + shape.height > TREE_DEPTH_MAX)
        return fail_at(reader, mark, "nested too deeply", "");
    return true;
}

// --- anchors

static bool remember(Reader *reader, const yaml_event_t *event, const yaml_char_t *name,
                     const Tree *tree, Shape shape)
{
    if (name == NULL)
        return true;
    if (reader->anchor_count == ANCHORS_MAX)
        return fail_at(reader, event->start_mark, "too many anchors", "");
    if (reader->anchors == NULL)
        reader->anchors = ARENA_ARRAY(reader->arena, Anchor, ANCHORS_MAX);
    for (size_t i = 0; i < reader->anchor_count; i++)
        if (strcmp(reader->anchors[i].name, (const char *)name) == 0)
            return fail_at(reader, event->start_mark, "anchor given twice: ", (const char *)name);
    reader->anchors[reader->anchor_count++] = (Anchor){
        .name = arena_strdup(reader->arena, (const char *)name), .tree = tree, .shape = shape};
    return true;
}

// A node is known only once it is complete, so an alias inside its own node is not found.
static bool read_alias(Reader *reader, const yaml_event_t *event, const Tree **out, Shape *shape)
{
    const char *name = (const char *)event->data.alias.anchor;
    for (size_t i = 0; i < reader->anchor_count; i++) {
        if (strcmp(reader->anchors[i].name, name) != 0)
            continue;
        *out = reader->anchors[i].tree;
        *shape = reader->anchors[i].shape;
        return charge(reader, event->start_mark, *shape);
    }
    return fail_at(reader, event->start_mark, "alias of an unknown anchor: ", name);
}

// --- scalars

static Tree *placed(const Reader *reader, Tree *tree, const yaml_event_t *event)
{
    tree->line = (int)event->start_mark.line + 1;
    tree->file = reader->file;
    return tree;
}

static const struct {
    const char *tag;
    YamlPlain plain;
} tags[] = {
    {YAML_STR_TAG, YAML_PLAIN_STRING}, {YAML_INT_TAG, YAML_PLAIN_INT},
    {YAML_FLOAT_TAG, YAML_PLAIN_REAL}, {YAML_BOOL_TAG, YAML_PLAIN_BOOL},
    {YAML_NULL_TAG, YAML_PLAIN_NULL},  {YAML_TIMESTAMP_TAG, YAML_PLAIN_TIMESTAMP},
};

static bool read_tagged(Reader *reader, const yaml_event_t *event, const char *text, Tree **out)
{
    const char *tag = (const char *)event->data.scalar.tag, *wrong = "unsupported tag: ";
    for (size_t i = 0; i < COUNT_OF(tags); i++) {
        if (strcmp(tag, tags[i].tag) != 0)
            continue;
        const YamlPlain wanted = tags[i].plain, found = yaml_resolve(&reader->resolver, text);
        if (wanted == YAML_PLAIN_REAL && found == YAML_PLAIN_INT)
            *out = yaml_construct(reader->arena, wanted, arena_printf(reader->arena, "%s.", text));
        else if (wanted == found || wanted == YAML_PLAIN_STRING || wanted == YAML_PLAIN_TIMESTAMP)
            *out = yaml_construct(reader->arena, wanted, text);
        else
            *out = NULL;
        if (*out != NULL)
            return true;
        wrong = "value does not fit its tag: ";
    }
    (void)fail_at(reader, event->start_mark, wrong, tag);
    return false;
}

static bool read_scalar(Reader *reader, const yaml_event_t *event, const Tree **out)
{
    const char *text = (const char *)event->data.scalar.value;
    const char *tag = (const char *)event->data.scalar.tag;
    if (strlen(text) != event->data.scalar.length)
        return fail_at(reader, event->start_mark, "a string holds a NUL character", "");
    Tree *tree = NULL;
    if (event->data.scalar.plain_implicit || (tag != NULL && strcmp(tag, "!") == 0)) {
        tree = yaml_construct(reader->arena, yaml_resolve(&reader->resolver, text), text);
        if (tree == NULL)
            return fail_at(reader, event->start_mark, "number out of range: ", text);
    } else if (event->data.scalar.quoted_implicit || tag == NULL) {
        tree = tree_string(reader->arena, text);
    } else if (!read_tagged(reader, event, text, &tree)) {
        return false;
    }
    *out = placed(reader, tree, event);
    return true;
}

// --- lists and maps

static bool check_collection_tag(Reader *reader, const yaml_event_t *event, const yaml_char_t *tag,
                                 const char *expected)
{
    const char *given = (const char *)tag;
    if (given == NULL || strcmp(given, "!") == 0 || strcmp(given, expected) == 0)
        return true;
    return fail_at(reader, event->start_mark, "unsupported tag: ", given);
}

static void add_shape(Shape *shape, Shape child)
{
    shape->nodes += child.nodes;
    if (shape->height < child.height + 1)
        shape->height = child.height + 1;
}

static bool read_list(Reader *reader, Tree *list, Shape *shape)
{
    for (;;) {
        AUTO(yaml_event_delete) yaml_event_t event = {0};
        if (!next_event(reader, &event))
            return false;
        if (event.type == YAML_SEQUENCE_END_EVENT)
            return true;
        const Tree *value;
        Shape child;
        if (!read_node(reader, &event, &value, &child))
            return false;
        tree_push(reader->arena, list, NULL, value);
        add_shape(shape, child);
    }
}

// Keys are texts for us: other scalars as JSON spells them, since that is where maps end up.
static bool key_text(Reader *reader, const yaml_event_t *event, const Tree *key, const char **out)
{
    switch (key->kind) {
    case TREE_NULL:
        *out = "null";
        return true;
    case TREE_BOOL:
        *out = key->boolean ? "true" : "false";
        return true;
    case TREE_INT:
    case TREE_REAL:
    case TREE_STRING:
        *out = tree_scalar_text(reader->arena, key);
        return true;
    case TREE_LIST:
    case TREE_MAP:
        break;
    }
    return fail_at(reader, event->start_mark, "a list or map cannot be a key", "");
}

static void push_all(Arena *arena, Tree *map, const Tree *more)
{
    for (size_t i = 0; i < more->count; i++)
        tree_push(arena, map, more->entries[i].key, more->entries[i].value);
}

// The value of "<<": a map or a list of maps, of which the earlier win.
static bool take_merge(Reader *reader, const yaml_event_t *event, const Tree *value, Tree *merged)
{
    if (value->kind == TREE_MAP) {
        push_all(reader->arena, merged, value);
        return true;
    }
    bool maps = value->kind == TREE_LIST;
    for (size_t i = 0; maps && i < value->count; i++)
        maps = value->entries[i].value->kind == TREE_MAP;
    if (!maps)
        return fail_at(reader, event->start_mark, "'<<' takes a map or a list of maps", "");
    for (size_t i = value->count; i-- > 0;)
        push_all(reader->arena, merged, value->entries[i].value);
    return true;
}

static bool is_merge_key(const Reader *reader, const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT && event->data.scalar.plain_implicit &&
           yaml_resolve(&reader->resolver, (const char *)event->data.scalar.value) ==
               YAML_PLAIN_MERGE;
}

static bool read_pair(Reader *reader, const yaml_event_t *key_event, Tree *own, Tree *merged,
                      Shape *shape)
{
    const Tree *key, *value;
    Shape child;
    if (!read_node(reader, key_event, &key, &child))
        return false;
    add_shape(shape, child);
    const char *text = NULL;
    if (!key_text(reader, key_event, key, &text))
        return false;

    AUTO(yaml_event_delete) yaml_event_t event = {0};
    if (!next_event(reader, &event) || !read_node(reader, &event, &value, &child))
        return false;
    add_shape(shape, child);
    if (is_merge_key(reader, key_event))
        return take_merge(reader, &event, value, merged);
    tree_push(reader->arena, own, text, value);
    return true;
}

static bool read_map(Reader *reader, Tree *map, Shape *shape)
{
    Tree *own = tree_map(reader->arena);
    for (;;) {
        AUTO(yaml_event_delete) yaml_event_t event = {0};
        if (!next_event(reader, &event))
            return false;
        if (event.type == YAML_MAPPING_END_EVENT)
            break;
        if (!read_pair(reader, &event, own, map, shape))
            return false;
    }
    push_all(reader->arena, map, own); // own keys beat merged ones
    tree_drop_duplicates(reader->arena, map);
    return true;
}

static bool read_collection(Reader *reader, const yaml_event_t *event, const Tree **out,
                            Shape *shape)
{
    const bool map = event->type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *tag = map ? event->data.mapping_start.tag : event->data.sequence_start.tag;
    const yaml_char_t *anchor =
        map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
    if (!check_collection_tag(reader, event, tag, map ? YAML_MAP_TAG : YAML_SEQ_TAG))
        return false;
    Tree *tree = placed(reader, map ? tree_map(reader->arena) : tree_list(reader->arena), event);
    reader->depth++;
    if (!(map ? read_map(reader, tree, shape) : read_list(reader, tree, shape)))
        return false;
    reader->depth--;
    *out = tree;
    return remember(reader, event, anchor, tree, *shape);
}

static bool read_node(Reader *reader, const yaml_event_t *event, const Tree **out, Shape *shape)
{
    if (event->type == YAML_ALIAS_EVENT)
        return read_alias(reader, event, out, shape);
    *shape = (Shape){.nodes = 1, .height = 1};
    if (!charge(reader, event->start_mark, *shape))
        return false;
    if (event->type == YAML_SCALAR_EVENT)
        return read_scalar(reader, event, out) &&
               remember(reader, event, event->data.scalar.anchor, *out, *shape);
    return read_collection(reader, event, out, shape);
}

// --- the document

static bool read_stream(Reader *reader, const Tree **out)
{
    bool found = false;
    for (;;) {
        AUTO(yaml_event_delete) yaml_event_t event = {0};
        if (!next_event(reader, &event))
            return false;
        switch (event.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
        case YAML_NO_EVENT:
            break;
        case YAML_STREAM_END_EVENT:
            if (!found)
                *out = tree_null(reader->arena);
            return true;
        case YAML_DOCUMENT_START_EVENT:
            if (found)
                return fail_at(reader, event.start_mark, "a second document begins; one is read",
                               "");
            break;
        case YAML_ALIAS_EVENT:
        case YAML_SCALAR_EVENT:
        case YAML_SEQUENCE_START_EVENT:
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_START_EVENT:
        case YAML_MAPPING_END_EVENT: {
            Shape shape;
            if (!read_node(reader, &event, out, &shape))
                return false;
            found = true;
            break;
        }
        }
    }
}

bool tree_parse_yaml(Arena *arena, const char *text, const char *file, const Tree **out, Error *err)
{
    const size_t length = text == NULL ? 0 : strlen(text);
    if (length > TREE_BYTES_MAX)
        return error_set(err, ERR_INVALID, "%s%sYAML of %zu bytes is larger than the limit of %d",
                         file == NULL ? "" : file, file == NULL ? "" : ": ", length,
                         TREE_BYTES_MAX);
    Reader reader = {.arena = arena, .file = arena_strdup(arena, file), .err = err};
    const int ready = yaml_parser_initialize(&reader.parser);
    ASSERT(ready); // out of memory otherwise
    yaml_resolver_init(&reader.resolver);
    yaml_parser_set_input_string(&reader.parser, (const yaml_char_t *)(length ? text : ""), length);

    const Tree *tree = NULL;
    const bool ok = read_stream(&reader, &tree);
    yaml_resolver_done(&reader.resolver);
    yaml_parser_delete(&reader.parser);
    if (ok)
        *out = tree;
    return ok;
}
