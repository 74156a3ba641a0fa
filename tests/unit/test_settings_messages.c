// Every complaint about settings: what is said, where, and whether the agent may start.
#include "common/model/settings.h"
#include "tests/support/test.h"

#include <string.h>

static Arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static const char minimal[] = "scope: demo\n"
                              "name: a\n"
                              "restapi: {listen: '10.0.0.1:8008'}\n"
                              "etcd3: {hosts: '10.0.0.9:2379'}\n"
                              "postgresql:\n"
                              "  listen: '*:5433'\n"
                              "  connect_address: 10.0.0.1:5433\n"
                              "  data_dir: /data/pg\n"
                              "  authentication: {replication: {username: repl}}\n";

static const Tree *yaml(const char *text, const char *file)
{
    const Tree *tree;
    Error err = {0};
    if (!tree_parse_yaml(arena, text, file, &tree, &err))
        fail_msg("%s: %s", text, err.text);
    return tree;
}

// Laid over the minimal document; the one finding it must give, errors with "error: " before them.
static const struct {
    const char *given, *finding;
} local_rows[] = {
    // --- types
    {"name: [a]", "error: h.yml: line 1: name: expected a text, found a list"},
    {"name: yes", "error: h.yml: line 1: name: expected a text (write it in quotes), found true"},
    {"name: a/b", "error: h.yml: line 1: name: expected a name without '/', found 'a/b'"},
    {"scope: ''", "error: h.yml: line 1: scope: expected a name without '/', found ''"},
    {"ctl: 8008", "error: h.yml: line 1: ctl: expected a map of options"},
    {"restapi:\n  authentication: {username: u, password: 0123}",
     "h.yml: line 2: restapi.authentication.password: a number without quotes: leading zeros and "
     "underscores are lost"},
    {"ctl: {keyfile_password: [hush]}",
     "error: h.yml: line 1: ctl.keyfile_password: expected a text, found a list"},
    {"ctl: {insecure: maybe}",
     "error: h.yml: line 1: ctl.insecure: expected true or false, found 'maybe'"},
    {"log: {file_size: 1MB}",
     "error: h.yml: line 1: log.file_size: expected an integer, found '1MB'"},
    {"log: {file_num: 20000}",
     "error: h.yml: line 1: log.file_num: expected 0 to 10000, found 20000"},
    {"log: {file_size: 0}", "error: h.yml: line 1: log.file_size: expected at least 1, found 0"},
    {"thread_stack_size: 1 parsec",
     "error: h.yml: line 1: thread_stack_size: expected bytes, or a text with a unit (512kB), "
     "found '1 parsec'"},
    {"postgresql: {pg_ctl_timeout: 1kB}",
     "error: h.yml: line 1: postgresql.pg_ctl_timeout: expected seconds, or a text with a unit "
     "(30min), found '1kB'"},
    {"log: {level: loud}",
     "error: h.yml: line 1: log.level: expected one of DEBUG INFO WARN WARNING ERROR FATAL "
     "CRITICAL, found 'loud'"},
    {"restapi: {http_extra_headers: x}",
     "error: h.yml: line 1: restapi.http_extra_headers: expected a map, found 'x'"},
    {"postgresql: {pg_hba: local all all trust}",
     "error: h.yml: line 1: postgresql.pg_hba: expected list of texts, found 'local all all "
     "trust'"},
    {"postgresql: {pg_hba: [{a: b}]}",
     "error: h.yml: line 1: postgresql.pg_hba: expected a text, found a map"},
    {"bootstrap: {initdb: [{a: 1, b: 2}]}",
     "error: h.yml: line 1: bootstrap.initdb: expected an option like 'name' or 'name: value', "
     "found a map"},
    {"postgresql: {basebackup: fast}", "error: h.yml: line 1: postgresql.basebackup: expected a "
                                       "list or map of options, found 'fast'"},
    // --- addresses
    {"restapi: {listen: localhost}",
     "error: h.yml: line 1: restapi.listen: expected host:port, found 'localhost'"},
    {"restapi: {listen: 'localhost:70000'}",
     "error: h.yml: line 1: restapi.listen: expected host:port, found 'localhost:70000'"},
    {"restapi: {listen: ':8008'}",
     "error: h.yml: line 1: restapi.listen: expected host:port, found ':8008'"},
    {"restapi: {listen: 10:22}",
     "error: h.yml: line 1: restapi.listen: expected host:port in quotes (without them YAML reads "
     "some as numbers), found 622"},
    {"postgresql: {connect_address: 'a,b:1'}",
     "error: h.yml: line 1: postgresql.connect_address: expected host:port, found 'a,b:1'"},
    {"postgresql: {listen: 'a,,b:1'}", "error: h.yml: line 1: postgresql.listen: expected "
                                       "host:port or host,host:port, found 'a,,b:1'"},
    {"restapi: {listen: '0.0.0.0:8008'}",
     "error: h.yml: line 3: restapi.connect_address: expected an address that others can connect "
     "to, found 0.0.0.0"},
    {"postgresql: {connect_address: '*:5432'}",
     "error: h.yml: line 1: postgresql.connect_address: expected an address that others can "
     "connect to, found *"},
    {"postgresql: {connect_address: null}",
     "postgresql.connect_address: not set: other members are told to connect to localhost"},
    // --- missing
    {"name: null", "error: h.yml: name: missing: name of this member, unique within the cluster"},
    {"postgresql: {data_dir: null}",
     "error: h.yml: postgresql.data_dir: missing: the data directory"},
    {"etcd3: null",
     "error: h.yml: etcd3: missing: where the cluster's store is (or a section kubernetes)"},
    {"etcd3: {hosts: null, protocol: http}",
     "error: h.yml: line 4: etcd3: one of hosts, host, url, proxy or srv is needed"},
    {"restapi: {authentication: {username: u}}",
     "error: h.yml: line 1: restapi.authentication: both username and password are needed"},
    {"ctl: {authentication: {password: p}}",
     "error: h.yml: line 1: ctl.authentication: both username and password are needed"},
    {"postgresql: {create_replica_methods: [wal_g]}",
     "error: h.yml: line 1: postgresql.create_replica_methods: 'wal_g' has no section "
     "postgresql.wal_g that says how"},
    {"bootstrap: {method: wal_g}",
     "error: h.yml: line 1: bootstrap.method: 'wal_g' has no section bootstrap.wal_g with a "
     "command"},
    // --- not for this build
    {"consul: {host: c}",
     "error: h.yml: line 1: consul: only etcd and Kubernetes are supported by this build: a "
     "section etcd3 or kubernetes is needed"},
    {"citus: {group: 0, database: d}",
     "error: h.yml: line 1: citus: Citus is not supported by this build"},
    {"watchdog: {mode: required}",
     "error: h.yml: line 1: watchdog.mode: this build drives no watchdog device: use off or "
     "automatic (the warden fences the server)"},
    {"etcd: {host: x}", "h.yml: line 1: etcd: ignored, since there is a section etcd3 too"},
    {"etcd3: {hosts: [a, 'b:x']}",
     "error: h.yml: line 1: etcd3.hosts: expected host:port or http(s)://host:port, found 'b:x'"},
    {"etcd3: {url: 'ftp://x'}",
     "error: h.yml: line 1: etcd3.url: expected host:port or http(s)://host:port, found 'ftp://x'"},
    // --- Kubernetes
    {"kubernetes: {labels: {a: b}}",
     "h.yml: line 1: kubernetes: ignored, since there is a section etcd3 too"},
    {"{etcd3: null, kubernetes: {store: leases}}",
     "error: h.yml: line 1: kubernetes.labels: missing: labels that select the cluster's pods, "
     "like {application: howdah}"},
    {"{etcd3: null, kubernetes: {labels: {}}}",
     "error: h.yml: line 1: kubernetes.labels: missing: labels that select the cluster's pods, "
     "like {application: howdah}"},
    {"{etcd3: null, kubernetes: {labels: x}}",
     "error: h.yml: line 1: kubernetes.labels: expected a map, found 'x'"},
    {"{etcd3: null, kubernetes: {labels: {'a b': c}}}",
     "error: h.yml: line 1: kubernetes.labels: 'a b' is not the name of a label"},
    {"{etcd3: null, kubernetes: {labels: {UP/a: c}}}",
     "error: h.yml: line 1: kubernetes.labels: 'UP/a' is not the name of a label"},
    {"{etcd3: null, kubernetes: {labels: {a: -c}}}",
     "error: h.yml: line 1: kubernetes.labels.a: expected the value of a label (at most 63 "
     "letters, digits, '-', '_' and '.'), found '-c'"},
    {"{etcd3: null, kubernetes: {labels: {a: [c]}}}",
     "error: h.yml: line 1: kubernetes.labels.a: expected the value of a label (at most 63 "
     "letters, digits, '-', '_' and '.'), found a list or map"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, store: etcd}}",
     "error: h.yml: line 1: kubernetes.store: expected one of endpoints configmaps leases, found "
     "'etcd'"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, store: leases, use_endpoints: true}}",
     "h.yml: line 1: kubernetes.use_endpoints: has no effect: store says leases"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, role_label: 'a:b'}}",
     "error: h.yml: line 1: kubernetes.role_label: expected the name of a label, found 'a:b'"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, leader_label_value: 'x y'}}",
     "error: h.yml: line 1: kubernetes.leader_label_value: expected the value of a label (at most "
     "63 letters, digits, '-', '_' and '.'), found 'x y'"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, role_label: a}}",
     "error: h.yml: line 1: kubernetes.role_label: 'a' is one of the labels that select the "
     "cluster's pods"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, tmp_role_label: cluster-name}}",
     "error: h.yml: line 1: kubernetes.tmp_role_label: 'cluster-name' is one of the labels that "
     "select the cluster's pods"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, tmp_role_label: role}}",
     "error: h.yml: line 1: kubernetes.tmp_role_label: it is role_label: a second label is meant"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, bootstrap_labels: {a: b}}}",
     "error: h.yml: line 1: kubernetes.bootstrap_labels: 'a' would be taken off with them: it "
     "selects the cluster's pods, or says their role"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, follower_label_value: primary}}",
     "kubernetes.leader_label_value: it is follower_label_value too: no Service can tell the "
     "primary from its replicas"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, namespace: A.b}}",
     "error: h.yml: line 1: kubernetes.namespace: expected the name of a Kubernetes namespace, "
     "found 'A.b'"},
    {"{etcd3: null, namespace: /x/, kubernetes: {labels: {a: b}}}",
     "error: h.yml: line 1: namespace: expected the name of a Kubernetes namespace, found '/x/'"},
    {"{etcd3: null, scope: Demo_1, kubernetes: {labels: {a: b}}}",
     "error: h.yml: line 1: scope: expected a name for objects of Kubernetes: at most 63 "
     "lower-case letters, digits, '-' and '.', found 'Demo_1'"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, pod_ip: pod-1}}",
     "error: h.yml: line 1: kubernetes.pod_ip: expected an address, found 'pod-1'"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, ports: 5432}}",
     "error: h.yml: line 1: kubernetes.ports: expected a list of maps with name, port and "
     "protocol"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, ports: [5432]}}",
     "error: h.yml: line 1: kubernetes.ports: expected a list of maps with name, port and "
     "protocol"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, ports: [{name: x}]}}",
     "error: h.yml: line 1: kubernetes.ports: expected a port from 1 to 65535"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, ports: [{port: 1, protocol: tcp}]}}",
     "error: h.yml: line 1: kubernetes.ports: expected protocol TCP, UDP or SCTP, found 'tcp'"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, ports: [{port: 1}, {port: 2, name: x}]}}",
     "error: h.yml: line 1: kubernetes.ports: several ports need a name each"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, retriable_http_codes: [200]}}",
     "error: h.yml: line 1: kubernetes.retriable_http_codes: expected HTTP status codes from 400 "
     "to 599, found '200'"},
    {"{etcd3: null, kubernetes: {labels: {a: b}, retriable_http_codes: {a: 1}}}",
     "error: h.yml: line 1: kubernetes.retriable_http_codes: expected a list"},
    {"{etcd3: null, kubernetes: {labels: {cluster-name: other}}}",
     "h.yml: line 1: kubernetes.labels: cluster-name is 'other', but it holds the scope: 'demo' is "
     "what will be used"},
    {"{etcd3: null, kubernetes: {lables: {a: b}, labels: {a: b}}}",
     "h.yml: line 1: kubernetes.lables: unknown option; did you mean 'labels'?"},
    // --- unknown and misplaced
    {"postgresql: {data_dri: /x}",
     "h.yml: line 1: postgresql.data_dri: unknown option; did you mean 'data_dir'?"},
    {"restapi: {cert_file: x}",
     "h.yml: line 1: restapi.cert_file: unknown option; did you mean 'certfile'?"},
    {"etcd3: {usernmae: x}",
     "h.yml: line 1: etcd3.usernmae: unknown option; did you mean 'username'?"},
    {"postgersql: {a: 1}", "h.yml: line 1: postgersql: unknown option; did you mean 'postgresql'?"},
    {"zorro: 1", "h.yml: line 1: zorro: unknown option, without effect"},
    {"ttl: 30", "h.yml: line 1: ttl: has no effect here: it belongs to the cluster's configuration "
                "(bootstrap.dcs of a new cluster, howdahctl edit-config afterwards)"},
    {"bootstrap: {dcs: {restapi: {listen: 'a:1'}}}",
     "h.yml: line 1: bootstrap.dcs.restapi.listen: has no effect in the cluster's configuration: "
     "it "
     "is each member's own"},
    {"bootstrap: {dcs: {ttl: 30s}}",
     "error: h.yml: line 1: bootstrap.dcs.ttl: expected an integer, found '30s'"},
    // --- PostgreSQL's settings
    {"postgresql: {parameters: [a]}",
     "error: h.yml: line 1: postgresql.parameters: expected a map, found a list"},
    {"postgresql: {parameters: {a: [1]}}",
     "error: h.yml: line 1: postgresql.parameters.a: expected one value, found a list or map"},
    {"postgresql: {parameters: {'a b': 1}}",
     "error: h.yml: line 1: postgresql.parameters.a b: not a name of a PostgreSQL setting"},
    {"postgresql: {parameters: {a: \"x\\ny\"}}",
     "error: h.yml: line 1: postgresql.parameters.a: a value cannot hold a line break"},
    {"postgresql: {data_dir: pgdata}",
     "error: h.yml: line 1: postgresql.data_dir: expected an absolute path, found 'pgdata'"},
    // --- tags
    {"tags: {nofailover: 'false'}",
     "h.yml: line 1: tags.nofailover: taken as false; write it without quotes"},
    {"tags: {nosync: maybe}",
     "error: h.yml: line 1: tags.nosync: expected true or false, found maybe"},
    {"tags: {failover_priority: high}",
     "error: h.yml: line 1: tags.failover_priority: expected an integer of at least 0"},
    {"tags: {replicatefrom: [a]}",
     "error: h.yml: line 1: tags.replicatefrom: expected the name of a member"},
    {"tags: {nofailover: true, failover_priority: 2}",
     "h.yml: line 1: tags.nofailover: contradicts failover_priority; nofailover holds"},
    {"tags: [a]", "error: h.yml: line 1: tags: expected a map, found a list"},
    // --- howdah's own
    {"howdah: {margin_ms: 100}",
     "error: h.yml: line 1: howdah.margin_ms: expected 500 to 600000, found 100"},
    {"howdah: {margin_ms: 501}",
     "h.yml: line 1: howdah.margin_ms: raised from 501 to 1500, the least that is safe"},
};

static void test_local(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(local_rows); i++) {
        Settings settings;
        SettingsNotes notes = {0};
        Error err = {0};
        const Tree *local =
            tree_patch(arena, yaml(minimal, "h.yml"), yaml(local_rows[i].given, "h.yml"), NULL);
        const bool ok =
            settings_build(arena, local, NULL, 0, false, 15, false, &settings, &notes, &err);
        const bool is_error = str_starts(local_rows[i].finding, "error: ");
        if (notes.warnings.count != 1 ||
            strcmp(notes.warnings.items[0], local_rows[i].finding) != 0)
            fail_msg("%s: %zu findings: %s, expected %s", local_rows[i].given, notes.warnings.count,
                     notes.warnings.count ? notes.warnings.items[0] : "", local_rows[i].finding);
        if (ok == is_error)
            fail_msg("%s: ok=%d", local_rows[i].given, ok);
        if (is_error && strncmp(err.text, local_rows[i].finding + strlen("error: "), 200) != 0)
            fail_msg("%s: %s", local_rows[i].given, err.text);
        arena_reset(arena);
    }
}

// What the store holds is never a reason not to run: a warning, and the default.
static void test_dynamic(void **state)
{
    static const struct {
        const char *given, *finding;
    } rows[] = {
        {"{ttl: 30s}", "cluster configuration: ttl: expected an integer, found '30s'; ignored"},
        {"{ttl: 30, loop_wait: 20}", "loop_wait: adjusted from 20 to 10 (loop_wait + 2 * "
                                     "retry_timeout <= ttl, and the minima)"},
        {"{maximum_lag_on_failover: -1}",
         "cluster configuration: maximum_lag_on_failover: expected "
         "at least 0, found -1; ignored"},
        {"{pause: perhaps}",
         "cluster configuration: pause: expected true or false, found 'perhaps'; ignored"},
        {"{master_start_timeout: x}", "cluster configuration: primary_start_timeout: expected an "
                                      "integer, found 'x'; ignored"},
        {"{name: x}",
         "cluster configuration: name: has no effect in the cluster's configuration: it "
         "is each member's own"},
        {"{loop_wiat: 3}",
         "cluster configuration: loop_wiat: unknown option; did you mean 'loop_wait'?"},
        {"{postgresql: {parameters: x}}",
         "cluster configuration: postgresql.parameters: expected a map, found 'x'; ignored"},
        {"{postgresql: {parameters: {'x;y': 1}}}",
         "postgresql.parameters.x;y: not a name of a PostgreSQL setting; ignored"},
        {"{postgresql: {parameters: {max_connections: 10}}}",
         "postgresql.parameters.max_connections: expected an integer of at least 25, found 10; the "
         "default is used"},
        {"{postgresql: {parameters: {wal_level: minimal}}}",
         "postgresql.parameters.wal_level: expected replica or logical, found minimal; the default "
         "is used"},
        {"{postgresql: {parameters: {hot_standby: off}}}",
         "postgresql.parameters.hot_standby: expected on, found False; the default is used"},
        {"{postgresql: {parameters: {track_commit_timestamp: [1]}}}",
         "postgresql.parameters.track_commit_timestamp: expected on or off, found a list or map; "
         "the default is used"},
        {"{postgresql: {parameters: {wal_keep_size: 1MB}}}",
         "postgresql.parameters.wal_keep_size: expected at least 16MB, found 1MB; the default is "
         "used"},
        {"{postgresql: {parameters: {wal_keep_segments: 0}}}",
         "postgresql.parameters.wal_keep_segments: expected an integer of at least 1; the default "
         "is used"},
        {"{postgresql: {parameters: {max_connections: 20000}}}",
         "ttl: adjusted from 30 to 50: stopping and killing up to max_connections backends takes "
         "25000 ms of it"},
        {"[1]", "cluster configuration: expected a map; ignored"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Settings settings;
        SettingsNotes notes = {0};
        Error err = {0};
        if (!settings_build(arena, yaml(minimal, NULL), yaml(rows[i].given, NULL), 1, false, 15,
                            false, &settings, &notes, &err))
            fail_msg("%s: %s", rows[i].given, err.text);
        // A dynamic document has no file; the line is that of the text above.
        const char *found = notes.warnings.count == 1 ? notes.warnings.items[0] : "";
        if (str_starts(found, "line 1: "))
            found += strlen("line 1: ");
        if (strcmp(found, rows[i].finding) != 0)
            fail_msg("%s: %zu findings: %s, expected %s", rows[i].given, notes.warnings.count,
                     found, rows[i].finding);
    }
}

// All findings at once, the first error in the Error; and no secret in any of them.
static void test_collects(void **state)
{
    (void)state;
    Settings settings = {.ttl_ms = 77};
    SettingsNotes notes = {0};
    Error err = {0};
    const Tree *local =
        yaml("name: [x]\nrestapi: {listen: a, authentication: {username: u, password: true}}\n"
             "etcd3: {password: [topsecret], hosts: []}\nnonsense: 1\n",
             "h.yml");
    assert_false(settings_build(arena, local, NULL, 0, false, 0, false, &settings, &notes, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_string_equal(err.text, "h.yml: line 1: name: expected a text, found a list");
    assert_true(notes.warnings.count >= 9);
    for (size_t i = 0; i < notes.warnings.count; i++)
        assert_null(strstr(notes.warnings.items[i], "topsecret"));
    assert_int_equal(settings.ttl_ms, 77); // out is written only on success

    assert_false(
        settings_build(arena, tree_list(arena), NULL, 0, false, 0, false, &settings, &notes, &err));
    assert_false(settings_build(arena, NULL, NULL, 0, false, 0, false, &settings, &notes, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_local, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dynamic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_collects, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
