// Routes that only show something.
#include "api/actions.h"
#include "api/explain.h"
#include "api/member_status.h"
#include "api/metrics.h"
#include "common/model/cluster_document.h"

enum { OK = 200, BAD_REQUEST = 400, BAD_GATEWAY = 502 };

// A server that is down, or being made, is not asked: the agent knows best.
static StatusInput without_sample(const Exchange *x, Instant now)
{
    return (StatusInput){.snapshot = x->snapshot,
                         .server = NULL,
                         .cluster_known = snapshot_cluster_known(x->snapshot, now),
                         .position_age_ms = -1};
}

void route_get_patroni(Exchange *x)
{
    if (member_status_is_asked(x->snapshot)) {
        exchange_sample(x, SAMPLE_STATUS);
        return;
    }
    const StatusInput input = without_sample(x, clock_now(x->api->clock));
    exchange_json(x, OK, status_document(x->arena, &input));
}

void route_get_metrics(Exchange *x)
{
    if (member_status_is_asked(x->snapshot)) {
        exchange_sample(x, SAMPLE_METRICS);
        return;
    }
    const Instant now = clock_now(x->api->clock);
    const StatusInput input = without_sample(x, now);
    exchange_reply(x, OK, reply_new(x->policy, "text/plain", metrics_text(x->arena, &input, now)));
}

void route_get_cluster(Exchange *x)
{
    ClusterView view = {0};
    if (!exchange_cluster(x, &view))
        return;
    Tree *document = cluster_document(x->arena, &view);
    tree_set(x->arena, document, "scope", tree_string(x->arena, x->snapshot->scope));
    exchange_json(x, OK, tree_to_json(x->arena, document, JSON_SPACED));
}

static const Tree *history_line(Arena *arena, const HistoryLine *line)
{
    Tree *list = tree_list(arena);
    tree_append(arena, list, tree_int(arena, line->timeline));
    tree_append(arena, list, tree_int(arena, (int64_t)line->lsn));
    const char *const texts[] = {line->reason, line->timestamp, line->new_leader};
    for (size_t i = 0; i < COUNT_OF(texts) && texts[i] != NULL; i++)
        tree_append(arena, list, tree_string(arena, texts[i]));
    return list;
}

void route_get_history(Exchange *x)
{
    ClusterView view = {0};
    if (!exchange_cluster(x, &view))
        return;
    Tree *lines = tree_list(x->arena);
    for (size_t i = 0; i < view.history_count; i++)
        tree_append(x->arena, lines, history_line(x->arena, &view.history[i]));
    exchange_json(x, OK, tree_to_json(x->arena, lines, JSON_SPACED));
}

void route_get_failsafe(Exchange *x)
{
    ClusterView view = {0};
    if (!exchange_cluster(x, &view))
        return;
    if (view.failsafe == NULL)
        exchange_page(x, BAD_GATEWAY);
    else
        exchange_json(x, OK, tree_to_json(x->arena, view.failsafe, JSON_SPACED));
}

void route_get_decisions(Exchange *x)
{
    int64_t limit = LEDGER_KEPT;
    const char *given = exchange_query(x, "limit");
    if (given != NULL && (!parse_int64(given, &limit) || limit < 0)) {
        exchange_text(x, BAD_REQUEST, "limit must be a number, like 20");
        return;
    }
    exchange_json(x, OK, decisions_document(x->arena, x->snapshot, (size_t)limit));
}

void route_get_why(Exchange *x)
{
    exchange_json(x, OK, why_document(x->arena, x->snapshot, clock_now(x->api->clock)));
}
