// The section kubernetes: names and defaults are Patroni's, store is ours.
#include "common/model/settings_check.h"

#include <inttypes.h>
#include <string.h>

// --- what Kubernetes takes for a name (its docs: "Object Names and IDs", "Labels and Selectors")

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// At most longest characters, letters and digits at both ends, and between them also those of more.
static bool is_name(const char *s, size_t length, size_t longest, const char *more)
{
    if (length == 0 || length > longest || !is_alnum(s[0]) || !is_alnum(s[length - 1]))
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_alnum(s[i]) && strchr(more, s[i]) == NULL)
            return false;
    return true;
}

static bool has_capitals(const char *s, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (s[i] >= 'A' && s[i] <= 'Z')
            return true;
    return false;
}

static bool is_object_name(const char *s, size_t length)
{
    return is_name(s, length, 253, "-.") && !has_capitals(s, length);
}

static bool is_label_value(const char *s)
{
    return s[0] == '\0' || is_name(s, strlen(s), 63, "-_.");
}

static bool is_label_key(const char *s)
{
    const char *slash = strchr(s, '/');
    if (slash != NULL && !is_object_name(s, (size_t)(slash - s)))
        return false;
    const char *name = slash == NULL ? s : slash + 1;
    return is_name(name, strlen(name), 63, "-_.");
}

// --- labels

static void check_key(Findings *findings, const Tree *section, const char *key)
{
    const char *text = text_at(section, key, NULL);
    if (text != NULL && !is_label_key(text))
        finding_error(findings, tree_get(section, key),
                      arena_printf(findings->arena, "kubernetes.%s", key),
                      "expected the name of a label, found '%.100s'", text);
}

static void check_label_value(Findings *findings, const Tree *section, const char *key)
{
    const char *text = text_at(section, key, NULL);
    if (text != NULL && !is_label_value(text))
        finding_error(findings, tree_get(section, key),
                      arena_printf(findings->arena, "kubernetes.%s", key),
                      "expected the value of a label (at most 63 letters, digits, '-', '_' and "
                      "'.'), found '%.100s'",
                      text);
}

static bool read_label(Findings *findings, const char *path, const TreeEntry *entry,
                       KubernetesLabel *out)
{
    const char *value = tree_scalar_text(findings->arena, entry->value);
    if (entry->value->kind == TREE_NULL)
        value = "";
    if (!is_label_key(entry->key)) {
        finding_error(findings, entry->value, path, "'%.100s' is not the name of a label",
                      entry->key);
        return false;
    }
    if (value == NULL || !is_label_value(value)) {
        finding_error(
            findings, entry->value, arena_printf(findings->arena, "%s.%s", path, entry->key),
            "expected the value of a label (at most 63 letters, digits, '-', '_' and "
            "'.'), found %s",
            value == NULL ? "a list or map" : arena_printf(findings->arena, "'%.100s'", value));
        return false;
    }
    *out = (KubernetesLabel){.key = entry->key, .value = value};
    return true;
}

static KubernetesLabels read_labels(Findings *findings, const Tree *section, const char *name)
{
    const Tree *map = tree_get(section, name);
    const char *path = arena_printf(findings->arena, "kubernetes.%s", name);
    KubernetesLabels labels = {0};
    if (map == NULL)
        return labels;
    labels.items = ARENA_ARRAY(findings->arena, KubernetesLabel, map->count);
    for (size_t i = 0; i < map->count; i++)
        if (read_label(findings, path, &map->entries[i], &labels.items[labels.count]))
            labels.count++;
    return labels;
}

// The scope's own label may be among the labels, as in Patroni's examples; the scope is what holds.
static void take_out_scope(Findings *findings, const Tree *section, const char *scope,
                           KubernetesSettings *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < out->labels.count; i++) {
        const KubernetesLabel label = out->labels.items[i];
        if (!str_eq(label.key, out->scope_label)) {
            out->labels.items[kept++] = label;
            continue;
        }
        if (scope != NULL && !str_eq(label.value, scope))
            finding_warning(findings, tree_get(section, "labels"), "kubernetes.labels",
                            "%s is '%s', but it holds the scope: '%s' is what will be used",
                            label.key, label.value, scope);
    }
    out->labels.count = kept;
}

// --- ports

static bool read_port(Findings *findings, const Tree *at, KubernetesPort *out)
{
    static const char *const protocols[] = {"TCP", "UDP", "SCTP"};
    const char *path = "kubernetes.ports";
    if (at->kind != TREE_MAP) {
        finding_error(findings, at, path, "expected a list of maps with name, port and protocol");
        return false;
    }
    const int64_t port = tree_get_int(at, "port", 0);
    *out = (KubernetesPort){.name = tree_string_of(tree_get(at, "name")),
                            .port = (int)port,
                            .protocol = tree_get_string(at, "protocol", "TCP")};
    bool known = false;
    for (size_t i = 0; i < COUNT_OF(protocols); i++)
        known = known || str_eq(out->protocol, protocols[i]);
    if (port < 1 || port > 65535)
        finding_error(findings, at, path, "expected a port from 1 to 65535");
    else if (!known)
        finding_error(findings, at, path, "expected protocol TCP, UDP or SCTP, found '%.20s'",
                      out->protocol);
    else
        return true;
    return false;
}

static void read_ports(Findings *findings, const Tree *section, KubernetesSettings *out)
{
    enum { POSTGRES_PORT = 5432 };
    const Tree *list = tree_get(section, "ports");
    out->ports = ARENA_ARRAY(findings->arena, KubernetesPort, list == NULL ? 1 : list->count + 1);
    if (list != NULL && list->kind != TREE_LIST)
        finding_error(findings, list, "kubernetes.ports",
                      "expected a list of maps with name, port and protocol");
    for (size_t i = 0; list != NULL && list->kind == TREE_LIST && i < list->count; i++)
        if (read_port(findings, list->entries[i].value, &out->ports[out->port_count]))
            out->port_count++;
    for (size_t i = 0; out->port_count > 1 && i < out->port_count; i++)
        if (str_empty(out->ports[i].name)) {
            finding_error(findings, list, "kubernetes.ports", "several ports need a name each");
            break;
        }
    if (out->port_count == 0)
        out->ports[out->port_count++] = (KubernetesPort){.port = POSTGRES_PORT, .protocol = "TCP"};
}

// --- codes: an integer, a list, or one text with commas

static void add_code(Findings *findings, const Tree *at, const char *text, KubernetesSettings *out)
{
    int64_t code;
    if (!parse_int64(text, &code) || code < 400 || code > 599) {
        finding_error(findings, at, "kubernetes.retriable_http_codes",
                      "expected HTTP status codes from 400 to 599, found '%.100s'", text);
        return;
    }
    out->retriable_http_codes[out->retriable_http_code_count++] = (int)code;
}

static void read_codes(Findings *findings, const Tree *section, KubernetesSettings *out)
{
    const Tree *value = tree_get(section, "retriable_http_codes");
    if (value == NULL)
        return;
    const char *text = tree_scalar_text(findings->arena, value);
    const size_t most = text != NULL ? strlen(text) : value->count;
    out->retriable_http_codes = ARENA_ARRAY(findings->arena, int, most);
    if (value->kind == TREE_MAP) {
        finding_error(findings, value, "kubernetes.retriable_http_codes", "expected a list");
        return;
    }
    for (size_t i = 0; text == NULL && i < value->count; i++) {
        const char *item = tree_scalar_text(findings->arena, value->entries[i].value);
        add_code(findings, value, str_or(item, ""), out);
    }
    while (text != NULL && *text != '\0') {
        text += strspn(text, ", \t");
        const size_t length = strcspn(text, ", \t");
        if (length > 0)
            add_code(findings, value, arena_strndup(findings->arena, text, length), out);
        text += length;
    }
}

// --- the rest

static KubernetesObjects read_objects(Findings *findings, const Tree *section)
{
    static const char *const words[] = {"endpoints", "configmaps", "leases"};
    const bool endpoints = bool_at(section, "use_endpoints", false);
    const char *store = text_at(section, "store", NULL);
    if (store == NULL)
        return endpoints ? KUBERNETES_ENDPOINTS : KUBERNETES_CONFIGMAPS;
    if (endpoints && !str_eq(store, "endpoints"))
        finding_warning(findings, tree_get(section, "use_endpoints"), "kubernetes.use_endpoints",
                        "has no effect: store says %s", store);
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_eq(store, words[i]))
            return (KubernetesObjects)i;
    return KUBERNETES_CONFIGMAPS;
}

static const char *read_namespace(Findings *findings, const Tree *local, const Tree *section)
{
    const bool top = text_at(local, "namespace", NULL) != NULL;
    const Tree *at = top ? local : section;
    const char *name = text_at(at, "namespace", NULL);
    if (str_empty(name))
        return NULL;
    if (!is_name(name, strlen(name), 63, "-") || has_capitals(name, strlen(name)))
        finding_error(findings, tree_get(at, "namespace"),
                      top ? "namespace" : "kubernetes.namespace",
                      "expected the name of a Kubernetes namespace, found '%.100s'", name);
    return name;
}

// Objects are named <scope>, <scope>-config, …, and it is the value of a label.
static void check_scope(Findings *findings, const Tree *local)
{
    const char *scope = text_at(local, "scope", NULL);
    if (str_empty(scope) || (is_object_name(scope, strlen(scope)) && is_label_value(scope)))
        return;
    finding_error(findings, tree_get(local, "scope"), "scope",
                  "expected a name for objects of Kubernetes: at most 63 lower-case letters, "
                  "digits, '-' and '.', found '%.100s'",
                  scope);
}

static void check_pod_ip(Findings *findings, const Tree *section, const char *ip)
{
    const size_t length = ip == NULL ? 0 : strlen(ip);
    if (length > 0 &&
        (strspn(ip, "0123456789abcdefABCDEF:.") != length || strpbrk(ip, ":.") == NULL))
        finding_error(findings, tree_get(section, "pod_ip"), "kubernetes.pod_ip",
                      "expected an address, found '%.100s'", ip);
}

static bool is_among(const KubernetesLabels *labels, const char *key)
{
    for (size_t i = 0; i < labels->count; i++)
        if (str_eq(labels->items[i].key, key))
            return true;
    return false;
}

// What selects the cluster's pods has to stay on them as it is; what says the role comes and goes.
static void check_clashes(Findings *findings, const Tree *section, const KubernetesSettings *k)
{
    const struct {
        const char *setting, *label;
    } roles[] = {{"role_label", k->role_label}, {"tmp_role_label", k->tmp_role_label}};
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        const char *path = arena_printf(findings->arena, "kubernetes.%s", roles[i].setting);
        if (is_among(&k->labels, roles[i].label) || str_eq(roles[i].label, k->scope_label))
            finding_error(findings, tree_get(section, roles[i].setting), path,
                          "'%.100s' is one of the labels that select the cluster's pods",
                          roles[i].label);
    }
    if (str_eq(k->role_label, k->tmp_role_label))
        finding_error(findings, tree_get(section, "tmp_role_label"), "kubernetes.tmp_role_label",
                      "it is role_label: a second label is meant");
    for (size_t i = 0; i < k->bootstrap_labels.count; i++) {
        const char *key = k->bootstrap_labels.items[i].key;
        if (is_among(&k->labels, key) || str_eq(key, k->scope_label) ||
            str_eq(key, k->role_label) || str_eq(key, k->tmp_role_label))
            finding_error(
                findings, tree_get(section, "bootstrap_labels"), "kubernetes.bootstrap_labels",
                "'%.100s' would be taken off with them: it selects the cluster's pods, or "
                "says their role",
                key);
    }
    if (str_eq(k->leader_label_value, k->follower_label_value))
        finding_warning(findings, tree_get(section, "leader_label_value"),
                        "kubernetes.leader_label_value",
                        "it is follower_label_value too: no Service can tell the primary from its "
                        "replicas");
}

static void read_section(Findings *findings, const Tree *local, const Tree *section,
                         KubernetesSettings *out)
{
    static const char *const keys[] = {"scope_label", "role_label", "tmp_role_label"};
    static const char *const values[] = {"leader_label_value", "follower_label_value",
                                         "standby_leader_label_value"};
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        check_key(findings, section, keys[i]);
    for (size_t i = 0; i < COUNT_OF(values); i++)
        check_label_value(findings, section, values[i]);
    *out = (KubernetesSettings){
        .objects = read_objects(findings, section),
        .namespace = read_namespace(findings, local, section),
        .labels = read_labels(findings, section, "labels"),
        .scope_label = text_at(section, "scope_label", "cluster-name"),
        .role_label = text_at(section, "role_label", "role"),
        .leader_label_value = text_at(section, "leader_label_value", "primary"),
        .follower_label_value = text_at(section, "follower_label_value", "replica"),
        .standby_leader_label_value = text_at(section, "standby_leader_label_value", "primary"),
        .tmp_role_label = text_at(section, "tmp_role_label", NULL),
        .bootstrap_labels = read_labels(findings, section, "bootstrap_labels"),
        .pod_ip = str_or(text_at(section, "pod_ip", NULL), NULL),
        .bypass_api_service = bool_at(section, "bypass_api_service", false),
        .cacert = str_or(text_at(section, "cacert", NULL), NULL),
        .context = str_or(text_at(section, "context", NULL), NULL),
    };
    check_clashes(findings, section, out);
    take_out_scope(findings, section, text_at(local, "scope", NULL), out);
    read_ports(findings, section, out);
    read_codes(findings, section, out);
    check_pod_ip(findings, section, out->pod_ip);
}

void settings_kubernetes(Findings *findings, const Tree *raw, const Tree *local, Settings *out)
{
    const Tree *section = tree_get(local, "kubernetes");
    if (section == NULL)
        return;
    const char *other = tree_get(local, "etcd3") != NULL  ? "etcd3"
                        : tree_get(local, "etcd") != NULL ? "etcd"
                                                          : NULL;
    if (other != NULL) { // Patroni: this order
        finding_warning(findings, section, "kubernetes", "ignored, since there is a section %s too",
                        other);
        return;
    }
    out->store = STORE_KUBERNETES;
    const Tree *labels = tree_path(raw, "kubernetes.labels"); // what is wrong has been reported
    if (labels == NULL || labels->kind == TREE_NULL ||
        (labels->kind == TREE_MAP && labels->count == 0))
        finding_error(findings, section, "kubernetes.labels",
                      "missing: labels that select the cluster's pods, like {application: howdah}");
    check_scope(findings, local);
    read_section(findings, local, section, &out->kubernetes);
}
