// The pure parts of the room, by tables: what is read from programs and servers, and the rule
// whether our WAL has left the leader's history.
#include "tests/support/test.h"

#include "agent/postgres/control_data.h"
#include "agent/postgres/divergence.h"
#include "agent/postgres/pg_query.h"
#include "agent/postgres/task.h"

#include <string.h>

// --- pg_controldata

// The lines that all of 13 to 18 print, around what differs.
#define CONTROL(version, catalog, state, extra)                                                    \
    "pg_control version number:            " version "\n"                                          \
    "Catalog version number:               " catalog "\n"                                          \
    "Database system identifier:           7711207998434978690\n"                                  \
    "Database cluster state:               " state "\n"                                            \
    "pg_control last modified:             Mon Nov 23 03:45:22 2026\n"                             \
    "Latest checkpoint location:           2F/1511A88\n"                                           \
    "Latest checkpoint's REDO location:    2F/1511A50\n"                                           \
    "Latest checkpoint's REDO WAL file:    000000070000002F00000001\n"                             \
    "Latest checkpoint's TimeLineID:       7\n"                                                    \
    "Latest checkpoint's PrevTimeLineID:   6\n"                                                    \
    "Latest checkpoint's oldestCommitTsXid:0\n"                                                    \
    "Time of latest checkpoint:            Mon Nov 23 03:45:22 2026\n"                             \
    "Minimum recovery ending location:     2F/2000000\n"                                           \
    "Min recovery ending loc's timeline:   8\n"                                                    \
    "wal_level setting:                    replica\n"                                              \
    "wal_log_hints setting:                on\n"                                                   \
    "max_connections setting:              100\n"                                                  \
    "max_worker_processes setting:         8\n"                                                    \
    "max_wal_senders setting:              10\n"                                                   \
    "max_prepared_xacts setting:           2\n"                                                    \
    "max_locks_per_xact setting:           64\n"                                                   \
    "WAL block size:                       8192\n"                                                 \
    "Bytes per WAL segment:                16777216\n" extra

static void test_control_data(void **state)
{
    (void)state;
    const struct {
        const char *given, *text;
        ControlState cluster_state; // CONTROL_UNKNOWN: refused
        bool checksums;
    } rows[] = {
        {"13",
         CONTROL("1300", "202007201", "shut down", "Data page checksum version:           0\n"),
         CONTROL_SHUT_DOWN, false},
        {"14",
         CONTROL("1300", "202107181", "shut down in recovery",
                 "Data page checksum version:           1\n"),
         CONTROL_SHUT_DOWN_IN_RECOVERY, true},
        {"15", CONTROL("1300", "202209061", "shutting down", ""), CONTROL_SHUTTING_DOWN, false},
        {"16", CONTROL("1300", "202307071", "in crash recovery", ""), CONTROL_IN_CRASH_RECOVERY,
         false},
        {"17", CONTROL("1700", "202406281", "in archive recovery", ""), CONTROL_IN_ARCHIVE_RECOVERY,
         false},
        {"18",
         CONTROL("1800", "202506291", "in production",
                 "Data page checksum version:           1\n"
                 "Default char data signedness:         signed\n"
                 "Mock authentication nonce:            2bb9\n"),
         CONTROL_IN_PRODUCTION, true},
        {"starting", CONTROL("1300", "1", "starting up", ""), CONTROL_STARTING_UP, false},
        {"lines end the other way",
         "Database system identifier: 7711207998434978690\r\n"
         "Database cluster state: in production\r\n",
         CONTROL_IN_PRODUCTION, false},
        {"a state nobody knows", CONTROL("1", "1", "half asleep", ""), CONTROL_UNKNOWN, false},
        {"empty", "", CONTROL_UNKNOWN, false},
        {"a complaint", "pg_controldata: fatal: could not open file\n", CONTROL_UNKNOWN, false},
        {"no identifier", "Database cluster state: in production\n", CONTROL_UNKNOWN, false},
        {"another language", "Datenbank-Cluster-Status: in Betrieb\n", CONTROL_UNKNOWN, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ControlFile file = {.wal_block_bytes = 77};
        Error err = {0};
        const bool ok = control_data_parse(rows[i].text, &file, &err);
        if (ok != (rows[i].cluster_state != CONTROL_UNKNOWN))
            fail_msg("%s: %s", rows[i].given, err.text);
        if (!ok) {
            assert_int_equal(err.kind, ERR_INVALID);
            assert_int_equal(file.wal_block_bytes, 77); // untouched
            continue;
        }
        assert_true(file.data.known);
        assert_int_equal(file.data.state, rows[i].cluster_state);
        assert_int_equal(file.data.checksums, rows[i].checksums);
        assert_string_equal(file.data.system_identifier, "7711207998434978690");
    }
    ControlFile f;
    Error err;
    assert_true(control_data_parse(rows[0].text, &f, &err));
    assert_int_equal(f.data.timeline, 7);
    assert_true(f.data.checkpoint_lsn == (UINT64_C(0x2F) << 32 | 0x1511A88));
    assert_true(f.data.redo_lsn == (UINT64_C(0x2F) << 32 | 0x1511A50));
    assert_int_equal(f.data.min_recovery_timeline, 8);
    assert_true(f.data.min_recovery_lsn == (UINT64_C(0x2F) << 32 | 0x2000000));
    assert_true(f.data.wal_log_hints);
    assert_int_equal(f.data.max_connections, 100);
    assert_int_equal(f.data.max_worker_processes, 8);
    assert_int_equal(f.data.max_wal_senders, 10);
    assert_int_equal(f.data.max_prepared_transactions, 2);
    assert_int_equal(f.data.max_locks_per_transaction, 64);
    assert_int_equal(f.wal_block_bytes, 8192);
    assert_int_equal(f.wal_segment_bytes, 16777216);
}

// A value that cannot be read leaves its field unknown, and the others as they are.
static void test_control_data_damaged(void **state)
{
    (void)state;
    ControlFile f;
    Error err;
    assert_true(control_data_parse("Database system identifier: 7711207998434978690\n"
                                   "Database cluster state: in production\n"
                                   "Latest checkpoint location: nowhere\n"
                                   "Latest checkpoint's TimeLineID: 99999999999\n"
                                   "max_connections setting: many\n"
                                   "Latest checkpoint's REDO location: 0/10\n"
                                   "a line without any colon\n:\n: :\n",
                                   &f, &err));
    assert_true(f.data.checkpoint_lsn == LSN_NONE);
    assert_int_equal(f.data.timeline, 0);
    assert_int_equal(f.data.max_connections, 0);
    assert_true(f.data.redo_lsn == 0x10);
}

static void test_record_end(void **state)
{
    (void)state;
    const ControlFile shape = {.wal_segment_bytes = 16777216, .wal_block_bytes = 8192};
    const struct {
        Lsn start;
        uint64_t length;
        Lsn end;
    } rows[] = {
        {0x1511A88, 114, 0x1511B00}, // within a page, aligned
        {0x3002160, 114, 0x30021D8},
        {0x2001F90, 112, 0x2002000},          // to the last byte of a page: no header yet
        {0x2001F90, 114, 0x2002000 + 24 + 8}, // two bytes over: after the short header
        {0x2FFFF90, 120, 0x3000000 + 40 + 8}, // over a segment's edge: the long header
        {0x2000028, 8192 * 2, 0x2004000 + 24 + 0x28 + 24}, // across a whole page
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Lsn end = wal_record_end(rows[i].start, rows[i].length, &shape);
        if (end != rows[i].end)
            fail_msg("row %zu: %s, not %s", i, lsn_format(end).text, lsn_format(rows[i].end).text);
    }
}

static void test_wal_file_names(void **state)
{
    (void)state;
    uint32_t timeline;
    uint64_t segment;
    assert_string_equal(wal_file_name(7, 0x2F01, 16777216).text, "000000070000002F00000001");
    assert_true(wal_file_parse("000000070000002F00000001", 16777216, &timeline, &segment));
    assert_int_equal(timeline, 7);
    assert_int_equal(segment, 0x2F01);
    assert_true(wal_file_parse("000000010000000100000003", 1073741824, &timeline, &segment));
    assert_int_equal(segment, 7);
    assert_false(wal_file_parse("00000007.history", 16777216, &timeline, &segment));
    assert_false(wal_file_parse("000000070000002F00000001.partial", 16777216, &timeline, &segment));
    assert_false(wal_file_parse("00000007000000xx00000001", 16777216, &timeline, &segment));
}

// --- timelines

static const TimelineSwitch to_3[] = {{1, 100}, {2, 300}};
static const TimelineSwitch branch[] = {{1, 100}, {4, 200}};
static const TimelineSwitch early[] = {{1, 500}, {2, 300}}; // promoted before the fork 1 -> 2

static const TimelineHistory one = {.timeline = 1};
static const TimelineHistory three = {3, to_3, 2};
static const TimelineHistory five = {5, branch, 2};
static const TimelineHistory odd = {3, early, 2};

static void test_timeline_of_position(void **state)
{
    (void)state;
    const struct {
        const TimelineHistory *history;
        Lsn lsn;
        uint32_t timeline;
    } rows[] = {
        {&one, 50, 1},    {&three, 1, 1},
        {&three, 100, 1}, {&three, 101, 2},
        {&three, 300, 2}, {&three, 301, 3},
        {&odd, 300, 1},   {&odd, 301, 3},
        {&three, 0, 0},   {&(TimelineHistory){0}, 10, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (timeline_of_position(rows[i].history, rows[i].lsn) != rows[i].timeline)
            fail_msg("row %zu", i);
}

static void test_fork(void **state)
{
    (void)state;
    const struct {
        const TimelineHistory *a, *b;
        WalPosition fork;
    } rows[] = {
        {&one, &three, {1, 100}},
        {&three, &one, {1, 100}},
        {&three, &five, {1, 100}},
        {&three, &three, {3, UINT64_MAX}},
        {&one, &one, {1, UINT64_MAX}},
        {&three, &odd, {1, 100}},
        {&one, &(TimelineHistory){0}, {0, 0}},
        {&(TimelineHistory){7, (const TimelineSwitch[]){{6, 5}}, 1}, &three, {0, 0}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const WalPosition fork = timeline_fork(rows[i].a, rows[i].b);
        if (fork.timeline != rows[i].fork.timeline || fork.lsn != rows[i].fork.lsn)
            fail_msg("row %zu: %u %s", i, fork.timeline, lsn_format(fork.lsn).text);
    }
}

#define LEADER(history) .leader_timeline = (history).timeline, .leader_history = (history)

static void test_divergence(void **state)
{
    (void)state;
    const struct {
        const char *given;
        DivergenceFacts facts;
        Divergence answer;
        bool needs_end;
    } rows[] = {
        {"own timeline not known", {.local = {0, 50}, LEADER(three)}, DIVERGENCE_UNKNOWN, false},
        {"own position not known", {.local = {1, 0}, LEADER(three)}, DIVERGENCE_UNKNOWN, false},
        {"leader not known", {.local = {1, 50}}, DIVERGENCE_UNKNOWN, false},
        {"leader's history not known",
         {.local = {1, 50}, .standby = true, .leader_timeline = 3},
         DIVERGENCE_UNKNOWN,
         false},
        {"higher than the leader", {.local = {4, 50}, LEADER(three)}, DIVERGENCE_FOUND, false},
        {"the same", {.local = {3, 900}, LEADER(three)}, DIVERGENCE_NONE, false},
        {"standby before the switch",
         {.local = {1, 99}, .standby = true, LEADER(three)},
         DIVERGENCE_NONE,
         false},
        {"standby at the switch",
         {.local = {1, 100}, .standby = true, LEADER(three)},
         DIVERGENCE_NONE,
         false},
        {"standby past it",
         {.local = {1, 101}, .standby = true, LEADER(three)},
         DIVERGENCE_FOUND,
         false},
        {"standby past the second switch",
         {.local = {2, 301}, .standby = true, LEADER(three)},
         DIVERGENCE_FOUND,
         false},
        {"timeline missing from the history",
         {.local = {4, 1}, .standby = true, LEADER(five)},
         DIVERGENCE_NONE,
         false},
        {"sibling", {.local = {2, 1}, .standby = true, LEADER(five)}, DIVERGENCE_FOUND, false},
        {"history that goes back",
         {.local = {1, 400}, .standby = true, LEADER(odd)},
         DIVERGENCE_FOUND,
         false},
        {"ex-primary past the switch", {.local = {1, 100}, LEADER(three)}, DIVERGENCE_FOUND, false},
        {"ex-primary, end not known", {.local = {1, 60}, LEADER(three)}, DIVERGENCE_UNKNOWN, true},
        {"ex-primary, ends at the switch",
         {.local = {1, 60}, .record_end = 100, LEADER(three)},
         DIVERGENCE_NONE,
         false},
        {"ex-primary, ends behind it",
         {.local = {1, 60}, .record_end = 108, LEADER(three)},
         DIVERGENCE_FOUND,
         false},
        {"ex-primary, ends before it",
         {.local = {1, 10}, .record_end = 60, LEADER(three)},
         DIVERGENCE_NONE,
         false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *why = NULL;
        const Divergence answer = divergence_of(&rows[i].facts, &why);
        if (answer != rows[i].answer)
            fail_msg("%s: %d, %s", rows[i].given, answer, why);
        if (divergence_needs_record_end(&rows[i].facts) != rows[i].needs_end)
            fail_msg("%s: needs the record's end?", rows[i].given);
        assert_non_null(why);
    }
}

// --- settings

static void test_setting_equal(void **state)
{
    (void)state;
    const struct {
        const char *type, *unit, *setting, *wanted;
        bool equal;
    } rows[] = {
        {"bool", "", "on", "True", true},           {"bool", "", "on", "1", true},
        {"bool", "", "off", "on", false},           {"bool", "", "on", "perhaps", false},
        {"enum", "", "replica", "REPLICA", true},   {"enum", "", "replica", "logical", false},
        {"string", "", "a, b", "a, b", true},       {"string", "", "a, b", "a,b", false},
        {"integer", "8kB", "16384", "128MB", true}, {"integer", "8kB", "16384", "129MB", false},
        {"integer", "8kB", "16384", "16384", true}, {"integer", "16MB", "8", "128MB", true},
        {"integer", "kB", "4096", "4096", true},    {"integer", "kB", "4096", " 4 MB ", true},
        {"integer", "s", "60", "1min", true},       {"integer", "ms", "200", "0.2s", true},
        {"integer", "", "100", "100", true},        {"integer", "", "100", "0x64", true},
        {"integer", "", "100", "0144", true},       {"integer", "", "100", "100kB", false},
        {"integer", "", "100", "a hundred", false}, {"real", "", "0.5", "0.50", true},
        {"real", "", "0.5", "0.51", false},         {"real", "ms", "2", "2000us", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (setting_equal(rows[i].type, rows[i].unit, rows[i].setting, rows[i].wanted) !=
            rows[i].equal)
            fail_msg("%s %s %s", rows[i].type, rows[i].setting, rows[i].wanted);
}

static void test_sql_quoting(void **state)
{
    (void)state;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    assert_string_equal(sql_literal(arena, "it's"), "'it''s'");
    assert_string_equal(sql_literal(arena, "a\\b"), " E'a\\\\b'");
    assert_string_equal(sql_identifier(arena, "a\"b"), "\"a\"\"b\"");
    assert_true(history_is_tombstone("# reserved by Howdah: this timeline was never used here\n"));
    assert_false(history_is_tombstone("1\t0/3000000\tno recovery target specified\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_data),         cmocka_unit_test(test_control_data_damaged),
        cmocka_unit_test(test_record_end),           cmocka_unit_test(test_wal_file_names),
        cmocka_unit_test(test_timeline_of_position), cmocka_unit_test(test_fork),
        cmocka_unit_test(test_divergence),           cmocka_unit_test(test_setting_equal),
        cmocka_unit_test(test_sql_quoting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
