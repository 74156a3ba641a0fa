// The pure parts of the room, by tables: what goes into files and onto command lines.
#include "tests/support/test.h"

#include "agent/postgres/command_line.h"
#include "agent/postgres/conf_text.h"
#include "agent/postgres/conninfo.h"

#include <string.h>

static Arena *arena;

static const Tree *yaml(const char *text)
{
    const Tree *tree;
    Error err;
    if (!tree_parse_yaml(arena, text, "test", &tree, &err))
        fail_msg("%s", err.text);
    return tree;
}

static int make_arena(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int free_arena(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

// --- connection strings

static void test_conninfo(void **state)
{
    (void)state;
    const PgAuth full = {.username = "rep lica", .password = {.hidden = "it's \\x"}};
    const PgAuth ssl = {.username = "r",
                        .sslmode = "verify-ca",
                        .sslcert = "/c",
                        .sslkey = "/k",
                        .sslpassword = {.hidden = "p"},
                        .sslrootcert = "/r",
                        .sslcrl = "/l",
                        .sslcrldir = "/d",
                        .gssencmode = "disable",
                        .channel_binding = "require",
                        .sslnegotiation = "direct"};
    const struct {
        const char *given;
        ConnTarget target;
        const char *text;
    } rows[] = {
        {"as Patroni writes primary_conninfo",
         {.host = "10.0.0.1",
          .port = 5433,
          .dbname = "postgres",
          .auth = &full,
          .passfile = "/tmp/pg pass",
          .application_name = "pg-1",
          .major = 15,
          .defaults = true},
         "dbname=postgres user=rep\\ lica passfile=/tmp/pg\\ pass host=10.0.0.1 port=5433 "
         "sslmode=prefer application_name=pg-1 gssencmode=prefer channel_binding=prefer"},
        {"17 knows one keyword more",
         {.host = "h", .port = 1, .auth = &full, .passfile = "/p", .major = 17, .defaults = true},
         "user=rep\\ lica passfile=/p host=h port=1 sslmode=prefer gssencmode=prefer "
         "channel_binding=prefer sslnegotiation=postgres"},
        {"the password itself, escaped",
         {.host = "/run/pg", .auth = &full},
         "user=rep\\ lica password=it\\'s\\ \\\\x host=/run/pg"},
        {"everything configured, 13",
         {.host = "a,b",
          .port = 1,
          .auth = &ssl,
          .krbsrvname = "krb",
          .target_session_attrs = "read-write",
          .major = 13,
          .defaults = true},
         "user=r host=a,b port=1 sslmode=verify-ca sslcert=/c sslkey=/k sslpassword=p "
         "sslrootcert=/r sslcrl=/l krbsrvname=krb gssencmode=disable channel_binding=require "
         "target_session_attrs=read-write"},
        {"everything configured, no version",
         {.host = "a", .auth = &ssl},
         "user=r host=a sslmode=verify-ca sslcert=/c sslkey=/k sslpassword=p sslrootcert=/r "
         "sslcrl=/l sslcrldir=/d gssencmode=disable channel_binding=require sslnegotiation=direct"},
        {"nothing", {0}, ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const ConnParams params = conn_params_of(arena, &rows[i].target);
        const char *text = conn_params_text(arena, &params);
        if (!str_eq(text, rows[i].text))
            fail_msg("%s: %s", rows[i].given, text);
    }
}

static void test_pgpass(void **state)
{
    (void)state;
    const PgAuth auth = {.username = "u:x", .password = {.hidden = "p\\:w"}};
    const PgAuth none = {.username = "u"};
    const struct {
        const char *given;
        ConnTarget target;
        const char *text;
    } rows[] = {
        {"a host", {.host = "h", .port = 5432, .auth = &auth}, "h:5432:*:u\\:x:p\\\\\\:w\n"},
        {"two hosts",
         {.host = "a, b", .port = 1, .auth = &auth},
         "a:1:*:u\\:x:p\\\\\\:w\nb:1:*:u\\:x:p\\\\\\:w\n"},
        {"an address with colons",
         {.host = "::1", .port = 1, .auth = &auth},
         "\\:\\:1:1:*:u\\:x:p\\\\\\:w\n"},
        {"a socket",
         {.host = "/run", .port = 1, .auth = &auth},
         "/run:1:*:u\\:x:p\\\\\\:w\nlocalhost:1:*:u\\:x:p\\\\\\:w\n"},
        {"a socket and localhost",
         {.host = "localhost,/run", .auth = &auth},
         "localhost:*:*:u\\:x:p\\\\\\:w\n/run:*:*:u\\:x:p\\\\\\:w\n"},
        {"the default socket", {.auth = &auth}, "localhost:*:*:u\\:x:p\\\\\\:w\n"},
        {"no password", {.host = "h", .auth = &none}, ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *text = pgpass_text(arena, &rows[i].target);
        if (!str_eq(text, rows[i].text))
            fail_msg("%s: %s", rows[i].given, text);
    }
}

static void test_local_host(void **state)
{
    (void)state;
    const struct {
        const char *listen, *sockets;
        bool use_socket;
        const char *host;
    } rows[] = {
        {"*", NULL, false, "localhost"},
        {"0.0.0.0", NULL, false, "localhost"},
        {"10.0.0.1, 127.0.0.1", NULL, false, "localhost"},
        {"10.0.0.1,10.0.0.2", NULL, false, "10.0.0.1"},
        {"10.0.0.1", NULL, true, NULL},
        {"10.0.0.1", "@abstract, /run/a,/run/b", true, "/run/a"},
        {"10.0.0.1", "@abstract", true, "10.0.0.1"},
        {"10.0.0.1", "/run/a", false, "10.0.0.1"},
        {NULL, NULL, false, "localhost"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Tree *parameters = tree_map(arena);
        if (rows[i].sockets != NULL)
            tree_set(arena, parameters, "unix_socket_directories",
                     tree_string(arena, rows[i].sockets));
        const PostgresSettings s = {.listen_addresses = rows[i].listen,
                                    .use_unix_socket = rows[i].use_socket,
                                    .parameters = parameters};
        const char *host = local_host(arena, &s);
        if (!str_eq(host, rows[i].host))
            fail_msg("row %zu: %s", i, host == NULL ? "(none)" : host);
    }
    assert_string_equal(conn_url_database(arena, "postgres://h:5432/app?x=1"), "app");
    assert_null(conn_url_database(arena, "postgres://h:5432/"));
    assert_null(conn_url_database(arena, "postgres://h:5432"));
    assert_null(conn_url_database(arena, "nonsense"));
    assert_null(conn_url_database(arena, NULL));
}

// --- postgresql.conf

static PostgresSettings settings(const char *parameters, const char *controlled)
{
    return (PostgresSettings){.data_dir = "/d",
                              .config_dir = "/c",
                              .config_base_name = "postgresql",
                              .listen_addresses = "*",
                              .port = 5432,
                              .parameters = yaml(parameters),
                              .controlled = yaml(controlled)};
}

static void test_conf_of_a_primary(void **state)
{
    (void)state;
    const PostgresSettings s = settings("{work_mem: 4MB, Log_Line_Prefix: \"it's %m \\\\ \", "
                                        "fsync: on, my.var: 3, nothing: null, "
                                        "restore_command: 'cp x', \"bad name\": 1, "
                                        "\"x = 1\\ny\": 2, two_lines: \"a\\nb\"}",
                                        "{wal_level: hot_standby, max_connections: 100}");
    const ConfInput input = {.settings = &s, .scope = "demo"};
    const char *text = conf_postgresql(arena, &input);
    assert_string_equal(strchr(strchr(text, '\n') + 1, '\n') + 1,
                        "include 'postgresql.base.conf'\n\n"
                        "Log_Line_Prefix = 'it''s %m \\\\ '\n"
                        "cluster_name = 'demo'\n"
                        "fsync = 'True'\n"
                        "hba_file = '/c/pg_hba.conf'\n"
                        "ident_file = '/c/pg_ident.conf'\n"
                        "listen_addresses = '*'\n"
                        "max_connections = '100'\n"
                        "my.var = '3'\n"
                        "port = '5432'\n"
                        "two_lines = 'a\\nb'\n"
                        "wal_level = 'replica'\n"
                        "work_mem = '4MB'\n");
    // The same input, the same bytes.
    assert_string_equal(conf_postgresql(arena, &input), text);
    assert_null(conf_recovery_block(text));
    assert_null(conf_upstream_of(arena, text).member);
}

static void test_conf_of_a_standby(void **state)
{
    (void)state;
    PostgresSettings s = settings("{hba_file: my_hba.conf}", "{max_connections: 100}");
    s.recovery_conf = yaml("{restore_command: \"cp /a/%f '%p'\", recovery_target_time: x, "
                           "primary_conninfo: evil, archive_cleanup_command: c}");
    s.custom_conf = "/etc/my.conf";
    ConfInput input = {.settings = &s,
                       .scope = "demo",
                       .overlay = yaml("{synchronous_standby_names: '*', max_connections: null}"),
                       .standby = true,
                       .primary_conninfo = "host=a password=it\\'s",
                       .slot = "pg_1",
                       .upstream = {"pg-0", "a", 5433}};
    const char *text = conf_postgresql(arena, &input);
    assert_string_equal(strchr(strchr(text, '\n') + 1, '\n') + 1,
                        "include '/etc/my.conf'\n\n"
                        "cluster_name = 'demo'\n"
                        "hba_file = '/c/my_hba.conf'\n"
                        "ident_file = '/c/pg_ident.conf'\n"
                        "listen_addresses = '*'\n"
                        "port = '5432'\n"
                        "synchronous_standby_names = '*'\n"
                        "\n# recovery.conf\n# upstream: pg-0\n# at: a 5433\n"
                        "archive_cleanup_command = 'c'\n"
                        "primary_conninfo = 'host=a password=it\\\\''s'\n"
                        "primary_slot_name = 'pg_1'\n"
                        "recovery_target = ''\n"
                        "recovery_target_lsn = ''\n"
                        "recovery_target_name = ''\n"
                        "recovery_target_time = ''\n"
                        "recovery_target_timeline = 'latest'\n"
                        "recovery_target_xid = ''\n"
                        "restore_command = 'cp /a/%f ''%p'''\n");
    const ConfUpstream upstream = conf_upstream_of(arena, text);
    assert_string_equal(upstream.member, "pg-0");
    assert_string_equal(upstream.host, "a");
    assert_int_equal(upstream.port, 5433);
    // One of an agent that did not note it yet.
    const ConfUpstream older =
        conf_upstream_of(arena, "# recovery.conf\n# upstream: pg-0\nx = 1\n");
    assert_string_equal(older.member, "pg-0");
    assert_null(older.host);

    // A reload without knowing whom it follows keeps the block as it stands.
    const char *block = arena_strdup(arena, conf_recovery_block(text));
    input = (ConfInput){
        .settings = &s, .scope = "demo", .overlay = input.overlay, .recovery_block = block};
    assert_string_equal(conf_postgresql(arena, &input), text);

    // Recovery settings among the parameters replace the whole of recovery_conf.
    s.parameters = yaml("{Restore_Command: other}");
    input = (ConfInput){.settings = &s, .scope = "demo", .standby = true, .primary_conninfo = ""};
    block = conf_recovery_block(conf_postgresql(arena, &input));
    assert_non_null(strstr(block, "Restore_Command = 'other'\n"));
    assert_null(strstr(block, "archive_cleanup_command"));
    assert_null(strstr(block, "primary_conninfo"));
    assert_null(strstr(block, "# upstream"));
}

static void test_auto_conf(void **state)
{
    (void)state;
    const struct {
        const char *given, *kept;
    } rows[] = {
        {"", ""},
        {"# comment\nwork_mem = '4MB'\n", "# comment\nwork_mem = '4MB'\n"},
        {"primary_conninfo = 'x'\nwork_mem=1\n", "work_mem=1\n"},
        {"  Restore_Command='x'", ""},
        {"primary_slot_name\t= 'x'\r\nfoo = 1\n", "foo = 1\n"},
        {"primary_conninfo_x = 1\n", "primary_conninfo_x = 1\n"},
        {"recovery_target_timeline='2'\nlast = 1", "last = 1"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_string_equal(conf_auto_sanitized(arena, rows[i].given), rows[i].kept);
}

static void test_names(void **state)
{
    (void)state;
    const struct {
        const char *name;
        bool valid;
    } rows[] = {{"work_mem", true}, {"a.b", true},   {"_x$1", true}, {"", false},
                {"1a", false},      {"a b", false},  {"a=b", false}, {"a.b.c", false},
                {"a.", false},      {"a\nb", false}, {"a-b", false}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (conf_name_is_valid(rows[i].name) != rows[i].valid)
            fail_msg("'%s'", rows[i].name);
}

// --- command lines

static const char *joined(const StringList *words)
{
    Text text = text_new(arena);
    for (size_t i = 0; i < words->count; i++)
        text_addf(&text, "%s%s", i == 0 ? "" : "|", words->items[i]);
    return text.data;
}

static void test_postmaster(void **state)
{
    (void)state;
    PostgresSettings s =
        settings("{}", "{wal_log_hints: 'on', max_connections: 100, "
                       "max_wal_senders: 10, wal_level: logical, hot_standby: 'on',"
                       " max_worker_processes: 8, wal_keep_size: 128MB}");
    s.bin_dir = "/usr/lib/pg";
    ConfInput input = {.settings = &s, .scope = "demo"};
    const ControlData control = {.known = true,
                                 .max_connections = 200,
                                 .max_wal_senders = 5,
                                 .max_worker_processes = 8,
                                 .max_locks_per_transaction = 128,
                                 .max_prepared_transactions = 0};
    PostmasterCommand c = postmaster_command(arena, &input, "/c/postgresql.conf", &control);
    assert_string_equal(joined(&c.argv),
                        "/usr/lib/pg/postgres|-D|/d|--config-file=/c/postgresql.conf|"
                        "--listen_addresses=*|--port=5432|--cluster_name=demo|--wal_level=logical|"
                        "--hot_standby=on|--max_connections=100|--max_wal_senders=10|"
                        "--max_worker_processes=8|--wal_log_hints=on");
    assert_int_equal(c.raised_count, 0);

    input.standby = true;
    c = postmaster_command(arena, &input, "/c/postgresql.conf", &control);
    assert_string_equal(joined(&c.argv),
                        "/usr/lib/pg/postgres|-D|/d|--config-file=/c/postgresql.conf|"
                        "--listen_addresses=*|--port=5432|--cluster_name=demo|--wal_level=logical|"
                        "--hot_standby=on|--max_connections=200|--max_wal_senders=10|"
                        "--max_locks_per_transaction=128|--max_worker_processes=8|"
                        "--wal_log_hints=on");
    assert_int_equal(c.raised_count, 1);
    assert_string_equal(c.raised[0].name, "max_connections");
    assert_string_equal(c.raised[0].control, "200");
    assert_string_equal(c.raised[0].wanted, "100");

    c = postmaster_command(arena, &input, "/c/postgresql.conf", &(ControlData){0});
    assert_null(strstr(joined(&c.argv), "200"));
}

static void test_shell_split(void **state)
{
    (void)state;
    const struct {
        const char *command, *words; // NULL: refused
    } rows[] = {
        {"a b  c", "a|b|c"},
        {" 'a b' \"c d\" ", "a b|c d"},
        {"a\\ b 'it''s' \"q\\\"x\\n\"", "a b|its|q\"x\\n"},
        {"--x='' y", "--x=|y"},
        {"''", ""},
        {"a 'b", NULL},
        {"  ", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        StringList words;
        Error err = {0};
        const bool ok = shell_split(arena, rows[i].command, &words, &err);
        if (ok != (rows[i].words != NULL) || (ok && !str_eq(joined(&words), rows[i].words)))
            fail_msg("%s: %s", rows[i].command, ok ? joined(&words) : err.text);
        assert_true(ok || err.kind == ERR_INVALID);
    }
}

static void test_options(void **state)
{
    (void)state;
    const struct {
        const char *given;
        const OptionRules *rules;
        const char *options;
        const char *argv; // NULL: refused
        size_t notes;
    } rows[] = {
        {"a list", &initdb_options, "[data-checksums, {encoding: UTF8}, locale=C]",
         "--data-checksums|--encoding=UTF8|--locale=C", 0},
        {"a map", &initdb_options, "{encoding: UTF8, locale: '', wal-segsize: 32}",
         "--encoding=UTF8|--wal-segsize=32", 0},
        {"quoted twice", &basebackup_options, "[{label: \"'my label'\"}]", "--label=my label", 0},
        {"ours", &initdb_options, "[{pgdata: /x}]", NULL, 0},
        {"ours, abbreviated", &initdb_options, "[pgdat=/x]", NULL, 0},
        {"ours, in one word", &initdb_options, "[no-sync]", NULL, 0},
        {"skipped", &basebackup_options, "[{pgdata: /x}, verbose, {wal-method: none}, host=x]",
         "--verbose", 3},
        {"no name", &basebackup_options, "[--verbose, '', {a b: c}, {x: [1]}, [1]]", "", 5},
        {"neither", &initdb_options, "text", NULL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        StringList argv = {0}, notes = {0};
        Error err = {0};
        const bool ok =
            options_add(arena, rows[i].rules, yaml(rows[i].options), &argv, &notes, &err);
        if (ok != (rows[i].argv != NULL) || (ok && !str_eq(joined(&argv), rows[i].argv)) ||
            (ok && notes.count != rows[i].notes))
            fail_msg("%s: %s (%zu notes)", rows[i].given, ok ? joined(&argv) : err.text,
                     notes.count);
    }
    assert_true(options_have(yaml("[{checkpoint: spread}]"), "checkpoint"));
    assert_true(options_have(yaml("['checkpoint=spread']"), "checkpoint"));
    assert_true(options_have(yaml("{checkpoint: spread}"), "checkpoint"));
    assert_false(options_have(yaml("[checkpoints]"), "checkpoint"));
    assert_false(options_have(NULL, "checkpoint"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conninfo),
        cmocka_unit_test(test_pgpass),
        cmocka_unit_test(test_local_host),
        cmocka_unit_test(test_conf_of_a_primary),
        cmocka_unit_test(test_conf_of_a_standby),
        cmocka_unit_test(test_auto_conf),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_postmaster),
        cmocka_unit_test(test_shell_split),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, make_arena, free_arena);
}
