#include "dcs/etcd_cache.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

// The cached view and how a leader went, event by event. One line of a script is one revision.
static Arena *arena, *scratch;
static EtcdCache cache;
static int64_t clock_ns;

static int begin(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    scratch = arena_new(ARENA_CAP_DEFAULT);
    etcd_cache_init(&cache, "me");
    clock_ns = 1000;
    return 0;
}

static int end(void **state)
{
    (void)state;
    etcd_cache_done(&cache);
    arena_release(&arena);
    arena_release(&scratch);
    return 0;
}

static Instant tick(void)
{
    return (Instant){++clock_ns};
}

typedef struct {
    const char *key, *value, *lease; // value NULL: deleted
    int64_t created;                 // 0: in this revision
} Change;

#define OURS(name) "{\"holder\":\"" name "\",\"instance\":\"i\"}"
#define MARKER(name, term)                                                                         \
    "{\"holder\":\"" name "\",\"instance\":\"i\",\"term\":" #term ",\"released\":true}"

static RawKey raw_of(const Change *change, int64_t revision)
{
    const char *value = change->value != NULL ? change->value : "";
    return (RawKey){.key = change->key,
                    .value = value,
                    .length = strlen(value),
                    .create_revision = change->created != 0 ? change->created : revision,
                    .mod_revision = revision,
                    .lease = change->lease};
}

static bool apply(int64_t revision, const Change *changes, size_t count)
{
    EtcdEvent events[8];
    for (size_t i = 0; i < count; i++)
        events[i] = (EtcdEvent){raw_of(&changes[i], revision), changes[i].value == NULL};
    return etcd_cache_events(&cache, scratch, events, count, tick());
}
#define APPLY(revision, ...)                                                                       \
    apply((revision), (const Change[]){__VA_ARGS__},                                               \
          sizeof((const Change[]){__VA_ARGS__}) / sizeof(Change))

// The keys of a listing carry their own revisions in `created`.
static bool list_of(uint64_t cluster, int64_t revision, bool replaced, const Change *keys,
                    size_t count)
{
    RawKey raw[8];
    for (size_t i = 0; i < count; i++)
        raw[i] = raw_of(&keys[i], keys[i].created);
    const EtcdKeys all = {.keys = raw, .count = count};
    return etcd_cache_list(&cache, scratch, &all, revision, cluster, replaced, tick(), tick());
}
#define LIST(revision, ...)                                                                        \
    list_of(7, (revision), false, (const Change[]){__VA_ARGS__},                                   \
            sizeof((const Change[]){__VA_ARGS__}) / sizeof(Change))
#define LIST_NOTHING(revision) list_of(7, (revision), false, NULL, 0)

static ClusterView view(void)
{
    ClusterView out;
    assert_true(etcd_cache_view(&cache, arena, &out));
    return out;
}

static void check(VacancyKind kind, const char *holder)
{
    const ClusterView v = view();
    if (v.vacancy.kind != kind || !str_eq(v.vacancy.holder, holder))
        fail_msg("vacancy %d of %s, wanted %d of %s", (int)v.vacancy.kind, v.vacancy.holder,
                 (int)kind, holder);
}

// --- step by step

static void test_nothing_then_a_leader(void **state)
{
    (void)state;
    ClusterView none;
    assert_false(etcd_cache_view(&cache, arena, &none));
    assert_true(LIST_NOTHING(1));
    check(VACANCY_NEVER, NULL);
    assert_true(APPLY(2, {"leader", "a", "5"}, {"howdah", OURS("a")}));
    check(VACANCY_NONE, NULL);
    assert_true(term_record_valid(&(TermRecord){.present = true, .holder = "a", .mod_revision = 2},
                                  &(LeaderView){.name = "a", .create_revision = 2}));
    assert_int_equal(view().revision, 2);
}

static void test_somebody_bootstraps_and_gives_up(void **state)
{
    (void)state;
    LIST_NOTHING(1);
    assert_true(APPLY(2, {"initialize", "", NULL}));
    check(VACANCY_FOUND, NULL); // a Patroni: not a new cluster any more
    assert_true(APPLY(3, {"initialize"}));
    check(VACANCY_NEVER, NULL);
}

static void ours_leads(void)
{
    LIST_NOTHING(1);
    APPLY(2, {"members/a", "{}", "5"}, {"initialize", "7123456789012345678"});
    APPLY(3, {"leader", "a", "5"}, {"howdah", OURS("a")});
    check(VACANCY_NONE, NULL);
}

static void test_ways_to_lose_one_of_ours(void **state)
{
    static const struct {
        const char *what;
        Change changes[5];
        size_t count;
        VacancyKind kind;
    } rows[] = {
        {"lease over", {{"leader"}, {"members/a"}}, 2, VACANCY_EXPIRED},
        {"released", {{"leader"}, {"howdah", MARKER("a", 3), NULL, 3}}, 2, VACANCY_RELEASED},
        {"by hand", {{"leader"}}, 1, VACANCY_TAMPERED},
        {"with the record", {{"leader"}, {"members/a"}, {"howdah"}}, 3, VACANCY_TAMPERED},
        {"wiped", {{"leader"}, {"members/a"}, {"initialize"}, {"howdah"}}, 4, VACANCY_TAMPERED},
        {"with somebody else's key",
         {{"leader"}, {"members/a"}, {"initialize"}},
         3,
         VACANCY_TAMPERED},
        {"with another's marker",
         {{"leader"}, {"howdah", MARKER("b", 3), NULL, 3}},
         2,
         VACANCY_TAMPERED},
        {"put by hand", {{"leader", "a", NULL, 3}}, 1, VACANCY_TAMPERED},
        {"another name", {{"leader", "b", "6", 3}}, 1, VACANCY_TAMPERED},
        {"another name, same lease", {{"leader", "b", "5", 3}}, 1, VACANCY_TAMPERED},
        {"another lease", {{"leader", "a", "6", 3}}, 1, VACANCY_TAMPERED},
        {"emptied", {{"leader", "", "5", 3}}, 1, VACANCY_TAMPERED},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ours_leads();
        assert_true(apply(4, rows[i].changes, rows[i].count));
        const ClusterView v = view();
        if (v.vacancy.kind != rows[i].kind || !str_eq(v.vacancy.holder, "a") ||
            v.vacancy.since.ns != clock_ns)
            fail_msg("%s: %d of %s", rows[i].what, (int)v.vacancy.kind, v.vacancy.holder);
        end(state);
        begin(state);
    }
}

// The same key put again, or taken back by its holder in one step, is the same leader.
static void test_what_does_not_end_a_leadership(void **state)
{
    (void)state;
    ours_leads();
    APPLY(4, {"leader", "a", "5", 3});
    check(VACANCY_NONE, NULL);
    APPLY(5, {"leader", "x", NULL, 3});
    check(VACANCY_TAMPERED, "a");
    const int64_t since = view().vacancy.since.ns;
    APPLY(6, {"leader", "y", "9", 3});
    APPLY(7, {"leader"});
    check(VACANCY_TAMPERED, "a");
    assert_int_equal(view().vacancy.since.ns, since); // counted from the first time
    APPLY(8, {"leader", "a", "6"},
          {"howdah", "{\"holder\":\"a\",\"instance\":\"i\",\"term\":8}", NULL, 3});
    check(VACANCY_NONE, NULL);
    // Over a key that is there: the record of the same revision names its create_revision.
    APPLY(9, {"leader", "z", NULL, 8});
    APPLY(10, {"leader", "b", "7", 8},
          {"howdah", "{\"holder\":\"b\",\"instance\":\"i\",\"term\":8}", NULL, 3});
    check(VACANCY_NONE, NULL);
    APPLY(11, {"leader"});
    check(VACANCY_TAMPERED, "b");
}

static void test_a_patroni_leader(void **state)
{
    (void)state;
    LIST_NOTHING(1);
    APPLY(2, {"members/p", "{}", "5"});
    APPLY(3, {"leader", "p", "5"});
    APPLY(4, {"leader", "p", "6", 3}); // its lease was lost, the key is put under a new one
    check(VACANCY_NONE, NULL);
    APPLY(5, {"leader"});
    check(VACANCY_RELEASED, "p");
    APPLY(6, {"leader", "p", "6"}, {"members/p", "{}", "6", 2});
    APPLY(7, {"leader"}, {"members/p"});
    check(VACANCY_EXPIRED, "p");
    APPLY(8, {"leader", "p", "6"}, {"initialize", "7123456789012345678"});
    APPLY(9, {"leader"}, {"initialize"});
    check(VACANCY_TAMPERED, "p");
}

// A Howdah member whose term record was deleted before is still one of ours by its member record.
static void test_one_of_ours_without_its_record(void **state)
{
    (void)state;
    LIST(9, {"leader", "a", "5", 3}, {"members/a", "{\"howdah\":\"0.1.0\"}", "5", 2});
    APPLY(10, {"leader"});
    check(VACANCY_TAMPERED, "a");
}

// --- listings

static void test_first_listings(void **state)
{
    static const struct {
        const char *what;
        Change keys[4];
        size_t count;
        VacancyKind kind;
        const char *holder;
    } rows[] = {
        {"a leader", {{"leader", "a", "5", 3}}, 1, VACANCY_NONE, NULL},
        {"a leader put by hand",
         {{"leader", "x", NULL, 3}, {"howdah", OURS("a"), NULL, 2}},
         2,
         VACANCY_TAMPERED,
         "a"},
        {"nothing but a configuration", {{"config", "{}", NULL, 2}}, 1, VACANCY_NEVER, NULL},
        {"initialized", {{"initialize", "7123456789012345678", NULL, 2}}, 1, VACANCY_FOUND, NULL},
        {"unreleased", {{"howdah", OURS("a"), NULL, 2}}, 1, VACANCY_FOUND, "a"},
        {"unreleased, member there",
         {{"howdah", OURS("a"), NULL, 2}, {"members/a", "{}", "5", 3}},
         2,
         VACANCY_TAMPERED,
         "a"},
        {"unreleased, record without lease",
         {{"howdah", OURS("a"), NULL, 2}, {"members/a", "{}", NULL, 3}},
         2,
         VACANCY_FOUND,
         "a"},
        {"released",
         {{"howdah", MARKER("a", 2), NULL, 4}, {"members/a", "{}", "5", 3}},
         2,
         VACANCY_RELEASED,
         "a"},
        {"garbage for a record", {{"howdah", "?", NULL, 2}}, 1, VACANCY_FOUND, NULL},
        {"history", {{"history", "[]", NULL, 2}}, 1, VACANCY_FOUND, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_true(list_of(7, 9, false, rows[i].keys, rows[i].count));
        const ClusterView v = view();
        if (v.vacancy.kind != rows[i].kind || !str_eq(v.vacancy.holder, rows[i].holder))
            fail_msg("%s: %d of %s", rows[i].what, (int)v.vacancy.kind, v.vacancy.holder);
        end(state);
        begin(state);
    }
}

static void test_listings_after_a_gap(void **state)
{
    static const struct {
        const char *what;
        Change keys[5];
        size_t count;
        VacancyKind kind;
        const char *holder;
    } rows[] = {
        {"unchanged",
         {{"leader", "a", "5", 3}, {"howdah", OURS("a"), NULL, 3}},
         2,
         VACANCY_NONE,
         NULL},
        {"the next",
         {{"leader", "b", "6", 20}, {"howdah", OURS("b"), NULL, 20}},
         2,
         VACANCY_NONE,
         NULL},
        {"taken over by hand",
         {{"leader", "b", "6", 3}, {"howdah", OURS("a"), NULL, 3}},
         2,
         VACANCY_TAMPERED,
         "a"},
        {"without lease",
         {{"leader", "a", NULL, 3}, {"howdah", OURS("a"), NULL, 3}},
         2,
         VACANCY_TAMPERED,
         "a"},
        {"gone with its member", {{"howdah", OURS("a"), NULL, 3}}, 1, VACANCY_FOUND, "a"},
        {"gone, member there",
         {{"howdah", OURS("a"), NULL, 3}, {"members/a", "{}", "5", 2}},
         2,
         VACANCY_TAMPERED,
         "a"},
        {"released", {{"howdah", MARKER("a", 3), NULL, 20}}, 1, VACANCY_RELEASED, "a"},
        {"others came and went", {{"howdah", OURS("c"), NULL, 20}}, 1, VACANCY_FOUND, "c"},
        {"wiped", {{"config", "{}", NULL, 20}}, 1, VACANCY_TAMPERED, "a"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ours_leads();
        // A listing's leader key keeps its create_revision; `created` is both here.
        (void)list_of(7, 30, false, rows[i].keys, rows[i].count);
        const ClusterView v = view();
        if (v.vacancy.kind != rows[i].kind || !str_eq(v.vacancy.holder, rows[i].holder))
            fail_msg("%s: %d of %s", rows[i].what, (int)v.vacancy.kind, v.vacancy.holder);
        end(state);
        begin(state);
    }
}

static void test_a_gap_does_not_change_how_it_went_before(void **state)
{
    (void)state;
    ours_leads();
    APPLY(4, {"leader"}, {"members/a"});
    const int64_t since = view().vacancy.since.ns;
    assert_false(
        LIST(9, {"initialize", "7123456789012345678", NULL, 2}, {"howdah", OURS("a"), NULL, 3}));
    check(VACANCY_EXPIRED, "a");
    assert_int_equal(view().vacancy.since.ns, since);
}

// Deleted by hand; unseen by us another member led, and its key was then put by hand without a
// lease: its holder may serve for a ttl from now, whatever the first reservation was.
static void test_a_reservation_begins_anew_after_a_gap(void **state)
{
    (void)state;
    ours_leads();
    APPLY(4, {"leader"});
    check(VACANCY_TAMPERED, "a");
    const int64_t since = view().vacancy.since.ns;
    (void)LIST(9, {"howdah", OURS("a"), NULL, 3}); // nothing of the kind: it goes on
    assert_int_equal(view().vacancy.since.ns, since);
    (void)LIST(20, {"howdah", OURS("b"), NULL, 12}, {"leader", "x", NULL, 12});
    assert_int_equal(view().vacancy.kind, VACANCY_TAMPERED);
    assert_true(view().vacancy.since.ns > since);
}

static void test_another_store(void **state)
{
    (void)state;
    ours_leads();
    assert_false(LIST(2, {"leader", "z", "5", 2})); // older: somebody else's read was faster
    check(VACANCY_NONE, NULL);
    assert_int_equal(view().revision, 3);
    assert_true(list_of(8, 2, false, NULL, 0));
    check(VACANCY_TAMPERED, "a");
    assert_int_equal(view().cluster_id, 8);
    assert_int_equal(view().revision, 2);
    assert_true(list_of(8, 1, true, (const Change[]){{"leader", "b", "5", 1}}, 1)); // from a backup
    check(VACANCY_NONE, NULL);
    assert_int_equal(view().revision, 1);
    assert_true(list_of(9, 5, false, (const Change[]){{"howdah", MARKER("b", 1), NULL, 2}}, 1));
    check(VACANCY_RELEASED, "b");
}

// --- age and news

static void test_events_twice_and_together(void **state)
{
    (void)state;
    LIST_NOTHING(1);
    const EtcdEvent events[] = {
        {raw_of(&(Change){"members/a", "{}", "5"}, 2), false},
        {raw_of(&(Change){"leader", "a", "5"}, 3), false},
        {raw_of(&(Change){"howdah", OURS("a")}, 3), false},
        {raw_of(&(Change){"leader"}, 4), true},
        {raw_of(&(Change){"members/a"}, 4), true},
    };
    assert_true(etcd_cache_events(&cache, scratch, events, COUNT_OF(events), tick()));
    check(VACANCY_EXPIRED, "a"); // not one heap: three revisions
    assert_false(etcd_cache_events(&cache, scratch, events, COUNT_OF(events), tick()));
    check(VACANCY_EXPIRED, "a");
    assert_int_equal(view().revision, 4);
}

static void test_when_the_view_was_current(void **state)
{
    (void)state;
    LIST(5, {"config", "{}", NULL, 4}, {"sync", "{}", NULL, 5});
    const int64_t seen = view().seen_at.ns;
    etcd_cache_note_revision(&cache, 5, 7, (Instant){5000});
    assert_int_equal(view().seen_at.ns, 5000);
    etcd_cache_note_revision(&cache, 6, 7, (Instant){6000}); // something we have not seen
    etcd_cache_note_revision(&cache, 5, 8, (Instant){6000}); // of another store
    etcd_cache_note_revision(&cache, 5, 7, (Instant){seen}); // never backwards
    assert_int_equal(view().seen_at.ns, 5000);
    assert_false(etcd_cache_confirm(&cache, 9, 7, 1, 5, (Instant){7000})); // one was deleted
    assert_false(etcd_cache_confirm(&cache, 9, 7, 2, 9, (Instant){7000})); // one was put
    assert_false(etcd_cache_confirm(&cache, 9, 8, 2, 5, (Instant){7000}));
    assert_int_equal(view().revision, 5);
    assert_true(etcd_cache_confirm(&cache, 9, 7, 2, 5, (Instant){7000})); // others' keys moved on
    assert_int_equal(view().revision, 9);
    assert_int_equal(view().seen_at.ns, 7000);
}

static void test_news(void **state)
{
    (void)state;
    static const struct {
        Change change;
        bool news;
    } rows[] = {
        {{"members/b", "{\"state\":\"running\",\"xlog_location\":1}", "5"}, true},
        {{"members/b", "{\"state\":\"running\",\"xlog_location\":2,\"timeline\":2}", "5"}, false},
        {{"members/b", "{\"state\":\"stopping\"}", "5"}, true},
        {{"members/b", "{\"state\":\"stopping\",\"tags\":{\"nosync\":true}}", "5"}, true},
        {{"members/b", "{\"tags\":{\"nosync\":true},\"state\":\"stopping\"}", "6"}, false},
        {{"members/b", "garbage", "6"}, true},
        {{"members/b", NULL, NULL}, true},
        {{"members/b/x", "{\"state\":\"running\"}", NULL}, false},
        {{"members/me", "{\"state\":\"running\"}", "9"}, false},
        {{"members/me", "{\"state\":\"stopped\"}", "9"}, false},
        {{"members/me", NULL, NULL}, true},
        {{"status", "{\"optime\":1}", NULL}, false},
        {{"failsafe", "{}", NULL}, false},
        {{"optime/leader", "1", NULL}, false},
        {{"config", "{}", NULL}, true},
        {{"config", "{}", NULL}, false}, // written again as it was
        {{"config", NULL, NULL}, true},
        {{"failover", "{}", NULL}, true},
        {{"sync", "{}", NULL}, true},
        {{"history", "[]", NULL}, true},
        {{"initialize", "", NULL}, true},
        {{"howdah", OURS("a"), NULL}, true},
        {{"leader", "a", "5"}, true},
        {{"leader", "a", "6"}, true},
        {{"leader", NULL, NULL}, true},
    };
    LIST_NOTHING(1);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (apply((int64_t)i + 2, &rows[i].change, 1) != rows[i].news)
            fail_msg("row %zu: %s", i, rows[i].change.key);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_then_a_leader),
        TEST(test_somebody_bootstraps_and_gives_up),
        TEST(test_ways_to_lose_one_of_ours),
        TEST(test_what_does_not_end_a_leadership),
        TEST(test_a_patroni_leader),
        TEST(test_one_of_ours_without_its_record),
        TEST(test_first_listings),
        TEST(test_listings_after_a_gap),
        TEST(test_a_gap_does_not_change_how_it_went_before),
        TEST(test_a_reservation_begins_anew_after_a_gap),
        TEST(test_another_store),
        TEST(test_events_twice_and_together),
        TEST(test_when_the_view_was_current),
        TEST(test_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
