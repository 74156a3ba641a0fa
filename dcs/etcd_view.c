#include "dcs/etcd_store.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

static void raise_event(int fd)
{
    const uint64_t one = 1;
    // Fails only when the counter is full: then it is readable all the same.
    const ssize_t written = write(fd, &one, sizeof one);
    (void)written;
}

void etcd_signal(Etcd *etcd, bool news)
{
    raise_event(etcd->progress_fd);
    if (news)
        raise_event(etcd->event_fd);
}

int64_t etcd_view_revision(Etcd *etcd)
{
    pthread_mutex_lock(&etcd->cache_mutex);
    const int64_t revision = etcd->cache.revision;
    pthread_mutex_unlock(&etcd->cache_mutex);
    return revision;
}

// Another store, or the same one from a backup: a linearizable read below what was seen before it
// was sent. Nothing we have can be continued then. Under the mutex.
static bool is_other_store(const Etcd *etcd, const EtcdReply *reply)
{
    const EtcdCache *cache = &etcd->cache;
    return cache->filled && reply->revision > 0 &&
           (reply->cluster_id != cache->cluster_id ||
            (reply->revision < cache->revision && instant_before(cache->seen_at, reply->sent_at)));
}

bool etcd_list(Etcd *etcd, EtcdClient *client, Arena *arena, Deadline deadline,
               int64_t *out_revision, Error *err)
{
    const EtcdRequest request = {
        .path = "/kv/range", .body = etcd_range_body(arena, etcd->base, NULL), .kind = ETCD_READ};
    EtcdReply reply = {0};
    if (!etcd_call(client, &request, deadline, &reply, err))
        return error_wrap(err, "read all keys");
    const EtcdKeys keys = etcd_keys_of(arena, etcd->base, reply.body);

    pthread_mutex_lock(&etcd->cache_mutex);
    const bool other = is_other_store(etcd, &reply);
    arena_reset(etcd->cache_arena);
    const bool news =
        etcd_cache_list(&etcd->cache, etcd->cache_arena, &keys, reply.revision, reply.cluster_id,
                        other, reply.sent_at, clock_now(etcd->shared.clock));
    pthread_mutex_unlock(&etcd->cache_mutex);
    etcd_signal(etcd, news);
    if (other && client != &etcd->watch) // its stream waits for revisions that will not come
        etcd_watch_restart(etcd, false);
    if (out_revision != NULL)
        *out_revision = reply.revision;
    return true;
}

static bool confirm(Etcd *etcd, const EtcdReply *reply, const Tree *probe)
{
    int64_t count = 0, newest = 0;
    etcd_probe_read(probe, &count, &newest);
    pthread_mutex_lock(&etcd->cache_mutex);
    const bool current = etcd_cache_confirm(&etcd->cache, reply->revision, reply->cluster_id, count,
                                            newest, reply->sent_at);
    pthread_mutex_unlock(&etcd->cache_mutex);
    return current;
}

bool etcd_probe(Etcd *etcd, EtcdClient *client, Arena *arena, Deadline deadline, bool *out_current,
                Error *err)
{
    const EtcdRequest request = {
        .path = "/kv/range", .body = etcd_probe_body(arena, etcd->base), .kind = ETCD_READ};
    EtcdReply reply = {0};
    if (!etcd_call(client, &request, deadline, &reply, err))
        return error_wrap(err, "probe the newest key");
    etcd_note_reply(etcd, &reply, NULL);
    *out_current = confirm(etcd, &reply, reply.body);
    return true;
}

void etcd_note_reply(Etcd *etcd, const EtcdReply *reply, const Tree *probe)
{
    enum { GRACE_MS = 30 }; // a stream that lives has it by then
    pthread_mutex_lock(&etcd->cache_mutex);
    const bool other = is_other_store(etcd, reply);
    etcd_cache_note_revision(&etcd->cache, reply->revision, reply->cluster_id, reply->sent_at);
    pthread_mutex_unlock(&etcd->cache_mutex);
    if (other) {
        etcd_watch_restart(etcd, true);
        return;
    }
    if (probe == NULL || !atomic_load(&etcd->watching) || confirm(etcd, reply, probe))
        return;
    if (!etcd_wait_for_view(etcd, reply->revision, GRACE_MS) && !confirm(etcd, reply, probe))
        etcd_watch_restart(etcd, false);
}

bool etcd_note_keepalive(Etcd *etcd, const EtcdReply *reply)
{
    pthread_mutex_lock(&etcd->cache_mutex);
    const EtcdCache *cache = &etcd->cache;
    const bool other = cache->filled && reply->cluster_id != cache->cluster_id;
    const bool behind = cache->filled && reply->revision > cache->revision;
    etcd_cache_note_revision(&etcd->cache, reply->revision, reply->cluster_id, reply->sent_at);
    pthread_mutex_unlock(&etcd->cache_mutex);
    if (other)
        etcd_watch_restart(etcd, true);
    return behind && !other;
}

bool etcd_wait_for_view(Etcd *etcd, int64_t revision, int64_t ms)
{
    Clock *clock = etcd->shared.clock;
    const Deadline deadline = deadline_in(clock, ms);
    for (;;) {
        if (etcd_view_revision(etcd) >= revision)
            return true;
        const int64_t left = deadline_left_ms(deadline, clock_now(clock));
        if (left == 0 || !atomic_load(&etcd->streaming))
            return false;
        struct pollfd ready = {.fd = etcd->progress_fd, .events = POLLIN};
        if (poll(&ready, 1, (int)left) > 0) {
            uint64_t count = 0;
            const ssize_t got = read(etcd->progress_fd, &count, sizeof count);
            (void)got; // only there to be cleared
        }
    }
}
