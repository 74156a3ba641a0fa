#include "common/model/snapshot.h"
#include "tests/support/test.h"

#include <pthread.h>
#include <string.h>

static void test_server_view_copy(void **state)
{
    // Nothing in the copy may point into what it was copied from.
    (void)state;
    AUTO(arena_release) Arena *from_arena = arena_new(ARENA_CAP_DEFAULT);
    AUTO(arena_release) Arena *to_arena = arena_new(ARENA_CAP_DEFAULT);
    WalSenderView *sender = ARENA_NEW(from_arena, WalSenderView);
    SlotView *slot = ARENA_NEW(from_arena, SlotView);
    TimelineSwitch *parent = ARENA_NEW(from_arena, TimelineSwitch);
    Tree *reason = tree_map(from_arena);
    tree_set(from_arena, reason, "port", tree_string(from_arena, "1"));
    *sender = (WalSenderView){.application_name = arena_strdup(from_arena, "b"),
                              .state = arena_strdup(from_arena, "streaming"),
                              .sync_priority = 2};
    *slot = (SlotView){.name = arena_strdup(from_arena, "slot_b"), .active = true};
    *parent = (TimelineSwitch){1, 0x3000000};
    ServerView from = {.answered = true,
                       .flush_lsn = 7,
                       .receiver_host = arena_strdup(from_arena, "10.0.0.1"),
                       .postmaster_start_text = arena_strdup(from_arena, "then"),
                       .upstream = arena_strdup(from_arena, "c"),
                       .senders = sender,
                       .sender_count = 1,
                       .slots = slot,
                       .slot_count = 1,
                       .history = {.timeline = 2, .parents = parent, .parent_count = 1},
                       .pending_restart_reason = reason,
                       .task = {.phase = arena_strdup(from_arena, "copying")}};
    ServerView to;
    server_view_copy(to_arena, &from, &to);
    arena_free(TAKE(from_arena)); // with ASan: whatever still points there is caught below

    assert_true(to.answered);
    assert_int_equal(to.flush_lsn, 7);
    assert_string_equal(to.receiver_host, "10.0.0.1");
    assert_string_equal(to.postmaster_start_text, "then");
    assert_null(to.replayed_text);
    assert_string_equal(to.upstream, "c");
    assert_string_equal(to.senders[0].application_name, "b");
    assert_null(to.senders[0].client_addr);
    assert_int_equal(to.senders[0].sync_priority, 2);
    assert_string_equal(to.slots[0].name, "slot_b");
    assert_int_equal(to.history.parents[0].switch_lsn, 0x3000000);
    assert_string_equal(tree_get_string(to.pending_restart_reason, "port", ""), "1");
    assert_string_equal(to.task.phase, "copying");

    const ServerView nothing = {0};
    server_view_copy(to_arena, &nothing, &to);
    assert_null(to.upstream);
    assert_null(to.pending_restart_reason);
    assert_int_equal(to.sender_count, 0);
}

static void *take_and_give(void *argument)
{
    for (int i = 0; i < 10000; i++)
        snapshot_unref(snapshot_ref(argument));
    snapshot_unref(argument);
    return NULL;
}

static void test_references(void **state)
{
    (void)state;
    AUTO(snapshot_release) Snapshot *snapshot = snapshot_new();
    snapshot->name = arena_strdup(snapshot->arena, "a");
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, snapshot_ref(snapshot)),
                         0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(snapshot->refs, 1);
    assert_string_equal(snapshot->name, "a");
    snapshot_unref(NULL);
}

static void test_ledger(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const LedgerEntry entry = {.wall_us = INT64_C(951782399999999), // the day before a leap day
                               .turn = 12,
                               .reason = REASON_RACE_BEHIND,
                               .key_action = "keep",
                               .pg_action = "none",
                               .evidence = "ahead=\"b\"\n"};
    assert_string_equal(
        ledger_format(arena, &entry),
        "{\"time\": \"2000-02-28T23:59:59.999999+00:00\", \"turn\": 12, \"reason\": "
        "\"RACE_BEHIND\", \"reason_text\": \"another member is ahead\", \"key_action\": \"keep\", "
        "\"pg_action\": \"none\", \"evidence\": \"ahead=\\\"b\\\"\\n\", \"outcome\": \"\"}");
    assert_string_equal(ledger_time(arena, 0), "1970-01-01T00:00:00.000000+00:00");
    assert_string_equal(ledger_time(arena, -1), "1969-12-31T23:59:59.999999+00:00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_view_copy),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
