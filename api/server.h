// The inside of the REST server: what its files share. Everybody else wants api.h.
//
// Three kinds of threads: libmicrohttpd's workers, which run the handlers and never wait; the front
// thread, which accepts connections and keeps the time (deadlines, slow clients, certificates); and
// the sampler, which waits for Postgres on behalf of all who want positions.
#pragma once
#include "api/access.h"
#include "api/api.h"
#include "api/identity.h"
#include "api/reply.h"

#include <pthread.h>

enum {
    WORKER_COUNT = 2,
    CONNECTIONS_MAX = 1500,              // together; more wait in the backlog
    CONNECTION_MEMORY_BYTES = 16 * 1024, // bounds request line and headers
    BODY_LIMIT_BYTES = 1024 * 1024,
    IDLE_S = 15,            // nothing sent, nothing received
    REQUEST_MS = 30 * 1000, // from the last answer, or the accept, to the end of the next request
    SAMPLE_MS = 1000,
};

// libmicrohttpd's daemons behind one listening socket. A worker has no listening socket of its own:
// the front thread hands connections out, so that a new set of workers takes over without a gap.
typedef struct {
    struct Api *api;
    struct MHD_Daemon *daemons[WORKER_COUNT];
    size_t next;        // whose turn it is to get a connection
    bool retiring;      // nothing may be suspended any more
    size_t exchanges;   // under way
    size_t connections; // handed out and not closed; under clients_lock
} Workers;

// One connection, from accept to close.
typedef struct Client Client;
struct Client {
    Workers *workers;
    int fd;
    int64_t waiting_since_ns; // atomic; for its next request. 0: we have one in hand
    Identity *identity;       // TLS: the one its handshake was made with; NULL: plain, or not yet
    Client *previous, *next;
};

typedef struct Exchange Exchange;
typedef struct Route Route;

struct Api {
    ApiHost *host;
    Clock *clock;
    Resolver *resolver;
    int refs;      // atomic: one for the owner, one for every exchange
    int wake_fd;   // eventfd: makes the front thread look again
    int listen_fd; // replaced in place (dup3) when the address changes
    pthread_t front, sampler;
    bool fronting, sampling; // they were started

    pthread_mutex_t configuring; // one at a time

    pthread_mutex_t lock; // guards what follows, and the state of every exchange
    bool stopping;
    Policy *policy;
    Identity *identity; // NULL: no TLS
    Workers *workers;
    Exchange *suspended; // list
    pthread_cond_t sample_wanted;
    uint64_t sample_batch;

    pthread_mutex_t clients_lock;
    Client *clients; // list

    // The body of GET health checks, kept for as long as nothing in it changes.
    pthread_mutex_t page_lock;
    Snapshot *page_snapshot;
    bool page_cluster_known;
    Policy *page_policy;
    Reply *page;

    Reply *empty, *unready; // prebuilt
};

void api_ref(Api *api);
void api_unref(Api *api);
void api_wake(Api *api);      // the front thread
Policy *api_policy(Api *api); // a reference

// --- front.c
void *front_main(void *api);
void client_changed(void *workers, struct MHD_Connection *connection, void **context,
                    enum MHD_ConnectionNotificationCode what);
Client *client_of(struct MHD_Connection *connection);
void client_waits(Client *client, Instant now); // for its next request
void client_is_served(Client *client);

// --- workers.c
bool workers_start(Api *api, const Policy *policy, Workers **out, Error *err) MUST_CHECK;
// Answers what they have suspended, waits a moment for answers to leave, and stops.
void workers_stop(Workers *workers);
bool workers_add(Workers *workers, int fd, const struct sockaddr *address, socklen_t length);
// The setting as GnuTLS's priorities: taken as it is, or translated from OpenSSL's list of suites.
const char *tls_priorities(Arena *arena, const char *ciphers);
