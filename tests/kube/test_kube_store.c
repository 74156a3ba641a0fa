// The store at a real API server, each scenario in all three modes. tests/kube/test_store.py starts
// one and runs this.
#include "tests/kube/store_lab.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

static const VacancyKind never = VACANCY_NEVER, released = VACANCY_RELEASED,
                         expired = VACANCY_EXPIRED, tampered = VACANCY_TAMPERED;

static LeaseProof renew(Dcs *dcs, int64_t term, const char *status)
{
    LeaseProof proof = {0};
    Error err = {0};
    CHECK(dcs->ops->renew(dcs, term, status, lab_in(3000), &proof, &err));
    return proof;
}

static void refuse_renewal(Dcs *dcs, int64_t term)
{
    LeaseProof proof;
    Error err = {0};
    assert_false(dcs->ops->renew(dcs, term, NULL, lab_in(3000), &proof, &err));
    if (err.kind != ERR_CONFLICT)
        fail_msg("mode %d: %s: %s", (int)lab_mode, error_kind_name(err.kind), err.text);
}

static void release(Dcs *dcs, int64_t term)
{
    Error err = {0};
    const ReleaseRequest request = {
        .term = term, .instance = "i", .timeline = 2, .lsn = 77, .status = "{\"optime\":77}"};
    CHECK(dcs->ops->release(dcs, &request, lab_in(3000), &err));
}

static int64_t put(Dcs *dcs, DcsKey key, const char *value, int64_t expected)
{
    int64_t revision = 0;
    Error err = {0};
    CHECK(dcs->ops->write(dcs, key, value, expected, lab_in(3000), &revision, &err));
    return revision;
}

static void refuse_write(Dcs *dcs, DcsKey key, const char *value, int64_t expected)
{
    Error err = {0};
    assert_false(dcs->ops->write(dcs, key, value, expected, lab_in(3000), NULL, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
}

// Acquire, confirm, renew, release; what the other one sees of it.
static void hold_and_release(void)
{
    Dcs *a = lab_member("a"), *b = lab_member("b");
    ClusterView view = lab_wait(b, lab_is_vacant, &never, "an empty store");
    const Acquired first = lab_acquire(a, "i");
    assert_int_equal(first.term, 1);
    view = lab_wait(b, lab_has_leader, "a", "a to lead");
    assert_int_equal(view.leader.create_revision, 1);
    assert_non_null(view.leader.session);
    assert_true(term_record_valid(&view.term, &view.leader));
    assert_string_equal(view.term.instance, "i");

    // Others' eyes compare texts: our own record, read back, is ours.
    view = lab_refresh(a);
    (void)put(a, KEY_TERM,
              records_term(lab_arena, "a", "i", first.term, 1, 2, true, false, LSN_NONE),
              view.term.mod_revision);
    const Instant before = lab_now();
    const LeaseProof proof = renew(
        a, first.term, "{\"optime\":5,\"slots\":{\"a\":5,\"b\":4},\"retain_slots\":[\"a\",\"b\"]}");
    assert_false(instant_before(proof.sent_at, before));
    assert_int_equal(instant_ms_between(proof.sent_at, proof.valid_until), TTL_MS);
    view = lab_refresh(b);
    assert_true(view.term.confirmed);
    assert_int_equal(view.optime, 5);
    assert_string_equal(view.status_text, "{\"optime\":5,\"slots\":{\"a\":5,\"b\":4},\"retain_"
                                          "slots\":[\"a\",\"b\"]}");
    if (lab_mode == KUBERNETES_ENDPOINTS)
        assert_int_equal(tree_get(lab_get(KIND_ENDPOINTS, lab_leader_name()), "subsets")->count, 1);

    release(a, first.term);
    release(a, first.term); // again: it is done
    refuse_renewal(a, first.term);
    view = lab_wait(b, lab_is_vacant, &released, "the release");
    assert_int_equal(view.optime, 77);
    assert_int_equal(view.term.released_lsn, 77);
    assert_string_equal(view.vacancy.holder, "a");
    if (lab_mode == KUBERNETES_ENDPOINTS) {
        const Tree *subsets = tree_get(lab_get(KIND_ENDPOINTS, lab_leader_name()), "subsets");
        assert_true(subsets == NULL || subsets->count == 0);
    }
    // Also of the same name: a term names one acquisition.
    assert_int_equal(lab_acquire(a, "i").term, 2);
    dcs_free(a);
    dcs_free(b);
}

typedef struct {
    Dcs *dcs;
    AcquireRequest request;
    Acquired acquired;
    bool won;
    Error err;
} Racer;

static void *race_thread(void *context)
{
    Racer *racer = context;
    racer->won = racer->dcs->ops->acquire(racer->dcs, &racer->request, lab_in(5000),
                                          &racer->acquired, &racer->err);
    return NULL;
}

// Decided from the same view, at the same time: one wins, and the others are told so.
static void three_race(void)
{
    static const char *const names[] = {"a", "b", "c"};
    enum { ROUNDS = 6 };
    Racer racers[COUNT_OF(names)] = {0};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        racers[i].dcs = lab_member(names[i]);
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[COUNT_OF(names)];
        int winners = 0;
        size_t winner = 0;
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            const ClusterView view = lab_refresh(racers[i].dcs);
            racers[i].request = lab_request(&view, "i");
            racers[i].err = (Error){0};
        }
        for (size_t i = 0; i < COUNT_OF(names); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, race_thread, &racers[i]), 0);
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            pthread_join(threads[i], NULL);
            winners += racers[i].won ? 1 : 0;
            winner = racers[i].won ? i : winner;
            if (!racers[i].won && racers[i].err.kind != ERR_CONFLICT)
                fail_msg("%s: %s", error_kind_name(racers[i].err.kind), racers[i].err.text);
        }
        assert_int_equal(winners, 1);
        assert_int_equal(racers[winner].acquired.term, round + 1);
        release(racers[winner].dcs, racers[winner].acquired.term);
    }
    for (size_t i = 0; i < COUNT_OF(names); i++)
        dcs_free(racers[i].dcs);
}

// Whoever does not renew has lost when its time is over; the other one is woken at that moment.
static void leader_expires(void)
{
    enum { SHORT_MS = 3000 };
    Dcs *a = lab_member("a"), *b = lab_member("b");
    (void)lab_open(a, SHORT_MS);
    const Acquired held = lab_acquire(a, "i");
    (void)lab_wait(b, lab_has_leader, "a", "a to lead");
    const LeaseProof proof = renew(a, held.term, NULL);
    ClusterView view = lab_refresh(b);
    const AcquireRequest early = lab_request(&view, "j");
    Acquired acquired;
    Error err = {0};
    assert_false(b->ops->acquire(b, &early, lab_in(3000), &acquired, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);

    bool woken = false;
    while (lab_event(b, 15000)) {
        assert_true(b->ops->view(b, lab_arena, &view));
        woken = view.leader.name == NULL;
        if (woken)
            break;
    }
    assert_true(woken);
    assert_int_equal(view.vacancy.kind, expired);
    assert_string_equal(view.vacancy.holder, "a");
    const int64_t late_ms = instant_ms_between(proof.valid_until, lab_now());
    if (late_ms < 0 || late_ms > 700)
        fail_msg("mode %d: woken %lld ms after the lease of the holder", (int)lab_mode,
                 (long long)late_ms);
    assert_int_equal(lab_acquire(b, "j").term, held.term + 1);
    refuse_renewal(a, held.term);
    dcs_free(a);
    dcs_free(b);
}

static LeaderState state_there(void)
{
    const Tree *object = lab_get(lab_leader_kind(), lab_leader_name());
    assert_non_null(object);
    return kube_leader_state(lab_arena, lab_mode, object);
}

// Renewed in time by its holder, whatever others do to the record meanwhile.
static void tampered_with(void)
{
    Dcs *a = lab_member("a"), *b = lab_member("b");
    Acquired held = lab_acquire(a, "i");
    (void)lab_wait(b, lab_has_leader, "a", "a to lead");

    // The name wiped off, then written over: reserved; the holder takes it over the edit.
    static const char *const names[] = {NULL, "x"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        lab_write_leader(names[i]);
        ClusterView view = lab_wait(b, lab_is_vacant, &tampered, "tampering");
        assert_string_equal(view.vacancy.holder, "a");
        assert_true(str_eq(view.leader.name, names[i]));
        refuse_renewal(a, held.term);
        const int64_t term = held.term;
        held = lab_acquire(a, "i");
        assert_int_equal(held.term, term + 1);
        (void)lab_wait(b, lab_has_leader, "a", "a to lead again");
        (void)renew(a, held.term, NULL);
    }

    // Deleted: put back as it was, by the renewal itself.
    const LeaderState was = state_there();
    lab_delete(lab_leader_kind(), lab_leader_name());
    (void)lab_wait(b, lab_is_vacant, &tampered, "the deletion");
    (void)renew(a, held.term, NULL);
    const LeaderState is = state_there();
    assert_string_equal(is.record.acquire_time, was.record.acquire_time);
    assert_int_equal(kube_term_of(&is), held.term);
    assert_true(is.ours);
    (void)lab_wait(b, lab_has_leader, "a", "the record to be back");

    // Its labels taken off: it has vanished for everybody, and the renewal puts them on again.
    lab_patch(lab_leader_kind(), lab_leader_name(),
              "{\"metadata\":{\"labels\":{\"application\":null}}}");
    (void)lab_wait(b, lab_is_vacant, &tampered, "the lost labels");
    (void)lab_wait(a, lab_is_vacant, &tampered, "the lost labels, of our own");
    (void)renew(a, held.term, NULL);
    (void)lab_wait(b, lab_has_leader, "a", "the labels to be back");

    // Nobody but the holder puts it back, and a released term not even that one.
    release(a, held.term);
    lab_delete(lab_leader_kind(), lab_leader_name());
    refuse_renewal(a, held.term);
    assert_null(lab_get(lab_leader_kind(), lab_leader_name()));
    // A term is not used twice, although the object begins anew.
    assert_int_equal(lab_acquire(a, "i").term, held.term + 1);
    dcs_free(a);
    dcs_free(b);
}

typedef struct {
    pthread_t thread;
    atomic_bool stop;
    atomic_int edits;
} Storm;

static void *storm_thread(void *context)
{
    Storm *storm = context;
    for (int i = 0; !atomic_load(&storm->stop); i++) {
        char value[16];
        (void)snprintf(value, sizeof value, "%d", i);
        if (lab_annotate(lab_leader_kind(), lab_leader_name(), "someone/else", value))
            atomic_fetch_add(&storm->edits, 1);
    }
    return NULL;
}

// Somebody else's annotation is written on the object all the time: every version is old when it
// is used, and still the lease is renewed in time.
static void storm_of_conflicts(void)
{
    enum { RENEWALS = 25 };
    Storm storm = {.edits = 0};
    Dcs *a = lab_member("a");
    const Acquired held = lab_acquire(a, "i");
    Error err = {0};
    // The storm has the hand and the arena to itself until it is over.
    assert_int_equal(pthread_create(&storm.thread, NULL, storm_thread, &storm), 0);
    bool ok = true;
    for (int i = 0; i < RENEWALS && ok; i++) {
        LeaseProof proof;
        ok = a->ops->renew(a, held.term, NULL, lab_in(5000), &proof, &err);
    }
    atomic_store(&storm.stop, true);
    pthread_join(storm.thread, NULL);
    lab_check(ok, &err, "renew in a storm");
    assert_true(atomic_load(&storm.edits) > RENEWALS);
    dcs_free(a);
}

// --- lost replies: TLS hides what is lost, so the store is alone on its connection

static int64_t lossy_term;

static bool do_acquire(Dcs *dcs, Error *err)
{
    ClusterView view;
    Acquired acquired = {0};
    assert_true(dcs->ops->view(dcs, lab_arena, &view));
    const AcquireRequest request = lab_request(&view, "i");
    if (!dcs->ops->acquire(dcs, &request, lab_in(8000), &acquired, err))
        return false;
    lossy_term = acquired.term;
    return true;
}

static bool do_renew(Dcs *dcs, Error *err)
{
    LeaseProof proof;
    return dcs->ops->renew(dcs, lossy_term, "{\"optime\":8}", lab_in(4000), &proof, err);
}

static bool do_config(Dcs *dcs, Error *err)
{
    ClusterView view;
    assert_true(dcs->ops->view(dcs, lab_arena, &view));
    return dcs->ops->write(dcs, KEY_CONFIG,
                           arena_printf(lab_arena, "{\"n\":%" PRId64 "}", view.revision),
                           view.config_revision, lab_in(4000), NULL, err);
}

static bool do_member(Dcs *dcs, Error *err)
{
    static int number;
    return dcs->ops->put_member(
        dcs, arena_printf(lab_arena, "{\"state\":\"running\",\"n\":%d}", ++number), lab_in(4000),
        err);
}

static bool do_release(Dcs *dcs, Error *err)
{
    const ReleaseRequest request = {.term = lossy_term, .instance = "i"};
    return dcs->ops->release(dcs, &request, lab_in(4000), err);
}

static const struct {
    const char *name;
    bool (*run)(Dcs *dcs, Error *err);
} writes[] = {{"renew", do_renew},
              {"config", do_config},
              {"member", do_member},
              {"release", do_release},
              {"acquire", do_acquire}};

static void lost_replies(void)
{
    static const LossMode losses[] = {LOSE_REPLY, LOSE_REQUEST, LOSE_SILENT};
    lab_pod("a");
    Dcs *a = lab_store(&(LabOptions){.member = "a", .lossy = true});
    Error err = {0};
    (void)lab_open(a, TTL_MS);
    (void)lab_refresh(a);
    CHECK(do_acquire(a, &err));
    for (size_t m = 0; m < COUNT_OF(losses); m++) {
        for (size_t i = 0; i < COUNT_OF(writes); i++) {
            const bool acquires = writes[i].run == do_acquire;
            LeaseProof proof;
            err = (Error){0};
            CHECK(a->ops->keep_session(a, lab_in(3000), &proof, &err)); // the connection stands
            // An acquire reads first; that one's answer is lost and asked for again.
            lossy_proxy_lose(lab_proxy, "", acquires ? 2 : 1, losses[m]);
            const bool ok = writes[i].run(a, &err);
            if (!ok && !(err.kind == ERR_UNCERTAIN && losses[m] == LOSE_SILENT))
                fail_msg("mode %d: %s, loss %d: %s: %s", (int)lab_mode, writes[i].name,
                         (int)losses[m], error_kind_name(err.kind), err.text);
            assert_true(lossy_proxy_lost(lab_proxy) >= 1);
            lossy_proxy_lose(lab_proxy, "", 0, losses[m]);
            if (!ok) { // what was silent is known in the end
                err = (Error){0};
                if (!writes[i].run(a, &err))
                    fail_msg("mode %d: %s again: %s: %s", (int)lab_mode, writes[i].name,
                             error_kind_name(err.kind), err.text);
            }
        }
    }
    dcs_free(a);
}

// A renewal whose answer never came, and a copy of it that arrives when another leads. TLS lets
// nobody hold the bytes back, so the copy is sent by hand: conditional on the same version.
static void late_copy(void)
{
    Dcs *a = lab_store(&(LabOptions){.member = "a", .lossy = true});
    Dcs *b = lab_member("b");
    Error err = {0};
    LeaseProof proof;
    (void)lab_open(a, 2000);
    (void)lab_refresh(a);
    CHECK(do_acquire(a, &err));
    const int64_t term = lossy_term;
    (void)lab_wait(b, lab_has_leader, "a", "a to lead");
    CHECK(a->ops->keep_session(a, lab_in(3000), &proof, &err));
    const Tree *metadata = tree_get(lab_get(lab_leader_kind(), lab_leader_name()), "metadata");
    const char *version = tree_get_string(metadata, "resourceVersion", "");
    lossy_proxy_lose(lab_proxy, "", 1000, LOSE_SILENT);
    assert_false(a->ops->renew(a, term, NULL, lab_in(400), &proof, &err));
    assert_int_equal(err.kind, ERR_UNCERTAIN);
    lossy_proxy_lose(lab_proxy, "", 0, LOSE_SILENT);
    (void)lab_wait(b, lab_is_vacant, &expired, "the end of a's time");
    const Acquired won = lab_acquire(b, "j");
    const char *copy = arena_printf(
        lab_arena, "{\"metadata\":{\"resourceVersion\":\"%s\",\"annotations\":{\"late\":\"1\"}}}",
        version);
    assert_int_equal(lab_try_patch(lab_leader_kind(), lab_leader_name(), copy), 409);
    refuse_renewal(a, term);
    (void)renew(b, won.term, NULL);
    const ClusterView view = lab_refresh(b);
    assert_string_equal(view.leader.name, "b");
    assert_int_equal(view.leader.create_revision, won.term);
    dcs_free(a);
    dcs_free(b);
}

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
        const int64_t first = put(a, rows[i].key, rows[i].values[0], 0);
        refuse_write(ctl, rows[i].key, rows[i].values[1], 0);
        (void)lab_refresh(ctl);
        const int64_t second = put(a, rows[i].key, rows[i].values[1], first);
        assert_true(second > first);
        refuse_write(a, rows[i].key, rows[i].values[0], first);
    }
    ClusterView view = lab_refresh(ctl);
    assert_string_equal(view.initialize, "7301012345679");
    assert_int_equal(tree_get_int(view.config, "ttl", 0), 20);
    assert_string_equal(view.failover.candidate, "b");
    assert_string_equal(view.sync.leader, "a");
    assert_int_equal(view.history_count, 1);
    (void)put(ctl, KEY_FAILOVER, "{}", view.failover.mod_revision);
    (void)put(ctl, KEY_SYNC, NULL, view.sync.mod_revision);
    (void)put(ctl, KEY_CONFIG, "{\"ttl\":25}", REVISION_ANY);
    view = lab_refresh(a);
    assert_null(view.failover.leader);
    assert_true(view.failover.mod_revision > 0); // cleared is a change
    assert_null(view.sync.leader);
    assert_int_equal(tree_get_int(view.config, "ttl", 0), 25);

    // What a race is decided from must still be so.
    AcquireRequest request = lab_request(&view, "i");
    Acquired acquired;
    Error err = {0};
    (void)put(ctl, KEY_FAILOVER, "{\"member\":\"b\"}", REVISION_ANY);
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
    (void)lab_wait(b, lab_is_vacant, &expired, "the end of a's time");
    view = lab_refresh(b);
    assert_null(view.initialize);
    request = lab_request(&view, "j");
    request.bootstrap = true;
    err = (Error){0};
    CHECK(b->ops->acquire(b, &request, lab_in(5000), &other, &err));
    view = lab_refresh(b);
    (void)put(b, KEY_INITIALIZE, "7301012345678", view.initialize_revision);
    view = lab_refresh(a);
    assert_string_equal(view.initialize, "7301012345678");
    if (lab_mode == KUBERNETES_ENDPOINTS) {
        const Instant began = lab_now();
        const char *service = arena_printf(lab_arena, "%s-config", lab_scope);
        (void)put(b, KEY_CONFIG, "{}", 0);
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
    (void)lab_wait(b, lab_is_vacant, &expired, "the end of a's time");
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

static void another_mode(void)
{
    Dcs *a = lab_member("a");
    (void)lab_wait(a, is_free, NULL, "a look at the other modes");
    (void)lab_acquire(a, "i");
    (void)put(a, KEY_INITIALIZE, "7301012345678", 0);
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
    }
    // Nobody leads any more, but the cluster is there.
    lab_mode = mine;
    lab_delete(lab_leader_kind(), lab_leader_name());
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
    (void)lab_wait(a, lab_is_vacant, &never, "an empty store");
    patroni_write("p", AT(1), "4", "30");
    ClusterView view = lab_wait(a, leads_in_term, &fifth, "Patroni's leader");
    assert_non_null(view.leader.session);
    assert_false(term_record_valid(&view.term, &view.leader));
    lab_write_leader(NULL);
    (void)lab_wait(a, lab_is_vacant, &released, "Patroni's release");
    patroni_write("p", AT(2), "5", "1");
    (void)lab_wait(a, lab_is_vacant, &expired, "the end of Patroni's leader");
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
    refuse_renewal(a, held.term);
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
    (void)renew(a, held.term, NULL);
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
    assert_int_equal(renew(a, held.term, NULL).ttl_ms, 20000);
    dcs_free(a);

    a = lab_store(&(LabOptions){.member = "a", .watch = true});
    CHECK(a->ops->open_session(a, TTL_MS, kept, lab_in(5000), &session, &proof, &err));
    assert_string_equal(session, kept);
    (void)renew(a, held.term, NULL);
    assert_string_equal(lab_refresh(a).leader.session, kept);
    dcs_free(a);

    a = lab_store(&(LabOptions){.member = "a", .watch = true});
    assert_false(
        a->ops->open_session(a, TTL_MS, "0123456789abcdef", lab_in(5000), &session, &proof, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_string_not_equal(lab_open(a, TTL_MS), kept);
    refuse_renewal(a, held.term); // another session's
    dcs_free(a);
}

static void sessions_ask_when_it_is_quiet(void)
{
    lab_pod("a");
    Dcs *a = lab_store(&(LabOptions){.member = "a", .lossy = true, .watch = true});
    LeaseProof proof;
    Error err = {0};
    (void)lab_open(a, TTL_MS);
    (void)lab_wait(a, lab_is_vacant, &never, "a first view");
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

// Every scope begins with the same pods' names.
static void forget_pods(void)
{
    static const char *const pods[] = {"a", "b", "c"};
    for (size_t i = 0; i < COUNT_OF(pods); i++) {
        if (lab_get(KIND_PODS, pods[i]) != NULL)
            lab_delete(KIND_PODS, pods[i]);
    }
}

#define IN_ALL_MODES(name)                                                                         \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        for (size_t i = 0; i < COUNT_OF(lab_modes); i++) {                                         \
            lab_begin(lab_modes[i]);                                                               \
            forget_pods();                                                                         \
            name();                                                                                \
        }                                                                                          \
    }

IN_ALL_MODES(hold_and_release)
IN_ALL_MODES(three_race)
IN_ALL_MODES(leader_expires)
IN_ALL_MODES(tampered_with)
IN_ALL_MODES(storm_of_conflicts)
IN_ALL_MODES(lost_replies)
IN_ALL_MODES(late_copy)
IN_ALL_MODES(keys_by_compare_and_swap)
IN_ALL_MODES(bootstrap_is_claimed)
IN_ALL_MODES(members_and_labels)
IN_ALL_MODES(another_mode)
IN_ALL_MODES(patroni_leads)
IN_ALL_MODES(unlabelled_object)
IN_ALL_MODES(sessions_are_resumed)
IN_ALL_MODES(sessions_ask_when_it_is_quiet)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hold_and_release),
        cmocka_unit_test(test_three_race),
        cmocka_unit_test(test_leader_expires),
        cmocka_unit_test(test_tampered_with),
        cmocka_unit_test(test_storm_of_conflicts),
        cmocka_unit_test(test_lost_replies),
        cmocka_unit_test(test_late_copy),
        cmocka_unit_test(test_keys_by_compare_and_swap),
        cmocka_unit_test(test_bootstrap_is_claimed),
        cmocka_unit_test(test_members_and_labels),
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
