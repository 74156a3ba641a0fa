// Connection strings and password files, pure: parameters in Patroni's order, because the text ends
// up in primary_conninfo and is compared there.
#pragma once
#include "common/model/settings.h"

typedef struct {
    const char *keyword, *value;
} ConnParam;

typedef struct {
    ConnParam items[32];
    size_t count;
} ConnParams;

typedef struct {
    const char *host; // NULL: libpq's default socket; a comma list is kept as it is
    int port;         // 0: libpq's default
    const char *dbname;
    const PgAuth *auth;
    const char *passfile;         // stands for the password; NULL: the password itself, if any
    const char *application_name; // NULL: none
    const char *krbsrvname;
    const char *target_session_attrs;
    int major;     // of whoever reads the string: newer keywords are left out; 0: all
    bool defaults; // write sslmode=prefer and its like where nothing is configured
} ConnTarget;

// NULL and "" are skipped. The strings are kept, not copied.
void conn_params_add(ConnParams *params, const char *keyword, const char *value);
ConnParams conn_params_of(Arena *arena, const ConnTarget *target);
// "k=v k=v"; backslash, quote and blank are escaped by a backslash.
char *conn_params_text(Arena *arena, const ConnParams *params);
const char *conn_params_get(const ConnParams *params, const char *keyword); // NULL: not there

// Where we reach our own server: a socket directory, "localhost" or an address. NULL: libpq's
// default socket directory.
const char *local_host(Arena *arena, const PostgresSettings *settings);

// "postgres://host:port/db": the database, or NULL.
const char *conn_url_database(Arena *arena, const char *url);

// Lines host:port:*:user:password, one per host of a comma list; "" without a password.
char *pgpass_text(Arena *arena, const ConnTarget *target);
