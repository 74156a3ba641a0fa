#include "tests/kube/kube_calls.h"

#include "common/os/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Arena *arena;
const char *kubeconfig;
KubeAccess *access_;
KubeShared shared;
KubeClient client;
KubeReply reply;
Error err;
const char *namespace;
char directory[64];

// --- calls

bool call_as(KubeClient *who, const KubeRequest *request, int64_t ms)
{
    err = (Error){0};
    return kube_call(who, arena, request, deadline_in(clock_system(), ms), &reply, &err);
}

bool call(const KubeRequest *request)
{
    return call_as(&client, request, 20000);
}

void must(bool done)
{
    if (!done)
        fail_msg("%s: %s", error_kind_name(err.kind), err.text);
}

void expect(bool done, ErrorKind kind, const char *says)
{
    if (done)
        fail_msg("did not fail, as it should: %s", says);
    if (err.kind != kind || strstr(err.text, says) == NULL)
        fail_msg("expected %s, '%s', got %s, '%s'", error_kind_name(kind), says,
                 error_kind_name(err.kind), err.text);
}

const char *path_of(const char *resource, const char *name)
{
    const bool lease = str_eq(resource, "leases");
    return arena_printf(arena, "%s/namespaces/%s/%s%s%s",
                        lease ? "/apis/coordination.k8s.io/v1" : "/api/v1", namespace, resource,
                        name == NULL ? "" : "/", str_or(name, ""));
}

bool create(const char *resource, const char *name, const char *more)
{
    const KubeRequest request = {
        .method = KUBE_POST,
        .path = path_of(resource, NULL),
        .body = arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"x\"}}%s}",
                             name, more)};
    return call(&request);
}

bool get(const char *resource, const char *name)
{
    const KubeRequest request = {.method = KUBE_GET, .path = path_of(resource, name)};
    return call(&request);
}

bool patch_as(KubeClient *who, const char *resource, const char *name, const char *type,
              const char *body, bool retry_forbidden, int64_t ms)
{
    const KubeRequest request = {.method = KUBE_PATCH,
                                 .path = path_of(resource, name),
                                 .body = body,
                                 .content_type = type,
                                 .retry_forbidden = retry_forbidden};
    return call_as(who, &request, ms);
}

bool annotate(const char *resource, const char *name, const char *value, const char *version)
{
    const char *quote = value == NULL ? "" : "\"";
    const char *condition =
        version == NULL ? "" : arena_printf(arena, "\"resourceVersion\":\"%s\",", version);
    return patch_as(&client, resource, name, NULL,
                    arena_printf(arena, "{\"metadata\":{%s\"annotations\":{\"a\":%s%s%s}}}",
                                 condition, quote, str_or(value, "null"), quote),
                    false, 20000);
}

bool delete_(const char *resource, const char *name, const char *query)
{
    const KubeRequest request = {
        .method = KUBE_DELETE, .path = path_of(resource, name), .query = query};
    return call(&request);
}

// --- life

static void begin(KubeAccess *with)
{
    kube_shared_init(&shared, clock_system(), NULL, with, NULL);
    kube_shared_set_timers(&shared, 30000, 10000, 10000);
    kube_client_init(&client, &shared);
}

int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    assert_true(copy_text(directory, sizeof directory, "/tmp/howdah-kube-XXXXXX"));
    assert_non_null(mkdtemp(directory));
    const KubeAccessOptions options = {.kubeconfig = kubeconfig, .never_in_cluster = true};
    must(kube_access_open(&options, clock_system(), &access_, &err));
    begin(access_);
    Rng rng = rng_from_os();
    namespace = arena_printf(arena, "t%016" PRIx64, rng_next(&rng));
    const KubeRequest make = {
        .method = KUBE_POST,
        .path = "/api/v1/namespaces",
        .body = arena_printf(arena, "{\"metadata\":{\"name\":\"%s\"}}", namespace)};
    must(call(&make));
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    const KubeRequest end = {.method = KUBE_DELETE,
                             .path = arena_printf(arena, "/api/v1/namespaces/%s", namespace)};
    must(call(&end));
    kube_client_done(&client);
    kube_shared_done(&shared);
    kube_access_release(&access_);
    must(directory_clear(directory, &err));
    assert_int_equal(rmdir(directory), 0);
    arena_release(&arena);
    return 0;
}

bool have_kubeconfig(void)
{
    kubeconfig = getenv("HOWDAH_KUBE_CONFIG");
    if (!str_empty(kubeconfig))
        return true;
    fputs("HOWDAH_KUBE_CONFIG is not set: the kubeconfig file of an administrator of a Kubernetes "
          "to test with\n",
          stderr);
    return false;
}
