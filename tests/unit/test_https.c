#include "common/os/http.h"

#include "common/os/clock.h"
#include "common/os/files.h"
#include "tests/support/certificates.h"
#include "tests/support/name_service.h"
#include "tests/support/tcp_server.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A server that is called member.example by its certificate, and answers with the SNI it was given.
// Everything lies in a directory that is the current one.
static struct {
    char directory[64];
    gnutls_certificate_credentials_t credentials;
    TcpServer *tcp;
    atomic_bool wants_certificate;
    atomic_int requests;
} server;

static void answer(gnutls_session_t session)
{
    char request[4096];
    size_t length = 0;
    while (memmem(request, length, "\r\n\r\n", 4) == NULL) {
        const ssize_t got = gnutls_record_recv(session, request + length, sizeof request - length);
        if (got <= 0)
            return;
        length += (size_t)got;
    }
    atomic_fetch_add(&server.requests, 1);
    char name[256] = "none", reply[512];
    size_t name_size = sizeof name;
    unsigned type;
    (void)gnutls_server_name_get(session, name, &name_size, &type, 0); // stays "none"
    snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(name),
             name);
    (void)gnutls_record_send(session, reply, strlen(reply)); // the client sees if it is missing
}

static void on_connection(int fd, void *context)
{
    (void)context;
    gnutls_session_t session;
    gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NO_SIGNAL);
    gnutls_set_default_priority(session);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, server.credentials);
    gnutls_certificate_server_set_request(session, server.wants_certificate ? GNUTLS_CERT_REQUIRE
                                                                            : GNUTLS_CERT_IGNORE);
    gnutls_transport_set_int(session, fd);
    int code;
    do {
        code = gnutls_handshake(session);
    } while (code < 0 && !gnutls_error_is_fatal(code));
    unsigned status = 0;
    const bool trusted =
        code == 0 && (!server.wants_certificate ||
                      (gnutls_certificate_verify_peers2(session, &status) == 0 && status == 0));
    if (trusted)
        answer(session);
    gnutls_bye(session, GNUTLS_SHUT_WR);
    gnutls_deinit(session);
}

// These stand before libc's: OpenSSL looks for authorities in the system's directory with one of
// them, depending on its version.
static atomic_int looks_at_system;

static int look(const char *path, struct stat *out, int flags)
{
    if (strncmp(path, "/etc/ssl/certs/", strlen("/etc/ssl/certs/")) == 0)
        atomic_fetch_add(&looks_at_system, 1);
    return fstatat(AT_FDCWD, path, out, flags);
}

int stat(const char *path, struct stat *out)
{
    return look(path, out, 0);
}

int lstat(const char *path, struct stat *out)
{
    return look(path, out, AT_SYMLINK_NOFOLLOW);
}

static Arena *arena;
static Resolver *resolver;
static HttpReply reply;
static Error err;

static int setup(void **state)
{
    (void)state;
    static const char *const here[] = {"127.0.0.1", NULL};
    name_service_set(here);
    strcpy(server.directory, "/tmp/howdah-https-XXXXXX");
    assert_non_null(mkdtemp(server.directory));
    assert_int_equal(chdir(server.directory), 0);

    Authority *ours = authority_new("ours"), *other = authority_new("other");
    authority_write(ours, "ca.pem");
    authority_write(other, "other-ca.pem");
    authority_sign(ours, "member.example", NULL, "server.pem", "server.key");
    authority_sign(ours, "client", NULL, "client.pem", "client.key");
    authority_sign(ours, "client", "secret", "locked.pem", "locked.key");
    authority_sign(other, "client", NULL, "foreign.pem", "foreign.key");
    authority_free(ours);
    authority_free(other);

    gnutls_certificate_allocate_credentials(&server.credentials);
    assert_int_equal(gnutls_certificate_set_x509_key_file(server.credentials, "server.pem",
                                                          "server.key", GNUTLS_X509_FMT_PEM),
                     0);
    assert_int_equal(
        gnutls_certificate_set_x509_trust_file(server.credentials, "ca.pem", GNUTLS_X509_FMT_PEM),
        1);
    server.tcp = tcp_server_start("127.0.0.1", on_connection, NULL);
    assert_non_null(server.tcp);
    arena = arena_new(ARENA_CAP_DEFAULT);
    resolver = resolver_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    resolver_free(resolver);
    arena_free(arena);
    tcp_server_stop(server.tcp);
    gnutls_certificate_free_credentials(server.credentials);
    assert_int_equal(chdir("/"), 0);
    assert_true(directory_clear(server.directory, &err));
    assert_int_equal(rmdir(server.directory), 0);
    return 0;
}

static bool call(const HttpOptions *options, const char *host)
{
    AUTO(http_release) Http *http = http_new(resolver, options);
    const HttpRequest request = {
        .method = "POST",
        .url = arena_printf(arena, "https://%s:%d/", host, tcp_server_port(server.tcp))};
    return http_call(http, arena, &request, deadline_in(clock_system(), 30000), &reply, &err);
}

static const char trusted[] = "member.example", elsewhere[] = "other.example";

static void test_the_server_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *given, *host;
        HttpOptions options;
        bool ok;
    } rows[] = {
        {"trusted", trusted, {.ca_file = "ca.pem"}, true},
        {"another name", elsewhere, {.ca_file = "ca.pem"}, false},
        {"an address instead", "127.0.0.1", {.ca_file = "ca.pem"}, false},
        {"another authority", trusted, {.ca_file = "other-ca.pem"}, false},
        {"the system's authorities", trusted, {0}, false},
        {"no such file", trusted, {.ca_file = "no.pem"}, false},
        {"any name", elsewhere, {.ca_file = "ca.pem", .skip_host_check = true}, true},
        {"any name, another authority",
         elsewhere,
         {.ca_file = "other-ca.pem", .skip_host_check = true},
         false},
        {"anybody", elsewhere, {.skip_verify = true}, true},
        {"anybody by address", "127.0.0.1", {.skip_verify = true}, true},
    };
    const int before = server.requests;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (call(&rows[i].options, rows[i].host) != rows[i].ok)
            fail_msg("%s: %s", rows[i].given, rows[i].ok ? err.text : "accepted");
        if (!rows[i].ok) // nothing was sent
            assert_int_equal(err.kind, ERR_UNAVAILABLE);
        else if (!host_is_numeric(rows[i].host)) // the address came from us, the name still counts
            assert_string_equal(reply.body, rows[i].host);
    }
    assert_int_equal(server.requests, before + 4);
}

static void test_client_certificates(void **state)
{
    (void)state;
    server.wants_certificate = true;
    const int before = server.requests;
    static const struct {
        const char *cert_file, *key_file, *password;
        bool ok;
    } rows[] = {
        {"client.pem", "client.key", NULL, true},
        {"locked.pem", "locked.key", "secret", true},
        {"locked.pem", "locked.key", "no", false},
        {"foreign.pem", "foreign.key", NULL, false},
        {"locked.pem", "locked.key", NULL, false}, // not asked for at the terminal
        {"client.pem", "client.key", "unneeded", true},
        {"client.pem", "locked.key", NULL, false},
        {"no.pem", "client.key", NULL, false},
        {NULL, NULL, NULL, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const HttpOptions options = {.ca_file = "ca.pem",
                                     .cert_file = rows[i].cert_file,
                                     .key_file = rows[i].key_file,
                                     .key_password = rows[i].password};
        if (call(&options, trusted) != rows[i].ok)
            fail_msg("row %zu: %s", i, rows[i].ok ? err.text : "accepted");
        // With TLS 1.3 the server refuses a certificate after the request has left.
        if (!rows[i].ok)
            assert_true(err.kind == ERR_UNAVAILABLE || err.kind == ERR_UNCERTAIN);
    }
    assert_int_equal(server.requests, before + 3);
}

static const char *content_of(const char *file)
{
    char *text = NULL;
    if (!file_read(arena, file, 1 << 16, &text, &err) || text == NULL)
        fail_msg("%s: %s", file, err.text);
    return text;
}

// Certificates from memory, as kubeconfig files have them.
static void test_certificates_as_texts(void **state)
{
    (void)state;
    server.wants_certificate = true;
    const char *ca = content_of("ca.pem"), *other = content_of("other-ca.pem");
    const char *cert = content_of("client.pem"), *key = content_of("client.key");
    const struct {
        HttpOptions options;
        bool ok;
    } rows[] = {
        {{.ca_pem = ca, .cert_pem = cert, .key_pem = key}, true},
        {{.ca_pem = ca, .ca_file = "other-ca.pem", .cert_pem = cert, .key_pem = key}, true},
        {{.ca_pem = ca, .cert_file = "client.pem", .key_file = "client.key"}, true},
        {{.ca_pem = other, .cert_pem = cert, .key_pem = key}, false},
        {{.ca_pem = ca}, false},
        {{.ca_pem = "nonsense", .cert_pem = cert, .key_pem = key}, false},
        {{.ca_pem = ca, .cert_pem = cert, .key_pem = content_of("locked.key")}, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (call(&rows[i].options, trusted) != rows[i].ok)
            fail_msg("row %zu: %s", i, rows[i].ok ? err.text : "accepted");
    server.wants_certificate = false;
}

// The authority is replaced under a client that lives on; and one request may go to a server that
// bears another name.
static void test_options_that_change(void **state)
{
    (void)state;
    const HttpOptions wrong = {.ca_pem = content_of("other-ca.pem")};
    const HttpOptions right = {.ca_pem = content_of("ca.pem")};
    AUTO(http_release) Http *http = http_new(resolver, &wrong);
    HttpRequest request = {
        .method = "GET",
        .url = arena_printf(arena, "https://%s:%d/", trusted, tcp_server_port(server.tcp))};
    const struct {
        const HttpOptions *options;
        bool ok;
    } steps[] = {{&wrong, false}, {&right, true}, {&wrong, false}, {&right, true}};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        http_set_options(http, steps[i].options);
        const Deadline deadline = deadline_in(clock_system(), 10000);
        if (http_call(http, arena, &request, deadline, &reply, &err) != steps[i].ok)
            fail_msg("step %zu: %s", i, steps[i].ok ? err.text : "accepted");
    }
    request.url = arena_printf(arena, "https://%s:%d/", elsewhere, tcp_server_port(server.tcp));
    for (int any = 0; any < 2; any++) {
        request.any_host = any == 1;
        const Deadline deadline = deadline_in(clock_system(), 10000);
        assert_int_equal(http_call(http, arena, &request, deadline, &reply, &err), any == 1);
    }
    http_set_options(http, &wrong); // any name is not any authority
    request.any_host = true;
    assert_false(
        http_call(http, arena, &request, deadline_in(clock_system(), 10000), &reply, &err));
}

// Who names authorities trusts these alone. libcurl has a directory of its own, which it reads
// besides the file it is given: whoever holds a certificate of a public authority would be believed
// to be the store, wherever host names are not checked.
static void test_the_systems_authorities_are_not_trusted_besides(void **state)
{
    (void)state;
    const struct {
        HttpOptions options;
        bool looks;
    } rows[] = {
        {{0}, true},
        {{.ca_file = "other-ca.pem"}, false},
        {{.ca_pem = content_of("other-ca.pem")}, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        atomic_store(&looks_at_system, 0);
        assert_false(call(&rows[i].options, trusted));
        if ((looks_at_system > 0) != rows[i].looks)
            fail_msg("row %zu: %d looks", i, looks_at_system);
    }
}

// Plain HTTP at the other end: nothing of the request may have left.
static void say_hello(int fd, void *context)
{
    (void)context;
    static const char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    const ssize_t sent = write(fd, text, sizeof text - 1);
    (void)sent;
}

static void test_not_tls_at_all(void **state)
{
    (void)state;
    TcpServer *plain = tcp_server_start("127.0.0.1", say_hello, NULL);
    AUTO(http_release) Http *http = http_new(resolver, NULL);
    const HttpRequest request = {
        .method = "POST",
        .url = arena_printf(arena, "https://127.0.0.1:%d/", tcp_server_port(plain))};
    const bool ok =
        http_call(http, arena, &request, deadline_in(clock_system(), 10000), &reply, &err);
    tcp_server_stop(plain);
    assert_false(ok);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_server_is_checked),
        cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_certificates_as_texts),
        cmocka_unit_test(test_options_that_change),
        cmocka_unit_test(test_the_systems_authorities_are_not_trusted_besides),
        cmocka_unit_test(test_not_tls_at_all),
    };
    return cmocka_run_group_tests(tests, setup, teardown); // once: encrypting keys takes its time
}
