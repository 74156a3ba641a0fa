// Who may change something, and when: allowlist, certificates, passwords, points in time.
#include "api/access.h"
#include "api/server.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <string.h>

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in4.sin_addr) == 1)
        memcpy(&out, &in4, sizeof in4);
    else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        memcpy(&out, &in6, sizeof in6);
    return out;
}

static Policy *policy(const RestSettings *settings)
{
    Policy *made = NULL;
    Error err = {0};
    if (!policy_new(settings, &made, &err))
        fail_msg("%s", err.text);
    return made;
}

static StringList list_of(const char *const *items, size_t count)
{
    return (StringList){.items = (const char **)(uintptr_t)items, .count = count};
}

static int status_from(const Policy *p, Resolver *resolver, const char *peer, bool failsafe,
                       const ClusterView *cluster)
{
    const struct sockaddr_storage from = address(peer);
    const AccessRequest request = {
        .peer = (const struct sockaddr *)&from, .failsafe = failsafe, .cluster = cluster};
    return access_check(p, resolver, &request).status;
}

static void test_networks(void **state)
{
    (void)state;
    static const char *const list[] = {"10.1.0.0/16", "192.0.2.7",     "fd00:1::/33",
                                       "::1",         "172.16.4.0/22", "198.51.100.8/32"};
    static const struct {
        const char *peer;
        int status;
    } rows[] = {
        {"10.1.2.3", 0},         {"10.2.0.1", 403},    {"192.0.2.7", 0},
        {"192.0.2.8", 403},      {"fd00:1:0:0::5", 0}, {"fd00:1:8000::", 403},
        {"fd00:1:7fff::", 0},    {"::1", 0},           {"::2", 403},
        {"172.16.7.255", 0},     {"172.16.8.0", 403},  {"::ffff:10.1.2.3", 0},
        {"::10.1.2.3", 403},     {"198.51.100.8", 0},  {"198.51.100.9", 403},
        {"not an address", 403},
    };
    const RestSettings settings = {.allowlist = list_of(list, COUNT_OF(list))};
    AUTO(policy_release) Policy *p = policy(&settings);
    AUTO(resolver_release) Resolver *resolver = resolver_new();
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (status_from(p, resolver, rows[i].peer, false, NULL) != rows[i].status)
            fail_msg("%s", rows[i].peer);

    static const char *const mapped[] = {"::ffff:10.0.0.0/104", "0.0.0.0/0"};
    const RestSettings by_mapped = {.allowlist = list_of(mapped, 1)};
    AUTO(policy_release) Policy *m = policy(&by_mapped);
    assert_int_equal(status_from(m, resolver, "10.9.9.9", false, NULL), 0);
    assert_int_equal(status_from(m, resolver, "11.9.9.9", false, NULL), 403);
    const RestSettings all_v4 = {.allowlist = list_of(mapped + 1, 1)};
    AUTO(policy_release) Policy *v4 = policy(&all_v4);
    assert_int_equal(status_from(v4, resolver, "1.2.3.4", false, NULL), 0);
    assert_int_equal(status_from(v4, resolver, "fd00::1", false, NULL), 403);
}

static void test_bad_networks(void **state)
{
    (void)state;
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0.0/-1", "fd00::/129", "10.0.0/8",
                                      "host/8",      "10.0.0.0/",   "10.0.0.0/8x"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const RestSettings settings = {.allowlist = list_of(&bad[i], 1)};
        Policy *p = NULL;
        Error err = {0};
        assert_false(policy_new(&settings, &p, &err));
        assert_int_equal(err.kind, ERR_INVALID);
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void test_members(void **state)
{
    // With members let in, and POST /failsafe, which asks nobody whether he is one.
    (void)state;
    static const char *const list[] = {"192.0.2.1"};
    static const MemberView members[] = {{.name = "b", .api_url = "http://10.0.0.2:8008/patroni"},
                                         {.name = "c", .api_url = "https://[fd00::3]:8008/patroni"},
                                         {.name = "d", .api_url = "nonsense"},
                                         {.name = "e"}};
    const ClusterView view = {.members = members, .member_count = COUNT_OF(members)};
    AUTO(resolver_release) Resolver *resolver = resolver_new();
    const RestSettings only_members = {.allowlist_include_members = true};
    AUTO(policy_release) Policy *p = policy(&only_members);
    assert_int_equal(status_from(p, resolver, "10.0.0.2", false, &view), 0);
    assert_int_equal(status_from(p, resolver, "fd00::3", false, &view), 0);
    assert_int_equal(status_from(p, resolver, "10.0.0.4", false, &view), 403);
    assert_int_equal(status_from(p, resolver, "10.0.0.2", false, NULL), 403);
    assert_int_equal(status_from(p, resolver, "10.0.0.4", true, &view), 0);

    const RestSettings both = {.allowlist_include_members = true, .allowlist = list_of(list, 1)};
    AUTO(policy_release) Policy *q = policy(&both);
    assert_int_equal(status_from(q, resolver, "10.0.0.2", false, &view), 0);
    assert_int_equal(status_from(q, resolver, "192.0.2.1", false, NULL), 0);
    assert_int_equal(status_from(q, resolver, "10.0.0.2", true, &view), 403);
    assert_int_equal(status_from(q, resolver, "192.0.2.1", true, &view), 0);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const list[] = {"localhost"};
    const RestSettings settings = {.allowlist = list_of(list, 1)};
    AUTO(policy_release) Policy *p = policy(&settings);
    AUTO(resolver_release) Resolver *resolver = resolver_new();
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    if (resolver_wait(resolver, arena, "localhost", deadline_in(clock_system(), 5000)).count == 0)
        skip(); // no resolver on this machine
    assert_int_equal(status_from(p, resolver, "127.0.0.1", false, NULL), 0);
    assert_int_equal(status_from(p, resolver, "127.0.0.2", false, NULL), 403);
}

static void test_order(void **state)
{
    // Allowlist, then certificate, then password.
    (void)state;
    static const char *const list[] = {"10.0.0.1"};
    const RestSettings settings = {.allowlist = list_of(list, 1),
                                   .certfile = "x",
                                   .cafile = "y",
                                   .verify_client = VERIFY_CLIENT_OPTIONAL,
                                   .username = "admin",
                                   .password = {"p:w"}};
    AUTO(policy_release) Policy *p = policy(&settings);
    AUTO(resolver_release) Resolver *resolver = resolver_new();
    assert_string_equal(p->authorization, "Basic YWRtaW46cDp3");
    const struct sockaddr_storage good = address("10.0.0.1"), bad = address("10.0.0.2");
    static const struct {
        bool listed, certificate;
        const char *authorization, *text;
    } rows[] = {
        {false, true, "Basic YWRtaW46cDp3", "Access is denied"},
        {true, false, "Basic YWRtaW46cDp3", "client certificate required"},
        {true, true, NULL, "no auth header received"},
        {true, true, "Bearer YWRtaW46cDp3", "no auth header received"},
        {true, true, "basic YWRtaW46cDp3", "no auth header received"},
        {true, true, "Basic ", "not authenticated"},
        {true, true, "Basic YWRtaW46cDp", "not authenticated"},
        {true, true, "Basic YWRtaW46cDp3=", "not authenticated"},
        {true, true, "Basic YWRtaW46cDp4", "not authenticated"},
        {true, true, "Basic YWRtaW46cDp3", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const AccessRequest request = {.peer =
                                           (const struct sockaddr *)(rows[i].listed ? &good : &bad),
                                       .authorization = rows[i].authorization,
                                       .client_certificate = rows[i].certificate};
        const Refusal refusal = access_check(p, resolver, &request);
        if (!str_eq(refusal.text, rows[i].text) || (refusal.status == 0) != (rows[i].text == NULL))
            fail_msg("row %zu: %d %s", i, refusal.status, refusal.text);
    }
}

static void test_verify_client_needs_authorities(void **state)
{
    (void)state;
    const RestSettings settings = {.certfile = "x", .verify_client = VERIFY_CLIENT_REQUIRED};
    Policy *p = NULL;
    Error err = {0};
    assert_false(policy_new(&settings, &p, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "restapi.cafile"));
}

// --- ciphers

static void test_ciphers(void **state)
{
    (void)state;
    static const struct {
        const char *setting, *part; // of what comes out
    } rows[] = {
        {NULL, "NORMAL:-VERS-ALL"},
        {"SECURE256", "SECURE256"},
        {"ECDHE-RSA-AES256-GCM-SHA384:!SSLv3:!TLSv1", "+ECDHE-RSA:+AES-256-GCM"},
        {"DHE-RSA-AES128-SHA, ECDHE-ECDSA-CHACHA20-POLY1305", "+ECDHE-ECDSA:+CHACHA20-POLY1305"},
        {"HIGH:!aNULL", "NORMAL:-VERS-ALL"},
    };
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *got = tls_priorities(arena, rows[i].setting);
        gnutls_priority_t cache = NULL;
        if (strstr(got, rows[i].part) == NULL || gnutls_priority_init(&cache, got, NULL) < 0)
            fail_msg("%s: %s", rows[i].setting, got);
        gnutls_priority_deinit(cache);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks), cmocka_unit_test(test_bad_networks),
        cmocka_unit_test(test_members),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_order),    cmocka_unit_test(test_verify_client_needs_authorities),
        cmocka_unit_test(test_ciphers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
