// The store at a real API server, each scenario in all three modes. tests/kube/test_store.py starts
// one and runs this.
#include "tests/kube/store_lab.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

// Where the leader's Endpoints lead clients. NULL: nowhere. The other modes leave that to labels.
static void assert_leads_to(const char *member)
{
    if (lab_mode != KUBERNETES_ENDPOINTS)
        return;
    const Tree *subsets = tree_get(lab_get(KIND_ENDPOINTS, lab_leader_name()), "subsets");
    if (member == NULL) {
        assert_true(subsets == NULL || subsets->count == 0);
        return;
    }
    assert_int_equal(subsets->count, 1);
    const Tree *addresses = tree_get(subsets->entries[0].value, "addresses");
    assert_int_equal(addresses->count, 1);
    assert_string_equal(tree_get_string(addresses->entries[0].value, "ip", ""),
                        lab_address_of(member));
}

// Acquire, confirm, renew, release; what the other one sees of it.
static void hold_and_release(void)
{
    Dcs *a = lab_member("a"), *b = lab_member("b");
    ClusterView view = lab_wait(b, lab_is_vacant, &lab_never, "an empty store");
    const Acquired first = lab_acquire(a, "i");
    assert_int_equal(first.term, 1);
    view = lab_wait(b, lab_has_leader, "a", "a to lead");
    assert_int_equal(view.leader.create_revision, 1);
    assert_non_null(view.leader.session);
    assert_true(term_record_valid(&view.term, &view.leader));
    assert_string_equal(view.term.instance, "i");

    // Others' eyes compare texts: our own record, read back, is ours.
    view = lab_refresh(a);
    (void)lab_put(a, KEY_TERM,
                  records_term(lab_arena, "a", "i", first.term, 1, 2, true, false, LSN_NONE),
                  view.term.mod_revision);
    const Instant before = lab_now();
    const LeaseProof proof = lab_renew(
        a, first.term, "{\"optime\":5,\"slots\":{\"a\":5,\"b\":4},\"retain_slots\":[\"a\",\"b\"]}");
    assert_false(instant_before(proof.sent_at, before));
    assert_int_equal(instant_ms_between(proof.sent_at, proof.valid_until), TTL_MS);
    view = lab_refresh(b);
    assert_true(view.term.confirmed);
    assert_int_equal(view.optime, 5);
    assert_string_equal(view.status_text, "{\"optime\":5,\"slots\":{\"a\":5,\"b\":4},\"retain_"
                                          "slots\":[\"a\",\"b\"]}");
    assert_leads_to("a");

    lab_release(a, first.term);
    lab_release(a, first.term); // again: it is done
    lab_refuse_renewal(a, first.term);
    view = lab_wait(b, lab_is_vacant, &lab_released, "the release");
    assert_int_equal(view.optime, 77);
    assert_int_equal(view.term.released_lsn, 77);
    assert_string_equal(view.vacancy.holder, "a");
    assert_leads_to(NULL);
    // Also of the same name: a term names one acquisition.
    assert_int_equal(lab_acquire(a, "i").term, 2);

    // With a successor there, clients are led from one to the other, and not to nowhere in between.
    assert_leads_to("a");
    lab_hand_over(a, 2);
    (void)lab_wait(b, lab_is_vacant, &lab_released, "the handover");
    assert_leads_to("a");
    assert_int_equal(lab_acquire(b, "i").term, 3);
    assert_leads_to("b");
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
        lab_release(racers[winner].dcs, racers[winner].acquired.term);
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
    const LeaseProof proof = lab_renew(a, held.term, NULL);
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
    assert_int_equal(view.vacancy.kind, VACANCY_EXPIRED);
    assert_string_equal(view.vacancy.holder, "a");
    const int64_t late_ms = instant_ms_between(proof.valid_until, lab_now());
    if (late_ms < 0 || late_ms > 700)
        fail_msg("mode %d: woken %lld ms after the lease of the holder", (int)lab_mode,
                 (long long)late_ms);
    assert_int_equal(lab_acquire(b, "j").term, held.term + 1);
    lab_refuse_renewal(a, held.term);
    dcs_free(a);
    dcs_free(b);
}

static LeaderState state_there(void)
{
    const Tree *object = lab_get(lab_leader_kind(), lab_leader_name());
    assert_non_null(object);
    return kube_leader_state(lab_arena, lab_mode, object);
}

static void annotate_leader(const char *fields)
{
    lab_patch(lab_leader_kind(), lab_leader_name(),
              arena_printf(lab_arena, "{\"metadata\":{\"annotations\":{%s}}}", fields));
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
        ClusterView view = lab_wait(b, lab_is_vacant, &lab_tampered, "tampering");
        assert_string_equal(view.vacancy.holder, "a");
        assert_true(str_eq(view.leader.name, names[i]));
        lab_refuse_renewal(a, held.term);
        const int64_t term = held.term;
        held = lab_acquire(a, "i");
        assert_int_equal(held.term, term + 1);
        (void)lab_wait(b, lab_has_leader, "a", "a to lead again");
        (void)lab_renew(a, held.term, NULL);
    }

    // Deleted: put back as it was, by the renewal itself.
    const LeaderState was = state_there();
    lab_delete(lab_leader_kind(), lab_leader_name());
    (void)lab_wait(b, lab_is_vacant, &lab_tampered, "the deletion");
    (void)lab_renew(a, held.term, NULL);
    const LeaderState is = state_there();
    assert_string_equal(is.record.acquire_time, was.record.acquire_time);
    assert_int_equal(kube_term_of(&is), held.term);
    assert_true(is.ours);
    (void)lab_wait(b, lab_has_leader, "a", "the record to be back");

    // Its labels taken off: it has vanished for everybody, and the renewal puts them on again.
    lab_patch(lab_leader_kind(), lab_leader_name(),
              "{\"metadata\":{\"labels\":{\"application\":null}}}");
    (void)lab_wait(b, lab_is_vacant, &lab_tampered, "the lost labels");
    (void)lab_wait(a, lab_is_vacant, &lab_tampered, "the lost labels, of our own");
    (void)lab_renew(a, held.term, NULL);
    (void)lab_wait(b, lab_has_leader, "a", "the labels to be back");

    // What stands beside the record taken away, one by one and together: put back likewise.
    static const char *const beside[] = {"\"howdah.io/term\":null", "\"howdah.io/session\":null",
                                         "\"howdah.io/term\":null,\"howdah.io/session\":null"};
    for (size_t i = 0; i < COUNT_OF(beside); i++) {
        annotate_leader(beside[i]);
        (void)lab_renew(a, held.term, NULL);
        const LeaderState mended = state_there();
        assert_true(mended.ours);
        assert_int_equal(mended.term.term, held.term);
        assert_string_equal(mended.record.acquire_time, was.record.acquire_time);
    }

    // Nobody but the holder puts it back, and a released term not even that one.
    lab_release(a, held.term);
    lab_delete(lab_leader_kind(), lab_leader_name());
    lab_refuse_renewal(a, held.term);
    assert_null(lab_get(lab_leader_kind(), lab_leader_name()));
    // A term is not used twice, although the object begins anew.
    const int64_t next = lab_acquire(a, "i").term;
    assert_int_equal(next, held.term + 1);

    // Acquired at another time, by another session: of the same name, and yet somebody else.
    static const char later[] = "acquireTime\":\"2030-01-01T00:00:00.000000Z\"";
    annotate_leader("\"howdah.io/session\":null");
    if (lab_mode == KUBERNETES_LEASES)
        lab_patch(lab_leader_kind(), lab_leader_name(),
                  arena_printf(lab_arena, "{\"spec\":{\"%s}}", later));
    else
        annotate_leader(arena_printf(lab_arena, "\"%s", later));
    lab_refuse_renewal(a, next);
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

// Waits until the storm has written once more.
static bool storm_wrote_again(const Storm *storm)
{
    const int before = atomic_load(&storm->edits);
    const Instant since = lab_now();
    while (atomic_load(&storm->edits) == before && lab_ms_since(since) < 15000)
        lab_sleep_ms(1);
    return atomic_load(&storm->edits) != before;
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
    bool stormy = true;
    for (int i = 0; i < RENEWALS && ok && stormy; i++) {
        LeaseProof proof;
        stormy = storm_wrote_again(&storm);
        ok = a->ops->renew(a, held.term, NULL, lab_in(5000), &proof, &err);
    }
    atomic_store(&storm.stop, true);
    pthread_join(storm.thread, NULL);
    lab_check(ok, &err, "renew in a storm");
    assert_true(stormy);
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
    (void)lab_wait(b, lab_is_vacant, &lab_expired, "the end of a's time");
    const Acquired won = lab_acquire(b, "j");
    const char *copy = arena_printf(
        lab_arena, "{\"metadata\":{\"resourceVersion\":\"%s\",\"annotations\":{\"late\":\"1\"}}}",
        version);
    assert_int_equal(lab_try_patch(lab_leader_kind(), lab_leader_name(), copy), 409);
    lab_refuse_renewal(a, term);
    (void)lab_renew(b, won.term, NULL);
    const ClusterView view = lab_refresh(b);
    assert_string_equal(view.leader.name, "b");
    assert_int_equal(view.leader.create_revision, won.term);
    dcs_free(a);
    dcs_free(b);
}

IN_ALL_MODES(hold_and_release)
IN_ALL_MODES(three_race)
IN_ALL_MODES(leader_expires)
IN_ALL_MODES(tampered_with)
IN_ALL_MODES(storm_of_conflicts)
IN_ALL_MODES(lost_replies)
IN_ALL_MODES(late_copy)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hold_and_release),   cmocka_unit_test(test_three_race),
        cmocka_unit_test(test_leader_expires),     cmocka_unit_test(test_tampered_with),
        cmocka_unit_test(test_storm_of_conflicts), cmocka_unit_test(test_lost_replies),
        cmocka_unit_test(test_late_copy),
    };
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, lab_start, lab_stop);
}
