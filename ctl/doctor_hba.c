// Does pg_hba.conf let the other members in? PostgreSQL docs, "The pg_hba.conf File": the first
// line that fits counts, and no other.
#include "ctl/doctor.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

typedef struct {
    const char *what;     // "replication"
    const char *database; // "replication", or a database's name
    const char *user;
    const char *address; // numeric; NULL: not known
    bool ssl;            // the server offers it
} Client;

// MAYBE: by what cannot be known from here, a host's name or a role's members.
typedef enum { FIT_NO, FIT_MAYBE, FIT_YES } Fit;

static Fit worse(Fit a, Fit b)
{
    return a < b ? a : b;
}

// --- one field each

static Fit fits_type(const char *type, bool ssl)
{
    if (str_eq(type, "host"))
        return FIT_YES;
    if (str_eq(type, "hostssl"))
        return ssl ? FIT_MAYBE : FIT_NO; // both sides have to want it
    if (str_eq(type, "hostnossl"))
        return ssl ? FIT_MAYBE : FIT_YES;
    return str_eq(type, "hostgssenc") ? FIT_NO : str_eq(type, "hostnogssenc") ? FIT_YES : FIT_NO;
}

static Fit fits_names(const Tree *names, const Client *c, bool databases)
{
    const bool replication = str_eq(c->database, "replication");
    const char *wanted = databases ? c->database : c->user;
    Fit fit = FIT_NO;
    for (size_t i = 0; i < list_count(names); i++) {
        const char *name = str_or(tree_string_of(list_at(names, i)), "");
        if (str_eq(name, wanted) || (str_eq(name, "all") && !(databases && replication)) ||
            (databases && str_eq(name, "sameuser") && str_eq(c->user, c->database)))
            return FIT_YES;
        // Groups, files and regular expressions. None but its own name means replication.
        if (!(databases && replication) &&
            (name[0] == '+' || name[0] == '@' || name[0] == '/' || str_starts(name, "same")))
            fit = FIT_MAYBE;
    }
    return fit;
}

static bool masked_equal(int family, const char *a, const char *b, const char *mask)
{
    unsigned char x[16], y[16], m[16];
    const size_t length = family == AF_INET ? 4 : 16;
    if (inet_pton(family, a, x) != 1 || inet_pton(family, b, y) != 1 ||
        inet_pton(family, mask, m) != 1)
        return false;
    for (size_t i = 0; i < length; i++)
        if ((x[i] & m[i]) != (y[i] & m[i]))
            return false;
    return true;
}

static Fit fits_address(const Tree *rule, const Client *c)
{
    const char *address = tree_get_string(rule, "address", NULL);
    const char *mask = tree_get_string(rule, "netmask", NULL);
    if (address == NULL || str_eq(address, "all"))
        return FIT_YES;
    if (c->address == NULL || mask == NULL) // a name, samehost, samenet
        return FIT_MAYBE;
    const int family = strchr(c->address, ':') != NULL ? AF_INET6 : AF_INET;
    return masked_equal(family, c->address, address, mask) ? FIT_YES : FIT_NO;
}

static Fit fits(const Tree *rule, const Client *c)
{
    Fit fit = fits_type(tree_get_string(rule, "type", ""), c->ssl);
    fit = worse(fit, fits_names(tree_get(rule, "database"), c, true));
    fit = worse(fit, fits_names(tree_get(rule, "users"), c, false));
    return worse(fit, fits_address(rule, c));
}

// --- the file

// The first rule that fits for sure; *out_maybe: one before it, or none after it, could.
static const Tree *deciding_rule(const Tree *rules, const Client *c, bool *out_maybe)
{
    *out_maybe = false;
    for (size_t i = 0; i < list_count(rules); i++) {
        const Fit fit = fits(list_at(rules, i), c);
        if (fit == FIT_YES)
            return list_at(rules, i);
        *out_maybe = *out_maybe || fit == FIT_MAYBE;
    }
    return NULL;
}

static const char *line_for(const DoctorFacts *f, const Client *c)
{
    const char *address = c->address == NULL
                              ? "all"
                              : arena_printf(f->arena, "%s/%d", c->address,
                                             strchr(c->address, ':') != NULL ? 128 : 32);
    return arena_printf(f->arena,
                        "postgresql.pg_hba, above the lines that refuse:\n"
                        "- host %s %s %s scram-sha-256",
                        c->database, c->user, address);
}

static bool let_in(const DoctorFacts *f, DoctorReport *r, const Client *c, const char *member)
{
    bool maybe;
    const Tree *rule = deciding_rule(f->sql.hba.value, c, &maybe);
    const bool refused = rule == NULL || str_eq(tree_get_string(rule, "method", ""), "reject");
    if (!refused || maybe)
        return true;
    if (rule == NULL)
        doctor_wrong(r, line_for(f, c), "no line lets %s (%s) in for %s as %s", member,
                     str_or(c->address, "?"), c->what, c->user);
    else
        doctor_wrong(r, line_for(f, c), "line %" PRId64 " rejects %s (%s) for %s as %s",
                     tree_get_int(rule, "line", 0), member, str_or(c->address, "?"), c->what,
                     c->user);
    return false;
}

static bool file_is_readable(const DoctorFacts *f, DoctorReport *r)
{
    bool fine = true;
    for (size_t i = 0; i < list_count(f->sql.hba.value); i++) {
        const Tree *rule = list_at(f->sql.hba.value, i);
        const char *error = tree_get_string(rule, "error", NULL);
        if (error == NULL)
            continue;
        fine = false;
        doctor_wrong(
            r,
            arena_printf(f->arena,
                         "mend it in postgresql.pg_hba (or in pg_hba.conf, if the settings have "
                         "none), then howdahctl reload %s",
                         f->scope),
            "line %" PRId64 ": %s: the old lines count until it is mended",
            tree_get_int(rule, "line", 0), error);
    }
    return fine;
}

static bool server_offers_ssl(const DoctorFacts *f)
{
    for (size_t i = 0; i < list_count(f->sql.settings.value); i++)
        if (str_eq(tree_get_string(list_at(f->sql.settings.value, i), "name", NULL), "ssl"))
            return str_eq(tree_get_string(list_at(f->sql.settings.value, i), "setting", ""), "on");
    return false;
}

static const char *numeric(const char *host)
{
    unsigned char bytes[16];
    return host != NULL &&
                   (inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1)
               ? host
               : NULL;
}

void check_hba(const DoctorFacts *f, DoctorReport *r)
{
    const PostgresSettings *pg = &f->settings->postgresql;
    if (!doctor_known(r, &f->sql.hba, "pg_hba_file_rules"))
        return;
    bool fine = file_is_readable(f, r);
    if (!fine)
        return;
    const bool ssl = server_offers_ssl(f);
    const PgAuth *rewind = str_empty(pg->rewind.username) ? &pg->superuser : &pg->rewind;
    size_t others = 0;
    for (size_t i = 0; f->view != NULL && i < f->view->member_count; i++) {
        const MemberView *m = &f->view->members[i];
        if (str_eq(m->name, f->sql.member))
            continue;
        others++;
        Client c = {"replication", "replication", str_or(pg->replication.username, "?"),
                    numeric(m->host), ssl};
        fine = let_in(f, r, &c, m->name) && fine;
        c = (Client){"pg_rewind", str_or(pg->database, "postgres"), str_or(rewind->username, "?"),
                     numeric(m->host), ssl};
        if (pg->use_pg_rewind)
            fine = let_in(f, r, &c, m->name) && fine;
    }
    if (fine)
        doctor_ok(r, "%zu lines; %zu other members are let in", list_count(f->sql.hba.value),
                  others);
}
