// The environment over the file.
#include "common/model/settings_env.h"
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

enum { VARIABLES_MAX = 8 };

static void test_overlay(void **state)
{
    static const struct {
        const char *variables[VARIABLES_MAX];
        const char *document, *overlay, *warning; // NULL: none
    } rows[] = {
        {{NULL}, NULL, "{}", NULL},
        {{"PATRONI_SCOPE=demo", "HOME=/x", "SCOPE=no"}, NULL, "{\"scope\":\"demo\"}", NULL},
        {{"PATRONI_SCOPE=demo", "HOWDAH_SCOPE=demo"}, NULL, "{\"scope\":\"demo\"}", NULL},
        {{"PATRONI_SCOPE=theirs", "HOWDAH_SCOPE=ours"},
         NULL,
         "{\"scope\":\"ours\"}",
         "environment: HOWDAH_SCOPE and PATRONI_SCOPE differ; HOWDAH_SCOPE holds"},
        {{"PATRONI_NAME="}, NULL, "{}", NULL}, // empty is unset
        {{"PATRONI_NAME=012"}, NULL, "{\"name\":\"012\"}", NULL},
        {{"PATRONI_RESTAPI_USERNAME=u", "PATRONI_RESTAPI_PASSWORD=yes"},
         NULL,
         "{\"restapi\":{\"authentication\":{\"username\":\"u\",\"password\":\"yes\"}}}",
         NULL},
        {{"PATRONI_RESTAPI_ALLOWLIST=a,b"},
         NULL,
         "{\"restapi\":{\"allowlist\":[\"a\",\"b\"]}}",
         NULL},
        {{"PATRONI_RESTAPI_ALLOWLIST=- a\n- b"},
         NULL,
         "{\"restapi\":{\"allowlist\":[\"a\",\"b\"]}}",
         NULL},
        {{"PATRONI_RESTAPI_ALLOWLIST=[a, b"},
         NULL,
         "{}",
         "PATRONI_RESTAPI_ALLOWLIST: expected a list; ignored"},
        {{"PATRONI_RESTAPI_HTTP_EXTRA_HEADERS=X-A: b"},
         NULL,
         "{\"restapi\":{\"http_extra_headers\":{\"X-A\":\"b\"}}}",
         NULL},
        {{"PATRONI_CTL_INSECURE=On"}, NULL, "{\"ctl\":{\"insecure\":true}}", NULL},
        {{"PATRONI_CTL_INSECURE=sure"},
         NULL,
         "{}",
         "PATRONI_CTL_INSECURE: expected true or false; ignored"},
        {{"PATRONI_LOG_MODE=0644"}, NULL, "{\"log\":{\"mode\":420}}", NULL},
        {{"HOWDAH_LOG_FILE_NUM=x"},
         NULL,
         "{}",
         "HOWDAH_LOG_FILE_NUM: expected an integer; ignored"},
        {{"PATRONI_LOGLEVEL=DEBUG"}, NULL, "{\"log\":{\"level\":\"DEBUG\"}}", NULL},
        {{"PATRONI_LOGLEVEL=DEBUG", "PATRONI_LOG_LEVEL=ERROR"},
         NULL,
         "{\"log\":{\"level\":\"ERROR\"}}",
         NULL},
        {{"PATRONI_POSTGRESQL_BIN_INITDB=i", "PATRONI_SUPERUSER_SSLMODE=prefer",
          "PATRONI_POSTGRESQL_DATABASE=d"},
         NULL,
         "{\"postgresql\":{\"bin_name\":{\"initdb\":\"i\"},\"database\":\"d\",\"authentication\":{"
         "\"superuser\":{\"sslmode\":\"prefer\"}}}}",
         NULL},
        {{"PATRONI_ETCD3_HOSTS='a:1',b:2", "PATRONI_ETCD3_USERNAME=u", "PATRONI_ETCD3_PORT=7"},
         NULL,
         "{\"etcd3\":{\"hosts\":[\"a:1\",\"b:2\"],\"port\":7,\"username\":\"u\"}}",
         NULL},
        {{"PATRONI_ETCD3_PASSWORD=p"}, NULL, "{}", NULL}, // alone it makes no section
        {{"PATRONI_ETCD3_PASSWORD=p"}, "{etcd3: {}}", "{\"etcd3\":{\"password\":\"p\"}}", NULL},
        {{"PATRONI_ETCD_HOST=a"}, NULL, "{\"etcd\":{\"host\":\"a\"}}", NULL},
        {{"PATRONI_KUBERNETES_LABELS=a: b"},
         NULL,
         "{\"kubernetes\":{\"labels\":{\"a\":\"b\"}}}",
         NULL},
        {{"PATRONI_KUBERNETES_LABELS={application: patroni, cluster-name: demo}",
          "PATRONI_KUBERNETES_BYPASS_API_SERVICE=true",
          "PATRONI_KUBERNETES_RETRIABLE_HTTP_CODES=501,599"},
         NULL,
         "{\"kubernetes\":{\"labels\":{\"application\":\"patroni\",\"cluster-name\":\"demo\"},"
         "\"bypass_api_service\":true,\"retriable_http_codes\":[501,599]}}",
         NULL},
        {{"PATRONI_KUBERNETES_NAMESPACE=ns", "HOWDAH_KUBERNETES_STORE=leases",
          "PATRONI_KUBERNETES_PORTS=[{name: pg, port: 5432}]"},
         NULL,
         "{\"kubernetes\":{\"ports\":[{\"name\":\"pg\",\"port\":5432}],\"store\":\"leases\","
         "\"namespace\":\"ns\"}}",
         NULL},
        {{"PATRONI_KUBERNETES_CONTEXT=lab", "PATRONI_KUBERNETES_BOOTSTRAP_LABELS=a: b",
          "PATRONI_KUBERNETES_TMP_ROLE_LABEL=t"},
         NULL,
         "{\"kubernetes\":{\"context\":\"lab\",\"tmp_role_label\":\"t\",\"bootstrap_labels\":{"
         "\"a\":\"b\"}}}",
         NULL},
        {{"PATRONI_RETRIABLE_HTTP_CODES=501"},
         NULL,
         "{}",
         "PATRONI_RETRIABLE_HTTP_CODES: has no effect; its name is "
         "KUBERNETES_RETRIABLE_HTTP_CODES"},
        {{"HOWDAH_MARGIN_MS=900", "HOWDAH_RUN_DIR=/r"},
         NULL,
         "{\"howdah\":{\"run_dir\":\"/r\",\"margin_ms\":900}}",
         NULL},
        {{"PATRONI_POSTGRESQL_BIN_IS_READY=x"},
         NULL,
         "{}",
         "PATRONI_POSTGRESQL_BIN_IS_READY: has no effect; its name is POSTGRESQL_BIN_PG_ISREADY"},
        {{"HOWDAH_SERVICE_HOST=10.0.0.1", "HOWDAH_PORT=tcp://10.0.0.1:1"}, NULL, "{}", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *environment[VARIABLES_MAX + 1] = {0};
        for (size_t j = 0; j < VARIABLES_MAX && rows[i].variables[j] != NULL; j++)
            environment[j] = arena_strdup(arena, rows[i].variables[j]);
        const Tree *document = NULL;
        Error err = {0};
        if (rows[i].document != NULL)
            assert_true(tree_parse_yaml(arena, rows[i].document, NULL, &document, &err));
        SettingsNotes notes = {0};
        const char *found = tree_to_json(
            arena, settings_env_overlay(arena, environment, document, &notes), JSON_COMPACT);
        if (strcmp(found, rows[i].overlay) != 0)
            fail_msg("row %zu, %s: %s, expected %s", i, rows[i].variables[0], found,
                     rows[i].overlay);
        if (notes.warnings.count != (rows[i].warning != NULL) ||
            (rows[i].warning && strcmp(notes.warnings.items[0], rows[i].warning) != 0))
            fail_msg("row %zu: %zu warnings, %s", i, notes.warnings.count,
                     notes.warnings.count ? notes.warnings.items[0] : "");
    }
}

// A finding names the variable.
static void test_place(void **state)
{
    (void)state;
    char variable[] = "PATRONI_RESTAPI_LISTEN=nonsense";
    char *environment[] = {variable, NULL};
    const Tree *overlay = settings_env_overlay(arena, environment, NULL, NULL);
    assert_string_equal(tree_path(overlay, "restapi.listen")->file, "PATRONI_RESTAPI_LISTEN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_overlay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_place, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
