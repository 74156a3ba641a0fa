#include "tests/support/etcd_lab.h"

// The operations of the store, each against one real etcd. Keys are left over from test to test
// only where a test says so: every test begins with an empty cluster.
static EtcdServer *server;

static int start(void **state)
{
    (void)state;
    lab_arena = arena_new(ARENA_CAP_DEFAULT);
    server = etcd_server_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    etcd_server_free(server);
    arena_release(&lab_arena);
    return 0;
}

static int empty(void **state)
{
    (void)state;
    arena_reset(lab_arena);
    etcd_server_ctl(server, (const char *[]){"del", "--prefix", "/", NULL});
    return 0;
}

static void test_a_session_is_proven_from_before_it_was_asked(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a");
    const char *session = NULL;
    LeaseProof proof;
    Error err = {0};
    const Instant before = lab_now();
    CHECK(a->ops->open_session(a, 20000, "", lab_in(5000), &session, &proof, &err));
    assert_false(instant_before(proof.sent_at, before));
    assert_int_equal(proof.ttl_ms, 20000);
    assert_int_equal(instant_ms_between(proof.sent_at, proof.valid_until), 20000);

    const Instant again = lab_now();
    CHECK(a->ops->keep_session(a, lab_in(5000), &proof, &err));
    assert_false(instant_before(proof.sent_at, again));
    assert_true(instant_before(proof.sent_at, lab_now()));
    assert_int_equal(proof.ttl_ms, 20000);
    dcs_free(a);
}

// A new agent goes on with the session of the old one, as the warden's note tells it.
static void test_a_session_can_be_resumed(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a");
    const char *session = lab_open(a, 20000), *resumed = NULL;
    LeaseProof proof;
    Error err = {0};
    const Acquired acquired = lab_acquire(a, "i1");

    Dcs *again = lab_member(server, "a");
    CHECK(again->ops->open_session(again, 30000, session, lab_in(5000), &resumed, &proof, &err));
    assert_string_equal(resumed, session);
    const char *padded = arena_printf(lab_arena, "00%s", session);
    CHECK(again->ops->open_session(again, 30000, padded, lab_in(5000), &resumed, &proof, &err));
    assert_string_equal(resumed, session);
    assert_int_equal(proof.ttl_ms, 20000); // what etcd grants, not what we would like
    assert_int_equal(instant_ms_between(proof.sent_at, proof.valid_until), 20000);
    Dcs *brief = lab_member(server, "a"); // nor what etcd grants, if that is more than we ask for
    CHECK(brief->ops->open_session(brief, 7000, session, lab_in(5000), &resumed, &proof, &err));
    assert_int_equal(instant_ms_between(proof.sent_at, proof.valid_until), 7000);
    CHECK(brief->ops->keep_session(brief, lab_in(5000), &proof, &err));
    assert_int_equal(instant_ms_between(proof.sent_at, proof.valid_until), 7000);
    dcs_free(brief);
    CHECK(again->ops->renew(again, acquired.term, NULL, lab_in(5000), &proof, &err));

    const char *const gone[] = {"1234567", "no number", "-5", "0"};
    for (size_t i = 0; i < COUNT_OF(gone); i++) {
        assert_false(a->ops->open_session(a, 20000, gone[i], lab_in(5000), &resumed, &proof, &err));
        assert_int_equal(err.kind, ERR_CONFLICT);
    }
    dcs_free(again);
    dcs_free(a);
}

static void test_acquire_writes_leader_and_term_in_one_step(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a");
    const char *session = lab_open(a, 20000);
    const Acquired acquired = lab_acquire(a, "instance-1");
    const ClusterView view = lab_wait(a, lab_has_leader, "a", "leader a");
    assert_string_equal(view.leader.session, session);
    assert_int_equal(view.leader.create_revision, acquired.term);
    assert_int_equal(view.term.mod_revision, acquired.term);
    assert_true(term_record_valid(&view.term, &view.leader));
    assert_string_equal(view.term.holder, "a");
    assert_string_equal(view.term.instance, "instance-1");
    assert_int_equal(view.term.term, 0);
    assert_int_equal(view.term.parent_timeline, 1);
    assert_int_equal(view.term.timeline, 2);
    assert_false(view.term.confirmed);
    assert_false(view.term.released);
    assert_int_equal(view.vacancy.kind, VACANCY_NONE);
    assert_null(view.initialize);
    assert_int_equal(acquired.proof.ttl_ms, 20000);
    dcs_free(a);
}

static void test_bootstrap_claims_initialize_with_its_lease(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a"), *b = lab_member(server, "b");
    Error err = {0};
    Acquired acquired = {0};
    (void)lab_open(a, 20000);
    (void)lab_open(b, 20000);
    const ClusterView nothing = lab_refresh(a);
    assert_int_equal(nothing.vacancy.kind, VACANCY_NEVER);
    AcquireRequest request = lab_request(&nothing, "i");
    request.bootstrap = true;
    CHECK(a->ops->acquire(a, &request, lab_in(5000), &acquired, &err));
    assert_false(b->ops->acquire(b, &request, lab_in(5000), &acquired, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);

    ClusterView view = lab_wait(b, lab_has_leader, "a", "leader a");
    assert_string_equal(view.initialize, "");
    int64_t revision = 0;
    CHECK(a->ops->write(a, KEY_INITIALIZE, "7123456789012345678", view.initialize_revision,
                        lab_in(5000), &revision, &err));
    view = lab_wait(b, lab_has_revision, &revision, "initialize");
    assert_string_equal(view.initialize, "7123456789012345678");
    assert_int_equal(view.initialize_revision, revision);

    // A cluster that is there already is never bootstrapped again.
    CHECK(a->ops->release(a,
                          &(ReleaseRequest){.term = view.leader.create_revision, .instance = "i"},
                          lab_in(5000), &err));
    view = lab_refresh(b);
    request = lab_request(&view, "i");
    request.bootstrap = true;
    assert_false(b->ops->acquire(b, &request, lab_in(5000), &acquired, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    dcs_free(b);
    dcs_free(a);
}

// Each key an acquire was decided from, changed behind its back.
static void test_acquire_fails_when_its_grounds_have_changed(void **state)
{
    (void)state;
    static const char *const keys[] = {"sync", "failover", "failsafe", "config", "howdah"};
    Dcs *a = lab_member(server, "a");
    Error err = {0};
    Acquired acquired = {0};
    (void)lab_open(a, 20000);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const ClusterView view = lab_refresh(a);
        const AcquireRequest request = lab_request(&view, "i");
        char key[64];
        snprintf(key, sizeof key, BASE "/%s", keys[i]);
        for (int round = 0; round < 2; round++) { // absent -> there, there -> other
            etcd_server_ctl(server, (const char *[]){"put", key, "{}", NULL});
            assert_false(a->ops->acquire(a, &request, lab_in(5000), &acquired, &err));
            assert_int_equal(err.kind, ERR_CONFLICT);
        }
    }
    const ClusterView view = lab_refresh(a);
    const AcquireRequest request = lab_request(&view, "i");
    CHECK(a->ops->acquire(a, &request, lab_in(5000), &acquired, &err));
    dcs_free(a);
}

static void test_acquire_needs_a_session_that_lives(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a");
    const ClusterView view = lab_refresh(a);
    const AcquireRequest request = lab_request(&view, "i");
    Error err = {0};
    Acquired acquired = {0};
    LeaseProof proof;
    assert_false(a->ops->acquire(a, &request, lab_in(5000), &acquired, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);

    char hex[32];
    snprintf(hex, sizeof hex, "%llx", strtoll(lab_open(a, 20000), NULL, 10));
    etcd_server_ctl(server, (const char *[]){"lease", "revoke", hex, NULL});
    assert_false(a->ops->acquire(a, &request, lab_in(5000), &acquired, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_false(a->ops->keep_session(a, lab_in(5000), &proof, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_false(a->ops->put_member(a, "{}", lab_in(5000), &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    dcs_free(a);
}

static void test_renew_writes_status_and_proves_the_key(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a");
    Error err = {0};
    LeaseProof proof;
    (void)lab_open(a, 20000);
    const Acquired acquired = lab_acquire(a, "i");
    const Instant before = lab_now();
    CHECK(a->ops->renew(a, acquired.term, "{\"optime\":4711}", lab_in(5000), &proof, &err));
    assert_false(instant_before(proof.sent_at, before));
    ClusterView view = lab_refresh(a);
    assert_int_equal(view.optime, 4711);
    assert_string_equal(view.status_text, "{\"optime\":4711}");

    // Without a status nothing is written: the store's revision stays.
    CHECK(a->ops->renew(a, acquired.term, NULL, lab_in(5000), &proof, &err));
    assert_int_equal(lab_refresh(a).revision, view.revision);
    assert_false(instant_before(lab_refresh(a).seen_at, proof.sent_at));

    // Not the term we hold.
    assert_false(a->ops->renew(a, acquired.term + 1, NULL, lab_in(5000), &proof, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    // The same name, the same create_revision, but put without our lease.
    etcd_server_ctl(server, (const char *[]){"put", BASE "/leader", "a", NULL});
    assert_false(a->ops->renew(a, acquired.term, "{\"optime\":1}", lab_in(5000), &proof, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_int_equal(lab_refresh(a).optime, 4711);
    // Deleted.
    etcd_server_ctl(server, (const char *[]){"del", BASE "/leader", NULL});
    assert_false(a->ops->renew(a, acquired.term, NULL, lab_in(5000), &proof, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    dcs_free(a);
}

// The key is ours, but somebody has put it without the lease: we take it over in one step.
static void test_a_key_that_was_tampered_with_is_taken_over(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a");
    Error err = {0};
    LeaseProof proof;
    Acquired again = {0};
    (void)lab_open(a, 20000);
    const Acquired acquired = lab_acquire(a, "i");
    etcd_server_ctl(server, (const char *[]){"put", BASE "/leader", "x", NULL});
    ClusterView view = lab_wait(a, lab_has_leader, "x", "leader x");
    assert_null(view.leader.session);
    assert_int_equal(view.vacancy.kind, VACANCY_TAMPERED);
    assert_string_equal(view.vacancy.holder, "a");

    AcquireRequest request = lab_request(&view, "i");
    request.over_leader_revision--;
    assert_false(a->ops->acquire(a, &request, lab_in(5000), &again, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    request.over_leader_revision++;
    CHECK(a->ops->acquire(a, &request, lab_in(5000), &again, &err));
    assert_int_equal(again.term, acquired.term); // the key kept its create_revision
    CHECK(a->ops->renew(a, again.term, NULL, lab_in(5000), &proof, &err));
    view = lab_wait(a, lab_has_leader, "a", "leader a");
    assert_true(term_record_valid(&view.term, &view.leader));
    assert_int_equal(view.vacancy.kind, VACANCY_NONE);
    dcs_free(a);
}

static void test_release_leaves_marker_and_status(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a"), *b = lab_member(server, "b");
    Error err = {0};
    (void)lab_open(a, 20000);
    const Acquired acquired = lab_acquire(a, "i");
    const ReleaseRequest request = {.term = acquired.term,
                                    .instance = "i",
                                    .status = "{\"optime\":99}",
                                    .timeline = 2,
                                    .lsn = 0x5000028};
    CHECK(a->ops->release(a, &request, lab_in(5000), &err));
    const VacancyKind released = VACANCY_RELEASED;
    const ClusterView view = lab_wait(b, lab_is_vacant, &released, "a released key");
    assert_string_equal(view.vacancy.holder, "a");
    assert_true(view.term.released);
    assert_int_equal(view.term.term, acquired.term);
    assert_int_equal(view.term.parent_timeline, 1);
    assert_int_equal(view.term.timeline, 2);
    assert_int_equal(view.term.released_lsn, 0x5000028);
    assert_int_equal(view.optime, 99);

    CHECK(a->ops->release(a, &request, lab_in(5000), &err)); // said and done already
    const ReleaseRequest other = {.term = acquired.term + 1, .instance = "i"};
    assert_false(a->ops->release(a, &other, lab_in(5000), &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    dcs_free(b);
    dcs_free(a);
}

static void test_member_records_are_bound_to_the_session(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a");
    Error err = {0};
    const char *session = lab_open(a, 20000);
    CHECK(
        a->ops->put_member(a, "{\"state\":\"running\",\"role\":\"replica\"}", lab_in(5000), &err));
    const ClusterView view = lab_refresh(a);
    const MemberView *member = cluster_member(&view, "A");
    assert_non_null(member);
    assert_string_equal(member->session, session);
    assert_int_equal(member->state, STATE_RUNNING);
    dcs_free(a);
}

static void test_write_compares_and_swaps(void **state)
{
    (void)state;
    Dcs *a = lab_store(&(LabOptions){.endpoints = {etcd_server_url(server)}}); // as howdahctl
    Error err = {0};
    int64_t first = 0, second = 0;
    CHECK(a->ops->write(a, KEY_CONFIG, "{\"ttl\":30}", 0, lab_in(5000), &first, &err));
    assert_int_equal(lab_refresh(a).config_revision, first);
    assert_false(a->ops->write(a, KEY_CONFIG, "{}", 0, lab_in(5000), &second, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    CHECK(a->ops->write(a, KEY_CONFIG, "{\"ttl\":20}", first, lab_in(5000), &second, &err));
    assert_true(second > first);
    assert_false(a->ops->write(a, KEY_CONFIG, "{\"ttl\":40}", first, lab_in(5000), NULL, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    // The same value is no excuse when nothing was lost: somebody else has written it.
    assert_false(a->ops->write(a, KEY_CONFIG, "{\"ttl\":20}", first, lab_in(5000), NULL, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_false(a->ops->write(a, KEY_CONFIG, NULL, first, lab_in(5000), NULL, &err));
    CHECK(a->ops->write(a, KEY_CONFIG, NULL, second, lab_in(5000), NULL, &err));
    assert_int_equal(lab_refresh(a).config_revision, 0);
    CHECK(a->ops->write(a, KEY_FAILOVER, "{}", REVISION_ANY, lab_in(5000), &first, &err));
    assert_int_equal(lab_refresh(a).failover.mod_revision, first);
    CHECK(a->ops->write(a, KEY_FAILOVER, NULL, REVISION_ANY, lab_in(5000), NULL, &err));
    CHECK(a->ops->write(a, KEY_FAILOVER, NULL, REVISION_ANY, lab_in(5000), NULL, &err));
    assert_int_equal(lab_refresh(a).failover.mod_revision, 0);
    dcs_free(a);
}

static void test_remove_takes_this_cluster_alone(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a");
    Error err = {0};
    (void)lab_open(a, 20000);
    (void)lab_acquire(a, "i");
    (void)lab_wait(a, lab_has_leader, "a", "leader a");
    etcd_server_ctl(server, (const char *[]){"put", "/service/demo2/leader", "z", NULL});
    etcd_server_ctl(server, (const char *[]){"put", "/service/dem/leader", "z", NULL});
    CHECK(a->ops->remove_cluster(a, lab_in(5000), &err));
    ClusterView view = lab_refresh(a);
    assert_null(view.leader.name);
    assert_int_equal(view.member_count, 0);
    assert_int_equal(view.term.mod_revision, 0);
    // The neighbours are still there.
    etcd_server_ctl(server, (const char *[]){"del", "/service/demo2/leader", NULL});
    view = lab_refresh(a);
    assert_int_equal(view.vacancy.kind, VACANCY_TAMPERED); // a wiped store is no licence
    dcs_free(a);
}

static void test_only_news_wakes(void **state)
{
    (void)state;
    Dcs *a = lab_member(server, "a"), *b = lab_member(server, "b");
    Error err = {0};
    LeaseProof proof;
    (void)lab_view(b);
    (void)lab_event(b, 2000); // the first view
    (void)lab_open(a, 20000);
    CHECK(a->ops->put_member(a, "{\"state\":\"running\",\"role\":\"replica\",\"xlog_location\":1}",
                             lab_in(5000), &err));
    assert_true(lab_event(b, 5000));
    CHECK(a->ops->put_member(a, "{\"state\":\"running\",\"role\":\"replica\",\"xlog_location\":2}",
                             lab_in(5000), &err));
    const Acquired acquired = lab_acquire(a, "i");
    assert_true(lab_event(b, 5000)); // the leader; what came before it was no news, see below
    CHECK(a->ops->renew(a, acquired.term, "{\"optime\":5}", lab_in(5000), &proof, &err));
    CHECK(a->ops->put_member(a, "{\"state\":\"running\",\"role\":\"replica\",\"xlog_location\":3}",
                             lab_in(5000), &err));
    CHECK(a->ops->write(a, KEY_FAILSAFE, "{}", 0, lab_in(5000), NULL, &err));
    const int64_t revision = lab_refresh(a).revision;
    (void)lab_wait(b, lab_has_revision, &revision, "everything");
    assert_false(lab_event(b, 0));
    CHECK(a->ops->put_member(a, "{\"state\":\"running\",\"role\":\"primary\",\"xlog_location\":3}",
                             lab_in(5000), &err));
    assert_true(lab_event(b, 5000));
    CHECK(a->ops->write(a, KEY_CONFIG, "{}", 0, lab_in(5000), NULL, &err));
    assert_true(lab_event(b, 5000));
    etcd_server_ctl(server, (const char *[]){"del", "/service/demo/members/a", NULL});
    assert_true(lab_event(b, 5000));
    dcs_free(b);
    dcs_free(a);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, empty)
    const struct CMUnitTest tests[] = {
        TEST(test_a_session_is_proven_from_before_it_was_asked),
        TEST(test_a_session_can_be_resumed),
        TEST(test_acquire_writes_leader_and_term_in_one_step),
        TEST(test_bootstrap_claims_initialize_with_its_lease),
        TEST(test_acquire_fails_when_its_grounds_have_changed),
        TEST(test_acquire_needs_a_session_that_lives),
        TEST(test_renew_writes_status_and_proves_the_key),
        TEST(test_a_key_that_was_tampered_with_is_taken_over),
        TEST(test_release_leaves_marker_and_status),
        TEST(test_member_records_are_bound_to_the_session),
        TEST(test_write_compares_and_swaps),
        TEST(test_remove_takes_this_cluster_alone),
        TEST(test_only_news_wakes),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
