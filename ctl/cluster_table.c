#include "ctl/cluster_table.h"

#include "ctl/timestamps.h"

#include <stdio.h>
#include <string.h>

enum {
    DEFAULT_PORT = 5432,
    REASON_SHOWN_MAX = 50, // characters of one pending restart reason in a bordered table
    MIB_BITS = 20,
};

typedef enum {
    COLUMN_CLUSTER,
    COLUMN_MEMBER,
    COLUMN_HOST,
    COLUMN_ROLE,
    COLUMN_STATE,
    COLUMN_TL,
    COLUMN_RECEIVE_LSN,
    COLUMN_RECEIVE_LAG,
    COLUMN_REPLAY_LSN,
    COLUMN_REPLAY_LAG,
    COLUMN_PENDING_RESTART,
    COLUMN_PENDING_REASON,
    COLUMN_SCHEDULED_RESTART,
    COLUMN_TAGS,
    COLUMN_COUNT,
} ColumnId;

static const Column columns[COLUMN_COUNT] = {
    [COLUMN_CLUSTER] = {"Cluster"},
    [COLUMN_MEMBER] = {"Member"},
    [COLUMN_HOST] = {"Host"},
    [COLUMN_ROLE] = {"Role"},
    [COLUMN_STATE] = {"State"},
    [COLUMN_TL] = {"TL", .right = true},
    [COLUMN_RECEIVE_LSN] = {"Receive LSN", .right = true},
    [COLUMN_RECEIVE_LAG] = {"Receive Lag", "Lag", true},
    [COLUMN_REPLAY_LSN] = {"Replay LSN", .right = true},
    [COLUMN_REPLAY_LAG] = {"Replay Lag", "Lag", true},
    [COLUMN_PENDING_RESTART] = {"Pending restart"},
    [COLUMN_PENDING_REASON] = {"Pending restart reason"},
    [COLUMN_SCHEDULED_RESTART] = {"Scheduled restart"},
    [COLUMN_TAGS] = {"Tags"},
};

typedef struct {
    Arena *arena;
    const ClusterInfo *cluster;
    ClusterTableStyle style;
    bool show_ports;
} Shaper;

typedef struct {
    const Tree *cells[COLUMN_COUNT];
} Row;

static const Tree *text_cell(const Shaper *s, const char *text)
{
    return str_empty(text) ? NULL : tree_string(s->arena, text);
}

// A port is shown for all members once one differs or two of them share a host.
static bool ports_matter(const ClusterInfo *cluster)
{
    for (size_t i = 0; i < cluster->count; i++) {
        const MemberInfo *member = &cluster->members[i];
        if (member->host == NULL)
            continue;
        if (member->port != DEFAULT_PORT)
            return true;
        for (size_t k = 0; k < i; k++)
            if (str_eq(member->host, cluster->members[k].host))
                return true;
    }
    return false;
}

static const Tree *host_cell(const Shaper *s, const MemberInfo *member)
{
    if (member->host == NULL || !s->show_ports)
        return text_cell(s, member->host);
    return tree_string(s->arena, arena_printf(s->arena, "%s:%d", member->host, member->port));
}

// sync_standby -> Sync Standby
static const Tree *role_cell(const Shaper *s, const char *role)
{
    char *text = arena_strdup(s->arena, role);
    bool first = true;
    for (char *c = text; *c != '\0'; c++) {
        if (first && *c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
        first = *c == '_';
        if (first)
            *c = ' ';
    }
    return tree_string(s->arena, text);
}

// Mebibytes, halves to even as Python rounds them.
static int64_t rounded_mib(int64_t bytes)
{
    const int64_t whole = bytes >> MIB_BITS, rest = bytes & ((INT64_C(1) << MIB_BITS) - 1);
    const int64_t half = INT64_C(1) << (MIB_BITS - 1);
    return whole + (rest > half || (rest == half && whole % 2 == 1) ? 1 : 0);
}

static bool lsn_known(const Tree *row, const char *key)
{
    const char *lsn = tree_get_string(row, key, "unknown");
    return !str_eq(lsn, "unknown") && lsn[0] != '\0';
}

static void set_position(const Shaper *s, Row *out, ColumnId lsn_column, const Tree *row,
                         const char *lsn_key, const char *lag_key)
{
    out->cells[lsn_column] = text_cell(s, tree_get_string(row, lsn_key, "unknown"));
    const Tree *lag = tree_get(row, lag_key);
    if (lag != NULL && lag->kind == TREE_INT) // the column behind that of the LSN
        out->cells[lsn_column + 1] = tree_int(s->arena, rounded_mib(lag->integer));
}

// Members before Patroni 4.1 publish one position only: what it means depends on the state.
static void set_positions(const Shaper *s, Row *out, const MemberInfo *member)
{
    const Tree *row = member->row;
    const bool old =
        !lsn_known(row, "receive_lsn") && !lsn_known(row, "replay_lsn") && lsn_known(row, "lsn");
    const bool streaming = str_eq(member->state, "streaming");
    if (old && streaming)
        set_position(s, out, COLUMN_RECEIVE_LSN, row, "lsn", "lag");
    else
        set_position(s, out, COLUMN_RECEIVE_LSN, row, "receive_lsn", "receive_lag");
    if (old && !streaming)
        set_position(s, out, COLUMN_REPLAY_LSN, row, "lsn", "lag");
    else
        set_position(s, out, COLUMN_REPLAY_LSN, row, "replay_lsn", "replay_lag");
}

// Of UTF-8, as Python counts them.
static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xC0U) != 0x80U;
    return count;
}

static const Tree *reason_cell(const Shaper *s, const Tree *reasons)
{
    Text text = text_new(s->arena);
    for (size_t i = 0; reasons != NULL && reasons->kind == TREE_MAP && i < reasons->count; i++) {
        const TreeEntry *entry = &reasons->entries[i];
        const char *line = arena_printf(
            s->arena, "%s: %s->%s", entry->key,
            str_or(tree_scalar_text(s->arena, tree_get(entry->value, "old_value")), ""),
            str_or(tree_scalar_text(s->arena, tree_get(entry->value, "new_value")), ""));
        if (s->style.format == FORMAT_PRETTY && characters(line) > REASON_SHOWN_MAX)
            line = arena_printf(s->arena, "%s: [hidden - too long]", entry->key);
        text_addf(&text, "%s%s", i > 0 ? "\n" : "", line);
    }
    return text_cell(s, text.data);
}

static const Tree *scheduled_cell(const Shaper *s, const Tree *scheduled)
{
    const char *at = tree_get_string(scheduled, "schedule", NULL);
    const char *version = tree_get_string(scheduled, "postgres_version", NULL);
    if (at == NULL || version == NULL)
        return text_cell(s, at);
    return tree_string(s->arena, arena_printf(s->arena, "%s if version < %s", at, version));
}

static const Tree *tags_cell(const Shaper *s, const Tree *tags)
{
    if (tags == NULL || tags->kind != TREE_MAP || tags->count == 0)
        return NULL;
    if (s->style.format == FORMAT_JSON || s->style.format == FORMAT_YAML)
        return tags;
    if (s->style.format == FORMAT_TSV || s->style.topology)
        return tree_string(s->arena, tree_to_yaml_flow_wrapped(s->arena, tags));
    char *block = tree_to_yaml(s->arena, tags);
    block[strlen(block) - 1] = '\0'; // its last newline
    return tree_string(s->arena, block);
}

static Row row_of(const Shaper *s, const MemberInfo *member, const char *shown_name)
{
    Row out = {0};
    const Tree *row = member->row, *timeline = tree_get(row, "timeline");
    if (s->style.format != FORMAT_PRETTY)
        out.cells[COLUMN_CLUSTER] = tree_string(s->arena, s->cluster->scope);
    out.cells[COLUMN_MEMBER] = tree_string(s->arena, shown_name);
    out.cells[COLUMN_HOST] = host_cell(s, member);
    out.cells[COLUMN_ROLE] = role_cell(s, member->role);
    out.cells[COLUMN_STATE] = text_cell(s, member->state);
    out.cells[COLUMN_TL] = timeline != NULL && timeline->kind == TREE_INT ? timeline : NULL;
    if (!member->leads)
        set_positions(s, &out, member);
    out.cells[COLUMN_PENDING_RESTART] = member->pending_restart ? tree_string(s->arena, "*") : NULL;
    out.cells[COLUMN_PENDING_REASON] = reason_cell(s, tree_get(row, "pending_restart_reason"));
    out.cells[COLUMN_SCHEDULED_RESTART] = scheduled_cell(s, member->scheduled_restart);
    out.cells[COLUMN_TAGS] = tags_cell(s, tree_get(row, "tags"));
    return out;
}

// --- the order of rows

typedef struct {
    const Shaper *shaper;
    const ClusterInfo *cluster;
    Row *rows;
    size_t count;
} Rows;

// NULL: nobody.
static const char *parent_of(const ClusterInfo *cluster, const MemberInfo *member)
{
    const char *from = tree_get_string(tree_get(member->row, "tags"), "replicatefrom", NULL);
    const MemberInfo *parent = from != NULL ? cluster_info_member(cluster, from) : NULL;
    if (parent != NULL && parent != member && !parent->leads)
        return parent->name;
    return cluster->leader;
}

static void add_children(Rows *rows, const char *parent, int level)
{
    const ClusterInfo *cluster = rows->cluster;
    for (size_t i = 0; i < cluster->count; i++) {
        const MemberInfo *member = &cluster->members[i];
        if (member->leads || !str_eq(parent_of(cluster, member), parent))
            continue;
        const char *name =
            arena_printf(rows->shaper->arena, "%*s+ %s", 2 * (level - 1), "", member->name);
        rows->rows[rows->count++] = row_of(rows->shaper, member, name);
        add_children(rows, member->name, level + 1);
    }
}

static Rows rows_of(const Shaper *s)
{
    const ClusterInfo *cluster = s->cluster;
    Rows rows = {.shaper = s, .cluster = cluster};
    rows.rows = ARENA_ARRAY(s->arena, Row, cluster->count);
    if (s->style.topology) {
        const MemberInfo *leader = cluster_info_leader(cluster);
        if (leader != NULL)
            rows.rows[rows.count++] = row_of(s, leader, leader->name);
        add_children(&rows, cluster->leader, 1);
        return rows;
    }
    for (size_t i = 0; i < cluster->count; i++)
        rows.rows[rows.count++] = row_of(s, &cluster->members[i], cluster->members[i].name);
    return rows;
}

// --- putting it together

static bool column_is_shown(const Shaper *s, const Rows *rows, ColumnId column)
{
    if (column == COLUMN_CLUSTER)
        return s->style.format != FORMAT_PRETTY;
    if (column < COLUMN_PENDING_RESTART || s->style.extended)
        return true;
    for (size_t i = 0; i < rows->count; i++)
        if (rows->rows[i].cells[column] != NULL)
            return true;
    return false;
}

static Table table_of(const Shaper *s, const Rows *rows)
{
    Column *shown = ARENA_ARRAY(s->arena, Column, COLUMN_COUNT);
    const size_t most = COLUMN_COUNT * rows->count;
    const Tree **cells = ARENA_ARRAY(s->arena, const Tree *, most);
    ColumnId ids[COLUMN_COUNT];
    size_t count = 0;
    for (ColumnId id = 0; id < COLUMN_COUNT; id++) {
        if (column_is_shown(s, rows, id)) {
            ids[count] = id;
            shown[count++] = columns[id];
        }
    }
    for (size_t row = 0; row < rows->count; row++)
        for (size_t c = 0; c < count; c++)
            cells[row * count + c] = rows->rows[row].cells[ids[c]];
    return (Table){.columns = shown,
                   .column_count = count,
                   .cells = cells,
                   .row_count = rows->count,
                   .title = arena_printf(s->arena, " Cluster: %s (%s) ", s->cluster->scope,
                                         s->cluster->identifier),
                   .omit_empty = true};
}

// As Python writes a time that it has read: microseconds in full, Z as +00:00.
static const char *normal_time(Arena *arena, const char *at)
{
    Schedule schedule;
    Error ignored = {0};
    return schedule_parse(arena, at, 0, &schedule, &ignored) && !schedule.now ? schedule.iso : at;
}

static void add_notes(Arena *arena, Text *text, const ClusterInfo *cluster)
{
    if (cluster->paused)
        text_add(text, " Maintenance mode: on\n");
    const Tree *switchover = cluster->scheduled_switchover;
    if (switchover == NULL)
        return;
    text_addf(text, " Switchover scheduled at: %s\n",
              normal_time(arena, tree_get_string(switchover, "at", "")));
    static const char *const ends[] = {"from", "to"};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        const char *name = tree_get_string(switchover, ends[i], NULL);
        if (name != NULL)
            text_addf(text, "%24s: %s\n", ends[i], name);
    }
}

char *cluster_table_format(Arena *arena, const ClusterInfo *cluster, ClusterTableStyle style)
{
    const Shaper shaper = {
        .arena = arena, .cluster = cluster, .style = style, .show_ports = ports_matter(cluster)};
    const Rows rows = rows_of(&shaper);
    const Table table = table_of(&shaper, &rows);
    Text text = text_new(arena);
    text_add(&text, table_format(arena, &table, style.format));
    if (style.format == FORMAT_PRETTY)
        add_notes(arena, &text, cluster);
    return text.data;
}

void cluster_table_print(Ctl *ctl, const ClusterInfo *cluster)
{
    const ClusterTableStyle style = {.format = FORMAT_PRETTY};
    fputs(cluster_table_format(ctl->arena, cluster, style), stdout);
}
