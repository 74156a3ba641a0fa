#include "tests/support/certificates.h"
#include "tests/support/etcd_lab.h"
#include "tests/support/tcp_server.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

// The store dead, frozen, behind a password or a certificate. Every test has an etcd of its own.
static int start(void **state)
{
    (void)state;
    lab_arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_release(&lab_arena);
    return 0;
}

// Every call, with its deadline; each must end by then with the kind that the test names.
enum { BUDGET_MS = 600 };

typedef struct {
    ErrorKind read, keep, acquire, write;
} Kinds;

static void expect(bool ok, const Error *err, ErrorKind kind, Instant began, const char *what)
{
    const int64_t took = lab_ms_since(began);
    if (ok || err->kind != kind)
        fail_msg("%s: %s, wanted %s: %s", what, ok ? "success" : error_kind_name(err->kind),
                 error_kind_name(kind), err->text);
    if (took > BUDGET_MS + 300)
        fail_msg("%s took %lld ms", what, (long long)took);
}

static void expect_all(Dcs *dcs, int64_t term, const Kinds *kinds)
{
    const AcquireRequest request = {.instance = "i"};
    const ReleaseRequest release = {.term = term, .instance = "i"};
    const char *session = NULL;
    ClusterView view;
    LeaseProof proof;
    Acquired acquired;
    Error err = {0};
#define EXPECT(kind, call)                                                                         \
    do {                                                                                           \
        const Instant began_ = lab_now();                                                          \
        const bool ok_ = (call);                                                                   \
        expect(ok_, &err, (kind), began_, #call);                                                  \
    } while (0)
    EXPECT(kinds->read, dcs->ops->refresh(dcs, lab_arena, lab_in(BUDGET_MS), &view, &err));
    EXPECT(kinds->keep, dcs->ops->keep_session(dcs, lab_in(BUDGET_MS), &proof, &err));
    EXPECT(kinds->acquire, dcs->ops->acquire(dcs, &request, lab_in(BUDGET_MS), &acquired, &err));
    EXPECT(kinds->keep, dcs->ops->renew(dcs, term, NULL, lab_in(BUDGET_MS), &proof, &err));
    EXPECT(kinds->write, dcs->ops->release(dcs, &release, lab_in(BUDGET_MS), &err));
    EXPECT(kinds->write, dcs->ops->put_member(dcs, "{}", lab_in(BUDGET_MS), &err));
    EXPECT(kinds->write, dcs->ops->write(dcs, KEY_SYNC, "{}", 0, lab_in(BUDGET_MS), NULL, &err));
    EXPECT(kinds->write,
           dcs->ops->write(dcs, KEY_SYNC, "{}", REVISION_ANY, lab_in(BUDGET_MS), NULL, &err));
    EXPECT(kinds->write, dcs->ops->remove_cluster(dcs, lab_in(BUDGET_MS), &err));
    EXPECT(kinds->keep,
           dcs->ops->open_session(dcs, 20000, "", lab_in(BUDGET_MS), &session, &proof, &err));
}

static void test_a_dead_store_is_unavailable(void **state)
{
    (void)state;
    EtcdServer *server = etcd_server_start(NULL);
    Dcs *a = lab_member(server, "a");
    (void)lab_open(a, 20000);
    const Acquired acquired = lab_acquire(a, "i");
    (void)lab_wait(a, lab_has_leader, "a", "leader a");
    etcd_server_kill(server);
    const Kinds unavailable = {ERR_UNAVAILABLE, ERR_UNAVAILABLE, ERR_UNAVAILABLE, ERR_UNAVAILABLE};
    // The first call finds its connection dead, which may have taken the request along.
    LeaseProof proof;
    Error err = {0};
    assert_false(a->ops->keep_session(a, lab_in(BUDGET_MS), &proof, &err));
    expect_all(a, acquired.term, &unavailable);

    // The view of before is kept, with its age; and everything goes on when the store is back.
    ClusterView view = {0};
    assert_true(a->ops->view(a, lab_arena, &view));
    assert_string_equal(view.leader.name, "a");
    etcd_server_restart(server);
    CHECK(a->ops->renew(a, acquired.term, "{\"optime\":77}", lab_in(10000), &proof, &err));
    const int64_t revision = lab_refresh(a).revision;
    view = lab_wait(a, lab_has_revision, &revision, "the view after the restart");
    assert_int_equal(view.optime, 77);
    dcs_free(a);
    etcd_server_free(server);
}

static void test_a_frozen_store_is_uncertain(void **state)
{
    (void)state;
    EtcdServer *server = etcd_server_start(NULL);
    Dcs *a = lab_member(server, "a");
    (void)lab_open(a, 20000);
    const Acquired acquired = lab_acquire(a, "i");
    etcd_server_signal(server, SIGSTOP);
    const Kinds uncertain = {ERR_UNAVAILABLE, ERR_UNCERTAIN, ERR_UNAVAILABLE, ERR_UNCERTAIN};
    expect_all(a, acquired.term, &uncertain);
    etcd_server_signal(server, SIGCONT);
    dcs_free(a);
    etcd_server_free(server);
}

// The endpoint that is asked first is dead, silent, or frozen: another one answers within the call,
// and the next call asks that one at once.
static void test_other_endpoints_take_over(void **state)
{
    (void)state;
    EtcdServer *server = etcd_server_start(NULL), *frozen = etcd_server_start(NULL);
    char dead[64], silent[64];
    int fds[8];
    snprintf(dead, sizeof dead, "http://127.0.0.1:%d", tcp_refused_port());
    snprintf(silent, sizeof silent, "http://127.0.0.1:%d", tcp_silent_port("127.0.0.1", 0, fds));
    etcd_server_signal(frozen, SIGSTOP);
    const char *const first[] = {dead, silent, etcd_server_url(frozen)};
    for (size_t i = 0; i < COUNT_OF(first); i++) {
        Error err = {0};
        LeaseProof proof;
        Dcs *a = lab_store(
            &(LabOptions){.member = "a", .endpoints = {first[i], etcd_server_url(server), dead}});
        const char *session = NULL;
        const Instant began = lab_now();
        CHECK(a->ops->open_session(a, 20000, "", lab_in(4000), &session, &proof, &err));
        assert_true(lab_ms_since(began) < 3900);
        const Instant again = lab_now();
        CHECK(a->ops->keep_session(a, lab_in(4000), &proof, &err));
        assert_true(lab_ms_since(again) < 1300);
        dcs_free(a);
    }
    tcp_silent_close(fds);
    etcd_server_signal(frozen, SIGCONT);
    etcd_server_free(frozen);
    etcd_server_free(server);
}

// Fast timers: one frozen endpoint costs at most half a second.
static void test_tries_are_short_under_fast_timers(void **state)
{
    (void)state;
    EtcdServer *server = etcd_server_start(NULL), *frozen = etcd_server_start(NULL);
    etcd_server_signal(frozen, SIGSTOP);
    Dcs *a =
        lab_store(&(LabOptions){.member = "a",
                                .endpoints = {etcd_server_url(frozen), etcd_server_url(server)},
                                .ttl_ms = 5000});
    const char *session = NULL;
    LeaseProof proof;
    Error err = {0};
    const Instant began = lab_now();
    CHECK(a->ops->open_session(a, 5000, "", lab_in(4000), &session, &proof, &err));
    assert_true(lab_ms_since(began) < 1300);
    dcs_free(a);
    etcd_server_signal(frozen, SIGCONT);
    etcd_server_free(frozen);
    etcd_server_free(server);
}

static void enable_auth(EtcdServer *server)
{
    static const char *const steps[][7] = {
        {"user", "add", "root:secret", NULL},
        {"user", "grant-role", "root", "root", NULL},
        {"role", "add", "ha", NULL},
        {"role", "grant-permission", "ha", "readwrite", "--prefix=true", "/service/", NULL},
        {"user", "add", "howdah:p\"w\\1", NULL},
        {"user", "grant-role", "howdah", "ha", NULL},
        {"auth", "enable", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        etcd_server_ctl(server, steps[i]);
}

static void as_root(EtcdServer *server, const char *const *words)
{
    const char *all[16] = {"--user", "root:secret"};
    for (size_t i = 0; i < 13 && words[i] != NULL; i++)
        all[i + 2] = words[i];
    etcd_server_ctl(server, all);
}

static void test_users_and_tokens(void **state)
{
    (void)state;
    EtcdServer *server = etcd_server_start(NULL);
    const LabOptions options = {.member = "a",
                                .endpoints = {etcd_server_url(server)},
                                .username = "howdah",
                                .password = "p\"w\\1",
                                .watch = true};
    Error err = {0};
    LeaseProof proof;
    ClusterView view;
    Dcs *a = lab_store(&options); // authentication is off still, which is no error
    (void)lab_open(a, 20000);
    enable_auth(server);
    const Acquired acquired = lab_acquire(a, "i");
    CHECK(a->ops->renew(a, acquired.term, "{\"optime\":1}", lab_in(5000), &proof, &err));

    // The token dies with the process that gave it.
    etcd_server_restart(server);
    CHECK(a->ops->renew(a, acquired.term, "{\"optime\":2}", lab_in(5000), &proof, &err));
    // A change of users makes the token old.
    as_root(server, (const char *[]){"user", "add", "other:x", NULL});
    CHECK(a->ops->renew(a, acquired.term, "{\"optime\":3}", lab_in(5000), &proof, &err));
    CHECK(a->ops->put_member(a, "{}", lab_in(5000), &err));
    const int64_t revision = lab_refresh(a).revision;
    (void)lab_wait(a, lab_has_revision, &revision, "the watcher with a new token");

    // The password changes under us: refused for good, until we are told the new one.
    as_root(server, (const char *[]){"user", "delete", "howdah", NULL});
    as_root(server, (const char *[]){"user", "add", "howdah:new", NULL});
    as_root(server, (const char *[]){"user", "grant-role", "howdah", "ha", NULL});
    assert_false(a->ops->put_member(a, "{}", lab_in(5000), &err));
    assert_int_equal(err.kind, ERR_INVALID);
    etcd_set_credentials(a, "howdah", (Secret){"new"});
    CHECK(a->ops->put_member(a, "{\"x\":1}", lab_in(5000), &err));

    // A user who may not: permission denied, said once and for all.
    as_root(server, (const char *[]){"user", "add", "guest:guest", NULL});
    etcd_set_credentials(a, "guest", (Secret){"guest"});
    assert_false(a->ops->refresh(a, lab_arena, lab_in(5000), &view, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "permission denied"));
    etcd_set_credentials(a, NULL, (Secret){NULL});
    assert_false(a->ops->put_member(a, "{}", lab_in(5000), &err));
    assert_int_equal(err.kind, ERR_INVALID);
    etcd_set_credentials(a, "howdah", (Secret){"new"});

    as_root(server, (const char *[]){"auth", "disable", NULL});
    CHECK(a->ops->put_member(a, "{\"x\":2}", lab_in(5000), &err));
    dcs_free(a);
    etcd_server_free(server);
}

static void test_certificates_on_both_sides(void **state)
{
    (void)state;
    char directory[] = "/tmp/howdah-tls-XXXXXX", home[512];
    assert_non_null(mkdtemp(directory));
    assert_non_null(getcwd(home, sizeof home));
    assert_int_equal(chdir(directory), 0);
    Authority *authority = authority_new("test authority"), *stranger = authority_new("stranger");
    authority_write(authority, "ca.pem");
    authority_sign(authority, "127.0.0.1", NULL, "server.pem", "server.key");
    authority_sign(authority, "howdah", NULL, "client.pem", "client.key");
    authority_write(stranger, "other-ca.pem");
    authority_sign(stranger, "howdah", NULL, "other.pem", "other.key");
    EtcdServer *server = etcd_server_start(&(EtcdServerTls){"server.pem", "server.key", "ca.pem"});

    Error err = {0};
    LeaseProof proof;
    LabOptions options = {.member = "a",
                          .endpoints = {etcd_server_url(server)},
                          .cacert = "ca.pem",
                          .cert = "client.pem",
                          .key = "client.key",
                          .watch = true};
    Dcs *a = lab_store(&options);
    (void)lab_open(a, 20000);
    const Acquired acquired = lab_acquire(a, "i");
    CHECK(a->ops->renew(a, acquired.term, NULL, lab_in(5000), &proof, &err));
    (void)lab_wait(a, lab_has_leader, "a", "leader a over TLS");
    dcs_free(a);

    static const struct {
        const char *cacert, *cert, *key;
    } bad[] = {{"other-ca.pem", "client.pem", "client.key"},
               {"ca.pem", NULL, NULL},
               {"ca.pem", "other.pem", "other.key"}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        ClusterView view;
        options = (LabOptions){.endpoints = {etcd_server_url(server)},
                               .cacert = bad[i].cacert,
                               .cert = bad[i].cert,
                               .key = bad[i].key};
        Dcs *b = lab_store(&options);
        assert_false(b->ops->refresh(b, lab_arena, lab_in(BUDGET_MS), &view, &err));
        assert_int_equal(err.kind, ERR_UNAVAILABLE);
        dcs_free(b);
    }
    etcd_server_free(server);
    authority_free(stranger);
    authority_free(authority);
    static const char *const files[] = {"ca.pem",     "server.pem",   "server.key", "client.pem",
                                        "client.key", "other-ca.pem", "other.pem",  "other.key"};
    for (size_t i = 0; i < COUNT_OF(files); i++)
        assert_int_equal(unlink(files[i]), 0);
    assert_int_equal(chdir(home), 0);
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dead_store_is_unavailable),
        cmocka_unit_test(test_a_frozen_store_is_uncertain),
        cmocka_unit_test(test_other_endpoints_take_over),
        cmocka_unit_test(test_tries_are_short_under_fast_timers),
        cmocka_unit_test(test_users_and_tokens),
        cmocka_unit_test(test_certificates_on_both_sides),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
