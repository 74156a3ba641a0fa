// The front thread: accepts connections and keeps the time.
#include "api/exchange.h"
#include "common/os/files.h"
#include "common/os/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TICK_MS = 1000,          // while anybody is connected, or certificates may change
    IDENTITY_TICKS = 2,      // between looks at the certificate's files
    EXHAUSTED_WAIT_MS = 200, // after accept() ran out of descriptors or memory
    NS_IN_MS = 1000000,
};

// --- clients

static void add_client(Api *api, Client *client)
{
    pthread_mutex_lock(&api->clients_lock);
    client->next = api->clients;
    if (api->clients != NULL)
        api->clients->previous = client;
    api->clients = client;
    pthread_mutex_unlock(&api->clients_lock);
}

static void remove_client(Api *api, Client *client)
{
    pthread_mutex_lock(&api->clients_lock);
    if (client->previous != NULL)
        client->previous->next = client->next;
    else
        api->clients = client->next;
    if (client->next != NULL)
        client->next->previous = client->previous;
    const bool was_full = client->workers->connections-- >= CONNECTIONS_MAX;
    pthread_mutex_unlock(&api->clients_lock);
    if (was_full)
        api_wake(api); // there is room again
}

void client_waits(Client *client, Instant now)
{
    __atomic_store_n(&client->waiting_since_ns, now.ns, __ATOMIC_RELAXED);
}

void client_is_served(Client *client)
{
    __atomic_store_n(&client->waiting_since_ns, 0, __ATOMIC_RELAXED);
}

Client *client_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

void client_changed(void *workers, struct MHD_Connection *connection, void **context,
                    enum MHD_ConnectionNotificationCode what)
{
    Api *api = ((Workers *)workers)->api;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) { // the descriptor is still open
        Client *client = *context;
        *context = NULL;
        remove_client(api, client);
        identity_unref(client->identity);
        free(client);
        return;
    }
    Client *client = calloc(1, sizeof *client);
    ASSERT(client != NULL);
    client->workers = workers;
    client->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    client_waits(client, clock_now(api->clock));
    *context = client;
    add_client(api, client);
}

// Somebody who sends a byte every few seconds would hold his place for ever. libmicrohttpd only
// knows how long a connection has been silent.
static void cut_slow_clients(Api *api, Instant now)
{
    pthread_mutex_lock(&api->clients_lock);
    for (Client *client = api->clients; client != NULL; client = client->next) {
        const int64_t since = __atomic_load_n(&client->waiting_since_ns, __ATOMIC_RELAXED);
        if (since != 0 && now.ns - since > REQUEST_MS * (int64_t)NS_IN_MS)
            (void)shutdown(client->fd, SHUT_RDWR); // its worker sees the end and closes it
    }
    pthread_mutex_unlock(&api->clients_lock);
}

static size_t connected(Api *api)
{
    pthread_mutex_lock(&api->lock); // the workers may be replaced
    pthread_mutex_lock(&api->clients_lock);
    const size_t count = api->workers->connections;
    pthread_mutex_unlock(&api->clients_lock);
    pthread_mutex_unlock(&api->lock);
    return count;
}

// --- accepting

static void hand_out(Api *api, int fd, const struct sockaddr *address, socklen_t length)
{
    pthread_mutex_lock(&api->lock);
    Workers *workers = api->workers;
    pthread_mutex_lock(&api->clients_lock);
    workers->connections++;
    pthread_mutex_unlock(&api->clients_lock);
    if (!workers_add(workers, fd, address, length)) { // has closed it
        pthread_mutex_lock(&api->clients_lock);
        workers->connections--;
        pthread_mutex_unlock(&api->clients_lock);
    }
    pthread_mutex_unlock(&api->lock);
}

// How long to leave the listening socket alone, 0: not at all.
static int accept_waiting(Api *api)
{
    enum { AT_ONCE = 64 };
    for (int i = 0; i < AT_ONCE; i++) {
        if (connected(api) >= CONNECTIONS_MAX)
            return 0;
        struct sockaddr_storage address = {0};
        socklen_t length = sizeof address;
        const int fd = accept4(api->listen_fd, (struct sockaddr *)&address, &length,
                               SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            hand_out(api, fd, (const struct sockaddr *)&address, length);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return EXHAUSTED_WAIT_MS;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        // What else accept() says concerns a connection that is gone already.
    }
    return 0;
}

// --- certificates

// New files take effect for new connections. Half-replaced ones do not fit together: the old stay,
// and the next look will find them whole.
static void refresh_identity(Api *api, Error *said)
{
    pthread_mutex_lock(&api->lock);
    AUTO(policy_release) Policy *policy = policy_ref(api->policy);
    AUTO(identity_release)
    Identity *old = api->identity != NULL ? identity_ref(api->identity) : NULL;
    pthread_mutex_unlock(&api->lock);
    if (old == NULL)
        return;

    AUTO(identity_release) Identity *new = NULL;
    Error err = {0};
    if (!identity_load(&policy->settings, &new, &err)) {
        if (!str_eq(err.text, said->text))
            log_warn("certificate cannot be loaded, the old one stays error='%s'", err.text);
        *said = err;
        return;
    }
    *said = (Error){0};
    if (identity_equal(old, new))
        return;
    pthread_mutex_lock(&api->lock);
    const bool current = api->identity == old; // else api_configure was faster
    if (current) {
        api->identity = TAKE(new);
        identity_unref(old); // the api's reference; ours is still held
    }
    pthread_mutex_unlock(&api->lock);
    if (current)
        log_info("certificate changed, new connections get it file='%s'",
                 policy->settings.certfile);
}

// --- the loop

static int wait_ms(Api *api, Instant now, bool ticking)
{
    pthread_mutex_lock(&api->lock);
    const Instant next = exchanges_next_deadline(api);
    ticking = ticking || api->identity != NULL;
    pthread_mutex_unlock(&api->lock);
    int64_t wait = ticking ? TICK_MS : -1;
    if (instant_is_set(next)) {
        const int64_t left = deadline_left_ms(deadline_at(next), now) + 1; // never just too early
        wait = wait < 0 || left < wait ? left : wait;
    }
    return (int)wait;
}

static bool is_stopping(Api *api)
{
    pthread_mutex_lock(&api->lock);
    const bool stopping = api->stopping;
    pthread_mutex_unlock(&api->lock);
    return stopping;
}

static void drain_wake_fd(Api *api)
{
    uint64_t count;
    while (read(api->wake_fd, &count, sizeof count) > 0) {
    }
}

void *front_main(void *argument)
{
    Api *api = argument;
    Error said = {0};
    int pause_ms = 0;
    Instant last_tick = clock_now(api->clock);
    for (int ticks = 0; !is_stopping(api);) {
        const Instant now = clock_now(api->clock);
        const size_t clients = connected(api);
        const bool listening = clients < CONNECTIONS_MAX && pause_ms == 0;
        struct pollfd fds[] = {
            {.fd = api->wake_fd, .events = POLLIN},
            {.fd = listening ? api->listen_fd : -1, .events = POLLIN},
        };
        (void)poll(fds, COUNT_OF(fds), pause_ms > 0 ? pause_ms : wait_ms(api, now, clients > 0));
        drain_wake_fd(api);
        pause_ms = fds[1].revents != 0 ? accept_waiting(api) : 0;

        const Instant then = clock_now(api->clock);
        pthread_mutex_lock(&api->lock);
        exchanges_expire(api, then);
        pthread_mutex_unlock(&api->lock);
        if (instant_ms_between(last_tick, then) < TICK_MS)
            continue;
        last_tick = then;
        cut_slow_clients(api, then);
        if (++ticks % IDENTITY_TICKS == 0)
            refresh_identity(api, &said);
    }
    return NULL;
}
