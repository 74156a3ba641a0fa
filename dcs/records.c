#include "dcs/records.h"
#include "common/base/timestamp.h"
#include "dcs/dcs.h"
#include "dcs/records_internal.h"

#include <stdlib.h>
#include <string.h>

#define MEMBERS_PREFIX "members/"

static const char *const key_names[] = {
    [KEY_INITIALIZE] = "initialize", [KEY_CONFIG] = "config",
    [KEY_FAILOVER] = "failover",     [KEY_SYNC] = "sync",
    [KEY_HISTORY] = "history",       [KEY_FAILSAFE] = "failsafe",
    [KEY_STATUS] = "status",         [KEY_TERM] = "howdah",
};

const char *records_key_name(int dcs_key)
{
    ASSERT(dcs_key >= 0 && (size_t)dcs_key < COUNT_OF(key_names));
    return key_names[dcs_key];
}

// Length of the UTF-8 sequence that starts here, 0 when it is none: overlong forms, surrogates and
// what lies past U+10FFFF are refused, as Python refuses them.
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
    static const struct {
        unsigned char lead_min, lead_max, second_min, second_max;
        size_t length;
    } forms[] = {
        {0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (s[0] < forms[i].lead_min || s[0] > forms[i].lead_max)
            continue;
        if (left < forms[i].length)
            return 0;
        if (forms[i].length > 1 && (s[1] < forms[i].second_min || s[1] > forms[i].second_max))
            return 0;
        for (size_t k = 2; k < forms[i].length; k++) {
            if (s[k] < 0x80 || s[k] > 0xBF)
                return 0;
        }
        return forms[i].length;
    }
    return 0;
}

static bool is_utf8(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < length;) {
        const size_t step = utf8_sequence(s + i, length - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

bool record_is_text(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return false;
    }
    return is_utf8(text, length);
}

const Tree *record_json(RecordReader *reader, const char *text, size_t length)
{
    if (memchr(text, '\0', length) != NULL || !is_utf8(text, length))
        return NULL;

    size_t nodes = 1; // at most: separators within strings count too
    for (size_t i = 0; i < length; i++) {
        if (strchr(",:[{", text[i]) != NULL)
            nodes++;
    }
    if (nodes > reader->nodes_left)
        return NULL;
    reader->nodes_left -= nodes;

    const Tree *tree = NULL;
    Error err = {0};
    const char *copy = arena_strndup(reader->arena, text, length);
    return tree_parse_json(reader->arena, copy, &tree, &err) ? tree : NULL;
}

static const Tree *json_of(RecordReader *reader, const RawKey *raw)
{
    return record_json(reader, raw->value, raw->length);
}

static const Tree *json_map_of(RecordReader *reader, const RawKey *raw)
{
    const Tree *tree = json_of(reader, raw);
    return tree != NULL && tree->kind == TREE_MAP ? tree : NULL;
}

Lsn record_lsn(const Tree *value)
{
    int64_t number = 0;
    if (value == NULL)
        return LSN_NONE;
    if (value->kind == TREE_INT)
        number = value->integer;
    else if (value->kind != TREE_STRING || !parse_int64(value->text, &number))
        return LSN_NONE;
    return number > 0 ? (Lsn)number : LSN_NONE;
}

// A string that means something: Patroni treats "" like an absent field everywhere.
static const char *text_field(const Tree *map, const char *key)
{
    const Tree *value = tree_get(map, key);
    if (value == NULL || value->kind != TREE_STRING || str_empty(value->text))
        return NULL;
    return value->text;
}

// "map or JSON text of one": the text forms come from Kubernetes annotations.
static const Tree *maybe_quoted(RecordReader *reader, const Tree *value, TreeKind kind)
{
    if (value != NULL && value->kind == TREE_STRING)
        value = record_json(reader, value->text, strlen(value->text));
    return value != NULL && value->kind == kind ? value : NULL;
}

// Garbage must not read as absent here: an absent `initialize` invites a bootstrap. So it stays
// present, as a text that is no system identifier.
static void parse_initialize(RecordReader *reader, const RawKey *raw, ClusterView *out)
{
    out->initialize_revision = raw->mod_revision;
    out->initialize = record_is_text(raw->value, raw->length)
                          ? arena_strndup(reader->arena, raw->value, raw->length)
                          : "(garbage)";
}

static void parse_config(RecordReader *reader, const RawKey *raw, ClusterView *out)
{
    out->config = json_map_of(reader, raw);
    out->config_revision = raw->mod_revision;
    out->config_invalid = out->config == NULL;
}

// An empty or unreadable name leads nobody, but the revisions stay: the key is in the way.
static void parse_leader(RecordReader *reader, const RawKey *raw, ClusterView *out)
{
    out->leader = (LeaderView){
        .session = arena_strdup(reader->arena, raw->lease),
        .create_revision = raw->create_revision,
        .mod_revision = raw->mod_revision,
    };
    if (raw->length > 0 && record_is_text(raw->value, raw->length))
        out->leader.name = arena_strndup(reader->arena, raw->value, raw->length);
}

static void parse_status(RecordReader *reader, const RawKey *raw, ClusterView *out)
{
    const Tree *status = json_of(reader, raw);
    if (status == NULL)
        return;
    out->status_text = arena_strndup(reader->arena, raw->value, raw->length);
    if (status->kind != TREE_MAP) { // Patroni before 2.1: the position alone
        out->optime = record_lsn(status);
        return;
    }
    out->optime = record_lsn(tree_get(status, "optime"));
    out->slots = maybe_quoted(reader, tree_get(status, "slots"), TREE_MAP);

    const Tree *retained = maybe_quoted(reader, tree_get(status, "retain_slots"), TREE_LIST);
    for (size_t i = 0; retained != NULL && i < retained->count; i++) {
        const Tree *name = retained->entries[i].value;
        if (name->kind == TREE_STRING && !str_empty(name->text))
            string_list_add(&out->retain_slots, reader->arena, name->text);
    }
}

static void parse_legacy_optime(RecordReader *reader, const RawKey *raw, ClusterView *out)
{
    int64_t number = 0;
    const char *text = arena_strndup(reader->arena, raw->value, raw->length);
    if (strlen(text) == raw->length && parse_int64(text, &number) && number > 0)
        out->optime = (Lsn)number;
}

static const char *trimmed(Arena *arena, const char *from, size_t length)
{
    while (length > 0 && from[0] == ' ')
        from++, length--;
    while (length > 0 && from[length - 1] == ' ')
        length--;
    return length > 0 ? arena_strndup(arena, from, length) : NULL;
}

// The oldest form, "leader:candidate". Broken JSON is not taken for one.
static void parse_legacy_failover(RecordReader *reader, const RawKey *raw, FailoverView *out)
{
    if (!record_is_text(raw->value, raw->length) || memchr(raw->value, '{', raw->length) != NULL ||
        memchr(raw->value, '[', raw->length) != NULL ||
        memchr(raw->value, '"', raw->length) != NULL)
        return;
    const char *colon = memchr(raw->value, ':', raw->length);
    const size_t first = colon != NULL ? (size_t)(colon - raw->value) : raw->length;
    out->leader = trimmed(reader->arena, raw->value, first);
    if (colon == NULL)
        return;
    const char *rest = colon + 1;
    const size_t left = raw->length - first - 1;
    const char *end = memchr(rest, ':', left);
    out->candidate = trimmed(reader->arena, rest, end != NULL ? (size_t)(end - rest) : left);
}

static void parse_failover(RecordReader *reader, const RawKey *raw, ClusterView *out)
{
    FailoverView *failover = &out->failover;
    failover->mod_revision = raw->mod_revision;
    const Tree *tree = json_of(reader, raw);
    if (tree == NULL) {
        parse_legacy_failover(reader, raw, failover);
        return;
    }
    failover->leader = text_field(tree, "leader");
    failover->candidate = text_field(tree, "member");

    const Tree *schedule = tree_get(tree, "scheduled_at");
    failover->scheduled_at = text_field(tree, "scheduled_at");
    Timestamp at;
    if (failover->scheduled_at == NULL) {
        // Of another type: a schedule was meant, so "now" would be wrong.
        failover->schedule_invalid =
            schedule != NULL && schedule->kind != TREE_NULL && schedule->kind != TREE_STRING;
    } else if (timestamp_parse(failover->scheduled_at, NULL, &at) && at.has_zone) {
        failover->scheduled_us = timestamp_us(&at);
    } else {
        failover->schedule_invalid = true;
    }
}

static void parse_sync(RecordReader *reader, const RawKey *raw, ClusterView *out)
{
    SyncView *sync = &out->sync;
    sync->mod_revision = raw->mod_revision;
    const Tree *tree = json_map_of(reader, raw);
    sync->leader = text_field(tree, "leader");
    if (sync->leader == NULL)
        return;
    const int64_t quorum = tree_get_int(tree, "quorum", 0);
    sync->quorum = quorum > 0 && quorum <= 1000 ? (int)quorum : 0;

    const char *names = text_field(tree, "sync_standby");
    while (names != NULL) {
        const char *comma = strchr(names, ',');
        const size_t length = comma != NULL ? (size_t)(comma - names) : strlen(names);
        const char *name = trimmed(reader->arena, names, length);
        if (name != NULL && !str_ieq(name, sync->leader))
            string_list_add(&sync->voters, reader->arena, name);
        names = comma != NULL ? comma + 1 : NULL;
    }
}

static bool parse_history_line(const Tree *tree, HistoryLine *out)
{
    if (tree->kind != TREE_LIST || tree->count < 2)
        return false;
    const Tree *timeline = tree->entries[0].value;
    const Tree *lsn = tree->entries[1].value;
    if (timeline->kind != TREE_INT || timeline->integer < 1 || timeline->integer >= UINT32_MAX ||
        lsn->kind != TREE_INT || lsn->integer < 0)
        return false;

    const char *texts[3] = {NULL};
    for (size_t i = 0; i < COUNT_OF(texts) && i + 2 < tree->count; i++) {
        const Tree *text = tree->entries[i + 2].value;
        texts[i] = text->kind == TREE_STRING ? text->text : NULL;
    }
    *out = (HistoryLine){.timeline = (uint32_t)timeline->integer,
                         .lsn = (Lsn)lsn->integer,
                         .reason = texts[0],
                         .timestamp = texts[1],
                         .new_leader = texts[2]};
    return true;
}

static void parse_history(RecordReader *reader, const RawKey *raw, ClusterView *out)
{
    out->history_revision = raw->mod_revision;
    const Tree *tree = json_of(reader, raw);
    if (tree == NULL || tree->kind != TREE_LIST)
        return;
    HistoryLine *lines = ARENA_ARRAY(reader->arena, HistoryLine, tree->count);
    for (size_t i = 0; i < tree->count; i++) {
        if (!parse_history_line(tree->entries[i].value, &lines[i]))
            return; // a history with a hole proves nothing
    }
    out->history = lines;
    out->history_count = tree->count;
    out->history_known = true;
    out->history_text = arena_strndup(reader->arena, raw->value, raw->length);
}

static void parse_failsafe(RecordReader *reader, const RawKey *raw, ClusterView *out)
{
    out->failsafe = json_map_of(reader, raw);
    out->failsafe_revision = raw->mod_revision;
}

static uint32_t timeline_field(const Tree *map, const char *key)
{
    const int64_t value = tree_get_int(map, key, 0);
    return value > 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

static void parse_term(RecordReader *reader, const RawKey *raw, ClusterView *out)
{
    TermRecord *term = &out->term;
    term->mod_revision = raw->mod_revision; // also of garbage: an acquire has to name it
    const Tree *tree = json_map_of(reader, raw);
    const char *holder = text_field(tree, "holder");
    if (holder == NULL)
        return;
    const int64_t number = tree_get_int(tree, "term", 0);
    term->present = true;
    term->holder = holder;
    term->instance = text_field(tree, "instance");
    term->term = number > 0 ? number : 0;
    term->parent_timeline = timeline_field(tree, "parent_timeline");
    term->timeline = timeline_field(tree, "timeline");
    term->confirmed = tree_get_bool(tree, "confirmed", false);
    term->released = tree_get_bool(tree, "released", false);
    term->released_lsn = record_lsn(tree_get(tree, "lsn"));
}

static const struct {
    const char *key;
    void (*parse)(RecordReader *, const RawKey *, ClusterView *);
} parsers[] = {
    {"initialize", parse_initialize},
    {"config", parse_config},
    {"leader", parse_leader},
    {"optime/leader", parse_legacy_optime}, // before status, which wins
    {"status", parse_status},
    {"failover", parse_failover},
    {"sync", parse_sync},
    {"history", parse_history},
    {"failsafe", parse_failsafe},
    {"howdah", parse_term},
};

static const char *member_name(Arena *arena, const RawKey *raw)
{
    if (!str_starts(raw->key, MEMBERS_PREFIX))
        return NULL;
    const char *name = raw->key + strlen(MEMBERS_PREFIX);
    if (name[0] == '\0' || strchr(name, '/') != NULL || !record_is_text(name, strlen(name)))
        return NULL;
    return arena_strdup(arena, name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const MemberView *)a)->name, ((const MemberView *)b)->name);
}

static void parse_members(RecordReader *reader, const RawKey *raw, size_t count, ClusterView *out)
{
    MemberView *members = ARENA_ARRAY(reader->arena, MemberView, count);
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = member_name(reader->arena, &raw[i]);
        if (name != NULL)
            members[found++] = record_member(reader, name, &raw[i]);
    }
    if (found > 0)
        qsort(members, found, sizeof *members, by_name);
    out->members = members;
    out->member_count = found;
}

void records_parse(Arena *arena, const RawKey *raw, size_t count, int64_t revision,
                   ClusterView *out)
{
    RecordReader reader = {.arena = arena, .nodes_left = RECORD_NODES_MAX};
    *out = (ClusterView){.revision = revision,
                         .cluster_id = out->cluster_id,
                         .seen_at = out->seen_at,
                         .vacancy = out->vacancy};
    for (size_t k = 0; k < COUNT_OF(parsers); k++) {
        for (size_t i = 0; i < count; i++) {
            if (str_eq(raw[i].key, parsers[k].key))
                parsers[k].parse(&reader, &raw[i], out);
        }
    }
    parse_members(&reader, raw, count, out);
}
