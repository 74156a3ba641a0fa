#include "tests/support/pg_lab.h"

#include "common/os/files.h"
#include "common/os/log.h"
#include "tests/support/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIN_DIR "/usr/lib/postgresql/15/bin"

static PgLab *current; // of the running test
// Of howdah-warden, opened before we become postgres: the build tree may lie below a directory that
// is closed to others.
static int warden_program = -1;

int pg_lab_teardown(void **state)
{
    (void)state;
    if (current != NULL)
        pg_lab_free(current);
    return 0;
}

static void become_postgres(void)
{
    const struct passwd *user = getpwnam("postgres");
    if (geteuid() != 0)
        return;
    if (user == NULL || initgroups("postgres", user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0) {
        perror("cannot become the user postgres");
        exit(1);
    }
}

static void open_warden(void)
{
    const char *bin = getenv("HOWDAH_BIN");
    char program[512];
    if (bin == NULL) {
        (void)fprintf(stderr, "HOWDAH_BIN is not set: run this with ctest\n");
        exit(1);
    }
    (void)snprintf(program, sizeof program, "%s/howdah-warden", bin);
    warden_program = open(program, O_RDONLY | O_CLOEXEC);
    if (warden_program < 0) {
        perror(program);
        exit(1);
    }
}

int pg_lab_main(const struct CMUnitTest *tests, size_t count)
{
    open_warden();
    become_postgres();
    if (chdir("/") != 0) { // where it was started may be closed to postgres, too
        perror("cannot change to /");
        exit(1);
    }
    if (getenv("HOWDAH_DEBUG") != NULL)
        log_configure(&(LogOptions){.level = LOG_DEBUG});
    return _cmocka_run_group_tests("postgres", tests, count, NULL, NULL);
}

// --- wardens

static void copy_warden(const char *to)
{
    char buffer[65536];
    off_t at = 0;
    ssize_t got;
    const int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    assert_true(out >= 0);
    while ((got = pread(warden_program, buffer, sizeof buffer, at)) > 0) {
        assert_int_equal(write(out, buffer, (size_t)got), got);
        at += got;
    }
    assert_int_equal(got, 0);
    assert_int_equal(close(out), 0);
}

static void start_warden(PgNode *node)
{
    char program[160], log[160];
    (void)snprintf(program, sizeof program, "%s/howdah-warden", node->lab->root);
    (void)snprintf(log, sizeof log, "%s/log", node->dir);
    node->warden = fork();
    assert_true(node->warden >= 0);
    if (node->warden != 0)
        return;
    const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(126);
    (void)setsid();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // a test that is killed leaves nothing behind
    execl(program, program, "--socket", node->socket, "--data-dir", node->data, (char *)NULL);
    _exit(127);
}

static void attach(PgNode *node)
{
    Error err = {0};
    const Deadline deadline = deadline_in(node->lab->clock, LAB_WAIT_MS);
    node->client = warden_client_new(node->socket, node->lab->clock);
    while (!warden_client_connect(node->client, deadline_in(node->lab->clock, 1000), &err)) {
        if (deadline_over(node->lab->clock, deadline))
            fail_msg("no warden: %s", err.text);
        (void)poll(NULL, 0, 5);
    }
    warden_client_set_ttl(node->client, 30000);
}

// --- settings

static PgAuth auth(const char *user, const char *password)
{
    return (PgAuth){.username = user, .password = {.hidden = password}};
}

static const Tree *yaml(PgLab *lab, const char *text)
{
    const Tree *tree;
    Error err;
    if (!tree_parse_yaml(lab->arena, text, "test", &tree, &err))
        fail_msg("%s", err.text);
    return tree;
}

static Settings settings_of(PgLab *lab, const PgNode *node)
{
    static const char *const hba[] = {"host all all 127.0.0.1/32 scram-sha-256",
                                      "host replication all 127.0.0.1/32 scram-sha-256"};
    Arena *arena = lab->arena;
    Settings s = {.name = node->name,
                  .scope = "demo",
                  .ttl_ms = 30000,
                  .loop_wait_ms = 300, // so that the probes have their turn
                  .retry_timeout_ms = 10000,
                  .dynamic = tree_map(arena)};
    s.postgresql = (PostgresSettings){
        .listen_addresses = "127.0.0.1",
        .port = node->port,
        .data_dir = node->data,
        .config_dir = node->data,
        .config_base_name = "postgresql",
        .bin_dir = BIN_DIR,
        .bin_name_initdb = "initdb",
        .bin_name_pg_controldata = "pg_controldata",
        .bin_name_pg_basebackup = "pg_basebackup",
        .bin_name_postgres = "postgres",
        .bin_name_pg_rewind = "pg_rewind",
        .bin_name_pg_waldump = "pg_waldump",
        .database = "postgres",
        .pgpass = node->pgpass,
        .use_unix_socket = true,
        .use_slots = true,
        .use_pg_rewind = true,
        .superuser = auth("postgres", "zalando' \\secret"),
        .replication = auth("replicator", "rep:pass"),
        .rewind = auth("rewind_user", "rewind pass"),
        .parameters = yaml(lab, arena_printf(arena,
                                             "unix_socket_directories: %s\n"
                                             "shared_buffers: 16MB\n"
                                             "fsync: on\n"
                                             "log_line_prefix: '%%m [%%p] '\n"
                                             "wal_keep_size: 256MB\n",
                                             node->dir)),
        .controlled = yaml(lab, "max_connections: 40\nmax_wal_senders: 8\nwal_level: hot_standby\n"
                                "hot_standby: 'on'\nwal_log_hints: 'on'\n"
                                "max_replication_slots: 8\nmax_worker_processes: 4\n"
                                "max_prepared_transactions: 0\nmax_locks_per_transaction: 64\n"),
        .section = tree_map(arena)};
    s.bootstrap =
        (BootstrapSettings){.present = true,
                            .method = "initdb",
                            .initdb = yaml(lab, "[{encoding: UTF8}, {auth: scram-sha-256},"
                                                " {locale: C}]"),
                            .section = tree_map(arena)};
    for (size_t i = 0; i < COUNT_OF(hba); i++)
        string_list_add(&s.bootstrap.pg_hba, arena, hba[i]);
    s.howdah.state_dir = node->state;
    s.howdah.stop_budget_ms = 1000;
    return s;
}

// --- life

static void start_agent(PgNode *node)
{
    attach(node);
    const LocalServerOptions options = {.processes = node->client,
                                        .clock = node->lab->clock,
                                        .resolver = node->lab->resolver,
                                        .settings = &node->settings};
    node->server = local_server_new(&options);
}

static void stop_agent(PgNode *node)
{
    if (node->server != NULL)
        node->server->ops->free(node->server);
    warden_client_free(node->client);
    node->server = NULL;
    node->client = NULL;
}

void pg_node_restart_agent(PgNode *node)
{
    stop_agent(node);
    start_agent(node);
}

PgLab *pg_lab_new(size_t nodes)
{
    PgLab *lab = calloc(1, sizeof *lab);
    assert_non_null(lab);
    assert_true(nodes <= PG_LAB_NODES);
    current = lab;
    (void)snprintf(lab->root, sizeof lab->root, "/tmp/howdah-pg-XXXXXX");
    assert_non_null(mkdtemp(lab->root));
    lab->clock = clock_system();
    lab->resolver = resolver_new();
    lab->arena = arena_new(ARENA_CAP_DEFAULT);
    lab->count = nodes;
    copy_warden(arena_printf(lab->arena, "%s/howdah-warden", lab->root));
    for (size_t i = 0; i < nodes; i++) {
        PgNode *node = &lab->nodes[i];
        node->lab = lab;
        node->name = arena_printf(lab->arena, "pg-%zu", i);
        node->dir = arena_printf(lab->arena, "%s/%zu", lab->root, i);
        node->data = arena_printf(lab->arena, "%s/data", node->dir);
        node->state = arena_printf(lab->arena, "%s/.howdah-data", node->dir);
        node->socket = arena_printf(lab->arena, "%s/w.sock", node->dir);
        node->pgpass = arena_printf(lab->arena, "%s/pgpass", node->dir);
        assert_int_equal(mkdir(node->dir, 0700), 0);
        node->port = free_port();
        node->settings = settings_of(lab, node);
        start_warden(node);
        start_agent(node);
    }
    return lab;
}

// SIGTERM would mean two seconds for an agent to come: postgres is ended first, and then there is
// nothing left that the warden would have to look after.
static void end_warden(PgNode *node)
{
    if (node->warden <= 0)
        return;
    if (node->server != NULL) { // attached, and its server can be asked
        ServerView view = pg_node_look(node);
        Error err;
        if (view.running)
            (void)node->client->ops->signal(node->client, CHILD_POSTGRES, SIGQUIT,
                                            deadline_in(node->lab->clock, 5000), &err);
        const Deadline deadline = deadline_in(node->lab->clock, 10000);
        while (view.remains && !deadline_over(node->lab->clock, deadline)) {
            (void)poll(NULL, 0, 10);
            view = pg_node_look(node);
        }
    }
    stop_agent(node);
    (void)kill(node->warden, SIGKILL); // its parent-death signal ends whatever did not end above
    (void)waitpid(node->warden, NULL, 0);
    node->warden = 0;
}

void pg_lab_free(PgLab *lab)
{
    Error err;
    current = NULL;
    for (size_t i = 0; i < lab->count; i++) {
        end_warden(&lab->nodes[i]);
        stop_agent(&lab->nodes[i]);
    }
    if (getenv("HOWDAH_KEEP") == NULL && directory_clear(lab->root, &err))
        (void)rmdir(lab->root);
    resolver_free(lab->resolver);
    arena_free(lab->arena);
    free(lab);
}

// --- driving

ServerView pg_node_look(PgNode *node)
{
    ServerView view;
    node->server->ops->observe(node->server, node->lab->arena, deadline_in(node->lab->clock, 1000),
                               &view);
    return view;
}

bool pg_node_wait_task(PgNode *node, ServerView *out)
{
    const Deadline deadline = deadline_in(node->lab->clock, LAB_WAIT_MS);
    for (;;) {
        struct pollfd fd = {.fd = node->server->ops->event_fd(node->server), .events = POLLIN};
        uint64_t count;
        (void)poll(&fd, 1, 100);
        const ssize_t got = read(fd.fd, &count, sizeof count);
        (void)got;
        *out = pg_node_look(node);
        if (!out->task.running)
            return true;
        if (deadline_over(node->lab->clock, deadline))
            return false;
    }
}

ServerView pg_node_run(PgNode *node, const ServerTask *task)
{
    Error err = {0};
    ServerView view;
    if (!node->server->ops->begin(node->server, task, &err))
        fail_msg("%s: begin %s: %s", node->name, task_name(task->kind), err.text);
    if (!pg_node_wait_task(node, &view))
        fail_msg("%s: task %s does not end, at '%s'", node->name, task_name(task->kind),
                 view.task.phase);
    return view;
}

void pg_node_must(PgNode *node, const ServerTask *task)
{
    const ServerView view = pg_node_run(node, task);
    if (!view.task.ok)
        fail_msg("%s: task %s: %s", node->name, task_name(task->kind), view.task.error);
}

ServerView pg_node_wait(PgNode *node, const char *what, PgCondition *condition)
{
    const Deadline deadline = deadline_in(node->lab->clock, LAB_WAIT_MS);
    for (;;) {
        const ServerView view = pg_node_look(node);
        if (condition(&view))
            return view;
        if (deadline_over(node->lab->clock, deadline))
            fail_msg("%s: not in time: %s (running %d answered %d state %s)", node->name, what,
                     view.running, view.answered, state_name(view.state));
        (void)poll(NULL, 0, 10);
    }
}

bool pg_is_primary(const ServerView *view)
{
    return view->answered && !view->in_recovery;
}

bool pg_is_checkpointed(const ServerView *view)
{
    return pg_is_primary(view) && !view->checkpoint_pending;
}

bool pg_is_streaming(const ServerView *view)
{
    return view->answered && view->in_recovery && view->streaming;
}

bool pg_is_answering(const ServerView *view)
{
    return view->answered;
}

bool pg_is_down(const ServerView *view)
{
    return !view->running && !view->remains;
}

Upstream pg_upstream(const PgNode *follower, const PgNode *leader)
{
    Arena *arena = leader->lab->arena;
    char *slot = arena_strdup(arena, follower->name);
    for (char *s = slot; *s != '\0'; s++)
        if (*s == '-')
            *s = '_';
    return (Upstream){.member = leader->name,
                      .host = "127.0.0.1",
                      .port = leader->port,
                      .slot = slot,
                      .conn_url =
                          arena_printf(arena, "postgres://127.0.0.1:%d/postgres", leader->port)};
}

const char *pg_node_value(PgNode *node, const char *sql)
{
    PgLab *lab = node->lab;
    Error err = {0};
    const PgConnectOptions options = {.clock = lab->clock,
                                      .resolver = lab->resolver,
                                      .interrupt_fd = -1,
                                      .application_name = "test",
                                      .options = "-c statement_timeout=0"};
    const ConnTarget target = {.host = node->dir,
                               .port = node->port,
                               .dbname = "postgres",
                               .auth = &node->settings.postgresql.superuser};
    const ConnParams params = conn_params_of(lab->arena, &target);
    AUTO(pg_release) PgConn *pg = NULL;
    AUTO(pgresult_release) PGresult *rows = NULL;
    if (!pg_connect(&options, &params, deadline_in(lab->clock, 10000), &pg, NULL, &err) ||
        !pg_query(pg, sql, deadline_in(lab->clock, LAB_WAIT_MS), &rows, &err))
        fail_msg("%s: %s", node->name, err.text);
    return arena_strdup(lab->arena, pg_text(rows, 0, 0));
}

void pg_node_exec(PgNode *node, const char *sql)
{
    (void)pg_node_value(node, sql);
}

void pg_node_become_primary(PgNode *node)
{
    pg_node_must(node, &(ServerTask){.kind = TASK_INSPECT});
    pg_node_must(node, &(ServerTask){.kind = TASK_BOOTSTRAP});
    pg_node_must(node, &(ServerTask){.kind = TASK_START_PRIMARY});
    (void)pg_node_wait(node, "primary", pg_is_primary);
    pg_node_must(node, &(ServerTask){.kind = TASK_POST_BOOTSTRAP});
}

void pg_node_become_standby(PgNode *node, PgNode *of)
{
    const Upstream upstream = pg_upstream(node, of);
    Error err = {0};
    const SlotStep step = {.action = SLOT_CREATE, .name = upstream.slot};
    (void)pg_node_look(of);
    if (!of->server->ops->sync_slots(of->server, &step, 1, deadline_in(of->lab->clock, 2000), &err))
        fail_msg("%s", err.text);
    pg_node_must(node, &(ServerTask){.kind = TASK_INSPECT});
    pg_node_must(node, &(ServerTask){.kind = TASK_CLONE, .upstream = upstream});
    pg_node_must(node, &(ServerTask){.kind = TASK_START_STANDBY, .upstream = upstream});
    (void)pg_node_wait(node, "streaming", pg_is_streaming);
}

char *pg_node_read(PgNode *node, const char *file)
{
    char *text = NULL;
    Error err;
    const char *path = path_join(node->lab->arena, node->data, file);
    if (!file_read(node->lab->arena, path, 4 * 1024 * 1024, &text, &err))
        fail_msg("%s", err.text);
    return text;
}

pid_t pg_node_postmaster(PgNode *node)
{
    WardenView view;
    node->client->ops->view(node->client, &view);
    for (size_t i = 0; i < view.child_count; i++)
        if (str_eq(view.children[i].id, CHILD_POSTGRES) && view.children[i].running)
            return view.children[i].pid;
    fail_msg("%s: no postmaster", node->name);
    return -1;
}
