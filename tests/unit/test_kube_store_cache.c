#include "dcs/kubernetes/body.h"
#include "dcs/kubernetes/cache.h"
#include "tests/support/test.h"

#include <inttypes.h>
#include <string.h>

// Objects as they come, the view that they make, and how a leader is judged to have gone.
#define MS(ms)  ((Instant){(ms)*NS_PER_MS + 1})
#define TTL_MS  30000
#define SESSION "00000000000000ab"

static Arena *arena;
static KubeCache cache;
static int64_t version;
static KubernetesLabel label_items[] = {{"application", "patroni"}};
static const KubernetesLabels label_list = {label_items, 1};
static KubeLayout layout;

static void begin_in(KubernetesObjects mode)
{
    layout = (KubeLayout){.mode = mode,
                          .namespace = "ns",
                          .scope = "demo",
                          .labels = &label_list,
                          .scope_label = "cluster-name"};
    kube_cache_done(&cache);
    kube_cache_init(&cache, &layout, "a", TTL_MS);
    version = 100;
}

static int begin(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    begin_in(KUBERNETES_ENDPOINTS);
    return 0;
}

static int end(void **state)
{
    (void)state;
    kube_cache_done(&cache);
    arena_free(arena);
    return 0;
}

static const Tree *json(const char *text)
{
    const Tree *tree = NULL;
    Error err = {0};
    if (!tree_parse_json(arena, text, &tree, &err))
        fail_msg("%s: %s", err.text, text);
    return tree;
}

static const Tree *object(const char *name, const char *annotations)
{
    return json(
        arena_printf(arena,
                     "{\"metadata\":{\"name\":\"%s\",\"resourceVersion\":\"%" PRId64
                     "\",\"labels\":{\"application\":\"patroni\",\"cluster-name\":\"demo\"},"
                     "\"annotations\":%s}}",
                     name, ++version, annotations));
}

static const Tree *nothing(void)
{
    return tree_list(arena);
}

static const Tree *one(const Tree *item)
{
    Tree *list = tree_list(arena);
    if (item != NULL)
        tree_append(arena, list, item);
    return list;
}

static void list_first(const Tree *leader, Instant now)
{
    (void)kube_cache_list(&cache, arena, COLLECTION_PODS, nothing(), 1, now, now);
    (void)kube_cache_list(&cache, arena, COLLECTION_STATE, one(leader), version, now, now);
}

static ClusterView view_at(Instant now)
{
    ClusterView view;
    assert_true(kube_cache_view(&cache, arena, SESSION, now, &view));
    return view;
}

static bool put(const char *name, const char *annotations, Instant now)
{
    return kube_cache_put(&cache, arena, KIND_ENDPOINTS, object(name, annotations), now);
}

// Records of the leader's object, as they may follow one another.
#define PATRONI(name, renew, transitions, acquire)                                                 \
    "{\"leader\":\"" name "\",\"ttl\":\"30\",\"renewTime\":\"" renew                               \
    "\",\"acquireTime\":\"" acquire "\",\"transitions\":\"" transitions "\"}"
#define TERM(holder, term, released)                                                               \
    "\"howdah.io/term\":\"{\\\"holder\\\":\\\"" holder                                             \
    "\\\",\\\"instance\\\":\\\"i\\\",\\\"term\\\":" term ",\\\"released\\\":" released "}\""
#define OURS(name, renew, transitions, acquire, term)                                              \
    "{\"leader\":\"" name "\",\"ttl\":\"30\",\"renewTime\":\"" renew                               \
    "\",\"acquireTime\":\"" acquire "\",\"transitions\":\"" transitions                            \
    "\",\"howdah.io/session\":\"" SESSION " " renew "\"," TERM(name, term, "false") "}"
#define UNSTAMPED(name, renew, transitions, acquire, term)                                         \
    "{\"leader\":\"" name "\",\"ttl\":\"30\",\"renewTime\":\"" renew                               \
    "\",\"acquireTime\":\"" acquire "\",\"transitions\":\"" transitions                            \
    "\",\"howdah.io/session\":\"" SESSION " r1\"," TERM(name, term, "false") "}"
#define NOBODY(transitions)                                                                        \
    "{\"ttl\":\"30\",\"transitions\":\"" transitions "\",\"renewTime\":\"r1\"}"
#define MARKED(holder, transitions, term)                                                          \
    "{\"ttl\":\"30\",\"transitions\":\"" transitions "\"," TERM(holder, term, "true") "}"
#define WIPED(transitions, term)                                                                   \
    "{\"ttl\":\"30\",\"transitions\":\"" transitions "\"," TERM("b", term, "false") "}"
#define GONE "gone"

// What is seen one after the other, a second apart, and what it is taken for. The last state is
// looked at after_ms later.
static const struct {
    const char *given;
    const char *steps[4]; // NULL: the object is not there at first
    int64_t after_ms;
    VacancyKind kind;
    const char *leader, *holder;
    bool with_session;
} rows[] = {
    {"nothing at all", {NULL}, 0, VACANCY_NEVER, NULL, NULL, false},
    {"a bare object, made with its Service", {"{}"}, 0, VACANCY_NEVER, NULL, NULL, false},
    {"no leader, but traces", {NOBODY("3")}, 0, VACANCY_FOUND, NULL, NULL, false},
    {"no leader, with a marker", {MARKED("b", "3", "4")}, 0, VACANCY_RELEASED, NULL, "b", false},
    {"an old marker", {MARKED("b", "4", "4")}, 0, VACANCY_FOUND, NULL, "b", false},
    {"a leader at first sight", {PATRONI("b", "r1", "0", "q")}, 0, VACANCY_NONE, "b", NULL, true},
    {"for a full ttl", {PATRONI("b", "r1", "0", "q")}, 30000, VACANCY_NONE, "b", NULL, true},
    {"and no longer", {PATRONI("b", "r1", "0", "q")}, 30001, VACANCY_EXPIRED, NULL, "b", false},
    {"renewed",
     {PATRONI("b", "r1", "0", "q"), PATRONI("b", "r2", "0", "q")},
     30000,
     VACANCY_NONE,
     "b",
     NULL,
     true},
    {"Patroni released",
     {PATRONI("b", "r1", "0", "q"), NOBODY("0")},
     0,
     VACANCY_RELEASED,
     NULL,
     "b",
     false},
    {"Patroni's object deleted",
     {PATRONI("b", "r1", "0", "q"), GONE},
     0,
     VACANCY_TAMPERED,
     NULL,
     "b",
     false},
    {"ours released",
     {OURS("b", "r1", "3", "r1", "4"), MARKED("b", "3", "4")},
     0,
     VACANCY_RELEASED,
     NULL,
     "b",
     false},
    {"ours wiped off by hand",
     {OURS("b", "r1", "3", "r1", "4"), WIPED("3", "4")},
     0,
     VACANCY_TAMPERED,
     NULL,
     "b",
     false},
    {"ours deleted",
     {OURS("b", "r1", "3", "r1", "4"), GONE},
     0,
     VACANCY_TAMPERED,
     NULL,
     "b",
     false},
    {"deleted, and put back by its holder",
     {OURS("b", "r1", "3", "r1", "4"), GONE, OURS("b", "r2", "3", "r1", "4")},
     0,
     VACANCY_NONE,
     "b",
     NULL,
     true},
    {"overwritten by hand: nothing but the name",
     {OURS("b", "r1", "3", "r1", "4"), PATRONI("c", "r1", "3", "r1")},
     0,
     VACANCY_TAMPERED,
     "c",
     "b",
     false},
    {"overwritten, then written back",
     {OURS("b", "r1", "3", "r1", "4"), PATRONI("c", "r1", "3", "r1"),
      OURS("b", "r2", "3", "r1", "4")},
     0,
     VACANCY_NONE,
     "b",
     NULL,
     true},
    {"overwritten, then acquired over it by its holder",
     {OURS("b", "r1", "3", "r1", "4"), PATRONI("c", "r1", "3", "r1"),
      OURS("b", "r2", "4", "r2", "5")},
     0,
     VACANCY_NONE,
     "b",
     NULL,
     true},
    {"a Howdah member acquired, whose clock saw the end first",
     {OURS("b", "r1", "3", "r1", "4"), OURS("c", "r2", "4", "r2", "5")},
     0,
     VACANCY_NONE,
     "c",
     NULL,
     true},
    {"a Patroni member acquired",
     {OURS("b", "r1", "3", "r1", "4"), PATRONI("c", "r2", "4", "r2")},
     0,
     VACANCY_NONE,
     "c",
     NULL,
     true},
    {"released and acquired by Patroni, whose release leaves no marker",
     {OURS("b", "r1", "3", "r1", "4"), MARKED("b", "3", "4"), PATRONI("c", "r2", "4", "r2"),
      NOBODY("4")},
     0,
     VACANCY_RELEASED,
     NULL,
     "c",
     false},
    {"somebody else's renewal, and then the name goes: the holder may count on",
     {OURS("b", "r1", "3", "r1", "4"), UNSTAMPED("b", "r2", "3", "r1", "4"), NOBODY("3")},
     0,
     VACANCY_TAMPERED,
     NULL,
     "b",
     false},
    {"released, acquired by Patroni under the same name, and released again",
     {OURS("b", "r1", "3", "r1", "4"), MARKED("b", "3", "4"), PATRONI("b", "r2", "4", "r2"),
      NOBODY("4")},
     0,
     VACANCY_RELEASED,
     NULL,
     "b",
     false},
    {"a leader that says for how long",
     {"{\"leader\":\"b\",\"ttl\":\"5\",\"renewTime\":\"r\",\"transitions\":\"0\"}"},
     5001,
     VACANCY_EXPIRED,
     NULL,
     "b",
     false},
    {"garbage for a ttl: ours counts",
     {"{\"leader\":\"b\",\"ttl\":\"soon\",\"renewTime\":\"r\"}"},
     30000,
     VACANCY_NONE,
     "b",
     NULL,
     true},
    {"the end, and then the leftovers are deleted",
     {PATRONI("b", "r1", "0", "q"), GONE},
     -1, // the step comes when its time is over
     VACANCY_EXPIRED,
     NULL,
     "b",
     false},
};

static void test_vacancies_by_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t at = 0;
        begin_in(KUBERNETES_ENDPOINTS);
        list_first(rows[i].steps[0] != NULL ? object("demo", rows[i].steps[0]) : NULL, MS(at));
        for (size_t s = 1; s < COUNT_OF(rows[i].steps) && rows[i].steps[s] != NULL; s++) {
            at += rows[i].after_ms < 0 ? TTL_MS + 1000 : 1000;
            if (str_eq(rows[i].steps[s], GONE))
                (void)kube_cache_remove(&cache, arena, KIND_ENDPOINTS, "demo", ++version, MS(at));
            else
                (void)put("demo", rows[i].steps[s], MS(at));
        }
        if (rows[i].after_ms > 0)
            at += rows[i].after_ms;
        const ClusterView view = view_at(MS(at));
        if (view.vacancy.kind != rows[i].kind || !str_eq(view.leader.name, rows[i].leader) ||
            !str_eq(view.vacancy.holder, rows[i].holder) ||
            (view.leader.session != NULL) != rows[i].with_session)
            fail_msg("%s: kind %d leader %s holder %s session %s", rows[i].given,
                     (int)view.vacancy.kind, str_or(view.leader.name, "-"),
                     str_or(view.vacancy.holder, "-"), str_or(view.leader.session, "-"));
    }
}

// Reserved from the first sight on, not from every look.
static const char *with_ttl(const char *record, const char *ttl)
{
    const char *at = strstr(record, "\"30\"");
    return arena_printf(arena, "%.*s\"%s\"%s", (int)(at - record), record, ttl, at + 4);
}

// A ttl that somebody has lowered by hand does not end a time that its holder counts by the old
// one; its own renewal does.
static void test_a_ttl_lowered_by_hand(void **state)
{
    (void)state;
    list_first(object("demo", OURS("b", "r1", "0", "r1", "1")), MS(0));
    (void)put("demo", with_ttl(OURS("b", "r1", "0", "r1", "1"), "1"), MS(1000));
    assert_string_equal(view_at(MS(29000)).leader.name, "b");
    // Another renewTime alone makes no renewal of a Howdah member's.
    (void)put("demo",
              with_ttl("{\"leader\":\"b\",\"ttl\":\"30\",\"renewTime\":\"rx\",\"acquireTime\":"
                       "\"r1\",\"transitions\":\"0\",\"howdah.io/session\":\"" SESSION
                       " r1\"," TERM("b", "1", "false") "}",
                       "2"),
              MS(29500));
    assert_string_equal(view_at(MS(40000)).leader.name, "b");
    (void)put("demo", with_ttl(OURS("b", "r2", "0", "r1", "1"), "10"), MS(41000));
    assert_string_equal(view_at(MS(50000)).leader.name, "b");
    assert_null(view_at(MS(52000)).leader.name);
}

// Two edits in a row end it no sooner: what the first has made of it is not Patroni's, which tells
// others by every renewal for how long.
static void test_edits_in_a_row(void **state)
{
    (void)state;
    list_first(object("demo", OURS("b", "r1", "0", "r1", "1")), MS(0));
    (void)put("demo", UNSTAMPED("b", "rx", "0", "r1", "1"), MS(1000));
    (void)put("demo", with_ttl(UNSTAMPED("b", "ry", "0", "r1", "1"), "1"), MS(2000));
    assert_string_equal(view_at(MS(29000)).leader.name, "b");
    begin_in(KUBERNETES_ENDPOINTS);
    list_first(object("demo", OURS("b", "r1", "0", "r1", "1")), MS(0));
    (void)put("demo", WIPED("0", "1"), MS(1000));
    (void)put("demo", with_ttl(UNSTAMPED("b", "rx", "0", "r1", "1"), "1"), MS(2000));
    assert_string_equal(view_at(MS(29000)).leader.name, "b");
    // A renewal of its own that nobody has seen, under the edit that came right after it.
    begin_in(KUBERNETES_ENDPOINTS);
    list_first(object("demo", OURS("b", "r0", "0", "r0", "1")), MS(0));
    (void)put("demo", with_ttl(UNSTAMPED("b", "rx", "0", "r0", "1"), "1"), MS(20000));
    (void)put("demo", with_ttl(UNSTAMPED("b", "ry", "0", "r0", "1"), "1"), MS(40000));
    assert_string_equal(view_at(MS(49000)).leader.name, "b");
}

// Patroni goes on under the name of a Howdah member. Once that one's own time is over, what it had
// left beside the record says nothing any more.
static void test_patroni_goes_on(void **state)
{
    (void)state;
    list_first(object("demo", OURS("b", "r1", "3", "r1", "4")), MS(0));
    (void)put("demo", UNSTAMPED("b", "r2", "3", "r1", "4"), MS(10000));
    (void)put("demo", UNSTAMPED("b", "r3", "3", "r1", "4"), MS(20000));
    (void)put("demo", UNSTAMPED("b", "r4", "3", "r1", "4"), MS(31000));
    (void)put("demo", NOBODY("3"), MS(41000));
    assert_int_equal(view_at(MS(42000)).vacancy.kind, VACANCY_RELEASED);
}

static void test_when_it_began(void **state)
{
    (void)state;
    list_first(object("demo", OURS("b", "r1", "3", "r1", "4")), MS(0));
    (void)put("demo", WIPED("3", "4"), MS(1000));
    (void)put("demo", PATRONI("c", "r1", "3", "r1"), MS(2000));
    assert_int_equal(view_at(MS(9000)).vacancy.since.ns, MS(1000).ns);
    begin_in(KUBERNETES_ENDPOINTS);
    list_first(object("demo", PATRONI("b", "r1", "0", "q")), MS(500));
    assert_int_equal(kube_vacancy_over_at(&cache.vacancy).ns, MS(30500).ns);
    assert_int_equal(view_at(MS(40000)).vacancy.since.ns, MS(30500).ns);
}

static void test_view_of_a_leader(void **state)
{
    (void)state;
    list_first(object("demo", OURS("b", "r1", "0", "r1", "1")), MS(0));
    ClusterView view = view_at(MS(1));
    assert_int_equal(view.leader.create_revision, 1); // never 0 while somebody leads
    assert_int_equal(view.leader.mod_revision, 101);
    assert_string_equal(view.leader.session, SESSION);
    assert_true(term_record_valid(&view.term, &view.leader));
    assert_int_equal(view.revision, 101);

    // Another's renewal under our stamp is no session of ours, nor is it anybody else's.
    (void)put("demo",
              "{\"leader\":\"b\",\"ttl\":\"30\",\"renewTime\":\"r2\",\"acquireTime\":\"r1\","
              "\"transitions\":\"0\",\"howdah.io/session\":\"" SESSION " r1\"}",
              MS(2));
    view = view_at(MS(3));
    assert_non_null(view.leader.session);
    assert_string_not_equal(view.leader.session, SESSION);

    // Our own name with our session is ours, whoever touched the time.
    (void)put("demo",
              "{\"leader\":\"a\",\"ttl\":\"30\",\"renewTime\":\"r3\",\"acquireTime\":\"r3\","
              "\"transitions\":\"1\",\"howdah.io/session\":\"" SESSION " r1\"}",
              MS(4));
    assert_string_equal(view_at(MS(5)).leader.session, SESSION);

    // An acquire has to pass over the object that is there, also when nobody leads.
    (void)put("demo", MARKED("a", "1", "2"), MS(6));
    view = view_at(MS(7));
    assert_null(view.leader.name);
    assert_int_equal(view.leader.mod_revision, version);
}

// A key's revision moves with its content; renewals leave the others alone.
static void test_revisions_of_keys(void **state)
{
    (void)state;
    list_first(NULL, MS(0));
    assert_true(put("demo", OURS("b", "r1", "0", "r1", "1"), MS(1)));
    assert_true(put("demo-config",
                    "{\"config\":\"{}\",\"initialize\":\"7301012345\",\"history\":\"[]\"}", MS(2)));
    const int64_t config = version;
    assert_true(put("demo-config",
                    "{\"config\":\"{}\",\"initialize\":\"7301012345\",\"history\":\"[[1,2]]\"}",
                    MS(3)));
    assert_false(put("demo", OURS("b", "r2", "0", "r1", "1"), MS(4))); // a renewal wakes nobody
    const int64_t renewed = version;
    ClusterView view = view_at(MS(5));
    assert_int_equal(view.config_revision, config);
    assert_int_equal(view.initialize_revision, config);
    assert_int_equal(view.history_revision, config + 1);
    assert_int_equal(view.leader.mod_revision, renewed);
    assert_int_equal(view.term.mod_revision, 101);
    assert_int_equal(view.sync.mod_revision, 0);
    assert_true(put("demo-failover", "{\"leader\":\"b\",\"member\":\"a\"}", MS(6)));
    assert_true(put("demo-failover", "{}", MS(7)));
    view = view_at(MS(8));
    assert_int_equal(view.failover.mod_revision, version); // cleared is not absent
    assert_null(view.failover.leader);
    assert_true(put("demo", "{\"optime\":\"7\"}", MS(9))); // and the leader is gone
    assert_int_equal(view_at(MS(9)).optime, 7);
}

static void test_old_news_are_no_news(void **state)
{
    (void)state;
    list_first(object("demo", PATRONI("b", "r1", "0", "q")), MS(0));
    const Tree *old = object("demo", PATRONI("b", "r2", "0", "q"));
    (void)put("demo", PATRONI("b", "r3", "0", "q"), MS(1));
    assert_false(kube_cache_put(&cache, arena, KIND_ENDPOINTS, old, MS(20000)));
    assert_int_equal(kube_vacancy_over_at(&cache.vacancy).ns, MS(30001).ns);
    // Deleted, by a read that found nothing: what was on its way does not bring it back.
    const Tree *late = object("demo", PATRONI("b", "r4", "0", "q"));
    (void)put("demo", PATRONI("b", "r5", "0", "q"), MS(2));
    assert_true(kube_cache_remove(&cache, arena, KIND_ENDPOINTS, "demo", 0, MS(3)));
    assert_false(kube_cache_put(&cache, arena, KIND_ENDPOINTS, late, MS(4)));
    assert_null(kube_cache_object(&cache, OBJECT_LEADER));
    // A list that is older than a reply takes nothing away.
    (void)put("demo", PATRONI("b", "r6", "0", "q"), MS(5));
    (void)kube_cache_list(&cache, arena, COLLECTION_STATE, nothing(), version - 1, MS(4), MS(6));
    assert_non_null(kube_cache_object(&cache, OBJECT_LEADER));
    // One asked for later, at a lower version: the store went back.
    assert_true(kube_cache_list(&cache, arena, COLLECTION_STATE, nothing(), 50, MS(7), MS(8)));
    assert_null(kube_cache_object(&cache, OBJECT_LEADER));
    assert_int_equal(view_at(MS(9)).vacancy.kind, VACANCY_TAMPERED);
}

// A bootstrap that dies leaves an empty initialize behind, which counts only as long as its leader.
static void test_claim_dies_with_its_leader(void **state)
{
    (void)state;
    list_first(object("demo", OURS("b", "r1", "0", "r1", "1")), MS(0));
    (void)put("demo-config", "{\"initialize\":\"\",\"howdah.io/claim\":\"" SESSION "\"}", MS(1));
    ClusterView view = view_at(MS(2));
    assert_string_equal(view.initialize, "");
    assert_int_equal(view.initialize_revision, version);
    view = view_at(MS(40000));
    assert_null(view.initialize);
    assert_int_equal(view.initialize_revision, 0);
    (void)put("demo-config", "{\"initialize\":\"\"}", MS(40001)); // Patroni's
    assert_string_equal(view_at(MS(40002)).initialize, "");
}

// Who claims it after one that is dead has written what was there, and yet it is another claim: the
// dead one, if it comes back, must not put its own identifier in its place.
static void test_a_claim_after_a_dead_one(void **state)
{
    (void)state;
    list_first(object("demo", OURS("b", "r1", "0", "r1", "1")), MS(0));
    (void)put("demo-config", "{\"initialize\":\"\",\"howdah.io/claim\":\"" SESSION "\"}", MS(1));
    const int64_t first = kube_cache_key_revision(&cache, arena, KEY_INITIALIZE, MS(2));
    assert_true(put("demo-config", "{\"initialize\":\"\",\"howdah.io/claim\":\"cd\"}", MS(3)));
    (void)put("demo", OURS("b", "r2", "1", "r2", "2"), MS(4));
    (void)put("demo-config", "{\"initialize\":\"\",\"howdah.io/claim\":\"" SESSION "\"}", MS(5));
    const int64_t last = kube_cache_key_revision(&cache, arena, KEY_INITIALIZE, MS(6));
    assert_true(first != 0);
    assert_int_equal(last, version);
    assert_true(last > first);
    // Anything else written beside it changes nothing.
    (void)put("demo-config",
              "{\"initialize\":\"\",\"config\":\"{}\",\"howdah.io/claim\":\"" SESSION "\"}", MS(7));
    assert_int_equal(kube_cache_key_revision(&cache, arena, KEY_INITIALIZE, MS(8)), last);
}

static void test_members_are_pods(void **state)
{
    (void)state;
    list_first(NULL, MS(0));
    const char *status =
        "{\"status\":\"{\\\"state\\\":\\\"running\\\",\\\"role\\\":\\\"replica\\\","
        "\\\"howdah\\\":\\\"1\\\",\\\"xlog_location\\\":5}\"}";
    const char *moved = "{\"status\":\"{\\\"state\\\":\\\"running\\\",\\\"role\\\":\\\"replica\\\","
                        "\\\"howdah\\\":\\\"1\\\",\\\"xlog_location\\\":6}\"}";
    assert_true(kube_cache_put(&cache, arena, KIND_PODS, object("b", status), MS(1)));
    assert_false(kube_cache_put(&cache, arena, KIND_PODS, object("b", moved), MS(2)));
    assert_false(kube_cache_put(&cache, arena, KIND_PODS, object("a", status), MS(3)));
    assert_true(kube_cache_put(&cache, arena, KIND_PODS, object("c", "{}"), MS(4)));
    const ClusterView view = view_at(MS(5));
    assert_int_equal(view.member_count, 3);
    assert_string_equal(view.members[0].session, SESSION); // our own
    assert_null(view.members[1].session);
    assert_int_equal(view.members[1].xlog_location, 6);
    assert_null(view.members[2].howdah); // never touched by anybody
    assert_null(view.members[2].revision);
    (void)kube_cache_put(
        &cache, arena, KIND_PODS,
        json(arena_printf(arena,
                          "{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"%" PRId64
                          "\",\"labels\":{\"controller-revision-hash\":\"demo-5d4\"}}}",
                          ++version)),
        MS(5));
    assert_string_equal(view_at(MS(5)).members[2].revision, "demo-5d4");
    assert_true(kube_cache_remove(&cache, arena, KIND_PODS, "b", 0, MS(6)));
    assert_int_equal(view_at(MS(7)).member_count, 2);
}

static void test_leases_mode(void **state)
{
    (void)state;
    begin_in(KUBERNETES_LEASES);
    (void)kube_cache_list(&cache, arena, COLLECTION_PODS, nothing(), 1, MS(0), MS(0));
    (void)kube_cache_list(&cache, arena, COLLECTION_STATE, nothing(), 1, MS(0), MS(0));
    ClusterView view;
    assert_false(kube_cache_view(&cache, arena, NULL, MS(0), &view)); // not all is known
    (void)kube_cache_list(&cache, arena, COLLECTION_CONFIG, nothing(), 1, MS(0), MS(0));
    assert_int_equal(view_at(MS(0)).vacancy.kind, VACANCY_NEVER);
    const Tree *lease = json(
        "{\"metadata\":{\"name\":\"demo\",\"resourceVersion\":\"7\",\"annotations\":{"
        "\"howdah.io/sync\":\"{\\\"leader\\\":\\\"b\\\"}\",\"howdah.io/session\":\"" SESSION
        " 2024-08-28T19:39:36.100000Z\"," TERM(
            "b", "6",
            "false") "}},\"spec\":{\"holderIdentity\":"
                     "\"b\",\"leaseDurationSeconds\":20,\"renewTime\":\"2024-08-28T19:39:36."
                     "100000Z\","
                     "\"acquireTime\":\"2024-08-28T19:39:36.100000Z\",\"leaseTransitions\":5}}");
    assert_true(kube_cache_put(&cache, arena, KIND_LEASES, lease, MS(1)));
    view = view_at(MS(20001));
    assert_string_equal(view.leader.name, "b");
    assert_int_equal(view.leader.create_revision, 6);
    assert_string_equal(view.sync.leader, "b");
    assert_int_equal(view.sync.mod_revision, 7);
    assert_string_equal(view.leader.session, SESSION);
    assert_int_equal(view_at(MS(20002)).vacancy.kind, VACANCY_EXPIRED);
    // The other modes' ConfigMaps bear the same labels.
    assert_false(
        kube_cache_put(&cache, arena, KIND_CONFIGMAPS, object("demo-leader", "{}"), MS(2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_vacancies_by_table, begin, end),
        cmocka_unit_test_setup_teardown(test_a_ttl_lowered_by_hand, begin, end),
        cmocka_unit_test_setup_teardown(test_edits_in_a_row, begin, end),
        cmocka_unit_test_setup_teardown(test_patroni_goes_on, begin, end),
        cmocka_unit_test_setup_teardown(test_when_it_began, begin, end),
        cmocka_unit_test_setup_teardown(test_view_of_a_leader, begin, end),
        cmocka_unit_test_setup_teardown(test_revisions_of_keys, begin, end),
        cmocka_unit_test_setup_teardown(test_old_news_are_no_news, begin, end),
        cmocka_unit_test_setup_teardown(test_claim_dies_with_its_leader, begin, end),
        cmocka_unit_test_setup_teardown(test_a_claim_after_a_dead_one, begin, end),
        cmocka_unit_test_setup_teardown(test_members_are_pods, begin, end),
        cmocka_unit_test_setup_teardown(test_leases_mode, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
