#include "api/health.h"

#include "api/member_status.h"
#include "common/model/units.h"

#include <string.h>

enum { OK = 200, UNAVAILABLE = 503 };

const char *query_get(const Query *query, const char *key)
{
    for (size_t i = 0; i < query->count; i++)
        if (strcmp(query->items[i].key, key) == 0)
            return query->items[i].value;
    return NULL;
}

// --- who counts as what

typedef struct {
    MemberStatus status;
    bool cluster_known;
    Lsn leader_lsn;                               // as far as we know; 0: not known
    int replica, leader, primary, standby_leader; // the status each kind of path gives
} Verdicts;

static Lsn leader_position(const Snapshot *snapshot, bool cluster_known)
{
    const Lsn stored = cluster_known ? snapshot->cluster.optime : LSN_NONE;
    const Lsn received = snapshot->server.answered ? snapshot->server.latest_end_lsn : LSN_NONE;
    return stored > received ? stored : received;
}

static bool is_behind(Lsn leader, Lsn ours, int64_t allowed)
{
    if (leader == LSN_NONE || (leader <= ours && allowed >= 0))
        return false;
    return (int64_t)(leader - ours) > allowed;
}

static int replica_verdict(const Snapshot *snapshot, const Verdicts *v, const Query *query)
{
    const char *lag = query_get(query, "lag");
    int64_t allowed = INT64_MAX; // also when it cannot be read
    if (lag != NULL && !parse_int_with_unit(lag, "B", &allowed))
        allowed = INT64_MAX;
    if (snapshot->tag_values.noloadbalance || is_behind(v->leader_lsn, v->status.replayed, allowed))
        return UNAVAILABLE;
    if (v->status.role != ROLE_REPLICA || v->status.state != STATE_RUNNING)
        return UNAVAILABLE;
    const char *wanted = query_get(query, "replication_state");
    return wanted == NULL || str_eq(wanted, v->status.replication_state) ? OK : UNAVAILABLE;
}

static int ok_if(bool condition)
{
    return condition ? OK : UNAVAILABLE;
}

static Verdicts judge(const Snapshot *snapshot, Instant now, const Query *query)
{
    const bool known = snapshot_cluster_known(snapshot, now);
    Verdicts v = {.status = member_status(snapshot, &snapshot->server, known),
                  .cluster_known = known,
                  .leader_lsn = leader_position(snapshot, known)};
    const Role role = v.status.role;
    v.replica = replica_verdict(snapshot, &v, query);
    v.leader = v.primary = v.standby_leader = UNAVAILABLE;

    // Paused, and the store is away: maintenance of the store must not take the cluster down.
    // Nobody else can lead meanwhile, for the store says that this leader runs unfenced.
    if (!known && snapshot->paused) {
        v.primary = ok_if(role == ROLE_PRIMARY);
        v.standby_leader = ok_if(role == ROLE_STANDBY_LEADER);
        v.leader = ok_if(v.primary == OK || v.standby_leader == OK);
    } else if (snapshot_leads(snapshot, now)) {
        v.leader = OK;
        if (snapshot->standby_cluster) {
            v.replica = UNAVAILABLE;
            v.standby_leader = ok_if(role == ROLE_REPLICA || role == ROLE_STANDBY_LEADER);
        } else {
            v.primary = OK;
        }
    }
    return v;
}

static int read_only(const Verdicts *v)
{
    return v->primary == OK || v->standby_leader == OK ? OK : v->replica;
}

// --- paths

typedef enum {
    CHECK_STANDBY_LEADER,
    CHECK_LEADER,
    CHECK_PRIMARY,
    CHECK_REPLICA,
    CHECK_READ_ONLY,
    CHECK_HEALTH,
    CHECK_SYNC,
    CHECK_QUORUM,
    CHECK_ASYNC,
    CHECK_READ_ONLY_SYNC,
    CHECK_READ_ONLY_QUORUM,
    CHECK_NOTHING, // no check bears this name
} Check;

// Found anywhere in the path; the first row that fits counts.
static const struct {
    const char *part;
    Check check;
} parts[] = {
    {"standby_leader", CHECK_STANDBY_LEADER},
    {"standby-leader", CHECK_STANDBY_LEADER},
    {"leader", CHECK_LEADER},
    {"master", CHECK_PRIMARY},
    {"primary", CHECK_PRIMARY},
    {"read-write", CHECK_PRIMARY},
    {"replica", CHECK_REPLICA},
    {"read-only", CHECK_READ_ONLY}, // unless sync or quorum stands in it too
    {"health", CHECK_HEALTH},
};

// The whole path, and only while the cluster is known.
static const struct {
    const char *path;
    Check check;
} paths[] = {
    {"/sync", CHECK_SYNC},
    {"/synchronous", CHECK_SYNC},
    {"/quorum", CHECK_QUORUM},
    {"/async", CHECK_ASYNC},
    {"/asynchronous", CHECK_ASYNC},
    {"/read-only-sync", CHECK_READ_ONLY_SYNC},
    {"/read-only-synchronous", CHECK_READ_ONLY_SYNC},
    {"/read-only-quorum", CHECK_READ_ONLY_QUORUM},
};

static Check check_of(const char *path, bool cluster_known)
{
    if (strcmp(path, "/") == 0)
        return CHECK_PRIMARY;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (strstr(path, parts[i].part) == NULL)
            continue;
        if (parts[i].check == CHECK_READ_ONLY &&
            (strstr(path, "sync") != NULL || strstr(path, "quorum") != NULL))
            continue;
        return parts[i].check;
    }
    for (size_t i = 0; cluster_known && i < COUNT_OF(paths); i++)
        if (strcmp(path, paths[i].path) == 0)
            return paths[i].check;
    return CHECK_NOTHING;
}

static int verdict_of(const Verdicts *v, Check check)
{
    switch (check) {
    case CHECK_STANDBY_LEADER:
        return v->standby_leader;
    case CHECK_LEADER:
        return v->leader;
    case CHECK_PRIMARY:
        return v->primary;
    case CHECK_REPLICA:
        return v->replica;
    case CHECK_READ_ONLY:
        return read_only(v);
    case CHECK_HEALTH:
        return ok_if(v->status.state == STATE_RUNNING);
    case CHECK_SYNC:
        return v->status.sync_standby ? v->replica : UNAVAILABLE;
    case CHECK_QUORUM:
        return v->status.quorum_standby ? v->replica : UNAVAILABLE;
    case CHECK_ASYNC:
        return v->status.sync_standby || v->status.quorum_standby ? UNAVAILABLE : v->replica;
    case CHECK_READ_ONLY_SYNC:
        return v->status.sync_standby ? read_only(v)
                                      : ok_if(v->primary == OK || v->standby_leader == OK);
    case CHECK_READ_ONLY_QUORUM:
        return v->status.quorum_standby ? read_only(v)
                                        : ok_if(v->primary == OK || v->standby_leader == OK);
    case CHECK_NOTHING:
        break;
    }
    return UNAVAILABLE;
}

// --- tags

// Texts as they stand; other scalars as Patroni writes them in lower case: true, 5, 1.4.
static bool tag_matches(const Tree *tag, const char *wanted)
{
    if (tag == NULL)
        return false;
    switch (tag->kind) {
    case TREE_STRING:
        return str_eq(tag->text, wanted);
    case TREE_REAL:
        return str_ieq(tag->text, wanted);
    case TREE_BOOL:
        return str_eq(wanted, tag->boolean ? "true" : "false");
    case TREE_INT: {
        int64_t value;
        return parse_int64(wanted, &value) && value == tag->integer;
    }
    case TREE_NULL:
        return str_eq(wanted, "none");
    case TREE_LIST:
    case TREE_MAP:
        break;
    }
    return false;
}

static bool tags_match(const Tree *tags, const Query *query)
{
    static const char prefix[] = "tag_";
    enum { LENGTH = sizeof prefix - 1 };
    for (size_t i = 0; i < query->count; i++) {
        const QueryItem *item = &query->items[i];
        if (strncmp(item->key, prefix, LENGTH) == 0 &&
            !tag_matches(tree_get(tags, item->key + LENGTH), query_get(query, item->key)))
            return false;
    }
    return true;
}

// --- the checks

int health_status(const Snapshot *snapshot, Instant now, const char *path, const Query *query)
{
    const Verdicts v = judge(snapshot, now, query);
    const Check check = check_of(path, v.cluster_known);
    const int status = verdict_of(&v, check);
    // Whoever asks for the leader wants it whatever its tags are.
    if (check <= CHECK_PRIMARY || status != OK)
        return status;
    return ok_if(tags_match(snapshot->tags, query));
}

int liveness_status(const Snapshot *snapshot, Instant now)
{
    const bool primary = snapshot->server.role == ROLE_PRIMARY && snapshot->server.running;
    const int64_t grace_ms = primary ? snapshot->ttl_ms : 2 * snapshot->ttl_ms;
    return ok_if(snapshot->paused ||
                 instant_before(now, instant_plus_ms(snapshot->next_turn_at, grace_ms)));
}

int readiness_status(const Snapshot *snapshot, Instant now, const Query *query)
{
    const Verdicts v = judge(snapshot, now, query);
    if (snapshot_leads(snapshot, now))
        return OK;
    if (v.status.state != STATE_RUNNING || !str_eq(v.status.replication_state, "streaming"))
        return UNAVAILABLE;
    if (!v.cluster_known && snapshot->server.latest_end_lsn == LSN_NONE)
        return ok_if(snapshot->failsafe_active);

    const char *lag = query_get(query, "lag");
    int64_t allowed = (int64_t)snapshot->maximum_lag_on_failover;
    if (lag != NULL && !parse_int_with_unit(lag, "B", &allowed))
        allowed = (int64_t)snapshot->maximum_lag_on_failover;
    const bool write = str_eq(query_get(query, "mode"), "write");
    return ok_if(!is_behind(v.leader_lsn, write ? v.status.received : v.status.replayed, allowed));
}
