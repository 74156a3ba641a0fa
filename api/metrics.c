#include "api/metrics.h"

#include "api/member_status.h"

#include <inttypes.h>
#include <string.h>

enum { US_PER_S = 1000000, WITH_RECEIVER_VIEW = 90600 };

typedef struct {
    Arena *arena;
    const Snapshot *snapshot;
    const ServerView *server; // never NULL: all zero when there was no answer
    MemberStatus status;
    bool cluster_known;
    Instant now;
} Facts;

// --- values, as text; NULL: the series is absent

static const char *integer(const Facts *f, int64_t value)
{
    return arena_printf(f->arena, "%" PRId64, value);
}

static const char *flag(bool value)
{
    return value ? "1" : "0";
}

// Python's float: at least one digit behind the point, and 0 alone for "not known".
static const char *epoch(const Facts *f, int64_t us)
{
    if (us <= 0)
        return "0";
    char *text = arena_printf(f->arena, "%" PRId64 ".%06" PRId64, us / US_PER_S, us % US_PER_S);
    for (size_t last = strlen(text) - 1; text[last] == '0' && text[last - 1] != '.'; last--)
        text[last] = '\0';
    return text;
}

static const char *patroni_version(const Facts *f)
{
    Text text = text_new(f->arena);
    int part = 0;
    for (const char *s = str_or(f->snapshot->patroni_version, "0");; s++) {
        if (*s >= '0' && *s <= '9') {
            part = part < 10 ? part * 10 + (*s - '0') : part;
        } else {
            text_addf(&text, "%02d", part);
            part = 0;
            if (*s != '.') // "4.1.4", or a suffix we leave out
                return text.data;
        }
    }
}

static const char *postgres_running(const Facts *f)
{
    return flag(f->status.state == STATE_RUNNING);
}
static const char *postmaster_start_time(const Facts *f)
{
    return epoch(f, f->server->postmaster_start_us);
}
static const char *primary(const Facts *f)
{
    return flag(f->status.role == ROLE_PRIMARY);
}
static const char *xlog_location(const Facts *f)
{
    return integer(f, f->server->in_recovery ? 0 : (int64_t)f->server->flush_lsn);
}
static const char *standby_leader(const Facts *f)
{
    return flag(f->status.role == ROLE_STANDBY_LEADER);
}
static const char *replica(const Facts *f)
{
    return flag(f->status.role == ROLE_REPLICA);
}
static const char *sync_standby(const Facts *f)
{
    return flag(f->status.sync_standby);
}
static const char *quorum_standby(const Facts *f)
{
    return flag(f->status.quorum_standby);
}
static const char *received_location(const Facts *f)
{
    return integer(f, (int64_t)f->status.received);
}
static const char *replayed_location(const Facts *f)
{
    return integer(f, (int64_t)f->status.replayed);
}
static const char *replayed_timestamp(const Facts *f)
{
    return epoch(f, f->server->in_recovery ? f->server->replayed_us : 0);
}
static const char *replay_paused(const Facts *f)
{
    return flag(f->server->in_recovery && f->server->replay_paused);
}
static const char *replication_state_is(const Facts *f, const char *state)
{
    if (f->server->server_version < WITH_RECEIVER_VIEW)
        return NULL;
    return flag(str_eq(f->status.replication_state, state));
}
static const char *streaming(const Facts *f)
{
    return replication_state_is(f, "streaming");
}
static const char *archive_recovery(const Facts *f)
{
    return replication_state_is(f, "in archive recovery");
}
static const char *server_version(const Facts *f)
{
    return integer(f, f->server->server_version);
}
static const char *cluster_unlocked(const Facts *f)
{
    return flag(!f->cluster_known || f->snapshot->cluster.leader.name == NULL);
}
static const char *failsafe_active(const Facts *f)
{
    return flag(f->snapshot->failsafe_active);
}
static const char *failsafe_enabled(const Facts *f)
{
    return flag(f->snapshot->failsafe_enabled);
}
static const char *failsafe_member(const Facts *f)
{
    return flag(tree_get(f->snapshot->cluster.failsafe, f->snapshot->name) != NULL);
}
static const char *timeline(const Facts *f)
{
    return integer(f, f->server->timeline);
}
static const char *dcs_last_seen(const Facts *f)
{
    return integer(f, f->snapshot->dcs_last_seen_s);
}
static const char *pending_restart(const Facts *f)
{
    return flag(f->snapshot->server.pending_restart);
}
static const char *is_paused(const Facts *f)
{
    return flag(f->snapshot->paused);
}
static const char *postgres_state(const Facts *f)
{
    return f->status.state == STATE_UNKNOWN ? "-1" : integer(f, (int64_t)f->status.state);
}
static const char *failover_priority(const Facts *f)
{
    const Tags *tags = &f->snapshot->tag_values;
    return integer(f, tags->nofailover ? 0 : tags->failover_priority);
}

// --- ours

static const char *fenced(const Facts *f)
{
    return flag(f->snapshot->fenced);
}
static const char *fence_armed(const Facts *f)
{
    return flag(f->snapshot->fence_armed);
}
static const char *is_leader(const Facts *f)
{
    return flag(snapshot_leads(f->snapshot, f->now));
}
static const char *lease_left(const Facts *f)
{
    const int64_t left = snapshot_leads(f->snapshot, f->now)
                             ? instant_ms_between(f->now, f->snapshot->leader_until)
                             : 0;
    return arena_printf(f->arena, "%" PRId64 ".%03" PRId64, left / MS_PER_S, left % MS_PER_S);
}
static const char *turns(const Facts *f)
{
    return integer(f, (int64_t)f->snapshot->turns);
}
static const char *log_dropped_total(const Facts *f)
{
    return integer(f, (int64_t)f->snapshot->log_dropped);
}
static const char *disk_busy(const Facts *f)
{
    const int64_t ms = f->snapshot->server.disk_busy_ms;
    return arena_printf(f->arena, "%" PRId64 ".%03" PRId64, ms / MS_PER_S, ms % MS_PER_S);
}

// --- the table

static const struct {
    const char *name, *type, *help;
    const char *(*value)(const Facts *f);
} metrics[] = {
    {"patroni_version", "gauge",
     "Version of Patroni this agent is compatible with, two digits a part.", patroni_version},
    {"patroni_postgres_running", "gauge", "1 if PostgreSQL is running.", postgres_running},
    {"patroni_postmaster_start_time", "gauge",
     "When PostgreSQL was started, in seconds since 1970.", postmaster_start_time},
    {"patroni_primary", "gauge", "1 if PostgreSQL is the primary, not in recovery.", primary},
    {"patroni_xlog_location", "counter", "Position of the primary's WAL in bytes, 0 on a standby.",
     xlog_location},
    {"patroni_standby_leader", "gauge", "1 if this member leads a standby cluster.",
     standby_leader},
    {"patroni_replica", "gauge", "1 if this member is a replica.", replica},
    {"patroni_sync_standby", "gauge", "1 if this member is a synchronous standby.", sync_standby},
    {"patroni_quorum_standby", "gauge", "1 if this member is a quorum standby.", quorum_standby},
    {"patroni_xlog_received_location", "counter",
     "Position of the WAL received in bytes, 0 on the primary.", received_location},
    {"patroni_xlog_replayed_location", "counter",
     "Position of the WAL replayed in bytes, 0 on the primary.", replayed_location},
    {"patroni_xlog_replayed_timestamp", "gauge",
     "When the last replayed transaction was committed, in seconds since 1970.",
     replayed_timestamp},
    {"patroni_xlog_paused", "gauge", "1 if replay is paused.", replay_paused},
    {"patroni_postgres_streaming", "gauge", "1 if the standby streams WAL.", streaming},
    {"patroni_postgres_in_archive_recovery", "gauge",
     "1 if the standby takes WAL from the archive.", archive_recovery},
    {"patroni_postgres_server_version", "gauge",
     "Version of PostgreSQL as a number, 0 if not known.", server_version},
    {"patroni_cluster_unlocked", "gauge",
     "1 if the cluster has no leader, as far as this member knows.", cluster_unlocked},
    {"patroni_failsafe_mode_is_active", "gauge", "1 if the leader goes on without the store.",
     failsafe_active},
    {"patroni_failsafe_mode_enabled", "gauge", "1 if failsafe_mode is set.", failsafe_enabled},
    {"patroni_failsafe_member", "gauge", "1 if this member is in the failsafe map.",
     failsafe_member},
    {"patroni_postgres_timeline", "gauge", "Timeline of PostgreSQL, 0 if not known.", timeline},
    {"patroni_dcs_last_seen", "gauge", "When the store was last read, in seconds since 1970.",
     dcs_last_seen},
    {"patroni_pending_restart", "gauge", "1 if PostgreSQL needs a restart.", pending_restart},
    {"patroni_is_paused", "gauge", "1 if the cluster is paused.", is_paused},
    {"patroni_postgres_state", "gauge", "What PostgreSQL is doing, as a number.", postgres_state},
    {"patroni_failover_priority", "gauge",
     "Priority of this member in a failover, 0 if it takes no part.", failover_priority},
    {"howdah_fenced", "gauge", "1 if every member of the cluster stops at its lease's deadline.",
     fenced},
    {"howdah_fence_armed", "gauge", "1 if this member's fence is armed.", fence_armed},
    {"howdah_is_leader", "gauge",
     "1 if this member holds the leader key, by its last proven renewal.", is_leader},
    {"howdah_lease_left_seconds", "gauge", "How long the lease lasts without another renewal.",
     lease_left},
    {"howdah_disk_busy_seconds", "gauge", "How long the file operation now under way has been out.",
     disk_busy},
    {"howdah_turns_total", "counter", "Turns of the agent's loop since it was started.", turns},
    {"howdah_log_dropped_total", "counter",
     "Log records dropped because the log could not be written.", log_dropped_total},
};

// Patroni writes names as they are; a quote in one would make the page unreadable to Prometheus.
static void add_label(Text *page, const char *name)
{
    for (const char *s = str_or(name, ""); *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            text_add_char(page, '\\');
        if (*s == '\n')
            text_add(page, "\\n");
        else
            text_add_char(page, *s);
    }
}

static const char *labels(Arena *arena, const Snapshot *snapshot)
{
    Text text = text_new(arena);
    text_add(&text, "{scope=\"");
    add_label(&text, snapshot->scope);
    text_add(&text, "\",name=\"");
    add_label(&text, snapshot->name);
    text_add(&text, "\"}");
    return text.data;
}

static void add_state_values(Text *page)
{
    text_add(page, "# Values: ");
    for (int state = 0; state < STATE_UNKNOWN; state++)
        text_addf(page, "%s%d=%s", state > 0 ? ", " : "", state,
                  state_metric_name((ServerState)state));
    text_add_char(page, '\n');
}

char *metrics_text(Arena *arena, const StatusInput *input, Instant now)
{
    static const ServerView no_answer;
    Facts f = {.arena = arena,
               .snapshot = input->snapshot,
               .server = &no_answer,
               .status = member_status(input->snapshot, input->server, input->cluster_known),
               .cluster_known = input->cluster_known,
               .now = now};
    if (f.status.answered)
        f.server = input->server;

    const char *const labelled = labels(arena, input->snapshot);
    Text page = text_new(arena);
    for (size_t i = 0; i < COUNT_OF(metrics); i++) {
        const char *value = metrics[i].value(&f);
        if (value == NULL)
            continue;
        text_addf(&page, "# HELP %s %s\n", metrics[i].name, metrics[i].help);
        if (metrics[i].value == postgres_state)
            add_state_values(&page);
        text_addf(&page, "# TYPE %s %s\n", metrics[i].name, metrics[i].type);
        text_addf(&page, "%s%s %s\n", metrics[i].name, labelled, value);
    }
    return page.data;
}
