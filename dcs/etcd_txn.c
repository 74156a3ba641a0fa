#include "dcs/etcd_txn.h"

#include "common/base/base64.h"

#include <inttypes.h>
#include <string.h>

// --- requests

static const char *key_text(Arena *arena, const char *base, const char *key)
{
    const char *whole = arena_printf(arena, "%s/%s", base, key);
    return base64_of(arena, whole, strlen(whole));
}

// "key":"…" of one key, or with "range_end" of the whole prefix.
static const char *key_fields(Arena *arena, const char *base, const char *key)
{
    if (key != NULL)
        return arena_printf(arena, "\"key\":\"%s\"", key_text(arena, base, key));
    const char *end = arena_printf(arena, "%s0", base); // '0' follows '/'
    return arena_printf(arena, "\"key\":\"%s\",\"range_end\":\"%s\"", key_text(arena, base, ""),
                        base64_of(arena, end, strlen(end)));
}

static const char *put_fields(Arena *arena, const char *base, const char *key, const char *value,
                              const char *lease)
{
    Text text = text_new(arena);
    text_addf(&text, "%s,\"value\":\"%s\"", key_fields(arena, base, key),
              base64_of(arena, value, strlen(value)));
    if (lease != NULL)
        text_addf(&text, ",\"lease\":\"%s\"", lease);
    return text.data;
}

static const char *probe_fields(Arena *arena, const char *base)
{
    return arena_printf(arena,
                        "%s,\"limit\":\"1\",\"keys_only\":true,\"sort_order\":\"DESCEND\","
                        "\"sort_target\":\"MOD\"",
                        key_fields(arena, base, NULL));
}

EtcdTxn etcd_txn_new(Arena *arena, const char *base)
{
    return (EtcdTxn){.arena = arena,
                     .base = base,
                     .compare = text_new(arena),
                     .success = text_new(arena),
                     .failure = text_new(arena)};
}

static void add_item(Text *list, const char *item)
{
    text_addf(list, "%s%s", list->length > 0 ? "," : "", item);
}

void etcd_txn_compare(EtcdTxn *txn, const char *key, EtcdTarget target, int64_t value)
{
    static const char *const names[][2] = {
        [ETCD_LEASE] = {"LEASE", "lease"},
        [ETCD_CREATE] = {"CREATE", "create_revision"},
        [ETCD_MOD] = {"MOD", "mod_revision"},
    };
    add_item(&txn->compare,
             arena_printf(txn->arena, "{%s,\"target\":\"%s\",\"%s\":\"%" PRId64 "\"}",
                          key_fields(txn->arena, txn->base, key), names[target][0],
                          names[target][1], value));
}

void etcd_txn_compare_revision(EtcdTxn *txn, const char *key, int64_t revision)
{
    etcd_txn_compare(txn, key, revision == 0 ? ETCD_CREATE : ETCD_MOD, revision);
}

void etcd_txn_put(EtcdTxn *txn, const char *key, const char *value, const char *lease)
{
    add_item(&txn->success, arena_printf(txn->arena, "{\"request_put\":{%s}}",
                                         put_fields(txn->arena, txn->base, key, value, lease)));
}

void etcd_txn_delete(EtcdTxn *txn, const char *key)
{
    add_item(&txn->success, arena_printf(txn->arena, "{\"request_delete_range\":{%s}}",
                                         key_fields(txn->arena, txn->base, key)));
}

static Text *branch_of(EtcdTxn *txn, EtcdBranch branch)
{
    return branch == ETCD_SUCCESS ? &txn->success : &txn->failure;
}

void etcd_txn_range(EtcdTxn *txn, EtcdBranch branch, const char *key)
{
    add_item(branch_of(txn, branch), arena_printf(txn->arena, "{\"request_range\":{%s}}",
                                                  key_fields(txn->arena, txn->base, key)));
}

void etcd_txn_probe(EtcdTxn *txn, EtcdBranch branch)
{
    add_item(branch_of(txn, branch), arena_printf(txn->arena, "{\"request_range\":{%s}}",
                                                  probe_fields(txn->arena, txn->base)));
}

char *etcd_txn_body(const EtcdTxn *txn)
{
    return arena_printf(txn->arena, "{\"compare\":[%s],\"success\":[%s],\"failure\":[%s]}",
                        txn->compare.data, txn->success.data, txn->failure.data);
}

char *etcd_put_body(Arena *arena, const char *base, const char *key, const char *value,
                    const char *lease)
{
    return arena_printf(arena, "{%s}", put_fields(arena, base, key, value, lease));
}

char *etcd_delete_body(Arena *arena, const char *base, const char *key)
{
    return arena_printf(arena, "{%s}", key_fields(arena, base, key));
}

char *etcd_range_body(Arena *arena, const char *base, const char *key)
{
    return arena_printf(arena, "{%s}", key_fields(arena, base, key));
}

char *etcd_probe_body(Arena *arena, const char *base)
{
    return arena_printf(arena, "{%s}", probe_fields(arena, base));
}

char *etcd_watch_body(Arena *arena, const char *base, int64_t start_revision)
{
    return arena_printf(arena,
                        "{\"create_request\":{%s,\"start_revision\":\"%" PRId64
                        "\",\"progress_notify\":true}}",
                        key_fields(arena, base, NULL), start_revision);
}

// --- replies

static bool read_key(Arena *arena, const char *base, const Tree *kv, RawKey *out)
{
    char *key = NULL, *value = NULL;
    size_t key_length = 0, length = 0;
    const size_t base_length = strlen(base);
    if (!base64_parse(arena, tree_get_string(kv, "key", ""), &key, &key_length) ||
        !base64_parse(arena, tree_get_string(kv, "value", ""), &value, &length))
        return false;
    if (strlen(key) != key_length || key_length <= base_length + 1 ||
        memcmp(key, base, base_length) != 0 || key[base_length] != '/')
        return false;

    const int64_t lease = tree_get_int(kv, "lease", 0);
    *out = (RawKey){
        .key = key + base_length + 1,
        .value = value,
        .length = length,
        .create_revision = tree_get_int(kv, "create_revision", 0),
        .mod_revision = tree_get_int(kv, "mod_revision", 0),
        .lease = lease != 0 ? arena_printf(arena, "%" PRId64, lease) : NULL,
    };
    return out->mod_revision > 0;
}

static size_t count_of(const Tree *list)
{
    return list != NULL && list->kind == TREE_LIST ? list->count : 0;
}

EtcdKeys etcd_keys_of(Arena *arena, const char *base, const Tree *range)
{
    const Tree *kvs = tree_get(range, "kvs");
    const size_t count = count_of(kvs);
    EtcdKeys out = {.keys = ARENA_ARRAY(arena, RawKey, count)};
    for (size_t i = 0; i < count; i++) {
        if (read_key(arena, base, kvs->entries[i].value, &out.keys[out.count]))
            out.count++;
    }
    return out;
}

const Tree *etcd_txn_range_of(const Tree *txn, size_t index)
{
    const Tree *responses = tree_get(txn, "responses");
    if (index >= count_of(responses))
        return NULL;
    return tree_get(responses->entries[index].value, "response_range");
}

const RawKey *etcd_txn_key(Arena *arena, const char *base, const Tree *txn, size_t index)
{
    const EtcdKeys keys = etcd_keys_of(arena, base, etcd_txn_range_of(txn, index));
    return keys.count > 0 ? &keys.keys[0] : NULL;
}

bool etcd_txn_succeeded(const Tree *txn)
{
    return tree_get_bool(txn, "succeeded", false);
}

void etcd_probe_read(const Tree *range, int64_t *out_count, int64_t *out_newest)
{
    const Tree *kvs = tree_get(range, "kvs");
    *out_count = tree_get_int(range, "count", 0);
    *out_newest = count_of(kvs) > 0 ? tree_get_int(kvs->entries[0].value, "mod_revision", 0) : 0;
}

EtcdEvent *etcd_events_of(Arena *arena, const char *base, const Tree *result, size_t *out_count)
{
    const Tree *list = tree_get(result, "events");
    EtcdEvent *events = ARENA_ARRAY(arena, EtcdEvent, count_of(list));
    size_t count = 0;
    for (size_t i = 0; i < count_of(list); i++) {
        const Tree *event = list->entries[i].value;
        if (!read_key(arena, base, tree_get(event, "kv"), &events[count].kv))
            continue;
        events[count].deleted = str_eq(tree_get_string(event, "type", ""), "DELETE");
        count++;
    }
    *out_count = count;
    return events;
}
