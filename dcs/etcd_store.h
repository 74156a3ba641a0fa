// The store behind etcd.h, as its own files see it.
#pragma once
#include "dcs/etcd.h"
#include "dcs/etcd_cache.h"
#include "dcs/etcd_http.h"

#include <stdatomic.h>

typedef struct {
    Dcs dcs;
    EtcdShared shared;
    EtcdClient turn;  // the caller's thread
    EtcdClient watch; // the watcher's
    Resolver *resolver;
    const char *base, *member;    // in kept
    const char *srv, *srv_suffix; // in kept; NULL: endpoints are configured
    const char *protocol;         // in kept
    bool fixed;                   // no member discovery

    atomic_bool watching;
    pthread_t thread;
    atomic_bool stop;
    atomic_bool list_again; // what we have cannot be continued: take a listing
    atomic_bool streaming;  // the watch is open
    int event_fd;           // for the caller: something that wakes turns has changed
    int progress_fd;        // for ourselves: the view has moved on
    int stop_fd;            // for the watcher's waits

    Arena *arena; // scratch of the caller's thread, reset by each call
    Arena *kept;
    int64_t ttl_ms;
    _Atomic int64_t retry_timeout_ms; // the watcher reads it too
    const char *session;              // in kept; NULL: none open
    int64_t session_ttl_ms;
    int64_t own_term; // of our last acquire, and what its record said; 0: none by this process
    uint32_t own_parent_timeline;

    pthread_mutex_t cache_mutex;
    Arena *cache_arena; // scratch, under the mutex
    EtcdCache cache;
} Etcd;

#define ETCD_DISCOVERY_MS INT64_C(300000)

// --- etcd_discover.c: where the cluster is

// SRV records, when that is how endpoints are told: blocks on DNS, so never from a turn unless
// there is no watcher to do it. True when endpoints are known. again: look although they are.
bool etcd_discover_srv(Etcd *etcd, Arena *arena, bool again, Deadline deadline, Error *err)
    MUST_CHECK;
// Asks the cluster for its members when that was long ago. Failure is no matter: what we know
// stays.
void etcd_discover_members(Etcd *etcd, EtcdClient *client, Deadline deadline);
// "http://a:2379,…" out of a member list reply: pure.
void etcd_members_read(const Tree *reply, const char *protocol, const char *asked,
                       EtcdEndpoints *out);
// The targets of a DNS reply in the order of their priority, "host:port": pure.
bool etcd_srv_read(Arena *arena, const unsigned char *reply, int length, StringList *out);

// --- etcd_watch.c: the thread that keeps the view

bool etcd_watch_start(Etcd *etcd, Error *err) MUST_CHECK;
void etcd_watch_stop(Etcd *etcd);
// The stream has shown that it is behind, or dead: open another one. list: from a new listing.
void etcd_watch_restart(Etcd *etcd, bool list);

// --- etcd_view.c: the cached view, from both threads

void etcd_signal(Etcd *etcd, bool news); // after the view has changed
// Reads the whole prefix into the cache; *out_revision may be NULL.
bool etcd_list(Etcd *etcd, EtcdClient *client, Arena *arena, Deadline deadline,
               int64_t *out_revision, Error *err) MUST_CHECK;
// Asks whether the view is current. *out_current false: it is not.
bool etcd_probe(Etcd *etcd, EtcdClient *client, Arena *arena, Deadline deadline, bool *out_current,
                Error *err) MUST_CHECK;
// What a linearizable reply says of the view's age. probe NULL: the reply holds none.
void etcd_note_reply(Etcd *etcd, const EtcdReply *reply, const Tree *probe);
// The same of a keepalive, which any node answers: only a higher revision means something. True if
// the view has not reached it.
bool etcd_note_keepalive(Etcd *etcd, const EtcdReply *reply);
// Waits until the view has reached the revision, for at most ms. True if it has.
bool etcd_wait_for_view(Etcd *etcd, int64_t revision, int64_t ms);
int64_t etcd_view_revision(Etcd *etcd);

// --- etcd.c: what the calls of the caller's thread have in common

Etcd *etcd_of(Dcs *dcs);
Arena *etcd_begin(Etcd *etcd); // the scratch arena, empty: every call begins here
int64_t etcd_left_ms(const Etcd *etcd, Deadline deadline);
bool etcd_turn_call(Etcd *etcd, const char *path, const char *body, EtcdCallKind kind,
                    Deadline deadline, EtcdReply *out, Error *err) MUST_CHECK;
void etcd_wait_for_own_write(Etcd *etcd, const EtcdReply *reply, Deadline deadline);
bool etcd_op_view(Dcs *dcs, Arena *arena, ClusterView *out);

// --- etcd_leader.c: DcsOps

bool etcd_op_open_session(Dcs *dcs, int64_t ttl_ms, const char *resume, Deadline deadline,
                          const char **out_session, LeaseProof *out, Error *err);
bool etcd_op_keep_session(Dcs *dcs, Deadline deadline, LeaseProof *out, Error *err);
bool etcd_op_acquire(Dcs *dcs, const AcquireRequest *request, Deadline deadline, Acquired *out,
                     Error *err);
bool etcd_op_renew(Dcs *dcs, int64_t term, const char *status, Deadline deadline, LeaseProof *out,
                   Error *err);
bool etcd_op_release(Dcs *dcs, const ReleaseRequest *request, Deadline deadline, Error *err);
