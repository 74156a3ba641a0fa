// One connection to PostgreSQL with a deadline, and questions whose answers come as JSON.
#include "ctl/doctor.h"

#include <libpq-fe.h>
#include <poll.h>
#include <string.h>

typedef struct {
    PGconn *conn;
    Clock *clock;
    Deadline deadline;
    Arena *arena;
} Session;

static void conn_release(PGconn **conn)
{
    PQfinish(*conn);
}

static void result_release(PGresult **result)
{
    PQclear(*result);
}

static const char *first_line(Arena *arena, const char *message)
{
    return arena_strndup(arena, message, strcspn(message, "\n"));
}

static bool wait_for(const Session *s, short events)
{
    const int fd = PQsocket(s->conn);
    return fd >= 0 && doctor_wait(fd, events, s->clock, s->deadline);
}

// --- connecting

typedef struct {
    const char *keys[40], *values[40];
    size_t count;
} Params;

static void add(Params *params, const char *key, const char *value)
{
    if (str_empty(value))
        return;
    ASSERT(params->count + 1 < COUNT_OF(params->keys));
    params->keys[params->count] = key;
    params->values[params->count++] = value;
}

static void add_auth(Params *p, const PgAuth *auth)
{
    add(p, "user", auth->username);
    add(p, "password", secret_reveal(auth->password));
    add(p, "sslmode", auth->sslmode);
    add(p, "sslcert", auth->sslcert);
    add(p, "sslkey", auth->sslkey);
    add(p, "sslpassword", secret_reveal(auth->sslpassword));
    add(p, "sslrootcert", auth->sslrootcert);
    add(p, "sslcrl", auth->sslcrl);
    add(p, "gssencmode", str_or(auth->gssencmode, "disable"));
    add(p, "channel_binding", auth->channel_binding);
}

// libpq's own lookups know no deadline.
static bool add_host(Params *p, Arena *arena, Resolver *resolver, const char *host,
                     Deadline deadline, const char **out_error)
{
    if (host == NULL || host[0] == '/') {
        add(p, "host", host);
        return true;
    }
    const StringList found = resolver_wait(resolver, arena, host, deadline);
    if (found.count == 0) {
        *out_error = arena_printf(arena, "no address known for host %s", host);
        return false;
    }
    Text hosts = text_new(arena), addresses = text_new(arena);
    for (size_t i = 0; i < found.count; i++) {
        text_addf(&hosts, "%s%s", i == 0 ? "" : ",", host);
        text_addf(&addresses, "%s%s", i == 0 ? "" : ",", found.items[i]);
    }
    add(p, "host", hosts.data);
    add(p, "hostaddr", addresses.data);
    return true;
}

static const char *connect_error(Session *s)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    if (s->conn == NULL || PQstatus(s->conn) == CONNECTION_BAD)
        return s->conn == NULL ? "out of memory" : first_line(s->arena, PQerrorMessage(s->conn));
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED)
            return first_line(s->arena, PQerrorMessage(s->conn));
        if (!wait_for(s, status == PGRES_POLLING_READING ? POLLIN : POLLOUT))
            return "no answer in time";
        status = PQconnectPoll(s->conn);
    }
    return NULL;
}

// --- asking

// One value: a JSON list of rows.
static Known ask(Session *s, const char *rows)
{
    const char *sql =
        arena_printf(s->arena, "SELECT coalesce(json_agg(r), '[]')::text FROM (%s) AS r", rows);
    Known known = {0};
    if (PQstatus(s->conn) != CONNECTION_OK || !PQsendQuery(s->conn, sql)) {
        known.why = first_line(s->arena, PQerrorMessage(s->conn));
        return known;
    }
    while (PQisBusy(s->conn))
        if (!wait_for(s, POLLIN) || !PQconsumeInput(s->conn)) {
            known.why = "no answer in time";
            PQfinish(s->conn); // in an unknown state
            s->conn = NULL;
            return known;
        }
    AUTO(result_release) PGresult *result = PQgetResult(s->conn);
    Error err = {0};
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        known.why = first_line(s->arena, PQresultErrorMessage(result));
    else if (!tree_parse_json(s->arena, PQgetvalue(result, 0, 0), &known.value, &err))
        known.why = arena_strdup(s->arena, err.text);
    for (PGresult *more; (more = PQgetResult(s->conn)) != NULL;)
        PQclear(more);
    return known;
}

static const char settings_sql[] =
    "SELECT name, setting, pending_restart, coalesce(sourcefile, '') AS file FROM pg_settings "
    "WHERE pending_restart OR "
    "name IN ('wal_level', 'max_wal_senders', 'max_replication_slots', 'max_connections', "
    "'wal_log_hints', 'data_checksums', 'hot_standby', 'archive_mode', 'archive_command', "
    "'archive_library', 'fsync', 'full_page_writes', 'synchronous_commit', 'listen_addresses', "
    "'port', 'ssl', 'max_slot_wal_keep_size', 'server_version_num', 'zero_damaged_pages', "
    "'ignore_checksum_failure', 'server_version')";

static const char roles_sql[] =
    "SELECT rolname AS name, rolsuper AS super, rolreplication AS replication, rolcanlogin AS "
    "login, "
    "coalesce(rolvaliduntil < now(), false) AS expired, "
    "has_function_privilege(oid, 'pg_catalog.pg_ls_dir(text, boolean, boolean)', 'EXECUTE') AND "
    "has_function_privilege(oid, 'pg_catalog.pg_stat_file(text, boolean)', 'EXECUTE') AND "
    "has_function_privilege(oid, 'pg_catalog.pg_read_binary_file(text)', 'EXECUTE') AND "
    "has_function_privilege(oid, 'pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)', "
    "'EXECUTE') AS may_rewind FROM pg_roles WHERE rolcanlogin OR rolsuper";

static const char hba_sql[] =
    "SELECT line_number AS line, type, database, user_name AS users, address, netmask, "
    "auth_method AS method, error FROM pg_hba_file_rules ORDER BY line_number";

static const char slots_sql[] =
    "SELECT slot_name AS name, slot_type AS type, active, wal_status, restart_lsn IS NOT NULL AS "
    "placed, "
    "CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), "
    "restart_lsn)::bigint ELSE 0 END AS kept FROM pg_replication_slots";

static const char senders_sql[] = "SELECT application_name AS name, state, client_addr FROM "
                                  "pg_stat_replication";

static const char receiver_sql[] = "SELECT status, slot_name AS slot FROM pg_stat_wal_receiver";

static const char archiver_sql[] =
    "SELECT archived_count::text AS archived, failed_count::text AS failed, last_failed_wal, "
    "coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS failing FROM "
    "pg_stat_archiver";

static const char server_sql[] =
    "SELECT pg_is_in_recovery() AS in_recovery, (SELECT system_identifier::text FROM "
    "pg_control_system()) AS identifier";

static void ask_everything(Session *s, SqlFacts *out)
{
    const struct {
        const char *sql;
        Known *answer;
    } questions[] = {
        {server_sql, &out->server_facts}, {settings_sql, &out->settings},
        {roles_sql, &out->roles},         {hba_sql, &out->hba},
        {slots_sql, &out->slots},         {senders_sql, &out->senders},
        {archiver_sql, &out->archiver},   {receiver_sql, &out->receiver},
    };
    for (size_t i = 0; i < COUNT_OF(questions); i++) {
        if (s->conn == NULL)
            questions[i].answer->why = "the connection was lost before";
        else
            *questions[i].answer = ask(s, questions[i].sql);
    }
}

// --- where

static const char *socket_directory(const Settings *s, Arena *arena)
{
    const char *list = tree_get_string(s->postgresql.parameters, "unix_socket_directories", NULL);
    if (!s->postgresql.use_unix_socket || list == NULL)
        return NULL;
    list += strspn(list, " ");
    const char *first = arena_strndup(arena, list, strcspn(list, ","));
    return first[0] == '/' ? first : NULL;
}

// As the agent reaches it: the socket if it is told to, else localhost or the first address.
static const char *local_host(const Settings *s, Arena *arena)
{
    const char *socket = socket_directory(s, arena);
    if (socket != NULL)
        return socket;
    const char *listen = str_or(s->postgresql.listen_addresses, "localhost");
    if (strstr(listen, "*") != NULL || strstr(listen, "0.0.0.0") != NULL ||
        strstr(listen, "localhost") != NULL || strstr(listen, "127.0.0.1") != NULL)
        return "localhost";
    return arena_strndup(arena, listen, strcspn(listen, ", "));
}

// Beside an agent its own server, elsewhere the leader's.
static bool choose_server(DoctorFacts *f, const char **out_host, int *out_port)
{
    const Settings *s = f->settings;
    const MemberView *leader = f->view == NULL ? NULL : cluster_leader_member(f->view);
    if (f->local.beside) {
        *out_host = local_host(s, f->arena);
        *out_port = s->postgresql.port;
        f->sql.member = s->name;
    } else if (leader != NULL && leader->host != NULL) {
        *out_host = leader->host;
        *out_port = leader->port;
        f->sql.member = leader->name;
    } else {
        f->sql.error = "not beside an agent, and no leader is known";
        return false;
    }
    f->sql.server = arena_printf(f->arena, "%s:%d", *out_host, *out_port);
    return true;
}

void gather_sql(DoctorFacts *facts, Clock *clock, Resolver *resolver, Deadline deadline)
{
    const char *host = NULL, *error = NULL;
    int port = 0;
    Params p = {0};
    if (!choose_server(facts, &host, &port))
        return;
    if (!add_host(&p, facts->arena, resolver, host, deadline, &facts->sql.error))
        return;
    add(&p, "port", arena_printf(facts->arena, "%d", port));
    add(&p, "dbname", facts->settings->postgresql.database);
    add_auth(&p, &facts->settings->postgresql.superuser);
    add(&p, "application_name", "howdahctl doctor");
    add(&p, "options",
        "-c statement_timeout=2000 -c search_path=pg_catalog "
        "-c default_transaction_read_only=on");
    Session s = {.clock = clock, .deadline = deadline, .arena = facts->arena};
    AUTO(conn_release) PGconn *conn = PQconnectStartParams(p.keys, p.values, 0);
    s.conn = conn;
    error = connect_error(&s);
    if (error != NULL) {
        facts->sql.error = error;
        return;
    }
    ask_everything(&s, &facts->sql);
    conn = s.conn; // NULL if it was closed in doubt
}
