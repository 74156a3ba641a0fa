// The member record, both ways.
#include "dcs/records_internal.h"

#include <stdlib.h>
#include <string.h>

// What we claim to be: Patroni and its tools read features off this number.
#define EMULATED_PATRONI_VERSION "4.1.4"
#define DEFAULT_PORT             5432

// --- reading

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char lower = c >= 'A' && c <= 'F' ? (char)(c + ('a' - 'A')) : c;
    const char *at = lower != '\0' ? strchr(digits, lower) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

static const char *percent_decoded(Arena *arena, const char *from, size_t length)
{
    Text text = text_new(arena);
    for (size_t i = 0; i < length; i++) {
        const int high = i + 2 < length ? hex_digit(from[i + 1]) : -1;
        const int low = i + 2 < length ? hex_digit(from[i + 2]) : -1;
        if (from[i] == '%' && high >= 0 && low >= 0 && high + low > 0) {
            text_add_char(&text, (char)(high * 16 + low));
            i += 2;
        } else {
            text_add_char(&text, from[i] == '+' ? ' ' : from[i]);
        }
    }
    return text.data;
}

// The oldest form: the value is a connection URL, its application_name is the api_url.
static const Tree *legacy_member(Arena *arena, const char *value)
{
    static const char item[] = "application_name=";
    Tree *map = tree_map(arena);
    const size_t url_length = strcspn(value, "?");
    tree_set(arena, map, "conn_url", tree_string(arena, arena_strndup(arena, value, url_length)));

    const char *query = value[url_length] == '?' ? value + url_length + 1 : "";
    while (*query != '\0') {
        const size_t length = strcspn(query, "&#");
        if (length > strlen(item) && str_starts(query, item)) {
            const char *api_url =
                percent_decoded(arena, query + strlen(item), length - strlen(item));
            if (record_is_text(api_url, strlen(api_url)))
                tree_set(arena, map, "api_url", tree_string(arena, api_url));
            break;
        }
        query += length;
        query += *query == '&' ? 1 : strlen(query);
    }
    return map;
}

static const Tree *member_data(RecordReader *reader, const RawKey *raw)
{
    static const char legacy[] = "postgres";
    const size_t length = strlen(legacy);
    if (raw->length > length && memcmp(raw->value, legacy, length) == 0 &&
        record_is_text(raw->value, raw->length))
        return legacy_member(reader->arena, arena_strndup(reader->arena, raw->value, raw->length));

    const Tree *tree = record_json(reader, raw->value, raw->length);
    return tree != NULL && tree->kind == TREE_MAP ? tree : tree_map(reader->arena);
}

static int port_or_default(const char *text)
{
    int64_t port = 0;
    return parse_int64(text, &port) && port > 0 && port < 65536 ? (int)port : DEFAULT_PORT;
}

// postgres://[user[:password]@]host[:port]/database, the host in brackets if it is IPv6.
static void split_conn_url(Arena *arena, const char *url, MemberView *out)
{
    const char *start = strstr(url, "://");
    if (start == NULL)
        return;
    start += strlen("://");
    const char *authority = arena_strndup(arena, start, strcspn(start, "/?#"));
    const char *user_end = strrchr(authority, '@');
    const char *host = user_end != NULL ? user_end + 1 : authority;

    size_t length = strcspn(host, ":");
    const char *rest = host + length;
    if (host[0] == '[') {
        host++;
        length = strcspn(host, "]");
        if (host[length] == '\0')
            return;
        rest = host + length + 1;
    }
    if (length == 0)
        return;
    out->host = arena_strndup(arena, host, length);
    out->port = port_or_default(*rest == ':' ? rest + 1 : "");
}

// A string field as it is, "" included; anything else is absent.
static const char *string_field(const Tree *map, const char *key)
{
    const Tree *value = tree_get(map, key);
    return value != NULL && value->kind == TREE_STRING ? value->text : NULL;
}

static void find_address(Arena *arena, MemberView *member)
{
    if (member->conn_url != NULL) {
        split_conn_url(arena, member->conn_url, member);
        return;
    }
    const Tree *parts = tree_get(member->data, "conn_kwargs");
    const char *host =
        parts != NULL && parts->kind == TREE_MAP ? string_field(parts, "host") : NULL;
    if (str_empty(host))
        return;
    const int64_t port = tree_get_int(parts, "port", DEFAULT_PORT);
    member->host = host;
    member->port = port > 0 && port < 65536 ? (int)port : DEFAULT_PORT;
}

MemberView record_member(RecordReader *reader, const char *name, const RawKey *raw)
{
    const Tree *data = member_data(reader, raw);
    const Tree *tags = tree_get(data, "tags");
    const Tree *checkpoint = tree_get(data, "checkpoint_after_promote");
    const int64_t timeline = tree_get_int(data, "timeline", 0);
    MemberView member = {
        .name = name,
        .mod_revision = raw->mod_revision,
        .session = arena_strdup(reader->arena, raw->lease),
        .conn_url = string_field(data, "conn_url"),
        .api_url = string_field(data, "api_url"),
        .proxy_url = string_field(data, "proxy_url"),
        .state_text = str_or(string_field(data, "state"), ""),
        .version = string_field(data, "version"),
        .howdah = string_field(data, "howdah"),
        .xlog_location = record_lsn(tree_get(data, "xlog_location")),
        .receive_lsn = record_lsn(tree_get(data, "receive_lsn")),
        .replay_lsn = record_lsn(tree_get(data, "replay_lsn")),
        .replication_state = string_field(data, "replication_state"),
        .timeline = timeline > 0 && timeline <= UINT32_MAX ? (uint32_t)timeline : 0,
        .pause = tree_get_bool(data, "pause", false),
        .checkpoint_pending =
            checkpoint != NULL && checkpoint->kind == TREE_BOOL && !checkpoint->boolean,
        .pending_restart = tree_get_bool(data, "pending_restart", false),
        .tags = tags_parse(tags != NULL && tags->kind == TREE_MAP ? tags : NULL),
        .data = data,
    };
    member.state = state_parse(member.state_text);
    member.role = role_parse(str_or(string_field(data, "role"), ""));
    find_address(reader->arena, &member);
    return member;
}

// --- writing

static const char *bracketed(Arena *arena, const char *host)
{
    if (strchr(host, ':') == NULL || host[0] == '[')
        return host;
    return arena_printf(arena, "[%s]", host);
}

// The first address the server listens on; the wildcards are reached as localhost.
static const char *local_host(Arena *arena, const char *listen_addresses)
{
    const char *list = str_or(listen_addresses, "localhost");
    const char *first = arena_strndup(arena, list, strcspn(list, ", "));
    static const char *const wildcards[] = {"", "*", "0.0.0.0", "::", "[::]"};
    for (size_t i = 0; i < COUNT_OF(wildcards); i++) {
        if (str_eq(first, wildcards[i]))
            return "localhost";
    }
    return first;
}

static const char *connection_url(Arena *arena, const PostgresSettings *settings)
{
    const bool told = settings->connect.host != NULL;
    const char *host =
        told ? settings->connect.host : local_host(arena, settings->listen_addresses);
    const int port = told ? settings->connect.port : settings->port;
    return arena_printf(arena, "postgres://%s:%d/%s", bracketed(arena, host),
                        port > 0 ? port : DEFAULT_PORT, str_or(settings->database, "postgres"));
}

// A position is published only while it means something: the server runs, it was asked, and no
// task is about to take it down or to replace its data.
static bool positions_count(const ServerView *server)
{
    if (!server->answered || (server->state != STATE_RUNNING && server->state != STATE_STARTING &&
                              server->state != STATE_RESTARTING))
        return false;
    if (!server->task.running)
        return true;
    switch (server->task.kind) {
    case TASK_NONE:
    case TASK_INSPECT:
    case TASK_PROMOTE:
    case TASK_FOLLOW:
    case TASK_RELOAD:
    case TASK_CHECK_DIVERGENCE:
    case TASK_CHECKPOINT:
        return true;
    case TASK_BOOTSTRAP:
    case TASK_POST_BOOTSTRAP:
    case TASK_START_PRIMARY:
    case TASK_START_STANDBY:
    case TASK_STOP:
    case TASK_CLONE:
    case TASK_REWIND:
    case TASK_CRASH_RECOVERY:
    case TASK_WIPE:
    case TASK_COUNT:
        return false;
    }
    return false;
}

static void add_text(Arena *arena, Tree *map, const char *key, const char *text)
{
    tree_set(arena, map, key, tree_string(arena, text));
}

static void add_lsn(Arena *arena, Tree *map, const char *key, Lsn lsn)
{
    tree_set(arena, map, key, tree_int(arena, (int64_t)lsn));
}

static void add_positions(Arena *arena, Tree *map, const ServerView *server)
{
    if (!server->in_recovery) {
        add_lsn(arena, map, "xlog_location", server->flush_lsn);
    } else {
        const Lsn received = server->receive_lsn, replayed = server->replay_lsn;
        add_lsn(arena, map, "xlog_location", received > replayed ? received : replayed);
        if (replayed != LSN_NONE)
            add_lsn(arena, map, "replay_lsn", replayed);
        if (received != LSN_NONE)
            add_lsn(arena, map, "receive_lsn", received);
        if (server->streaming)
            add_text(arena, map, "replication_state", "streaming");
        else if (server->archive_recovery)
            add_text(arena, map, "replication_state", "in archive recovery");
    }
    const uint32_t timeline = server->timeline != 0 || server->role != ROLE_STANDBY_LEADER
                                  ? server->timeline
                                  : server->control.timeline;
    if (timeline != 0)
        tree_set(arena, map, "timeline", tree_int(arena, timeline));
}

char *records_member(Arena *arena, const MemberRecordInput *input)
{
    const Settings *settings = input->settings;
    const ServerView *server = input->server;
    Tree *map = tree_map(arena);

    add_text(arena, map, "conn_url", connection_url(arena, &settings->postgresql));
    add_text(arena, map, "api_url", str_or(settings->restapi.api_url, ""));
    add_text(arena, map, "state", state_name(server->state));
    add_text(arena, map, "role", role_name(server->role));
    add_text(arena, map, "version", EMULATED_PATRONI_VERSION);
    add_text(arena, map, "howdah", HOWDAH_VERSION);
    const Address *proxy = &settings->postgresql.proxy;
    if (proxy->host != NULL)
        add_text(arena, map, "proxy_url",
                 arena_printf(arena, "postgres://%s:%d/%s", bracketed(arena, proxy->host),
                              proxy->port > 0 ? proxy->port : DEFAULT_PORT,
                              str_or(settings->postgresql.database, "postgres")));
    if (input->leader && server->checkpoint_pending)
        tree_set(arena, map, "checkpoint_after_promote", tree_bool(arena, false));
    if (settings->tags_tree != NULL && settings->tags_tree->count > 0)
        tree_set(arena, map, "tags", settings->tags_tree);
    if (server->pending_restart) {
        const Tree *reason = server->pending_restart_reason;
        tree_set(arena, map, "pending_restart", tree_bool(arena, true));
        tree_set(arena, map, "pending_restart_reason", reason != NULL ? reason : tree_map(arena));
    }
    if (positions_count(server))
        add_positions(arena, map, server);
    if (input->scheduled_restart != NULL)
        tree_set(arena, map, "scheduled_restart", input->scheduled_restart);
    if (input->paused)
        tree_set(arena, map, "pause", tree_bool(arena, true));
    return tree_to_json(arena, map, JSON_COMPACT);
}
