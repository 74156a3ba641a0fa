// The pure parts of talking to Kubernetes: what an answer means, lines, texts.
#include "dcs/kubernetes/answer.h"
#include "dcs/kubernetes/lines.h"
#include "tests/support/test.h"

#include <stdio.h>
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

#define DEMO    "/api/v1/namespaces/ns/endpoints/demo"
#define MISSING "{\"kind\":\"Status\",\"details\":{\"name\":\"demo\",\"kind\":\"endpoints\"}}"

static void test_what_an_answer_means(void **state)
{
    static const struct {
        KubeMethod method;
        int status;
        const char *body;
        int64_t retry_after_ms;
        KubeVerdict verdict;
        const char *says;
    } rows[] = {
        {KUBE_GET, 200, "{}", 0, KUBE_DONE, NULL},
        {KUBE_POST, 201, "{}", 0, KUBE_DONE, NULL},
        {KUBE_DELETE, 202, "{}", 0, KUBE_DONE, NULL},
        {KUBE_GET, 200, "<html>", 0, KUBE_UNKNOWN, "no JSON object"},
        {KUBE_PATCH, 200, "[]", 0, KUBE_UNKNOWN, "no JSON object"},
        {KUBE_GET, 404, MISSING, 0, KUBE_ABSENT, "not there"},
        {KUBE_DELETE, 404, MISSING, 0, KUBE_ABSENT, "not there"},
        {KUBE_PATCH, 404, MISSING, 0, KUBE_LOST, "not there any more"},
        {KUBE_POST, 404, "{\"details\":{\"name\":\"ns\",\"kind\":\"namespaces\"}}", 0, KUBE_REFUSED,
         "the namespace does not exist"},
        {KUBE_GET, 404, "404 page not found", 0, KUBE_REFUSED, "does not have such a path"},
        {KUBE_GET, 404, "{\"kind\":\"Status\",\"details\":{}}", 0, KUBE_REFUSED, "such a path"},
        {KUBE_PATCH, 409, "{\"message\":\"the object has been modified\"}", 0, KUBE_LOST,
         "conflict (HTTP status 409): the object has been modified"},
        {KUBE_POST, 409, "{}", 1000, KUBE_LOST, "conflict"},
        {KUBE_GET, 410, "{}", 0, KUBE_LOST, "too old"},
        {KUBE_GET, 401, "{}", 0, KUBE_UNAUTHORIZED, "credentials"},
        {KUBE_GET, 403, "{}", 0, KUBE_FORBIDDEN, "verbs: [get]"},
        {KUBE_PATCH, 403,
         "{\"message\":\"pods \\\"x\\\" is forbidden: User \\\"y\\\" cannot patch resource\"}", 0,
         KUBE_FORBIDDEN, "verbs: [patch]"},
        {KUBE_PATCH, 403, "{\"message\":\"pods \\\"x\\\" is forbidden: PodSecurityPolicy: []\"}", 0,
         KUBE_FORBIDDEN, "by a policy (HTTP status 403): pods"},
        {KUBE_PATCH, 403, "{}", 2000, KUBE_BUSY, "not served"},
        {KUBE_PATCH, 429, "{}", 2000, KUBE_BUSY, "not served"},
        {KUBE_PATCH, 429, "{}", 0, KUBE_BUSY, "not served"},
        {KUBE_PATCH, 500, "{}", 0, KUBE_OPEN, "not served"},
        {KUBE_PATCH, 502, "{}", 0, KUBE_OPEN, "not served"},
        {KUBE_PATCH, 503, "{}", 0, KUBE_OPEN, "not served"},
        {KUBE_PATCH, 504, "oops", 0, KUBE_OPEN, "not served"},
        {KUBE_PATCH, 501, "{}", 0, KUBE_UNKNOWN, "the server failed"},
        {KUBE_PATCH, 599, "{}", 0, KUBE_OPEN, "not served"}, // the settings' own
        {KUBE_PATCH, 418, "{}", 0, KUBE_BUSY, "not served"}, // and this
        {KUBE_PATCH, 422, "{\"message\":\"bad\"}", 0, KUBE_REFUSED,
         "refused (HTTP status 422): bad"},
        {KUBE_GET, 302, "", 0, KUBE_REFUSED, "refused"},
    };
    (void)state;
    static const int codes[] = {599, 418};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char body[256];
        snprintf(body, sizeof body, "%s", rows[i].body);
        const KubeRequest request = {.method = rows[i].method, .path = DEMO};
        const HttpReply reply = {.status = rows[i].status,
                                 .body = body,
                                 .length = strlen(body),
                                 .retry_after_ms = rows[i].retry_after_ms};
        KubeAnswer answer;
        const KubeVerdict verdict =
            kube_judge(arena, &request, &reply, codes, COUNT_OF(codes), &answer);
        if (verdict != rows[i].verdict ||
            (rows[i].says != NULL && strstr(answer.text, rows[i].says) == NULL))
            fail_msg("row %zu, %d: verdict %d, '%s'", i, rows[i].status, (int)verdict, answer.text);
        assert_true((verdict == KUBE_DONE) == (answer.body != NULL));
        const bool waits = verdict == KUBE_BUSY || verdict == KUBE_OPEN;
        assert_int_equal(answer.wait_ms, waits ? rows[i].retry_after_ms : 0);
    }
}

static void test_what_a_role_lacks(void **state)
{
    static const struct {
        const char *verb, *path, *text;
    } rows[] = {
        {"patch", DEMO,
         "forbidden: the role needs {apiGroups: [\"\"], resources: [endpoints], verbs: [patch]} "
         "for endpoints 'demo' in namespace 'ns'"},
        {"list", "/api/v1/namespaces/ns/pods",
         "forbidden: the role needs {apiGroups: [\"\"], resources: [pods], verbs: [list]} for pods "
         "in namespace 'ns'"},
        {"watch", "/apis/coordination.k8s.io/v1/namespaces/ns/leases",
         "forbidden: the role needs {apiGroups: [\"coordination.k8s.io\"], resources: [leases], "
         "verbs: [watch]} for leases in namespace 'ns'"},
        {"get", "/api/v1/nodes/n1",
         "forbidden: the role needs {apiGroups: [\"\"], resources: [nodes], verbs: [get]} for "
         "nodes "
         "'n1'"},
        {"get", "/api/v1/namespaces/ns",
         "forbidden: the role needs {apiGroups: [\"\"], resources: [namespaces], verbs: [get]} for "
         "namespaces 'ns'"},
        {"get", "/healthz", "forbidden: get /healthz"},
        {"get", "/api", "forbidden: get /api"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_string_equal(kube_forbidden_text(arena, rows[i].verb, rows[i].path), rows[i].text);

    static const struct {
        KubeMethod method;
        const char *path, *says;
    } verbs[] = {{KUBE_GET, DEMO, "verbs: [get]"},
                 {KUBE_GET, "/api/v1/namespaces/ns/pods", "verbs: [list]"},
                 {KUBE_POST, "/api/v1/namespaces/ns/pods", "verbs: [create]"},
                 {KUBE_PATCH, DEMO, "verbs: [patch]"},
                 {KUBE_DELETE, DEMO, "verbs: [delete]"},
                 {KUBE_DELETE, "/api/v1/namespaces/ns/pods", "verbs: [deletecollection]"}};
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        const KubeRequest request = {.method = verbs[i].method, .path = verbs[i].path};
        const HttpReply reply = {.status = 403, .body = (char[]){"{}"}};
        KubeAnswer answer;
        assert_int_equal(kube_judge(arena, &request, &reply, NULL, 0, &answer), KUBE_FORBIDDEN);
        if (strstr(answer.text, verbs[i].says) == NULL)
            fail_msg("%s: %s", verbs[i].says, answer.text);
    }
}

// --- lines

typedef struct {
    Text seen;
    int left; // lines until it stops; -1: never
} Reader;

static bool on_line(void *context, const char *text)
{
    Reader *reader = context;
    text_addf(&reader->seen, "[%s]", text);
    return reader->left < 0 || --reader->left > 0;
}

// Whatever pieces they come in.
static void test_lines_in_all_pieces(void **state)
{
    static const char text[] = "{\"a\":1}\n\n{\"b\":\"\\n\"}\r\n{}\nrest";
    (void)state;
    for (size_t piece = 1; piece <= strlen(text); piece++) {
        KubeLines lines = {0};
        Reader reader = {.seen = text_new(arena), .left = -1};
        for (size_t at = 0; at < strlen(text); at += piece) {
            const size_t left = strlen(text) - at;
            assert_true(
                kube_lines_take(&lines, text + at, left < piece ? left : piece, on_line, &reader));
        }
        assert_string_equal(reader.seen.data, "[{\"a\":1}][{\"b\":\"\\n\"}][{}]");
        kube_lines_done(&lines);
    }
}

static void test_lines_that_end_the_stream(void **state)
{
    (void)state;
    KubeLines lines = {0};
    Reader reader = {.seen = text_new(arena), .left = 2};
    assert_false(kube_lines_take(&lines, "a\nb\nc\n", 6, on_line, &reader));
    assert_string_equal(reader.seen.data, "[a][b]");
    kube_lines_done(&lines);

    reader.left = -1;
    assert_false(kube_lines_take(&lines, "a\0b\n", 4, on_line, &reader));
    kube_lines_done(&lines);

    // Up to the limit and not one byte more.
    enum { BLOCK = 1 << 20 };
    AUTO(arena_release) Arena *big = arena_new(ARENA_CAP_DEFAULT);
    char *block = arena_alloc(big, BLOCK);
    memset(block, 'x', BLOCK);
    for (size_t i = 0; i < KUBE_LINE_MAX / BLOCK; i++)
        assert_true(kube_lines_take(&lines, block, BLOCK, on_line, &reader));
    assert_false(kube_lines_take(&lines, "x", 1, on_line, &reader));
    kube_lines_done(&lines);
}

// --- texts

static void test_texts(void **state)
{
    (void)state;
    KubernetesLabel items[] = {{"app.io/part", "x"}, {"tier", ""}};
    const KubernetesLabels labels = {.items = items, .count = 2}, none = {0};
    assert_string_equal(kube_escape(arena, "a=b, c/\xc3\xa9~-_."), "a%3Db%2C%20c%2F%C3%A9~-_.");
    assert_string_equal(kube_escape(arena, ""), "");
    assert_string_equal(kube_label_query(arena, &labels, "cluster-name", "demo"),
                        "labelSelector=app.io%2Fpart%3Dx%2Ctier%3D%2Ccluster-name%3Ddemo");
    assert_string_equal(kube_label_query(arena, &none, "s", "d"), "labelSelector=s%3Dd");
    assert_string_equal(kube_name_query(arena, "demo"), "fieldSelector=metadata.name%3Ddemo");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_an_answer_means, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_role_lacks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lines_in_all_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lines_that_end_the_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_texts, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
