// The store: linearizable, with revisions, transactions, and leases that end on its own clock.
#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

static char *copy_of(const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    ASSERT(!text || copy);
    return copy;
}

void store_init(Sim *sim)
{
    sim->store.cluster_id = 1;
    sim->store.revision = 1;
}

static void forget_keys(Store *store)
{
    for (size_t i = 0; i < store->key_count; i++) {
        free(store->keys[i].key);
        free(store->keys[i].value);
    }
    store->key_count = 0;
}

void store_done(Sim *sim)
{
    Store *store = &sim->store;
    forget_keys(store);
    free(store->keys);
    free(store->leases);
    for (size_t i = 0; i < store->log_count; i++) {
        free(store->log[i].key);
        free(store->log[i].value);
    }
    free(store->log);
}

static StoreKey *find(Store *store, const char *key)
{
    for (size_t i = 0; i < store->key_count; i++)
        if (str_eq(store->keys[i].key, key))
            return &store->keys[i];
    return NULL;
}

const StoreKey *store_key(const Sim *sim, const char *key)
{
    for (size_t i = 0; i < sim->store.key_count; i++)
        if (str_eq(sim->store.keys[i].key, key))
            return &sim->store.keys[i];
    return NULL;
}

// --- transactions

void store_begin(Sim *sim)
{
    sim->store.revision++;
}

static void record(Store *store, const StoreKey *key, bool deleted)
{
    if (store->log_count == store->log_capacity) {
        store->log_capacity = store->log_capacity ? 2 * store->log_capacity : 256;
        store->log = realloc(store->log, store->log_capacity * sizeof *store->log);
        ASSERT(store->log);
    }
    store->log[store->log_count++] = (StoreChange){
        .key = copy_of(key->key),
        .value = deleted ? NULL : copy_of(key->value),
        .create_revision = key->create_revision,
        .mod_revision = store->revision,
        .lease = key->lease,
        .store = store->cluster_id,
    };
}

void store_put(Sim *sim, const char *name, const char *value, int64_t lease)
{
    Store *store = &sim->store;
    StoreKey *key = find(store, name);
    if (str_eq(name, "initialize"))
        check_initialize(sim, key ? key->value : NULL, value);
    if (!key) {
        if (store->key_count == store->key_capacity) {
            store->key_capacity = store->key_capacity ? 2 * store->key_capacity : 32;
            store->keys = realloc(store->keys, store->key_capacity * sizeof *store->keys);
            ASSERT(store->keys);
        }
        key = &store->keys[store->key_count++];
        *key = (StoreKey){.key = copy_of(name), .create_revision = store->revision};
    }
    char *kept = copy_of(value); // value may be the old one
    free(key->value);
    key->value = kept;
    key->length = strlen(value);
    key->mod_revision = store->revision;
    key->lease = lease;
    record(store, key, false);
}

void store_delete(Sim *sim, const char *name)
{
    Store *store = &sim->store;
    StoreKey *key = find(store, name);
    if (!key)
        return;
    if (str_eq(name, "initialize"))
        check_initialize(sim, key->value, NULL);
    if (str_eq(name, "leader"))
        store->vacant_since = sim->now;
    record(store, key, true);
    free(key->key);
    free(key->value);
    *key = store->keys[--store->key_count];
}

int64_t store_end(Sim *sim, const char *who)
{
    const Store *store = &sim->store;
    char text[200] = "";
    size_t used = 0;
    for (size_t i = store->log_count; i-- > 0 && store->log[i].mod_revision == store->revision &&
                                      store->log[i].store == store->cluster_id &&
                                      used < sizeof text - 40;)
        used += (size_t)snprintf(text + used, sizeof text - used, " %s%.30s",
                                 store->log[i].value ? "" : "-", store->log[i].key);
    trace(sim, "store  r%lld by %s:%s", (long long)store->revision, who, text);
    dcs_news(sim);
    return store->revision;
}

// --- leases

StoreLease *store_lease(Sim *sim, int64_t id)
{
    for (size_t i = 0; id != 0 && i < sim->store.lease_count; i++)
        if (sim->store.leases[i].id == id)
            return &sim->store.leases[i];
    return NULL;
}

// etcd looks for expired leases every 0.5 s, and takes all keys of one with it in one revision.
static void expire(Sim *sim, void *context, uint64_t id)
{
    (void)context;
    Store *store = &sim->store;
    StoreLease *lease = store_lease(sim, (int64_t)id);
    if (!lease)
        return;
    if (lease->expires_at > sim->now || store->state != STORE_UP) {
        // Without a majority nothing expires; the looks go on.
        const int64_t at = lease->expires_at > sim->now ? lease->expires_at : sim->now;
        sim_at(sim, at + roll(sim, 0, MS(500)), NULL, expire, NULL, id);
        return;
    }
    bool any = false;
    for (size_t i = store->key_count; i-- > 0;) {
        if (store->keys[i].lease != lease->id)
            continue;
        if (!any)
            store_begin(sim);
        any = true;
        store_delete(sim, store->keys[i].key);
    }
    lease->id = 0;
    if (any)
        (void)store_end(sim, "expiry");
}

// Leases of requests whose replies were lost pile up for a time.
static StoreLease *free_lease(Store *store)
{
    for (size_t i = 0; i < store->lease_count; i++)
        if (store->leases[i].id == 0)
            return &store->leases[i];
    store->leases = realloc(store->leases, (store->lease_count + 1) * sizeof *store->leases);
    ASSERT(store->leases);
    return &store->leases[store->lease_count++];
}

int64_t store_grant(Sim *sim, int64_t ttl_ms)
{
    Store *store = &sim->store;
    StoreLease *lease = free_lease(store);
    *lease = (StoreLease){
        .id = 7000000 + ++store->lease_ids, .ttl_ms = ttl_ms, .expires_at = sim->now + MS(ttl_ms)};
    sim_at(sim, lease->expires_at + roll(sim, 0, MS(500)), NULL, expire, NULL, (uint64_t)lease->id);
    return lease->id;
}

// One that is over is not brought back, even before its keys are gone. ttl_ms 0: as it was granted.
bool store_keepalive(Sim *sim, int64_t id, int64_t ttl_ms, int64_t *out_ttl_ms)
{
    StoreLease *lease = store_lease(sim, id);
    if (!lease || lease->expires_at <= sim->now)
        return false;
    if (ttl_ms > 0 && ttl_ms < lease->ttl_ms) // it may be over before the next look
        sim_in(sim, MS(ttl_ms), NULL, expire, NULL, (uint64_t)id);
    if (ttl_ms > 0)
        lease->ttl_ms = ttl_ms;
    lease->expires_at = sim->now + MS(lease->ttl_ms);
    *out_ttl_ms = lease->ttl_ms;
    return true;
}

// --- what people and accidents do to it

void sim_store(Sim *sim, StoreState state)
{
    static const char *const names[] = {"up", "refuses", "hangs"};
    trace(sim, "fault  store %s", names[state]);
    sim->store.state = state;
    dcs_news(sim);
}

void sim_store_elects(Sim *sim)
{
    trace(sim, "fault  store elects a leader: leases start anew");
    for (size_t i = 0; i < sim->store.lease_count; i++)
        if (sim->store.leases[i].id != 0)
            sim->store.leases[i].expires_at = sim->now + MS(sim->store.leases[i].ttl_ms);
}

void sim_store_wipe(Sim *sim, bool same_store)
{
    Store *store = &sim->store;
    trace(sim, "fault  store wiped%s", same_store ? "" : ", and it is another one");
    store->tampered_at = store->wiped_at = sim->now;
    if (same_store) {
        store_begin(sim);
        while (store->key_count > 0)
            store_delete(sim, store->keys[0].key);
        (void)store_end(sim, "hand");
        return;
    }
    forget_keys(store);
    store->lease_count = 0;
    store->cluster_id++;
    store->revision = 1;
    dcs_news(sim);
}

void sim_put_key(Sim *sim, const char *key, const char *value)
{
    trace(sim, "fault  by hand: %s = %.100s", key, value);
    if (str_eq(key, "leader"))
        sim->store.tampered_at = sim->now;
    store_begin(sim);
    store_put(sim, key, value, 0);
    (void)store_end(sim, "hand");
}

void sim_delete_key(Sim *sim, const char *key)
{
    trace(sim, "fault  by hand: %s deleted", key);
    if (str_eq(key, "leader"))
        sim->store.tampered_at = sim->now;
    if (!store_key(sim, key))
        return;
    store_begin(sim);
    store_delete(sim, key);
    (void)store_end(sim, "hand");
}

const char *sim_key(Sim *sim, const char *key)
{
    const StoreKey *found = store_key(sim, key);
    return found ? found->value : NULL;
}
