#include "tests/unit/test_ctl_demo.h"

#include <stdio.h>

LabMember *demo_one, *demo_two;
static EtcdServer *etcd;

const char *demo_store_url(void)
{
    return etcd_server_url(etcd);
}

int demo_store_port(void)
{
    return etcd_server_port(etcd);
}

void demo_put(const char *key, const char *value)
{
    const char *const words[] = {"put", arena_printf(lab_arena, "/service/demo/%s", key), value,
                                 NULL};
    etcd_server_ctl(etcd, words);
}

const char *demo_stored(const char *key)
{
    char line[1024] = "";
    FILE *pipe = popen(arena_printf(lab_arena,
                                    "ETCDCTL_API=3 etcdctl --endpoints %s get --print-value-only "
                                    "/service/demo/%s",
                                    etcd_server_url(etcd), key),
                       "r");
    ASSERT(pipe != NULL);
    if (fgets(line, sizeof line, pipe) != NULL)
        line[strcspn(line, "\n")] = '\0';
    ASSERT(pclose(pipe) == 0);
    return arena_strdup(lab_arena, line);
}

static const char *member_record(const LabMember *member, const char *role, const char *more)
{
    return arena_printf(lab_arena,
                        "{\"conn_url\":\"postgres://127.0.0.1:%d/postgres\",\"api_url\":"
                        "\"%s/patroni\",\"state\":\"running\",\"role\":\"%s\",\"timeline\":1%s}",
                        lab_member_port(member), lab_member_url(member), role, more);
}

static void write_cluster(void)
{
    demo_put("initialize", "7277694203142172922");
    demo_put("config", "{\"ttl\":30,\"loop_wait\":1,\"synchronous_mode\":true}");
    demo_put("leader", "one");
    demo_put("status", "{\"optime\":67108960}");
    demo_put("sync", "{\"leader\":\"one\",\"sync_standby\":null,\"quorum\":0}");
    demo_put("failover", "{}");
    demo_put("history", "[[1,50331744,\"no recovery target specified\"]]");
    demo_put("members/one", member_record(demo_one, "primary", ""));
    demo_put("members/two", member_record(demo_two, "replica",
                                          ",\"receive_lsn\":67108960,\"replay_lsn\":67108960,"
                                          "\"pending_restart\":true,\"scheduled_restart\":"
                                          "{\"schedule\":\"2030-12-01T10:00:00+00:00\"}"));
}

int demo_start_group(void **state)
{
    (void)state;
    lab_start();
    etcd = etcd_server_start(NULL);
    return 0;
}

int demo_end_group(void **state)
{
    (void)state;
    etcd_server_free(etcd);
    lab_end();
    return 0;
}

int demo_start(void **state)
{
    (void)state;
    demo_one = lab_member_start();
    demo_two = lab_member_start();
    lab_settings(
        arena_printf(lab_arena,
                     "scope: demo\netcd3: {host: '127.0.0.1:%d'}\n"
                     "restapi: {authentication: {username: user, password: 'pass:word'}}\n",
                     demo_store_port()));
    write_cluster();
    return 0;
}

int demo_end(void **state)
{
    (void)state;
    lab_member_free(demo_one);
    lab_member_free(demo_two);
    return 0;
}

void demo_expect_requests(LabMember *member, const char *expected)
{
    const char *seen = lab_member_requests(member);
    if (!str_eq(seen, expected))
        fail_msg("asked:\n%sinstead of:\n%s", seen, expected);
}
