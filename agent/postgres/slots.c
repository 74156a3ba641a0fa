// Physical replication slots, on the turn's own connection. Which steps are to be taken is decided
// elsewhere, by what the turn has seen; every statement looks again, because since then a standby
// may have connected.
#include "agent/postgres/server_impl.h"

#include "common/os/log.h"

#include <string.h>

typedef struct {
    PgConn *pg;
    Arena *arena;
    Deadline deadline;
    Error *err;
    bool failed; // once: the others are still tried
} Sync;

// True: done, *did says whether there was anything to do.
static bool run(Sync *sync, const char *sql, const char *name, bool *did)
{
    Error one = {0};
    AUTO(pgresult_release) PGresult *rows = NULL;
    *did = false;
    if (!pg_is_open(sync->pg)) // the step that closed it has said why
        return false;
    if (pg_query(sync->pg, sql, sync->deadline, &rows, &one)) {
        *did = PQntuples(rows) > 0;
        return true;
    }
    if (!sync->failed)
        error_set(sync->err, one.kind, "replication slot %s: %s", name, one.text);
    sync->failed = true;
    return false;
}

// Reserving WAL at once, or it may be gone before the standby comes.
static void create(Sync *sync, const char *name)
{
    bool did;
    const char *literal = sql_literal(sync->arena, name);
    if (run(sync,
            arena_printf(sync->arena,
                         "SELECT pg_create_physical_replication_slot(%s, true) WHERE NOT EXISTS"
                         " (SELECT FROM pg_replication_slots WHERE slot_name = %s)",
                         literal, literal),
            name, &did) &&
        did)
        log_info("replication slot created name=%s", name);
}

static void drop(Sync *sync, const char *name)
{
    bool did;
    if (run(sync,
            arena_printf(sync->arena,
                         "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                         " WHERE slot_name = %s AND slot_type = 'physical' AND NOT active",
                         sql_literal(sync->arena, name)),
            name, &did) &&
        did)
        log_info("replication slot dropped name=%s", name);
}

static void advance(Sync *sync, const char *name, Lsn lsn)
{
    bool did;
    const char *to = arena_strdup(sync->arena, lsn_format(lsn).text);
    if (run(sync,
            arena_printf(sync->arena,
                         "SELECT pg_replication_slot_advance(slot_name, '%s')"
                         " FROM pg_replication_slots WHERE slot_name = %s"
                         " AND slot_type = 'physical' AND NOT active AND restart_lsn < '%s'",
                         to, sql_literal(sync->arena, name), to),
            name, &did) &&
        did) // every loop, so nothing for the story
        log_debug("replication slot advanced name=%s lsn=%s", name, to);
}

static void take(Sync *sync, const SlotStep *step)
{
    switch (step->action) {
    case SLOT_CREATE:
        create(sync, step->name);
        return;
    case SLOT_DROP:
        drop(sync, step->name);
        return;
    case SLOT_RENEW:
        drop(sync, step->name);
        create(sync, step->name); // nothing, if it came into use
        return;
    case SLOT_ADVANCE:
        advance(sync, step->name, step->lsn);
        return;
    }
    ASSERT(false);
}

bool server_sync_slots(Server *base, const SlotStep *steps, size_t count, Deadline deadline,
                       Error *err)
{
    LocalServer *server = (LocalServer *)base;
    if (!pg_is_open(server->turn.monitor))
        return error_set(err, ERR_UNAVAILABLE, "replication slots: no connection to the server");
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Sync sync = {.pg = server->turn.monitor, .arena = arena, .deadline = deadline, .err = err};
    for (size_t i = 0; i < count; i++)
        take(&sync, &steps[i]);
    if (!pg_is_open(server->turn.monitor))
        pg_release(&server->turn.monitor);
    return !sync.failed;
}
