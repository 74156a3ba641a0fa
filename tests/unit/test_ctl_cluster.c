// list and topology: from the document of GET /cluster to the text, with the edges.
#include "ctl/cluster_table.h"
#include "ctl/select.h"
#include "tests/support/test.h"

#include <string.h>

static Arena *arena;

static int start(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static ClusterInfo cluster_of(const char *json)
{
    const Tree *document;
    Error err = {0};
    if (!tree_parse_json(arena, json, &document, &err))
        fail_msg("%s: %s", json, err.text);
    ClusterInfo cluster = {.scope = "demo", .identifier = "7277694203142172922"};
    cluster_info_fill(arena, document, &cluster);
    return cluster;
}

static void check(const char *json, ClusterTableStyle style, const char *expected)
{
    const ClusterInfo cluster = cluster_of(json);
    const char *shown = cluster_table_format(arena, &cluster, style);
    if (!str_eq(shown, expected))
        fail_msg("%s\n%s\ninstead of\n%s", json, shown, expected);
}

#define LEADER                                                                                     \
    "{\"name\":\"a\",\"role\":\"leader\",\"state\":\"running\",\"host\":\"10.0.0.1\","             \
    "\"port\":5432,\"timeline\":3}"
#define REPLICA                                                                                    \
    "{\"name\":\"b\",\"role\":\"sync_standby\",\"state\":\"streaming\","                           \
    "\"host\":\"10.0.0.2\",\"port\":5432,\"timeline\":3,\"receive_lsn\":\"0/4000060\","            \
    "\"receive_lag\":0,\"replay_lsn\":\"0/3E00000\",\"replay_lag\":2097248,"                       \
    "\"lsn\":\"0/4000060\",\"lag\":0}"

static void test_list(void **state)
{
    (void)state;
    const char *json = "{\"members\":[" LEADER "," REPLICA "]}";
    check(json, (ClusterTableStyle){.format = FORMAT_PRETTY},
          "+ Cluster: demo (7277694203142172922) "
          "---------+----+-------------+-----+------------+-----+\n"
          "| Member | Host     | Role         | State     | TL | Receive LSN | Lag | Replay LSN | "
          "Lag |\n"
          "+--------+----------+--------------+-----------+----+-------------+-----+------------+-"
          "----+\n"
          "| a      | 10.0.0.1 | Leader       | running   |  3 |             |     |            | "
          "    |\n"
          "| b      | 10.0.0.2 | Sync Standby | streaming |  3 |   0/4000060 |   0 |  0/3E00000 | "
          "  2 |\n"
          "+--------+----------+--------------+-----------+----+-------------+-----+------------+-"
          "----+\n");
    check(json, (ClusterTableStyle){.format = FORMAT_TSV},
          "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay LSN\tReplay "
          "Lag\n"
          "demo\ta\t10.0.0.1\tLeader\trunning\t3\t\t\t\t\n"
          "demo\tb\t10.0.0.2\tSync Standby\tstreaming\t3\t0/4000060\t0\t0/3E00000\t2\n");
    check(json, (ClusterTableStyle){.format = FORMAT_JSON},
          "[{\"Cluster\": \"demo\", \"Member\": \"a\", \"Host\": \"10.0.0.1\", \"Role\": "
          "\"Leader\", \"State\": \"running\", \"TL\": 3}, {\"Cluster\": \"demo\", \"Member\": "
          "\"b\", \"Host\": \"10.0.0.2\", \"Role\": \"Sync Standby\", \"State\": \"streaming\", "
          "\"TL\": 3, \"Receive LSN\": \"0/4000060\", \"Receive Lag\": 0, \"Replay LSN\": "
          "\"0/3E00000\", \"Replay Lag\": 2}]\n");
    check(json, (ClusterTableStyle){.format = FORMAT_YAML},
          "- Cluster: demo\n  Host: 10.0.0.1\n  Member: a\n  Role: Leader\n  State: running\n"
          "  TL: 3\n- Cluster: demo\n  Host: 10.0.0.2\n  Member: b\n  Receive LSN: 0/4000060\n"
          "  Receive Lag: 0\n  Replay LSN: 0/3E00000\n  Replay Lag: 2\n  Role: Sync Standby\n"
          "  State: streaming\n  TL: 3\n\n");
}

static void test_notes(void **state)
{
    (void)state;
    const ClusterInfo cluster =
        cluster_of("{\"members\":[],\"pause\":true,\"scheduled_switchover\":"
                   "{\"at\":\"2026-12-05T10:00Z\",\"from\":\"a\",\"to\":\"b\"}}");
    const char *notes = " Maintenance mode: on\n"
                        " Switchover scheduled at: 2026-12-05T10:00:00+00:00\n"
                        "                    from: a\n"
                        "                      to: b\n";
    ClusterTableStyle style = {.format = FORMAT_PRETTY};
    assert_true(str_ends(cluster_table_format(arena, &cluster, style), notes));
    style.format = FORMAT_TSV;
    assert_null(strstr(cluster_table_format(arena, &cluster, style), "Maintenance"));
}

// One cell of the only row that is no leader, from the TSV output.
static const char *cell(const char *json, size_t column)
{
    const ClusterInfo cluster = cluster_of(json);
    const ClusterTableStyle style = {.format = FORMAT_TSV, .extended = true};
    const char *text = cluster_table_format(arena, &cluster, style);
    text = strchr(text, '\n') + 1;
    for (; column > 0; column--)
        text = strchr(text, '\t') + 1;
    return arena_strndup(arena, text, strcspn(text, "\t\n"));
}

enum {
    HOST = 2,
    ROLE = 3,
    RECEIVE_LSN = 6,
    RECEIVE_LAG = 7,
    REPLAY_LSN = 8,
    REPLAY_LAG = 9,
    SCHEDULED = 12,
    TAGS = 13
};

static void test_lag_is_rounded_to_even(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *mib;
    } rows[] = {
        {"0", "0"},
        {"524288", "0"},
        {"524289", "1"},
        {"1048576", "1"},
        {"1572864", "2"},
        {"1572863", "1"},
        {"2621440", "2"},
        {"2621441", "3"},
        {"3670016", "4"},
        {"\"unknown\"", ""},
        {"1099511627776", "1048576"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *json = arena_printf(
            arena, "{\"members\":[{\"name\":\"b\",\"receive_lsn\":\"0/1\",\"receive_lag\":%s}]}",
            rows[i].bytes);
        assert_string_equal(cell(json, RECEIVE_LAG), rows[i].mib);
    }
}

static void test_cells(void **state)
{
    (void)state;
    static const struct {
        const char *given, *member;
        size_t column;
        const char *shown;
    } rows[] = {
        {"an old member that streams has received",
         "\"state\":\"streaming\",\"lsn\":\"0/5\","
         "\"lag\":3145728,\"receive_lsn\":\"unknown\",\"replay_lsn\":\"unknown\"",
         RECEIVE_LSN, "0/5"},
        {"and its lag", "\"state\":\"streaming\",\"lsn\":\"0/5\",\"lag\":3145728", RECEIVE_LAG,
         "3"},
        {"its replay is not known", "\"state\":\"streaming\",\"lsn\":\"0/5\",\"lag\":3", REPLAY_LSN,
         "unknown"},
        {"one that does not stream has replayed",
         "\"state\":\"running\",\"lsn\":\"0/5\","
         "\"lag\":3145728",
         REPLAY_LAG, "3"},
        {"a new member's own location is not shown",
         "\"lsn\":\"0/5\",\"lag\":0,"
         "\"receive_lsn\":\"0/4\",\"receive_lag\":1",
         REPLAY_LSN, "unknown"},
        {"no host", "\"state\":\"running\"", HOST, ""},
        {"another port", "\"host\":\"h\",\"port\":6000", HOST, "h:6000"},
        {"the usual port", "\"host\":\"h\",\"port\":5432", HOST, "h"},
        {"role", "\"role\":\"quorum_standby\"", ROLE, "Quorum Standby"},
        {"a schedule", "\"scheduled_restart\":{\"schedule\":\"2026-12-01T10:00:00+00:00\"}",
         SCHEDULED, "2026-12-01T10:00:00+00:00"},
        {"a schedule for a version",
         "\"scheduled_restart\":{\"schedule\":\"T\","
         "\"postgres_version\":\"15.3\"}",
         SCHEDULED, "T if version < 15.3"},
        {"tags", "\"tags\":{\"nosync\":true,\"a\":\"on\"}", TAGS, "{a: 'on', nosync: true}"},
        {"no tags", "\"tags\":{}", TAGS, ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *json =
            arena_printf(arena, "{\"members\":[{\"name\":\"b\",%s}]}", rows[i].member);
        const char *shown = cell(json, rows[i].column);
        if (!str_eq(shown, rows[i].shown))
            fail_msg("%s: '%s' instead of '%s'", rows[i].given, shown, rows[i].shown);
    }
}

// Two members on one host: all show their port, as in a test on one machine.
static void test_ports_are_shown_for_all(void **state)
{
    (void)state;
    const char *json = "{\"members\":[{\"name\":\"a\",\"host\":\"h\",\"port\":5432},"
                       "{\"name\":\"b\",\"host\":\"h\",\"port\":5432},{\"name\":\"c\"}]}";
    assert_string_equal(cell(json, HOST), "h:5432");
}

static void test_pending_reasons(void **state)
{
    (void)state;
    // 50 characters are shown, 51 are not; the other formats show all.
    const char *json =
        "{\"members\":[{\"name\":\"a\",\"pending_restart\":true,\"pending_restart_reason\":{"
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaa\":{\"old_value\":\"1234567890\",\"new_value\":\"1234567890\"}"
        ","
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaa\":{\"old_value\":\"1234567890\",\"new_value\":"
        "\"1234567890\"}"
        "}}]}";
    const ClusterInfo cluster = cluster_of(json);
    ClusterTableStyle style = {.format = FORMAT_PRETTY};
    const char *pretty = cluster_table_format(arena, &cluster, style);
    assert_non_null(strstr(pretty, "| aaaaaaaaaaaaaaaaaaaaaaaaaa: 1234567890->1234567890 |"));
    assert_non_null(strstr(pretty, "| aaaaaaaaaaaaaaaaaaaaaaaaaaa: [hidden - too long]   |"));
    style.format = FORMAT_JSON;
    assert_non_null(strstr(cluster_table_format(arena, &cluster, style),
                           "aaaaaaaaaaaaaaaaaaaaaaaaaaa: 1234567890->1234567890\""));
}

static void test_optional_columns(void **state)
{
    (void)state;
    ClusterTableStyle style = {.format = FORMAT_PRETTY};
    const ClusterInfo plain = cluster_of("{\"members\":[" LEADER "]}");
    assert_null(strstr(cluster_table_format(arena, &plain, style), "Tags"));
    style.extended = true;
    assert_non_null(
        strstr(cluster_table_format(arena, &plain, style),
               "| Pending restart | Pending restart reason | Scheduled restart | Tags"));
    style.format = FORMAT_JSON; // empty values are left out all the same
    assert_null(strstr(cluster_table_format(arena, &plain, style), "Tags"));
    style = (ClusterTableStyle){.format = FORMAT_PRETTY};
    const ClusterInfo tagged =
        cluster_of("{\"members\":[{\"name\":\"a\",\"tags\":{\"x\":1,\"b\":true}}]}");
    const char *shown = cluster_table_format(arena, &tagged, style);
    assert_non_null(strstr(shown, "| b: true |\n|"));
    assert_non_null(strstr(shown, "| x: 1    |\n+"));
    assert_null(strstr(shown, "Scheduled"));
}

static void test_topology(void **state)
{
    (void)state;
    const ClusterInfo cluster = cluster_of(
        "{\"members\":["
        "{\"name\":\"c\",\"role\":\"replica\",\"tags\":{\"replicatefrom\":\"d\"}},"
        "{\"name\":\"d\",\"role\":\"replica\",\"tags\":{\"replicatefrom\":\"e\"}},"
        "{\"name\":\"e\",\"role\":\"replica\"},"
        "{\"name\":\"f\",\"role\":\"replica\",\"tags\":{\"replicatefrom\":\"nobody\"}},"
        "{\"name\":\"loop1\",\"role\":\"replica\",\"tags\":{\"replicatefrom\":\"loop2\"}},"
        "{\"name\":\"loop2\",\"role\":\"replica\",\"tags\":{\"replicatefrom\":\"loop1\"}},"
        "{\"name\":\"self\",\"role\":\"replica\",\"tags\":{\"replicatefrom\":\"self\"}},"
        "{\"name\":\"z\",\"role\":\"leader\",\"tags\":{\"replicatefrom\":\"e\"}}]}");
    const ClusterTableStyle style = {.format = FORMAT_TSV, .topology = true};
    const char *text = cluster_table_format(arena, &cluster, style);
    const char *const names[] = {"z", "+ e", "  + d", "    + c", "+ f", "+ self"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        text = strstr(text, "\ndemo\t");
        assert_non_null(text);
        text += strlen("\ndemo\t");
        const char *name = arena_strndup(arena, text, strcspn(text, "\t"));
        assert_string_equal(name, names[i]);
    }
    assert_null(strstr(text, "\ndemo\t")); // the loop is not shown
}

static void test_roles(void **state)
{
    (void)state;
    static const struct {
        const char *role;
        MemberInfo member;
        bool has;
    } rows[] = {
        {"any", {0}, true},
        {"replica", {0}, true},
        {"standby", {0}, true},
        {"replica", {.leads = true}, false},
        {"leader", {.leads = true}, true},
        {"leader", {0}, false},
        {"primary", {.leads = true, .primary = true}, true},
        {"primary", {.leads = true}, true}, // unless it says that it is something else
        {"primary", {.leads = true, .standby_leader = true}, false},
        {"primary", {.primary = true}, false},
        {"standby-leader", {.leads = true, .standby_leader = true}, true},
        {"standby-leader", {.leads = true, .primary = true}, false},
        {"standby-leader", {0}, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (member_has_role(&rows[i].member, rows[i].role) != rows[i].has)
            fail_msg("row %zu: %s", i, rows[i].role);
}

// Whoever answers for a member may send anything.
static void test_garbage_documents(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "{}",
        "[]",
        "1",
        "null",
        "{\"members\":1}",
        "{\"members\":[1,null,\"x\",[]]}",
        ("{\"members\":[{\"name\":1,\"role\":[],\"state\":{},\"host\":7,\"port\":\"x\",\"tags\":3,"
         "\"timeline\":\"y\",\"receive_lag\":-5,\"scheduled_restart\":1,"
         "\"pending_restart_reason\":[1],\"api_url\":{}}]}"),
        ("{\"members\":[{\"pending_restart_reason\":{\"a\":1,\"b\":null}}],"
         "\"scheduled_switchover\":{\"at\":null,\"from\":1}}"),
    };
    for (size_t i = 0; i < COUNT_OF(documents); i++) {
        const ClusterInfo cluster = cluster_of(documents[i]);
        for (Format format = FORMAT_PRETTY; format <= FORMAT_YAML; format++) {
            const ClusterTableStyle style = {.format = format, .topology = format == FORMAT_PRETTY};
            assert_non_null(cluster_table_format(arena, &cluster, style));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_lag_is_rounded_to_even),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_ports_are_shown_for_all),
        cmocka_unit_test(test_pending_reasons),
        cmocka_unit_test(test_optional_columns),
        cmocka_unit_test(test_topology),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_garbage_documents),
    };
    return cmocka_run_group_tests(tests, start, end);
}
