// Replication slots, and who streams: docs/operating.md, "Replication slots".
#include "ctl/doctor.h"

#include <inttypes.h>
#include <string.h>

static const Tree *row_named(const Tree *rows, const char *name)
{
    for (size_t i = 0; i < list_count(rows); i++)
        if (str_eq(tree_get_string(list_at(rows, i), "name", NULL), name))
            return list_at(rows, i);
    return NULL;
}

static bool is_primary(const DoctorFacts *f)
{
    return list_count(f->sql.server_facts.value) > 0 &&
           !tree_get_bool(list_at(f->sql.server_facts.value, 0), "in_recovery", true);
}

// Of the leader directly, with a slot of its own.
static bool follows_leader(const MemberView *m)
{
    return !m->tags.nostream && str_empty(m->tags.replicatefrom);
}

static bool is_members(const DoctorFacts *f, const char *slot)
{
    for (size_t i = 0; f->view != NULL && i < f->view->member_count; i++)
        if (str_eq(slot_name_of(f->arena, f->view->members[i].name), slot))
            return true;
    return false;
}

static void check_kept(const DoctorFacts *f, DoctorReport *r, const Tree *slot, size_t *fine)
{
    const int64_t mib = 1024 * 1024, much = 1024 * mib;
    const char *name = tree_get_string(slot, "name", "?");
    const char *status = tree_get_string(slot, "wal_status", "");
    const int64_t kept = tree_get_int(slot, "kept", 0);
    const bool active = tree_get_bool(slot, "active", false);
    const char *drop =
        is_members(f, name)
            ? arena_printf(f->arena, "bring that member back, or howdahctl reinit it; set "
                                     "max_slot_wal_keep_size for a bound")
            : arena_printf(f->arena,
                           "SELECT pg_drop_replication_slot('%s')    -- if nobody "
                           "will come back for it",
                           name);
    if (str_eq(status, "lost"))
        doctor_wrong(r,
                     is_members(f, name)
                         ? arena_printf(f->arena, "howdahctl reinit %s MEMBER", f->scope)
                         : drop,
                     "slot %s is lost: the WAL that it stands for is gone", name);
    else if (!active && kept > much)
        doctor_warn(r, drop, "slot %s keeps %" PRId64 " MiB of WAL, and nobody reads it", name,
                    kept / mib);
    else
        (*fine)++;
}

void check_slots(const DoctorFacts *f, DoctorReport *r)
{
    if (!doctor_known(r, &f->sql.slots, "pg_replication_slots"))
        return;
    const size_t before = r->count;
    size_t fine = 0;
    for (size_t i = 0;
         f->settings->postgresql.use_slots && f->view != NULL && i < f->view->member_count; i++) {
        const MemberView *m = &f->view->members[i];
        const char *slot = slot_name_of(f->arena, m->name);
        if (str_eq(m->name, f->sql.member) || !follows_leader(m) || !is_primary(f) ||
            row_named(f->sql.slots.value, slot) != NULL)
            continue;
        doctor_wrong(r,
                     "its agent makes it within a loop_wait, if max_replication_slots has room: "
                     "howdahctl explain",
                     "there is no slot %s for %s: WAL that it needs may be removed", slot, m->name);
    }
    for (size_t i = 0; i < list_count(f->sql.slots.value); i++)
        check_kept(f, r, list_at(f->sql.slots.value, i), &fine);
    if (r->count == before)
        doctor_ok(r, "%zu slots", fine);
}

void check_streaming(const DoctorFacts *f, DoctorReport *r)
{
    if (!doctor_known(r, &f->sql.senders, "pg_stat_replication") || f->view == NULL)
        return;
    if (!is_primary(f)) {
        const char *status = list_count(f->sql.receiver.value) > 0
                                 ? tree_get_string(list_at(f->sql.receiver.value, 0), "status", "?")
                                 : "not running";
        if (str_eq(status, "streaming"))
            doctor_ok(r, "this standby streams");
        else
            doctor_wrong(r,
                         arena_printf(f->arena,
                                      "howdahctl explain %s; the server's log says why it cannot",
                                      str_or(f->sql.member, "")),
                         "the WAL receiver of this standby is %s", status);
        return;
    }
    size_t streaming = 0, missing = 0;
    for (size_t i = 0; i < f->view->member_count; i++) {
        const MemberView *m = &f->view->members[i];
        if (str_eq(m->name, f->sql.member) || !follows_leader(m))
            continue;
        const Tree *sender = row_named(f->sql.senders.value, m->name);
        const char *state = tree_get_string(sender, "state", NULL);
        if (str_eq(state, "streaming")) {
            streaming++;
            continue;
        }
        missing++;
        doctor_wrong(r, arena_printf(f->arena, "howdahctl explain %s; its server's log", m->name),
                     "%s does not stream from this primary%s%s", m->name, state != NULL ? ": " : "",
                     str_or(state, ""));
    }
    if (missing == 0)
        doctor_ok(r, "%zu standbys stream", streaming);
}
