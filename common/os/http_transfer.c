#include "common/os/http_transfer.h"

#include "common/base/text.h"
#include "common/os/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

// CURLOPT_PREREQFUNCTION is what keeps libcurl from sending a request twice.
#if LIBCURL_VERSION_NUM < 0x075000
#error "libcurl 7.80 or newer is needed"
#endif

enum {
    LIMIT_BYTES = 8 * 1024 * 1024,
    // libcurl's own buffers, 64 and 16 KiB by default: a stream keeps them for as long as it lives,
    // and with TLS has one for sending although nothing is sent but a request line.
    SEND_BUFFER_BYTES = 16 * 1024, // the least it takes
    RECEIVE_BUFFER_BYTES = 4 * 1024,
};

// libcurl's setter takes its value through "...": these keep the types right.
static void set_long(CURL *easy, CURLoption option, long value)
{
    (void)curl_easy_setopt(easy, option, value); // an option this libcurl lacks stays unset
}

static void set_text(CURL *easy, CURLoption option, const char *value)
{
    const CURLcode code = curl_easy_setopt(easy, option, value);
    ASSERT(code == CURLE_OK); // out of memory
}

void transfer_fail(Transfer *transfer, ErrorKind kind, const char *text)
{
    const HttpUrl *url = &transfer->url;
    transfer->state = TRANSFER_ENDED;
    transfer->ok = false;
    if (url->host == NULL) { // the URL was bad, and text says so
        error_set(&transfer->error, kind, "%s %s", transfer->request->method, text);
        return;
    }
    const bool v6 = strchr(url->host, ':') != NULL;
    // Put together from its parts: the URL may hold a password.
    error_set(&transfer->error, kind, "%s %s://%s%s%s:%d%s: %s", transfer->request->method,
              url->scheme, v6 ? "[" : "", url->host, v6 ? "]" : "", url->port, url->path, text);
}

// Callbacks

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    Transfer *transfer = context;
    const size_t length = size * count;
    transfer->last_byte = clock_now(clock_system());
    if (transfer->sink != NULL) {
        *transfer->sink_status = transfer_status(transfer);
        transfer->sink_stopped = !transfer->sink(transfer->sink_context, bytes, length);
        return transfer->sink_stopped ? 0 : length;
    }
    if (length > transfer->limit - transfer->length) {
        transfer->too_large = true;
        return 0;
    }
    char *body = realloc(transfer->body, transfer->length + length + 1);
    ASSERT(body != NULL); // out of memory
    memcpy(body + transfer->length, bytes, length);
    transfer->body = body;
    transfer->length += length;
    return length;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
    Transfer *transfer = context;
    const size_t length = size * count;
    transfer->last_byte = clock_now(clock_system());
    const bool last = length > 0 && strchr("\r\n", bytes[0]) != NULL; // the empty line
    const int status = transfer_status(transfer);
    transfer->answered = transfer->answered || (last && status >= 200); // not an interim one
    if (last && status >= 200 && transfer->request->on_status != NULL)
        transfer->request->on_status(transfer->request->on_status_context, status);
    static const char name[] = "lsn:";
    const size_t name_length = sizeof name - 1;
    if (length < name_length || strncasecmp(bytes, name, name_length) != 0)
        return length;

    char value[sizeof transfer->lsn_header] = "";
    size_t used = 0;
    for (size_t i = name_length; i < length && used < sizeof value - 1; i++)
        if (strchr(" \t\r\n", bytes[i]) == NULL)
            value[used++] = bytes[i];
    memcpy(transfer->lsn_header, value, sizeof value);
    transfer->has_lsn_header = true;
    return length;
}

static long bytes_sent(const Transfer *transfer)
{
    long sent = 0;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
    return sent;
}

// Called on a connection that is ready, before the request goes out. libcurl sends a request again,
// whatever its method, if a re-used connection dies without an answer; but the server may have
// worked on the first one (a compare-and-swap repeated like that loses against itself).
static int on_ready(void *context, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    Transfer *transfer = context;
    transfer->connected = true;
    const bool again = !transfer->repeatable && bytes_sent(transfer) > 0;
    return again ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static void set_socket(int fd, int level, int option, int64_t value)
{
    const int number = value > INT32_MAX ? INT32_MAX : (int)value;
    // A socket without its tuning still works, and the deadline bounds it.
    (void)setsockopt(fd, level, option, &number, sizeof number);
}

// A silent peer is given up after twice the idle time: three probes, a third of it apart.
static void set_keepalive(int fd, int64_t idle_ms)
{
    const int64_t idle_s = (idle_ms + MS_PER_S - 1) / MS_PER_S;
    set_socket(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_socket(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
    set_socket(fd, IPPROTO_TCP, TCP_KEEPINTVL, (idle_s + 2) / 3);
    set_socket(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

static curl_socket_t on_open_socket(void *context, curlsocktype purpose,
                                    struct curl_sockaddr *address)
{
    (void)purpose;
    const HttpOptions *options = context;
    const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (options->keepalive_idle_ms > 0)
        set_keepalive(fd, options->keepalive_idle_ms);
    if (options->tcp_user_timeout_ms > 0)
        set_socket(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options->tcp_user_timeout_ms);
    return fd;
}

// The request

static void add_header(Transfer *transfer, const char *line)
{
    struct curl_slist *list = curl_slist_append(transfer->headers, line);
    ASSERT(list != NULL); // out of memory
    transfer->headers = list;
}

static bool has_line_break(const char *s)
{
    return s != NULL && strpbrk(s, "\r\n") != NULL;
}

static bool check_request(Transfer *transfer, Arena *arena)
{
    const HttpRequest *request = transfer->request;
    Error err = {0};
    if (!http_parse_url(arena, request->url, &transfer->url, &err))
        transfer_fail(transfer, ERR_INVALID, err.text);
    else if (has_line_break(request->authorization) || has_line_break(request->header) ||
             has_line_break(request->content_type))
        transfer_fail(transfer, ERR_INVALID, "a header holds a line break");
    return transfer->state != TRANSFER_ENDED;
}

void transfer_init(Transfer *transfer, Arena *arena, const HttpOptions *options,
                   const HttpRequest *request, Deadline deadline)
{
    *transfer = (Transfer){
        .request = request,
        .options = options,
        .deadline = deadline,
        .limit = request->limit_bytes > 0 ? request->limit_bytes : LIMIT_BYTES,
        .repeatable = request->repeatable || str_eq(request->method, "GET") ||
                      str_eq(request->method, "HEAD") || str_eq(request->method, "OPTIONS"),
        .last_byte = clock_now(clock_system()),
    };
    if (!check_request(transfer, arena))
        return;
    transfer->easy = curl_easy_init();
    ASSERT(transfer->easy != NULL); // out of memory

    if (request->content_type != NULL)
        add_header(transfer, arena_printf(arena, "Content-Type: %s", request->content_type));
    else
        add_header(transfer, "Content-Type:"); // libcurl would send one of its own
    add_header(transfer, "Expect:");           // no round trip before a large body
    if (request->authorization != NULL)
        add_header(transfer, arena_printf(arena, "Authorization: %s", request->authorization));
    if (request->header != NULL)
        add_header(transfer, request->header);
}

void transfer_done(Transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->resolve);
    free(transfer->body);
    *transfer = (Transfer){.state = TRANSFER_ENDED};
}

static void set_request(Transfer *transfer)
{
    CURL *easy = transfer->easy;
    const HttpRequest *request = transfer->request;
    set_text(easy, CURLOPT_URL, request->url);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    set_text(easy, CURLOPT_USERAGENT, "howdah/" HOWDAH_VERSION);
    set_long(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);

    const bool sends_body = request->body != NULL || str_eq(request->method, "POST") ||
                            str_eq(request->method, "PUT") || str_eq(request->method, "PATCH");
    if (sends_body) {
        const char *body = request->body == NULL ? "" : request->body;
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body); // not copied: outlives the call
    }
    if (str_eq(request->method, "HEAD"))
        set_long(easy, CURLOPT_NOBODY, 1);
    else
        set_text(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static const char *text_option(const HttpOptions *options, size_t offset)
{
    const char *text;
    memcpy(&text, (const char *)options + offset, sizeof text);
    return text;
}

static void set_pem(CURL *easy, CURLoption option, const char *pem)
{
    // Not copied: the options outlive the call.
    struct curl_blob blob = {.data = (void *)(uintptr_t)pem, .len = strlen(pem)};
    const CURLcode code = curl_easy_setopt(easy, option, &blob);
    ASSERT(code == CURLE_OK); // libcurl 7.77 with OpenSSL or GnuTLS has it
}

static void set_tls(Transfer *transfer)
{
    CURL *easy = transfer->easy;
    const HttpOptions *options = transfer->options;
    set_long(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    set_long(easy, CURLOPT_SSL_VERIFYPEER, options->skip_verify ? 0 : 1);
    set_long(easy, CURLOPT_SSL_VERIFYHOST,
             options->skip_verify || options->skip_host_check || transfer->request->any_host ? 0
                                                                                             : 2);
    // Who names authorities trusts these alone, and not those of libcurl's own directory besides.
    if (options->ca_pem != NULL || options->ca_file != NULL)
        (void)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    static const struct {
        size_t pem, file;
        CURLoption set_pem, set_file;
    } parts[] = {
        {offsetof(HttpOptions, ca_pem), offsetof(HttpOptions, ca_file), CURLOPT_CAINFO_BLOB,
         CURLOPT_CAINFO},
        {offsetof(HttpOptions, cert_pem), offsetof(HttpOptions, cert_file), CURLOPT_SSLCERT_BLOB,
         CURLOPT_SSLCERT},
        {offsetof(HttpOptions, key_pem), offsetof(HttpOptions, key_file), CURLOPT_SSLKEY_BLOB,
         CURLOPT_SSLKEY},
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        const char *pem = text_option(options, parts[i].pem);
        const char *file = text_option(options, parts[i].file);
        if (pem != NULL)
            set_pem(easy, parts[i].set_pem, pem);
        else if (file != NULL)
            set_text(easy, parts[i].set_file, file);
    }
    // Never NULL: OpenSSL would ask at the terminal, and wait there.
    set_text(easy, CURLOPT_KEYPASSWD, str_or(options->key_password, ""));
#if LIBCURL_VERSION_NUM >= 0x075700
    set_long(easy, CURLOPT_CA_CACHE_TIMEOUT, 60); // certificate files are replaced while we run
#endif
}

// Nothing from the environment, no redirects (libcurl's default), nothing but HTTP.
static void set_limits(Transfer *transfer)
{
    CURL *easy = transfer->easy;
    set_long(easy, CURLOPT_NOSIGNAL, 1);
    set_text(easy, CURLOPT_PROXY, "");
    set_text(easy, CURLOPT_NOPROXY, "*");
    set_long(easy, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER_BYTES);
    set_long(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_BYTES);
#if LIBCURL_VERSION_NUM >= 0x075500
    set_text(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    set_long(easy, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    set_long(easy, CURLOPT_QUICK_EXIT, 1);
#endif
}

// libcurl gives each address but the last half of what is left.
static void set_connect_timeout(Transfer *transfer, size_t address_count)
{
    const int64_t left = deadline_left_ms(transfer->deadline, clock_now(clock_system()));
    int64_t connect_ms =
        transfer->options->connect_ms * (int64_t)(address_count ? address_count : 1);
    if (connect_ms <= 0)
        connect_ms = left / 2;
    if (connect_ms > left)
        connect_ms = left;
    set_long(transfer->easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms > 0 ? (long)connect_ms : 1);
}

static void set_callbacks(Transfer *transfer)
{
    CURL *easy = transfer->easy;
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    (void)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_ready);
    (void)curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer->options);
}

// "host:port:address,[address]"; replaces what libcurl had for that host. Addresses with a scope
// are left out: libcurl could not read them here.
static void set_addresses(Transfer *transfer, const StringList *addresses)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Text list = text_new(arena);
    for (size_t i = 0; i < addresses->count; i++) {
        const char *address = addresses->items[i];
        if (strchr(address, '%') != NULL)
            continue;
        text_addf(&list, strchr(address, ':') != NULL ? "%s[%s]" : "%s%s",
                  list.length > 0 ? "," : "", address);
    }
    const char *entry =
        arena_printf(arena, "%s:%d:%s", transfer->url.host, transfer->url.port, list.data);
    transfer->resolve = curl_slist_append(NULL, entry);
    ASSERT(transfer->resolve != NULL); // out of memory
    (void)curl_easy_setopt(transfer->easy, CURLOPT_RESOLVE, transfer->resolve);
}

void transfer_start(Transfer *transfer, CURLM *multi, const StringList *addresses)
{
    set_request(transfer);
    set_tls(transfer);
    set_limits(transfer);
    set_connect_timeout(transfer, addresses->count);
    set_callbacks(transfer);
    if (!host_is_numeric(transfer->url.host))
        set_addresses(transfer, addresses);
    const CURLMcode code = curl_multi_add_handle(multi, transfer->easy);
    ASSERT(code == CURLM_OK); // out of memory, or called from within a sink
    transfer->state = TRANSFER_RUNNING;
}

// The end

int transfer_status(const Transfer *transfer)
{
    long status = 0;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

static bool is_bad_reply(CURLcode result)
{
    return result == CURLE_WEIRD_SERVER_REPLY || result == CURLE_UNSUPPORTED_PROTOCOL ||
           result == CURLE_BAD_CONTENT_ENCODING;
}

static const char *error_text(const Transfer *transfer, CURLcode result)
{
    long os_error = 0;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &os_error);
    if (result == CURLE_COULDNT_CONNECT && os_error != 0)
        return strerror((int)os_error);
    if (result == CURLE_ABORTED_BY_CALLBACK)
        return "connection lost before the answer";
    return str_or(transfer->curl_error, curl_easy_strerror(result));
}

void transfer_finish(Transfer *transfer, CURLcode result)
{
    transfer->state = TRANSFER_ENDED;
    transfer->ok = result == CURLE_OK || transfer->sink_stopped;
    if (transfer->ok)
        return;
    if (transfer->too_large)
        transfer_fail(transfer, ERR_INVALID, "reply longer than the limit");
    else if (is_bad_reply(result))
        transfer_fail(transfer, ERR_INVALID, error_text(transfer, result));
    else
        transfer_fail(transfer, bytes_sent(transfer) > 0 ? ERR_UNCERTAIN : ERR_UNAVAILABLE,
                      error_text(transfer, result));
}

void transfer_expire(Transfer *transfer)
{
    if (transfer->state == TRANSFER_RESOLVING)
        transfer_fail(transfer, ERR_UNAVAILABLE, "its address is not known yet");
    else if (bytes_sent(transfer) > 0)
        transfer_fail(transfer, ERR_UNCERTAIN, "no answer by the deadline");
    else
        transfer_fail(transfer, ERR_UNAVAILABLE, "not connected by the deadline");
}

static int64_t retry_after_ms(const Transfer *transfer)
{
    curl_off_t seconds = 0;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &seconds);
    const int64_t day = INT64_C(24) * 60 * 60;
    return (seconds > day ? day : (int64_t)seconds) * MS_PER_S;
}

HttpReply transfer_reply(Transfer *transfer, Arena *arena)
{
    char *body = arena_alloc(arena, transfer->length + 1);
    if (transfer->length > 0)
        memcpy(body, transfer->body, transfer->length);
    return (HttpReply){
        .status = transfer_status(transfer),
        .body = body,
        .length = transfer->length,
        .lsn_header = transfer->has_lsn_header ? arena_strdup(arena, transfer->lsn_header) : NULL,
        .retry_after_ms = retry_after_ms(transfer),
    };
}
