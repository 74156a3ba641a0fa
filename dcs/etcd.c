#include "dcs/etcd.h"
#include "dcs/etcd_store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

// Below this ttl the timers are the fast ones.
#define FAST_TTL_BELOW_MS INT64_C(20000)
// An own write comes back over the watch within a millisecond or two; a turn that follows at once
// should not decide without it. It never has to wait longer than this.
#define OWN_WRITE_MS INT64_C(50)

Etcd *etcd_of(Dcs *dcs)
{
    return (Etcd *)(void *)dcs;
}

// Every call of the caller's thread begins here.
Arena *etcd_begin(Etcd *etcd)
{
    arena_reset(etcd->arena);
    return etcd->arena;
}

int64_t etcd_left_ms(const Etcd *etcd, Deadline deadline)
{
    return deadline_left_ms(deadline, clock_now(etcd->shared.clock));
}

// Without a watcher there is nobody else to look the endpoints up.
static bool endpoints_known(Etcd *etcd, Arena *arena, Deadline deadline, Error *err)
{
    return atomic_load(&etcd->watching) || etcd_discover_srv(etcd, arena, false, deadline, err);
}

bool etcd_turn_call(Etcd *etcd, const char *path, const char *body, EtcdCallKind kind,
                    Deadline deadline, EtcdReply *out, Error *err)
{
    const EtcdRequest request = {.path = path, .body = body, .kind = kind};
    return endpoints_known(etcd, etcd->arena, deadline, err) &&
           etcd_call(&etcd->turn, &request, deadline, out, err);
}

static const char *own_member_key(Etcd *etcd)
{
    ASSERT(etcd->member != NULL); // howdahctl has no member record
    return arena_printf(etcd->arena, "members/%s", etcd->member);
}

void etcd_wait_for_own_write(Etcd *etcd, const EtcdReply *reply, Deadline deadline)
{
    const int64_t left = etcd_left_ms(etcd, deadline);
    if (atomic_load(&etcd->watching))
        (void)etcd_wait_for_view(etcd, reply->revision, left < OWN_WRITE_MS ? left : OWN_WRITE_MS);
}

// --- the view

bool etcd_op_view(Dcs *dcs, Arena *arena, ClusterView *out)
{
    Etcd *etcd = etcd_of(dcs);
    pthread_mutex_lock(&etcd->cache_mutex);
    const bool known = etcd_cache_view(&etcd->cache, arena, out);
    pthread_mutex_unlock(&etcd->cache_mutex);
    return known;
}

static bool op_refresh(Dcs *dcs, Arena *arena, Deadline deadline, ClusterView *out, Error *err)
{
    Etcd *etcd = etcd_of(dcs);
    Arena *scratch = etcd_begin(etcd);
    bool current = false;
    if (!endpoints_known(etcd, scratch, deadline, err))
        return error_wrap(err, "read the store");
    // If the watcher is about to have it, its view is the better one: it knows how a leader went.
    if (atomic_load(&etcd->streaming)) {
        if (!etcd_probe(etcd, &etcd->turn, scratch, deadline, &current, err))
            return error_wrap(err, "read the store");
        for (int i = 0; i < 3 && !current; i++) {
            (void)etcd_wait_for_view(etcd, etcd_view_revision(etcd) + 1, OWN_WRITE_MS / 2);
            if (!etcd_probe(etcd, &etcd->turn, scratch, deadline, &current, err))
                return error_wrap(err, "read the store");
        }
    }
    if (!current && !etcd_list(etcd, &etcd->turn, scratch, deadline, NULL, err))
        return error_wrap(err, "read the store");
    return etcd_op_view(dcs, arena, out) || error_set(err, ERR_UNAVAILABLE, "nothing read yet");
}

// --- other keys

static bool op_put_member(Dcs *dcs, const char *json, Deadline deadline, Error *err)
{
    Etcd *etcd = etcd_of(dcs);
    EtcdReply reply = {0};
    (void)etcd_begin(etcd);
    if (etcd->session == NULL)
        return error_set(err, ERR_CONFLICT, "write member record: no session is open");
    const char *body =
        etcd_put_body(etcd->arena, etcd->base, own_member_key(etcd), json, etcd->session);
    if (!etcd_turn_call(etcd, "/kv/put", body, ETCD_REPEATABLE, deadline, &reply, err))
        return error_wrap(err, "write member record");
    etcd_note_reply(etcd, &reply, NULL);
    return true;
}

// Is what we wanted there now? value NULL: the key shall be absent.
static bool has_value(const RawKey *key, const char *value, int64_t above_revision)
{
    if (key == NULL || value == NULL)
        return key == NULL && value == NULL;
    return key->mod_revision > above_revision && key->length == strlen(value) &&
           memcmp(key->value, value, key->length) == 0;
}

// An unconditional write may not be repeated: it would undo what others wrote after the first copy.
static bool write_any(Etcd *etcd, const char *key, const char *value, Deadline deadline,
                      EtcdReply *reply, int64_t *out_revision, Error *err)
{
    const char *body = value != NULL ? etcd_put_body(etcd->arena, etcd->base, key, value, NULL)
                                     : etcd_delete_body(etcd->arena, etcd->base, key);
    const char *path = value != NULL ? "/kv/put" : "/kv/deleterange";
    if (etcd_turn_call(etcd, path, body, ETCD_ONCE, deadline, reply, err)) {
        *out_revision = reply->revision;
        return true;
    }
    if (err->kind != ERR_UNCERTAIN)
        return false;
    Error ignored = {0};
    if (!etcd_turn_call(etcd, "/kv/range", etcd_range_body(etcd->arena, etcd->base, key), ETCD_READ,
                        deadline, reply, &ignored))
        return false;
    const EtcdKeys keys = etcd_keys_of(etcd->arena, etcd->base, reply->body);
    const RawKey *is = keys.count > 0 ? &keys.keys[0] : NULL;
    *out_revision = is != NULL ? is->mod_revision : reply->revision;
    return has_value(is, value, 0);
}

static bool write_guarded(Etcd *etcd, const char *key, const char *value, int64_t expected,
                          Deadline deadline, EtcdReply *reply, int64_t *out_revision, Error *err)
{
    EtcdTxn txn = etcd_txn_new(etcd->arena, etcd->base);
    etcd_txn_compare_revision(&txn, key, expected);
    if (value != NULL)
        etcd_txn_put(&txn, key, value, NULL);
    else
        etcd_txn_delete(&txn, key);
    etcd_txn_range(&txn, ETCD_FAILURE, key);
    if (!etcd_turn_call(etcd, "/kv/txn", etcd_txn_body(&txn), ETCD_GUARDED, deadline, reply, err))
        return false;
    *out_revision = reply->revision;
    if (etcd_txn_succeeded(reply->body))
        return true;
    const RawKey *is = etcd_txn_key(etcd->arena, etcd->base, reply->body, 0);
    if (reply->perhaps_before && has_value(is, value, expected)) {
        *out_revision = is != NULL ? is->mod_revision : reply->revision;
        return true;
    }
    return error_set(err, ERR_CONFLICT, "it is at revision %" PRId64 ", not %" PRId64,
                     is != NULL ? is->mod_revision : 0, expected);
}

static bool op_write(Dcs *dcs, DcsKey which, const char *value, int64_t expected, Deadline deadline,
                     int64_t *out_revision, Error *err)
{
    Etcd *etcd = etcd_of(dcs);
    EtcdReply reply = {0};
    int64_t revision = 0;
    const char *key = records_key_name((int)which);
    (void)etcd_begin(etcd);
    const bool ok =
        expected == REVISION_ANY
            ? write_any(etcd, key, value, deadline, &reply, &revision, err)
            : write_guarded(etcd, key, value, expected, deadline, &reply, &revision, err);
    if (reply.revision > 0)
        etcd_note_reply(etcd, &reply, NULL);
    if (!ok)
        return error_wrap(err, "write '%s'", key);
    if (out_revision != NULL)
        *out_revision = revision;
    etcd_wait_for_own_write(etcd, &reply, deadline);
    return true;
}

static bool op_remove_cluster(Dcs *dcs, Deadline deadline, Error *err)
{
    Etcd *etcd = etcd_of(dcs);
    EtcdReply reply = {0};
    (void)etcd_begin(etcd);
    if (etcd_turn_call(etcd, "/kv/deleterange", etcd_delete_body(etcd->arena, etcd->base, NULL),
                       ETCD_ONCE, deadline, &reply, err))
        return true;
    Error ignored = {0};
    int64_t count = 0, newest = 0;
    if (err->kind == ERR_UNCERTAIN &&
        etcd_turn_call(etcd, "/kv/range", etcd_probe_body(etcd->arena, etcd->base), ETCD_READ,
                       deadline, &reply, &ignored)) {
        etcd_probe_read(reply.body, &count, &newest);
        if (count == 0)
            return true;
    }
    return error_wrap(err, "remove '%s'", etcd->base);
}

// --- the store itself

static int op_event_fd(Dcs *dcs)
{
    return etcd_of(dcs)->event_fd;
}

static void op_set_ttl(Dcs *dcs, int64_t ttl_ms, int64_t loop_wait_ms, int64_t retry_timeout_ms)
{
    Etcd *etcd = etcd_of(dcs);
    (void)loop_wait_ms; // sockets keep the keepalive times they were made with
    etcd->ttl_ms = ttl_ms;
    atomic_store(&etcd->retry_timeout_ms, retry_timeout_ms);
    atomic_store(&etcd->shared.short_tries, ttl_ms < FAST_TTL_BELOW_MS);
}

static void op_free(Dcs *dcs)
{
    Etcd *etcd = etcd_of(dcs);
    etcd_watch_stop(etcd);
    etcd_client_done(&etcd->turn);
    etcd_client_done(&etcd->watch);
    etcd_shared_done(&etcd->shared);
    etcd_cache_done(&etcd->cache);
    pthread_mutex_destroy(&etcd->cache_mutex);
    (void)close(etcd->event_fd); // eventfds: nothing to lose
    (void)close(etcd->progress_fd);
    (void)close(etcd->stop_fd);
    arena_free(etcd->arena);
    arena_free(etcd->cache_arena);
    arena_free(etcd->kept);
    free(etcd);
}

static const DcsOps ops = {
    .view = etcd_op_view,
    .refresh = op_refresh,
    .open_session = etcd_op_open_session,
    .keep_session = etcd_op_keep_session,
    .acquire = etcd_op_acquire,
    .renew = etcd_op_renew,
    .release = etcd_op_release,
    .put_member = op_put_member,
    .write = op_write,
    .remove_cluster = op_remove_cluster,
    .event_fd = op_event_fd,
    .set_ttl = op_set_ttl,
    .free = op_free,
};

static int new_eventfd(void)
{
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(fd >= 0); // out of file descriptors at the start
    return fd;
}

static HttpOptions http_options(const EtcdOptions *options)
{
    const EtcdSettings *settings = options->settings;
    return (HttpOptions){
        .ca_file = settings->cacert,
        .cert_file = settings->cert,
        .key_file = settings->key,
        .skip_verify = settings->cacert == NULL, // as Patroni: cacert enables verification
        .keepalive_idle_ms = options->loop_wait_ms + options->retry_timeout_ms,
        .tcp_user_timeout_ms = options->ttl_ms,
    };
}

static void set_endpoints(Etcd *etcd, const EtcdSettings *settings)
{
    EtcdEndpoints configured = {0};
    for (size_t i = 0; i < settings->endpoints.count; i++)
        (void)etcd_endpoints_add(&configured, settings->endpoints.items[i]); // twice is once
    const char *first = configured.count > 0 ? configured.url[0] : "";
    etcd->protocol = str_starts(first, "https://") ? "https"
                     : first[0] != '\0'
                         ? "http"
                         : arena_strdup(etcd->kept, str_or(settings->protocol, "http"));
    etcd->fixed = settings->fixed;
    etcd->srv = arena_strdup(etcd->kept, settings->srv);
    etcd->srv_suffix = arena_strdup(etcd->kept, settings->srv_suffix);
    etcd_shared_set_configured(&etcd->shared, &configured);
}

Dcs *etcd_new(const EtcdOptions *options)
{
    Etcd *etcd = calloc(1, sizeof *etcd);
    ASSERT(etcd != NULL); // out of memory
    etcd->dcs.ops = &ops;
    etcd->kept = arena_new(ARENA_CAP_DEFAULT);
    etcd->arena = arena_new(ARENA_CAP_DEFAULT);
    etcd->cache_arena = arena_new(4 * ARENA_CAP_DEFAULT); // two views and a listing at once
    etcd->resolver = options->resolver;
    etcd->base = arena_strdup(etcd->kept, options->base_path);
    etcd->member = arena_strdup(etcd->kept, options->member);
    etcd->event_fd = new_eventfd();
    etcd->progress_fd = new_eventfd();
    etcd->stop_fd = new_eventfd();
    const int failed = pthread_mutex_init(&etcd->cache_mutex, NULL);
    ASSERT(failed == 0);
    etcd_cache_init(&etcd->cache, options->member);

    etcd_shared_init(&etcd->shared, options->clock);
    etcd_shared_set_credentials(&etcd->shared, options->settings->username,
                                options->settings->password);
    set_endpoints(etcd, options->settings);
    op_set_ttl(&etcd->dcs, options->ttl_ms, options->loop_wait_ms, options->retry_timeout_ms);
    const HttpOptions http = http_options(options);
    etcd_client_init(&etcd->turn, &etcd->shared, options->resolver, &http);
    etcd_client_init(&etcd->watch, &etcd->shared, options->resolver, &http);

    Error err = {0};
    const bool watched = !options->watch || etcd_watch_start(etcd, &err);
    ASSERT(watched); // out of threads at the start
    return &etcd->dcs;
}

void etcd_set_credentials(Dcs *dcs, const char *username, Secret password)
{
    etcd_shared_set_credentials(&etcd_of(dcs)->shared, username, password);
}
