// What `howdahctl doctor` finds wrong with settings, etcd, members, and the machine; and that
// looking at a volume and a socket changes nothing.
#include "agent/warden/protocol.h"
#include "common/os/files.h"
#include "tests/unit/test_doctor_world.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ON_ETCD                                                                                    \
    "agent", "{\"scope\":\"demo\",\"name\":\"demo-0\",\"restapi\":{\"listen\":\"10.0.0.1:8008\"}," \
             "\"etcd3\":{\"hosts\":[\"e1:2379\"]},\"postgresql\":{\"listen\":\"10.0.0.1:5432\","   \
             "\"data_dir\":\"/data/"                                                               \
             "pgdata\",\"authentication\":{\"replication\":{\"username\":\"r\"}}}}"

static const WorldRow rows[] = {
    {"an agent would not start", "settings/settings", "agent/postgresql/listen", NULL, DOCTOR_WRONG,
     "postgresql.listen: missing", "--validate-config"},
    {"howdahctl's own", "settings/settings", "agent/postgresql", NULL, DOCTOR_SKIPPED,
     "no section postgresql"},
    {"timers", "settings/timers", "view/config/ttl", "25", DOCTOR_WRONG,
     "break loop_wait + 2 * retry_timeout <= ttl",
     "-s ttl=25 -s loop_wait=5 -s retry_timeout=10 demo"},
    {"timers too short", "settings/timers", "view/config/ttl", "3", DOCTOR_WRONG, "ttl 3"},
    {"timers of nobody", "settings/timers", "agent/howdah", "{\"margin_ms\":\"soon\"}",
     DOCTOR_SKIPPED, "depends on its settings"},
    {"an agent's value", "settings/settings", "agent/howdah", "{\"margin_ms\":\"soon\"}",
     DOCTOR_WRONG, "howdah.margin_ms", "--validate-config"},
    {"a wrong value", "settings/cluster configuration", "view/config/ttl", "\"soon\"", DOCTOR_WRONG,
     "ttl", "edit-config demo"},
    {"paused", "settings/cluster configuration", "view/config/pause", "true", DOCTOR_WARN, "paused",
     "resume demo"},
    {"garbage", "settings/cluster configuration", "view/config_invalid", "true", DOCTOR_WRONG,
     "no JSON object"},
    {"none yet", "settings/cluster configuration", "view/config", NULL, DOCTOR_WARN,
     "has not been made"},
    {"no store", "settings/cluster configuration", "view", NULL, DOCTOR_SKIPPED, "nobody answers"},
    {"a file that is not there", "settings/files", "files/0/error", "2", DOCTOR_WRONG,
     "etcd3.key: /tls/key: No such", "/tls/key"},
    {"a key for everybody", "settings/files", "files/0/mode", "420", DOCTOR_WARN,
     "everybody can read", "chmod o= /tls/key"},

    {"etcd is well", "etcd/endpoints", ON_ETCD, DOCTOR_OK},
    {"an endpoint is away", "etcd/endpoints", "etcd/1",
     "{\"url\":\"http://e2:2379\",\"error\":\"timed out\"}", DOCTOR_WRONG,
     "http://e2:2379: timed out", "etcdctl --endpoints http://e2:2379", ON_ETCD},
    {"a wrong password", "etcd/endpoints", "etcd/1",
     "{\"url\":\"http://e2:2379\",\"error\":\"authentication failed, invalid user ID or "
     "password\"}",
     DOCTOR_WRONG, "authentication failed", "etcd3.username", ON_ETCD},
    {"no right", "etcd/endpoints", "etcd/1",
     "{\"url\":\"http://e2:2379\",\"error\":\"etcdserver: permission denied\"}", DOCTOR_WRONG,
     "permission denied", "grant-permission ROLE --prefix=true readwrite /service/demo/", ON_ETCD},
    {"another certificate", "etcd/endpoints", "etcd/1",
     "{\"url\":\"https://e2:2379\",\"error\":\"SSL certificate problem\"}", DOCTOR_WRONG, "SSL",
     "etcd3.cacert", ON_ETCD},
    {"no majority", "etcd/health", "etcd",
     "[{\"url\":\"a\",\"status\":{\"leader\":\"7\"}},{\"url\":\"b\"}]", DOCTOR_WRONG,
     "1 of 2 endpoints answer", "endpoint status", ON_ETCD},
    {"no leader", "etcd/health", "etcd/0/status/leader", "\"0\"", DOCTOR_WRONG,
     "1 of 3 endpoints know of no leader", NULL, ON_ETCD},
    {"full", "etcd/health", "etcd/0/status/errors", "[\"memberID:1 alarm:NOSPACE \"]", DOCTOR_WRONG,
     "NOSPACE", "alarm disarm", ON_ETCD},
    {"two clusters", "etcd/health", "etcd/0/status/header/cluster_id", "\"8\"", DOCTOR_WRONG,
     "2 different etcd", "etcd3.hosts", ON_ETCD},
    {"nobody answers", "etcd/health", "etcd", "[{\"url\":\"a\",\"error\":\"x\"}]", DOCTOR_SKIPPED,
     "no endpoint", NULL, ON_ETCD},
    {"by SRV", "etcd/etcd", "etcd", "[]", DOCTOR_SKIPPED, "srv", NULL, ON_ETCD},

    {"no store", "cluster/state", "view", NULL, DOCTOR_WRONG, "nobody answers"},
    {"nobody leads", "cluster/state", "view/leader", NULL, DOCTOR_WRONG, "nobody leads", "explain"},
    {"not made", "cluster/state", "view/leader", NULL, DOCTOR_WARN, "no cluster demo", NULL,
     "view/initialize", NULL},
    {"a leader from elsewhere", "cluster/state", "view/leader", "\"demo-9\"", DOCTOR_WRONG,
     "is no member"},
    {"no system identifier", "cluster/state", "view/initialize", NULL, DOCTOR_WRONG, "initialize"},
    {"no view", "members/members", "view", NULL, DOCTOR_SKIPPED, NULL},

    {"its agent is away", "members/agent", "statuses/demo-0", NULL, DOCTOR_WRONG,
     "does not answer at http://10.0.0.1"},
    {"not a member", "members/agent", "agent/name", "\"demo-7\"", DOCTOR_WRONG,
     "demo-7 is no member"},
    {"not beside", "members/agent", "machine/beside", "false", DOCTOR_SKIPPED, "not beside"},
    {"a member is away", "members/members", "statuses/demo-1", NULL, DOCTOR_WRONG,
     "demo-1 does not answer", "connect_address"},
    {"a member out of reach", "members/members", "statuses/demo-1", NULL, DOCTOR_SKIPPED, "demo-1",
     NULL, "kube/in_pod", "false"},
    {"no address", "members/members", "view/members/1/api_url", NULL, DOCTOR_WRONG,
     "has not published"},
    {"stopped", "members/members", "statuses/demo-1/state", "\"start failed\"", DOCTOR_WRONG,
     "demo-1 is start failed", "explain demo-1"},
    {"restart", "members/members", "statuses/demo-1/pending_restart", "true", DOCTOR_WARN,
     "wait for a restart", "restart demo demo-1"},
    {"alone", "members/members", "view/members/1", NULL, DOCTOR_WARN, "nobody can take over"},
    {"Patroni", "members/fences", "view/members/1/howdah", NULL, DOCTOR_WARN,
     "demo-1: run by Patroni"},
    {"no fence", "members/fences", "why/demo-0/fence_armed", "false", DOCTOR_WARN,
     "has no deadline"},

    {"elsewhere", "machine/machine", "machine/beside", "false", DOCTOR_SKIPPED, "elsewhere"},
    {"no socket", "machine/warden", "warden", "{\"answer\":0,\"error\":2}", DOCTOR_WRONG,
     "No such file", "--socket SOCKET"},
    {"another user's, in a pod", "machine/warden", "warden", "{\"answer\":1,\"owner\":70}",
     DOCTOR_WRONG, "belongs to user 70 and we are 999", "runAsUser"},
    {"another user's", "machine/warden", "warden", "{\"answer\":1,\"owner\":999}", DOCTOR_SKIPPED,
     "user 999 alone", NULL, "kube/in_pod", "false"},
    {"a warden of the wrong user", "machine/warden", "warden", "{\"answer\":1,\"owner\":0}",
     DOCTOR_WRONG, "the data directory to 999", "User=", "kube/in_pod", "false"},
    {"nobody listens", "machine/warden", "warden", "{\"answer\":2,\"error\":111}", DOCTOR_WRONG,
     "refused"},
    {"somebody else listens", "machine/warden", "warden", "{\"answer\":2}", DOCTOR_WRONG,
     "no warden"},
    {"it is stopped", "machine/warden", "warden", "{\"answer\":3}", DOCTOR_WRONG,
     "does not answer"},
    {"memory", "machine/locked memory", "warden",
     "{\"answer\":4,\"locked_kb\":0,\"memlock_limit\":65536,"
     "\"swaps\":true}",
     DOCTOR_WARN, "the limit is 65 kB", "LimitMEMLOCK"},
    {"memory that is not swapped", "machine/locked memory", "warden",
     "{\"answer\":4,\"locked_kb\":0,"
     "\"memlock_limit\":65536,\"swaps\":false}",
     DOCTOR_OK, "nothing is swapped"},
    {"memory of another pod container", "machine/locked memory", "warden",
     "{\"answer\":4,"
     "\"memlock_limit\":8388608,\"swaps\":true}",
     DOCTOR_OK, "is enough"},
    {"opened to the group", "machine/data directory", "machine/data_dir/mode", "17912",
     DOCTOR_WRONG, "permissions 2770", "chmod 0700 /data/pgdata"},
    {"0750", "machine/data directory", "machine/data_dir/mode", "16872", DOCTOR_OK, "0750"},
    {"another user's data", "machine/data directory", "machine/data_dir/uid", "70", DOCTOR_WRONG,
     NULL, NULL, "machine/state_dir/uid", "70"},
    {"root's data", "machine/data directory", "machine/data_dir/uid", "0", DOCTOR_WRONG, "root",
     "chown", "kube/in_pod", "false"},
    {"a file", "machine/data directory", "machine/data_dir/mode", "33152", DOCTOR_WRONG,
     "no directory"},
    {"not made", "machine/data directory", "machine/data_dir/error", "2", DOCTOR_WARN,
     "not there yet"},
    {"closed to us", "machine/data directory", "machine/data_dir/error", "13", DOCTOR_WRONG,
     "Permission denied"},
    {"a hung disk", "machine/data directory", "machine/answered", "false", DOCTOR_WRONG,
     "does not answer"},
    {"another's state", "machine/data directory", "machine/state_dir/uid", "0", DOCTOR_WRONG,
     "does not start", "chown -R 999"},
    {"no place for the state", "machine/data directory", "machine/state_dir/error", "2",
     DOCTOR_WRONG, "parent", "install -d -m 0700 -o 999 /data/.howdah-pgdata"},
    {"full", "machine/space", "machine/bytes_free", "1000", DOCTOR_WRONG, "cannot write WAL",
     "pvc"},
    {"nearly full", "machine/space", "machine/bytes_free", "60000000", DOCTOR_WARN,
     "57 of 953 MiB"},
    {"inodes", "machine/space", "machine/inodes_free", "10", DOCTOR_WRONG, "1 % of the inodes"},
    {"no answer", "machine/space", "machine/bytes", NULL, DOCTOR_SKIPPED, NULL},
    {"pgpass", "machine/password file", "machine/pgpass/mode", "33188", DOCTOR_WRONG,
     "libpq ignores it", "chmod 0600"},
    {"no pgpass", "machine/password file", "machine/pgpass/error", "2", DOCTOR_OK,
     "when it is needed"},
    {"pgpass out of reach", "machine/password file", "machine/pgpass/error", "13", DOCTOR_SKIPPED,
     NULL},
};

static void test_rows(void **state)
{
    (void)state;
    world_rows(rows, COUNT_OF(rows));
    static const char *const checks[] = {
        "settings/settings",      "settings/timers", "settings/cluster configuration",
        "settings/files",         "etcd/endpoints",  "etcd/health",
        "cluster/state",          "members/agent",   "members/members",
        "members/fences",         "machine/warden",  "machine/locked memory",
        "machine/data directory", "machine/space",   "machine/password file"};
    world_expect_seen(checks, COUNT_OF(checks));
}

// --- gathering

static char directory[] = "/tmp/howdah-doctor-XXXXXX";

static const Settings *settings_here(void)
{
    Settings *settings = ARENA_NEW(world_arena, Settings);
    settings->postgresql.data_dir = path_join(world_arena, directory, "data");
    settings->postgresql.pgpass = path_join(world_arena, directory, "pgpass");
    settings->howdah.state_dir = path_join(world_arena, directory, ".howdah-data");
    settings->howdah.socket = path_join(world_arena, directory, "w.sock");
    return settings;
}

static Deadline soon(int64_t ms)
{
    return deadline_in(clock_system(), ms);
}

static void test_a_volume(void **state)
{
    (void)state;
    const Settings *settings = settings_here();
    VolumeFacts facts;
    Error err = {0};
    arena_reset(world_arena);
    settings = settings_here();
    gather_volume(settings, clock_system(), world_arena, soon(10000), &facts);
    assert_true(facts.answered);
    assert_int_equal(facts.data_dir.error, ENOENT);
    assert_int_equal(facts.parent.error, 0);
    assert_true(facts.has_space && facts.bytes > facts.bytes_free); // of the parent
    assert_true(directory_make(settings->postgresql.data_dir, 0750, &err));
    assert_true(file_write(settings->postgresql.pgpass, "", 0600, &err));
    gather_volume(settings, clock_system(), world_arena, soon(10000), &facts);
    assert_int_equal(facts.data_dir.error, 0);
    assert_int_equal(facts.data_dir.mode & 0777, 0750);
    assert_int_equal(facts.data_dir.uid, geteuid());
    assert_int_equal(facts.pgpass.mode & 0777, 0600);
    // Whoever asks too late gets no answer, and no half of one.
    gather_volume(settings, clock_system(), world_arena, soon(-1), &facts);
    assert_true(facts.answered || facts.data_dir.mode == 0);
}

// What listens at the socket: takes one connection, notes what it got, answers.
typedef struct {
    int fd;
    const void *answer;
    size_t size;
    uint8_t got[64];
    size_t got_size;
} Listener;

static void *listen_once(void *argument)
{
    Listener *l = argument;
    const int fd = accept(l->fd, NULL, NULL);
    assert_true(fd >= 0);
    const ssize_t got = recv(fd, l->got, sizeof l->got, 0);
    l->got_size = got > 0 ? (size_t)got : 0;
    if (l->answer != NULL)
        assert_int_equal(send(fd, l->answer, l->size, 0), (ssize_t)l->size);
    if (l->answer == NULL)
        (void)recv(fd, l->got + l->got_size, 1, 0); // until they leave
    (void)close(fd);
    return NULL;
}

static WardenFacts ask_listener(Listener *l, const Settings *settings, int64_t ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    WardenFacts facts;
    pthread_t thread;
    (void)unlink(settings->howdah.socket);
    assert_true(copy_text(address.sun_path, sizeof address.sun_path, settings->howdah.socket));
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(l->fd, 1), 0);
    assert_int_equal(pthread_create(&thread, NULL, listen_once, l), 0);
    gather_warden(settings, clock_system(), world_arena, soon(ms), &facts);
    (void)pthread_join(thread, NULL);
    (void)close(l->fd);
    return facts;
}

static void test_a_socket(void **state)
{
    (void)state;
    arena_reset(world_arena);
    const Settings *settings = settings_here();
    WardenFacts facts;
    uint8_t error[64];
    WireWriter frame = {error, sizeof error, 0, false};
    wire_put_head(&frame, WIRE_ERROR, 1);
    wire_put_u16(&frame, WARDEN_REFUSED);
    wire_put_text(&frame, "say hello first");
    assert_true(wire_finish(&frame, 0));

    gather_warden(settings, clock_system(), world_arena, soon(1000), &facts);
    assert_int_equal(facts.answer, WARDEN_NO_SOCKET);
    assert_int_equal(facts.error, ENOENT);

    Listener warden = {.answer = error, .size = frame.used};
    facts = ask_listener(&warden, settings, 10000);
    assert_int_equal(facts.answer, WARDEN_ANSWERS);
    assert_int_equal(facts.pid, getpid());
    // Whatever was said, it was no hello: that would have taken the agent's place.
    WireReader said = {warden.got, warden.got_size, 0, false};
    assert_int_equal(wire_get_u16(&said), WIRE_MAGIC);
    assert_int_not_equal(wire_get_u16(&said), WIRE_HELLO);
    assert_int_equal(warden.got_size, WIRE_HEAD);

    Listener other = {.answer = "220 smtp", .size = 8};
    assert_int_equal(ask_listener(&other, settings, 10000).answer, WARDEN_REFUSES);
    Listener silent = {0};
    assert_int_equal(ask_listener(&silent, settings, 50).answer, WARDEN_SILENT);

    gather_warden(settings, clock_system(), world_arena, soon(1000), &facts);
    assert_int_equal(facts.answer, WARDEN_REFUSES); // the socket is still there, and nobody listens
    assert_int_equal(facts.error, ECONNREFUSED);
}

static int start(void **state)
{
    (void)state;
    world_arena = arena_new(ARENA_CAP_DEFAULT);
    return mkdtemp(directory) == NULL;
}

static int end(void **state)
{
    (void)state;
    Error err = {0};
    const bool cleared = directory_clear(directory, &err);
    (void)rmdir(directory);
    arena_release(&world_arena);
    return cleared ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_a_volume),
        cmocka_unit_test(test_a_socket),
    };
    return cmocka_run_group_tests(tests, start, end);
}
