// What the store keeps beside the leader, at a real API server, in all three modes.
#include "tests/kube/store_lab.h"

// --- keys

static void keys_by_compare_and_swap(void)
{
    Dcs *a = lab_member("a"), *ctl = lab_store(&(LabOptions){.watch = false});
    static const struct {
        DcsKey key;
        const char *values[2];
    } rows[] = {
        {KEY_CONFIG, {"{\"ttl\":30}", "{\"ttl\":20}"}},
        {KEY_HISTORY, {"[]", "[[1,5,\"x\"]]"}},
        {KEY_INITIALIZE, {"7301012345678", "7301012345679"}},
        {KEY_FAILOVER, {"{\"leader\":\"a\"}", "{\"leader\":\"a\",\"member\":\"b\"}"}},
        {KEY_SYNC,
         {"{\"leader\":\"a\",\"quorum\":0,\"sync_standby\":\"b\"}",
          "{\"leader\":\"a\",\"quorum\":0,\"sync_standby\":null}"}},
        {KEY_FAILSAFE, {"{\"a\":\"u\"}", "{\"a\":\"v\"}"}},
    };
    (void)lab_refresh(a);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const int64_t first = lab_put(a, rows[i].key, rows[i].values[0], 0);
        lab_refuse_write(ctl, rows[i].key, rows[i].values[1], 0);
        (void)lab_refresh(ctl);
        const int64_t second = lab_put(a, rows[i].key, rows[i].values[1], first);
        assert_true(second > first);
        lab_refuse_write(a, rows[i].key, rows[i].values[0], first);
    }
    ClusterView view = lab_refresh(ctl);
    assert_string_equal(view.initialize, "7301012345679");
    assert_int_equal(tree_get_int(view.config, "ttl", 0), 20);
    assert_string_equal(view.failover.candidate, "b");
    assert_string_equal(view.sync.leader, "a");
    assert_int_equal(view.history_count, 1);
    (void)lab_put(ctl, KEY_FAILOVER, "{}", view.failover.mod_revision);
    (void)lab_put(ctl, KEY_SYNC, NULL, view.sync.mod_revision);
    (void)lab_put(ctl, KEY_CONFIG, "{\"ttl\":25}", REVISION_ANY);
    view = lab_refresh(a);
    assert_null(view.failover.leader);
    assert_true(view.failover.mod_revision > 0); // cleared is a change
    assert_null(view.sync.leader);
    assert_int_equal(tree_get_int(view.config, "ttl", 0), 25);

    // What a race is decided from must still be so.
    AcquireRequest request = lab_request(&view, "i");
    Acquired acquired;
    Error err = {0};
    (void)lab_put(ctl, KEY_FAILOVER, "{\"member\":\"b\"}", REVISION_ANY);
    assert_false(a->ops->acquire(a, &request, lab_in(3000), &acquired, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);

    err = (Error){0};
    CHECK(ctl->ops->remove_cluster(ctl, lab_in(5000), &err));
    view = lab_refresh(a);
    assert_null(view.initialize);
    assert_int_equal(view.config_revision, 0);
    assert_int_equal(view.member_count, 1); // pods stay
    dcs_free(a);
    dcs_free(ctl);
}

// --- bootstrap

static void bootstrap_is_claimed(void)
{
    Dcs *a = lab_member("a"), *b = lab_member("b");
    (void)lab_open(a, 2000);
    ClusterView view = lab_refresh(a);
    AcquireRequest request = lab_request(&view, "i");
    Acquired acquired = {0}, other;
    Error err = {0};
    request.bootstrap = true;
    CHECK(a->ops->acquire(a, &request, lab_in(5000), &acquired, &err));
    assert_false(b->ops->acquire(b, &request, lab_in(5000), &other, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    view = lab_refresh(b);
    assert_string_equal(view.initialize, "");
    // It dies: nothing is left behind that would bar the next one.
    (void)lab_wait(b, lab_is_vacant, &lab_expired, "the end of a's time");
    view = lab_refresh(b);
    assert_null(view.initialize);
    request = lab_request(&view, "j");
    request.bootstrap = true;
    err = (Error){0};
    CHECK(b->ops->acquire(b, &request, lab_in(5000), &other, &err));
    view = lab_refresh(b);
    (void)lab_put(b, KEY_INITIALIZE, "7301012345678", view.initialize_revision);
    view = lab_refresh(a);
    assert_string_equal(view.initialize, "7301012345678");
    if (lab_mode == KUBERNETES_ENDPOINTS) {
        const Instant began = lab_now();
        const char *service = arena_printf(lab_arena, "%s-config", lab_scope);
        (void)lab_put(b, KEY_CONFIG, "{}", 0);
        while (lab_get(KIND_SERVICES, service) == NULL) {
            if (lab_ms_since(began) > 10000)
                fail_msg("no Service for the configuration");
            lab_sleep_ms(20);
        }
    }
    dcs_free(a);
    dcs_free(b);
}

// --- members and labels

static const char *label_of(const char *pod)
{
    return str_or(kube_label(lab_get(KIND_PODS, pod), "role"), "none");
}

static void wait_for_label(const char *pod, const char *role)
{
    const Instant began = lab_now();
    while (!str_eq(label_of(pod), role)) {
        if (lab_ms_since(began) > 10000)
            fail_msg("mode %d: pod %s has role label %s, not %s", (int)lab_mode, pod, label_of(pod),
                     role);
        lab_sleep_ms(20);
    }
}

static int64_t version_of(const char *pod)
{
    const Tree *metadata = tree_get(lab_get(KIND_PODS, pod), "metadata");
    return kube_version_of(tree_get_string(metadata, "resourceVersion", NULL));
}

static void put_member(Dcs *dcs, const char *json)
{
    Error err = {0};
    CHECK(dcs->ops->put_member(dcs, json, lab_in(3000), &err));
}

#define REPLICA(lsn)                                                                               \
    "{\"state\":\"running\",\"role\":\"replica\",\"howdah\":\"1\",\"xlog_location\":" lsn "}"

static void members_and_labels(void)
{
    Dcs *a = lab_member("a"), *b = lab_member("b");
    (void)lab_refresh(a);
    (void)lab_refresh(b);
    put_member(a, REPLICA("1"));
    put_member(b, REPLICA("1"));
    assert_string_equal(label_of("a"), "replica");
    const ClusterView view = lab_refresh(a);
    assert_int_equal(view.member_count, 2);
    assert_true(view.members[0].session != NULL && view.members[1].session == NULL);

    // Positions alone do not travel by the pod among our own.
    const int64_t version = version_of("a");
    put_member(a, REPLICA("2"));
    assert_int_equal(version_of("a"), version);

    // The winner bears the label at once, and takes it off the loser that has stopped.
    (void)lab_open(a, 2000);
    (void)lab_acquire(a, "i");
    wait_for_label("a", "primary");
    dcs_free(a); // it dies, and puts nothing right
    (void)lab_wait(b, lab_is_vacant, &lab_expired, "the end of a's time");
    (void)lab_acquire(b, "j");
    wait_for_label("b", "primary");
    wait_for_label("a", "none");

    // As long as a Patroni member reads positions from pods, ours are there.
    lab_pod("c");
    (void)lab_annotate(KIND_PODS, "c", "status", "{\"state\":\"running\",\"role\":\"replica\"}");
    (void)lab_refresh(b);
    ((Kube *)(void *)b)->member_at = (Instant){1}; // a loop_wait ago
    put_member(b, "{\"state\":\"running\",\"role\":\"primary\",\"howdah\":\"1\"}");
    ((Kube *)(void *)b)->member_at = (Instant){1};
    const int64_t before = version_of("b");
    put_member(b,
               "{\"state\":\"running\",\"role\":\"primary\",\"howdah\":\"1\",\"xlog_location\":9}");
    assert_true((version_of("b") > before) == (lab_mode != KUBERNETES_LEASES));

    lab_delete(KIND_PODS, "a");
    Error err = {0};
    a = lab_store(&(LabOptions){.member = "a"});
    (void)lab_open(a, TTL_MS);
    assert_false(a->ops->put_member(a, "{\"state\":\"stopped\"}", lab_in(3000), &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "there is no pod 'a'"));
    dcs_free(a);
    dcs_free(b);
    lab_delete(KIND_PODS, "c");
}

// In a handover the leader's label stays where it is until the successor takes it off.
static void labels_in_a_handover(void)
{
    static const char stopped[] = "{\"state\":\"stopped\",\"role\":\"demoted\",\"howdah\":\"1\"}";
    Dcs *a = lab_member("a"), *b = lab_member("b");
    Kube *kube = (Kube *)(void *)a;
    (void)lab_refresh(a);
    (void)lab_refresh(b);
    put_member(a, REPLICA("1"));
    put_member(b, REPLICA("1"));
    lab_hand_over(a, lab_acquire(a, "i").term);
    wait_for_label("a", "replica"); // nobody came

    const int64_t term = lab_acquire(a, "i").term;
    wait_for_label("a", "primary");
    const Instant before = lab_now();
    lab_hand_over(a, term);
    pthread_mutex_lock(&kube->mutex);
    assert_in_range(instant_ms_between(before, kube->labels_left_until), 1000, 5000);
    kube->labels_left_until = instant_plus_ms(before, 60000); // whatever else the machine does
    pthread_mutex_unlock(&kube->mutex);
    put_member(a, stopped);
    assert_string_equal(label_of("a"), "primary");
    const int64_t next = lab_acquire(b, "j").term;
    wait_for_label("b", "primary");
    wait_for_label("a", "none");

    // Patroni would leave it there for good.
    lab_pod("c");
    (void)lab_annotate(KIND_PODS, "c", "status", "{\"state\":\"running\",\"role\":\"replica\"}");
    (void)lab_refresh(b);
    lab_hand_over(b, next);
    assert_true(instant_is_set(((Kube *)(void *)b)->labels_left_until) ==
                (lab_mode == KUBERNETES_LEASES));
    dcs_free(a);
    dcs_free(b);
    lab_delete(KIND_PODS, "c");
}

// --- other modes

static bool is_free(const ClusterView *view, const void *context)
{
    (void)context;
    return view->other_store == NULL;
}

static bool is_elsewhere(const ClusterView *view, const void *text)
{
    return view->other_store != NULL && strstr(view->other_store, text) != NULL;
}

// howdahctl, once: it is told where the cluster is, and removes nothing.
static void asked_in_the_wrong_mode(KubernetesObjects right, const char *why)
{
    Dcs *ctl = lab_store(&(LabOptions){0});
    Error err = {0};
    const ClusterView view = lab_refresh(ctl);
    assert_true(is_elsewhere(&view, why));
    assert_string_equal(view.other_store_line, kube_mode_line(right));
    assert_false(ctl->ops->remove_cluster(ctl, lab_in(5000), &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, why));
    dcs_free(ctl);
}

static void another_mode(void)
{
    Dcs *a = lab_member("a");
    (void)lab_wait(a, is_free, NULL, "a look at the other modes");
    (void)lab_acquire(a, "i");
    (void)lab_put(a, KEY_INITIALIZE, "7301012345678", 0);
    const KubernetesObjects mine = lab_mode;
    for (size_t i = 0; i < COUNT_OF(lab_modes); i++) {
        if (lab_modes[i] == mine)
            continue;
        lab_mode = lab_modes[i];
        Dcs *b = lab_store(&(LabOptions){.member = "b", .watch = true});
        (void)lab_open(b, TTL_MS);
        (void)lab_wait(b, is_elsewhere, "'a' leads", "the other mode's leader to be seen");
        ClusterView view = lab_refresh(b);
        AcquireRequest request = lab_request(&view, "j");
        Acquired acquired;
        Error err = {0};
        request.bootstrap = true;
        assert_false(b->ops->acquire(b, &request, lab_in(3000), &acquired, &err));
        assert_int_equal(err.kind, ERR_CONFLICT);
        dcs_free(b);
        asked_in_the_wrong_mode(mine, "'a' leads");
    }
    // Nobody leads any more, but the cluster is there.
    lab_mode = mine;
    lab_delete(lab_leader_kind(), lab_leader_name());
    for (size_t i = 0; i < COUNT_OF(lab_modes); i++) {
        if (lab_modes[i] == mine)
            continue;
        lab_mode = lab_modes[i];
        asked_in_the_wrong_mode(mine, "has its initialize");
    }
    lab_mode = mine;
    const ClusterView view = lab_refresh(a);
    assert_string_equal(view.initialize, "7301012345678"); // whatever was to be removed
    assert_null(view.other_store);
    lab_mode = lab_modes[mine == lab_modes[0] ? 1 : 0];
    Dcs *b = lab_store(&(LabOptions){.member = "b", .watch = true});
    (void)lab_wait(b, is_elsewhere, "has its initialize", "the other mode's initialize");
    dcs_free(b);
    dcs_free(a);
    lab_mode = mine;
}

// --- Patroni's own records

#define AT(n) "2026-01-01T00:00:0" #n ".000000+00:00"

static void patroni_write(const char *leader, const char *renew, const char *transitions,
                          const char *ttl)
{
    lab_patch(
        lab_leader_kind(), lab_leader_name(),
        arena_printf(lab_arena,
                     "{\"metadata\":{\"annotations\":{\"leader\":\"%s\",\"ttl\":\"%s\","
                     "\"renewTime\":\"%s\",\"acquireTime\":\"" AT(0) "\","
                                                                     "\"transitions\":\"%s\"}}}",
                     leader, ttl, renew, transitions));
}

static bool leads_in_term(const ClusterView *view, const void *term)
{
    return view->leader.name != NULL && view->leader.create_revision == *(const int64_t *)term;
}

static void patroni_leads(void)
{
    static const int64_t fifth = 5;
    if (lab_mode == KUBERNETES_LEASES)
        return; // Patroni has no such mode
    lab_create(lab_leader_kind(), arena_printf(lab_arena,
                                               "{\"metadata\":{\"name\":\"%s\",\"labels\":{"
                                               "\"application\":\"patroni\",\"cluster-name\":"
                                               "\"%s\"}}}",
                                               lab_leader_name(), lab_scope));
    Dcs *a = lab_member("a");
    (void)lab_wait(a, lab_is_vacant, &lab_never, "an empty store");
    patroni_write("p", AT(1), "4", "30");
    ClusterView view = lab_wait(a, leads_in_term, &fifth, "Patroni's leader");
    assert_non_null(view.leader.session);
    assert_false(term_record_valid(&view.term, &view.leader));
    lab_write_leader(NULL);
    (void)lab_wait(a, lab_is_vacant, &lab_released, "Patroni's release");
    patroni_write("p", AT(2), "5", "1");
    (void)lab_wait(a, lab_is_vacant, &lab_expired, "the end of Patroni's leader");
    const Acquired held = lab_acquire(a, "i");
    assert_int_equal(held.term, 7);
    const Tree *object = lab_get(lab_leader_kind(), lab_leader_name());
    assert_string_equal(kube_annotation(object, "leader"), "a");
    assert_string_equal(kube_annotation(object, "transitions"), "6");
    assert_string_equal(kube_annotation(object, "ttl"), "30");
    assert_string_equal(kube_annotation(object, "renewTime"),
                        kube_annotation(object, "acquireTime"));
    // It takes over by its own name's rules, and what it does not know stays on the object.
    lab_write_leader(NULL);
    patroni_write("q", AT(3), "7", "30");
    view = lab_wait(a, lab_has_leader, "q", "Patroni to lead again");
    assert_false(term_record_valid(&view.term, &view.leader));
    lab_refuse_renewal(a, held.term);
    dcs_free(a);
}

// Made by hand without our labels, no list shows it: it is found all the same.
static void unlabelled_object(void)
{
    lab_create(lab_leader_kind(),
               arena_printf(lab_arena, "{\"metadata\":{\"name\":\"%s\"}}", lab_leader_name()));
    Dcs *a = lab_member("a"), *b = lab_member("b");
    const Acquired held = lab_acquire(a, "i");
    (void)lab_wait(b, lab_has_leader, "a", "a to lead");
    (void)lab_renew(a, held.term, NULL);
    dcs_free(a);
    dcs_free(b);
}

// --- sessions

static void sessions_are_resumed(void)
{
    Dcs *a = lab_member("a");
    char kept[32];
    const char *session = NULL;
    LeaseProof proof;
    Error err = {0};
    const Acquired held = lab_acquire(a, "i");
    (void)copy_text(kept, sizeof kept, lab_refresh(a).leader.session);
    // Of another ttl while it holds: the same, and told by the next renewal.
    assert_string_equal(lab_open(a, 20000), kept);
    assert_int_equal(lab_renew(a, held.term, NULL).ttl_ms, 20000);
    dcs_free(a);

    a = lab_store(&(LabOptions){.member = "a", .watch = true});
    CHECK(a->ops->open_session(a, 10000, kept, lab_in(5000), &session, &proof, &err));
    assert_string_equal(session, kept);
    // A fence stands by the ttl that was told: nobody is told a shorter one by going on.
    assert_int_equal(proof.ttl_ms, 20000);
    assert_int_equal(lab_renew(a, held.term, NULL).ttl_ms, 20000);
    assert_string_equal(lab_open(a, TTL_MS), kept);
    assert_int_equal(lab_renew(a, held.term, NULL).ttl_ms, TTL_MS);
    assert_string_equal(lab_refresh(a).leader.session, kept);
    dcs_free(a);

    a = lab_store(&(LabOptions){.member = "a", .watch = true});
    assert_false(
        a->ops->open_session(a, TTL_MS, "0123456789abcdef", lab_in(5000), &session, &proof, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_string_not_equal(lab_open(a, TTL_MS), kept);
    lab_refuse_renewal(a, held.term); // another session's
    dcs_free(a);
}

static void sessions_ask_when_it_is_quiet(void)
{
    lab_pod("a");
    Dcs *a = lab_store(&(LabOptions){.member = "a", .lossy = true, .watch = true});
    LeaseProof proof;
    Error err = {0};
    (void)lab_open(a, TTL_MS);
    (void)lab_wait(a, lab_is_vacant, &lab_never, "a first view");
    const Instant began = lab_now();
    Kube *kube = (Kube *)(void *)a;
    while (!kube_heard_since(kube, began)) { // the streams stand
        if (lab_ms_since(began) > 10000)
            fail_msg("mode %d: not heard of", (int)lab_mode);
        CHECK(a->ops->keep_session(a, lab_in(3000), &proof, &err));
        (void)lab_refresh(a);
        lab_sleep_ms(20);
    }
    lossy_proxy_block(lab_proxy, true);
    while (kube_heard_since(kube, began) && lab_ms_since(began) < 10000)
        lab_sleep_ms(10);
    assert_false(a->ops->keep_session(a, lab_in(500), &proof, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    lossy_proxy_block(lab_proxy, false);
    err = (Error){0};
    CHECK(a->ops->keep_session(a, lab_in(5000), &proof, &err));
    dcs_free(a);
}

IN_ALL_MODES(keys_by_compare_and_swap)
IN_ALL_MODES(bootstrap_is_claimed)
IN_ALL_MODES(members_and_labels)
IN_ALL_MODES(labels_in_a_handover)
IN_ALL_MODES(another_mode)
IN_ALL_MODES(patroni_leads)
IN_ALL_MODES(unlabelled_object)
IN_ALL_MODES(sessions_are_resumed)
IN_ALL_MODES(sessions_ask_when_it_is_quiet)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_by_compare_and_swap),
        cmocka_unit_test(test_bootstrap_is_claimed),
        cmocka_unit_test(test_members_and_labels),
        cmocka_unit_test(test_labels_in_a_handover),
        cmocka_unit_test(test_another_mode),
        cmocka_unit_test(test_patroni_leads),
        cmocka_unit_test(test_unlabelled_object),
        cmocka_unit_test(test_sessions_are_resumed),
        cmocka_unit_test(test_sessions_ask_when_it_is_quiet),
    };
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, lab_start, lab_stop);
}
