// The roles that agents connect as.
#include "ctl/doctor.h"

#include <string.h>

static const Tree *role_named(const DoctorFacts *f, const char *name)
{
    for (size_t i = 0; i < list_count(f->sql.roles.value); i++)
        if (str_eq(tree_get_string(list_at(f->sql.roles.value, i), "name", NULL), name))
            return list_at(f->sql.roles.value, i);
    return NULL;
}

static const char *quoted(Arena *arena, const char *name)
{
    Text text = text_new(arena);
    text_add_char(&text, '"');
    for (const char *c = name; *c != '\0'; c++) {
        if (*c == '"')
            text_add_char(&text, '"');
        text_add_char(&text, *c);
    }
    text_add_char(&text, '"');
    return text.data;
}

typedef struct {
    const char *what;      // "superuser"
    const char *attribute; // its name in the row; NULL: to log in is enough
    const char *sql;       // "SUPERUSER"
} Need;

static bool check_role(const DoctorFacts *f, DoctorReport *r, const PgAuth *auth, const Need *need)
{
    if (str_empty(auth->username))
        return true;
    const char *name = quoted(f->arena, auth->username);
    const Tree *role = role_named(f, auth->username);
    const bool super = tree_get_bool(role, "super", false);
    const char *reset =
        arena_printf(f->arena, "ALTER ROLE %s LOGIN %s    -- on the primary", name, need->sql);
    if (role == NULL) {
        doctor_wrong(
            r,
            arena_printf(f->arena,
                         "CREATE ROLE %s LOGIN %s PASSWORD '…'    -- on the primary, with the "
                         "password of the settings",
                         name, need->sql),
            "%s: there is no role %s that may log in", need->what, auth->username);
        return false;
    }
    if (!tree_get_bool(role, "login", false) ||
        (need->attribute != NULL && !super && !tree_get_bool(role, need->attribute, false))) {
        doctor_wrong(r, reset, "%s: role %s lacks LOGIN%s%s", need->what, auth->username,
                     need->sql[0] != '\0' ? " or " : "", need->sql);
        return false;
    }
    if (tree_get_bool(role, "expired", false)) {
        doctor_wrong(r, arena_printf(f->arena, "ALTER ROLE %s VALID UNTIL 'infinity'", name),
                     "%s: the password of role %s has expired", need->what, auth->username);
        return false;
    }
    return true;
}

void check_roles(const DoctorFacts *f, DoctorReport *r)
{
    const PostgresSettings *pg = &f->settings->postgresql;
    const struct {
        const PgAuth *auth;
        Need need;
    } rows[] = {{&pg->superuser, {"superuser", "super", "SUPERUSER"}},
                {&pg->replication, {"replication", "replication", "REPLICATION"}},
                {&pg->rewind, {"rewind", NULL, ""}}};
    if (!doctor_known(r, &f->sql.roles, "pg_roles"))
        return;
    bool fine = true;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        fine = check_role(f, r, rows[i].auth, &rows[i].need) && fine;
    if (fine)
        doctor_ok(r, "%s, %s, %s are there, with what they need",
                  str_or(pg->superuser.username, "-"), str_or(pg->replication.username, "-"),
                  str_or(pg->rewind.username, "-"));
}

void check_rewind_rights(const DoctorFacts *f, DoctorReport *r)
{
    const PostgresSettings *pg = &f->settings->postgresql;
    const Tree *role = role_named(f, pg->rewind.username);
    if (!pg->use_pg_rewind || str_empty(pg->rewind.username))
        return;
    if (!doctor_known(r, &f->sql.roles, "pg_roles") ||
        role == NULL) // that it is not there was said
        return;
    if (tree_get_bool(role, "super", false) || tree_get_bool(role, "may_rewind", false)) {
        doctor_ok(r, "%s may read what pg_rewind reads", pg->rewind.username);
        return;
    }
    const char *name = quoted(f->arena, pg->rewind.username);
    doctor_wrong(
        r,
        arena_printf(
            f->arena,
            "-- on the primary, in database %s\n"
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) TO %s;\n"
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_file(text, boolean) TO %s;\n"
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text) TO %s;\n"
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, "
            "boolean) TO %s;",
            str_or(pg->database, "postgres"), name, name, name, name),
        "%s may not execute the functions that pg_rewind reads files with", pg->rewind.username);
}
