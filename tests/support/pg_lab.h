// Real PostgreSQL servers under real wardens, each with its LocalServer, in one directory below
// /tmp. Everything it starts is gone when pg_lab_free returns. Run pg_lab_main from main():
// PostgreSQL refuses root, so the whole test changes to the user postgres first.
#pragma once
#include "tests/support/test.h"

#include "agent/postgres/local_server.h"
#include "agent/postgres/pg_conn.h"
#include "agent/warden/warden_client.h"
#include "common/base/arena.h"
#include "common/os/clock.h"
#include "common/os/resolver.h"

#include <string.h>
#include <sys/types.h>

#define PG_LAB_NODES 3
#define LAB_WAIT_MS  60000 // for what must come; only a failing test waits so long

typedef struct PgLab PgLab;

typedef struct {
    PgLab *lab;
    const char *name, *dir, *data, *state, *socket, *pgpass; // in the lab's arena
    int port;
    pid_t warden; // 0: none
    Processes *client;
    Server *server;
    Settings settings;
} PgNode;

struct PgLab {
    char root[64];
    Clock *clock;
    Resolver *resolver;
    Arena *arena; // of the settings, and of whatever a test reads
    size_t count;
    PgNode nodes[PG_LAB_NODES];
};

// A test that ends early has its servers ended all the same.
#define PG_TEST(function) cmocka_unit_test_teardown(function, pg_lab_teardown)
int pg_lab_teardown(void **state);
int pg_lab_main(const struct CMUnitTest *tests, size_t count);
PgLab *pg_lab_new(size_t nodes);          // wardens and servers, no PostgreSQL yet
void pg_lab_free(PgLab *lab);             // keeps the directory when HOWDAH_KEEP is set
void pg_node_restart_agent(PgNode *node); // a new LocalServer and client at the same warden

ServerView pg_node_look(PgNode *node); // observe() with a second to answer
// Begins the task and waits for its end; the view is the one that shows it.
ServerView pg_node_run(PgNode *node, const ServerTask *task);
void pg_node_must(PgNode *node, const ServerTask *task); // and it succeeds
bool pg_node_wait_task(PgNode *node, ServerView *out);

typedef bool PgCondition(const ServerView *view);
ServerView pg_node_wait(PgNode *node, const char *what, PgCondition *condition);
bool pg_is_primary(const ServerView *view);
bool pg_is_checkpointed(const ServerView *view);
bool pg_is_streaming(const ServerView *view);
bool pg_is_answering(const ServerView *view);
bool pg_is_down(const ServerView *view);

Upstream pg_upstream(const PgNode *follower, const PgNode *leader);
// A value by SQL as the superuser, in the lab's arena; NULL for SQL NULL.
const char *pg_node_value(PgNode *node, const char *sql);
void pg_node_exec(PgNode *node, const char *sql);
void pg_node_become_primary(PgNode *node); // bootstrap to a running primary with its roles
void pg_node_become_standby(PgNode *node, PgNode *of); // cloned and streaming
char *pg_node_read(PgNode *node, const char *file);    // below the data directory; NULL: missing
pid_t pg_node_postmaster(PgNode *node);
