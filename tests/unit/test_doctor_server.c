// What `howdahctl doctor` finds wrong with PostgreSQL, its roles, pg_hba and slots.
#include "tests/unit/test_doctor_world.h"

#define SETTING(n) "sql/settings/" #n "/setting"
#define STANDBY    "sql/server/0/in_recovery", "true"

static const WorldRow rows[] = {
    {"no connection", "server/connection", "sql/error", "\"connection refused\"", DOCTOR_WRONG,
     "connection refused", "postgresql.listen"},
    {"a wrong password", "server/connection", "sql/error",
     "\"FATAL: password authentication failed\"", DOCTOR_WRONG, "password authentication",
     "authentication.superuser"},
    {"from elsewhere", "server/connection", "sql/error", "\"timed out\"", DOCTOR_SKIPPED,
     "timed out", NULL, "machine/beside", "false"},
    {"not an agent's settings", "server/server", "agent/postgresql", NULL, DOCTOR_SKIPPED,
     "no section postgresql"},
    {"a question without an answer", "postgres/durability", "sql/settings", "\"no answer in time\"",
     DOCTOR_SKIPPED, "pg_settings: no answer in time"},

    {"wal_level", "postgres/replication", SETTING(0), "\"minimal\"", DOCTOR_WRONG,
     "wal_level is minimal",
     "edit-config --force -p wal_level=replica demo\nhowdahctl restart demo --pending"},
    {"max_wal_senders", "postgres/replication", SETTING(1), "\"2\"", DOCTOR_WRONG,
     "max_wal_senders is 2", "-p max_wal_senders=8"},
    {"max_replication_slots", "postgres/replication", SETTING(2), "\"0\"", DOCTOR_WRONG,
     "max_replication_slots is 0", "-p max_replication_slots=8"},
    {"hot_standby", "postgres/replication", SETTING(3), "\"off\"", DOCTOR_WRONG,
     "hot_standby is off"},
    {"fsync", "postgres/durability", SETTING(4), "\"off\"", DOCTOR_WRONG, "fsync is off",
     "-p fsync=on demo"},
    {"a member's own fsync", "postgres/durability", SETTING(4), "\"off\"", DOCTOR_WRONG,
     "fsync is off",
     "postgresql.parameters.fsync: on in the settings of each member, then\nhowdahctl reload demo",
     "agent/postgresql/parameters", "{\"fsync\":false}"},
    {"fsync by ALTER SYSTEM", "postgres/durability", "sql/settings/4",
     "{\"name\":\"fsync\",\"setting\":\"off\",\"file\":\"/data/pgdata/postgresql.auto.conf\"}",
     DOCTOR_WRONG, "fsync is off", "ALTER SYSTEM RESET fsync; SELECT pg_reload_conf()"},
    {"full_page_writes", "postgres/durability", SETTING(5), "\"off\"", DOCTOR_WRONG,
     "full_page_writes is off"},
    {"synchronous_commit", "postgres/durability", SETTING(6), "\"off\"", DOCTOR_WARN,
     "synchronous_commit is off"},
    {"synchronous_commit local", "postgres/durability", SETTING(6), "\"local\"", DOCTOR_OK},
    {"damaged pages", "postgres/durability", "sql/settings/15",
     "{\"name\":\"zero_damaged_pages\",\"setting\":\"on\"}", DOCTOR_WRONG, "thrown away"},
    {"no hints", "postgres/rewind", SETTING(8), "\"off\"", DOCTOR_WRONG, "needs wal_log_hints",
     "wal_log_hints=on"},
    {"hints", "postgres/rewind", SETTING(8), "\"off\"", DOCTOR_OK, "wal_log_hints", NULL,
     SETTING(7), "\"on\""},
    {"no rewind", "postgres/rewind", "agent/postgresql/use_pg_rewind", "false", DOCTOR_WARN,
     "use_pg_rewind is off", "postgresql.use_pg_rewind=true", "view/config/postgresql", NULL},

    {"no archive", "postgres/archive", SETTING(9), "\"off\"", DOCTOR_OK, "archive_mode is off"},
    {"no command", "postgres/archive", SETTING(10), "\"\"", DOCTOR_WRONG,
     "archive_command is empty"},
    {"a command switched off", "postgres/archive", SETTING(10), "\"(disabled)\"", DOCTOR_WRONG,
     "empty"},
    {"a library", "postgres/archive", SETTING(10), "\"\"", DOCTOR_OK, NULL, NULL, "sql/settings/15",
     "{\"name\":\"archive_library\",\"setting\":\"basic_archive\"}"},
    {"a command that does nothing", "postgres/archive", SETTING(10), "\"/bin/true\"", DOCTOR_WARN,
     "does nothing"},
    {"a command without a file", "postgres/archive", SETTING(10), "\"cp pg_wal/%f /a\"",
     DOCTOR_WRONG, "no %p"},
    {"failing", "postgres/archive", "sql/archiver/0",
     "{\"failing\":true,\"last_failed_wal\":\"0001\"}", DOCTOR_WRONG,
     "archiving fails, last with 0001"},

    {"listens to itself", "postgres/addresses", SETTING(11), "\"127.0.0.1, ::1\"", DOCTOR_WRONG,
     "listens to 127.0.0.1, ::1 alone", "postgresql.listen: 0.0.0.0:5432"},
    {"a loopback is told", "postgres/addresses", "agent/postgresql/connect_address",
     "\"127.0.0.1:5432\"", DOCTOR_WRONG, "to the other members is themselves"},
    {"another port is told", "postgres/addresses", "agent/postgresql/connect_address",
     "\"10.0.0.1:6432\"", DOCTOR_WARN, "port 6432", "connect_address: 10.0.0.1:5432"},
    {"restart", "postgres/restart", "sql/settings/9/pending_restart", "true", DOCTOR_WARN,
     "archive_mode", "restart demo --pending"},

    {"no superuser", "postgres/roles", "sql/roles/0", NULL, DOCTOR_WRONG, "no role postgres",
     "CREATE ROLE \"postgres\" LOGIN SUPERUSER"},
    {"a weak superuser", "postgres/roles", "sql/roles/0/super", "false", DOCTOR_WRONG,
     "lacks LOGIN or SUPERUSER", "ALTER ROLE \"postgres\" LOGIN SUPERUSER"},
    {"no REPLICATION", "postgres/roles", "sql/roles/1/replication", "false", DOCTOR_WRONG,
     "replicator lacks", "ALTER ROLE \"replicator\" LOGIN REPLICATION"},
    {"a superuser replicates anyway", "postgres/roles", "sql/roles/1/replication", "false",
     DOCTOR_OK, NULL, NULL, "sql/roles/1/super", "true"},
    {"expired", "postgres/roles", "sql/roles/1/expired", "true", DOCTOR_WRONG, "has expired",
     "VALID UNTIL"},
    {"no rewinder", "postgres/roles", "sql/roles/2", NULL, DOCTOR_WRONG, "no role rewinder"},
    {"rights of the rewinder", "postgres/rewind rights", "sql/roles/2/may_rewind", "false",
     DOCTOR_WRONG, "may not execute",
     "pg_read_binary_file(text, bigint, bigint, boolean) TO \"rewinder\";"},

    {"a broken line", "postgres/pg_hba", "sql/hba/1/error", "\"invalid authentication method\"",
     DOCTOR_WRONG, "line 2: invalid authentication method", "howdahctl reload demo"},
    {"no line for replication", "postgres/pg_hba", "sql/hba/1", NULL, DOCTOR_WRONG,
     "no line lets demo-1 (10.0.0.2) in for replication as replicator",
     "- host replication replicator 10.0.0.2/32 scram-sha-256"},
    {"all is not replication", "postgres/pg_hba", "sql/hba/1/database", "[\"all\"]", DOCTOR_WRONG,
     "for replication"},
    {"a reject before it", "postgres/pg_hba", "sql/hba/0",
     "{\"line\":1,\"type\":\"host\",\"database\":[\"replication\"],\"users\":[\"all\"],\"address\":"
     "\"10.0.0.2\","
     "\"netmask\":\"255.255.255.255\",\"method\":\"reject\"}",
     DOCTOR_WRONG, "line 1 rejects demo-1"},
    {"a reject of others", "postgres/pg_hba", "sql/hba/0",
     "{\"line\":1,\"type\":\"host\",\"database\":[\"replication\"],\"users\":[\"all\"],\"address\":"
     "\"10.0.0.3\","
     "\"netmask\":\"255.255.255.255\",\"method\":\"reject\"}",
     DOCTOR_OK},
    {"another network", "postgres/pg_hba", "sql/hba/1/address", "\"192.168.0.0\"", DOCTOR_WRONG,
     "demo-1", NULL, "sql/hba/1/netmask", "\"255.255.0.0\""},
    {"TLS alone, which the server has not", "postgres/pg_hba", "sql/hba/1/type", "\"hostssl\"",
     DOCTOR_WRONG, "no line"},
    {"TLS alone", "postgres/pg_hba", "sql/hba/1/type", "\"hostssl\"", DOCTOR_OK, NULL, NULL,
     SETTING(13), "\"on\""},
    {"a name, which may be theirs", "postgres/pg_hba", "sql/hba/1/address", "\".example.org\"",
     DOCTOR_OK, NULL, NULL, "sql/hba/1/netmask", NULL},
    {"the same host, which may be theirs", "postgres/pg_hba", "sql/hba/1/address", "\"samehost\"",
     DOCTOR_OK, NULL, NULL, "sql/hba/1/netmask", NULL},
    {"a group, which may be theirs", "postgres/pg_hba", "sql/hba/1/users", "[\"+replicators\"]",
     DOCTOR_OK},
    {"somebody else", "postgres/pg_hba", "sql/hba/1/users", "[\"barman\"]", DOCTOR_WRONG,
     "as replicator"},
    {"no line for pg_rewind", "postgres/pg_hba", "sql/hba/2", NULL, DOCTOR_WRONG,
     "for pg_rewind as rewinder", "- host postgres rewinder 10.0.0.2/32"},
    {"IPv6", "postgres/pg_hba", "view/members/1/host", "\"fd00::2\"", DOCTOR_WRONG, "(fd00::2)",
     "fd00::2/128"},
    {"IPv6 let in", "postgres/pg_hba", "view/members/1/host", "\"fd00::2\"", DOCTOR_OK, NULL, NULL,
     "sql/hba/1",
     "{\"line\":2,\"type\":\"host\",\"database\":[\"replication\"],\"users\":[\"all\"],\"address\":"
     "\"fd00::\","
     "\"netmask\":\"ffff:ffff::\",\"method\":\"scram-sha-256\"}"},

    {"no slot", "postgres/slots", "sql/slots", "[]", DOCTOR_WRONG, "no slot demo_1 for demo-1"},
    {"nobody needs one", "postgres/slots", "sql/slots", "[]", DOCTOR_OK, NULL, NULL,
     "view/members/1/tags", "{\"nostream\":true}"},
    {"a standby's", "postgres/slots", "sql/slots", "[]", DOCTOR_OK, NULL, NULL, STANDBY},
    {"lost", "postgres/slots", "sql/slots/0/wal_status", "\"lost\"", DOCTOR_WRONG,
     "slot demo_1 is lost", "reinit"},
    {"somebody's that keeps WAL", "postgres/slots", "sql/slots/1",
     "{\"name\":\"barman\",\"active\":false,\"wal_status\":\"extended\",\"kept\":4294967296}",
     DOCTOR_WARN, "slot barman keeps 4096 MiB", "pg_drop_replication_slot('barman')"},
    {"a member's that keeps WAL", "postgres/slots", "sql/slots/0",
     "{\"name\":\"demo_1\",\"active\":false,\"wal_status\":\"extended\",\"kept\":4294967296}",
     DOCTOR_WARN, "slot demo_1 keeps", "bring that member back"},
    {"a member that is away", "postgres/streaming", "sql/senders", "[]", DOCTOR_WRONG,
     "demo-1 does not stream"},
    {"catching up", "postgres/streaming", "sql/senders/0/state", "\"catchup\"", DOCTOR_WRONG,
     "catchup"},
    {"a standby that streams", "postgres/streaming", "sql/receiver", "[{\"status\":\"streaming\"}]",
     DOCTOR_OK, NULL, NULL, STANDBY},
    {"a standby that does not", "postgres/streaming", "sql/receiver", "[]", DOCTOR_WRONG,
     "not running", NULL, STANDBY},
};

static void test_rows(void **state)
{
    (void)state;
    world_rows(rows, COUNT_OF(rows));
    static const char *const checks[] = {
        "server/connection", "postgres/replication", "postgres/durability",
        "postgres/rewind",   "postgres/archive",     "postgres/addresses",
        "postgres/restart",  "postgres/roles",       "postgres/rewind rights",
        "postgres/pg_hba",   "postgres/slots",       "postgres/streaming"};
    world_expect_seen(checks, COUNT_OF(checks));
}

static int start(void **state)
{
    (void)state;
    world_arena = arena_new(ARENA_CAP_DEFAULT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&world_arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, start, end);
}
