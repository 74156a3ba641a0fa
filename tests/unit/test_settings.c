// What a good document becomes: defaults, merging, timers, places, the printed table.
#include "common/model/settings_table.h"
#include "tests/support/settings_world.h"
#include "tests/support/test.h"

#include <string.h>

// The minimal document with more laid over it, and a dynamic configuration (NULL: none yet).
static Settings built(const char *more, const char *dynamic, bool all_howdah)
{
    Settings settings;
    Error err = {0};
    const Tree *local = tree_patch(arena, yaml(minimal), yaml(more), NULL);
    if (!settings_build(arena, local, yaml(dynamic), 7, all_howdah, 15, false, &settings, &notes,
                        &err))
        fail_msg("%s", err.text);
    return settings;
}

static const char *json(const Tree *tree)
{
    return tree_to_json(arena, tree, JSON_COMPACT);
}

static void test_defaults(void **state)
{
    (void)state;
    const Settings s = built(NULL, NULL, false);
    assert_int_equal(notes.warnings.count, 0);
    assert_string_equal(s.base_path, "/service/demo");
    assert_int_equal(s.ttl_ms, 30000);
    assert_int_equal(s.loop_wait_ms, 10000);
    assert_int_equal(s.retry_timeout_ms, 10000);
    assert_int_equal(s.maximum_lag_on_failover, 1048576);
    assert_int_equal(s.primary_start_timeout_ms, 300000);
    assert_int_equal(s.primary_stop_timeout_ms, 0);
    assert_int_equal(s.member_slots_ttl_ms, 1800000);
    assert_int_equal(s.dynamic_revision, 7);
    assert_int_equal(s.howdah.margin_ms, 1500); // ttl / 20
    assert_int_equal(s.howdah.stop_budget_ms, 3000);
    assert_string_equal(s.howdah.state_dir, "/data/.howdah-pg");
    assert_null(s.howdah.run_dir);
    assert_int_equal(strlen(s.howdah.socket), strlen("w-0123456789abcdef.sock"));
    assert_string_equal(s.postgresql.pgpass, "/data/.howdah-pg/pgpass");
    assert_string_equal(s.postgresql.listen_addresses, "*");
    assert_int_equal(s.postgresql.port, 5433);
    assert_string_equal(s.postgresql.config_dir, "/data/pg");
    assert_string_equal(s.postgresql.database, "postgres");
    assert_true(s.postgresql.use_slots);
    assert_false(s.postgresql.use_pg_rewind);
    assert_int_equal(s.postgresql.create_replica_methods.count, 1);
    assert_int_equal(s.postgresql.pg_ctl_timeout_ms, 60000);
    assert_string_equal(json(s.postgresql.controlled),
                        "{\"listen_addresses\":\"*\",\"port\":5433,\"cluster_name\":\"demo\","
                        "\"wal_level\":\"replica\",\"hot_standby\":\"on\",\"max_connections\":100,"
                        "\"max_wal_senders\":10,\"max_prepared_transactions\":0,"
                        "\"max_locks_per_transaction\":64,\"track_commit_timestamp\":\"off\","
                        "\"max_replication_slots\":10,\"max_worker_processes\":8,"
                        "\"wal_log_hints\":\"on\"}");
    assert_string_equal(json(s.postgresql.parameters), "{\"wal_keep_size\":\"128MB\"}");
    assert_false(s.bootstrap.present);
    assert_string_equal(json(s.dynamic), "{}");
    assert_false(s.failsafe_mode);
    assert_string_equal(s.restapi.api_url, "http://10.0.0.1:8008/patroni");
    assert_string_equal(s.etcd.endpoints.items[0], "http://10.0.0.9:2379");
    assert_int_equal(s.log.level, 1);
    assert_int_equal(s.log.file_size_bytes, 25000000);
    assert_null(s.tags_tree);
    assert_int_equal(s.tags.failover_priority, 1);
}

static void test_dynamic_values(void **state)
{
    (void)state;
    const Settings s = built(
        "bootstrap: {dcs: {ttl: 99}}",
        "{ttl: '40', loop_wait: 5, retry_timeout: 7, maximum_lag_on_failover: 33554432, "
        "master_start_timeout: 60, primary_stop_timeout: 9, failsafe_mode: 'off', pause: true, "
        "check_timeline: on, member_slots_ttl: 10min, max_timelines_history: 5, "
        "synchronous_mode: quorum, slots: {a: {type: physical}}}",
        false);
    assert_int_equal(notes.warnings.count, 0);
    assert_int_equal(s.ttl_ms, 40000);
    assert_int_equal(s.loop_wait_ms, 5000);
    assert_int_equal(s.retry_timeout_ms, 7000);
    assert_int_equal(s.maximum_lag_on_failover, 33554432);
    assert_int_equal(s.primary_start_timeout_ms, 60000); // by its old name
    assert_int_equal(s.primary_stop_timeout_ms, 9000);
    assert_false(s.failsafe_mode); // a /config that says off, or nothing, means off
    assert_true(s.pause && s.check_timeline);
    assert_int_equal(s.member_slots_ttl_ms, 600000);
    assert_int_equal(s.max_timelines_history, 5);
    assert_true(s.bootstrap.present);
    assert_string_equal(json(s.bootstrap.dcs), "{\"ttl\":99}");
    assert_false(built(NULL, "{}", false).failsafe_mode);
}

// Patroni's rule, and ours when every member is ours.
static void test_timers(void **state)
{
    static const struct {
        int64_t given[3], used[3]; // ttl, loop_wait, retry_timeout
        bool all_howdah;
    } rows[] = {
        {{30, 10, 10}, {30, 10, 10}, false}, {{30, 10, 9}, {30, 10, 9}, false},
        {{10, 10, 10}, {20, 1, 9}, false},   {{20, 10, 10}, {20, 1, 9}, false},
        {{30, 20, 10}, {30, 10, 10}, false}, {{30, 10, 14}, {30, 2, 14}, false},
        {{30, 10, 15}, {30, 1, 14}, false},  {{30, 0, 1}, {30, 1, 3}, false},
        {{5, 1, 2}, {20, 1, 3}, false},      {{5, 1, 2}, {5, 1, 2}, true},
        {{3, 1, 2}, {5, 1, 2}, true},        {{5, 10, 10}, {5, 1, 2}, true},
        {{10, 2, 3}, {10, 2, 3}, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const int64_t *given = rows[i].given, *used = rows[i].used;
        notes = (SettingsNotes){0};
        const Settings s = built(NULL,
                                 arena_printf(arena, "{ttl: %d, loop_wait: %d, retry_timeout: %d}",
                                              (int)given[0], (int)given[1], (int)given[2]),
                                 rows[i].all_howdah);
        if (s.ttl_ms != used[0] * 1000 || s.loop_wait_ms != used[1] * 1000 ||
            s.retry_timeout_ms != used[2] * 1000)
            fail_msg("%d %d %d: %d %d %d", (int)given[0], (int)given[1], (int)given[2],
                     (int)s.ttl_ms, (int)s.loop_wait_ms, (int)s.retry_timeout_ms);
        const bool changed = memcmp(given, used, sizeof rows[i].given) != 0;
        assert_int_equal(notes.warnings.count > 0, changed);
        assert_int_equal(s.fast_timers_allowed, rows[i].all_howdah);
    }
}

// margin = max(0.5 s, ttl/20, 1 ms a connection); at least half of the ttl stays for renewing.
static void test_margin(void **state)
{
    static const struct {
        const char *local;
        int64_t ttl, connections, margin_ms, stop_ms, ttl_used;
    } rows[] = {
        {NULL, 30, 100, 1500, 3000, 30},
        {NULL, 5, 100, 500, 1000, 5},
        {NULL, 30, 2000, 2000, 3000, 30},
        {NULL, 30, 20000, 20000, 5000, 50},
        {"howdah: {margin_ms: 4000, stop_budget_ms: 2000}", 30, 100, 4000, 2000, 30},
        {"howdah: {margin_ms: 600}", 30, 100, 1500, 3000, 30},
        {"howdah: {margin_ms: 4000}", 5, 100, 4000, 1000, 10},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        notes = (SettingsNotes){0};
        const Settings s =
            built(rows[i].local,
                  arena_printf(arena,
                               "{ttl: %d, loop_wait: 1, retry_timeout: 2, postgresql: {parameters: "
                               "{max_connections: %d}}}",
                               (int)rows[i].ttl, (int)rows[i].connections),
                  true);
        if (s.howdah.margin_ms != rows[i].margin_ms || s.howdah.stop_budget_ms != rows[i].stop_ms ||
            s.ttl_ms != rows[i].ttl_used * 1000)
            fail_msg("row %zu: %d %d %d", i, (int)s.howdah.margin_ms, (int)s.howdah.stop_budget_ms,
                     (int)s.ttl_ms);
        assert_int_equal(notes.warnings.count > 0, rows[i].ttl != rows[i].ttl_used || i == 5);
    }
}

// Of a lease that was proven with another ttl.
static void test_fence_of_a_proof(void **state)
{
    static const struct {
        const char *local;
        int64_t ttl, proven_ms, margin_ms, stop_ms;
    } rows[] = {
        {NULL, 30, 30000, 1500, 3000},
        {NULL, 60, 5000, 500, 1000}, // raised since
        {NULL, 60, 30000, 1500, 3000},
        {NULL, 8, 60000, 500, 1000}, // lowered since: the proof is cut to it
        {"howdah: {margin_ms: 2000, stop_budget_ms: 1500}", 60, 20000, 2000, 1500},
        // They do not go together, and half is left for renewing.
        {"howdah: {margin_ms: 9000, stop_budget_ms: 3000}", 60, 8000, 3000, 1000},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const Settings s = built(
            rows[i].local,
            arena_printf(arena, "{ttl: %d, loop_wait: 1, retry_timeout: 2}", (int)rows[i].ttl),
            true);
        const FenceShare share = settings_fence(&s, rows[i].proven_ms);
        if (share.margin_ms != rows[i].margin_ms || share.stop_budget_ms != rows[i].stop_ms)
            fail_msg("row %zu: %d %d", i, (int)share.margin_ms, (int)share.stop_budget_ms);
    }
}

static void test_merging_postgresql(void **state)
{
    (void)state;
    const Settings s =
        built("postgresql:\n"
              "  use_slots: false\n" // the cluster's alone
              "  parameters: {max_connections: 500, Work_Mem: 8MB, shared_buffers: null, a.b: 1}\n"
              "  callbacks: {on_start: x}\n",
              "{postgresql: {data_dir: /elsewhere, use_pg_rewind: true, bin_dir: /usr/bin, "
              "callbacks: {on_start: y, on_stop: z}, pg_hba: ['local all all trust'], "
              "parameters: {max_connections: '200', work_mem: 4MB, shared_buffers: 1GB, "
              "port: 1, wal_level: LOGICAL, wal_log_hints: no, wal_keep_segments: 4, "
              "max_wal_senders: 2}}}",
              false);
    assert_string_equal(s.postgresql.data_dir, "/data/pg");
    assert_true(s.postgresql.use_slots);
    assert_true(s.postgresql.use_pg_rewind);
    assert_string_equal(s.postgresql.bin_dir, "/usr/bin");
    assert_string_equal(s.postgresql.pg_hba.items[0], "local all all trust");
    assert_string_equal(json(tree_get(s.postgresql.section, "callbacks")), "{\"on_start\":\"x\"}");
    assert_string_equal(json(s.postgresql.parameters),
                        "{\"wal_keep_size\":\"64MB\",\"Work_Mem\":\"8MB\",\"a.b\":1}");
    assert_int_equal(tree_get_int(s.postgresql.controlled, "max_connections", 0), 200);
    assert_int_equal(tree_get_int(s.postgresql.controlled, "max_wal_senders", 0), 10);
    assert_int_equal(tree_get_int(s.postgresql.controlled, "port", 0), 5433);
    assert_string_equal(tree_get_string(s.postgresql.controlled, "wal_level", ""), "logical");
    assert_string_equal(tree_get_string(s.postgresql.controlled, "wal_log_hints", ""), "off");
    // use_slots here, data_dir there, max_wal_senders below its least
    assert_int_equal(notes.warnings.count, 3);
}

static void test_sections(void **state)
{
    (void)state;
    const Settings s = built(
        "namespace: //pg/ha/\n"
        "log: {level: warning, type: json, dir: /log, file_num: 2}\n"
        "restapi:\n"
        "  connect_address: '[fd00::1]:8009'\n"
        "  certfile: c.pem\n"
        "  verify_client: Required\n"
        "  allowlist: 10.0.0.0/8, db.example\n"
        "  authentication: {username: u, password: '0123'}\n"
        "  cafile: ca.pem\n"
        "bootstrap:\n"
        "  method: wal_g\n"
        "  wal_g: {command: /bin/restore}\n"
        "  initdb: [encoding: UTF8, data-checksums]\n"
        "  post_init: /bin/post\n"
        "postgresql:\n"
        "  listen: '10.0.0.1, ::1:5432'\n"
        "  create_replica_method: [pgbackrest, basebackup]\n"
        "  pgbackrest: {keep_data: true}\n"
        "  proxy_address: proxy:6432\n"
        "  bin_name: {postgres: pg15}\n"
        "  authentication:\n"
        "    superuser: {username: su, password: s, sslmode: verify-full}\n"
        "    rewind: {username: rw}\n"
        "tags: {nofailover: false, failover_priority: 3, clonefrom: yes, nosync: no, zone: x, "
        "replicatefrom: b}\n"
        "howdah: {run_dir: /run/x, warden: /opt/w}\n",
        NULL, false);
    assert_int_equal(notes.warnings.count, 0);
    assert_string_equal(s.base_path, "/pg/ha/demo");
    assert_string_equal(s.restapi.api_url, "https://[fd00::1]:8009/patroni");
    assert_int_equal(s.restapi.verify_client, VERIFY_CLIENT_REQUIRED);
    assert_int_equal(s.restapi.allowlist.count, 2);
    assert_string_equal(s.restapi.allowlist.items[1], "db.example");
    assert_string_equal(secret_reveal(s.restapi.password), "0123");
    assert_string_equal(s.ctl.username, "u"); // falls back
    assert_string_equal(s.ctl.cacert, "ca.pem");
    assert_string_equal(s.bootstrap.method, "wal_g");
    assert_string_equal(s.bootstrap.post_bootstrap, "/bin/post");
    assert_string_equal(s.postgresql.listen_addresses, "10.0.0.1,::1");
    assert_int_equal(s.postgresql.create_replica_methods.count, 2);
    assert_string_equal(s.postgresql.proxy.host, "proxy");
    assert_string_equal(s.postgresql.bin_name_postgres, "pg15");
    assert_string_equal(s.postgresql.superuser.sslmode, "verify-full");
    assert_string_equal(s.postgresql.rewind.username, "rw");
    assert_string_equal(json(s.tags_tree), "{\"nofailover\":false,\"failover_priority\":3,"
                                           "\"clonefrom\":true,\"zone\":\"x\",\"replicatefrom\":"
                                           "\"b\"}");
    assert_false(s.tags.nofailover);
    assert_string_equal(s.tags.replicatefrom, "b");
    assert_int_equal(s.log.level, 2);
    assert_true(s.log.json);
    assert_int_equal(s.log.file_count, 2);
    assert_string_equal(s.howdah.run_dir, "/run/x");
    assert_string_equal(s.howdah.warden, "/opt/w");
}

static void test_old_names(void **state)
{
    (void)state;
    Settings s;
    Error err = {0};
    const Tree *local = yaml("scope: demo\n"
                             "restapi: {listen: '10.0.0.1:8008'}\n"
                             "etcd: {host: '10.0.0.9', discovery_srv: null}\n"
                             "postgresql:\n"
                             "  name: old\n"
                             "  listen: 10.0.0.1\n"
                             "  data_dir: /data/pg/\n"
                             "  superuser: {username: su}\n"
                             "  replication: {username: repl}\n"
                             "  pg_rewind: {username: rw}\n");
    if (!settings_build(arena, local, NULL, 0, false, 0, false, &s, &notes, &err))
        fail_msg("%s", err.text);
    assert_string_equal(s.name, "old");
    assert_string_equal(s.postgresql.superuser.username, "su");
    assert_string_equal(s.postgresql.rewind.username, "rw");
    assert_true(s.postgresql.use_pg_rewind); // its presence means that
    assert_string_equal(s.postgresql.connect.host, "10.0.0.1");
    assert_int_equal(s.postgresql.connect.port, 5432);
    assert_string_equal(s.etcd.endpoints.items[0], "http://10.0.0.9:2379");
    assert_string_equal(s.howdah.state_dir, "/data/.howdah-pg");
    assert_int_equal(notes.warnings.count, 1);
    assert_non_null(strstr(notes.warnings.items[0], "call the section etcd3"));
}

static void test_etcd(void **state)
{
    static const struct {
        const char *section, *endpoints, *username, *password;
        bool fixed;
    } rows[] = {
        {"{hosts: [a, 'b:1', 'https://c']}", "http://a:2379 http://b:1 https://c:2379 ", NULL, NULL,
         false},
        {"{hosts: 'a:1,b:2', protocol: https}", "https://a:1 https://b:2 ", NULL, NULL, false},
        {"{host: '[::1]:2380', hosts: []}", "http://[::1]:2380 ", NULL, NULL, false},
        {"{host: a, port: 4001}", "http://a:4001 ", NULL, NULL, false},
        {"{url: 'https://u%40x:p%3Aq@a:9/x', host: b}", "https://a:9 ", "u@x", "p:q", false},
        {"{proxy: 'http://p', hosts: a}", "http://p:2379 ", NULL, NULL, true},
        {"{hosts: a, use_proxies: on, username: u, password: p}", "http://a:2379 ", "u", "p", true},
        {"{srv: example.com, hosts: a}", "", NULL, NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Settings s;
        Error err = {0};
        Tree *local = tree_patch(arena, yaml(minimal), NULL, NULL);
        tree_set(arena, local, "etcd3", yaml(rows[i].section));
        if (!settings_build(arena, local, NULL, 0, false, 0, false, &s, &notes, &err))
            fail_msg("%s: %s", rows[i].section, err.text);
        Text endpoints = text_new(arena);
        for (size_t j = 0; j < s.etcd.endpoints.count; j++)
            text_addf(&endpoints, "%s ", s.etcd.endpoints.items[j]);
        if (strcmp(endpoints.data, rows[i].endpoints) != 0 || s.etcd.fixed != rows[i].fixed)
            fail_msg("%s: %s", rows[i].section, endpoints.data);
        assert_true(str_eq(s.etcd.username, rows[i].username));
        assert_true(str_eq(secret_reveal(s.etcd.password), rows[i].password));
    }
}

// howdahctl reads its sections and is not held up by the rest.
static void test_ctl(void **state)
{
    (void)state;
    Settings s;
    Error err = {0};
    const Tree *local = yaml("scope: demo\nnamespace: x\netcd3: {host: e}\n"
                             "ctl: {insecure: on, authentication: {username: u, password: p}}\n"
                             "restapi: {cafile: ca}\n"
                             "postgresql: {listen: [nonsense]}\nconsul: {}\nloop_wait: 3\n");
    if (!settings_build(arena, local, NULL, 0, false, 0, true, &s, &notes, &err))
        fail_msg("%s", err.text);
    assert_int_equal(notes.warnings.count, 0);
    assert_string_equal(s.base_path, "/x/demo");
    assert_true(s.ctl.insecure);
    assert_string_equal(s.ctl.username, "u");
    assert_string_equal(s.ctl.cacert, "ca");
    assert_true(settings_build(arena, tree_map(arena), NULL, 0, false, 0, true, &s, &notes, &err));
    assert_null(s.base_path);
    assert_string_equal(s.namespace, "service");
    assert_int_equal(s.etcd.endpoints.count, 0);
}

static void test_check_dynamic(void **state)
{
    (void)state;
    assert_true(settings_check_dynamic(arena, yaml("{ttl: 30, pause: true}"), &notes));
    assert_false(settings_check_dynamic(arena, yaml("{ttl: x}"), &notes));
    assert_false(settings_check_dynamic(arena, yaml("{tll: 30}"), &notes));
    assert_false(settings_check_dynamic(
        arena, yaml("{postgresql: {parameters: {max_connections: 3}}}"), &notes));
    assert_int_equal(notes.warnings.count, 3);
}

// The sample file is one that the agent takes, without a word.
static void test_printed_table(void **state)
{
    (void)state;
    Settings s;
    Error err = {0};
    if (!settings_build(arena, yaml(settings_sample_yaml(arena)), NULL, 0, false, 0, false, &s,
                        &notes, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < notes.warnings.count; i++)
        fail_msg("%s", notes.warnings.items[i]);

    const char *reference = settings_reference_markdown(arena), *help = settings_help(arena);
    for (size_t i = 0; i < option_count; i++) {
        const Option *option = &option_table[i];
        assert_ptr_equal(option_find(option->path), option); // no path twice
        assert_true((option->alias_of == NULL) == (option->help != NULL));
        assert_true(option->alias_of == NULL || option_find(option->alias_of) != NULL);
        assert_non_null(strstr(reference, arena_printf(arena, "`%s`", option->path)));
        assert_true(option->alias_of != NULL || strstr(help, option->path) != NULL);
        assert_true((option->type == OPTION_WORD) == (option->words != NULL));
    }
}

// A commented-out default, once written into the file, changes nothing and is accepted.
static void test_defaults_in_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const Option *option = &option_table[i];
        if (option->fallback == NULL)
            continue;
        const bool dynamic = (option->where & DYNAMIC) != 0;
        Text text = text_new(arena);
        int depth = 0;
        for (const char *part = option->path;; depth++) {
            const size_t length = strcspn(part, ".");
            text_addf(&text, "%*s%.*s:%s", 2 * depth, "", (int)length, part,
                      part[length] == '.' ? "\n" : " ");
            if (part[length] == '\0')
                break;
            part += length + 1;
        }
        text_addf(&text, "%s\n", option->fallback);
        if (str_starts(option->path, "kubernetes.")) // it needs labels, and to be the only store
            text_add(&text, "  labels: {a: b}\netcd3: null\n");
        notes = (SettingsNotes){0};
        (void)built(dynamic ? NULL : text.data, dynamic ? text.data : "{}", false);
        if (notes.warnings.count > 0)
            fail_msg("%s: %s", option->path, notes.warnings.items[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dynamic_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_timers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_margin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fence_of_a_proof, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_merging_postgresql, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_etcd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ctl, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_check_dynamic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_printed_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_defaults_in_table, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
