#include "agent/postgres/identify.h"

#include <string.h>

bool identify_system(PgConn *pg, Deadline deadline, Identity *out, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    uint64_t timeline;
    Identity found = {0};
    if (!pg_query(pg, "IDENTIFY_SYSTEM", deadline, &rows, err))
        return false;
    if (!copy_text(found.system_identifier, sizeof found.system_identifier, pg_text(rows, 0, 0)) ||
        !parse_uint64(pg_text(rows, 0, 1), &timeline) || timeline == 0 || timeline > UINT32_MAX ||
        !lsn_parse(pg_text(rows, 0, 2), &found.lsn))
        return error_set(err, ERR_INVALID, "IDENTIFY_SYSTEM: answer of an unknown shape");
    found.timeline = (uint32_t)timeline;
    *out = found;
    return true;
}

// SHOW is part of the walsender's language. in_hot_standby exists since 14; before, a transaction
// in recovery is read-only whatever anybody has configured.
bool identify_recovery(PgConn *pg, Deadline deadline, bool *out, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    const char *sql =
        pg_server_version(pg) >= 140000 ? "SHOW in_hot_standby" : "SHOW transaction_read_only";
    if (!pg_query(pg, sql, deadline, &rows, err))
        return false;
    if (pg_text(rows, 0, 0) == NULL)
        return error_set(err, ERR_INVALID, "%s: no answer", sql);
    *out = str_eq(pg_text(rows, 0, 0), "on");
    return true;
}

bool identify_history(PgConn *pg, Arena *arena, uint32_t timeline, Deadline deadline,
                      TimelineHistory *out, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    if (timeline == 1) {
        *out = (TimelineHistory){.timeline = 1};
        return true;
    }
    const char *sql = arena_printf(arena, "TIMELINE_HISTORY %u", timeline);
    if (!pg_query(pg, sql, deadline, &rows, err))
        return false;
    const char *content = pg_text(rows, 0, 1);
    if (content == NULL) // "no row" is no answer, and above all not "not needed"
        return error_set(err, ERR_INVALID, "%s: no answer", sql);
    return timeline_parse_history(arena, timeline, content, out, err);
}
