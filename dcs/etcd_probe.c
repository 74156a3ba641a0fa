// One endpoint of etcd, asked by itself: for `howdahctl doctor`.
#include "dcs/etcd_http.h"
#include "dcs/etcd_txn.h"
#include "dcs/probe.h"

// Which half of the way has failed: a refusal at authentication is not one of the prefix.
static bool ask(EtcdClient *client, Arena *arena, const char *path, const char *body,
                Deadline deadline, const Tree **out, Error *err)
{
    const EtcdRequest request = {.path = path, .body = body, .kind = ETCD_READ};
    EtcdReply reply = {0};
    if (!etcd_call(client, &request, deadline, &reply, err))
        return false;
    *out = tree_copy(arena, reply.body);
    return true;
}

EtcdEndpointFacts etcd_ask_endpoint(const EtcdSettings *settings, const char *url,
                                    const char *base_path, Arena *arena, Clock *clock,
                                    Resolver *resolver, Deadline deadline)
{
    EtcdEndpointFacts facts = {.url = url};
    EtcdShared shared;
    EtcdClient client;
    EtcdEndpoints only = {0};
    // As Patroni: cacert enables verification.
    const HttpOptions http = {.ca_file = settings->cacert,
                              .cert_file = settings->cert,
                              .key_file = settings->key,
                              .skip_verify = settings->cacert == NULL};
    const char *range = etcd_probe_body(arena, base_path);
    const Tree *ignored = NULL;
    Error err = {0};

    etcd_shared_init(&shared, clock);
    etcd_shared_set_credentials(&shared, settings->username, settings->password);
    (void)etcd_endpoints_add(&only, url);
    etcd_shared_set_configured(&shared, &only);
    etcd_client_init(&client, &shared, resolver, &http);
    // The status first: any node answers it, also one that has lost the others. A request goes out
    // once user and password were taken, so its answer shows that they were.
    facts.authenticated =
        ask(&client, arena, "/maintenance/status", "{}", deadline, &facts.status, &err);
    facts.readable =
        facts.authenticated && ask(&client, arena, "/kv/range", range, deadline, &ignored, &err);
    if (!facts.readable)
        facts.error = arena_strdup(arena, err.text);
    etcd_client_done(&client);
    etcd_shared_done(&shared);
    return facts;
}
