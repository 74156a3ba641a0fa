#include "dcs/etcd_http.h"
#include "dcs/etcd_store.h"
#include "dcs/etcd_txn.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What of the etcd store needs no etcd: requests, replies, errors, documents, endpoints.
static Arena *arena;

static int start(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const Tree *json(const char *text)
{
    const Tree *tree = NULL;
    Error err = {0};
    if (!tree_parse_json(arena, text, &tree, &err))
        fail_msg("%s: %s", text, err.text);
    return tree;
}

// As etcd's documentation has them: int64 as text, comparison EQUAL by omission, the prefix's end
// is '0'.
static void test_requests(void **state)
{
    (void)state;
#define KEY_L  "\"key\":\"L3MvYi9s\""                            // /s/b/l
#define PREFIX "\"key\":\"L3MvYi8=\",\"range_end\":\"L3MvYjA=\"" // /s/b/ to /s/b0
    EtcdTxn txn = etcd_txn_new(arena, "/s/b");
    assert_string_equal(etcd_txn_body(&txn), "{\"compare\":[],\"success\":[],\"failure\":[]}");
    etcd_txn_compare_revision(&txn, "l", 0);
    etcd_txn_compare_revision(&txn, "l", 41);
    etcd_txn_compare(&txn, "l", ETCD_LEASE, INT64_C(7587869034143262000));
    etcd_txn_put(&txn, "l", "a", "7587");
    etcd_txn_delete(&txn, "l");
    etcd_txn_range(&txn, ETCD_FAILURE, "l");
    etcd_txn_probe(&txn, ETCD_SUCCESS);
    const char *body = etcd_txn_body(&txn);
    assert_string_equal(
        body,
        "{\"compare\":[{" KEY_L ",\"target\":\"CREATE\",\"create_revision\":\"0\"},"
        "{" KEY_L ",\"target\":\"MOD\",\"mod_revision\":\"41\"},"
        "{" KEY_L ",\"target\":\"LEASE\",\"lease\":\"7587869034143262000\"}],"
        "\"success\":[{\"request_put\":{" KEY_L ",\"value\":\"YQ==\",\"lease\":\"7587\"}},"
        "{\"request_delete_range\":{" KEY_L "}},{\"request_range\":{" PREFIX
        ",\"limit\":\"1\",\"keys_only\":true,\"sort_order\":\"DESCEND\",\"sort_target\":\"MOD\"}}],"
        "\"failure\":[{\"request_range\":{" KEY_L "}}]}");
    (void)json(body);
    assert_string_equal(etcd_put_body(arena, "/s/b", "l", "", NULL), "{" KEY_L ",\"value\":\"\"}");
    assert_string_equal(etcd_delete_body(arena, "/s/b", NULL), "{" PREFIX "}");
    assert_string_equal(etcd_range_body(arena, "/s/b", "l"), "{" KEY_L "}");
    assert_string_equal(etcd_watch_body(arena, "/s/b", 43),
                        "{\"create_request\":{" PREFIX
                        ",\"start_revision\":\"43\",\"progress_notify\":true}}");
}

static void test_replies(void **state)
{
    (void)state;
    const Tree *range =
        json("{\"kvs\":[{\"key\":\"L3MvYi9s\",\"create_revision\":\"9\",\"mod_revision\":\"43\","
             "\"value\":\"YQ==\",\"lease\":\"7587869034143262000\"},"
             "{\"key\":\"L3MvYi9t\",\"mod_revision\":\"44\"}," // an empty value is left out
             "{\"key\":\"L3MvYw==\",\"mod_revision\":\"45\"}," // not ours
             "{\"key\":\"!\",\"mod_revision\":\"45\"},5,{\"key\":\"L3MvYi9t\"}],\"count\":\"7\"}");
    const EtcdKeys keys = etcd_keys_of(arena, "/s/b", range);
    assert_int_equal(keys.count, 2);
    assert_string_equal(keys.keys[0].key, "l");
    assert_string_equal(keys.keys[0].value, "a");
    assert_string_equal(keys.keys[0].lease, "7587869034143262000");
    assert_int_equal(keys.keys[0].create_revision, 9);
    assert_int_equal(keys.keys[0].mod_revision, 43);
    assert_string_equal(keys.keys[1].value, "");
    assert_null(keys.keys[1].lease);
    int64_t count = 0, newest = 0;
    etcd_probe_read(range, &count, &newest);
    assert_int_equal(count, 7);
    assert_int_equal(newest, 43);
    etcd_probe_read(NULL, &count, &newest);
    assert_int_equal(count, 0);

    const Tree *txn = json("{\"succeeded\":true,\"responses\":[{\"response_put\":{}},"
                           "{\"response_range\":{\"kvs\":[{\"key\":\"L3MvYi9s\","
                           "\"mod_revision\":\"5\",\"value\":\"YQ==\"}]}}]}");
    assert_true(etcd_txn_succeeded(txn));
    assert_null(etcd_txn_key(arena, "/s/b", txn, 0));
    assert_string_equal(etcd_txn_key(arena, "/s/b", txn, 1)->value, "a");
    assert_null(etcd_txn_key(arena, "/s/b", txn, 2));
    assert_false(etcd_txn_succeeded(json("{}")));

    size_t events = 0;
    const EtcdEvent *event = etcd_events_of(
        arena, "/s/b",
        json("{\"events\":[{\"kv\":{\"key\":\"L3MvYi9s\",\"mod_revision\":\"5\"}},"
             "{\"type\":\"DELETE\",\"kv\":{\"key\":\"L3MvYi9s\",\"mod_revision\":\"6\"}},{},7]}"),
        &events);
    assert_int_equal(events, 2);
    assert_false(event[0].deleted);
    assert_true(event[1].deleted);
    assert_int_equal(event[1].kv.mod_revision, 6);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        EtcdVerdict verdict;
    } rows[] = {
        {404, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5}",
         ETCD_SAYS_LEASE_GONE},
        {400, "{\"error\":\"etcdserver: user name is empty\",\"code\":3}", ETCD_SAYS_AUTHENTICATE},
        {400, "{\"error\":\"etcdserver: revision of auth store is old\",\"code\":3}",
         ETCD_SAYS_AUTHENTICATE},
        {403, "{\"error\":\"etcdserver: permission denied\",\"code\":7}", ETCD_SAYS_AUTHENTICATE},
        {401, "{\"error\":\"etcdserver: invalid auth token\",\"code\":16}", ETCD_SAYS_AUTHENTICATE},
        {400,
         "{\"error\":\"etcdserver: authentication failed, invalid user ID or password\","
         "\"code\":3}",
         ETCD_SAYS_INVALID},
        {412, "{\"error\":\"etcdserver: authentication is not enabled\",\"code\":9}",
         ETCD_SAYS_NO_AUTH},
        {429, "{\"error\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}",
         ETCD_SAYS_FULL},
        {503, "{\"error\":\"etcdserver: no leader\",\"code\":14}", ETCD_SAYS_RETRY},
        {503, "{\"error\":\"etcdserver: request timed out\",\"code\":14}", ETCD_SAYS_UNKNOWN},
        {503, "{\"error\":\"etcdserver: leader changed\",\"code\":14}", ETCD_SAYS_UNKNOWN},
        {504, "{\"error\":\"context deadline exceeded\",\"code\":4}", ETCD_SAYS_UNKNOWN},
        {500, "{\"error\":\"context deadline exceeded\",\"code\":2}", ETCD_SAYS_UNKNOWN},
        {500, "{\"error\":{\"grpc_code\":2,\"message\":\"not a primary lessor\"}}",
         ETCD_SAYS_UNKNOWN},
        {200,
         "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}",
         ETCD_SAYS_RETRY},
        {200, "{\"error\":{\"grpc_code\":16,\"message\":\"whatever\"}}", ETCD_SAYS_AUTHENTICATE},
        {412, "{\"Error\":\"x\",\"Code\":9}", ETCD_SAYS_RETRY},
        {400, "{\"error\":\"unexpected EOF\",\"code\":3}", ETCD_SAYS_INVALID},
        {500, "{\"error\":5}", ETCD_SAYS_UNKNOWN},
        {404, "Not Found\n", ETCD_SAYS_RETRY},
        {502, "<html>bad gateway</html>", ETCD_SAYS_UNKNOWN},
        {500, "", ETCD_SAYS_UNKNOWN},
        {302, "{}", ETCD_SAYS_UNKNOWN},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *text = NULL;
        const EtcdVerdict verdict = etcd_read_error(arena, rows[i].status, rows[i].body, &text);
        if (verdict != rows[i].verdict || text == NULL)
            fail_msg("%s: %d, wanted %d", rows[i].body, verdict, rows[i].verdict);
    }
}

// --- documents

typedef struct {
    char text[512];
    int count, most;
} Documents;

static bool collect(void *context, const char *text)
{
    Documents *all = context;
    const size_t used = strlen(all->text);
    snprintf(all->text + used, sizeof all->text - used, "%s|", text);
    return ++all->count < all->most;
}

static void test_documents_split_anywhere(void **state)
{
    (void)state;
    static const char stream[] =
        "{\"a\":\"}{\\\"\\\\\"}\n{\"b\":[{},[1,\"]\"]]}{}  \r\n\t{\"c\":{\"d\":\"\\\\\"}}";
    static const char wanted[] =
        "{\"a\":\"}{\\\"\\\\\"}|{\"b\":[{},[1,\"]\"]]}|{}|{\"c\":{\"d\":\"\\\\\"}}|";
    for (size_t chunk = 1; chunk < sizeof stream; chunk++) {
        Documents all = {.most = 100};
        EtcdSplitter splitter = {0};
        for (size_t at = 0; at < sizeof stream - 1; at += chunk) {
            const size_t left = sizeof stream - 1 - at;
            assert_true(
                etcd_split(&splitter, stream + at, left < chunk ? left : chunk, collect, &all));
        }
        etcd_splitter_done(&splitter);
        assert_string_equal(all.text, wanted);
    }
    static const char *const bad[] = {"x", "[1]", "5", "{}\n]", "\"a\""};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        Documents all = {.most = 100};
        EtcdSplitter splitter = {0};
        assert_false(etcd_split(&splitter, bad[i], strlen(bad[i]), collect, &all));
        etcd_splitter_done(&splitter);
    }
    Documents one = {.most = 1};
    EtcdSplitter splitter = {0};
    assert_false(etcd_split(&splitter, "{}{}", 4, collect, &one)); // told to stop
    assert_int_equal(one.count, 1);
    assert_false(etcd_split(&splitter, "{\0}", 3, collect, &one));
    etcd_splitter_done(&splitter);
}

static void test_a_document_without_end_is_given_up(void **state)
{
    (void)state;
    enum { CHUNK = 1024 * 1024 };
    char *chunk = malloc(CHUNK);
    assert_non_null(chunk);
    memset(chunk, ' ', CHUNK);
    Documents none = {.most = 100};
    EtcdSplitter splitter = {0};
    assert_true(etcd_split(&splitter, "{", 1, collect, &none));
    int chunks = 0;
    while (etcd_split(&splitter, chunk, CHUNK, collect, &none))
        assert_true(++chunks < 9);
    assert_int_equal(none.count, 0);
    etcd_splitter_done(&splitter);
    free(chunk);
}

// --- endpoints

static void test_endpoint_lists(void **state)
{
    (void)state;
    EtcdEndpoints list = {0};
    char name[ETCD_URL_SIZE + 8];
    assert_true(etcd_endpoints_add(&list, "http://a:2379/"));
    assert_false(etcd_endpoints_add(&list, "http://a:2379"));
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_false(etcd_endpoints_add(&list, name));
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "http://h%d:2379", i);
        (void)etcd_endpoints_add(&list, name);
    }
    assert_int_equal(list.count, ETCD_ENDPOINTS_MAX);
    assert_string_equal(list.url[0], "http://a:2379");
}

static void test_member_lists(void **state)
{
    (void)state;
    const Tree *reply =
        json("{\"members\":[{\"clientURLs\":[\"http://10.0.0.1:2379\",\"https://10.0.0.1:2379\"]},"
             "{\"clientURLs\":[\"http://localhost:2379\",\"http://127.0.0.1:2379\"]},"
             "{\"name\":\"not "
             "started\"},{\"clientURLs\":[\"unix://x\",\"http://10.0.0.2:2379/\",7]},5]}");
    EtcdEndpoints out;
    etcd_members_read(reply, "http", "http://10.0.0.9:2379", &out);
    assert_int_equal(out.count, 2);
    assert_string_equal(out.url[0], "http://10.0.0.1:2379");
    assert_string_equal(out.url[1], "http://10.0.0.2:2379");
    etcd_members_read(reply, "https", "https://10.0.0.9:2379", &out);
    assert_int_equal(out.count, 1);
    // Asked on this machine, localhost means the same to it and to us.
    etcd_members_read(reply, "http", "http://127.0.0.1:2379", &out);
    assert_int_equal(out.count, 4);
    etcd_members_read(json("{\"members\":5}"), "http", "http://a:1", &out);
    assert_int_equal(out.count, 0);
    etcd_members_read(json("{\"members\":[]}"), "http", "", &out);
    assert_int_equal(out.count, 0);
}

// A DNS reply with two SRV records and one that offers nothing, written by hand: RFC 1035, 2782.
static size_t srv_reply(unsigned char *to)
{
    static const unsigned char header[] = {0, 1, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0};
    static const unsigned char question[] = "\x04_svc\x04_tcp\x01"
                                            "d\x00\x00\x21\x00\x01";
    static const struct {
        unsigned char priority, weight;
        unsigned short port;
        const char *target;
        size_t target_length;
    } records[] = {{20, 0, 2379,
                    "\x01"
                    "b\x01"
                    "d",
                    5},
                   {10, 5, 2380,
                    "\x01"
                    "a\x01"
                    "d",
                    5},
                   {1, 0, 1, "", 1}};
    size_t n = 0;
    memcpy(to, header, sizeof header);
    n += sizeof header;
    memcpy(to + n, question, sizeof question - 1);
    n += sizeof question - 1;
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        const unsigned char fixed[] = {0xC0,
                                       12,
                                       0,
                                       0x21,
                                       0,
                                       1,
                                       0,
                                       0,
                                       0,
                                       60,
                                       0,
                                       (unsigned char)(6 + records[i].target_length),
                                       0,
                                       records[i].priority,
                                       0,
                                       records[i].weight,
                                       (unsigned char)(records[i].port >> 8),
                                       (unsigned char)(records[i].port & 255)};
        memcpy(to + n, fixed, sizeof fixed);
        n += sizeof fixed;
        memcpy(to + n, records[i].target, records[i].target_length);
        n += records[i].target_length;
    }
    return n;
}

static void test_srv_records(void **state)
{
    (void)state;
    unsigned char reply[512];
    const size_t length = srv_reply(reply);
    StringList targets = {0};
    assert_true(etcd_srv_read(arena, reply, (int)length, &targets));
    assert_int_equal(targets.count, 2);
    assert_string_equal(targets.items[0], "a.d:2380"); // by priority
    assert_string_equal(targets.items[1], "b.d:2379");
    // Cut anywhere, or with any byte changed: never more than nonsense.
    for (size_t cut = 0; cut < length; cut++) {
        unsigned char *copy = malloc(cut + 1);
        assert_non_null(copy);
        memcpy(copy, reply, cut);
        StringList some = {0};
        (void)etcd_srv_read(arena, copy, (int)cut, &some);
        free(copy);
    }
    for (size_t i = 0; i < length; i++) {
        for (int bit = 0; bit < 8; bit++) {
            unsigned char *copy = malloc(length);
            assert_non_null(copy);
            memcpy(copy, reply, length);
            copy[i] = (unsigned char)(copy[i] ^ (1 << bit));
            StringList some = {0};
            (void)etcd_srv_read(arena, copy, (int)length, &some);
            free(copy);
        }
    }
}

// --- the guard against nodes that were left behind

static Instant now;

static Instant told(Clock *clock)
{
    (void)clock;
    return now;
}

static void test_raft_term_guard(void **state)
{
    (void)state;
    static const ClockOps ops = {.now = told};
    Clock clock = {.ops = &ops};
    EtcdShared shared;
    now = (Instant){1};
    etcd_shared_init(&shared, &clock);
    assert_true(etcd_guard_check(&shared, 7, 5));
    assert_true(etcd_guard_check(&shared, 7, 6));
    assert_false(etcd_guard_check(&shared, 7, 5));
    assert_true(etcd_guard_check(&shared, 7, 6));
    assert_true(etcd_guard_check(&shared, 8, 2)); // another cluster starts anew
    assert_false(etcd_guard_check(&shared, 8, 1));
    // Nobody shows the higher term any more: the store came from a backup.
    now = instant_plus_ms(now, ETCD_TERM_MEMORY_MS - 1);
    assert_false(etcd_guard_check(&shared, 8, 1));
    now = instant_plus_ms(now, 1);
    assert_true(etcd_guard_check(&shared, 8, 1));
    assert_true(etcd_guard_check(&shared, 8, 2));
    etcd_shared_done(&shared);
}

// --- replies that are not what they should be

static uint32_t roll(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void read_everything(const Tree *reply)
{
    size_t count = 0;
    int64_t keys_count, newest;
    const char *text = NULL;
    EtcdEndpoints endpoints;
    (void)etcd_error_of(reply, &text);
    (void)etcd_txn_key(arena, "/s/b", reply, 0);
    (void)etcd_txn_succeeded(reply);
    etcd_probe_read(reply, &keys_count, &newest);
    etcd_members_read(reply, "http", "http://a:1", &endpoints);
    const EtcdKeys keys = etcd_keys_of(arena, "/s/b", reply);
    for (size_t i = 0; i < keys.count; i++)
        assert_true(keys.keys[i].mod_revision > 0 && strlen(keys.keys[i].key) > 0);
    const EtcdEvent *events = etcd_events_of(arena, "/s/b", reply, &count);
    for (size_t i = 0; i < count; i++)
        assert_true(events[i].kv.mod_revision > 0);
}

static void test_mutated_replies_never_crash(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "{\"header\":{\"revision\":\"5\"},\"kvs\":[{\"key\":\"L3MvYi9s\",\"mod_revision\":\"43\","
        "\"value\":\"YQ==\",\"lease\":\"758\"}],\"count\":\"1\"}",
        "{\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"L3MvYi9s\","
        "\"mod_revision\":\"5\"}]}}]}",
        "{\"events\":[{\"kv\":{\"key\":\"L3MvYi9s\",\"mod_revision\":\"5\"}},{\"type\":\"DELETE\","
        "\"kv\":{\"key\":\"L3MvYi9s\",\"mod_revision\":\"6\"}}]}",
        "{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}",
        "{\"members\":[{\"clientURLs\":[\"http://10.0.0.1:2379\",\"http://x\"]}]}",
    };
    static const char bytes[] = "{}[]\",:\\0123456789-.eEtrufalsn \xff=/+";
    uint32_t seed = 0x2545F491;
    for (int round = 0; round < 20000; round++) {
        char copy[512];
        const char *from = seeds[roll(&seed) % COUNT_OF(seeds)];
        const size_t length = strlen(from);
        memcpy(copy, from, length + 1);
        for (uint32_t n = roll(&seed) % 3; n > 0; n--)
            copy[roll(&seed) % length] = bytes[roll(&seed) % (sizeof bytes - 1)];
        const Tree *reply = NULL;
        Error err = {0};
        arena_reset(arena);
        if (tree_parse_json(arena, copy, &reply, &err))
            read_everything(reply);
        EtcdSplitter splitter = {0};
        Documents all = {.most = 100};
        (void)etcd_split(&splitter, copy, length, collect, &all);
        etcd_splitter_done(&splitter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_documents_split_anywhere),
        cmocka_unit_test(test_a_document_without_end_is_given_up),
        cmocka_unit_test(test_endpoint_lists),
        cmocka_unit_test(test_member_lists),
        cmocka_unit_test(test_srv_records),
        cmocka_unit_test(test_raft_term_guard),
        cmocka_unit_test(test_mutated_replies_never_crash),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
