// Peers over HTTP: every member's own status document, all asked at once.
#include "agent/peers.h"

#include "common/base/text.h"
#include "common/os/http.h"

#include <stdlib.h>

typedef struct {
    Peers base;
    Http *http;
} HttpPeers;

static TimelineHistory history_of(Arena *arena, const Tree *doc, uint32_t timeline)
{
    const Tree *lines = tree_path(doc, "howdah.timeline_history");
    if (!lines || lines->kind != TREE_LIST)
        return (TimelineHistory){0};
    TimelineSwitch *parents = ARENA_ARRAY(arena, TimelineSwitch, lines->count);
    for (size_t i = 0; i < lines->count; i++) {
        const Tree *line = lines->entries[i].value;
        if (line->kind != TREE_LIST || line->count < 2 ||
            line->entries[0].value->kind != TREE_INT ||
            !lsn_parse(str_or(tree_string_of(line->entries[1].value), ""), &parents[i].switch_lsn))
            return (TimelineHistory){0};
        parents[i].timeline = (uint32_t)line->entries[0].value->integer;
    }
    return (TimelineHistory){timeline, parents, lines->count};
}

bool peer_parse(Arena *arena, const char *body, PeerAnswer *out, Error *err)
{
    const Tree *doc;
    if (!tree_parse_json(arena, body, &doc, err))
        return error_wrap(err, "status document");
    const Role role = role_parse(tree_get_string(doc, "role", ""));
    // Without positions there is nothing to compare: as good as no answer.
    WalPositions at;
    if (!wal_positions_of(doc, &at))
        return error_set(err, ERR_INVALID, "status document without xlog, state is '%s'",
                         tree_get_string(doc, "state", "?"));
    const int64_t timeline = tree_get_int(doc, "timeline", 0);
    const Tags tags = tags_parse(tree_get(doc, "tags"));
    out->reachable = true;
    out->in_recovery = at.location == LSN_NONE && role != ROLE_PRIMARY;
    out->running = str_eq(tree_get_string(doc, "state", ""), state_name(STATE_RUNNING));
    out->position.timeline = timeline > 0 && timeline <= UINT32_MAX ? (uint32_t)timeline : 0;
    const Lsn standby = at.received > at.replayed ? at.received : at.replayed;
    out->position.lsn = !out->in_recovery ? at.location : standby;
    out->positions = at;
    out->history = history_of(arena, doc, out->position.timeline);
    out->nofailover = tags.nofailover;
    out->failover_priority = tags.failover_priority;
    out->watchdog_failed = tree_get_bool(doc, "watchdog_failed", false);
    return true;
}

static void ask(Peers *peers, Arena *arena, const PeerTarget *targets, size_t count,
                Deadline deadline, PeerAnswer *answers)
{
    HttpPeers *self = (HttpPeers *)(void *)peers;
    HttpExchange *exchanges = ARENA_ARRAY(arena, HttpExchange, count);
    for (size_t i = 0; i < count; i++)
        exchanges[i].request = (HttpRequest){
            .method = "GET", .url = targets[i].api_url, .limit_bytes = (size_t)1024 * 1024};
    http_call_all(self->http, arena, exchanges, count, deadline);
    for (size_t i = 0; i < count; i++) {
        Error err = {0};
        PeerAnswer answer = {.name = targets[i].name, .failover_priority = 1};
        if (!exchanges[i].ok)
            answer.error = exchanges[i].error.text;
        else if (!peer_parse(arena, exchanges[i].reply.body, &answer, &err))
            answer.error = arena_strdup(arena, err.text);
        answers[i] = answer;
    }
}

static void peers_free(Peers *peers)
{
    HttpPeers *self = (HttpPeers *)(void *)peers;
    http_free(self->http);
    free(self);
}

static const PeersOps http_peers = {.ask = ask, .free = peers_free};

Peers *peers_new(Resolver *resolver, const Settings *settings)
{
    HttpPeers *self = calloc(1, sizeof *self);
    ASSERT(self);
    const CtlSettings *ctl = &settings->ctl;
    // As Patroni's daemon does it: the chain is checked when we have a certificate of our own, host
    // names are not.
    const HttpOptions options = {
        .ca_file = ctl->cacert ? ctl->cacert : settings->restapi.cafile,
        .cert_file = ctl->certfile,
        .key_file = ctl->keyfile,
        .key_password = secret_reveal(ctl->keyfile_password),
        .skip_verify = ctl->certfile == NULL,
        .skip_host_check = true,
    };
    self->base.ops = &http_peers;
    self->http = http_new(resolver, &options);
    return &self->base;
}
