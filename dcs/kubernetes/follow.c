// What the watches say goes into the cache, and so does what replies show.
#include "common/os/log.h"
#include "dcs/kubernetes/store.h"

#include <inttypes.h>
#include <unistd.h>

void kube_raise(int fd)
{
    const uint64_t one = 1;
    // Fails only when the counter is full: then it is readable all the same.
    const ssize_t written = write(fd, &one, sizeof one);
    (void)written;
}

void kube_signal(Kube *kube, bool news)
{
    kube_raise(kube->upkeep_fd);
    if (news)
        kube_raise(kube->event_fd);
}

static void note_streamed(KubeFollower *follower, int64_t version)
{
    if (version > follower->streamed)
        follower->streamed = version;
    if (follower->streamed >= follower->owed)
        follower->owed_since = (Instant){0};
}

// --- the watches, each on its own thread

static void on_list(void *context, const Tree *items, const char *resource_version,
                    Instant asked_at)
{
    KubeFollower *follower = context;
    Kube *kube = follower->kube;
    const int64_t version = kube_version_of(resource_version);
    pthread_mutex_lock(&kube->mutex);
    arena_reset(kube->cache_arena);
    const bool news = kube_cache_list(&kube->cache, kube->cache_arena, follower->collection, items,
                                      version, asked_at, kube_now(kube));
    follower->streamed = version; // also where the store went back
    follower->owed_since = (Instant){0};
    pthread_mutex_unlock(&kube->mutex);
    kube_signal(kube, news);
}

static void on_event(void *context, KubeEvent event, const Tree *object, Instant at)
{
    KubeFollower *follower = context;
    Kube *kube = follower->kube;
    const KubeKind kind = kube_collection_kind(kube->layout.mode, follower->collection);
    const Tree *metadata = tree_get(object, "metadata");
    const int64_t version = kube_version_of(tree_get_string(metadata, "resourceVersion", NULL));
    pthread_mutex_lock(&kube->mutex);
    arena_reset(kube->cache_arena);
    const bool news = event == KUBE_DELETED
                          ? kube_cache_remove(&kube->cache, kube->cache_arena, kind,
                                              tree_get_string(metadata, "name", ""), version, at)
                          : kube_cache_put(&kube->cache, kube->cache_arena, kind, object, at);
    note_streamed(follower, version);
    pthread_mutex_unlock(&kube->mutex);
    kube_signal(kube, news);
}

static void on_progress(void *context, const char *resource_version, Instant at)
{
    KubeFollower *follower = context;
    Kube *kube = follower->kube;
    const int64_t version = kube_version_of(resource_version);
    pthread_mutex_lock(&kube->mutex);
    kube_cache_progress(&kube->cache, follower->collection, version, at);
    note_streamed(follower, version);
    pthread_mutex_unlock(&kube->mutex);
}

static void on_state(void *context, bool streaming, Instant since, const char *why)
{
    KubeFollower *follower = context;
    Kube *kube = follower->kube;
    (void)since;
    (void)why; // the watch has said it
    pthread_mutex_lock(&kube->mutex);
    follower->streaming = streaming;
    pthread_mutex_unlock(&kube->mutex);
}

const KubeWatchHandler kube_follow = {
    .on_list = on_list, .on_event = on_event, .on_progress = on_progress, .on_state = on_state};

bool kube_heard_since(Kube *kube, Instant since)
{
    bool heard = kube->watching;
    pthread_mutex_lock(&kube->mutex);
    for (KubeCollection c = 0; c < kube_collection_count(kube->layout.mode); c++)
        heard = heard && kube->followers[c].streaming;
    heard = heard && !instant_before(kube->cache.collections[COLLECTION_STATE].heard_at, since);
    pthread_mutex_unlock(&kube->mutex);
    return heard;
}

// --- replies

// Its stream has to show this version too, or it is behind: the upkeep thread looks after it.
static void owe(Kube *kube, KubeKind kind, int64_t version)
{
    const KubeCollection collection = kube_collection_of(kube->layout.mode, kind);
    if (collection == COLLECTION_COUNT)
        return;
    KubeFollower *follower = &kube->followers[collection];
    if (version > follower->streamed && version > follower->owed) {
        follower->owed = version;
        if (!instant_is_set(follower->owed_since))
            follower->owed_since = kube_now(kube);
    }
}

void kube_take_reply(Kube *kube, KubeKind kind, const char *name, const KubeReply *reply)
{
    pthread_mutex_lock(&kube->mutex);
    arena_reset(kube->cache_arena);
    const Instant now = kube_now(kube);
    bool news = false;
    if (reply->body != NULL) {
        news = kube_cache_put(&kube->cache, kube->cache_arena, kind, reply->body, now);
        owe(kube, kind, kube_version_of(reply->resource_version));
    } else if (reply->status == 404) {
        news = kube_cache_remove(&kube->cache, kube->cache_arena, kind, name, 0, now);
    }
    pthread_mutex_unlock(&kube->mutex);
    kube_signal(kube, news);
}

bool kube_read_object(Kube *kube, KubeClient *client, Arena *arena, KubeKind kind, const char *name,
                      Deadline deadline, bool *out_there, Error *err)
{
    const KubeRequest request = {.method = KUBE_GET,
                                 .path = kube_path(arena, &kube->layout, kind, name)};
    KubeReply reply = {0};
    if (!kube_call(client, arena, &request, deadline, &reply, err))
        return error_wrap(err, "read %s '%s'", kube_kind_name(kind), name);
    kube_take_reply(kube, kind, name, &reply);
    if (out_there != NULL)
        *out_there = reply.body != NULL;
    return true;
}

bool kube_list_collection(Kube *kube, Arena *arena, KubeCollection collection, Deadline deadline,
                          Error *err)
{
    const KubeKind kind = kube_collection_kind(kube->layout.mode, collection);
    const KubeRequest request = {.method = KUBE_GET,
                                 .path = kube_path(arena, &kube->layout, kind, NULL),
                                 .query = kube_label_query(arena, kube->layout.labels,
                                                           kube->layout.scope_label,
                                                           kube->layout.scope)};
    KubeReply reply = {0};
    if (!kube_call(&kube->turn, arena, &request, deadline, &reply, err))
        return error_wrap(err, "list %s", kube_kind_name(kind));
    const Tree *items = tree_get(reply.body, "items");
    const int64_t version = kube_version_of(reply.resource_version);
    if (version == 0 || (items != NULL && items->kind != TREE_LIST && items->kind != TREE_NULL))
        return error_set(err, ERR_INVALID, "list %s: not a list", kube_kind_name(kind));
    pthread_mutex_lock(&kube->mutex);
    arena_reset(kube->cache_arena);
    const bool news =
        kube_cache_list(&kube->cache, kube->cache_arena, collection,
                        items != NULL && items->kind == TREE_LIST ? items : tree_list(arena),
                        version, reply.sent_at, kube_now(kube));
    pthread_mutex_unlock(&kube->mutex);
    kube_signal(kube, news);
    return true;
}
