// The agents, by their own REST API.
#include "ctl/doctor.h"

#include <inttypes.h>
#include <string.h>

static const MemberFact *own_member(const DoctorFacts *f)
{
    for (size_t i = 0; i < f->member_count; i++)
        if (str_eq(f->members[i].name, f->settings->name))
            return &f->members[i];
    return NULL;
}

void check_own_api(const DoctorFacts *f, DoctorReport *r)
{
    const MemberFact *own = own_member(f);
    if (!f->is_agents || !f->local.beside) {
        doctor_skipped(r, "not beside an agent");
        return;
    }
    if (own == NULL) {
        doctor_wrong(
            r,
            "start it: systemctl status howdah@NAME, or kubectl logs POD -c howdah: it says "
            "why it has not joined",
            "%s is no member of %s", str_or(f->settings->name, "?"), f->scope);
        return;
    }
    if (own->status == NULL) {
        doctor_wrong(
            r,
            "systemctl status howdah@NAME, or kubectl logs POD -c howdah; restapi.listen must "
            "include the address of restapi.connect_address, and its port be open",
            "the agent does not answer at %s: %s", str_or(own->url, "?"), str_or(own->error, "?"));
        return;
    }
    const char *reason = tree_get_string(own->why, "reason", NULL);
    doctor_ok(r, "%s is %s, %s%s%s%s%s", own->name, tree_get_string(own->status, "role", "?"),
              tree_get_string(own->status, "state", "?"), reason != NULL ? "; it says " : "",
              str_or(reason, ""), reason != NULL ? ": " : "",
              tree_get_string(own->why, "reason_text", ""));
}

static void check_member(const DoctorFacts *f, DoctorReport *r, const MemberFact *m)
{
    if (m->url == NULL) {
        doctor_wrong(r, "start its agent; a pod is a member as soon as it has the labels",
                     "%s has not published an address: its agent has not been there", m->name);
        return;
    }
    if (m->status == NULL) {
        // Out here the pods' network is not ours.
        if (f->settings->store == STORE_KUBERNETES && !f->kube.in_pod)
            doctor_skipped(r, "%s: %s", m->name, str_or(m->error, "no answer"));
        else
            doctor_wrong(
                r,
                "its agent's log; restapi.connect_address must be reachable from every member: "
                "its answer counts in a race",
                "%s does not answer at %s: %s", m->name, m->url, str_or(m->error, "?"));
        return;
    }
    const char *state = tree_get_string(m->status, "state", "?");
    if (!str_eq(state, "running") && !str_eq(state, "streaming") &&
        !str_eq(state, "in archive recovery"))
        doctor_wrong(r, arena_printf(f->arena, "howdahctl explain %s", m->name), "%s is %s",
                     m->name, state);
    else if (tree_get(m->status, "pending_restart") != NULL &&
             tree_get_bool(m->status, "pending_restart", false))
        doctor_warn(r, arena_printf(f->arena, "howdahctl restart %s %s", f->scope, m->name),
                    "%s is %s, and settings wait for a restart", m->name, state);
    else
        doctor_ok(r, "%s is %s, %s", m->name, tree_get_string(m->status, "role", "?"), state);
}

void check_members(const DoctorFacts *f, DoctorReport *r)
{
    for (size_t i = 0; i < f->member_count; i++)
        check_member(f, r, &f->members[i]);
    if (f->member_count == 1)
        doctor_warn(r, "start another member with the same scope",
                    "one member: nobody can take over");
}

void check_fences(const DoctorFacts *f, DoctorReport *r)
{
    StringList without = {0};
    for (size_t i = 0; i < f->view->member_count; i++) {
        const MemberView *m = &f->view->members[i];
        if (m->howdah == NULL && m->data != NULL && m->data->count > 0)
            string_list_add(&without, f->arena, m->name);
    }
    if (without.count > 0)
        doctor_warn(
            r, "docs/kubernetes.md, \"From Patroni\": take them over, one by one",
            "%s: run by Patroni, which has no fence: two writers are possible if its agent is "
            "stopped",
            join_names(f->arena, &without));
    for (size_t i = 0; i < f->member_count; i++)
        if (f->members[i].leads && f->members[i].why != NULL &&
            !tree_get_bool(f->members[i].why, "fence_armed", true))
            doctor_warn(r, "howdahctl explain; a weak or missing fence ends with the next restart",
                        "%s leads, and its warden has no deadline", f->members[i].name);
}
