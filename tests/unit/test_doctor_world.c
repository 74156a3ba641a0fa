#include "tests/unit/test_doctor_world.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

Arena *world_arena;

static const char world[] =
    "kube: {version: {gitVersion: v1.29}, in_pod: true, now: 1000, issued: 900, expires: 4500}\n"
    "agent:\n"
    "  scope: demo\n"
    "  name: demo-0\n"
    "  kubernetes: {store: leases, labels: {application: howdah}}\n"
    "  restapi: {listen: '0.0.0.0:8008', connect_address: '10.0.0.1:8008'}\n"
    "  howdah: {socket: /howdah/warden.sock}\n"
    "  postgresql:\n"
    "    listen: 0.0.0.0:5432\n"
    "    connect_address: 10.0.0.1:5432\n"
    "    data_dir: /data/pgdata\n"
    "    use_pg_rewind: true\n"
    "    authentication:\n"
    "      superuser: {username: postgres, password: s3cret}\n"
    "      replication: {username: replicator, password: s3cret}\n"
    "      rewind: {username: rewinder, password: s3cret}\n"
    "view:\n"
    "  leader: demo-0\n"
    "  initialize: '7000000000000000001'\n"
    "  config: {ttl: 30, loop_wait: 10, retry_timeout: 10, postgresql: {use_pg_rewind: true}}\n"
    "  members:\n"
    "  - {name: demo-0, host: 10.0.0.1, api_url: 'http://10.0.0.1:8008/patroni', howdah: 0.1.0}\n"
    "  - {name: demo-1, host: 10.0.0.2, api_url: 'http://10.0.0.2:8008/patroni', howdah: 0.1.0}\n"
    "statuses:\n"
    "  demo-0: {role: primary, state: running}\n"
    "  demo-1: {role: replica, state: running}\n"
    "why:\n"
    "  demo-0: {reason: LEADER_HEALTHY, reason_text: leading, fence_armed: true}\n"
    "pods:\n"
    "- &pod\n"
    "  metadata: &meta\n"
    "    name: demo-0\n"
    "    labels: {application: howdah, cluster-name: demo, role: primary}\n"
    "    ownerReferences: [{kind: StatefulSet, name: demo}]\n"
    "  spec: &spec\n"
    "    subdomain: demo-members\n"
    "    terminationGracePeriodSeconds: 120\n"
    "    enableServiceLinks: true\n"
    "    securityContext: {runAsUser: 999, fsGroup: 999, fsGroupChangePolicy: OnRootMismatch}\n"
    "    containers:\n"
    "    - name: postgres\n"
    "      securityContext: {readOnlyRootFilesystem: true}\n"
    "      ports: [{name: postgres, containerPort: 5432}]\n"
    "      volumeMounts: [{name: howdah, mountPath: /howdah}]\n"
    "    - name: howdah\n"
    "      securityContext: {readOnlyRootFilesystem: true}\n"
    "      ports: [{name: api, containerPort: 8008}]\n"
    "      volumeMounts: [{name: howdah, mountPath: /howdah}]\n"
    "- metadata:\n"
    "    name: demo-1\n"
    "    labels: {application: howdah, cluster-name: demo, role: replica}\n"
    "  spec: *spec\n"
    "services:\n"
    "- metadata: {name: demo, labels: {application: howdah, cluster-name: demo}}\n"
    "  spec: {publishNotReadyAddresses: true, ports: [{name: postgres, port: 5432, targetPort: "
    "postgres}],\n"
    "         selector: {application: howdah, cluster-name: demo, role: primary}}\n"
    "- metadata: {name: demo-replicas, labels: {application: howdah, cluster-name: demo}}\n"
    "  spec: {ports: [{name: postgres, port: 5432, targetPort: postgres}],\n"
    "         selector: {application: howdah, cluster-name: demo, role: replica}}\n"
    "- metadata: {name: demo-members}\n"
    "  spec: {clusterIP: None, publishNotReadyAddresses: true, ports: [{port: 5432}],\n"
    "         selector: {application: howdah, cluster-name: demo}}\n"
    "strays: {}\n"
    "others: [{mode: endpoints, leader_object: Endpoints demo, config_object: Endpoints "
    "demo-config},\n"
    "         {mode: configmaps, leader_object: ConfigMap demo-leader, config_object: ConfigMap "
    "demo-config}]\n"
    "etcd:\n"
    "- {url: 'http://e1:2379', status: {version: 3.5.1, leader: '12', header: {cluster_id: '7'}}}\n"
    "- {url: 'http://e2:2379', status: {version: 3.5.1, leader: '12', header: {cluster_id: '7'}}}\n"
    "- {url: 'http://e3:2379', status: {version: 3.5.1, leader: '12', header: {cluster_id: '7'}}}\n"
    "files: [{what: etcd3.key, path: /tls/key, error: 0, mode: 384, key: true}]\n"
    "machine:\n"
    "  beside: true\n"
    "  uid: 999\n"
    "  answered: true\n"
    "  data_dir: {error: 0, mode: 16832, uid: 999, gid: 999}\n" // 040700
    "  parent: {error: 0, mode: 16877, uid: 0, gid: 0}\n"       // 040755
    "  state_dir: {error: 0, mode: 16832, uid: 999, gid: 999}\n"
    "  pgpass: {error: 0, mode: 33152, uid: 999, gid: 999}\n" // 0100600
    "  bytes: 1000000000\n"
    "  bytes_free: 500000000\n"
    "  inodes: 1000\n"
    "  inodes_free: 900\n"
    "warden: {answer: 4, error: 0, owner: 999, locked_kb: 224, memlock_limit: 65536, swaps: "
    "false}\n";

static const char world_sql[] =
    "sql:\n"
    "  server: [{in_recovery: false}]\n"
    "  settings:\n"
    "  - {name: wal_level, setting: replica}\n"
    "  - {name: max_wal_senders, setting: '10'}\n"
    "  - {name: max_replication_slots, setting: '10'}\n"
    "  - {name: hot_standby, setting: 'on'}\n"
    "  - {name: fsync, setting: 'on'}\n"
    "  - {name: full_page_writes, setting: 'on'}\n"
    "  - {name: synchronous_commit, setting: 'on'}\n"
    "  - {name: wal_log_hints, setting: 'off'}\n"
    "  - {name: data_checksums, setting: 'on'}\n"
    "  - {name: archive_mode, setting: 'on', pending_restart: false}\n"
    "  - {name: archive_command, setting: 'cp %p /archive/%f'}\n"
    "  - {name: listen_addresses, setting: 0.0.0.0}\n"
    "  - {name: port, setting: '5432'}\n"
    "  - {name: ssl, setting: 'off'}\n"
    "  - {name: server_version, setting: '15.1'}\n"
    "  roles:\n"
    "  - {name: postgres, super: true, replication: true, login: true}\n"
    "  - {name: replicator, super: false, replication: true, login: true}\n"
    "  - {name: rewinder, super: false, replication: false, login: true, may_rewind: true}\n"
    "  hba:\n"
    "  - {line: 1, type: local, database: [all], users: [all], method: peer}\n"
    "  - {line: 2, type: host, database: [replication], users: [replicator], address: 10.0.0.0,\n"
    "     netmask: 255.0.0.0, method: scram-sha-256}\n"
    "  - {line: 3, type: host, database: [all], users: [all], address: all, method: "
    "scram-sha-256}\n"
    "  slots: [{name: demo_1, type: physical, active: true, wal_status: reserved, kept: 0}]\n"
    "  senders: [{name: demo-1, state: streaming}]\n"
    "  receiver: []\n"
    "  archiver: [{archived: '12', failing: false}]\n";

const Tree *world_document(void)
{
    const Tree *document;
    Error err = {0};
    const char *text = arena_printf(world_arena, "%s%s", world, world_sql);
    if (!tree_parse_yaml(world_arena, text, "world", &document, &err))
        fail_msg("%s", err.text);
    return document;
}

// --- changing it

static const Tree *json_of(const char *text)
{
    const Tree *tree;
    Error err = {0};
    if (!tree_parse_json(world_arena, text, &tree, &err))
        fail_msg("%s: %s", text, err.text);
    return tree;
}

const Tree *world_edit(const Tree *tree, const char *path, const char *json)
{
    const size_t length = strcspn(path, "/");
    const char *key = arena_strndup(world_arena, path, length);
    const char *rest = path[length] == '/' ? path + length + 1 : NULL;
    Tree *copy = tree->kind == TREE_LIST ? tree_list(world_arena) : tree_map(world_arena);
    bool found = false;
    for (size_t i = 0; i < tree->count; i++) {
        const char *name =
            tree->kind == TREE_LIST ? arena_printf(world_arena, "%zu", i) : tree->entries[i].key;
        const Tree *value = tree->entries[i].value;
        if (str_eq(name, key)) {
            found = true;
            value = rest != NULL   ? world_edit(value, rest, json)
                    : json == NULL ? NULL
                                   : json_of(json);
        }
        if (value != NULL && tree->kind == TREE_LIST)
            tree_append(world_arena, copy, value);
        else if (value != NULL)
            tree_set(world_arena, copy, name, value);
    }
    if (!found && (rest != NULL || json == NULL))
        fail_msg("no %s in the world", path);
    if (!found && tree->kind == TREE_LIST)
        tree_append(world_arena, copy, json_of(json));
    else if (!found)
        tree_set(world_arena, copy, key, json_of(json));
    return copy;
}

// --- as facts

static const Settings *settings_of(const Tree *document, DoctorFacts *f)
{
    Settings *settings = ARENA_NEW(world_arena, Settings);
    SettingsNotes notes = {0};
    Error err = {0};
    const Tree *dynamic = tree_path(document, "view.config");
    if (!settings_build(world_arena, tree_get(document, "agent"), dynamic, 1, true, 15,
                        !f->is_agents, settings, &notes, &err)) {
        f->findings = notes.warnings;
        memset(settings, 0, sizeof *settings);
        return settings;
    }
    f->usable = true;
    return settings;
}

static const ClusterView *view_of(const Tree *tree)
{
    if (tree == NULL)
        return NULL;
    ClusterView *view = ARENA_NEW(world_arena, ClusterView);
    const Tree *list = tree_get(tree, "members");
    MemberView *members = ARENA_ARRAY(world_arena, MemberView, list_count(list));
    for (size_t i = 0; i < list_count(list); i++) {
        const Tree *m = list_at(list, i);
        members[i] = (MemberView){.name = tree_get_string(m, "name", ""),
                                  .host = tree_get_string(m, "host", NULL),
                                  .port = 5432,
                                  .api_url = tree_get_string(m, "api_url", NULL),
                                  .howdah = tree_get_string(m, "howdah", NULL),
                                  .tags = tags_parse(tree_get(m, "tags")),
                                  .data = m};
    }
    *view = (ClusterView){.initialize = tree_get_string(tree, "initialize", NULL),
                          .config = tree_get(tree, "config"),
                          .config_invalid = tree_get_bool(tree, "config_invalid", false),
                          .leader = {.name = tree_get_string(tree, "leader", NULL)},
                          .members = members,
                          .member_count = list_count(list)};
    return view;
}

static Known known_of(const Tree *tree)
{
    const char *why = tree_string_of(tree); // a text stands for the reason why there is no answer
    return why != NULL ? (Known){.why = why} : (Known){.value = tree};
}

static PathFact path_of(const Tree *machine, const char *name)
{
    const Tree *tree = tree_get(machine, name);
    return (PathFact){.error = (int)tree_get_int(tree, "error", 0),
                      .mode = (mode_t)tree_get_int(tree, "mode", 0),
                      .uid = (uid_t)tree_get_int(tree, "uid", 0),
                      .gid = (gid_t)tree_get_int(tree, "gid", 0)};
}

static void fill_kube(DoctorFacts *f, const Tree *document)
{
    const Tree *kube = tree_get(document, "kube"), *strays = tree_get(document, "strays"),
               *others = tree_get(document, "others");
    RightFact *rights = NULL;
    f->kube.version = known_of(tree_get(kube, "version"));
    f->kube.in_pod = tree_get_bool(kube, "in_pod", false);
    f->kube.server = tree_get_string(kube, "server", "https://10.96.0.1:443");
    f->kube.namespace = "default";
    f->kube.account = tree_get_string(kube, "account", NULL);
    f->kube.now_s = tree_get_int(kube, "now", 0);
    f->kube.token = (KubeToken){.present = tree_get(kube, "issued") != NULL,
                                .issued_s = tree_get_int(kube, "issued", 0),
                                .expires_s = tree_get_int(kube, "expires", 0)};
    f->kube.pods = known_of(tree_get(document, "pods"));
    f->kube.services = known_of(tree_get(document, "services"));
    f->kube.right_count =
        doctor_rights_of(world_arena, f->settings, "demo", f->kube.services.value, &rights);
    for (size_t i = 0; i < f->kube.right_count; i++) // "verb resource": taken away
        rights[i].allowed =
            !str_eq(arena_printf(world_arena, "%s %s", rights[i].verb, rights[i].resource),
                    tree_get_string(kube, "without", NULL));
    f->kube.rights = rights;
    f->kube.rights_why = tree_get_string(kube, "rights_why", NULL);
    StrayPod *found = ARENA_ARRAY(world_arena, StrayPod, strays->count);
    for (size_t i = 0; i < strays->count; i++)
        found[i] = (StrayPod){strays->entries[i].key, strays->entries[i].value};
    f->kube.strays = found;
    f->kube.stray_count = strays->count;
    for (size_t i = 0; i < KUBE_OTHER_MODES; i++) {
        const Tree *o = list_at(others, i);
        f->kube.others[i] =
            (KubeOtherMode){.mode = tree_get_string(o, "mode", NULL),
                            .leader_object = tree_get_string(o, "leader_object", NULL),
                            .config_object = tree_get_string(o, "config_object", NULL),
                            .leader = tree_get_string(o, "leader", NULL),
                            .age_s = tree_get_int(o, "age", -1),
                            .initialized = tree_get_bool(o, "initialized", false),
                            .unread = tree_get_string(o, "unread", NULL)};
    }
}

static void fill_etcd(DoctorFacts *f, const Tree *list)
{
    EtcdEndpointFacts *etcd = ARENA_ARRAY(world_arena, EtcdEndpointFacts, list_count(list));
    for (size_t i = 0; i < list_count(list); i++)
        etcd[i] = (EtcdEndpointFacts){.url = tree_get_string(list_at(list, i), "url", NULL),
                                      .error = tree_get_string(list_at(list, i), "error", NULL),
                                      .status = tree_get(list_at(list, i), "status")};
    f->etcd = etcd;
    f->etcd_count = list_count(list);
}

static void fill_machine(DoctorFacts *f, const Tree *machine, const Tree *warden)
{
    f->local =
        (LocalFacts){.beside = tree_get_bool(machine, "beside", false),
                     .why_not = "it is elsewhere",
                     .uid = (uid_t)tree_get_int(machine, "uid", 0),
                     .volume = {.answered = tree_get_bool(machine, "answered", false),
                                .data_dir = path_of(machine, "data_dir"),
                                .parent = path_of(machine, "parent"),
                                .state_dir = path_of(machine, "state_dir"),
                                .pgpass = path_of(machine, "pgpass"),
                                .has_space = tree_get(machine, "bytes") != NULL,
                                .bytes = (uint64_t)tree_get_int(machine, "bytes", 0),
                                .bytes_free = (uint64_t)tree_get_int(machine, "bytes_free", 0),
                                .inodes = (uint64_t)tree_get_int(machine, "inodes", 0),
                                .inodes_free = (uint64_t)tree_get_int(machine, "inodes_free", 0)},
                     .warden = {.socket = "/howdah/warden.sock",
                                .answer = (WardenAnswer)tree_get_int(warden, "answer", 0),
                                .error = (int)tree_get_int(warden, "error", 0),
                                .owner = (uid_t)tree_get_int(warden, "owner", 0),
                                .locked_kb = tree_get_int(warden, "locked_kb", -1),
                                .memlock_limit = tree_get_int(warden, "memlock_limit", -1),
                                .swaps = tree_get_bool(warden, "swaps", false)}};
}

static void fill_members(DoctorFacts *f, const Tree *document)
{
    const size_t count = f->view == NULL ? 0 : f->view->member_count;
    MemberFact *members = ARENA_ARRAY(world_arena, MemberFact, count);
    for (size_t i = 0; i < count; i++) {
        const MemberView *m = &f->view->members[i];
        members[i] = (MemberFact){.name = m->name,
                                  .url = m->api_url,
                                  .leads = str_eq(m->name, f->view->leader.name),
                                  .status = tree_get(tree_get(document, "statuses"), m->name),
                                  .error = "connection refused",
                                  .why = tree_get(tree_get(document, "why"), m->name)};
    }
    f->members = members;
    f->member_count = count;
}

DoctorFacts world_facts(const Tree *document)
{
    DoctorFacts f = {.arena = world_arena, .scope = "demo", .path = "/etc/howdah/howdah.yml"};
    const Tree *sql = tree_get(document, "sql");
    f.is_agents = tree_path(document, "agent.postgresql") != NULL;
    f.settings = settings_of(document, &f);
    f.view = view_of(tree_get(document, "view"));
    f.view_why = "nobody answers";
    if (f.view != NULL && f.view->config != NULL) {
        SettingsNotes notes = {0};
        (void)settings_check_dynamic(world_arena, f.view->config, &notes);
        f.dynamic_findings = notes.warnings;
    }
    const Tree *list = tree_get(document, "files");
    FileFact *files = ARENA_ARRAY(world_arena, FileFact, list_count(list));
    for (size_t i = 0; i < list_count(list); i++)
        files[i] = (FileFact){.what = tree_get_string(list_at(list, i), "what", NULL),
                              .path = tree_get_string(list_at(list, i), "path", NULL),
                              .error = (int)tree_get_int(list_at(list, i), "error", 0),
                              .mode = (mode_t)tree_get_int(list_at(list, i), "mode", 0),
                              .is_key = tree_get_bool(list_at(list, i), "key", false)};
    f.files = files;
    f.file_count = list_count(list);
    fill_kube(&f, document);
    fill_etcd(&f, tree_get(document, "etcd"));
    fill_machine(&f, tree_get(document, "machine"), tree_get(document, "warden"));
    fill_members(&f, document);
    f.sql = (SqlFacts){.server = "localhost:5432",
                       .member = "demo-0",
                       .error = tree_get_string(sql, "error", NULL),
                       .settings = known_of(tree_get(sql, "settings")),
                       .server_facts = known_of(tree_get(sql, "server")),
                       .roles = known_of(tree_get(sql, "roles")),
                       .hba = known_of(tree_get(sql, "hba")),
                       .slots = known_of(tree_get(sql, "slots")),
                       .senders = known_of(tree_get(sql, "senders")),
                       .archiver = known_of(tree_get(sql, "archiver")),
                       .receiver = known_of(tree_get(sql, "receiver"))};
    return f;
}

// --- rows

static const char *seen[256];
static size_t seen_count;

static bool has(const char *text, const char *part)
{
    return part == NULL || (text != NULL && strstr(text, part) != NULL);
}

static const char *lines_of(const DoctorReport *report, const char *check)
{
    Text text = text_new(world_arena);
    for (size_t i = 0; i < report->count; i++) {
        const DoctorLine *l = &report->lines[i];
        if (str_eq(arena_printf(world_arena, "%s/%s", l->topic, l->check), check))
            text_addf(&text, "\n%s: %s\n   > %s", verdict_name(l->verdict), l->found,
                      str_or(l->mend, "-"));
    }
    return text.data;
}

static void run_row(const WorldRow *row)
{
    const Tree *document = world_document();
    if (row->path != NULL)
        document = world_edit(document, row->path, row->value);
    if (row->path2 != NULL)
        document = world_edit(document, row->path2, row->value2);
    const DoctorFacts facts = world_facts(document);
    DoctorReport report = {.arena = world_arena};
    doctor_run_checks(&facts, &report);
    bool found = false, others = false;
    for (size_t i = 0; i < report.count; i++) {
        const DoctorLine *l = &report.lines[i];
        // Whatever is looked at, no line shows a password.
        if (!has(l->found, NULL) || strstr(l->found, "s3cret") != NULL ||
            (l->mend != NULL && strstr(l->mend, "s3cret") != NULL))
            fail_msg("%s: a password in %s", row->given, l->found);
        if (!str_eq(arena_printf(world_arena, "%s/%s", l->topic, l->check), row->check))
            continue;
        if (l->verdict == row->verdict && has(l->found, row->found) && has(l->mend, row->mend))
            found = true;
        else
            others = true;
    }
    if (!found || (others && row->verdict == DOCTOR_OK))
        fail_msg("%s: %s: expected %s '%s' '%s', found%s", row->given, row->check,
                 verdict_name(row->verdict), str_or(row->found, ""), str_or(row->mend, ""),
                 lines_of(&report, row->check));
    if (row->verdict != DOCTOR_OK && seen_count < COUNT_OF(seen))
        seen[seen_count++] = row->check;
}

void world_rows(const WorldRow *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        arena_reset(world_arena);
        run_row(&rows[i]);
    }
}

void world_expect_seen(const char *const *checks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t k = 0; k < seen_count; k++)
            found = found || str_eq(seen[k], checks[i]);
        if (!found)
            fail_msg("no row in which %s finds anything", checks[i]);
    }
}
