#include "tests/support/etcd_lab.h"

Dcs *lab_store(const LabOptions *options)
{
    static Resolver *resolver;
    if (resolver == NULL)
        resolver = resolver_new();
    EtcdSettings settings = {.username = options->username,
                             .password = {options->password},
                             .cacert = options->cacert,
                             .cert = options->cert,
                             .key = options->key,
                             .protocol = "http",
                             .fixed = true};
    for (size_t i = 0; i < COUNT_OF(options->endpoints) && options->endpoints[i] != NULL; i++)
        string_list_add(&settings.endpoints, lab_arena, options->endpoints[i]);
    return etcd_new(&(EtcdOptions){.settings = &settings,
                                   .base_path = BASE,
                                   .member = options->member,
                                   .watch = options->watch,
                                   .ttl_ms = options->ttl_ms != 0 ? options->ttl_ms : 30000,
                                   .loop_wait_ms = 10000,
                                   .retry_timeout_ms = 10000,
                                   .clock = clock_system(),
                                   .resolver = resolver});
}

Dcs *lab_member(EtcdServer *server, const char *member)
{
    return lab_store(
        &(LabOptions){.member = member, .endpoints = {etcd_server_url(server)}, .watch = true});
}

static bool always(const ClusterView *view, const void *context)
{
    (void)view;
    (void)context;
    return true;
}

ClusterView lab_view(Dcs *dcs)
{
    return lab_wait(dcs, always, NULL, "a first view");
}

bool lab_is_vacant(const ClusterView *view, const void *kind)
{
    return view->leader.name == NULL && view->vacancy.kind == *(const VacancyKind *)kind;
}

bool lab_has_revision(const ClusterView *view, const void *revision)
{
    return view->revision >= *(const int64_t *)revision;
}
