// Requests and replies of etcd's JSON gateway. Pure.
#pragma once
#include "common/base/text.h"
#include "dcs/records.h"

typedef struct {
    Arena *arena;
    const char *base; // "/service/demo"
    Text compare, success, failure;
} EtcdTxn;

typedef enum { ETCD_LEASE, ETCD_CREATE, ETCD_MOD } EtcdTarget;
typedef enum { ETCD_SUCCESS, ETCD_FAILURE } EtcdBranch;

EtcdTxn etcd_txn_new(Arena *arena, const char *base);
void etcd_txn_compare(EtcdTxn *txn, const char *key, EtcdTarget target, int64_t value);
// The key is at this mod_revision; 0: absent.
void etcd_txn_compare_revision(EtcdTxn *txn, const char *key, int64_t revision);
void etcd_txn_put(EtcdTxn *txn, const char *key, const char *value, const char *lease);
void etcd_txn_delete(EtcdTxn *txn, const char *key);
void etcd_txn_range(EtcdTxn *txn, EtcdBranch branch, const char *key);
void etcd_txn_probe(EtcdTxn *txn, EtcdBranch branch); // see etcd_probe_body
char *etcd_txn_body(const EtcdTxn *txn);

char *etcd_put_body(Arena *arena, const char *base, const char *key, const char *value,
                    const char *lease);
char *etcd_delete_body(Arena *arena, const char *base, const char *key); // NULL: the whole prefix
char *etcd_range_body(Arena *arena, const char *base, const char *key);  // NULL: the whole prefix
// The newest key of the prefix, without its value, and how many there are. Two snapshots of which
// the older one is complete are equal exactly if both numbers are: a put raises the newest
// revision, and a delete that no put follows lowers the count.
char *etcd_probe_body(Arena *arena, const char *base);
char *etcd_watch_body(Arena *arena, const char *base, int64_t start_revision);

// --- replies

typedef struct {
    RawKey *keys; // key: below the base
    size_t count;
} EtcdKeys;

// The kvs of a range reply; what cannot be read is left out.
EtcdKeys etcd_keys_of(Arena *arena, const char *base, const Tree *range);
// The first kv of response number `index` of a txn reply; NULL: none.
const RawKey *etcd_txn_key(Arena *arena, const char *base, const Tree *txn, size_t index);
const Tree *etcd_txn_range_of(const Tree *txn, size_t index);
bool etcd_txn_succeeded(const Tree *txn);
void etcd_probe_read(const Tree *range, int64_t *out_count, int64_t *out_newest);

typedef struct {
    RawKey kv;
    bool deleted;
} EtcdEvent;

// The events of a watch result, in their order.
EtcdEvent *etcd_events_of(Arena *arena, const char *base, const Tree *result, size_t *out_count);
