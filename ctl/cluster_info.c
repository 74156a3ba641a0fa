#include "ctl/cluster_info.h"

#include "common/model/cluster_document.h"
#include "ctl/api_client.h"
#include "ctl/connect.h"
#include "ctl/positions.h"

static const Tree *given(const Tree *map, const char *key)
{
    const Tree *value = tree_get(map, key);
    return value != NULL && value->kind == TREE_MAP ? value : NULL;
}

static MemberInfo member_of_row(const Tree *row)
{
    const char *role = tree_get_string(row, "role", "replica");
    const bool standby_leader = str_eq(role, "standby_leader");
    return (MemberInfo){.name = tree_get_string(row, "name", ""),
                        .role = role,
                        .state = tree_get_string(row, "state", ""),
                        .host = tree_get_string(row, "host", NULL),
                        .port = (int)tree_get_int(row, "port", 0),
                        .api_url = tree_get_string(row, "api_url", NULL),
                        .leads = standby_leader || str_eq(role, "leader"),
                        .standby_leader = standby_leader,
                        .primary = str_eq(role, "leader"),
                        .nofailover = tags_parse(tree_get(row, "tags")).nofailover,
                        .pending_restart = tree_get_bool(row, "pending_restart", false),
                        .scheduled_restart = given(row, "scheduled_restart"),
                        .row = row};
}

void cluster_info_fill(Arena *arena, const Tree *document, ClusterInfo *out)
{
    const Tree *rows = tree_get(document, "members");
    const size_t count = rows != NULL && rows->kind == TREE_LIST ? rows->count : 0;
    MemberInfo *members = ARENA_ARRAY(arena, MemberInfo, count);
    out->document = document;
    out->members = members;
    out->count = count;
    out->paused = tree_get_bool(document, "pause", false);
    out->scheduled_switchover = given(document, "scheduled_switchover");
    for (size_t i = 0; i < count; i++) {
        members[i] = member_of_row(rows->entries[i].value);
        if (members[i].leads)
            out->leader = members[i].name;
    }
}

// An empty cluster would be shown where there is one, and remove would take from it.
static bool kept_elsewhere(const char *scope, const ClusterView *view, Error *err)
{
    if (view->other_store == NULL)
        return false;
    error_set(err, ERR_INVALID,
              "cluster %s is not where these settings look: %s. Right would be %s", scope,
              view->other_store, str_or(view->other_store_line, "another store"));
    return true;
}

static bool read_over_store(Ctl *ctl, const char *scope, ClusterInfo *out, Error *err)
{
    Dcs *dcs;
    if (!ctl_store(ctl, scope, &dcs, err))
        return false;
    ClusterInfo info = {.scope = scope, .over_store = true};
    if (!dcs->ops->refresh(dcs, ctl->arena, ctl_store_deadline(ctl), &info.view, err))
        return error_wrap(err, "read cluster %s", scope);
    if (kept_elsewhere(scope, &info.view, err))
        return false;
    if (ctl->settings.store == STORE_KUBERNETES)
        positions_ask(ctl, &info.view);
    const char *identifier = info.view.initialize;
    info.identifier = identifier == NULL ? "uninitialized" : str_or(identifier, "initializing");
    cluster_info_fill(ctl->arena, cluster_document(ctl->arena, &info.view), &info);
    info.leader = info.view.leader.name;

    // The document shows what a member is to the cluster; here counts what it says of itself.
    MemberInfo *members = ARENA_ARRAY(ctl->arena, MemberInfo, info.count);
    for (size_t i = 0; i < info.count; i++) {
        const MemberView *view = &info.view.members[i]; // the document keeps their order
        members[i] = info.members[i];
        members[i].leads = str_eq(members[i].name, info.leader);
        members[i].primary = view->role == ROLE_PRIMARY;
        members[i].standby_leader = view->role == ROLE_STANDBY_LEADER;
    }
    info.members = members;
    *out = info;
    return true;
}

static bool read_over_api(Ctl *ctl, const char *scope, ClusterInfo *out, Error *err)
{
    const Tree *status, *document;
    if (!api_read(ctl, ctl->api_url, "/patroni", &status, err) ||
        !api_read(ctl, ctl->api_url, "/cluster", &document, err))
        return false;
    const Tree *patroni = tree_get(status, "patroni");
    const char *its_scope =
        tree_get_string(document, "scope", tree_get_string(patroni, "scope", ""));
    if (scope != NULL && !str_eq(scope, its_scope))
        return error_set(err, ERR_INVALID, "the member at %s belongs to cluster %s, not to %s",
                         ctl->api_url, its_scope, scope);
    ClusterInfo info = {.scope = its_scope};
    info.identifier = tree_get_string(status, "database_system_identifier", "uninitialized");
    cluster_info_fill(ctl->arena, document, &info);
    if (ctl->api_member == NULL)
        ctl->api_member = arena_strdup(ctl->session, tree_get_string(patroni, "name", NULL));
    *out = info;
    return true;
}

bool cluster_info_read(Ctl *ctl, const char *scope, ClusterInfo *out, Error *err)
{
    if (ctl->api_url != NULL)
        return read_over_api(ctl, scope, out, err);
    if (scope == NULL && !ctl_default_scope(ctl, &scope, err))
        return false;
    return read_over_store(ctl, scope, out, err);
}

const MemberInfo *cluster_info_member(const ClusterInfo *cluster, const char *name)
{
    for (size_t i = 0; i < cluster->count; i++)
        if (str_eq(cluster->members[i].name, name))
            return &cluster->members[i];
    return NULL;
}

const MemberInfo *cluster_info_leader(const ClusterInfo *cluster)
{
    return cluster->leader == NULL ? NULL : cluster_info_member(cluster, cluster->leader);
}

bool cluster_config_read(Ctl *ctl, const ClusterInfo *cluster, const Tree **out,
                         int64_t *out_revision, Error *err)
{
    *out_revision = cluster->view.config_revision;
    if (cluster->over_store) {
        // What cannot be read counts as empty, so that edit-config can mend it.
        *out = cluster->view.config_invalid ? tree_map(ctl->arena) : cluster->view.config;
        return true;
    }
    HttpReply reply;
    const ApiCall call = {.method = "GET", .path = "/config"};
    if (!api_call(ctl, ctl->api_url, &call, &reply, err))
        return false;
    if (reply.status != 200) { // 502: there is no configuration
        *out = NULL;
        return true;
    }
    if (!tree_parse_json(ctl->arena, reply.body, out, err))
        return error_wrap(err, "GET /config of %s", ctl->api_url);
    return true;
}

static const Tree *history_of_view(Arena *arena, const ClusterView *view)
{
    Tree *lines = tree_list(arena);
    for (size_t i = 0; i < view->history_count; i++) {
        const HistoryLine *line = &view->history[i];
        Tree *fields = tree_list(arena);
        tree_append(arena, fields, tree_int(arena, (int64_t)line->timeline));
        tree_append(arena, fields, tree_int(arena, (int64_t)line->lsn));
        tree_append(arena, fields, tree_string(arena, str_or(line->reason, "")));
        tree_append(arena, fields, tree_string(arena, str_or(line->timestamp, "")));
        tree_append(arena, fields, tree_string(arena, str_or(line->new_leader, "")));
        tree_append(arena, lines, fields);
    }
    return lines;
}

bool cluster_history_read(Ctl *ctl, const ClusterInfo *cluster, const Tree **out, Error *err)
{
    if (!cluster->over_store)
        return api_read(ctl, ctl->api_url, "/history", out, err);
    *out = history_of_view(ctl->arena, &cluster->view);
    return true;
}
