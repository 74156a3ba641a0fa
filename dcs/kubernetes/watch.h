// One collection, followed: listed, then watched from the list's version on, by a thread of its
// own: docs/kubernetes-api.md, "Watches".
//
// A stream that ends, as each does after four to five minutes, is continued where it was, without a
// gap and without a word. 410 Gone: listed again. Anything else: on_state(false), a wait of 0.1 to
// 1 s, listed again. How long a dead stream goes unnoticed: a connection whose peer is gone, about
// ttl (keepalive probes and TCP_USER_TIMEOUT); a server that accepts bytes but sends none, 90 s, in
// which a bookmark would have come (they come every 60 to 75 s). Whoever knows better, because a
// write's version does not show up, calls kube_watch_restart.
#pragma once
#include "dcs/kubernetes/client.h"

typedef enum { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED } KubeEvent;

// All on the watch's thread, one at a time; trees and texts are gone when the call returns. None
// may be NULL. They must not stop or free the watch.
typedef struct {
    // The whole collection (a list of objects, perhaps empty) as it was after asked_at; whatever is
    // not in it is gone. resource_version is the list's.
    void (*on_list)(void *context, const Tree *items, const char *resource_version,
                    Instant asked_at);
    // object as the server sent it; of KUBE_DELETED its last state, with the deletion's version.
    // at: when it arrived.
    void (*on_event)(void *context, KubeEvent event, const Tree *object, Instant at);
    // A bookmark: everything up to this version has been sent.
    void (*on_progress)(void *context, const char *resource_version, Instant at);
    // Called on changes only; before the first call it is broken. streaming: listed, and the server
    // has accepted the watch. why: of a broken one, "" otherwise.
    void (*on_state)(void *context, bool streaming, Instant since, const char *why);
} KubeWatchHandler;

typedef struct {
    KubeShared *shared;
    const char *path;  // "/api/v1/namespaces/ns/pods"; copied
    const char *query; // kube_label_query or kube_name_query; NULL: the whole collection; copied
    const KubeWatchHandler *handler; // outlives the watch
    void *context;
} KubeWatchOptions;

typedef struct KubeWatch KubeWatch;

// ERR_UNAVAILABLE: no thread to be had.
bool kube_watch_start(const KubeWatchOptions *options, KubeWatch **out, Error *err) MUST_CHECK;
// Waits for the thread, which has at most a pause between two tries to go. Accepts NULL.
void kube_watch_stop(KubeWatch *watch);
// The first half of it, for those who stop several: the thread ends, and is not waited for.
void kube_watch_end(KubeWatch *watch); // accepts NULL
// The stream has shown that it is behind, or dead: open another one, from a new list. Any thread.
void kube_watch_restart(KubeWatch *watch);
