// The API server, who we are to it, and what the agents may do there.
#include "ctl/doctor.h"

#include <inttypes.h>
#include <string.h>

void check_api(const DoctorFacts *f, DoctorReport *r)
{
    const KubeFacts *k = &f->kube;
    if (k->version.value != NULL) {
        doctor_ok(r, "%s answers, %s, namespace %s", k->server,
                  tree_get_string(k->version.value, "gitVersion", "of no version"), k->namespace);
        return;
    }
    const char *mend =
        k->server == NULL
            ? "in a pod: mount the ServiceAccount's token (docker/kubernetes/40-cluster.yaml, "
              "volume "
              "access); elsewhere: a kubeconfig (KUBECONFIG, kubernetes.context)"
            : "kubectl get --raw /readyz; in a pod: a NetworkPolicy may close the way, and "
              "kubernetes.cacert or the mounted ca.crt must be the API server's authority";
    doctor_wrong(r, mend, "%s: %s", str_or(k->server, "no API server is known"),
                 str_or(k->version.why, "no answer"));
}

// The kubelet renews a token when a fifth of its time is left.
void check_token(const DoctorFacts *f, DoctorReport *r)
{
    const KubeFacts *k = &f->kube;
    const KubeToken *t = &k->token;
    const char *mend = k->in_pod
                           ? "the kubelet renews a mounted token: kubectl describe pod, and the "
                             "kubelet's log on that node"
                           : "log in anew, so that the kubeconfig gets another token";
    if (k->pods.value == NULL && strstr(str_or(k->pods.why, ""), "401") != NULL) {
        doctor_wrong(r, mend, "refused: %s", k->pods.why);
        return;
    }
    if (!t->present) {
        doctor_ok(r, "none: a certificate or a password proves who we are");
        return;
    }
    if (t->expires_s == 0) {
        doctor_ok(r, "it does not expire");
        return;
    }
    const int64_t left = t->expires_s - k->now_s, whole = t->expires_s - t->issued_s;
    if (left <= 0)
        doctor_wrong(r, mend, "it has expired %" PRId64 " s ago", -left);
    else if (t->issued_s > 0 && left < whole / 10)
        doctor_warn(r, mend, "it expires in %" PRId64 " s, and should have been renewed", left);
    else
        doctor_ok(r, "good for another %" PRId64 " s", left);
}

// --- rights

static bool same_rule(const RightFact *a, const RightFact *b)
{
    return str_eq(a->group, b->group) && str_eq(a->resource, b->resource) &&
           (a->name == NULL) == (b->name == NULL) && str_eq(a->for_what, b->for_what);
}

static void add_once(StringList *list, Arena *arena, const char *text)
{
    if (!string_list_has_ignoring_case(list, text))
        string_list_add(list, arena, text);
}

// One line for whatever a single rule would allow.
static void report_missing(const DoctorFacts *f, DoctorReport *r, size_t first)
{
    const KubeFacts *k = &f->kube;
    const RightFact *of = &k->rights[first];
    StringList verbs = {0}, names = {0};
    for (size_t i = first; i < k->right_count; i++) {
        const RightFact *right = &k->rights[i];
        if (right->allowed || !same_rule(right, of))
            continue;
        add_once(&verbs, f->arena, right->verb);
        if (right->name != NULL)
            add_once(&names, f->arena, right->name);
    }
    Text mend = text_new(f->arena);
    text_addf(&mend, "to the rules of Role %s in namespace %s add:\n", f->scope, k->namespace);
    text_addf(&mend, "- apiGroups: [%s]\n  resources: [%s]\n",
              of->group[0] == '\0' ? "\"\"" : of->group, of->resource);
    if (names.count > 0)
        text_addf(&mend, "  resourceNames: [%s]\n", join_names(f->arena, &names));
    text_addf(&mend, "  verbs: [%s]", join_names(f->arena, &verbs));
    const char *who = k->account != NULL ? k->account : "we";
    const char *named =
        names.count > 0 ? arena_printf(f->arena, " %s", join_names(f->arena, &names)) : "";
    if (of->optional)
        doctor_warn(r, mend.data, "%s may not %s %s%s, which is for %s", who,
                    join_names(f->arena, &verbs), of->resource, named, of->for_what);
    else
        doctor_wrong(r, mend.data, "%s may not %s %s%s, which is for %s", who,
                     join_names(f->arena, &verbs), of->resource, named, of->for_what);
}

static const char *mode_name(const DoctorFacts *f)
{
    switch (f->settings->kubernetes.objects) {
    case KUBERNETES_ENDPOINTS:
        return "endpoints";
    case KUBERNETES_CONFIGMAPS:
        return "configmaps";
    case KUBERNETES_LEASES:
        return "leases";
    }
    ASSERT(false);
}

void check_rights(const DoctorFacts *f, DoctorReport *r)
{
    const KubeFacts *k = &f->kube;
    if (k->rights_why != NULL) {
        doctor_skipped(r, "%s", k->rights_why);
        return;
    }
    size_t missing = 0;
    for (size_t i = 0; i < k->right_count; i++) {
        if (k->rights[i].allowed)
            continue;
        bool told = false;
        for (size_t before = 0; before < i; before++)
            told = told ||
                   (!k->rights[before].allowed && same_rule(&k->rights[before], &k->rights[i]));
        if (!told)
            report_missing(f, r, i);
        missing++;
    }
    if (missing == 0)
        doctor_ok(r, "all %zu that kubernetes.store: %s needs%s%s", k->right_count, mode_name(f),
                  k->account != NULL ? ", of ServiceAccount " : "", str_or(k->account, ""));
}
