// A connection to a PostgreSQL server over libpq's asynchronous calls: every call returns by its
// deadline. A connection in any doubt is closed, never reused, and never cancelled through
// PQcancel, which blocks. One thread at a time.
//
// ERR_UNAVAILABLE: nothing was sent. ERR_UNCERTAIN: sent, no answer; the connection is gone.
// ERR_INVALID: the server refused, the text says why.
#pragma once
#include "agent/postgres/conninfo.h"
#include "common/base/time.h"
#include "common/os/clock.h"
#include "common/os/resolver.h"

#include <libpq-fe.h>

typedef struct PgConn PgConn;

typedef struct {
    Clock *clock;
    Resolver *resolver;
    bool may_wait_for_names; // false in the turn: a name not in the cache is "not now"
    int interrupt_fd;        // becomes readable: give up at once; -1: none
    const char *application_name;
    const char *options; // "-c name=value …"; NULL: PG_OPTIONS_OURS
    bool replication;    // walsender protocol: IDENTIFY_SYSTEM and its like
} PgConnectOptions;

// What every session of ours sets: nothing waits for an absent synchronous standby, nobody's
// functions or statement logs get in between.
#define PG_OPTIONS_OURS                                                                            \
    "-c statement_timeout=2000 -c search_path=pg_catalog -c synchronous_commit=local "             \
    "-c lc_messages=C -c pg_stat_statements.track=none"
// The same without a limit and without what only a superuser may set.
#define PG_OPTIONS_PLAIN "-c statement_timeout=0 -c search_path=pg_catalog"

// How an attempt to connect failed.
typedef struct {
    char sqlstate[6]; // "": the server said nothing
    bool timed_out;   // the deadline passed without an answer
} PgFailure;

// host is resolved by the resolver and passed as hostaddr; gssencmode is disable unless configured.
bool pg_connect(const PgConnectOptions *options, const ConnParams *params, Deadline deadline,
                PgConn **out, PgFailure *failure, Error *err) MUST_CHECK;
void pg_close(PgConn *pg);         // accepts NULL
void pg_release(PgConn **pg);      // for AUTO
bool pg_is_open(const PgConn *pg); // NULL: false
// Another descriptor to be interrupted by, for a connection that is kept; -1: none.
void pg_set_interrupt(PgConn *pg, int interrupt_fd);
int pg_server_version(const PgConn *pg); // 150018

// Runs SQL that may hold several statements; results[i] is that of the i-th. Exactly count results
// that carry rows or none at all (a command) must come. The caller releases them.
bool pg_query_many(PgConn *pg, const char *sql, Deadline deadline, PGresult **results, size_t count,
                   Error *err) MUST_CHECK;
bool pg_query(PgConn *pg, const char *sql, Deadline deadline, PGresult **out, Error *err)
    MUST_CHECK;
bool pg_exec(PgConn *pg, const char *sql, Deadline deadline, Error *err) MUST_CHECK; // rows dropped
const char *pg_sqlstate(const PgConn *pg); // of the last failed query, or ""

void pgresult_release(PGresult **result); // for AUTO

// One value of the first row; NULL for SQL NULL, no row or no such column.
const char *pg_text(const PGresult *result, int row, int column);

// SQL quoting without a connection; safe with standard_conforming_strings on and off.
char *sql_literal(Arena *arena, const char *text);
char *sql_identifier(Arena *arena, const char *name);
PGconn *pg_raw(PgConn *pg); // for PQencryptPasswordConn alone
