#include "dcs/open.h"

#include "dcs/etcd.h"
#include "dcs/kubernetes/announce.h"
#include "dcs/kubernetes/kubernetes.h"

static void open_etcd(const StoreOptions *o, Store *out)
{
    const EtcdOptions options = {.settings = &o->settings->etcd,
                                 .base_path = str_or(o->base_path, o->settings->base_path),
                                 .member = o->for_ctl ? NULL : o->settings->name,
                                 .watch = !o->for_ctl,
                                 .ttl_ms = o->ttl_ms,
                                 .loop_wait_ms = o->loop_wait_ms,
                                 .retry_timeout_ms = o->retry_timeout_ms,
                                 .clock = o->clock,
                                 .resolver = o->resolver};
    out->dcs = etcd_new(&options);
}

static Announcer *open_announcer(const StoreOptions *o, KubeAccess *access)
{
    const KubeAnnounceOptions options = {.settings = &o->settings->kubernetes,
                                         .scope = str_or(o->scope, o->settings->scope),
                                         .member = o->settings->name,
                                         .access = access,
                                         .ttl_ms = o->ttl_ms,
                                         .loop_wait_ms = o->loop_wait_ms,
                                         .retry_timeout_ms = o->retry_timeout_ms,
                                         .clock = o->clock,
                                         .resolver = o->resolver};
    return kube_announcer_new(&options);
}

static bool open_kubernetes(const StoreOptions *o, Store *out, Error *err)
{
    const KubernetesSettings *settings = &o->settings->kubernetes;
    const KubeAccessOptions how = {.cacert = settings->cacert, .context = settings->context};
    if (!kube_access_open(&how, o->clock, &out->access, err))
        return false;
    out->in_pod = kube_access_in_cluster(out->access);
    // Patroni: its command line does not leave the service's address.
    KubernetesSettings own = *settings;
    own.bypass_api_service = settings->bypass_api_service && !o->for_ctl;
    const KubernetesOptions options = {.settings = &own,
                                       .scope = str_or(o->scope, o->settings->scope),
                                       .member = o->for_ctl ? NULL : o->settings->name,
                                       .watch = !o->for_ctl,
                                       .access = out->access,
                                       .ttl_ms = o->ttl_ms,
                                       .loop_wait_ms = o->loop_wait_ms,
                                       .retry_timeout_ms = o->retry_timeout_ms,
                                       .clock = o->clock,
                                       .resolver = o->resolver};
    out->dcs = kubernetes_new(&options);
    if (!o->for_ctl)
        out->announcer = open_announcer(o, out->access);
    return true;
}

bool store_open(const StoreOptions *options, Store *out, Error *err)
{
    *out = (Store){0};
    switch (options->settings->store) {
    case STORE_ETCD:
        open_etcd(options, out);
        return true;
    case STORE_KUBERNETES:
        return open_kubernetes(options, out, err);
    }
    ASSERT(false);
}

void store_close(Store *store)
{
    announcer_free(store->announcer);
    dcs_free(store->dcs);
    kube_access_free(store->access);
    *store = (Store){0};
}

void store_set_credentials(Store *store, const Settings *settings)
{
    if (settings->store == STORE_ETCD)
        etcd_set_credentials(store->dcs, settings->etcd.username, settings->etcd.password);
}
