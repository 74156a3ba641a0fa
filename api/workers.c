#include "api/exchange.h"
#include "common/os/log.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// libmicrohttpd's own messages are about single connections: nothing an operator should act on.
static void to_log(void *context, const char *format, va_list args) PRINTF_LIKE(2, 0);
static void to_log(void *context, const char *format, va_list args)
{
    char line[240];
    (void)context;
    if (!log_enabled(LOG_DEBUG))
        return;
    (void)vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("libmicrohttpd text='%s'", line);
}

static int serve_identity(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                          gnutls_pcert_st **certificates, unsigned int *count,
                          gnutls_ocsp_data_st **ocsp, unsigned int *ocsp_length,
                          gnutls_privkey_t *key, unsigned int *flags)
{
    (void)info, (void)ocsp, (void)flags;
    *ocsp_length = 0;
    Client *client = client_of(gnutls_session_get_ptr(session));
    Api *api = client->workers->api;
    if (client->identity == NULL) {
        pthread_mutex_lock(&api->lock);
        client->identity = identity_ref(api->identity);
        pthread_mutex_unlock(&api->lock);
    }
    return identity_serve(client->identity, session, certificates, count, key);
}

static struct MHD_Daemon *start_daemon(Workers *workers, bool tls, const char *priorities)
{
    struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem secure[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)priorities},
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)(uintptr_t)serve_identity},
        {MHD_OPTION_END, 0, NULL},
    };
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET |
                           MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0U);
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, workers, MHD_OPTION_EXTERNAL_LOGGER, to_log, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, workers, MHD_OPTION_NOTIFY_CONNECTION,
        client_changed, workers, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX + 1,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)256 * 1024, MHD_OPTION_ARRAY, tls ? secure : plain, MHD_OPTION_END);
}

bool workers_start(Api *api, const Policy *policy, Workers **out, Error *err)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const char *priorities = policy->tls ? tls_priorities(arena, policy->settings.ciphers) : NULL;
    Workers *workers = calloc(1, sizeof *workers);
    ASSERT(workers != NULL);
    workers->api = api;
    for (size_t i = 0; i < WORKER_COUNT; i++) {
        workers->daemons[i] = start_daemon(workers, policy->tls, priorities);
        if (workers->daemons[i] == NULL) {
            workers_stop(workers);
            return error_set(err, ERR_UNAVAILABLE,
                             "libmicrohttpd does not start: out of descriptors or threads");
        }
    }
    *out = workers;
    return true;
}

static size_t busy(Workers *workers)
{
    pthread_mutex_lock(&workers->api->lock);
    const size_t count = workers->exchanges;
    pthread_mutex_unlock(&workers->api->lock);
    return count;
}

void workers_stop(Workers *workers)
{
    enum { WAIT_MS = 10, WAITS = 50 };
    pthread_mutex_lock(&workers->api->lock);
    workers->retiring = true;
    // Stopping a daemon that has a connection suspended is an abort.
    exchanges_abandon(workers->api, workers);
    pthread_mutex_unlock(&workers->api->lock);
    for (int i = 0; i < WAITS && busy(workers) > 0; i++)
        (void)poll(NULL, 0, WAIT_MS);
    for (size_t i = 0; i < WORKER_COUNT; i++)
        if (workers->daemons[i] != NULL)
            MHD_stop_daemon(workers->daemons[i]);
    free(workers);
}

bool workers_add(Workers *workers, int fd, const struct sockaddr *address, socklen_t length)
{
    workers->next = (workers->next + 1) % WORKER_COUNT;
    return MHD_add_connection(workers->daemons[workers->next], fd, address, length) == MHD_YES;
}
