// Who we are and where the API server is: the service account's files, kubeconfig files.
#include "common/base/base64.h"
#include "common/os/files.h"
#include "common/os/log.h"
#include "dcs/kubernetes/access.h"
#include "dcs/kubernetes/kubeconfig.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEM "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

typedef struct {
    Clock clock;
    Instant now;
} TestClock;

static Instant test_now(Clock *clock)
{
    return ((TestClock *)clock)->now;
}

static const ClockOps test_ops = {.now = test_now};

static Arena *arena;
static TestClock test_clock;
static char directory[64];
static Error err;
static int warnings;

static void count_warnings(void *context, LogLevel level, const char *line)
{
    (void)context;
    (void)line;
    warnings += level == LOG_WARN ? 1 : 0;
}

static const char *path_of(const char *name)
{
    return arena_printf(arena, "%s/%s", directory, name);
}

// As a projected volume does it: another file takes the place of the old one.
static void put(const char *name, const char *content)
{
    if (!file_write(path_of(name), content, 0600, &err))
        fail_msg("%s", err.text);
}

static void in_cluster(const char *host, const char *port)
{
    if (host != NULL)
        setenv("KUBERNETES_SERVICE_HOST", host, 1);
    else
        unsetenv("KUBERNETES_SERVICE_HOST");
    if (port != NULL)
        setenv("KUBERNETES_SERVICE_PORT", port, 1);
    else
        unsetenv("KUBERNETES_SERVICE_PORT");
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    test_clock = (TestClock){.clock = {.ops = &test_ops}, .now = {.ns = 1000 * NS_PER_MS}};
    err = (Error){0};
    strcpy(directory, "/tmp/howdah-kube-XXXXXX");
    assert_non_null(mkdtemp(directory));
    in_cluster("10.96.0.1", "443");
    put("token", "first\n");
    put("ca.crt", PEM);
    put("namespace", "ns1\n");
    warnings = 0;
    log_capture(count_warnings, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_capture(NULL, NULL);
    assert_true(directory_clear(directory, &err));
    assert_int_equal(rmdir(directory), 0);
    arena_free(arena);
    return 0;
}

static bool open_access(KubeAccess **out)
{
    const KubeAccessOptions options = {.service_account_dir = directory,
                                       .kubeconfig = path_of("config")};
    return kube_access_open(&options, &test_clock.clock, out, &err);
}

static void later_ms(int64_t ms)
{
    test_clock.now = instant_plus_ms(test_clock.now, ms);
}

// --- in a pod

static void test_service_account(void **state)
{
    (void)state;
    AUTO(kube_access_release) KubeAccess *access = NULL;
    assert_true(open_access(&access));
    assert_true(kube_access_in_cluster(access));
    assert_string_equal(kube_access_server(access), "https://10.96.0.1:443");
    assert_string_equal(kube_access_namespace(access), "ns1");
    assert_string_equal(kube_access_authorization(access, arena), "Bearer first");
    uint64_t generation = 0;
    HttpOptions tls = {0};
    assert_true(kube_access_tls(access, &generation, arena, &tls));
    assert_string_equal(tls.ca_pem, PEM);
    assert_false(tls.skip_verify);
    assert_false(kube_access_tls(access, &generation, arena, &tls));
}

static void test_addresses_of_version_6(void **state)
{
    (void)state;
    AUTO(kube_access_release) KubeAccess *access = NULL;
    in_cluster("fd00::1", "6443");
    assert_true(open_access(&access));
    assert_string_equal(kube_access_server(access), "https://[fd00::1]:6443");
}

// Bound tokens are replaced before they end: once a minute it is looked, and at once after a 401.
static void test_token_is_rotated(void **state)
{
    (void)state;
    AUTO(kube_access_release) KubeAccess *access = NULL;
    assert_true(open_access(&access));
    put("token", "second");
    later_ms(59999);
    assert_string_equal(kube_access_authorization(access, arena), "Bearer first");
    later_ms(1);
    assert_string_equal(kube_access_authorization(access, arena), "Bearer second");
    put("token", "third");
    assert_string_equal(kube_access_authorization(access, arena), "Bearer second");
    kube_access_unauthorized(access);
    assert_string_equal(kube_access_authorization(access, arena), "Bearer third");
}

static void test_token_that_cannot_be_read_is_used_on(void **state)
{
    static const char *const bad[] = {"", " \n", "two words", NULL};
    (void)state;
    AUTO(kube_access_release) KubeAccess *access = NULL;
    assert_true(open_access(&access));
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (bad[i] != NULL)
            put("token", bad[i]);
        else
            assert_true(file_remove(path_of("token"), &err));
        later_ms(60000);
        assert_string_equal(kube_access_authorization(access, arena), "Bearer first");
    }
    assert_int_equal(warnings, 1); // not a line a minute
    put("token", "good");
    later_ms(60000);
    assert_string_equal(kube_access_authorization(access, arena), "Bearer good");
}

static void test_authorities_are_replaced(void **state)
{
    (void)state;
    AUTO(kube_access_release) KubeAccess *access = NULL;
    uint64_t generation = 0;
    HttpOptions tls = {0};
    assert_true(open_access(&access));
    assert_true(kube_access_tls(access, &generation, arena, &tls));
    put("ca.crt", PEM PEM);
    assert_true(kube_access_tls(access, &generation, arena, &tls));
    assert_string_equal(tls.ca_pem, PEM PEM);
    static const char *const bad[] = {"", "no certificate", NULL};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (bad[i] != NULL)
            put("ca.crt", bad[i]);
        else
            assert_true(file_remove(path_of("ca.crt"), &err));
        assert_false(kube_access_tls(access, &generation, arena, &tls));
    }
    assert_int_equal(warnings, 1);
    put("ca.crt", PEM);
    assert_true(kube_access_tls(access, &generation, arena, &tls));
    assert_string_equal(tls.ca_pem, PEM);
}

// Without one of these it is no pod, and the kubeconfig is what is left; the error tells both.
static void test_no_pod(void **state)
{
    static const struct {
        const char *host, *port, *missing, *says;
    } rows[] = {
        {NULL, "443", NULL, "KUBERNETES_SERVICE_HOST"},
        {"10.96.0.1", "", NULL, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"},
        {"10.96.0.1", "443", "token", "/token does not exist"},
        {"10.96.0.1", "443", "ca.crt", "/ca.crt is missing or empty"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(kube_access_release) KubeAccess *access = NULL;
        in_cluster(rows[i].host, rows[i].port);
        if (rows[i].missing != NULL)
            assert_true(file_remove(path_of(rows[i].missing), &err));
        assert_false(open_access(&access));
        assert_int_equal(err.kind, ERR_INVALID);
        if (strstr(err.text, rows[i].says) == NULL ||
            strstr(err.text, "/config does not exist") == NULL)
            fail_msg("%s", err.text);
        put("token", "first");
        put("ca.crt", PEM);
    }
    AUTO(kube_access_release) KubeAccess *access = NULL;
    assert_true(file_remove(path_of("namespace"), &err));
    in_cluster("10.96.0.1", "443");
    assert_true(open_access(&access));
    assert_string_equal(kube_access_namespace(access), "default");
}

// --- kubeconfig

static void configure(const char *cluster, const char *user)
{
    put("config", arena_printf(arena,
                               "clusters: [{name: c, cluster: %s}, {name: k, cluster: {server: "
                               "'https://kind'}}]\n"
                               "users: [{name: u, user: %s}]\n"
                               "contexts:\n"
                               "- {name: a, context: {cluster: c, user: u}}\n"
                               "- {name: nobody, context: {cluster: c}}\n"
                               "- {name: lost, context: {cluster: x, user: u}}\n"
                               "- {name: ghost, context: {cluster: c, user: x}}\n"
                               "current-context: a\n",
                               cluster, user));
}

static KubeConfig config_of(const char *cluster, const char *user)
{
    KubeConfig config = {0};
    configure(cluster, user);
    if (!kubeconfig_read(arena, path_of("config"), NULL, &config, &err))
        fail_msg("%s %s: %s", cluster, user, err.text);
    return config;
}

static void test_kubeconfig_values(void **state)
{
    (void)state;
    const char *whole = base64_of(arena, PEM, strlen(PEM));
    const char *pem = arena_printf(arena, "\"%.20s\\n %s\"", whole, whole + 20); // folded
    KubeConfig c =
        config_of("{server: 'https://api:6443/', insecure-skip-tls-verify: true}", "{token: t}");
    assert_string_equal(c.server, "https://api:6443");
    assert_string_equal(c.token, "t");
    assert_true(c.skip_verify);
    assert_null(c.ca_file);

    c = config_of("{server: 'http://api/k8s/c-1', certificate-authority: pki/ca.crt}",
                  "{username: u, password: p, tokenFile: /abs/token}");
    assert_string_equal(c.server, "http://api/k8s/c-1");
    assert_string_equal(c.ca_file, path_of("pki/ca.crt"));
    assert_string_equal(c.username, "u");
    assert_string_equal(c.password, "p");
    assert_string_equal(c.token_file, "/abs/token");

    c = config_of(
        arena_printf(arena, "{server: 'https://api', certificate-authority-data: %s}", pem),
        arena_printf(arena, "{client-certificate-data: %s, client-key-data: %s}", pem, pem));
    assert_string_equal(c.ca_pem, PEM);
    assert_string_equal(c.cert_pem, PEM);
    assert_string_equal(c.key_pem, PEM);
    assert_false(c.skip_verify);

    c = config_of("{server: 'https://api'}", "{client-certificate: c.pem, client-key: /k.pem}");
    assert_string_equal(c.cert_file, path_of("c.pem"));
    assert_string_equal(c.key_file, "/k.pem");
}

static void test_kubeconfig_errors(void **state)
{
    static const struct {
        const char *cluster, *user, *context, *says;
    } rows[] = {
        {"{server: 'https://a'}", "{exec: {command: aws}}", NULL, "credentials from a program"},
        {"{server: 'https://a'}", "{auth-provider: {name: gcp}}", NULL, "auth-provider"},
        {"{server: 'https://a'}", "{as: root}", NULL, "impersonation"},
        {"{server: 'https://a', proxy-url: 'http://p'}", "{}", NULL, "proxy-url"},
        {"{server: 'https://a', tls-server-name: b}", "{}", NULL, "tls-server-name"},
        {"{}", "{}", NULL, "cluster.server: missing"},
        {"{server: 'ftp://a'}", "{}", NULL, "http:// or https://"},
        {"{server: 'https://a', certificate-authority-data: '!!'}", "{}", NULL,
         "certificate-authority-data is no base64"},
        {"{server: 'https://a', certificate-authority-data: Zm9v}", "{}", NULL, "PEM"},
        {"{server: 'https://a', certificate-authority-data: AAAA}", "{}", NULL, "PEM"},
        {"{server: 'https://a'}", "{client-certificate: c}", NULL, "both client-certificate and"},
        {"{server: 'https://a'}", "{}", "b", "there is no context 'b'"},
        {"{server: 'https://a'}", "{}", "lost", "there is no cluster 'x'"},
        {"{server: 'https://a'}", "{}", "ghost", "there is no user 'x'"},
    };
    (void)state;
    KubeConfig config;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        configure(rows[i].cluster, rows[i].user);
        if (kubeconfig_read(arena, path_of("config"), rows[i].context, &config, &err))
            fail_msg("%s: accepted", rows[i].says);
        if (err.kind != ERR_INVALID || strstr(err.text, rows[i].says) == NULL ||
            strstr(err.text, directory) == NULL)
            fail_msg("expected '%s', got '%s'", rows[i].says, err.text);
    }
    static const char *const documents[] = {"", "[1]", "{a: [", "current-context: x"};
    for (size_t i = 0; i < COUNT_OF(documents); i++) {
        put("config", documents[i]);
        assert_false(kubeconfig_read(arena, path_of("config"), NULL, &config, &err));
        assert_int_equal(err.kind, ERR_INVALID);
    }
    assert_false(kubeconfig_read(arena, "/a:/b", NULL, &config, &err));
    assert_non_null(strstr(err.text, "not merged"));
}

// Patroni's default context if there is one, else the one that kubectl would take.
static void test_kubeconfig_context(void **state)
{
    (void)state;
    KubeConfig config;
    configure("{server: 'https://a'}", "{token: t}");
    assert_true(kubeconfig_read(arena, path_of("config"), NULL, &config, &err));
    assert_string_equal(config.server, "https://a");
    assert_true(kubeconfig_read(arena, path_of("config"), "nobody", &config, &err));
    assert_null(config.token);

    put("config", "clusters: [{name: k, cluster: {server: 'https://kind'}}]\n"
                  "contexts: [{name: kind-kind, context: {cluster: k}}]\ncurrent-context: other\n");
    assert_true(kubeconfig_read(arena, path_of("config"), NULL, &config, &err));
    assert_string_equal(config.server, "https://kind");
    put("config", "contexts: []\n");
    assert_false(kubeconfig_read(arena, path_of("config"), NULL, &config, &err));
    assert_non_null(strstr(err.text, "kubernetes.context"));
}

static void test_kubeconfig_path(void **state)
{
    (void)state;
    setenv("HOME", "/home/me", 1);
    unsetenv("KUBECONFIG");
    assert_string_equal(kubeconfig_path(arena), "/home/me/.kube/config");
    setenv("KUBECONFIG", "/else", 1);
    assert_string_equal(kubeconfig_path(arena), "/else");
    unsetenv("KUBECONFIG");
    unsetenv("HOME");
    assert_null(kubeconfig_path(arena));
}

static void test_access_by_kubeconfig(void **state)
{
    (void)state;
    in_cluster(NULL, NULL);
    static const struct {
        const char *user, *authorization;
    } rows[] = {
        {"{token: t}", "Bearer t"},
        {"{tokenFile: token}", "Bearer first"},
        {"{token: t, tokenFile: token}", "Bearer first"},
        {"{token: t, tokenFile: missing}", "Bearer t"},
        {"{username: Aladdin, password: open sesame}", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
        {"{client-certificate: c, client-key: k}", NULL}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(kube_access_release) KubeAccess *access = NULL;
        uint64_t generation = 0;
        HttpOptions tls = {0};
        configure("{server: 'https://a', certificate-authority: ca.crt}", rows[i].user);
        if (!open_access(&access))
            fail_msg("%s: %s", rows[i].user, err.text);
        assert_false(kube_access_in_cluster(access));
        assert_string_equal(kube_access_namespace(access), "default");
        const char *authorization = kube_access_authorization(access, arena);
        if (rows[i].authorization == NULL)
            assert_null(authorization);
        else
            assert_string_equal(authorization, rows[i].authorization);
        assert_true(kube_access_tls(access, &generation, arena, &tls));
        assert_string_equal(tls.ca_pem, PEM);
    }
    AUTO(kube_access_release) KubeAccess *access = NULL;
    configure("{server: 'https://a'}", "{tokenFile: missing}");
    assert_false(open_access(&access));
    configure("{server: 'https://a', certificate-authority: missing}", "{}");
    assert_false(open_access(&access));
    assert_non_null(strstr(err.text, "/missing does not exist"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_service_account, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses_of_version_6, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_token_is_rotated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_token_that_cannot_be_read_is_used_on, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_authorities_are_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_pod, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kubeconfig_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kubeconfig_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kubeconfig_context, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kubeconfig_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_access_by_kubeconfig, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
