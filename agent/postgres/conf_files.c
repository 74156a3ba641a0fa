// The configuration files on disk: which there are, when each is written, and how one that went
// missing comes back. Their text is conf_text.c's.
#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <string.h>

#define CONF_LIMIT ((size_t)8 * 1024 * 1024)

static const char *base_name(TaskRun *run)
{
    return str_or(run->pg->config_base_name, "postgresql");
}

static const char *config_file(TaskRun *run, const char *name)
{
    return path_join(run->arena, str_or(run->pg->config_dir, run->pg->data_dir), name);
}

const char *conf_path(TaskRun *run)
{
    return config_file(run, arena_printf(run->arena, "%s.conf", base_name(run)));
}

static const char *base_path(TaskRun *run)
{
    return config_file(run, arena_printf(run->arena, "%s.base.conf", base_name(run)));
}

// Secrets may stand in them. Outside the data directory a file keeps the mode its owner gave it.
static mode_t file_mode(TaskRun *run, const char *path)
{
    if (str_starts(path, run->pg->data_dir))
        return data_mode(run);
    const mode_t there = disk_mode(run->disk, path);
    return there != 0 ? there : 0644;
}

static bool write_config(TaskRun *run, const char *path, const char *content, bool *changed,
                         Error *err)
{
    bool differs = false;
    if (!disk_write_changed(run->disk, run->arena, path, content, file_mode(run, path), &differs,
                            err))
        return false;
    run->changed = run->changed || differs;
    *changed = *changed || differs;
    return true;
}

// --- the user's own postgresql.conf, which ours includes

static bool is_ours(TaskRun *run, const char *path, bool *out, Error *err)
{
    char *text = NULL;
    if (!disk_read(run->disk, run->arena, path, CONF_LIMIT, &text, err))
        return false;
    // Ours and Patroni's alike include the base file, which would then include itself.
    *out = text != NULL && strstr(text, arena_printf(run->arena, "%s.base.conf'", base_name(run)));
    return true;
}

static bool ensure_base(TaskRun *run, Error *err)
{
    if (run->pg->custom_conf != NULL || disk_kind(run->disk, base_path(run)) == PATH_FILE)
        return true;
    bool ours = false;
    const bool there = disk_kind(run->disk, conf_path(run)) == PATH_FILE;
    if (there && !is_ours(run, conf_path(run), &ours, err))
        return false;
    if (there && !ours) {
        run->changed = true;
        return disk_rename(run->disk, conf_path(run), base_path(run), err);
    }
    log_warn("no file to include, using an empty one path=%s", base_path(run));
    return disk_write(run->disk, base_path(run), "", file_mode(run, base_path(run)), err);
}

// --- whom a standby follows

static const char *upstream_conninfo(TaskRun *run, const Upstream *upstream, int major)
{
    if (str_empty(upstream->host))
        return "";
    const PgAuth *auth = &run->pg->replication;
    const char *database = conn_url_database(run->arena, upstream->conn_url);
    const ConnTarget target = {
        .host = upstream->host,
        .port = upstream->port > 0 ? upstream->port : 5432,
        .dbname = str_or(database, str_or(run->pg->database, "postgres")),
        .auth = auth,
        .passfile = str_empty(secret_reveal(auth->password)) ? NULL : run->pg->pgpass,
        .application_name = run->settings->name,
        .krbsrvname = run->pg->krbsrvname,
        .major = major,
        .defaults = true};
    const ConnParams params = conn_params_of(run->arena, &target);
    return conn_params_text(run->arena, &params);
}

static bool write_pgpass(TaskRun *run, const Upstream *upstream, Error *err)
{
    const ConnTarget target = {.host = upstream->host,
                               .port = upstream->port > 0 ? upstream->port : 5432,
                               .auth = &run->pg->replication};
    const char *content = pgpass_text(run->arena, &target);
    if (str_empty(upstream->host) || content[0] == '\0' || run->pg->pgpass == NULL)
        return true;
    const PathKind kind = disk_kind(run->disk, run->pg->pgpass);
    if (kind != PATH_FILE && kind != PATH_MISSING)
        return error_set(err, ERR_INVALID, "pgpass %s is not a regular file", run->pg->pgpass);
    return disk_write_changed(run->disk, run->arena, run->pg->pgpass, content, 0600, NULL, err);
}

static void remember_upstream(TaskRun *run, const Upstream *upstream)
{
    LocalServer *server = run->server;
    if (upstream == &server->worker.upstream)
        return;
    arena_reset(server->worker.arena);
    Upstream copy = *upstream;
    copy.member = arena_strdup(server->worker.arena, upstream->member);
    copy.host = arena_strdup(server->worker.arena, upstream->host);
    copy.slot = arena_strdup(server->worker.arena, upstream->slot);
    copy.conn_url = arena_strdup(server->worker.arena, upstream->conn_url);
    server->worker.upstream = copy;
    server->worker.upstream_known = true;
}

// --- the text for a mode

static ConfUpstream noted(const Upstream *upstream)
{
    return (ConfUpstream){.member = upstream->member,
                          .host = upstream->host,
                          .port = upstream->port > 0 ? upstream->port : 5432};
}

ConfInput conf_input(TaskRun *run, ConfMode mode, const Upstream *upstream)
{
    ConfInput input = {.settings = run->pg,
                       .scope = run->settings->scope,
                       .overlay = run->copy->overlay,
                       .standby = mode == CONF_STANDBY};
    if (mode == CONF_STANDBY && upstream != NULL) {
        input.primary_conninfo = upstream_conninfo(run, upstream, run->seen.major);
        input.slot = str_empty(upstream->host) || !run->pg->use_slots ? NULL : upstream->slot;
        input.upstream = noted(upstream);
    }
    return input;
}

// A reload leaves a standby following whom it follows: as we wrote it last, or else, in an agent
// that was restarted, as the file has it.
static bool keep_recovery(TaskRun *run, ConfInput *input, Error *err)
{
    char *there = NULL;
    if (!disk_read(run->disk, run->arena, conf_path(run), CONF_LIMIT, &there, err))
        return false;
    const char *block = conf_recovery_block(there);
    *input = conf_input(run, block == NULL ? CONF_PRIMARY : CONF_STANDBY, NULL);
    input->recovery_block = block;
    return true;
}

static bool choose_input(TaskRun *run, ConfMode mode, const Upstream *upstream, ConfInput *input,
                         Error *err)
{
    LocalServer *server = run->server;
    if (mode != CONF_KEEP) {
        *input = conf_input(run, mode, upstream);
        if (mode == CONF_STANDBY)
            remember_upstream(run, upstream);
        return mode != CONF_STANDBY || write_pgpass(run, upstream, err);
    }
    const Upstream *last = &server->worker.upstream;
    if (!run->seen.standby_signal) {
        *input = conf_input(run, CONF_PRIMARY, NULL);
        return true;
    }
    if (!server->worker.upstream_known)
        return keep_recovery(run, input, err);
    *input = conf_input(run, CONF_STANDBY, last);
    return write_pgpass(run, last, err);
}

// --- pg_hba.conf, pg_ident.conf, postgresql.auto.conf

// Only where PostgreSQL reads the file that we would write.
static bool write_lines(TaskRun *run, const ConfInput *input, const char *setting, const char *name,
                        const StringList *lines, bool *changed, Error *err)
{
    const char *path = config_file(run, name);
    if (lines->count == 0 || !str_eq(conf_parameter(run->arena, input, setting), path))
        return true;
    return write_config(run, path, conf_lines(run->arena, lines), changed, err);
}

static bool write_auto(TaskRun *run, bool *changed, Error *err)
{
    char *there = NULL;
    const char *path = data_path(run, "postgresql.auto.conf");
    if (!disk_read(run->disk, run->arena, path, CONF_LIMIT, &there, err))
        return false;
    return there == NULL ||
           write_config(run, path, conf_auto_sanitized(run->arena, there), changed, err);
}

// PostgreSQL does without it, with a complaint in its log at each start.
static bool ensure_ident(TaskRun *run, Error *err)
{
    const char *path = config_file(run, "pg_ident.conf");
    return disk_kind(run->disk, path) != PATH_MISSING ||
           disk_write(run->disk, path, "", file_mode(run, path), err);
}

bool conf_write(TaskRun *run, ConfMode mode, const Upstream *upstream, bool *changed, Error *err)
{
    bool differs = false;
    ConfInput input;
    // Without PG_VERSION this may be the mount point of a volume that is not there.
    if (disk_kind(run->disk, data_path(run, "PG_VERSION")) != PATH_FILE)
        return error_set(err, ERR_UNAVAILABLE, "%s has no PG_VERSION, writing nothing there",
                         run->pg->data_dir);
    if (!ensure_base(run, err) || !choose_input(run, mode, upstream, &input, err) ||
        !write_config(run, conf_path(run), conf_postgresql(run->arena, &input), &differs, err) ||
        !write_lines(run, &input, "hba_file", "pg_hba.conf", &run->pg->pg_hba, &differs, err) ||
        !write_lines(run, &input, "ident_file", "pg_ident.conf", &run->pg->pg_ident, &differs,
                     err) ||
        !ensure_ident(run, err) || !write_auto(run, &differs, err))
        return error_wrap(err, "configuration files");
    if (mode != CONF_KEEP)
        inspect_upstream(&run->seen, mode == CONF_STANDBY ? noted(upstream) : (ConfUpstream){0});
    if (changed != NULL)
        *changed = differs;
    return true;
}

bool conf_set_signal(TaskRun *run, bool standby, Error *err)
{
    const char *signal = data_path(run, "standby.signal");
    const bool there = disk_kind(run->disk, signal) == PATH_FILE;
    if (disk_kind(run->disk, data_path(run, "recovery.signal")) == PATH_FILE) {
        run->changed = true;
        if (!disk_remove(run->disk, data_path(run, "recovery.signal"), err))
            return false;
    }
    run->seen.standby_signal = standby;
    if (there == standby)
        return true;
    run->changed = true;
    if (standby)
        return disk_write(run->disk, signal, "", data_mode(run), err);
    return disk_remove(run->disk, signal, err) &&
           disk_sync_directory(run->disk, run->pg->data_dir, err);
}

// --- copies inside the data directory, for a clone that comes without

typedef struct {
    const char *path, *backup;
} Saved;

static size_t saved_files(TaskRun *run, Saved out[4])
{
    const char *names[] = {arena_printf(run->arena, "%s.conf", base_name(run)),
                           arena_printf(run->arena, "%s.base.conf", base_name(run)), "pg_hba.conf",
                           "pg_ident.conf"};
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (i == 1 && run->pg->custom_conf != NULL)
            continue;
        out[count++] =
            (Saved){.path = config_file(run, names[i]),
                    .backup = data_path(run, arena_printf(run->arena, "%s.backup", names[i]))};
    }
    return count;
}

bool conf_save_backups(TaskRun *run, Error *err)
{
    Saved files[4];
    const size_t count = saved_files(run, files);
    for (size_t i = 0; i < count; i++) {
        char *text = NULL;
        if (!disk_read(run->disk, run->arena, files[i].path, CONF_LIMIT, &text, err))
            return false;
        if (text != NULL && !disk_write_changed(run->disk, run->arena, files[i].backup, text,
                                                data_mode(run), NULL, err))
            return false;
    }
    return true;
}

bool conf_restore_backups(TaskRun *run, Error *err)
{
    Saved files[4];
    const size_t count = saved_files(run, files);
    for (size_t i = 0; i < count; i++) {
        char *text = NULL;
        if (disk_kind(run->disk, files[i].path) != PATH_MISSING)
            continue;
        if (!disk_read(run->disk, run->arena, files[i].backup, CONF_LIMIT, &text, err))
            return false;
        if (text != NULL &&
            !disk_write(run->disk, files[i].path, text, file_mode(run, files[i].path), err))
            return false;
    }
    return true;
}
