// etcd, each endpoint by itself, and the cluster as the store shows it.
#include "ctl/doctor.h"

#include <inttypes.h>
#include <string.h>

static const char *mend_of(const DoctorFacts *f, const EtcdEndpointFacts *e)
{
    if (str_empty(e->error))
        return NULL;
    if (strstr(e->error, "permission denied") != NULL)
        return arena_printf(f->arena,
                            "etcdctl role grant-permission ROLE --prefix=true readwrite %s/",
                            str_or(f->settings->base_path, "/service"));
    if (strstr(e->error, "auth") != NULL || strstr(e->error, "user") != NULL)
        return "etcd3.username and etcd3.password (HOWDAH_ETCD3_USERNAME, …): as `etcdctl user "
               "list` "
               "and `etcdctl user passwd` have them";
    if (strstr(e->error, "certificate") != NULL || strstr(e->error, "SSL") != NULL)
        return "etcd3.cacert must be the authority of that endpoint's certificate, and etcd3.cert "
               "and "
               "etcd3.key known to it";
    return arena_printf(f->arena,
                        "start etcd there, open the way to it, or take the endpoint out of "
                        "etcd3.hosts: etcdctl --endpoints %s endpoint health",
                        e->url);
}

void check_etcd_endpoints(const DoctorFacts *f, DoctorReport *r)
{
    for (size_t i = 0; i < f->etcd_count; i++) {
        const EtcdEndpointFacts *e = &f->etcd[i];
        if (e->error == NULL)
            doctor_ok(r, "%s: version %s", e->url, tree_get_string(e->status, "version", "?"));
        else
            doctor_wrong(r, mend_of(f, e), "%s: %s", e->url, e->error);
    }
}

// "leader" is a number beyond 2^53 or a text, as the gateway writes it: "0" is nobody.
static bool knows_leader(Arena *arena, const Tree *status)
{
    const char *leader = tree_scalar_text(arena, tree_get(status, "leader"));
    return !str_empty(leader) && !str_eq(leader, "0");
}

static void check_alarms(DoctorReport *r, const EtcdEndpointFacts *e)
{
    const Tree *errors = tree_get(e->status, "errors");
    for (size_t i = 0; i < list_count(errors); i++) {
        const char *text = str_or(tree_string_of(list_at(errors, i)), "?");
        const bool full = strstr(text, "NOSPACE") != NULL;
        doctor_wrong(r,
                     full ? "etcdctl compact REVISION; etcdctl defrag; etcdctl alarm disarm"
                          : "etcdctl alarm list",
                     "%s: %s%s", e->url, text,
                     full ? ": no lease can be renewed and no leader elected" : "");
    }
}

void check_etcd_health(const DoctorFacts *f, DoctorReport *r)
{
    size_t answered = 0, led = 0;
    StringList clusters = {0};
    for (size_t i = 0; i < f->etcd_count; i++) {
        const EtcdEndpointFacts *e = &f->etcd[i];
        if (e->status == NULL)
            continue;
        answered++;
        led += knows_leader(f->arena, e->status) ? 1 : 0;
        check_alarms(r, e);
        const char *id =
            tree_scalar_text(f->arena, tree_get(tree_get(e->status, "header"), "cluster_id"));
        if (!str_empty(id) && !string_list_has_ignoring_case(&clusters, id))
            string_list_add(&clusters, f->arena, id);
    }
    if (answered == 0) {
        doctor_skipped(r, "no endpoint answers");
        return;
    }
    if (clusters.count > 1)
        doctor_wrong(r, "etcd3.hosts: the members of one etcd cluster only",
                     "the endpoints belong to %zu different etcd clusters: a primary in each",
                     clusters.count);
    if (led < answered)
        doctor_wrong(r,
                     "etcdctl endpoint status --cluster -w table: a majority must run and reach "
                     "each other",
                     "%zu of %zu endpoints know of no leader of etcd", answered - led, answered);
    else if (2 * answered <= f->etcd_count)
        doctor_wrong(r, "etcdctl endpoint status --cluster -w table",
                     "%zu of %zu endpoints answer: that is no majority", answered, f->etcd_count);
    else if (clusters.count == 1)
        doctor_ok(r, "%zu of %zu endpoints answer, and know the same cluster and its leader",
                  answered, f->etcd_count);
}

void check_cluster(const DoctorFacts *f, DoctorReport *r)
{
    if (f->view == NULL) {
        const char *mend = f->settings->store == STORE_KUBERNETES
                               ? "see the lines above about the API server"
                               : "see the lines above about etcd";
        doctor_wrong(r, mend, "%s", str_or(f->view_why, "the store does not answer"));
        return;
    }
    const ClusterView *view = f->view;
    const char *list = arena_printf(f->arena, "howdahctl explain    # why nobody does");
    if (view->initialize == NULL && view->leader.name == NULL)
        doctor_warn(r, "start an agent with this scope", "no cluster %s has been made yet",
                    f->scope);
    else if (view->leader.name == NULL)
        doctor_wrong(r, list, "nobody leads");
    else if (cluster_leader_member(view) == NULL)
        doctor_wrong(r, list, "%s leads, and is no member", view->leader.name);
    else if (!initialize_is_valid(view->initialize))
        doctor_wrong(r, "howdahctl explain: the leader writes it once its server runs",
                     "the cluster has a leader, %s, and no system identifier (initialize)",
                     view->leader.name);
    else
        doctor_ok(r, "%s leads, %zu members", view->leader.name, view->member_count);
    if (view->other_store != NULL)
        doctor_wrong(r, "kubernetes.store must be the same everywhere", "%s", view->other_store);
}
