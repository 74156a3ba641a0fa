// The Services by which clients reach the cluster: docs/kubernetes.md, "Connect".
#include "ctl/doctor.h"

// Its struct Option would meet that of ctl/options.h, which is not for this file.
#include "common/model/settings_table.h"

#include <inttypes.h>
#include <string.h>

static const Tree *spec_of(const Tree *object)
{
    return tree_get(object, "spec");
}

static const Tree *selector_of(const Tree *service)
{
    const Tree *selector = tree_get(spec_of(service), "selector");
    return selector != NULL && selector->kind == TREE_MAP && selector->count > 0 ? selector : NULL;
}

static const Tree *service_named(const DoctorFacts *f, const char *name)
{
    for (size_t i = 0; i < list_count(f->kube.services.value); i++)
        if (str_eq(object_name(list_at(f->kube.services.value, i)), name))
            return list_at(f->kube.services.value, i);
    return NULL;
}

static bool is_role(const DoctorFacts *f, const Tree *service, bool leader)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    const char *role = tree_get_string(selector_of(service), k->role_label, NULL);
    return leader ? str_eq(role, k->leader_label_value) : str_eq(role, k->follower_label_value);
}

static bool is_of_cluster(const DoctorFacts *f, const Tree *service)
{
    return str_eq(tree_get_string(selector_of(service), f->settings->kubernetes.scope_label, NULL),
                  f->scope);
}

// The Service of the scope's name comes first: that is where clients go.
static const Tree *service_of_role(const DoctorFacts *f, bool leader, const char *usual_name)
{
    const Tree *usual = service_named(f, usual_name);
    if (usual != NULL)
        return usual;
    for (size_t i = 0; i < list_count(f->kube.services.value); i++) {
        const Tree *service = list_at(f->kube.services.value, i);
        if (is_of_cluster(f, service) && is_role(f, service, leader))
            return service;
    }
    return NULL;
}

// {application: howdah, cluster-name: demo, role: primary}; role NULL: without
static const char *wanted_selector(const DoctorFacts *f, const char *role, bool json)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    const char *quote = json ? "\"" : "", *colon = json ? ":" : ": ", *comma = json ? "," : ", ";
    Text text = text_new(f->arena);
    text_add_char(&text, '{');
    for (size_t i = 0; i < k->labels.count; i++)
        text_addf(&text, "%s%s%s%s%s%s%s%s", quote, k->labels.items[i].key, quote, colon, quote,
                  k->labels.items[i].value, quote, comma);
    text_addf(&text, "%s%s%s%s%s%s%s", quote, k->scope_label, quote, colon, quote, f->scope, quote);
    if (role != NULL)
        text_addf(&text, "%s%s%s%s%s%s%s%s", comma, quote, k->role_label, quote, colon, quote, role,
                  quote);
    text_add_char(&text, '}');
    return text.data;
}

static const char *patch(const DoctorFacts *f, const char *service, const char *spec)
{
    return arena_printf(f->arena, "kubectl -n %s patch service %s -p '{\"spec\":%s}'",
                        f->kube.namespace, service, spec);
}

static const char *mend_selector(const DoctorFacts *f, const Tree *service, const char *role)
{
    // A merge would keep what is wrong in it.
    return arena_printf(f->arena,
                        "kubectl -n %s patch service %s --type=json -p '[{\"op\":\"%s\",\"path\":"
                        "\"/spec/selector\",\"value\":%s}]'",
                        f->kube.namespace, object_name(service),
                        selector_of(service) == NULL ? "add" : "replace",
                        wanted_selector(f, role, true));
}

static const char *whole_service(const DoctorFacts *f, const char *name, const char *role)
{
    return arena_printf(
        f->arena,
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\n  labels: %s\n"
        "spec:\n%s  selector: %s\n  ports:\n  - {name: postgres, port: 5432, "
        "targetPort: %d}",
        name, wanted_selector(f, NULL, false),
        str_eq(role, f->settings->kubernetes.leader_label_value)
            ? "  publishNotReadyAddresses: true\n"
            : "",
        wanted_selector(f, role, false),
        f->is_agents && f->settings->postgresql.port > 0 ? f->settings->postgresql.port : 5432);
}

// The selector without the role: does it fit the cluster's pods at all?
static bool selects_cluster(const DoctorFacts *f, const Tree *service)
{
    const Tree *selector = selector_of(service);
    if (selector == NULL)
        return false;
    Tree *rest = tree_copy(f->arena, selector);
    tree_remove(rest, f->settings->kubernetes.role_label);
    for (size_t i = 0; i < list_count(f->kube.pods.value); i++)
        if (rest->count == 0 || selector_fits(rest, object_labels(list_at(f->kube.pods.value, i))))
            return true;
    return false;
}

// A name must be one of the containers'; a number is right whatever they say.
static const char *port_without_target(const DoctorFacts *f, const Tree *service)
{
    const Tree *ports = tree_get(spec_of(service), "ports");
    if (list_count(f->kube.pods.value) == 0)
        return NULL;
    const Tree *containers = tree_get(spec_of(list_at(f->kube.pods.value, 0)), "containers");
    for (size_t i = 0; i < list_count(ports); i++) {
        const Tree *target = tree_get(list_at(ports, i), "targetPort");
        if (target == NULL || target->kind != TREE_STRING)
            continue;
        bool found = false;
        for (size_t c = 0; c < list_count(containers); c++) {
            const Tree *list = tree_get(list_at(containers, c), "ports");
            for (size_t p = 0; p < list_count(list); p++)
                found =
                    found || str_eq(tree_get_string(list_at(list, p), "name", NULL), target->text);
        }
        if (!found)
            return target->text;
    }
    return NULL;
}

// In endpoints mode the agents write the addresses, and a selector's would be written over them.
static void check_endpoints_service(const DoctorFacts *f, DoctorReport *r, const Tree *service)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    const Tree *ports = tree_get(spec_of(service), "ports");
    const char *name = object_name(service);
    if (selector_of(service) != NULL) {
        doctor_wrong(
            r,
            arena_printf(f->arena,
                         "kubectl -n %s patch service %s --type=json -p "
                         "'[{\"op\":\"remove\",\"path\":\"/spec/selector\"}]'",
                         f->kube.namespace, name),
            "Service %s has a selector: the control plane and the leader both write Endpoints "
            "%s, and clients lose the primary",
            name, name);
        return;
    }
    bool same = list_count(ports) == k->port_count;
    for (size_t i = 0; same && i < k->port_count; i++)
        same = str_eq(str_or(tree_get_string(list_at(ports, i), "name", NULL), ""),
                      str_or(k->ports[i].name, ""));
    if (!same)
        doctor_wrong(
            r,
            k->port_count == 1 && k->ports[0].name == NULL
                ? arena_printf(f->arena,
                               "kubectl -n %s patch service %s --type=json -p "
                               "'[{\"op\":\"replace\",\"path\":\"/spec/ports\",\"value\":"
                               "[{\"port\":%d}]}]'",
                               f->kube.namespace, name, k->ports[0].port)
                : "kubernetes.ports: the names of the Service's ports, in its order",
            "Service %s: the names of its ports are not those of kubernetes.ports (default: "
            "one port without a name): it leads nowhere",
            name);
    else
        doctor_ok(r, "Service %s has no selector, and the ports of kubernetes.ports", name);
}

static void check_selected(const DoctorFacts *f, DoctorReport *r, const Tree *service, bool leader)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    const char *role = leader ? k->leader_label_value : k->follower_label_value;
    const char *name = object_name(service), *target = port_without_target(f, service);
    const bool unready = tree_get_bool(spec_of(service), "publishNotReadyAddresses", false);
    if (!is_role(f, service, leader))
        doctor_wrong(r, mend_selector(f, service, role), "Service %s does not select %s=%s: %s",
                     name, k->role_label, role,
                     selector_of(service) == NULL ? "it has no selector, and leads nowhere"
                     : leader                     ? "it does not lead to the primary"
                                                  : "it does not lead to the replicas");
    else if (!selects_cluster(f, service))
        doctor_wrong(r, mend_selector(f, service, role),
                     "Service %s selects %s: no pod of the cluster has these labels", name,
                     tree_to_yaml_flow(f->arena, selector_of(service)));
    else if (target != NULL)
        doctor_wrong(r,
                     "in the container: ports: [{name: NAME, containerPort: 5432}], or a number as "
                     "targetPort",
                     "Service %s: no container has a port named %s", name, target);
    else if (leader && !unready)
        doctor_wrong(r, patch(f, name, "{\"publishNotReadyAddresses\":true}"),
                     "Service %s waits for readiness: whenever the agent is started again, clients "
                     "lose the primary",
                     name);
    else if (!leader && unready)
        doctor_warn(r, patch(f, name, "{\"publishNotReadyAddresses\":false}"),
                    "Service %s also leads to replicas that are not ready: being copied, or far "
                    "behind",
                    name);
    else
        doctor_ok(r, "Service %s selects %s=%s%s", name, k->role_label, role,
                  leader ? ", ready or not" : "");
}

void check_primary_service(const DoctorFacts *f, DoctorReport *r)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    if (!doctor_known(r, &f->kube.services, "Services"))
        return;
    const Tree *service = service_of_role(f, true, f->scope);
    if (service == NULL)
        doctor_warn(r, whole_service(f, f->scope, k->leader_label_value),
                    "no Service leads to the primary");
    else if (k->objects == KUBERNETES_ENDPOINTS && str_eq(object_name(service), f->scope))
        check_endpoints_service(f, r, service);
    else
        check_selected(f, r, service, true);
}

void check_replica_service(const DoctorFacts *f, DoctorReport *r)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    if (!doctor_known(r, &f->kube.services, "Services"))
        return;
    const char *usual = arena_printf(f->arena, "%s-replicas", f->scope);
    const Tree *service = service_of_role(f, false, usual);
    if (service != NULL)
        check_selected(f, r, service, false);
    else if (list_count(f->kube.pods.value) > 1)
        doctor_warn(r, whole_service(f, usual, k->follower_label_value),
                    "no Service leads to the replicas");
    else
        doctor_ok(r, "none, and no replicas");
}

// The Service that the pods' names hang on: spec.serviceName of their StatefulSet.
void check_member_service(const DoctorFacts *f, DoctorReport *r)
{
    if (!doctor_known(r, &f->kube.services, "Services") ||
        !doctor_known(r, &f->kube.pods, "pods") || list_count(f->kube.pods.value) == 0)
        return;
    const char *name = tree_get_string(spec_of(list_at(f->kube.pods.value, 0)), "subdomain", NULL);
    if (str_empty(name)) {
        doctor_ok(r, "the pods have no names of their own in DNS, and need none");
        return;
    }
    const Tree *service = service_named(f, name), *spec = spec_of(service);
    if (service == NULL)
        doctor_wrong(r,
                     arena_printf(f->arena,
                                  "apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\nspec:\n"
                                  "  clusterIP: None\n  publishNotReadyAddresses: true\n"
                                  "  selector: %s\n  ports:\n  - {name: postgres, port: 5432}",
                                  name, wanted_selector(f, NULL, false)),
                     "Service %s, which the StatefulSet names (serviceName), is not there", name);
    else if (!str_eq(tree_get_string(spec, "clusterIP", NULL), "None"))
        doctor_wrong(r,
                     arena_printf(f->arena,
                                  "kubectl -n %s delete service %s, and create it with "
                                  "clusterIP: None",
                                  f->kube.namespace, name),
                     "Service %s is not headless (clusterIP: None): the pods have no names", name);
    else if (selector_of(service) == NULL || is_role(f, service, true) ||
             is_role(f, service, false) || !selects_cluster(f, service))
        doctor_wrong(r, mend_selector(f, service, NULL),
                     "Service %s does not select the cluster's pods, whatever their role", name);
    else if (!tree_get_bool(spec, "publishNotReadyAddresses", false))
        doctor_warn(r, patch(f, name, "{\"publishNotReadyAddresses\":true}"),
                    "Service %s: pods that are not ready have no name, and a new replica is never "
                    "found by it",
                    name);
    else
        doctor_ok(r, "Service %s gives each pod a name", name);
}

// --- variables that the kubelet makes of Services

// "howdah-etcd3" gives HOWDAH_ETCD3_PORT=tcp://…, which would be etcd3.port.
static const char *variable_taken(Arena *arena, const char *service)
{
    Text text = text_new(arena);
    for (const char *c = service; *c != '\0'; c++)
        text_add_char(&text, *c == '-'                ? '_'
                             : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A')
                                                      : *c);
    static const char *const endings[] = {"_SERVICE_HOST", "_SERVICE_PORT", "_PORT"};
    static const char *const prefixes[] = {"HOWDAH_", "PATRONI_"};
    for (size_t e = 0; e < COUNT_OF(endings); e++) {
        const char *name = arena_printf(arena, "%s%s", text.data, endings[e]);
        for (size_t p = 0; p < COUNT_OF(prefixes); p++) {
            if (!str_starts(name, prefixes[p]))
                continue;
            const char *rest = name + strlen(prefixes[p]);
            for (size_t i = 0; i < option_count; i++)
                if (str_eq(option_table[i].env, rest) ||
                    (str_starts(rest, "ETCD_") && str_starts(option_table[i].env, "ETCD3_") &&
                     str_eq(option_table[i].env + 6, rest + 5)))
                    return name;
        }
    }
    return NULL;
}

static bool has_links(const DoctorFacts *f)
{
    for (size_t i = 0; i < list_count(f->kube.pods.value); i++)
        if (tree_get_bool(spec_of(list_at(f->kube.pods.value, i)), "enableServiceLinks", true))
            return true;
    return false;
}

void check_service_links(const DoctorFacts *f, DoctorReport *r)
{
    if (!doctor_known(r, &f->kube.services, "Services") || !doctor_known(r, &f->kube.pods, "pods"))
        return;
    if (!has_links(f)) {
        doctor_ok(r, "enableServiceLinks is false: no Service's name becomes a setting");
        return;
    }
    size_t found = 0;
    for (size_t i = 0; i < list_count(f->kube.services.value); i++) {
        const char *name = object_name(list_at(f->kube.services.value, i));
        const char *variable = variable_taken(f->arena, name);
        if (variable == NULL)
            continue;
        doctor_wrong(r,
                     "enableServiceLinks: false in the spec of the pods' template, or another name "
                     "for the Service",
                     "Service %s puts %s=tcp://… into the pods' environment, where it is a setting",
                     name, variable);
        found++;
    }
    if (found == 0)
        doctor_ok(r, "no Service's name becomes a setting");
}
