#include "api/exchange.h"
#include "api/listen.h"
#include "common/os/files.h"
#include "common/os/log.h"
#include "common/os/thread.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

// --- life

void api_ref(Api *api)
{
    (void)__atomic_add_fetch(&api->refs, 1, __ATOMIC_RELAXED); // nobody needs the count
}

void api_unref(Api *api)
{
    if (__atomic_sub_fetch(&api->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    policy_unref(api->policy);
    identity_unref(api->identity);
    reply_unref(api->page);
    snapshot_unref(api->page_snapshot);
    policy_unref(api->page_policy);
    reply_unref(api->empty);
    reply_unref(api->unready);
    fd_release(&api->wake_fd);
    fd_release(&api->listen_fd);
    pthread_mutex_destroy(&api->configuring);
    pthread_mutex_destroy(&api->lock);
    pthread_cond_destroy(&api->sample_wanted);
    pthread_mutex_destroy(&api->clients_lock);
    pthread_mutex_destroy(&api->page_lock);
    free(api);
}

static void api_release(Api **api)
{
    if (*api != NULL)
        api_unref(*api);
}

static Api *api_new(const ApiOptions *options)
{
    enum { UNAVAILABLE = 503 };
    Api *api = calloc(1, sizeof *api);
    ASSERT(api != NULL);
    *api = (Api){.host = options->host,
                 .clock = options->clock,
                 .resolver = options->resolver,
                 .refs = 1,
                 .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                 .listen_fd = -1,
                 .empty = reply_empty(),
                 .unready = reply_page(UNAVAILABLE)};
    pthread_mutex_init(&api->configuring, NULL);
    pthread_mutex_init(&api->lock, NULL);
    pthread_cond_init(&api->sample_wanted, NULL);
    pthread_mutex_init(&api->clients_lock, NULL);
    pthread_mutex_init(&api->page_lock, NULL);
    return api;
}

void api_wake(Api *api)
{
    const uint64_t one = 1;
    // Full means that it is awake already.
    const ssize_t ignored = write(api->wake_fd, &one, sizeof one);
    (void)ignored;
}

Policy *api_policy(Api *api)
{
    pthread_mutex_lock(&api->lock);
    Policy *policy = policy_ref(api->policy);
    pthread_mutex_unlock(&api->lock);
    return policy;
}

// --- putting settings into force

// What is needed for them, all of it ready before anything is changed.
typedef struct {
    Policy *policy;
    Identity *identity; // NULL: no TLS
    int listen_fd;      // -1: the old one stays
    Workers *workers;   // NULL: the old ones stay
} Prepared;

static void prepared_release(Prepared *p)
{
    policy_unref(p->policy);
    identity_unref(p->identity);
    fd_release(&p->listen_fd);
    if (p->workers != NULL)
        workers_stop(p->workers);
}

static bool same_address(const Address *a, const Address *b)
{
    return str_eq(str_or(a->host, "*"), str_or(b->host, "*")) && a->port == b->port;
}

// Certificates are swapped under running connections; what a connection was let in by is not.
static bool same_connections(const Policy *a, const Policy *b)
{
    return a->tls == b->tls && str_eq(a->settings.ciphers, b->settings.ciphers) &&
           a->settings.verify_client == b->settings.verify_client &&
           str_eq(a->settings.cafile, b->settings.cafile);
}

static bool prepare(Api *api, const RestSettings *settings, const Policy *old, Prepared *p,
                    Error *err)
{
    if (!policy_new(settings, &p->policy, err))
        return false;
    if (p->policy->tls && !identity_load(&p->policy->settings, &p->identity, err))
        return false;
    const bool stay = old != NULL && same_connections(old, p->policy);
    return stay || workers_start(api, p->policy, &p->workers, err);
}

// Takes effect for connections accepted from now on, and for requests that begin from now on.
static void put_in_force(Api *api, Prepared *p)
{
    pthread_mutex_lock(&api->lock);
    Policy *const old_policy = api->policy;
    Identity *const old_identity = api->identity;
    Workers *const old_workers = api->workers;
    api->policy = TAKE(p->policy);
    api->identity = TAKE(p->identity);
    if (p->workers != NULL)
        api->workers = TAKE(p->workers);
    const bool replaced = api->workers != old_workers;
    Policy *const policy = policy_ref(api->policy);
    pthread_mutex_unlock(&api->lock);

    pthread_mutex_lock(&api->page_lock);
    policy_unref(api->page_policy);
    api->page_policy = policy;
    reply_unref(api->page); // made with the old headers
    api->page = NULL;
    snapshot_release(&api->page_snapshot);
    pthread_mutex_unlock(&api->page_lock);

    policy_unref(old_policy);
    if (replaced && old_workers != NULL)
        workers_stop(old_workers);
    identity_unref(old_identity);
}

// Puts it under the listening socket's number: the front thread need not know. It may be polling
// the old one, which keeps that alive for a moment: shut down, it no longer holds its address.
static bool replace_socket(Api *api, int *fd, Error *err)
{
    (void)shutdown(api->listen_fd, SHUT_RDWR); // fails for what is no listening socket
    if (dup3(*fd, api->listen_fd, O_CLOEXEC) < 0)
        return error_set(err, ERR_UNAVAILABLE, "restapi.listen: cannot replace the socket");
    fd_release(fd);
    api_wake(api);
    return true;
}

// Overlapping addresses, 127.0.0.1 and * say, cannot both be bound: then the old one goes first,
// and comes back should the new one not be had.
static bool rebind(Api *api, const Address *old, const Address *new, Error *err)
{
    enum { NAME_MS = 2000 };
    AUTO(fd_release) int fd = -1;
    const Deadline deadline = deadline_in(api->clock, NAME_MS);
    bool in_use;
    if (listen_open(new, api->resolver, deadline, &fd, &in_use, err))
        return replace_socket(api, &fd, err);
    if (!in_use || old->port != new->port)
        return false;

    AUTO(fd_release) int nothing = eventfd(0, EFD_CLOEXEC);
    if (nothing < 0 || !replace_socket(api, &nothing, err))
        return false;
    if (listen_open(new, api->resolver, deadline, &fd, &in_use, err))
        return replace_socket(api, &fd, err);
    Error lost = {0};
    if (!listen_open(old, api->resolver, deadline, &fd, &in_use, &lost) ||
        !replace_socket(api, &fd, &lost))
        log_error("REST API has lost its address error='%s'", lost.text);
    return false;
}

bool api_configure(Api *api, const RestSettings *settings, Error *err)
{
    AUTO(prepared_release) Prepared prepared = {.listen_fd = -1};
    AUTO(policy_release) Policy *old = api_policy(api);
    pthread_mutex_lock(&api->configuring);
    const bool ok = prepare(api, settings, old, &prepared, err) &&
                    (same_address(&old->settings.listen, &settings->listen) ||
                     rebind(api, &old->settings.listen, &settings->listen, err));
    if (ok)
        put_in_force(api, &prepared);
    pthread_mutex_unlock(&api->configuring);
    return ok;
}

// --- start and stop

bool api_start(const ApiOptions *options, Api **out, Error *err)
{
    enum { NAME_MS = 5000 };
    AUTO(api_release) Api *api = api_new(options);
    AUTO(prepared_release) Prepared prepared = {.listen_fd = -1};
    bool in_use;
    if (api->wake_fd < 0)
        return error_set(err, ERR_UNAVAILABLE, "REST API: out of descriptors");
    if (!prepare(api, options->settings, NULL, &prepared, err) ||
        !listen_open(&options->settings->listen, api->resolver, deadline_in(api->clock, NAME_MS),
                     &api->listen_fd, &in_use, err))
        return false;
    put_in_force(api, &prepared);
    api->sampling = thread_start(&api->sampler, 0, sampler_main, api) == 0;
    api->fronting = thread_start(&api->front, 0, front_main, api) == 0;
    if (!api->sampling || !api->fronting) {
        api_stop(TAKE(api));
        return error_set(err, ERR_UNAVAILABLE, "REST API: out of threads");
    }
    *out = TAKE(api);
    return true;
}

void api_stop(Api *api)
{
    pthread_mutex_lock(&api->lock);
    api->stopping = true;
    pthread_cond_broadcast(&api->sample_wanted);
    pthread_mutex_unlock(&api->lock);
    api_wake(api);
    if (api->fronting)
        pthread_join(api->front, NULL);
    fd_release(&api->listen_fd); // whoever comes now is refused, and goes to another member
    workers_stop(api->workers);
    if (api->sampling)
        pthread_join(api->sampler, NULL);
    api_unref(api);
}
