#include "tests/support/etcd_lab.h"
#include "tests/support/lossy_proxy.h"
#include "tests/support/name_service.h"

#include <arpa/nameser.h>
#include <netinet/in.h>
#include <pthread.h>
#include <resolv.h>
#include <stdatomic.h>
#include <stdlib.h>

// Finding the cluster: its own member list, SRV records, and a cluster that loses members.

// --- a name service for SRV records, in the place of the C library's

static struct {
    pthread_mutex_t mutex;
    char name[128]; // "": nothing is known
    int port;
    atomic_int queries;
    char asked[8][128];
} dns = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void dns_set(const char *name, int port)
{
    pthread_mutex_lock(&dns.mutex);
    snprintf(dns.name, sizeof dns.name, "%s", name);
    dns.port = port;
    atomic_store(&dns.queries, 0);
    pthread_mutex_unlock(&dns.mutex);
}

int res_nquery(res_state state, const char *name, int class, int type, unsigned char *answer,
               int size)
{
    (void)state;
    static const unsigned char fixed[] = {0,    1, 0x81, 0x80, 0, 0, 0,  1, 0,  0, 0, 0, 0, 0,
                                          0x21, 0, 1,    0,    0, 0, 60, 0, 14, 0, 1, 0, 1};
    static const unsigned char target[] = {4, 'e', 't', 'c', 'd', 0};
    assert_true(class == ns_c_in && type == ns_t_srv && size >= 64);
    pthread_mutex_lock(&dns.mutex);
    const int number = atomic_fetch_add(&dns.queries, 1);
    if (number < (int)COUNT_OF(dns.asked))
        snprintf(dns.asked[number], sizeof dns.asked[number], "%s", name);
    const bool known = str_eq(name, dns.name);
    const int port = dns.port;
    pthread_mutex_unlock(&dns.mutex);
    if (!known)
        return -1;
    size_t n = sizeof fixed;
    memcpy(answer, fixed, n);
    answer[n++] = (unsigned char)(port >> 8);
    answer[n++] = (unsigned char)(port & 255);
    memcpy(answer + n, target, sizeof target);
    n += sizeof target;
    answer[sizeof fixed - 5] = (unsigned char)(6 + sizeof target); // the length of the record
    return (int)n;
}

static int begin(void **state)
{
    (void)state;
    lab_arena = arena_new(ARENA_CAP_DEFAULT);
    name_service_set((const char *[]){"127.0.0.1", NULL});
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&lab_arena);
    return 0;
}

static Dcs *store(const EtcdSettings *settings, bool watch)
{
    static Resolver *resolver;
    if (resolver == NULL)
        resolver = resolver_new();
    return etcd_new(&(EtcdOptions){.settings = settings,
                                   .base_path = BASE,
                                   .member = "a",
                                   .watch = watch,
                                   .ttl_ms = 30000,
                                   .loop_wait_ms = 10000,
                                   .retry_timeout_ms = 10000,
                                   .clock = clock_system(),
                                   .resolver = resolver});
}

static void test_srv_discovery(void **state)
{
    (void)state;
    EtcdServer *server = etcd_server_start(NULL);
    const EtcdSettings settings = {.srv = "example.org", .srv_suffix = "x", .fixed = true};
    for (int watch = 0; watch < 2; watch++) {
        dns_set("_etcd-client-x._tcp.example.org", etcd_server_port(server));
        Dcs *a = store(&settings, watch == 1);
        (void)lab_open(a, 20000);
        assert_string_equal(dns.asked[0], "_etcd-client-ssl-x._tcp.example.org");
        assert_string_equal(dns.asked[1], "_etcd-client-x._tcp.example.org");
        (void)lab_acquire(a, "i");
        assert_int_equal(atomic_load(&dns.queries), 2); // once and for all
        Error err = {0};
        CHECK(a->ops->remove_cluster(a, lab_in(5000), &err));
        dcs_free(a);
    }
    etcd_server_free(server);
}

// Nothing there yet: no call waits beyond its deadline, and what comes later is found.
static void test_srv_records_that_come_late(void **state)
{
    (void)state;
    EtcdServer *server = etcd_server_start(NULL);
    const EtcdSettings settings = {.srv = "example.org", .fixed = true};
    Error err = {0};
    const char *session = NULL;
    LeaseProof proof;
    dns_set("", 0);
    Dcs *a = store(&settings, true);
    const Instant began = lab_now();
    assert_false(a->ops->open_session(a, 20000, "", lab_in(500), &session, &proof, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_true(lab_ms_since(began) < 3000);
    dns_set("_etcd._tcp.example.org", etcd_server_port(server));
    CHECK(a->ops->open_session(a, 20000, "", lab_in(8000), &session, &proof, &err));

    // They move, all of them.
    (void)lab_view(a);
    EtcdServer *moved = etcd_server_start(NULL);
    dns_set("_etcd._tcp.example.org", etcd_server_port(moved));
    etcd_server_kill(server);
    CHECK(a->ops->open_session(a, 20000, "", lab_in(30000), &session, &proof, &err));
    dcs_free(a);
    etcd_server_free(moved);
    etcd_server_free(server);
}

static void test_no_endpoint_at_all(void **state)
{
    (void)state;
    const EtcdSettings settings = {.fixed = true};
    Error err = {0};
    ClusterView view;
    Dcs *a = store(&settings, false);
    assert_false(a->ops->refresh(a, lab_arena, lab_in(300), &view, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    dcs_free(a);
}

// The configured address goes away; the members it has told us of are still there.
static void test_member_discovery(void **state)
{
    (void)state;
    EtcdServer *server = etcd_server_start(NULL);
    LossyProxy *proxy = lossy_proxy_start(etcd_server_port(server));
    Error err = {0};
    LeaseProof proof;
    for (int fixed = 0; fixed < 2; fixed++) {
        EtcdSettings settings = {.fixed = fixed == 1};
        string_list_add(&settings.endpoints, lab_arena, lossy_proxy_url(proxy));
        lossy_proxy_block(proxy, false);
        Dcs *a = store(&settings, true);
        (void)lab_open(a, 20000);
        CHECK(a->ops->keep_session(a, lab_in(3000), &proof, &err)); // asks for the members, too
        lossy_proxy_block(proxy, true);
        lab_sleep_ms(50);
        if (fixed == 0) {
            CHECK(a->ops->keep_session(a, lab_in(3000), &proof, &err));
        } else {
            assert_false(a->ops->keep_session(a, lab_in(500), &proof, &err));
        }
        dcs_free(a);
    }
    lossy_proxy_stop(proxy);
    etcd_server_free(server);
}

// And the other way round: none of the members is left, but a configured address is.
static void test_configured_endpoints_are_not_forgotten(void **state)
{
    (void)state;
    EtcdServer *first = etcd_server_start(NULL), *second = etcd_server_start(NULL);
    EtcdSettings settings = {.fixed = false};
    Error err = {0};
    LeaseProof proof;
    string_list_add(&settings.endpoints, lab_arena, etcd_server_url(first));
    LossyProxy *proxy = lossy_proxy_start(etcd_server_port(second)); // closed for the time being
    lossy_proxy_block(proxy, true);
    string_list_add(&settings.endpoints, lab_arena, lossy_proxy_url(proxy));
    Dcs *b = store(&settings, true);
    (void)lab_open(b, 20000);
    (void)lab_view(b);
    CHECK(b->ops->keep_session(b, lab_in(3000), &proof, &err));
    etcd_server_kill(first);
    lossy_proxy_block(proxy, false);
    const int64_t id = lab_view(b).cluster_id;
    const Instant began = lab_now();
    for (ClusterView view = lab_view(b); view.cluster_id == id; view = lab_view(b)) {
        const char *session = NULL;
        (void)b->ops->open_session(b, 20000, "", lab_in(1000), &session, &proof,
                                   &err); // until it does
        assert_true(lab_ms_since(began) < 15000);
    }
    dcs_free(b);
    lossy_proxy_stop(proxy);
    etcd_server_free(second);
    etcd_server_free(first);
}

// --- three members

// A leader is lost, then all but one, then they come back: calls go on wherever they can, and a
// session outlives it.
static void test_a_cluster_that_loses_members(void **state)
{
    (void)state;
    EtcdServer *cluster[3];
    etcd_cluster_start(cluster);
    LabOptions options = {.member = "a", .watch = true};
    for (int i = 0; i < 3; i++)
        options.endpoints[i] = etcd_server_url(cluster[i]);
    Dcs *a = lab_store(&options);
    Error err = {0};
    LeaseProof proof;
    const char *session = NULL;
    CHECK(a->ops->open_session(a, 30000, "", lab_in(10000), &session, &proof, &err));
    const Acquired acquired = lab_acquire(a, "i");
    for (int i = 0; i < 3; i++) { // one of them leads
        etcd_server_kill(cluster[i]);
        const Instant before = lab_now();
        CHECK(a->ops->renew(a, acquired.term, arena_printf(lab_arena, "{\"optime\":%d}", 10 + i),
                            lab_in(10000), &proof, &err));
        assert_false(instant_before(proof.sent_at, before));
        const int64_t revision = lab_refresh(a).revision;
        const ClusterView view = lab_wait(a, lab_has_revision, &revision, "the watcher elsewhere");
        assert_int_equal(view.optime, 10 + i);
        assert_int_equal(view.vacancy.kind, VACANCY_NONE);
        etcd_server_restart(cluster[i]);
    }

    // No majority: nothing is proven, whoever still listens.
    etcd_server_kill(cluster[0]);
    etcd_server_kill(cluster[1]);
    assert_false(a->ops->renew(a, acquired.term, NULL, lab_in(1000), &proof, &err));
    assert_true(err.kind == ERR_UNCERTAIN || err.kind == ERR_UNAVAILABLE);
    ClusterView view;
    assert_false(a->ops->refresh(a, lab_arena, lab_in(1000), &view, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    etcd_server_restart(cluster[0]);
    CHECK(a->ops->renew(a, acquired.term, NULL, lab_in(15000), &proof, &err));
    dcs_free(a);
    for (int i = 0; i < 3; i++)
        etcd_server_free(cluster[i]);
}

// A member that is cut off from the others keeps our stream open, and nothing comes. It is asked to
// end streams when it has no leader: then the watcher looks elsewhere, with a listing or a probe.
static void test_a_stream_at_a_member_without_a_leader_ends(void **state)
{
    (void)state;
    EtcdServer *cluster[3];
    etcd_cluster_start(cluster);
    LossyProxy *proxy = lossy_proxy_start(etcd_server_port(cluster[2]));
    Dcs *a = lab_store(
        &(LabOptions){.member = "a", .endpoints = {lossy_proxy_url(proxy)}, .watch = true});
    (void)lab_view(a);
    const char *put[] = {"put", BASE "/config", "{\"x\":1}", NULL};
    etcd_server_ctl(cluster[0], put);
    const int64_t two = 2;
    (void)lab_wait(a, lab_has_revision, &two, "the stream");
    lossy_proxy_lose(proxy, "/kv/range ", 1000, LOSE_NOTHING);
    etcd_server_kill(cluster[0]);
    etcd_server_kill(cluster[1]);
    const Instant began = lab_now();
    while (lossy_proxy_lost(proxy) == 0) {
        if (lab_ms_since(began) > 15000)
            fail_msg("the stream is still open");
        lab_sleep_ms(20);
    }
    dcs_free(a);
    lossy_proxy_stop(proxy);
    for (int i = 0; i < 3; i++)
        etcd_server_free(cluster[i]);
}

// What the last try says, for which no time was left, would hide what is wrong.
static void test_a_resolver_that_hangs_is_named(void **state)
{
    (void)state;
    EtcdSettings settings = {.fixed = true};
    string_list_add(&settings.endpoints, lab_arena, "http://hang.example.org:2379");
    Dcs *a = store(&settings, false);
    for (int64_t ms = 100; ms < 160; ms++) { // the first back-off leaves next to nothing of some
        const char *session = NULL;
        LeaseProof proof;
        Error err = {0};
        assert_false(a->ops->open_session(a, 5000, "", lab_in(ms), &session, &proof, &err));
        assert_int_equal(err.kind, ERR_UNAVAILABLE);
        if (strstr(err.text, "hang.example.org") == NULL || strstr(err.text, "not sent") != NULL)
            fail_msg("%d ms: %s", (int)ms, err.text);
    }
    dcs_free(a);
    assert_true(name_service_settle());
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_srv_discovery),
        TEST(test_srv_records_that_come_late),
        TEST(test_no_endpoint_at_all),
        TEST(test_member_discovery),
        TEST(test_configured_endpoints_are_not_forgotten),
        TEST(test_a_cluster_that_loses_members),
        TEST(test_a_stream_at_a_member_without_a_leader_ends),
        TEST(test_a_resolver_that_hangs_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
