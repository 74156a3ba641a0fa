// The server's settings.
#include "ctl/doctor.h"

#include <inttypes.h>
#include <string.h>

static const Tree *setting_row(const DoctorFacts *f, const char *name)
{
    const Tree *rows = f->sql.settings.value;
    for (size_t i = 0; i < list_count(rows); i++)
        if (str_eq(tree_get_string(list_at(rows, i), "name", NULL), name))
            return list_at(rows, i);
    return NULL;
}

static const char *setting(const DoctorFacts *f, const char *name) // "" if there is no such
{
    return tree_get_string(setting_row(f, name), "setting", "");
}

static int64_t number(const DoctorFacts *f, const char *name)
{
    return tree_get_int(setting_row(f, name), "setting", 0);
}

static bool is_on(const DoctorFacts *f, const char *name)
{
    return str_eq(setting(f, name), "on");
}

const char *mend_parameter(const DoctorFacts *facts, const char *name, const char *value,
                           bool restart)
{
    Arena *arena = facts->arena;
    const Tree *own = tree_path(facts->settings->local, "postgresql.parameters");
    const char *restart_all = arena_printf(arena, "howdahctl restart %s --pending", facts->scope);
    if (str_ends(tree_get_string(setting_row(facts, name), "file", ""), "/postgresql.auto.conf"))
        return arena_printf(arena, "ALTER SYSTEM RESET %s; SELECT pg_reload_conf()%s%s", name,
                            restart ? "\n" : "", restart ? restart_all : "");
    if (tree_get(own, name) != NULL)
        return arena_printf(
            arena, "postgresql.parameters.%s: %s in the settings of each member, then\n%s", name,
            value,
            restart ? restart_all : arena_printf(arena, "howdahctl reload %s", facts->scope));
    return arena_printf(arena, "howdahctl edit-config --force -p %s=%s %s%s%s", name, value,
                        facts->scope, restart ? "\n" : "", restart ? restart_all : "");
}

void check_connection(const DoctorFacts *f, DoctorReport *r)
{
    const char *user = str_or(f->settings->postgresql.superuser.username, "?");
    if (f->sql.error == NULL) {
        doctor_ok(r, "%s as %s, PostgreSQL %s, %s", f->sql.server, user,
                  setting(f, "server_version"),
                  list_count(f->sql.server_facts.value) > 0 &&
                          tree_get_bool(list_at(f->sql.server_facts.value, 0), "in_recovery", false)
                      ? "a standby"
                      : "a primary");
        return;
    }
    if (f->sql.server == NULL || !f->local.beside) { // its network is perhaps not ours
        doctor_skipped(r, "%s: %s", str_or(f->sql.server, "no server"), f->sql.error);
        return;
    }
    const bool refused = strstr(f->sql.error, "password") != NULL ||
                         strstr(f->sql.error, "pg_hba") != NULL ||
                         strstr(f->sql.error, "role") != NULL;
    doctor_wrong(r,
                 refused ? arena_printf(f->arena,
                                        "postgresql.authentication.superuser (user %s and its "
                                        "password), and a line in postgresql.pg_hba: host all %s "
                                        "127.0.0.1/32 scram-sha-256",
                                        user, user)
                         : "howdahctl explain: does the server run? postgresql.listen is where it "
                           "should",
                 "%s as %s: %s", f->sql.server, user, f->sql.error);
}

void check_replication_settings(const DoctorFacts *f, DoctorReport *r)
{
    if (!doctor_known(r, &f->sql.settings, "pg_settings"))
        return;
    const size_t before = r->count;
    const int64_t others =
        f->view == NULL || f->view->member_count == 0 ? 1 : (int64_t)f->view->member_count - 1;
    const int64_t senders = number(f, "max_wal_senders"),
                  slots = number(f, "max_replication_slots");
    const char *level = setting(f, "wal_level");
    if (!str_eq(level, "replica") && !str_eq(level, "logical"))
        doctor_wrong(r, mend_parameter(f, "wal_level", "replica", true),
                     "wal_level is %s: no standby can follow", level);
    // One more for a base backup, which takes two for a moment.
    if (senders < others + 2)
        doctor_wrong(r,
                     mend_parameter(f, "max_wal_senders",
                                    arena_printf(f->arena, "%" PRId64, others + 7), true),
                     "max_wal_senders is %" PRId64 ": %" PRId64
                     " standbys and a base backup take %" PRId64,
                     senders, others, others + 2);
    if (f->settings->postgresql.use_slots && slots < others)
        doctor_wrong(r,
                     mend_parameter(f, "max_replication_slots",
                                    arena_printf(f->arena, "%" PRId64, others + 7), true),
                     "max_replication_slots is %" PRId64 ", and %" PRId64
                     " other members need one each",
                     slots, others);
    if (!is_on(f, "hot_standby"))
        doctor_wrong(
            r, mend_parameter(f, "hot_standby", "on", true),
            "hot_standby is off: an agent cannot ask its standby, which is then never promoted");
    if (r->count == before)
        doctor_ok(r, "wal_level %s, max_wal_senders %" PRId64 ", max_replication_slots %" PRId64,
                  level, senders, slots);
}

void check_durability(const DoctorFacts *f, DoctorReport *r)
{
    static const struct {
        const char *name, *good, *text;
        bool wrong;
    } rows[] = {
        {"fsync", "on", "a crash of the machine destroys the data", true},
        {"full_page_writes", "on", "a crash of the machine tears pages, and pg_rewind needs it",
         true},
        {"zero_damaged_pages", "off", "damaged pages are silently thrown away", true},
        {"ignore_checksum_failure", "off", "damage is read as if it were data", true},
        {"synchronous_commit", NULL, "the last commits are lost with any crash", false},
    };
    if (!doctor_known(r, &f->sql.settings, "pg_settings"))
        return;
    const size_t before = r->count;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *value = setting(f, rows[i].name);
        if (value[0] == '\0' ||
            (rows[i].good != NULL ? str_eq(value, rows[i].good) : !str_eq(value, "off")))
            continue;
        const char *mend = mend_parameter(f, rows[i].name, str_or(rows[i].good, "on"), false);
        if (rows[i].wrong)
            doctor_wrong(r, mend, "%s is %s: %s", rows[i].name, value, rows[i].text);
        else
            doctor_warn(r, mend, "%s is %s: %s", rows[i].name, value, rows[i].text);
    }
    if (r->count == before)
        doctor_ok(r, "fsync, full_page_writes and synchronous_commit are on");
}

void check_rewind(const DoctorFacts *f, DoctorReport *r)
{
    if (!doctor_known(r, &f->sql.settings, "pg_settings"))
        return;
    if (!f->settings->postgresql.use_pg_rewind)
        doctor_warn(
            r,
            arena_printf(f->arena,
                         "howdahctl edit-config --force -s postgresql.use_pg_rewind=true %s",
                         f->scope),
            "use_pg_rewind is off: a former primary that has diverged is copied anew by hand "
            "(howdahctl reinit)");
    else if (is_on(f, "wal_log_hints") || is_on(f, "data_checksums"))
        doctor_ok(r, "use_pg_rewind, with %s",
                  is_on(f, "data_checksums") ? "data checksums" : "wal_log_hints");
    else
        doctor_wrong(r, mend_parameter(f, "wal_log_hints", "on", true),
                     "use_pg_rewind needs wal_log_hints or data checksums, and both are off");
}

static bool does_nothing(const char *command)
{
    return str_eq(command, "true") || str_eq(command, "/bin/true") ||
           str_eq(command, "/usr/bin/true") || str_eq(command, ":") || str_eq(command, "exit 0");
}

void check_archiving(const DoctorFacts *f, DoctorReport *r)
{
    if (!doctor_known(r, &f->sql.settings, "pg_settings"))
        return;
    const char *mode = setting(f, "archive_mode"), *command = setting(f, "archive_command");
    const Tree *archiver =
        list_count(f->sql.archiver.value) > 0 ? list_at(f->sql.archiver.value, 0) : NULL;
    const bool nothing = str_empty(command) || str_eq(command, "(disabled)");
    if (str_eq(mode, "off")) {
        doctor_ok(r, "archive_mode is off");
        return;
    }
    if (nothing && str_empty(setting(f, "archive_library")))
        doctor_wrong(
            r, mend_parameter(f, "archive_mode", "off", true),
            "archive_mode is %s and archive_command is empty: WAL is kept until the volume is "
            "full",
            mode);
    else if (does_nothing(command))
        doctor_warn(r, mend_parameter(f, "archive_mode", "off", true),
                    "archive_command does nothing: what looks like an archive is empty");
    else if (!nothing && strstr(command, "%p") == NULL)
        doctor_wrong(r, "archive_command must use %p (the file's path) and %f (its name)",
                     "archive_command has no %%p: it cannot copy the file");
    else if (tree_get_bool(archiver, "failing", false))
        doctor_wrong(
            r,
            "the server's log says what archive_command has printed; run it by hand for that "
            "file, as the server's user and in its container",
            "archiving fails, last with %s: WAL is kept until the volume is full",
            tree_get_string(archiver, "last_failed_wal", "?"));
    else
        doctor_ok(r, "archive_mode is %s, %s files archived", mode,
                  tree_get_string(archiver, "archived", "?"));
}

// --- addresses

static bool is_loopback(const char *host)
{
    return str_starts(host, "127.") || str_eq(host, "::1") || str_ieq(host, "localhost");
}

// Every address in the list is of this machine alone.
static bool listens_to_itself(Arena *arena, const char *listen)
{
    while (*listen != '\0') {
        listen += strspn(listen, ", ");
        const size_t length = strcspn(listen, ", ");
        if (length > 0 && !is_loopback(arena_strndup(arena, listen, length)))
            return false;
        listen += length;
    }
    return true;
}

static bool others_are_elsewhere(const DoctorFacts *f)
{
    for (size_t i = 0; f->view != NULL && i < f->view->member_count; i++) {
        const MemberView *m = &f->view->members[i];
        if (!str_eq(m->name, f->sql.member) && m->host != NULL && !is_loopback(m->host))
            return true;
    }
    return false;
}

void check_listening(const DoctorFacts *f, DoctorReport *r)
{
    const PostgresSettings *pg = &f->settings->postgresql;
    if (!doctor_known(r, &f->sql.settings, "pg_settings"))
        return;
    if (!f->local.beside || pg->connect.host == NULL) {
        doctor_skipped(r, "not beside an agent");
        return;
    }
    const char *listen = setting(f, "listen_addresses");
    const int64_t port = number(f, "port");
    if (is_loopback(pg->connect.host) && others_are_elsewhere(f))
        doctor_wrong(
            r,
            "postgresql.connect_address: HOST:PORT, an address of this machine that the others "
            "reach",
            "connect_address is %s, which to the other members is themselves", pg->connect.host);
    else if (!is_loopback(pg->connect.host) && listens_to_itself(f->arena, listen))
        doctor_wrong(
            r,
            arena_printf(f->arena,
                         "postgresql.listen: 0.0.0.0:%" PRId64 "\nhowdahctl restart %s %s", port,
                         f->scope, str_or(f->settings->name, "")),
            "connect_address is %s, and the server listens to %s alone: no standby and no client "
            "reaches it",
            pg->connect.host, listen[0] != '\0' ? listen : "nothing");
    else if (pg->connect.port != (int)port)
        doctor_warn(r,
                    arena_printf(f->arena, "postgresql.connect_address: %s:%" PRId64,
                                 pg->connect.host, port),
                    "connect_address says port %d, the server listens at %" PRId64
                    ": right only if something forwards it",
                    pg->connect.port, port);
    else
        doctor_ok(r, "it listens at %s:%" PRId64 ", and others are told %s:%d", listen, port,
                  pg->connect.host, pg->connect.port);
}

void check_pending_restart(const DoctorFacts *f, DoctorReport *r)
{
    StringList names = {0};
    if (!doctor_known(r, &f->sql.settings, "pg_settings"))
        return;
    for (size_t i = 0; i < list_count(f->sql.settings.value); i++) {
        const Tree *row = list_at(f->sql.settings.value, i);
        if (tree_get_bool(row, "pending_restart", false))
            string_list_add(&names, f->arena, tree_get_string(row, "name", "?"));
    }
    if (names.count > 0)
        doctor_warn(r, arena_printf(f->arena, "howdahctl restart %s --pending", f->scope),
                    "what was changed counts from the next restart on: %s",
                    join_names(f->arena, &names));
    else
        doctor_ok(r, "no setting waits for one");
}
