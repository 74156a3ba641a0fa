#include "tests/support/etcd_lab.h"
#include "tests/support/lossy_proxy.h"

// Every write, with its reply or its request lost on the way: what happened is found out, or said
// to be unknown; and what comes late does no harm.
static EtcdServer *server;
static LossyProxy *proxy;
static Dcs *a;            // behind the proxy, with a session
static int64_t budget_ms; // of one call

static int start(void **state)
{
    (void)state;
    lab_arena = arena_new(ARENA_CAP_DEFAULT);
    server = etcd_server_start(NULL);
    proxy = lossy_proxy_start(etcd_server_port(server));
    return 0;
}

static int stop(void **state)
{
    (void)state;
    lossy_proxy_stop(proxy);
    etcd_server_free(server);
    arena_release(&lab_arena);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    arena_reset(lab_arena);
    budget_ms = 1200;
    lossy_proxy_lose(proxy, "", 0, LOSE_REPLY);
    etcd_server_ctl(server, (const char *[]){"del", "--prefix", "/", NULL});
    a = lab_store(
        &(LabOptions){.member = "a", .endpoints = {lossy_proxy_url(proxy)}, .watch = true});
    (void)lab_open(a, 20000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    lossy_proxy_lose(proxy, "", 0, LOSE_REPLY);
    dcs_free(a);
    return 0;
}

// One write each; prepared by what it needs.
static int64_t term, config_revision;

static bool do_acquire(Error *err)
{
    const ClusterView view = lab_refresh(a);
    const AcquireRequest request = lab_request(&view, "i");
    Acquired acquired = {0};
    if (!a->ops->acquire(a, &request, lab_in(budget_ms), &acquired, err))
        return false;
    term = acquired.term;
    return true;
}

static bool do_renew(Error *err)
{
    LeaseProof proof;
    return a->ops->renew(a, term, "{\"optime\":8}", lab_in(budget_ms), &proof, err);
}

static bool do_release(Error *err)
{
    const ReleaseRequest request = {.term = term, .instance = "i", .status = "{\"optime\":9}"};
    return a->ops->release(a, &request, lab_in(budget_ms), err);
}

static bool do_put_member(Error *err)
{
    return a->ops->put_member(a, "{\"state\":\"running\"}", lab_in(budget_ms), err);
}

static bool do_create(Error *err)
{
    return a->ops->write(a, KEY_CONFIG, "{\"ttl\":30}", 0, lab_in(budget_ms), &config_revision,
                         err);
}

static bool do_swap(Error *err)
{
    return a->ops->write(a, KEY_CONFIG, "{\"ttl\":21}", config_revision, lab_in(budget_ms),
                         &config_revision, err);
}

static bool do_delete(Error *err)
{
    return a->ops->write(a, KEY_CONFIG, NULL, config_revision, lab_in(budget_ms), NULL, err);
}

static bool do_overwrite(Error *err)
{
    return a->ops->write(a, KEY_STATUS, "{\"optime\":3}", REVISION_ANY, lab_in(budget_ms), NULL,
                         err);
}

static bool do_remove(Error *err)
{
    return a->ops->remove_cluster(a, lab_in(budget_ms), err);
}

static const struct {
    const char *name;
    bool (*run)(Error *err);
    const char *path;
} writes[] = {
    {"acquire", do_acquire, "/kv/txn "},
    {"renew", do_renew, "/kv/txn "},
    {"put_member", do_put_member, "/kv/put "},
    {"create", do_create, "/kv/txn "},
    {"swap", do_swap, "/kv/txn "},
    {"delete", do_delete, "/kv/txn "},
    {"overwrite", do_overwrite, "/kv/put "},
    {"release", do_release, "/kv/txn "},
    {"remove", do_remove, "/kv/deleterange "},
};

// The reply is lost once, in each of the ways it can be: the outcome is found out.
static void test_one_lost_reply_is_resolved(void **state)
{
    (void)state;
    static const LossMode modes[] = {LOSE_REPLY, LOSE_SILENT, LOSE_GARBAGE, LOSE_STATUS};
    for (size_t m = 0; m < COUNT_OF(modes); m++) {
        for (size_t i = 0; i < COUNT_OF(writes); i++) {
            Error err = {0};
            lossy_proxy_lose(proxy, writes[i].path, 1, modes[m]);
            if (!writes[i].run(&err))
                fail_msg("%s, mode %d: %s: %s", writes[i].name, (int)modes[m],
                         error_kind_name(err.kind), err.text);
            assert_int_equal(lossy_proxy_lost(proxy), 1);
        }
    }
}

// A write may be lost before it arrives, which nobody can tell from a lost reply.
static void test_one_lost_request_is_resolved(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(writes); i++) {
        Error err = {0};
        lossy_proxy_lose(proxy, writes[i].path, 1, LOSE_REQUEST);
        const bool ok = writes[i].run(&err);
        assert_int_equal(lossy_proxy_lost(proxy), 1);
        // What may not be repeated stays open: it was not seen to be done, but may still be.
        const bool once = writes[i].run == do_overwrite || writes[i].run == do_remove;
        if (ok == once || (once && err.kind != ERR_UNCERTAIN))
            fail_msg("%s: %s: %s", writes[i].name, error_kind_name(err.kind), err.text);
        if (once) {
            lossy_proxy_lose(proxy, "", 0, LOSE_REPLY);
            lab_check(writes[i].run(&err), &err, writes[i].name);
        }
    }
}

// No reply at all comes back: uncertain, and by the deadline.
static void test_all_replies_lost_is_uncertain_by_the_deadline(void **state)
{
    (void)state;
    static const LossMode modes[] = {LOSE_REPLY, LOSE_SILENT};
    budget_ms = 400;
    for (size_t m = 0; m < COUNT_OF(modes); m++) {
        for (size_t i = 0; i < COUNT_OF(writes); i++) {
            Error err = {0};
            lossy_proxy_lose(proxy, "/kv/", 1000, modes[m]);
            if (writes[i].run == do_acquire)
                lossy_proxy_lose(proxy, "/kv/txn ", 1000, modes[m]); // it reads before
            const Instant began = lab_now();
            assert_false(writes[i].run(&err));
            if (err.kind != ERR_UNCERTAIN)
                fail_msg("%s: %s: %s", writes[i].name, error_kind_name(err.kind), err.text);
            assert_true(lab_ms_since(began) < budget_ms + 400);
            lossy_proxy_lose(proxy, "", 0, LOSE_REPLY);
            // It was applied: the view tells, also the ids that the later writes need.
            const ClusterView view = lab_refresh(a);
            if (view.leader.mod_revision != 0)
                term = view.leader.create_revision;
            config_revision = view.config_revision;
        }
    }
}

// The acquire was applied, but its caller was never told: leader, session and instance in the view
// are ours, and the term can be gone on with.
static void test_an_acquire_of_unknown_outcome_can_be_recognised(void **state)
{
    (void)state;
    Error err = {0};
    LeaseProof proof;
    lossy_proxy_lose(proxy, "/kv/txn ", 1000, LOSE_REPLY);
    assert_false(do_acquire(&err));
    assert_int_equal(err.kind, ERR_UNCERTAIN);
    lossy_proxy_lose(proxy, "", 0, LOSE_REPLY);
    const ClusterView view = lab_refresh(a);
    assert_string_equal(view.leader.name, "a");
    assert_true(term_record_valid(&view.term, &view.leader));
    assert_string_equal(view.term.instance, "i");
    CHECK(a->ops->renew(a, view.leader.create_revision, NULL, lab_in(budget_ms), &proof, &err));

    // Asking again with the same grounds says that they have changed, whoever holds the key.
    const AcquireRequest request = {.instance = "i"};
    Acquired acquired = {0};
    assert_false(a->ops->acquire(a, &request, lab_in(budget_ms), &acquired, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
}

// A copy that was held up somewhere arrives when the world has moved on.
static void test_a_late_acquire_does_nothing(void **state)
{
    (void)state;
    Dcs *b = lab_member(server, "b");
    Error err = {0};
    (void)lab_open(b, 20000);
    lossy_proxy_lose(proxy, "/kv/txn ", 1, LOSE_LATE);
    lab_check(do_acquire(&err), &err, "acquire, second copy");
    lab_check(do_release(&err), &err, "release");
    lossy_proxy_deliver(proxy);
    ClusterView view = lab_refresh(b);
    assert_null(view.leader.name);

    const Acquired acquired = lab_acquire(b, "ib");
    lossy_proxy_deliver(proxy);
    view = lab_refresh(b);
    assert_string_equal(view.leader.name, "b");
    assert_int_equal(view.leader.create_revision, acquired.term);
    dcs_free(b);
}

static void test_a_late_release_does_nothing(void **state)
{
    (void)state;
    Error err = {0};
    lab_check(do_acquire(&err), &err, "acquire");
    lossy_proxy_lose(proxy, "/kv/txn ", 1, LOSE_LATE);
    lab_check(do_release(&err), &err, "release, second copy");
    lab_check(do_acquire(&err), &err, "acquire again");
    lossy_proxy_deliver(proxy);
    const ClusterView view = lab_refresh(a);
    assert_string_equal(view.leader.name, "a");
    assert_false(view.term.released);
}

// The reply is lost, and before the question somebody else has written the key.
static void test_a_swap_that_was_overtaken_is_a_conflict(void **state)
{
    (void)state;
    Error err = {0};
    lab_check(do_create(&err), &err, "create");
    const int64_t before = config_revision;
    lossy_proxy_lose(proxy, "/kv/txn ", 1, LOSE_LATE);
    etcd_server_ctl(server, (const char *[]){"put", BASE "/config", "{\"ttl\":99}", NULL});
    assert_false(do_swap(&err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    lossy_proxy_deliver(proxy);
    assert_int_equal(config_revision, before);
    const ClusterView view = lab_refresh(a);
    assert_int_equal(tree_get_int(view.config, "ttl", 0), 99);
}

// A keepalive is harmless to repeat; that it perhaps arrived is told if none is answered.
static void test_lost_keepalives(void **state)
{
    (void)state;
    static const LossMode modes[] = {LOSE_REPLY, LOSE_SILENT, LOSE_REQUEST, LOSE_GARBAGE};
    Error err = {0};
    LeaseProof proof;
    for (size_t m = 0; m < COUNT_OF(modes); m++) {
        const Instant before = lab_now();
        lossy_proxy_lose(proxy, "/lease/keepalive", 1, modes[m]);
        CHECK(a->ops->keep_session(a, lab_in(budget_ms), &proof, &err));
        // Counted from the answered one.
        assert_false(instant_before(proof.sent_at, before));
    }
    lossy_proxy_lose(proxy, "/lease/keepalive", 1000, LOSE_REPLY);
    assert_false(a->ops->keep_session(a, lab_in(700), &proof, &err));
    assert_int_equal(err.kind, ERR_UNCERTAIN);
    const AcquireRequest request = {.instance = "i"};
    Acquired acquired;
    assert_false(a->ops->acquire(a, &request, lab_in(700), &acquired, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE); // of the key nothing was sent
    lossy_proxy_lose(proxy, "/lease/grant", 1, LOSE_REPLY);
    (void)lab_open(a, 20000);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_one_lost_reply_is_resolved),
        TEST(test_one_lost_request_is_resolved),
        TEST(test_all_replies_lost_is_uncertain_by_the_deadline),
        TEST(test_an_acquire_of_unknown_outcome_can_be_recognised),
        TEST(test_a_late_acquire_does_nothing),
        TEST(test_a_late_release_does_nothing),
        TEST(test_a_swap_that_was_overtaken_is_a_conflict),
        TEST(test_lost_keepalives),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
