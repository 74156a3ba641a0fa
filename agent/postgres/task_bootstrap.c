// A new cluster: initdb or the user's own way, then its files; later, on the running server, the
// roles.
#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <string.h>

#define CUSTOM_MARK "custom-bootstrap"

// --- before

static bool take_directory(TaskRun *run, Error *err)
{
    bool empty = true;
    const PathKind kind = disk_kind(run->disk, run->pg->data_dir);
    if (kind != PATH_MISSING && kind != PATH_DIRECTORY)
        return error_set(err, ERR_UNAVAILABLE, "%s is not a directory we can use",
                         run->pg->data_dir);
    if (kind == PATH_DIRECTORY && !disk_is_empty(run->disk, run->pg->data_dir, &empty, err))
        return false;
    if (!empty && !marker_is_set(run))
        return error_set(err, ERR_INVALID, "%s is not empty, and not of our making",
                         run->pg->data_dir);
    if (!marker_set(run, BOOTSTRAP_MARK, err))
        return false;
    return empty || (wipe_directory(run, err) && marker_set(run, BOOTSTRAP_MARK, err));
}

// --- initdb

static bool run_initdb(TaskRun *run, Error *err)
{
    const PgAuth *superuser = &run->pg->superuser;
    const char *password = secret_reveal(superuser->password);
    StringList argv = {0}, notes = {0};
    Arena *arena = run->arena;
    string_list_add(&argv, arena,
                    program_path(arena, run->pg, str_or(run->pg->bin_name_initdb, "initdb")));
    if (!options_add(arena, &initdb_options, run->settings->bootstrap.initdb, &argv, &notes, err))
        return false;
    if (!str_empty(superuser->username))
        string_list_add(&argv, arena, arena_printf(arena, "--username=%s", superuser->username));
    // Through standard input, so that it stands in no file and on no command line.
    if (!str_empty(password))
        string_list_add(&argv, arena, "--pwfile=/dev/stdin");
    string_list_add(&argv, arena, run->pg->data_dir);
    const Program program = {
        .id = "task-initdb",
        .argv = &argv,
        .stdin_text = str_empty(password) ? NULL : arena_printf(arena, "%s\n", password)};
    run->changed = true;
    task_phase(run, "initdb");
    return task_run_ok(run, &program, NULL, err);
}

static bool append_hba(TaskRun *run, Error *err)
{
    const StringList *lines = &run->settings->bootstrap.pg_hba;
    if (lines->count == 0 || run->pg->pg_hba.count > 0 ||
        tree_get(run->pg->parameters, "hba_file") != NULL)
        return true;
    const char *path = data_path(run, "pg_hba.conf");
    char *there = NULL;
    if (!disk_read(run->disk, run->arena, path, 1024 * 1024, &there, err))
        return false;
    Text text = text_new(run->arena);
    text_add(&text, there);
    text_add_char(&text, '\n');
    for (size_t i = 0; i < lines->count; i++)
        text_addf(&text, "%s\n", lines->items[i]);
    return disk_write(run->disk, path, text.data, data_mode(run), err);
}

// --- a custom method

static const Tree *custom_method(TaskRun *run)
{
    const BootstrapSettings *bootstrap = &run->settings->bootstrap;
    if (str_empty(bootstrap->method) || str_eq(bootstrap->method, "initdb"))
        return NULL;
    const Tree *method = tree_get(bootstrap->section, bootstrap->method);
    return tree_get_string(method, "command", NULL) != NULL ? method : NULL;
}

static bool is_reserved(const char *key)
{
    static const char *const reserved[] = {
        "command", "no_params", "keep_existing_recovery_conf", "recovery_conf", "scope", "datadir"};
    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (str_eq(key, reserved[i]))
            return true;
    return false;
}

static bool run_custom(TaskRun *run, const Tree *method, Error *err)
{
    Arena *arena = run->arena;
    StringList argv;
    if (!shell_split(arena, tree_get_string(method, "command", ""), &argv, err))
        return false;
    if (!tree_get_bool(method, "no_params", false)) {
        string_list_add(&argv, arena, arena_printf(arena, "--scope=%s", run->settings->scope));
        string_list_add(&argv, arena, arena_printf(arena, "--datadir=%s", run->pg->data_dir));
    }
    for (size_t i = 0; i < method->count; i++) {
        const char *value = tree_scalar_text(arena, method->entries[i].value);
        if (!is_reserved(method->entries[i].key) && value != NULL)
            string_list_add(&argv, arena,
                            arena_printf(arena, "--%s=%s", method->entries[i].key, value));
    }
    const Program program = {.id = "task-bootstrap", .argv = &argv};
    run->changed = true;
    task_phase(run, "custom bootstrap script");
    return task_run_ok(run, &program, NULL, err);
}

// The script's roles and passwords are not ours yet, so that for a while everybody local is let in;
// POST_BOOTSTRAP ends that.
static const char *trusting_hba(TaskRun *run)
{
    const char *replication = str_or(run->pg->replication.username, "all");
    const char *superuser = str_or(run->pg->superuser.username, "all");
    Text text = text_new(run->arena);
    text_addf(&text, "local\treplication\t%s\ttrust\n", replication);
    text_addf(&text, "local\tall\t%s\ttrust\n", superuser);
    static const char *const loopback[] = {"127.0.0.1/32", "::1/128"};
    for (size_t i = 0; i < COUNT_OF(loopback); i++) {
        text_addf(&text, "host\treplication\t%s\t%s\ttrust\n", replication, loopback[i]);
        text_addf(&text, "host\tall\t%s\t%s\ttrust\n", superuser, loopback[i]);
    }
    return text.data;
}

static bool set_recovery(TaskRun *run, const Tree *recovery, Error *err)
{
    const bool standby = tree_get_bool(recovery, "standby_mode", false);
    ConfInput input = conf_input(run, CONF_PRIMARY, NULL);
    input.recovery_only = recovery;
    input.own_hba_file = true;
    return disk_write(run->disk, data_path(run, standby ? "standby.signal" : "recovery.signal"), "",
                      data_mode(run), err) &&
           disk_write(run->disk, conf_path(run), conf_postgresql(run->arena, &input),
                      data_mode(run), err);
}

static bool finish_custom(TaskRun *run, const Tree *method, Error *err)
{
    const Tree *recovery = tree_get(method, "recovery_conf");
    const char *hba =
        path_join(run->arena, str_or(run->pg->config_dir, run->pg->data_dir), "pg_hba.conf");
    if (!conf_restore_backups(run, err) || !conf_write(run, CONF_PRIMARY, NULL, NULL, err) ||
        !disk_remove(run->disk, data_path(run, "promote"), err))
        return false;
    if (recovery != NULL && !set_recovery(run, recovery, err))
        return false;
    if (recovery == NULL && !tree_get_bool(method, "keep_existing_recovery_conf", false) &&
        !conf_set_signal(run, false, err))
        return false;
    char *users = NULL; // comes back in POST_BOOTSTRAP
    if (!disk_read(run->disk, run->arena, hba, 1024 * 1024, &users, err) ||
        !disk_write(run->disk, state_path(run, CUSTOM_MARK), str_or(users, ""), 0600, err))
        return false;
    return disk_write(run->disk, hba, trusting_hba(run), data_mode(run), err);
}

static bool bootstrap(TaskRun *run, Error *err)
{
    const Tree *method = custom_method(run);
    if (!take_directory(run, err))
        return false;
    run->server->worker.bootstrapping = true; // until POST_BOOTSTRAP, or anything else, ends it
    const bool made = method != NULL ? run_custom(run, method, err) : run_initdb(run, err);
    if (!made)
        return error_wrap(err, "bootstrap");
    task_phase(run, "writing configuration");
    run->seen.major = 0;
    const bool configured =
        method != NULL ? finish_custom(run, method, err)
                       : append_hba(run, err) && conf_write(run, CONF_PRIMARY, NULL, NULL, err);
    if (!configured || !inspect_directory(run, err) || !inspect_control(run, err))
        return error_wrap(err, "bootstrap");
    inspect_publish(run);
    return true;
}

bool task_bootstrap(TaskRun *run, Error *err)
{
    if (bootstrap(run, err))
        return true;
    run->server->worker.bootstrapping = false; // what there is is half-made
    Error look;
    if (inspect_directory(run, &look))
        inspect_publish(run);
    return false;
}

// --- afterwards, on the running primary

// Nothing of what follows may reach a log, a statistics view or an audit trail.
static const char quiet[] = "SET log_statement = none; SET log_min_duration_statement = -1;"
                            " SET log_min_error_statement = panic; SET log_duration = off;"
                            " SET pg_stat_statements.track_utility = off; SET pgaudit.log = none;"
                            " SET statement_timeout = 0; SET synchronous_commit = local";

static bool connect_quietly(TaskRun *run, PgConn **out, Error *err)
{
    AUTO(pg_release) PgConn *pg = NULL;
    if (!task_connect(run, task_deadline(run, 10000), &pg, err) ||
        !pg_exec(pg, quiet, task_deadline(run, 5000), err))
        return false;
    *out = TAKE(pg);
    return true;
}

// The server is sent a verifier, never the password itself.
static bool verifier(TaskRun *run, PgConn *pg, const PgAuth *auth, const char **out, Error *err)
{
    AUTO(pgresult_release) PGresult *shown = NULL;
    if (!pg_query(pg, "SHOW password_encryption", task_deadline(run, 5000), &shown, err))
        return false;
    const char *algorithm = str_or(pg_text(shown, 0, 0), "scram-sha-256");
    if (str_eq(algorithm, "on"))
        algorithm = "md5";
    char *text =
        PQencryptPasswordConn(pg_raw(pg), secret_reveal(auth->password), auth->username, algorithm);
    if (text == NULL)
        return error_set(err, ERR_INVALID, "password of role %s cannot be encrypted",
                         auth->username);
    *out = arena_strdup(run->arena, text);
    PQfreemem(text);
    return true;
}

static bool role_exists(TaskRun *run, PgConn *pg, const char *name, bool *out, Error *err)
{
    AUTO(pgresult_release) PGresult *rows = NULL;
    const char *sql = arena_printf(run->arena, "SELECT 1 FROM pg_roles WHERE rolname = %s",
                                   sql_literal(run->arena, name));
    if (!pg_query(pg, sql, task_deadline(run, 5000), &rows, err))
        return false;
    *out = PQntuples(rows) > 0;
    return true;
}

static bool ensure_role(TaskRun *run, PgConn *pg, const PgAuth *auth, const char *attributes,
                        Error *err)
{
    bool exists;
    const char *password = NULL;
    if (str_empty(auth->username))
        return true;
    if (!role_exists(run, pg, auth->username, &exists, err))
        return false;
    if (!str_empty(secret_reveal(auth->password)) && !verifier(run, pg, auth, &password, err))
        return false;
    Text sql = text_new(run->arena);
    text_addf(&sql, "%s ROLE %s WITH %s", exists ? "ALTER" : "CREATE",
              sql_identifier(run->arena, auth->username), attributes);
    if (password != NULL)
        text_addf(&sql, " PASSWORD %s", sql_literal(run->arena, password));
    if (pg_exec(pg, sql.data, task_deadline(run, 10000), err))
        return true;
    // The statement holds the verifier: it must not travel with the error.
    const char *state = arena_strdup(run->arena, pg_sqlstate(pg));
    return error_set(err, err->kind, "role %s: refused or not answered, SQLSTATE %s",
                     auth->username, str_or(state, "none"));
}

static bool grant_rewind(TaskRun *run, PgConn *pg, const char *name, Error *err)
{
    static const char *const functions[] = {
        "pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)",
        "pg_read_binary_file(text)", "pg_read_binary_file(text, bigint, bigint, boolean)"};
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        const char *sql = arena_printf(run->arena, "GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %s",
                                       functions[i], sql_identifier(run->arena, name));
        if (!pg_exec(pg, sql, task_deadline(run, 10000), err))
            return false;
    }
    return true;
}

static bool run_script(TaskRun *run, const char *command, Error *err)
{
    StringList argv;
    if (!shell_split(run->arena, command, &argv, err))
        return false;
    ConnTarget target = {.host = local_host(run->arena, run->pg),
                         .port = run->pg->port,
                         .dbname = str_or(run->pg->database, "postgres"),
                         .auth = &run->pg->superuser};
    const char *env[4] = {"PGOPTIONS=-c synchronous_commit=local -c statement_timeout=0"};
    if (!task_write_passfile(run, &target, &env[1], err))
        return false;
    PgAuth without = run->pg->superuser;
    without.password = (Secret){0};
    target.auth = &without;
    const ConnParams params = conn_params_of(run->arena, &target);
    string_list_add(&argv, run->arena, conn_params_text(run->arena, &params));
    const Program program = {.id = "task-post-bootstrap", .argv = &argv, .extra_env = env};
    task_phase(run, "post_bootstrap script");
    return task_run_ok(run, &program, NULL, err) || error_wrap(err, "post_bootstrap");
}

static bool make_roles(TaskRun *run, PgConn *pg, Error *err)
{
    const PgAuth *rewind = &run->pg->rewind;
    task_phase(run, "creating roles");
    if (!ensure_role(run, pg, &run->pg->replication, "REPLICATION LOGIN", err))
        return false;
    if (str_empty(rewind->username) || str_eq(rewind->username, run->pg->superuser.username))
        return true;
    return ensure_role(run, pg, rewind, "LOGIN", err) &&
           grant_rewind(run, pg, rewind->username, err);
}

// The end of the trusting pg_hba.conf of a custom bootstrap.
static bool end_custom(TaskRun *run, Error *err)
{
    char *users = NULL;
    const char *mark = state_path(run, CUSTOM_MARK);
    if (!disk_read(run->disk, run->arena, mark, 1024 * 1024, &users, err))
        return false;
    if (users == NULL)
        return true;
    const char *hba =
        path_join(run->arena, str_or(run->pg->config_dir, run->pg->data_dir), "pg_hba.conf");
    return disk_write(run->disk, hba, users, data_mode(run), err) && inspect_directory(run, err) &&
           conf_write(run, CONF_PRIMARY, NULL, NULL, err) && disk_remove(run->disk, mark, err) &&
           reload_server(run, err);
}

static bool post_bootstrap(TaskRun *run, Error *err)
{
    AUTO(pg_release) PgConn *pg = NULL;
    const char *script = run->settings->bootstrap.post_bootstrap;
    const PgAuth *superuser = &run->pg->superuser;
    run->changed = true;
    if (!connect_quietly(run, &pg, err))
        return false;
    if (!str_empty(superuser->username) && !str_empty(secret_reveal(superuser->password)) &&
        !ensure_role(run, pg, superuser, "SUPERUSER LOGIN", err))
        return false;
    if (!str_empty(script) && !run_script(run, script, err))
        return false;
    return make_roles(run, pg, err) && end_custom(run, err);
}

bool task_post_bootstrap(TaskRun *run, Error *err)
{
    const bool ok = post_bootstrap(run, err) && marker_clear(run, err);
    run->server->worker.bootstrapping = false;
    return ok;
}
