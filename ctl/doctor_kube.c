// Gathers from the API server. Once it does not answer, it is not asked again.
#include "ctl/doctor.h"

#include <stdlib.h>
#include <string.h>

enum { CALL_MS = 2500, STRAYS_MAX = 8, MICROS = 1000000 };

typedef struct {
    DoctorFacts *facts;
    KubeProbe *probe;
    Clock *clock;
    Deadline all;
    bool dead; // nobody answered in time
} Gather;

static Deadline brief(const Gather *g)
{
    return deadline_min(g->all, deadline_in(g->clock, CALL_MS));
}

static Known get(Gather *g, const char *kind, const char *name, const char *query)
{
    Known known = {0};
    Error err = {0};
    int status = 0;
    if (g->dead) {
        known.why = "the API server does not answer";
        return known;
    }
    if (!kube_probe_get(g->probe, g->facts->arena, kind, name, query, brief(g), &known.value,
                        &status, &err)) {
        known.why = arena_printf(g->facts->arena, "%s%s", status == 401 ? "401: " : "", err.text);
        g->dead = status == 0;
    }
    return known;
}

static Known get_items(Gather *g, const char *kind, const char *query)
{
    Known known = get(g, kind, NULL, query);
    if (known.value != NULL)
        known.value = tree_get(known.value, "items");
    if (known.value == NULL && known.why == NULL)
        known.why = "the answer has no items";
    return known;
}

// --- pods that belong to the cluster and lack its labels

static bool is_listed(const DoctorFacts *f, const char *name)
{
    for (size_t i = 0; i < list_count(f->kube.pods.value); i++)
        if (str_eq(object_name(list_at(f->kube.pods.value, i)), name))
            return true;
    for (size_t i = 0; i < f->kube.stray_count; i++)
        if (str_eq(f->kube.strays[i].name, name))
            return true;
    return false;
}

static void look_for(Gather *g, StrayPod *strays, const char *name)
{
    DoctorFacts *f = g->facts;
    if (str_empty(name) || f->kube.stray_count == STRAYS_MAX || is_listed(f, name))
        return;
    const Known pod = get(g, "pods", name, NULL);
    if (pod.value != NULL)
        strays[f->kube.stray_count++] =
            (StrayPod){.name = name, .labels = object_labels(pod.value)};
}

// Pods of a StatefulSet are numbered: those in between, and one more. Besides, ours and the
// leader's.
static void look_for_strays(Gather *g)
{
    DoctorFacts *f = g->facts;
    StrayPod *strays = ARENA_ARRAY(f->arena, StrayPod, STRAYS_MAX);
    f->kube.strays = strays;
    if (f->kube.in_pod)
        look_for(g, strays, f->settings->name);
    if (f->view != NULL)
        look_for(g, strays, f->view->leader.name);
    const char *first = list_count(f->kube.pods.value) > 0
                            ? object_name(list_at(f->kube.pods.value, 0))
                            : str_or(f->kube.stray_count > 0 ? strays[0].name : NULL, "");
    const char *dash = strrchr(first, '-');
    if (dash == NULL || dash[1] < '0' || dash[1] > '9')
        return;
    const size_t last = list_count(f->kube.pods.value) + f->kube.stray_count;
    for (size_t i = 0; i <= last && i < STRAYS_MAX + 8; i++)
        look_for(g, strays, arena_printf(f->arena, "%.*s-%zu", (int)(dash - first), first, i));
}

// --- rights

// From outside the agents' account is asked for, not ours: a pod says which.
static const char *agents_account(const DoctorFacts *f)
{
    if (list_count(f->kube.pods.value) == 0)
        return f->scope;
    const Tree *spec = tree_get(list_at(f->kube.pods.value, 0), "spec");
    return tree_get_string(spec, "serviceAccountName", "default");
}

static void ask_rights(Gather *g)
{
    DoctorFacts *f = g->facts;
    RightFact *rights = NULL;
    f->kube.account = f->kube.in_pod ? NULL : agents_account(f);
    f->kube.right_count =
        doctor_rights_of(f->arena, f->settings, f->scope, f->kube.services.value, &rights);
    f->kube.rights = rights;
    for (size_t i = 0; i < f->kube.right_count && f->kube.rights_why == NULL; i++) {
        const KubeRight right = {rights[i].group, rights[i].resource, rights[i].name,
                                 rights[i].verb};
        Error err = {0};
        int status = 0;
        if (g->dead) {
            f->kube.rights_why = "the API server does not answer";
        } else if (!kube_probe_right(g->probe, f->arena, f->kube.account, &right, brief(g),
                                     &rights[i].allowed, &status, &err)) {
            g->dead = status == 0;
            f->kube.rights_why =
                status == 403 && f->kube.account != NULL
                    ? arena_printf(
                          f->arena,
                          "whoever the kubeconfig names may not ask about ServiceAccount %s: "
                          "kubectl exec %s-0 -c howdah -- howdahctl doctor",
                          f->kube.account, f->scope)
                    : arena_strdup(f->arena, err.text);
        }
    }
}

void gather_kubernetes(DoctorFacts *facts, Clock *clock, Resolver *resolver, Deadline deadline)
{
    KubeFacts *k = &facts->kube;
    Error err = {0};
    AUTO(kube_probe_release) KubeProbe *probe = NULL;
    Gather g = {.facts = facts, .clock = clock, .all = deadline};
    if (!kube_probe_open(&facts->settings->kubernetes, clock, resolver, &probe, &err)) {
        k->version.why = k->pods.why = k->services.why = k->rights_why =
            arena_strdup(facts->arena, err.text);
        return;
    }
    g.probe = probe;
    k->in_pod = kube_probe_in_pod(probe);
    k->server = arena_strdup(facts->arena, kube_probe_server(probe));
    k->namespace = arena_strdup(facts->arena, kube_probe_namespace(probe));
    k->token = kube_probe_token(probe);
    k->now_s = clock_wall_us(clock) / MICROS;
    k->version = get(&g, "version", NULL, NULL);
    k->pods = get_items(&g, "pods",
                        kube_probe_query(facts->arena, &facts->settings->kubernetes, facts->scope));
    k->services = get_items(&g, "services", NULL);
    if (k->pods.value != NULL)
        look_for_strays(&g);
    ask_rights(&g);
    for (size_t i = 0; i < KUBE_OTHER_MODES; i++) {
        if (g.dead)
            k->others[i].unread = "the API server does not answer";
        else
            k->others[i] = kube_probe_other(probe, facts->arena, facts->scope, i, brief(&g));
    }
}
