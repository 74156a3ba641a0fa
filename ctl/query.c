// dsn, query.
#include "ctl/answers.h"
#include "ctl/prompts.h"
#include "ctl/select.h"
#include "ctl/table.h"
#include "ctl/watch.h"

#include "common/os/files.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SQL_LIMIT = 8 * 1024 * 1024, CONNECT_TIMEOUT_S = 5 };

typedef struct {
    const char *role;   // NULL: the member is named
    const char *member; // NULL: the role is
} Target;

static bool target_of(const Args *args, Target *out, Error *err)
{
    *out = (Target){.role = args_text(args, OPT_ROLE), .member = args_text(args, OPT_MEMBER)};
    if (out->role != NULL && out->member != NULL)
        return error_set(err, ERR_INVALID, "--role and --member are mutually exclusive options");
    if (out->member == NULL && out->role == NULL)
        out->role = "leader";
    return true;
}

static const MemberInfo *find_target(const ClusterInfo *cluster, const Target *target)
{
    for (size_t i = 0; i < cluster->count; i++) {
        const MemberInfo *member = &cluster->members[i];
        const bool fits = target->member != NULL ? str_eq(member->name, target->member)
                                                 : member_has_role(member, target->role);
        if (fits && member->host != NULL)
            return member;
    }
    return NULL;
}

bool run_dsn(Ctl *ctl, const Args *args, Error *err)
{
    Target target;
    ClusterInfo cluster;
    if (!target_of(args, &target, err) ||
        !cluster_info_read(ctl, args_word(args, 0), &cluster, err))
        return false;
    const MemberInfo *member = find_target(&cluster, &target);
    if (member == NULL)
        return error_set(err, ERR_INVALID, "Can not find a suitable member");
    printf("host=%s port=%d\n", member->host, member->port);
    return true;
}

// --- query

typedef struct {
    Ctl *ctl;
    const Args *args;
    Target target;
    const char *sql;
    const char *password; // NULL: libpq's ways
    Format format;
    const char *delimiter;
} Query;

static void conn_release(PGconn **conn)
{
    PQfinish(*conn);
}

static void result_release(PGresult **result)
{
    PQclear(*result);
}

// As SQL sees it; the wording is that of patronictl, and there is no heading.
static bool print_failure(Query *q, const char *text)
{
    Ctl *ctl = q->ctl;
    const char *when = time_in_seconds(ctl->arena, clock_wall_us(ctl->clock));
    char *line = arena_strdup(ctl->arena, text);
    for (char *c = line; *c != '\0'; c++)
        if (*c == '\n')
            *c = ' ';
    if (q->format == FORMAT_JSON || q->format == FORMAT_YAML) {
        fprintf(stderr, "%s %s\n", when, line);
        puts("[]");
    } else {
        printf("%s%s%s\n", when, q->delimiter, line);
    }
    return ctl_rest_failed(ctl);
}

static bool print_no_connection(Query *q)
{
    const Target *target = &q->target;
    return print_failure(
        q,
        target->member != NULL
            ? arena_printf(q->ctl->arena, "No connection to member %s is available", target->member)
            : arena_printf(q->ctl->arena, "No connection to role '%s' is available", target->role));
}

static const Tree *cell_of(Arena *arena, Format format, PGresult *result, int row, int column)
{
    enum {
        BOOL = 16,
        INT8 = 20,
        INT2 = 21,
        INT4 = 23,
        OID = 26,
        FLOAT4 = 700,
        FLOAT8 = 701,
        NUMERIC = 1700,
        JSON = 114,
        JSONB = 3802
    };
    if (PQgetisnull(result, row, column))
        return format == FORMAT_JSON || format == FORMAT_YAML ? tree_null(arena)
                                                              : tree_string(arena, "None");
    const char *text = PQgetvalue(result, row, column);
    const Tree *parsed;
    Error ignored = {0};
    int64_t number;
    switch (PQftype(result, column)) {
    case BOOL:
        return tree_bool(arena, text[0] == 't');
    case INT8:
    case INT2:
    case INT4:
    case OID:
        if (parse_int64(text, &number))
            return tree_int(arena, number);
        break;
    case FLOAT4:
    case FLOAT8:
    case NUMERIC: // "NaN" and "Infinity" are no JSON and stay text
    case JSON:
    case JSONB:
        if ((format == FORMAT_JSON || format == FORMAT_YAML) &&
            tree_parse_json(arena, text, &parsed, &ignored))
            return parsed;
        break;
    default:
        break;
    }
    return tree_string(arena, text);
}

static void print_rows(Query *q, PGresult *result)
{
    Arena *arena = q->ctl->arena;
    const int rows = PQntuples(result), columns = PQnfields(result);
    const size_t width = (size_t)columns, all = width * (size_t)rows;
    Column *headings = ARENA_ARRAY(arena, Column, width);
    const Tree **cells = ARENA_ARRAY(arena, const Tree *, all);
    for (int c = 0; c < columns; c++)
        headings[c].name = arena_strdup(arena, PQfname(result, c));
    for (int row = 0; row < rows; row++)
        for (int c = 0; c < columns; c++)
            cells[(size_t)row * width + (size_t)c] = cell_of(arena, q->format, result, row, c);
    const Table table = {.columns = headings,
                         .column_count = width,
                         .cells = cells,
                         .row_count = (size_t)rows,
                         .delimiter = q->delimiter};
    fputs(table_format(arena, &table, q->format), stdout);
}

static PGconn *connect_to(const Query *q, const MemberInfo *member)
{
    const char *port = arena_printf(q->ctl->arena, "%d", member->port);
    const char *timeout = arena_printf(q->ctl->arena, "%d", CONNECT_TIMEOUT_S);
    const struct {
        const char *key, *value;
    } wanted[] = {{"host", member->host},
                  {"port", port},
                  {"connect_timeout", timeout},
                  {"fallback_application_name", "howdahctl"},
                  {"client_encoding", "UTF8"},
                  {"user", args_text(q->args, OPT_USERNAME)},
                  {"dbname", args_text(q->args, OPT_DBNAME)},
                  {"password", q->password}};
    const char *keys[COUNT_OF(wanted) + 1] = {0}, *values[COUNT_OF(wanted) + 1] = {0};
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        if (wanted[i].value == NULL)
            continue;
        keys[count] = wanted[i].key;
        values[count++] = wanted[i].value;
    }
    return PQconnectdbParams(keys, values, 0);
}

// Where the role says so, the server must agree: the store may lag behind a failover.
static bool recovery_fits(const Query *q, PGconn *conn)
{
    const char *role = q->target.role;
    if (role == NULL || str_eq(role, "any") || str_eq(role, "leader"))
        return true;
    AUTO(result_release) PGresult *result = PQexec(conn, "SELECT pg_catalog.pg_is_in_recovery()");
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        return false;
    const bool in_recovery = PQgetvalue(result, 0, 0)[0] == 't';
    return in_recovery != str_eq(role, "primary");
}

static bool run_round(Query *q, const ClusterInfo *cluster)
{
    const MemberInfo *member = find_target(cluster, &q->target);
    if (member == NULL)
        return print_no_connection(q);
    AUTO(conn_release) PGconn *conn = connect_to(q, member);
    if (PQstatus(conn) != CONNECTION_OK)
        return print_failure(
            q, arena_printf(q->ctl->arena, "ERROR, SQLSTATE: %s", PQerrorMessage(conn)));
    if (!recovery_fits(q, conn))
        return print_no_connection(q);
    AUTO(result_release) PGresult *result = PQexec(conn, q->sql);
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
        print_rows(q, result);
        return true;
    case PGRES_COMMAND_OK:
        printf("%s%s%s\n", time_in_seconds(q->ctl->arena, clock_wall_us(q->ctl->clock)),
               q->delimiter, PQcmdStatus(result));
        return true;
    case PGRES_EMPTY_QUERY:
        return print_failure(q, "ERROR, SQLSTATE: can't execute an empty query");
    default:
        break;
    }
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state != NULL)
        fputs(PQresultErrorMessage(result), stderr);
    return print_failure(q, arena_printf(q->ctl->arena, "ERROR, SQLSTATE: %s",
                                         state != NULL ? state : PQresultErrorMessage(result)));
}

static bool read_sql(const Args *args, Arena *arena, const char **out, Error *err)
{
    const char *command = args_text(args, OPT_COMMAND), *file = args_text(args, OPT_FILE);
    if (command != NULL && file != NULL)
        return error_set(err, ERR_INVALID, "--file and --command are mutually exclusive options");
    if (command == NULL && file == NULL)
        return error_set(err, ERR_INVALID, "You need to specify either --command or --file");
    *out = command;
    if (command != NULL)
        return true;
    char *text;
    if (!file_read(arena, str_eq(file, "-") ? "/dev/stdin" : file, SQL_LIMIT, &text, err))
        return false;
    *out = text;
    return text != NULL || error_set(err, ERR_INVALID, "%s: no such file", file);
}

bool run_query(Ctl *ctl, const Args *args, Error *err)
{
    Query query = {.ctl = ctl,
                   .args = args,
                   .format = args_has(args, OPT_FORMAT) ? format_parse(args_text(args, OPT_FORMAT))
                                                        : FORMAT_TSV,
                   .delimiter = str_or(args_text(args, OPT_DELIMITER), "\t")};
    const char *password;
    if (!target_of(args, &query.target, err) || !read_sql(args, ctl->session, &query.sql, err))
        return false;
    if (args_has(args, OPT_PASSWORD)) {
        if (!prompt_password(ctl, "Password", &password, err))
            return false;
        query.password = arena_strdup(ctl->session, password);
    }
    Watch watch = watch_begin(ctl, args, false);
    while (watch_next(&watch)) {
        ClusterInfo cluster;
        if (!cluster_info_read(ctl, args_word(args, 0), &cluster, err))
            return false;
        (void)run_round(&query, &cluster); // noted in ctl
    }
    return true;
}
