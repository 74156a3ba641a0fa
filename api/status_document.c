#include "api/status_document.h"

#include "api/member_status.h"

typedef struct {
    Arena *arena;
    Tree *map;
    const StatusInput *in;
    const MemberStatus *status;
} Document;

static void set_text(const Document *d, Tree *map, const char *key, const char *text)
{
    tree_set(d->arena, map, key, tree_string(d->arena, text)); // NULL becomes null
}

static void set_int(const Document *d, Tree *map, const char *key, int64_t value)
{
    tree_set(d->arena, map, key, tree_int(d->arena, value));
}

static void set_bool(const Document *d, Tree *map, const char *key, bool value)
{
    tree_set(d->arena, map, key, tree_bool(d->arena, value));
}

static void set_true(const Document *d, const char *key, bool condition)
{
    if (condition)
        set_bool(d, d->map, key, true);
}

// LSNs in bytes. A peer takes us for unreachable without this object, and for a primary if it finds
// a location in it.
static void add_xlog(const Document *d, const ServerView *server)
{
    Tree *xlog = tree_map(d->arena);
    if (!server->in_recovery) {
        set_int(d, xlog, "location", (int64_t)server->flush_lsn);
    } else {
        set_int(d, xlog, "received_location", (int64_t)d->status->received);
        set_int(d, xlog, "replayed_location", (int64_t)d->status->replayed);
        set_text(d, xlog, "replayed_timestamp", server->replayed_text);
        set_bool(d, xlog, "paused", server->replay_paused);
    }
    tree_set(d->arena, d->map, "xlog", xlog);
}

static void add_senders(const Document *d, const ServerView *server)
{
    if (server->sender_count == 0)
        return;
    Tree *list = tree_list(d->arena);
    for (size_t i = 0; i < server->sender_count; i++) {
        const WalSenderView *sender = &server->senders[i];
        Tree *map = tree_map(d->arena);
        set_text(d, map, "usename", sender->usename);
        set_text(d, map, "application_name", sender->application_name);
        set_text(d, map, "client_addr", sender->client_addr);
        set_text(d, map, "state", sender->state);
        set_text(d, map, "sync_state", sender->sync_state);
        set_int(d, map, "sync_priority", sender->sync_priority);
        tree_append(d->arena, list, map);
    }
    tree_set(d->arena, d->map, "replication", list);
}

static void add_server(const Document *d, const ServerView *server)
{
    set_int(d, d->map, "server_version", server->server_version);
    add_xlog(d, server);
    set_true(d, "sync_standby", d->status->sync_standby);
    set_true(d, "quorum_standby", d->status->quorum_standby);
    tree_set(d->arena, d->map, "timeline",
             server->timeline != 0 ? tree_int(d->arena, server->timeline) : tree_null(d->arena));
    if (d->status->replication_state != NULL)
        set_text(d, d->map, "replication_state", d->status->replication_state);
    add_senders(d, server);
}

static void add_cluster(const Document *d)
{
    const Snapshot *snapshot = d->in->snapshot;
    set_true(d, "pause", snapshot->paused);
    set_true(d, "cluster_unlocked", !d->in->cluster_known || snapshot->cluster.leader.name == NULL);
    set_true(d, "failsafe_mode_is_active", snapshot->failsafe_active);
    set_int(d, d->map, "dcs_last_seen", snapshot->dcs_last_seen_s);
    if (snapshot->tags != NULL && snapshot->tags->count > 0)
        tree_set(d->arena, d->map, "tags", snapshot->tags);
    if (snapshot->server.control.known)
        set_text(d, d->map, "database_system_identifier",
                 snapshot->server.control.system_identifier);
    if (snapshot->server.pending_restart) {
        const Tree *reason = snapshot->server.pending_restart_reason;
        set_bool(d, d->map, "pending_restart", true);
        tree_set(d->arena, d->map, "pending_restart_reason",
                 reason != NULL ? reason : tree_map(d->arena));
    }
}

static void add_agent(const Document *d)
{
    const Snapshot *snapshot = d->in->snapshot;
    Tree *patroni = tree_map(d->arena);
    set_text(d, patroni, "version", snapshot->patroni_version);
    set_text(d, patroni, "scope", snapshot->scope);
    set_text(d, patroni, "name", snapshot->name);
    tree_set(d->arena, d->map, "patroni", patroni);
    if (snapshot->scheduled_restart != NULL) {
        Tree *restart = tree_copy(d->arena, snapshot->scheduled_restart);
        tree_remove(restart, "postmaster_start_time");
        tree_set(d->arena, d->map, "scheduled_restart", restart);
    }
}

// Ours alone: with it a peer can tell whether our WAL lies on the history it knows, and whether the
// positions were sampled after it asked.
static void add_howdah(const Document *d)
{
    const ServerView *server = d->in->server;
    Tree *howdah = tree_map(d->arena);
    set_text(d, howdah, "version", d->in->snapshot->howdah_version);
    if (d->status->answered && server->timeline != 0 &&
        server->history.timeline == server->timeline) {
        Tree *list = tree_list(d->arena);
        for (size_t i = 0; i < server->history.parent_count; i++) {
            const TimelineSwitch *parent = &server->history.parents[i];
            Tree *pair = tree_list(d->arena);
            tree_append(d->arena, pair, tree_int(d->arena, parent->timeline));
            tree_append(d->arena, pair, tree_string(d->arena, lsn_format(parent->switch_lsn).text));
            tree_append(d->arena, list, pair);
        }
        tree_set(d->arena, howdah, "timeline_history", list);
    }
    if (d->status->answered && d->in->position_age_ms >= 0)
        set_int(d, howdah, "position_age_ms", d->in->position_age_ms);
    tree_set(d->arena, d->map, "howdah", howdah);
}

char *status_document(Arena *arena, const StatusInput *input)
{
    const MemberStatus status = member_status(input->snapshot, input->server, input->cluster_known);
    const Document d = {.arena = arena, .map = tree_map(arena), .in = input, .status = &status};
    set_text(&d, d.map, "state", state_name(status.state));
    if (status.answered && input->server->postmaster_start_text != NULL)
        set_text(&d, d.map, "postmaster_start_time", input->server->postmaster_start_text);
    set_text(&d, d.map, "role", role_name(status.role));
    if (status.answered)
        add_server(&d, input->server);
    add_cluster(&d);
    add_agent(&d);
    add_howdah(&d);
    return tree_to_json(arena, d.map, JSON_SPACED);
}
