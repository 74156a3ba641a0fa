#include "agent/postgres/pg_conn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct PgConn {
    PGconn *conn; // NULL: closed in doubt
    Clock *clock;
    int interrupt_fd;
    char sqlstate[6];
};

typedef enum { WAIT_READY, WAIT_OVER, WAIT_INTERRUPTED, WAIT_FAILED } WaitResult;

static WaitResult wait_for(PgConn *pg, short events, Deadline deadline)
{
    struct pollfd fds[2] = {
        {.fd = PQsocket(pg->conn), .events = events},
        {.fd = pg->interrupt_fd, .events = POLLIN}, // poll skips a negative one
    };
    if (fds[0].fd < 0)
        return WAIT_FAILED;
    for (;;) {
        const int64_t left = deadline_left_ms(deadline, clock_now(pg->clock));
        const int ready = poll(fds, 2, left > 60000 ? 60000 : (int)left);
        if (ready < 0 && errno != EINTR)
            return WAIT_FAILED;
        if (ready > 0)
            return fds[1].revents != 0 ? WAIT_INTERRUPTED : WAIT_READY;
        if (deadline_over(pg->clock, deadline))
            return WAIT_OVER;
    }
}

static const char *wait_name(WaitResult result)
{
    switch (result) {
    case WAIT_READY:
        return "ready";
    case WAIT_OVER:
        return "timed out";
    case WAIT_INTERRUPTED:
        return "cancelled";
    case WAIT_FAILED:
        break;
    }
    return "connection lost";
}

void pg_close(PgConn *pg)
{
    if (pg == NULL)
        return;
    PQfinish(pg->conn);
    pg->conn = NULL;
    free(pg);
}

void pg_release(PgConn **pg)
{
    pg_close(*pg);
    *pg = NULL;
}

bool pg_is_open(const PgConn *pg)
{
    return pg != NULL && pg->conn != NULL;
}

void pg_set_interrupt(PgConn *pg, int interrupt_fd)
{
    pg->interrupt_fd = interrupt_fd;
}

int pg_server_version(const PgConn *pg)
{
    return PQserverVersion(pg->conn);
}

const char *pg_sqlstate(const PgConn *pg)
{
    return pg->sqlstate;
}

PGconn *pg_raw(PgConn *pg)
{
    return pg->conn;
}

void pgresult_release(PGresult **result)
{
    PQclear(*result);
    *result = NULL;
}

const char *pg_text(const PGresult *result, int row, int column)
{
    if (row >= PQntuples(result) || column >= PQnfields(result) || PQgetisnull(result, row, column))
        return NULL;
    return PQgetvalue(result, row, column);
}

// The first line is enough for a person, and LOCATION lines are not for them.
static void first_line(const char *message, char *to, size_t size)
{
    (void)copy_text(to, size, str_or(message, "no reason given")); // cut is fine
    to[strcspn(to, "\n")] = '\0';
}

// --- connecting

// libpq wants one host entry for each address: "localhost" with two becomes "localhost,localhost".
static bool add_addresses(Arena *arena, const PgConnectOptions *options, ConnParams *params,
                          Deadline deadline, Error *err)
{
    ConnParam *host = NULL;
    for (size_t i = 0; i < params->count; i++)
        if (str_eq(params->items[i].keyword, "host"))
            host = &params->items[i];
    if (host == NULL || host->value[0] == '/' || strchr(host->value, ',') != NULL)
        return true;

    StringList found = options->may_wait_for_names
                           ? resolver_wait(options->resolver, arena, host->value, deadline)
                           : resolver_get(options->resolver, arena, host->value);
    if (found.count == 0)
        return error_set(err, ERR_UNAVAILABLE, "no address known for host %s", host->value);
    Text hosts = text_new(arena), addresses = text_new(arena);
    for (size_t i = 0; i < found.count; i++) {
        text_addf(&hosts, "%s%s", i == 0 ? "" : ",", host->value);
        text_addf(&addresses, "%s%s", i == 0 ? "" : ",", found.items[i]);
    }
    host->value = hosts.data;
    conn_params_add(params, "hostaddr", addresses.data);
    return true;
}

static void add_our_own(const PgConnectOptions *options, ConnParams *params)
{
    if (conn_params_get(params, "gssencmode") == NULL)
        conn_params_add(params, "gssencmode", "disable");
    if (conn_params_get(params, "application_name") == NULL)
        conn_params_add(params, "application_name", options->application_name);
    conn_params_add(params, "options", str_or(options->options, PG_OPTIONS_OURS));
    if (options->replication)
        conn_params_add(params, "replication", "true");
    conn_params_add(params, "connect_timeout", "0"); // the deadline is ours
    conn_params_add(params, "tcp_user_timeout", "5000");
    conn_params_add(params, "keepalives_idle", "5");
    conn_params_add(params, "keepalives_interval", "2");
    conn_params_add(params, "keepalives_count", "2");
}

// A refusal carries its SQLSTATE only in the verbose text, "FATAL:  57P03: the database system is
// starting up"; the words after it are in the server's language.
static void find_sqlstate(const char *message, PgFailure *failure)
{
    failure->sqlstate[0] = '\0';
    for (const char *s = strstr(message, ":  "); s != NULL; s = strstr(s + 1, ":  ")) {
        const char *code = s + 3;
        if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && code[5] == ':') {
            memcpy(failure->sqlstate, code, 5);
            failure->sqlstate[5] = '\0';
            return;
        }
    }
}

static bool poll_until_connected(PgConn *pg, Deadline deadline, PgFailure *failure, Error *err)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED) {
            find_sqlstate(PQerrorMessage(pg->conn), failure);
            char line[160];
            first_line(PQerrorMessage(pg->conn), line, sizeof line);
            return error_set(err, ERR_UNAVAILABLE, "connect: %s", line);
        }
        const short events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        const WaitResult waited = wait_for(pg, events, deadline);
        failure->timed_out = waited == WAIT_OVER;
        if (waited != WAIT_READY)
            return error_set(err, ERR_UNAVAILABLE, "connect: %s", wait_name(waited));
        status = PQconnectPoll(pg->conn);
    }
    return true;
}

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result; // NOTICE and WARNING would go to our standard error
}

bool pg_connect(const PgConnectOptions *options, const ConnParams *wanted, Deadline deadline,
                PgConn **out, PgFailure *failure, Error *err)
{
    PgFailure ignored;
    if (failure == NULL)
        failure = &ignored;
    *failure = (PgFailure){0};
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    ConnParams params = *wanted;
    if (!add_addresses(arena, options, &params, deadline, err))
        return false;
    add_our_own(options, &params);

    const char *keywords[COUNT_OF(params.items) + 1] = {0}, *values[COUNT_OF(params.items) + 1];
    for (size_t i = 0; i < params.count; i++) {
        keywords[i] = params.items[i].keyword;
        values[i] = params.items[i].value;
    }
    values[params.count] = NULL;

    PgConn *fresh = malloc(sizeof *fresh);
    ASSERT(fresh != NULL);
    *fresh = (PgConn){.clock = options->clock, .interrupt_fd = options->interrupt_fd};
    AUTO(pg_release) PgConn *pg = fresh;
    pg->conn = PQconnectStartParams(keywords, values, 0);
    ASSERT(pg->conn != NULL); // out of memory
    if (PQstatus(pg->conn) == CONNECTION_BAD) {
        char line[160];
        first_line(PQerrorMessage(pg->conn), line, sizeof line);
        find_sqlstate(PQerrorMessage(pg->conn), failure);
        return error_set(err, ERR_UNAVAILABLE, "connect: %s", line);
    }
    PQsetErrorVerbosity(pg->conn, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(pg->conn, ignore_notice, NULL);
    if (!poll_until_connected(pg, deadline, failure, err))
        return false;
    PQsetErrorVerbosity(pg->conn, PQERRORS_DEFAULT);
    if (PQsetnonblocking(pg->conn, 1) != 0)
        return error_set(err, ERR_UNAVAILABLE, "connect: %s", PQerrorMessage(pg->conn));
    *out = TAKE(pg);
    return true;
}

// --- queries

static bool lost(PgConn *pg, WaitResult waited, const char *sql, Error *err)
{
    PQfinish(pg->conn); // in an unknown state, so never reused
    pg->conn = NULL;
    return error_set(err, ERR_UNCERTAIN, "%s, no answer to: %.80s", wait_name(waited), sql);
}

static bool send_query(PgConn *pg, const char *sql, Deadline deadline, Error *err)
{
    pg->sqlstate[0] = '\0';
    if (pg->conn == NULL)
        return error_set(err, ERR_UNAVAILABLE, "connection is closed");
    if (PQsendQuery(pg->conn, sql) == 0) {
        char line[160];
        first_line(PQerrorMessage(pg->conn), line, sizeof line);
        PQfinish(pg->conn);
        pg->conn = NULL;
        return error_set(err, ERR_UNAVAILABLE, "send: %s", line);
    }
    for (int left; (left = PQflush(pg->conn)) != 0;) {
        const WaitResult waited = left < 0 ? WAIT_FAILED : wait_for(pg, POLLIN | POLLOUT, deadline);
        if (waited != WAIT_READY || PQconsumeInput(pg->conn) == 0)
            return lost(pg, waited == WAIT_READY ? WAIT_FAILED : waited, sql, err);
    }
    return true;
}

// *out NULL: no more results.
static bool next_result(PgConn *pg, const char *sql, Deadline deadline, PGresult **out, Error *err)
{
    while (PQisBusy(pg->conn)) {
        const WaitResult waited = wait_for(pg, POLLIN, deadline);
        if (waited != WAIT_READY || PQconsumeInput(pg->conn) == 0)
            return lost(pg, waited == WAIT_READY ? WAIT_FAILED : waited, sql, err);
    }
    *out = PQgetResult(pg->conn);
    return true;
}

static bool refused(PgConn *pg, const PGresult *result, const char *sql, Error *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    (void)copy_text(pg->sqlstate, sizeof pg->sqlstate, state); // five characters
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    char line[160];
    first_line(message != NULL ? message : PQresultErrorMessage(result), line, sizeof line);
    return error_set(err, ERR_INVALID, "%s (in: %.60s)", line, sql);
}

static bool is_good(const PGresult *result)
{
    const ExecStatusType status = PQresultStatus(result);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
}

// Reads to the end of all results, so that the connection is ready for the next query; keeps the
// first count of them. libpq docs, "Asynchronous Command Processing".
static bool collect(PgConn *pg, const char *sql, Deadline deadline, PGresult **results,
                    size_t count, Error *err)
{
    size_t got = 0;
    bool good = true;
    for (;;) {
        AUTO(pgresult_release) PGresult *result = NULL;
        if (!next_result(pg, sql, deadline, &result, err))
            return false;
        if (result == NULL)
            break;
        if (good && !is_good(result))
            good = refused(pg, result, sql, err);
        if (got < count)
            results[got] = TAKE(result);
        got++;
    }
    if (good && PQstatus(pg->conn) != CONNECTION_OK)
        return lost(pg, WAIT_FAILED, sql, err);
    if (good && got < count)
        return error_set(err, ERR_INVALID, "%zu results instead of %zu (in: %.60s)", got, count,
                         sql);
    return good;
}

bool pg_query_many(PgConn *pg, const char *sql, Deadline deadline, PGresult **results, size_t count,
                   Error *err)
{
    for (size_t i = 0; i < count; i++)
        results[i] = NULL;
    if (send_query(pg, sql, deadline, err) && collect(pg, sql, deadline, results, count, err))
        return true;
    for (size_t i = 0; i < count; i++)
        pgresult_release(&results[i]);
    // A server that ends our session says so with an error first: the rest is a dead socket.
    if (pg->conn != NULL && PQstatus(pg->conn) != CONNECTION_OK) {
        PQfinish(pg->conn);
        pg->conn = NULL;
    }
    return false;
}

bool pg_query(PgConn *pg, const char *sql, Deadline deadline, PGresult **out, Error *err)
{
    return pg_query_many(pg, sql, deadline, out, 1, err);
}

bool pg_exec(PgConn *pg, const char *sql, Deadline deadline, Error *err)
{
    AUTO(pgresult_release) PGresult *result = NULL;
    return pg_query(pg, sql, deadline, &result, err);
}

// --- quoting

char *sql_literal(Arena *arena, const char *text)
{
    Text out = text_new(arena);
    if (strchr(text, '\\') != NULL)
        text_add(&out, " E"); // then a backslash means the same under any setting
    text_add_char(&out, '\'');
    for (const char *s = text; *s != '\0'; s++) {
        if (*s == '\'' || *s == '\\')
            text_add_char(&out, *s);
        text_add_char(&out, *s);
    }
    text_add_char(&out, '\'');
    return out.data;
}

char *sql_identifier(Arena *arena, const char *name)
{
    Text out = text_new(arena);
    text_add_char(&out, '"');
    for (const char *s = name; *s != '\0'; s++) {
        if (*s == '"')
            text_add_char(&out, '"');
        text_add_char(&out, *s);
    }
    text_add_char(&out, '"');
    return out.data;
}
