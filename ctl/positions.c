#include "ctl/positions.h"

#include "common/model/peer.h"

enum { ASK_MS = 1000, REPLY_LIMIT = 1024 * 1024 };

static bool positions_in(Arena *arena, const HttpExchange *exchange, WalPositions *out)
{
    const Tree *status = NULL;
    Error ignored = {0};
    return exchange->ok && tree_parse_json(arena, exchange->reply.body, &status, &ignored) &&
           wal_positions_of(status, out);
}

void positions_ask(Ctl *ctl, ClusterView *view)
{
    Arena *arena = ctl->arena;
    MemberView *members = ARENA_ARRAY(arena, MemberView, view->member_count);
    HttpExchange *exchanges = ARENA_ARRAY(arena, HttpExchange, view->member_count);
    size_t count = 0;
    for (size_t i = 0; i < view->member_count; i++) {
        members[i] = view->members[i];
        if (members[i].howdah && members[i].api_url)
            exchanges[count++].request = (HttpRequest){
                .method = "GET", .url = members[i].api_url, .limit_bytes = REPLY_LIMIT};
    }
    http_call_all(ctl->http, arena, exchanges, count, deadline_in(ctl->clock, ASK_MS));
    count = 0;
    for (size_t i = 0; i < view->member_count; i++) {
        WalPositions at = {0};
        if (!members[i].howdah || !members[i].api_url)
            continue;
        if (!positions_in(arena, &exchanges[count++], &at))
            at = (WalPositions){0};
        member_set_positions(&members[i], &at);
        // As fresh as the others', or they would seem to be without lag.
        if (str_eq(members[i].name, view->leader.name) && at.location > view->optime)
            view->optime = at.location;
    }
    view->members = members;
}
