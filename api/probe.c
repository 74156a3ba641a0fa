// Health checks: answered from the snapshot alone, without waiting and without allocating.
#include "api/exchange.h"
#include "api/health.h"
#include "api/member_status.h"
#include "api/status_document.h"

#include <string.h>

enum { QUERY_MAX = 32 };

typedef struct {
    QueryItem items[QUERY_MAX];
    size_t count;
    bool overflow;
} QueryRoom;

static enum MHD_Result collect(void *context, enum MHD_ValueKind kind, const char *key,
                               const char *value)
{
    QueryRoom *room = context;
    (void)kind;
    if (str_empty(value))
        return MHD_YES;
    room->overflow = room->count == QUERY_MAX;
    if (room->overflow)
        return MHD_NO;
    room->items[room->count++] = (QueryItem){.key = key, .value = value};
    return MHD_YES;
}

typedef enum { PROBE_HEALTH, PROBE_LIVENESS, PROBE_READINESS } Probe;

// HEAD and OPTIONS know health checks alone, by whatever path they come.
static Probe probe_of(bool get, const char *path)
{
    const char *segment = path + strspn(path, "/");
    const size_t length = strcspn(segment, "/");
    if (!get)
        return PROBE_HEALTH;
    if (length == strlen("liveness") && memcmp(segment, "liveness", length) == 0)
        return PROBE_LIVENESS;
    if (length == strlen("readiness") && memcmp(segment, "readiness", length) == 0)
        return PROBE_READINESS;
    return PROBE_HEALTH;
}

static int status_of(Probe probe, struct MHD_Connection *connection, const Snapshot *snapshot,
                     Instant now, const char *path)
{
    enum { BAD_REQUEST = 400 };
    QueryRoom room;
    room.count = 0;
    room.overflow = false;
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, collect, &room);
    if (room.overflow) // a tag left out would say yes where the answer is no
        return BAD_REQUEST;

    const Query query = {.items = room.items, .count = room.count};
    switch (probe) {
    case PROBE_LIVENESS:
        return liveness_status(snapshot, now);
    case PROBE_READINESS:
        return readiness_status(snapshot, now, &query);
    case PROBE_HEALTH:
        break;
    }
    return health_status(snapshot, now, path, &query);
}

static Reply *make_page(const Snapshot *snapshot, bool cluster_known, const Policy *policy)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const StatusInput input = {.snapshot = snapshot,
                               .server = &snapshot->server,
                               .cluster_known = cluster_known,
                               .position_age_ms = -1};
    return reply_new(policy, "application/json", status_document(arena, &input));
}

// A reference to the page of this snapshot. Made by whoever first asks for it.
static Reply *page_of(Api *api, Snapshot *snapshot, Instant now)
{
    const bool known = snapshot_cluster_known(snapshot, now);
    pthread_mutex_lock(&api->page_lock);
    if (api->page == NULL || api->page_snapshot != snapshot || api->page_cluster_known != known) {
        reply_unref(api->page);
        snapshot_unref(api->page_snapshot);
        api->page_snapshot = snapshot_ref(snapshot);
        api->page_cluster_known = known;
        api->page = make_page(snapshot, known, api->page_policy);
    }
    Reply *page = reply_ref(api->page);
    pthread_mutex_unlock(&api->page_lock);
    return page;
}

enum MHD_Result answer_probe(Api *api, struct MHD_Connection *connection, const char *method,
                             const char *path)
{
    enum { UNAVAILABLE = 503 };
    const Instant now = clock_now(api->clock);
    const bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0;
    const Probe probe = probe_of(get, path);
    const bool status_only = !get || probe != PROBE_HEALTH;
    client_waits(client_of(connection), now);

    AUTO(snapshot_release) Snapshot *snapshot = api->host->snapshot(api->host);
    if (snapshot == NULL)
        return reply_send(connection, UNAVAILABLE, status_only ? api->empty : api->unready);
    const int status = status_of(probe, connection, snapshot, now, path);
    log_request(connection, method, path, status);
    if (status_only)
        return reply_send(connection, status, api->empty);
    AUTO(reply_release) Reply *page = page_of(api, snapshot, now);
    return reply_send(connection, status, page);
}
