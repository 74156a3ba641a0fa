// HTTPS: certificates on both sides, and their change under a running server.
#include "common/os/files.h"
#include "common/os/http.h"
#include "tests/support/certificates.h"
#include "tests/unit/test_api_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    Lab *lab;
    Authority *authority, *stranger;
    char dir[64];
    char ca[96], stranger_ca[96], cert[96], key[96], client_cert[96], client_key[96], bad_cert[96],
        bad_key[96];
} World;

static void path(const World *world, char *to, const char *name)
{
    (void)snprintf(to, 96, "%s/%s", world->dir, name);
}

static int setup(void **state)
{
    World *world = calloc(1, sizeof *world);
    strcpy(world->dir, "/tmp/howdah-test-XXXXXX");
    if (world == NULL || mkdtemp(world->dir) == NULL)
        return -1;
    path(world, world->ca, "ca.pem");
    path(world, world->stranger_ca, "stranger.pem");
    path(world, world->cert, "cert.pem");
    path(world, world->key, "key.pem");
    path(world, world->client_cert, "client.pem");
    path(world, world->client_key, "client.key");
    path(world, world->bad_cert, "bad.pem");
    path(world, world->bad_key, "bad.key");
    world->authority = authority_new("ours");
    world->stranger = authority_new("theirs");
    authority_write(world->authority, world->ca);
    authority_write(world->stranger, world->stranger_ca);
    authority_sign(world->authority, "127.0.0.1", NULL, world->cert, world->key);
    authority_sign(world->authority, "client", NULL, world->client_cert, world->client_key);
    authority_sign(world->stranger, "client", NULL, world->bad_cert, world->bad_key);
    world->lab = lab_new();
    world->lab->settings.certfile = world->cert;
    world->lab->settings.keyfile = world->key;
    world->lab->settings.cafile = world->ca;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    World *world = *state;
    Error err;
    lab_free(world->lab);
    authority_free(world->authority);
    authority_free(world->stranger);
    const bool cleared = directory_clear(world->dir, &err);
    rmdir(world->dir);
    free(world);
    return cleared ? 0 : -1;
}

typedef enum { NOBODY, MEMBER, STRANGER } Who;

// The status; 0: no connection.
static int ask(const World *world, const char *ca, Who who, const char *method, const char *target)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    HttpOptions options = {.ca_file = ca};
    if (who != NOBODY) {
        options.cert_file = who == MEMBER ? world->client_cert : world->bad_cert;
        options.key_file = who == MEMBER ? world->client_key : world->bad_key;
    }
    AUTO(http_release) Http *http = http_new(world->lab->resolver, &options);
    const HttpRequest request = {
        .method = method,
        .url = arena_printf(arena, "https://127.0.0.1:%d%s", world->lab->port, target),
        .body = str_eq(method, "POST") ? "" : NULL};
    HttpReply reply;
    Error err = {0};
    if (!http_call(http, arena, &request, deadline_in(clock_system(), 10000), &reply, &err))
        return 0;
    return reply.status;
}

static void test_verify_client(void **state)
{
    World *world = *state;
    Lab *lab = world->lab;
    static const struct {
        unsigned verify;
        Who who;
        int get, post; // 0: the handshake fails; 501: let in, to something that is not there
    } rows[] = {
        {VERIFY_CLIENT_NONE, NOBODY, 200, 202},     {VERIFY_CLIENT_NONE, MEMBER, 200, 202},
        {VERIFY_CLIENT_NONE, STRANGER, 200, 202},   {VERIFY_CLIENT_OPTIONAL, NOBODY, 200, 403},
        {VERIFY_CLIENT_OPTIONAL, MEMBER, 200, 202}, {VERIFY_CLIENT_OPTIONAL, STRANGER, 0, 0},
        {VERIFY_CLIENT_REQUIRED, NOBODY, 0, 0},     {VERIFY_CLIENT_REQUIRED, MEMBER, 200, 202},
        {VERIFY_CLIENT_REQUIRED, STRANGER, 0, 0},
    };
    lab_start(lab);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Error err = {0};
        lab->settings.verify_client = rows[i].verify; // swapped on the same port
        if (!api_configure(lab->api, &lab->settings, &err))
            fail_msg("%s", err.text);
        const int get = ask(world, world->ca, rows[i].who, "GET", "/replica");
        const int post = ask(world, world->ca, rows[i].who, "POST", "/sigterm");
        if (get != rows[i].get || post != rows[i].post)
            fail_msg("row %zu: %d %d", i, get, post);
    }
}

static void test_certificate_swap(void **state)
{
    // The file is replaced under a running server, halfway first: certificate new, key still old.
    World *world = *state;
    char next_key[96];
    path(world, next_key, "next.key");
    lab_start(world->lab);
    assert_int_equal(ask(world, world->ca, NOBODY, "GET", "/replica"), 200);
    assert_int_equal(ask(world, world->stranger_ca, NOBODY, "GET", "/replica"), 0);
    authority_sign(world->stranger, "127.0.0.1", NULL, world->cert, next_key);
    for (int i = 0; i < 4; i++) { // looks: the old pair is what works
        lab_advance_ms(world->lab, 1000);
        assert_int_equal(ask(world, world->ca, NOBODY, "GET", "/replica"), 200);
    }
    assert_int_equal(rename(next_key, world->key), 0);
    int status = 0;
    for (int i = 0; i < 200 && status == 0; i++) {
        lab_advance_ms(world->lab, 1000);
        usleep(50000);
        status = ask(world, world->stranger_ca, NOBODY, "GET", "/replica");
    }
    assert_int_equal(status, 200);
    assert_int_equal(ask(world, world->ca, NOBODY, "GET", "/replica"), 0);
}

static void test_on_and_off(void **state)
{
    // From HTTP to HTTPS on the same port, and back; bad files leave it as it was.
    World *world = *state;
    Lab *lab = world->lab;
    Error err = {0};
    const RestSettings secure = lab->settings;
    lab->settings = (RestSettings){.listen = secure.listen};
    lab_start(lab);
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
    assert_true(api_configure(lab->api, &secure, &err));
    assert_int_equal(ask(world, world->ca, NOBODY, "GET", "/replica"), 200);

    RestSettings broken = secure;
    broken.keyfile = world->client_key; // belongs to another certificate
    assert_false(api_configure(lab->api, &broken, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "restapi.keyfile"));
    broken.keyfile = "/nonexistent/key.pem";
    assert_false(api_configure(lab->api, &broken, &err));
    assert_non_null(strstr(err.text, "/nonexistent/key.pem"));
    broken = secure;
    broken.verify_client = VERIFY_CLIENT_REQUIRED;
    broken.cafile = world->key;
    assert_false(api_configure(lab->api, &broken, &err));
    assert_non_null(strstr(err.text, "restapi.cafile"));
    assert_int_equal(ask(world, world->ca, NOBODY, "GET", "/replica"), 200);

    assert_true(api_configure(lab->api, &lab->settings, &err));
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
}

static void test_key_password(void **state)
{
    World *world = *state;
    Lab *lab = world->lab;
    Error err = {0};
    authority_sign(world->authority, "127.0.0.1", "s3cret", world->cert, world->key);
    lab->settings.keyfile_password = (Secret){"wrong"};
    const ApiOptions options = {.settings = &lab->settings,
                                .host = &lab->host,
                                .clock = &lab->clock.clock,
                                .resolver = lab->resolver};
    assert_false(api_start(&options, &lab->api, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    lab->settings.keyfile_password = (Secret){"s3cret"};
    lab->settings.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384:!TLSv1";
    lab_start(lab);
    assert_int_equal(ask(world, world->ca, NOBODY, "GET", "/replica"), 200);
}

static void test_silent_client(void **state)
{
    // Somebody connects and says nothing, another one speaks plain HTTP: neither is in the way.
    World *world = *state;
    lab_start(world->lab);
    const int silent = lab_connect(world->lab), plain = lab_connect(world->lab);
    lab_send(plain, "GET /replica HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(ask(world, world->ca, NOBODY, "GET", "/replica"), 200);
    assert_int_equal(ask(world, world->ca, NOBODY, "GET", "/patroni"), 200);
    lab_advance_ms(world->lab, 31000);
    assert_true(lab_is_closed(silent));
    close(silent);
    close(plain);
}

#define API_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(test_verify_client), API_TEST(test_certificate_swap), API_TEST(test_on_and_off),
        API_TEST(test_key_password),  API_TEST(test_silent_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
