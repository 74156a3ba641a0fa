// The cluster's pods: labels, roles, and what of their specification ends badly.
#include "ctl/doctor.h"

#include <inttypes.h>
#include <string.h>

// The warden's bounds: agent/warden/warden.c, and 40-cluster.yaml says it, too.
enum { HAND_OVER_S = 60, FAST_SHUTDOWN_S = 30, GRACE_S = 120, GRACE_DEFAULT_S = 30 };

static const Tree *spec_of(const Tree *pod)
{
    return tree_get(pod, "spec");
}

// "statefulset/demo"; NULL: the pod is nobody's.
static const char *owner_of(Arena *arena, const Tree *pod)
{
    const Tree *owners = tree_get(tree_get(pod, "metadata"), "ownerReferences");
    if (list_count(owners) == 0)
        return NULL;
    const char *kind = tree_get_string(list_at(owners, 0), "kind", "");
    return str_eq(kind, "StatefulSet")
               ? arena_printf(arena, "statefulset/%s",
                              tree_get_string(list_at(owners, 0), "name", ""))
               : NULL;
}

// "kubectl -n ns patch statefulset/demo -p '…'", which makes the pods anew.
static const char *patch_template(const DoctorFacts *f, const Tree *pod, const char *spec)
{
    return arena_printf(
        f->arena,
        "kubectl -n %s patch %s -p '{\"spec\":{\"template\":{\"spec\":%s}}}'    # the "
        "pods are made anew",
        f->kube.namespace, str_or(owner_of(f->arena, pod), "statefulset NAME"), spec);
}

// --- labels

static const char *label_command(const DoctorFacts *f, const StrayPod *stray)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    Text line = text_new(f->arena);
    text_addf(&line, "kubectl -n %s label pod %s --overwrite", f->kube.namespace, stray->name);
    for (size_t i = 0; i < k->labels.count; i++)
        if (!str_eq(tree_get_string(stray->labels, k->labels.items[i].key, NULL),
                    k->labels.items[i].value))
            text_addf(&line, " %s=%s", k->labels.items[i].key, k->labels.items[i].value);
    if (!str_eq(tree_get_string(stray->labels, k->scope_label, NULL), f->scope))
        text_addf(&line, " %s=%s", k->scope_label, f->scope);
    text_add(&line, "\nand in the template of its StatefulSet, or the next pod lacks it again");
    return line.data;
}

static const char *wanted_labels(const DoctorFacts *f)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    Text text = text_new(f->arena);
    for (size_t i = 0; i < k->labels.count; i++)
        text_addf(&text, "%s=%s,", k->labels.items[i].key, k->labels.items[i].value);
    text_addf(&text, "%s=%s", k->scope_label, f->scope);
    return text.data;
}

void check_pod_labels(const DoctorFacts *f, DoctorReport *r)
{
    if (!doctor_known(r, &f->kube.pods, "pods"))
        return;
    const size_t count = list_count(f->kube.pods.value);
    for (size_t i = 0; i < f->kube.stray_count; i++)
        doctor_wrong(r, label_command(f, &f->kube.strays[i]),
                     "pod %s lacks one of the labels %s: it is no member to the others, and no "
                     "Service leads to it",
                     f->kube.strays[i].name, wanted_labels(f));
    if (count == 0)
        doctor_wrong(
            r,
            "kubernetes.labels, kubernetes.scope_label and scope must be the labels of the "
            "pods: kubectl get pods --show-labels",
            "no pod has the labels %s", wanted_labels(f));
    else if (f->kube.stray_count == 0)
        doctor_ok(r, "%zu pods have %s", count, wanted_labels(f));
}

static bool is_ending(const Tree *pod)
{
    return tree_get(tree_get(pod, "metadata"), "deletionTimestamp") != NULL;
}

static const char *role_of(const DoctorFacts *f, const Tree *pod)
{
    return tree_get_string(object_labels(pod), f->settings->kubernetes.role_label, NULL);
}

static bool has_leader_role(const DoctorFacts *f, const char *role)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    return role != NULL &&
           (str_eq(role, k->leader_label_value) || str_eq(role, k->standby_leader_label_value));
}

static const char *role_command(const DoctorFacts *f, const char *pod, const char *value)
{
    return arena_printf(
        f->arena,
        "kubectl -n %s label pod %s --overwrite %s=%s    # its agent does it by itself "
        "if it runs and may patch pods",
        f->kube.namespace, pod, f->settings->kubernetes.role_label, value);
}

// False: its label is not what it should be.
static bool has_right_role(const DoctorFacts *f, DoctorReport *r, const Tree *pod)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    const char *leader = f->view->leader.name, *name = object_name(pod), *role = role_of(f, pod);
    const bool labelled = has_leader_role(f, role), leads = str_eq(name, leader);
    if (leads && !labelled)
        doctor_wrong(r, role_command(f, name, k->leader_label_value),
                     "%s leads, and its label %s is %s: the primary's Service does not lead to it",
                     name, k->role_label, str_or(role, "missing"));
    else if (!leads && labelled)
        doctor_wrong(r, role_command(f, name, k->follower_label_value),
                     "%s has %s=%s, and %s leads: clients of the primary reach it", name,
                     k->role_label, role, str_or(leader, "nobody"));
    else if (role == NULL && !is_ending(pod))
        doctor_warn(r, role_command(f, name, k->follower_label_value),
                    "%s has no label %s: no Service leads to it", name, k->role_label);
    else
        return true;
    return false;
}

void check_pod_roles(const DoctorFacts *f, DoctorReport *r)
{
    const KubernetesSettings *k = &f->settings->kubernetes;
    if (!doctor_known(r, &f->kube.pods, "pods"))
        return;
    if (f->view == NULL) {
        doctor_skipped(r, "who leads is said by the store: %s", str_or(f->view_why, "no answer"));
        return;
    }
    const char *leader = f->view->leader.name;
    bool fine = true, leads = false;
    for (size_t i = 0; i < list_count(f->kube.pods.value); i++) {
        const Tree *pod = list_at(f->kube.pods.value, i);
        leads = leads || str_eq(object_name(pod), leader);
        fine = has_right_role(f, r, pod) && fine;
    }
    if (!fine)
        return;
    if (leads)
        doctor_ok(r, "%s alone has %s=%s, and leads", leader, k->role_label, k->leader_label_value);
    else
        doctor_wrong(r, "howdahctl explain    # who leads, and why nobody does",
                     "no pod has %s=%s: %s%s", k->role_label, k->leader_label_value,
                     str_or(leader, "nobody leads"),
                     leader != NULL ? " leads, and is none of them" : "");
}

// --- what the specification says

void check_grace(const DoctorFacts *f, DoctorReport *r)
{
    if (!doctor_known(r, &f->kube.pods, "pods"))
        return;
    size_t fine = 0;
    for (size_t i = 0; i < list_count(f->kube.pods.value); i++) {
        const Tree *pod = list_at(f->kube.pods.value, i);
        const int64_t grace =
            tree_get_int(spec_of(pod), "terminationGracePeriodSeconds", GRACE_DEFAULT_S);
        if (grace >= HAND_OVER_S + FAST_SHUTDOWN_S)
            fine++;
        else
            doctor_wrong(
                r,
                patch_template(
                    f, pod,
                    arena_printf(f->arena, "{\"terminationGracePeriodSeconds\":%d}", GRACE_S)),
                "%s: terminationGracePeriodSeconds is %" PRId64
                ": handing over may take %d s and a fast shutdown %d s, then it is killed",
                object_name(pod), grace, HAND_OVER_S, FAST_SHUTDOWN_S);
    }
    if (fine > 0)
        doctor_ok(r, "%zu pods have %d s or more", fine, HAND_OVER_S + FAST_SHUTDOWN_S);
}

// The name of the volume that a container sees at this directory; NULL: none.
static const char *volume_at(const Tree *container, const char *directory)
{
    const Tree *mounts = tree_get(container, "volumeMounts");
    for (size_t i = 0; i < list_count(mounts); i++)
        if (str_eq(tree_get_string(list_at(mounts, i), "mountPath", NULL), directory))
            return tree_get_string(list_at(mounts, i), "name", NULL);
    return NULL;
}

static bool mounts(const Tree *container, const char *volume)
{
    const Tree *list = tree_get(container, "volumeMounts");
    for (size_t i = 0; i < list_count(list); i++)
        if (str_eq(tree_get_string(list_at(list, i), "name", NULL), volume) &&
            tree_get(list_at(list, i), "subPath") == NULL)
            return true;
    return false;
}

// -1: whatever the image says.
static int64_t user_of(const Tree *pod, const Tree *container)
{
    const int64_t of_pod = tree_get_int(tree_get(spec_of(pod), "securityContext"), "runAsUser", -1);
    return tree_get_int(tree_get(container, "securityContext"), "runAsUser", of_pod);
}

// The warden takes connections of its own user alone, and PostgreSQL's files are its user's.
static bool users_agree(const DoctorFacts *f, DoctorReport *r, const Tree *pod,
                        const char *directory)
{
    const Tree *containers = tree_get(spec_of(pod), "containers"), *first = NULL;
    const char *volume = NULL;
    for (size_t i = 0; i < list_count(containers) && volume == NULL; i++)
        volume = volume_at(list_at(containers, i), directory);
    for (size_t i = 0; volume != NULL && i < list_count(containers); i++) {
        const Tree *container = list_at(containers, i);
        if (!mounts(container, volume))
            continue;
        if (first == NULL)
            first = container;
        if (user_of(pod, container) == user_of(pod, first))
            continue;
        doctor_wrong(
            r, "one runAsUser, in the securityContext of the pod, and none in its containers'",
            "%s: container %s runs as user %" PRId64 " and %s as %" PRId64
            " (-1: as the image says): the warden refuses the agent",
            object_name(pod), tree_get_string(first, "name", "?"), user_of(pod, first),
            tree_get_string(container, "name", "?"), user_of(pod, container));
        return false;
    }
    (void)f;
    return true;
}

static const char *directory_of(Arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL || slash == path ? "/"
                                          : arena_strndup(arena, path, (size_t)(slash - path));
}

void check_users(const DoctorFacts *f, DoctorReport *r)
{
    const char *socket = f->settings->howdah.socket;
    if (!doctor_known(r, &f->kube.pods, "pods"))
        return;
    if (str_empty(socket) || socket[0] != '/') {
        if (!f->is_agents)
            doctor_skipped(r,
                           "which containers share the warden's socket is said by howdah.socket of "
                           "an agent's settings");
        else
            doctor_ok(r, "one container: the agent starts its warden itself");
        return;
    }
    const char *directory = directory_of(f->arena, socket);
    size_t fine = 0;
    for (size_t i = 0; i < list_count(f->kube.pods.value); i++)
        fine += users_agree(f, r, list_at(f->kube.pods.value, i), directory) ? 1 : 0;
    if (fine > 0)
        doctor_ok(r, "in %zu pods the containers that share %s have the same user", fine,
                  directory);
}

void check_volume_group(const DoctorFacts *f, DoctorReport *r)
{
    if (!doctor_known(r, &f->kube.pods, "pods"))
        return;
    size_t fine = 0;
    for (size_t i = 0; i < list_count(f->kube.pods.value); i++) {
        const Tree *pod = list_at(f->kube.pods.value, i);
        const Tree *context = tree_get(spec_of(pod), "securityContext");
        if (tree_get(context, "fsGroup") == NULL ||
            str_eq(tree_get_string(context, "fsGroupChangePolicy", NULL), "OnRootMismatch"))
            fine++;
        else
            doctor_wrong(
                r,
                patch_template(f, pod,
                               "{\"securityContext\":{\"fsGroupChangePolicy\":"
                               "\"OnRootMismatch\"}}"),
                "%s: fsGroup without fsGroupChangePolicy: OnRootMismatch: each start opens "
                "the data directory to the group, and PostgreSQL does not start",
                object_name(pod));
    }
    if (fine > 0)
        doctor_ok(r, "%zu pods leave the data directory's permissions alone", fine);
}

// --- the same cluster in another mode of the store

enum { LONG_GONE_S = 600 }; // far beyond any ttl, and any difference of clocks worth running with

static const char *delete_command(const DoctorFacts *f, const KubeOtherMode *o)
{
    // The other mode's ConfigMap may be the one that we use, too: not that one, unless it is
    // theirs.
    const char *leader = arena_printf(f->arena, "kubectl -n %s delete %s", f->kube.namespace,
                                      str_or(o->leader_object, "?"));
    const char *config = arena_printf(f->arena, "kubectl -n %s delete %s", f->kube.namespace,
                                      str_or(o->config_object, "?"));
    if (o->leader != NULL && o->initialized)
        return arena_printf(f->arena, "%s\n%s", leader, config);
    return o->leader != NULL ? leader : config;
}

void check_other_stores(const DoctorFacts *f, DoctorReport *r)
{
    const bool here = f->view != NULL && initialize_is_valid(f->view->initialize);
    size_t fine = 0;
    for (size_t i = 0; i < KUBE_OTHER_MODES; i++) {
        const KubeOtherMode *o = &f->kube.others[i];
        const char *gone = delete_command(f, o);
        const char *mend =
            arena_printf(f->arena,
                         "kubernetes.store: %s in all members' settings; or, if that "
                         "one is gone for good:\n%s",
                         str_or(o->mode, "?"), gone);
        if (o->unread != NULL)
            doctor_skipped(r, "%s: %s", str_or(o->mode, "another mode"), o->unread);
        else if (o->leader != NULL && here && o->age_s >= LONG_GONE_S)
            doctor_warn(r, gone,
                        "%s still names %s as leader, renewed %" PRId64 " s ago: left over",
                        o->leader_object, o->leader, o->age_s);
        else if (o->leader != NULL)
            doctor_wrong(r, mend, "%s says that %s leads this cluster: two stores, two primaries",
                         o->leader_object, o->leader);
        else if (o->initialized && !here)
            doctor_wrong(r, mend, "%s holds the initialize of this cluster: nobody bootstraps here",
                         o->config_object);
        else if (o->initialized)
            doctor_warn(r, gone, "%s holds an initialize of this cluster, left over",
                        o->config_object);
        else
            fine++;
    }
    if (fine == KUBE_OTHER_MODES)
        doctor_ok(r, "no other mode of the store holds anything of %s", f->scope);
}
