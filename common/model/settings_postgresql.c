#include "common/model/settings_check.h"
#include "common/model/settings_parameters.h"

#include <string.h>

// Patroni: a local key replaces the cluster's as a whole, whatever is in it.
static const Tree *merge_sections(Arena *arena, const Tree *local, const Tree *dynamic)
{
    Tree *merged = tree_map(arena);
    for (size_t i = 0; dynamic != NULL && i < dynamic->count; i++)
        tree_set(arena, merged, dynamic->entries[i].key, dynamic->entries[i].value);
    for (size_t i = 0; local != NULL && i < local->count; i++)
        tree_set(arena, merged, local->entries[i].key, local->entries[i].value);
    return merged;
}

static PgAuth read_auth(Arena *arena, const Tree *section, const char *user)
{
    const Tree *auth = tree_path(section, arena_printf(arena, "authentication.%s", user));
    return (PgAuth){
        .username = text_at(auth, "username", NULL),
        .password = secret_at(auth, "password"),
        .sslmode = text_at(auth, "sslmode", NULL),
        .sslcert = text_at(auth, "sslcert", NULL),
        .sslkey = text_at(auth, "sslkey", NULL),
        .sslpassword = secret_at(auth, "sslpassword"),
        .sslrootcert = text_at(auth, "sslrootcert", NULL),
        .sslcrl = text_at(auth, "sslcrl", NULL),
        .sslcrldir = text_at(auth, "sslcrldir", NULL),
        .gssencmode = text_at(auth, "gssencmode", NULL),
        .channel_binding = text_at(auth, "channel_binding", NULL),
        .sslnegotiation = text_at(auth, "sslnegotiation", NULL),
    };
}

static void read_programs(const Tree *section, PostgresSettings *out)
{
    const Tree *names = tree_get(section, "bin_name");
    out->bin_dir = text_at(section, "bin_dir", "");
    out->bin_name_initdb = text_at(names, "initdb", "initdb");
    out->bin_name_pg_controldata = text_at(names, "pg_controldata", "pg_controldata");
    out->bin_name_pg_basebackup = text_at(names, "pg_basebackup", "pg_basebackup");
    out->bin_name_postgres = text_at(names, "postgres", "postgres");
    out->bin_name_pg_rewind = text_at(names, "pg_rewind", "pg_rewind");
    out->bin_name_pg_waldump = text_at(names, "pg_waldump", "pg_waldump");
}

// Patroni's choice of a local address.
static const char *local_host(Arena *arena, const char *listen_addresses)
{
    static const char *const reach_localhost[] = {"*", "localhost", "0.0.0.0", "127.0.0.1"};
    const char *first = NULL;
    for (const char *s = listen_addresses; *s != '\0';) {
        const size_t length = strcspn(s, ",");
        const char *host = arena_strndup(arena, s, length);
        for (size_t i = 0; i < COUNT_OF(reach_localhost); i++)
            if (str_eq(host, reach_localhost[i]))
                return "localhost";
        first = first == NULL ? host : first;
        s += length + (s[length] == ',' ? 1 : 0);
    }
    return str_or(first, "localhost");
}

static void read_addresses(Findings *findings, const Tree *section, PostgresSettings *out)
{
    enum { DEFAULT_PORT = 5432 };
    Arena *arena = findings->arena;
    const char *listen = text_at(section, "listen", NULL);
    if (listen == NULL || !address_parse(arena, listen, DEFAULT_PORT, &out->listen_port))
        out->listen_port = (Address){.host = "localhost", .port = DEFAULT_PORT};
    out->listen_addresses = out->listen_port.host;
    out->port = out->listen_port.port;

    const char *connect = text_at(section, "connect_address", NULL);
    if (connect == NULL || !address_parse(arena, connect, 0, &out->connect)) {
        out->connect =
            (Address){.host = local_host(arena, out->listen_addresses), .port = out->port};
        if (listen != NULL && str_eq(out->connect.host, "localhost") && !findings->failed)
            finding_warning(findings, NULL, "postgresql.connect_address",
                            "not set: other members are told to connect to localhost");
    }
    if (str_eq(out->connect.host, "*") || str_eq(out->connect.host, "0.0.0.0") ||
        str_eq(out->connect.host, "::"))
        finding_error(findings, tree_get(section, "connect_address"), "postgresql.connect_address",
                      "expected an address that others can connect to, found %s",
                      out->connect.host);
    const char *proxy = text_at(section, "proxy_address", NULL);
    if (proxy == NULL || !address_parse(arena, proxy, 0, &out->proxy))
        out->proxy = (Address){0};
}

// Each method but basebackup needs its own section.
static void check_methods(Findings *findings, const Tree *section, const StringList *methods)
{
    for (size_t i = 0; i < methods->count; i++) {
        const Tree *method = tree_get(section, methods->items[i]);
        if (!str_eq(methods->items[i], "basebackup") &&
            (method == NULL || method->kind != TREE_MAP))
            finding_error(findings, tree_get(section, "create_replica_methods"),
                          "postgresql.create_replica_methods",
                          "'%s' has no section postgresql.%s that says how", methods->items[i],
                          methods->items[i]);
    }
}

void settings_postgresql(Findings *findings, const Tree *local, const Tree *dynamic,
                         int server_major, Settings *settings)
{
    Arena *arena = findings->arena;
    PostgresSettings *out = &settings->postgresql;
    const Tree *local_section = tree_get(local, "postgresql");
    const Tree *dynamic_section = tree_get(dynamic, "postgresql");
    const Tree *section = merge_sections(arena, local_section, dynamic_section);

    read_addresses(findings, section, out);
    read_programs(section, out);
    out->data_dir = text_at(section, "data_dir", NULL);
    out->config_dir = text_at(section, "config_dir", out->data_dir);
    out->config_base_name = text_at(section, "config_base_name", "postgresql");
    out->custom_conf = text_at(section, "custom_conf", NULL);
    out->database = text_at(section, "database", "postgres");
    out->pgpass = text_at(section, "pgpass", NULL);
    out->krbsrvname = text_at(section, "krbsrvname", NULL);
    out->use_unix_socket = bool_at(section, "use_unix_socket", false);
    out->use_unix_socket_repl = bool_at(section, "use_unix_socket_repl", false);
    out->use_slots = bool_at(section, "use_slots", true);
    out->use_pg_rewind = bool_at(section, "use_pg_rewind", false);
    out->remove_data_directory_on_rewind_failure =
        bool_at(section, "remove_data_directory_on_rewind_failure", false);
    out->remove_data_directory_on_diverged_timelines =
        bool_at(section, "remove_data_directory_on_diverged_timelines", false);
    out->pg_ctl_timeout_ms = int_at(section, "pg_ctl_timeout", 60) * MS_PER_S;

    out->superuser = read_auth(arena, section, "superuser");
    out->replication = read_auth(arena, section, "replication");
    out->rewind = read_auth(arena, section, "rewind");
    if (out->rewind.username == NULL)
        out->rewind = out->superuser;

    out->recovery_conf = tree_get(section, "recovery_conf");
    out->pg_hba = texts_at(arena, section, "pg_hba");
    out->pg_ident = texts_at(arena, section, "pg_ident");
    out->basebackup = tree_get(section, "basebackup");
    out->create_replica_methods = texts_at(arena, section, "create_replica_methods");
    if (out->create_replica_methods.count == 0)
        string_list_add(&out->create_replica_methods, arena, "basebackup");
    check_methods(findings, section, &out->create_replica_methods);

    settings_parameters(findings, tree_get(local_section, "parameters"),
                        tree_get(dynamic_section, "parameters"), server_major, settings->scope,
                        out);
    Tree *whole = tree_copy(arena, section);
    tree_set(arena, whole, "parameters", out->parameters);
    out->section = whole;
}
