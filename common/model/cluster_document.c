#include "common/model/cluster_document.h"

static bool is_given(const Tree *map, const char *key)
{
    const Tree *value = tree_get(map, key);
    return value != NULL && value->kind != TREE_NULL &&
           !(value->kind == TREE_STRING && value->text[0] == '\0');
}

ClusterModes cluster_modes(const ClusterView *view)
{
    const Tree *config = view->config;
    const Tree *standby = tree_get(config, "standby_cluster");
    const char *sync = tree_string_of(tree_get(config, "synchronous_mode"));
    ClusterModes modes = {
        .paused = tree_get_bool(config, "pause", false),
        .quorum_mode = str_ieq(sync, "quorum"),
        // A section that names no source makes no standby cluster.
        .standby_cluster = is_given(standby, "host") || is_given(standby, "port") ||
                           is_given(standby, "restore_command"),
    };
    modes.sync_mode = (modes.quorum_mode || tree_get_bool(config, "synchronous_mode", false)) &&
                      !modes.standby_cluster;
    return modes;
}

static const char *role_of(const ClusterView *view, const ClusterModes *modes, const char *name)
{
    if (str_eq(name, view->leader.name))
        return modes->standby_cluster ? "standby_leader" : "leader";
    if (modes->sync_mode && string_list_has_ignoring_case(&view->sync.voters, name))
        return modes->quorum_mode ? "quorum_standby" : "sync_standby";
    return "replica";
}

static LagColumn column(Lsn lsn, Lsn optime)
{
    if (lsn == LSN_NONE)
        return (LagColumn){0};
    return (LagColumn){.known = true, .lsn = lsn, .lag_bytes = optime > lsn ? optime - lsn : 0};
}

MemberRows cluster_rows(Arena *arena, const ClusterView *view)
{
    const ClusterModes modes = cluster_modes(view);
    MemberRow *rows = ARENA_ARRAY(arena, MemberRow, view->member_count);
    for (size_t i = 0; i < view->member_count; i++) {
        const MemberView *member = &view->members[i];
        MemberRow *row = &rows[i];
        row->member = member;
        row->leader = str_eq(member->name, view->leader.name);
        row->role = role_of(view, &modes, member->name);
        // A leader that has just been promoted may still carry its old replication state.
        row->state = str_eq(row->role, "leader") || str_empty(member->replication_state)
                         ? str_or(member->state_text, "")
                         : member->replication_state;
        if (row->leader)
            continue;
        row->receive = column(member->receive_lsn, view->optime);
        row->replay = column(member->replay_lsn, view->optime);
        row->location = column(member->xlog_location, view->optime);
    }
    return (MemberRows){.rows = rows, .count = view->member_count};
}

static void set_text(Arena *arena, Tree *map, const char *key, const char *text)
{
    tree_set(arena, map, key, tree_string(arena, text));
}

static void set_column(Arena *arena, Tree *map, const char *lsn_key, const char *lag_key,
                       const LagColumn *c)
{
    set_text(arena, map, lsn_key, c->known ? lsn_format(c->lsn).text : "unknown");
    tree_set(arena, map, lag_key,
             c->known ? tree_int(arena, (int64_t)c->lag_bytes) : tree_string(arena, "unknown"));
}

static const Tree *member_document(Arena *arena, const MemberRow *row)
{
    static const char *const copied[] = {"timeline", "pending_restart", "pending_restart_reason",
                                         "scheduled_restart", "tags"};
    const MemberView *member = row->member;
    Tree *map = tree_map(arena);
    set_text(arena, map, "name", member->name);
    set_text(arena, map, "role", row->role);
    set_text(arena, map, "state", row->state);
    set_text(arena, map, "api_url", member->api_url);
    if (!str_empty(member->host)) {
        set_text(arena, map, "host", member->host);
        tree_set(arena, map, "port", tree_int(arena, member->port));
    }
    for (size_t i = 0; i < COUNT_OF(copied); i++) {
        const Tree *value = tree_get(member->data, copied[i]);
        if (value != NULL)
            tree_set(arena, map, copied[i], value);
    }
    if (!row->leader) {
        set_column(arena, map, "receive_lsn", "receive_lag", &row->receive);
        set_column(arena, map, "replay_lsn", "replay_lag", &row->replay);
        set_column(arena, map, "lsn", "lag", &row->location);
    }
    return map;
}

static const Tree *switchover_document(Arena *arena, const FailoverView *failover)
{
    Tree *map = tree_map(arena);
    set_text(arena, map, "at", failover->scheduled_at);
    if (!str_empty(failover->leader))
        set_text(arena, map, "from", failover->leader);
    if (!str_empty(failover->candidate))
        set_text(arena, map, "to", failover->candidate);
    return map;
}

Tree *cluster_document(Arena *arena, const ClusterView *view)
{
    const MemberRows members = cluster_rows(arena, view);
    Tree *list = tree_list(arena);
    for (size_t i = 0; i < members.count; i++)
        tree_append(arena, list, member_document(arena, &members.rows[i]));

    Tree *document = tree_map(arena);
    tree_set(arena, document, "members", list);
    if (cluster_modes(view).paused)
        tree_set(arena, document, "pause", tree_bool(arena, true));
    if (!str_empty(view->failover.scheduled_at) && !view->failover.schedule_invalid)
        tree_set(arena, document, "scheduled_switchover",
                 switchover_document(arena, &view->failover));
    return document;
}
