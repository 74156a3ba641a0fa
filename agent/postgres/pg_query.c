#include "agent/postgres/pg_query.h"

#include <string.h>

// to_char's form is Python's str() of a timestamp, but for a fraction of zero.
#define TIMESTAMP(what)                                                                            \
    "(extract(epoch from " what ") * 1000000)::bigint, "                                           \
    "to_char(" what ", 'YYYY-MM-DD HH24:MI:SS.USTZH:TZM')"

// OFFSET 0 keeps the question whether we are in recovery from being asked twice with two answers:
// half of these functions fail on the wrong side of a promotion.
#define SERVER_ROW(control)                                                                        \
    "SELECT r"                                                                                     \
    ", CASE WHEN r THEN NULL ELSE pg_walfile_name(pg_current_wal_flush_lsn()) END"                 \
    ", CASE WHEN r THEN NULL ELSE pg_current_wal_flush_lsn() END"                                  \
    ", pg_last_wal_receive_lsn(), w.written_lsn, pg_last_wal_replay_lsn()"                         \
    ", CASE WHEN r THEN pg_is_wal_replay_paused() END"                                             \
    ", w.status, w.received_tli, w.latest_end_lsn, w.sender_host, w.sender_port"                   \
    ", current_setting('restore_command') <> ''"                                                   \
    ", " TIMESTAMP("pg_postmaster_start_time()") ", " TIMESTAMP(                                   \
        "pg_last_xact_replay_timestamp()") ", " control                                            \
                                           " FROM (SELECT pg_is_in_recovery() AS r OFFSET 0) AS x" \
                                           " LEFT JOIN pg_stat_wal_receiver AS w ON true; "

#define SENDER_ROWS                                                                                \
    "SELECT application_name, host(client_addr), state, sync_state, usename, sync_priority"        \
    ", sent_lsn, write_lsn, flush_lsn, replay_lsn"                                                 \
    " FROM pg_stat_replication ORDER BY application_name, pid; "

#define SLOT_ROWS                                                                                  \
    "SELECT slot_name, slot_type = 'physical', active, temporary, wal_status = 'lost'"             \
    ", restart_lsn, xmin IS NOT NULL OR catalog_xmin IS NOT NULL"                                  \
    " FROM pg_replication_slots ORDER BY slot_name"

static const char plain_query[] = SERVER_ROW("NULL") SENDER_ROWS SLOT_ROWS;
static const char control_query[] =
    SERVER_ROW("(SELECT timeline_id FROM pg_control_checkpoint())") SENDER_ROWS SLOT_ROWS;

enum {
    COL_IN_RECOVERY,
    COL_WAL_FILE,
    COL_FLUSH,
    COL_RECEIVE,
    COL_WRITTEN,
    COL_REPLAY,
    COL_PAUSED,
    COL_STATUS,
    COL_RECEIVED_TLI,
    COL_LATEST_END,
    COL_HOST,
    COL_PORT,
    COL_RESTORES,
    COL_START_US,
    COL_START,
    COL_REPLAYED_US,
    COL_REPLAYED,
    COL_CONTROL,
    COL_COUNT,
};

static bool is_true(const PGresult *rows, int row, int column)
{
    return str_eq(pg_text(rows, row, column), "t");
}

static Lsn lsn_at(const PGresult *rows, int row, int column)
{
    Lsn lsn = LSN_NONE;
    (void)lsn_parse(pg_text(rows, row, column), &lsn); // NULL stays "not known"
    return lsn;
}

static int64_t int_at(const PGresult *rows, int row, int column)
{
    int64_t value = 0;
    (void)parse_int64(pg_text(rows, row, column), &value); // NULL stays 0
    return value;
}

static uint32_t timeline_at(const PGresult *rows, int column)
{
    const int64_t value = int_at(rows, 0, column);
    return value > 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

// The first eight digits of a WAL file's name.
static uint32_t timeline_of_file(const char *name)
{
    char half[16] = "0/";
    Lsn value = 0;
    if (name == NULL || strlen(name) < 8)
        return 0;
    memcpy(half + 2, name, 8);
    return lsn_parse(half, &value) ? (uint32_t)value : 0;
}

static void copy_timestamp(char *to, size_t size, const char *text)
{
    (void)copy_text(to, size, text); // a timestamp fits
    char *zero = strstr(to, ".000000");
    if (zero != NULL)
        memmove(zero, zero + 7, strlen(zero + 7) + 1);
}

static Lsn later(Lsn a, Lsn b)
{
    return a > b ? a : b;
}

static void read_recovery(const PGresult *rows, Monitored *m)
{
    m->receive_lsn = later(lsn_at(rows, 0, COL_RECEIVE), lsn_at(rows, 0, COL_WRITTEN));
    m->replay_lsn = lsn_at(rows, 0, COL_REPLAY);
    m->replay_paused = is_true(rows, 0, COL_PAUSED);
    const char *status = pg_text(rows, 0, COL_STATUS);
    m->receiver = status != NULL;
    m->streaming = str_eq(status, "streaming");
    m->received_timeline = timeline_at(rows, COL_RECEIVED_TLI);
    m->latest_end_lsn = lsn_at(rows, 0, COL_LATEST_END);
    (void)copy_text(m->receiver_host, sizeof m->receiver_host, pg_text(rows, 0, COL_HOST));
    m->receiver_port = (int)int_at(rows, 0, COL_PORT);
    m->replayed_us = int_at(rows, 0, COL_REPLAYED_US);
    copy_timestamp(m->replayed_text, sizeof m->replayed_text, pg_text(rows, 0, COL_REPLAYED));
}

static Monitored read_server(const PGresult *rows)
{
    Monitored m = {.in_recovery = is_true(rows, 0, COL_IN_RECOVERY)};
    if (m.in_recovery) {
        read_recovery(rows, &m);
    } else {
        m.timeline = timeline_of_file(pg_text(rows, 0, COL_WAL_FILE));
        m.flush_lsn = lsn_at(rows, 0, COL_FLUSH);
    }
    m.restores = is_true(rows, 0, COL_RESTORES);
    m.start_us = int_at(rows, 0, COL_START_US);
    copy_timestamp(m.start_text, sizeof m.start_text, pg_text(rows, 0, COL_START));
    m.control_timeline = timeline_at(rows, COL_CONTROL);
    return m;
}

static void read_senders(Arena *arena, const PGresult *rows, MonitoredRows *out)
{
    const int count = PQntuples(rows);
    WalSenderView *senders = ARENA_ARRAY(arena, WalSenderView, (size_t)count);
    for (int i = 0; i < count; i++)
        senders[i] = (WalSenderView){
            .application_name = arena_strdup(arena, pg_text(rows, i, 0)),
            .client_addr = arena_strdup(arena, pg_text(rows, i, 1)),
            .state = arena_strdup(arena, pg_text(rows, i, 2)),
            .sync_state = arena_strdup(arena, pg_text(rows, i, 3)),
            .usename = arena_strdup(arena, pg_text(rows, i, 4)),
            .sync_priority = (int)int_at(rows, i, 5),
            .sent_lsn = lsn_at(rows, i, 6),
            .write_lsn = lsn_at(rows, i, 7),
            .flush_lsn = lsn_at(rows, i, 8),
            .replay_lsn = lsn_at(rows, i, 9),
        };
    out->senders = senders;
    out->sender_count = (size_t)count;
}

static void read_slots(Arena *arena, const PGresult *rows, MonitoredRows *out)
{
    const int count = PQntuples(rows);
    SlotView *slots = ARENA_ARRAY(arena, SlotView, (size_t)count);
    for (int i = 0; i < count; i++)
        slots[i] = (SlotView){
            .name = arena_strdup(arena, pg_text(rows, i, 0)),
            .physical = is_true(rows, i, 1),
            .active = is_true(rows, i, 2),
            .temporary = is_true(rows, i, 3),
            .lost = is_true(rows, i, 4),
            .restart_lsn = lsn_at(rows, i, 5),
            .has_xmin = is_true(rows, i, 6),
        };
    out->slots = slots;
    out->slot_count = (size_t)count;
}

bool monitor_query(PgConn *pg, Arena *arena, bool with_control, Deadline deadline, Monitored *out,
                   MonitoredRows *rows, Error *err)
{
    enum { SERVER, SENDERS, SLOTS, RESULTS };
    PGresult *results[RESULTS];
    if (!pg_query_many(pg, with_control ? control_query : plain_query, deadline, results, RESULTS,
                       err))
        return false;
    const bool good = PQntuples(results[SERVER]) == 1 && PQnfields(results[SERVER]) == COL_COUNT &&
                      PQnfields(results[SENDERS]) == 10 && PQnfields(results[SLOTS]) == 7;
    if (good) {
        *out = read_server(results[SERVER]);
        out->server_version = pg_server_version(pg);
        read_senders(arena, results[SENDERS], rows);
        read_slots(arena, results[SLOTS], rows);
    }
    for (size_t i = 0; i < RESULTS; i++)
        pgresult_release(&results[i]);
    return good || error_set(err, ERR_INVALID, "monitoring query: answer of an unknown shape");
}

uint32_t timeline_of_position(const TimelineHistory *history, Lsn lsn)
{
    if (history->timeline == 0 || lsn == LSN_NONE)
        return 0;
    // A later switch at a lower position cuts off its elders: see timeline_ancestry().
    uint32_t found = history->timeline;
    Lsn end = UINT64_MAX;
    for (size_t i = history->parent_count; i-- > 0;) {
        if (history->parents[i].switch_lsn < end)
            end = history->parents[i].switch_lsn;
        if (lsn <= end)
            found = history->parents[i].timeline;
    }
    return found;
}
