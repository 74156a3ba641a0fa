#include "tests/support/etcd_lab.h"
#include "tests/support/lossy_proxy.h"

// The watcher: what it makes of a leader that goes, and of a stream that ends, falls behind or
// dies. `a` leads, `b` observes through a proxy that can be cut.
static EtcdServer *server;
static LossyProxy *proxy;
static Dcs *a, *b;

static int begin(void **state)
{
    (void)state;
    lab_arena = arena_new(ARENA_CAP_DEFAULT);
    server = etcd_server_start(NULL);
    proxy = lossy_proxy_start(etcd_server_port(server));
    a = lab_member(server, "a");
    b = lab_store(
        &(LabOptions){.member = "b", .endpoints = {lossy_proxy_url(proxy)}, .watch = true});
    return 0;
}

static int end(void **state)
{
    (void)state;
    dcs_free(b);
    dcs_free(a);
    lossy_proxy_stop(proxy);
    etcd_server_free(server);
    arena_release(&lab_arena);
    return 0;
}

static const VacancyKind released = VACANCY_RELEASED, expired = VACANCY_EXPIRED,
                         tampered = VACANCY_TAMPERED, never = VACANCY_NEVER;

#define CTL(...) etcd_server_ctl(server, (const char *[]){__VA_ARGS__, NULL})

static Acquired lead(int64_t ttl_ms)
{
    Error err = {0};
    (void)lab_open(a, ttl_ms);
    CHECK(
        a->ops->put_member(a, "{\"state\":\"running\",\"howdah\":\"0.1.0\"}", lab_in(5000), &err));
    const Acquired acquired = lab_acquire(a, "i");
    (void)lab_wait(b, lab_has_leader, "a", "leader a");
    return acquired;
}

static const char *hex(const char *session)
{
    return arena_printf(lab_arena, "%llx", strtoll(session, NULL, 10));
}

static ClusterView first_look(void)
{
    Dcs *c = lab_member(server, "c");
    const ClusterView view = lab_view(c);
    dcs_free(c);
    return view;
}

static void test_an_expired_leader(void **state)
{
    (void)state;
    (void)lab_wait(b, lab_is_vacant, &never, "nothing");
    const Instant before = lab_now();
    (void)lead(2000);
    const ClusterView view = lab_wait(b, lab_is_vacant, &expired, "the end of the lease");
    assert_string_equal(view.vacancy.holder, "a");
    assert_true(instant_before(instant_plus_ms(before, 1500), view.vacancy.since));
    // Who comes later knows less.
    const ClusterView late = first_look();
    assert_int_equal(late.vacancy.kind, VACANCY_FOUND);
    assert_string_equal(late.vacancy.holder, "a");
}

static void test_a_leader_key_deleted_by_hand(void **state)
{
    (void)state;
    (void)lead(20000);
    CTL("del", BASE "/leader");
    const ClusterView view = lab_wait(b, lab_is_vacant, &tampered, "the deletion");
    assert_string_equal(view.vacancy.holder, "a");
    // Its member record lives with its lease: reserved, also for who comes later.
    assert_int_equal(first_look().vacancy.kind, VACANCY_TAMPERED);
    // Its being deleted as well changes nothing.
    CTL("del", BASE "/members/a");
    const ClusterView after = lab_refresh(b);
    assert_int_equal(after.member_count, 0);
    assert_int_equal(after.vacancy.kind, VACANCY_TAMPERED);
    assert_int_equal(after.vacancy.since.ns, view.vacancy.since.ns);
}

static void test_a_wiped_cluster(void **state)
{
    (void)state;
    (void)lead(20000);
    CTL("del", "--prefix", BASE "/");
    const ClusterView view = lab_wait(b, lab_is_vacant, &tampered, "the wipe");
    assert_string_equal(view.vacancy.holder, "a");
    assert_int_equal(first_look().vacancy.kind, VACANCY_NEVER);
}

static void test_a_released_key_and_the_next_leader(void **state)
{
    (void)state;
    Error err = {0};
    const Acquired acquired = lead(20000);
    const ReleaseRequest request = {.term = acquired.term, .instance = "i", .lsn = 1};
    CHECK(a->ops->release(a, &request, lab_in(5000), &err));
    (void)lab_wait(b, lab_is_vacant, &released, "the release");
    assert_int_equal(first_look().vacancy.kind, VACANCY_RELEASED);
    (void)lab_open(b, 20000);
    (void)lab_acquire(b, "ib");
    const ClusterView view = lab_wait(a, lab_has_leader, "b", "leader b");
    assert_int_equal(view.vacancy.kind, VACANCY_NONE);
    assert_null(view.vacancy.holder);
}

// Patroni writes no term record and no marker.
static void test_a_patroni_leader(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        const char *session = lab_open(a, 20000),
                   *lease = arena_printf(lab_arena, "--lease=%s", hex(session));
        CTL("put", lease, BASE "/members/p", "{\"state\":\"running\",\"role\":\"primary\"}");
        CTL("put", lease, BASE "/leader", "p");
        const ClusterView view = lab_wait(b, lab_has_leader, "p", "leader p");
        assert_int_equal(view.vacancy.kind, VACANCY_NONE);
        if (round == 0)
            CTL("del", BASE "/leader");
        else
            CTL("lease", "revoke", hex(session));
        (void)lab_wait(b, lab_is_vacant, round == 0 ? &released : &expired,
                       "Patroni's leader going");
    }
    // Without any trace of us, a later observer cannot say.
    CTL("put", BASE "/initialize", "7123456789012345678");
    assert_int_equal(first_look().vacancy.kind, VACANCY_FOUND);
}

// The leader goes while we are cut off: the stream is replayed, so we still see how it went.
static void test_what_was_missed_is_replayed(void **state)
{
    (void)state;
    (void)lead(2000);
    lossy_proxy_block(proxy, true);
    (void)lab_wait(a, lab_is_vacant, &expired, "the end of the lease");
    CTL("put", BASE "/config", "{\"later\":true}");
    lossy_proxy_block(proxy, false);
    const ClusterView view = lab_wait(b, lab_is_vacant, &expired, "the same behind the cut");
    assert_string_equal(view.vacancy.holder, "a");
    (void)lab_refresh(b);
    assert_int_equal(lab_view(b).vacancy.kind, VACANCY_EXPIRED);
}

static bool has_config(const ClusterView *view, const void *key)
{
    return tree_get(view->config, key) != NULL;
}

// Compacted away while we are cut off: only a listing helps, and it knows less.
static void test_compaction_under_the_watcher(void **state)
{
    (void)state;
    (void)lead(2000);
    lossy_proxy_block(proxy, true);
    (void)lab_wait(a, lab_is_vacant, &expired, "the end of the lease");
    CTL("put", BASE "/config", "{\"compacted\":1}");
    const int64_t revision = lab_refresh(a).revision;
    CTL("compact", arena_printf(lab_arena, "%lld", (long long)revision));
    lossy_proxy_block(proxy, false);
    const ClusterView view = lab_wait(b, has_config, "compacted", "the listing");
    assert_null(view.leader.name);
    assert_int_equal(view.vacancy.kind, VACANCY_FOUND);
    CTL("put", BASE "/config", "{\"stream\":1}");
    (void)lab_wait(b, has_config, "stream", "the stream after it");
}

static void test_restart_of_the_store(void **state)
{
    (void)state;
    Error err = {0};
    LeaseProof proof;
    const Acquired acquired = lead(20000);
    for (int round = 0; round < 2; round++) {
        etcd_server_restart(server);
        const char *key = round == 0 ? "first" : "second";
        CTL("put", BASE "/config", arena_printf(lab_arena, "{\"%s\":1}", key));
        const ClusterView view = lab_wait(b, has_config, key, "the stream after the restart");
        assert_string_equal(view.leader.name, "a");
        assert_int_equal(view.vacancy.kind, VACANCY_NONE);
        CHECK(a->ops->renew(a, acquired.term, NULL, lab_in(5000), &proof, &err));
    }
}

static bool is_other_cluster(const ClusterView *view, const void *id)
{
    return view->cluster_id != *(const int64_t *)id;
}

static void test_a_replaced_store(void **state)
{
    (void)state;
    Error err = {0};
    LeaseProof proof;
    const Acquired acquired = lead(20000);
    const int64_t id = lab_view(b).cluster_id;
    while (lab_event(b, 0))
        continue;
    etcd_server_wipe(server);
    etcd_server_restart(server);
    assert_false(a->ops->renew(a, acquired.term, NULL, lab_in(5000), &proof, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    const ClusterView view = lab_wait(b, is_other_cluster, &id, "the other store");
    assert_null(view.leader.name);
    assert_int_equal(view.vacancy.kind, VACANCY_TAMPERED); // not NEVER: we have known a leader
    assert_string_equal(view.vacancy.holder, "a");
    assert_true(lab_event(b, 1000));
    (void)lead(20000);
}

// The store comes back from a backup: the same cluster, but older. Its stream would stay silent
// until it has caught up with what we remember.
static void test_a_store_that_went_back(void **state)
{
    (void)state;
    (void)lead(20000);
    etcd_server_save(server);
    for (int i = 0; i < 20; i++)
        CTL("put", BASE "/config", "{\"lost\":1}");
    (void)lab_wait(b, has_config, "lost", "what is going to be lost");
    etcd_server_go_back(server);
    CTL("put", BASE "/config", "{\"back\":1}");
    ClusterView view = lab_wait(b, has_config, "back", "the older store");
    assert_string_equal(view.leader.name, "a");
    CTL("put", BASE "/config", "{\"on\":1}");
    view = lab_wait(b, has_config, "on", "the stream of the older store");
}

// The connection stands, but nothing comes: found out by the revision in the next keepalive's
// reply.
static void test_a_dead_stream_is_found_out(void **state)
{
    (void)state;
    Error err = {0};
    LeaseProof proof;
    (void)lab_view(b);
    (void)lab_open(b, 20000);
    lossy_proxy_lose(proxy, "/watch ", 1, LOSE_SILENT);
    lossy_proxy_block(proxy, true);
    lab_sleep_ms(50);
    lossy_proxy_block(proxy, false);
    const Instant began = lab_now();
    while (lossy_proxy_lost(proxy) == 0 && lab_ms_since(began) < 10000)
        lab_sleep_ms(5);
    CTL("put", BASE "/config", "{\"silent\":1}");
    CHECK(b->ops->keep_session(b, lab_in(5000), &proof, &err));
    (void)lab_wait(b, has_config, "silent", "the next stream");
    CTL("put", BASE "/config", "{\"alive\":1}");
    (void)lab_wait(b, has_config, "alive", "what it brings");
}

static int64_t requests(void)
{
    return lossy_proxy_lost(proxy);
}

// Somebody else's keys raise the store's revision: that costs a look, but no listing and no new
// stream. And a quiet cluster costs one request a keepalive and two a renewal.
static void test_a_quiet_cluster_is_quiet(void **state)
{
    (void)state;
    Error err = {0};
    LeaseProof proof;
    (void)lead(20000);
    (void)lab_open(b, 20000);
    CHECK(b->ops->keep_session(b, lab_in(5000), &proof, &err));
    (void)lab_refresh(b);

    lossy_proxy_lose(proxy, "POST ", 1000000, LOSE_NOTHING);
    for (int i = 0; i < 5; i++) {
        CHECK(b->ops->keep_session(b, lab_in(5000), &proof, &err));
        assert_int_equal(lab_view(b).seen_at.ns, proof.sent_at.ns);
    }
    assert_int_equal(requests(), 5);

    CTL("del", BASE "/leader");
    (void)lab_wait(b, lab_is_vacant, &tampered, "no leader");
    const Acquired acquired = lab_acquire(b, "ib");
    (void)lab_wait(b, lab_has_leader, "b", "leader b");
    lossy_proxy_lose(proxy, "POST ", 1000000, LOSE_NOTHING);
    for (int i = 0; i < 5; i++) {
        const char *status = arena_printf(lab_arena, "{\"optime\":%d}", 100 + i);
        CHECK(b->ops->renew(b, acquired.term, i < 3 ? NULL : status, lab_in(5000), &proof, &err));
        assert_false(instant_before(lab_view(b).seen_at, proof.sent_at));
    }
    assert_int_equal(requests(), 10);

    lossy_proxy_lose(proxy, "/watch ", 1000000, LOSE_NOTHING);
    for (int i = 0; i < 3; i++) {
        CTL("put", "/other/key", "x");
        CHECK(b->ops->keep_session(b, lab_in(5000), &proof, &err));
        assert_false(instant_before(lab_view(b).seen_at, proof.sent_at));
        CTL("put", "/other/key", "y");
        CHECK(b->ops->renew(b, acquired.term, NULL, lab_in(5000), &proof, &err));
        assert_false(instant_before(lab_view(b).seen_at, proof.sent_at));
    }
    assert_int_equal(requests(), 0);
}

// A document of many chunks, and many documents at once.
static void test_large_and_many_documents(void **state)
{
    (void)state;
    Error err = {0};
    (void)lead(20000);
    enum { LARGE = 700 * 1000 };
    char *large = arena_alloc(lab_arena, LARGE + 1);
    memset(large, 'x', LARGE);
    const char *json = arena_printf(lab_arena, "{\"large\":\"%s\"}", large);
    int64_t revision = 0;
    CHECK(a->ops->write(a, KEY_CONFIG, json, 0, lab_in(5000), &revision, &err));
    ClusterView view = lab_wait(b, has_config, "large", "a large value");
    assert_int_equal(strlen(tree_get_string(view.config, "large", "")), LARGE);

    CHECK(a->ops->write(a, KEY_CONFIG, "{}", revision, lab_in(5000), &revision, &err));
    lossy_proxy_block(proxy, true);
    for (int i = 0; i < 300; i++)
        CHECK(a->ops->write(a, KEY_FAILSAFE, arena_printf(lab_arena, "{\"n\":\"%d\"}", i),
                            REVISION_ANY, lab_in(5000), &revision, &err));
    lossy_proxy_block(proxy, false);
    view = lab_wait(b, lab_has_revision, &revision, "all of them");
    assert_string_equal(tree_get_string(view.failsafe, "n", ""), "299");
}

// Freeing a store never waits for a store that does not answer, and leaves nothing running.
static void test_free_while_the_store_is_away(void **state)
{
    (void)state;
    (void)lab_view(b);
    lossy_proxy_block(proxy, true);
    Dcs *c = lab_store(
        &(LabOptions){.member = "c", .endpoints = {lossy_proxy_url(proxy)}, .watch = true});
    lab_sleep_ms(100);
    const Instant began = lab_now();
    dcs_free(c);
    assert_true(lab_ms_since(began) < 4000);
    lossy_proxy_block(proxy, false);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_an_expired_leader),
        TEST(test_a_leader_key_deleted_by_hand),
        TEST(test_a_wiped_cluster),
        TEST(test_a_released_key_and_the_next_leader),
        TEST(test_a_patroni_leader),
        TEST(test_what_was_missed_is_replayed),
        TEST(test_compaction_under_the_watcher),
        TEST(test_restart_of_the_store),
        TEST(test_a_replaced_store),
        TEST(test_a_store_that_went_back),
        TEST(test_a_dead_stream_is_found_out),
        TEST(test_a_quiet_cluster_is_quiet),
        TEST(test_large_and_many_documents),
        TEST(test_free_while_the_store_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
