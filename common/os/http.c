#include "common/os/http.h"

#include "common/base/text.h"
#include "common/os/clock.h"
#include "common/os/http_transfer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEPT_CONNECTIONS = 16,
    LOOKUP_WAIT_MS = 1000, // for the first lookup of a name; never more than half the time left
    LOOKUP_POLL_MS = 2,
    // libcurl's timer for the next address may go off a hair early and is not set again.
    CONNECT_POLL_MS = 20,
    LONGEST_POLL_MS = 1000,
};

struct Http {
    Resolver *resolver;
    HttpOptions options; // its strings are ours
    Arena *kept;
    CURLM *multi;
    atomic_bool interrupted; // the stream that runs, or the next one
    atomic_bool ended;       // for good
};

static void init_curl(void)
{
    const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    ASSERT(code == CURLE_OK);
}

Http *http_new(Resolver *resolver, const HttpOptions *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);

    Http *http = calloc(1, sizeof *http);
    ASSERT(http != NULL); // out of memory
    http->resolver = resolver;
    http->kept = arena_new(ARENA_CAP_DEFAULT);
    if (options != NULL)
        http_set_options(http, options);
    http->multi = curl_multi_init();
    ASSERT(http->multi != NULL); // out of memory
    (void)curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    return http;
}

void http_set_options(Http *http, const HttpOptions *options)
{
    Arena *kept = arena_new(ARENA_CAP_DEFAULT);
    HttpOptions *own = &http->options;
    *own = *options; // the old strings, if they are what is given, go last
    const char **texts[] = {&own->ca_file, &own->cert_file, &own->key_file, &own->key_password,
                            &own->ca_pem,  &own->cert_pem,  &own->key_pem};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        *texts[i] = arena_strdup(kept, *texts[i]);
    arena_free(http->kept);
    http->kept = kept;
}

void http_free(Http *http)
{
    if (http == NULL)
        return;
    curl_multi_cleanup(http->multi);
    arena_free(http->kept);
    free(http);
}

void http_release(Http **http)
{
    http_free(*http);
    *http = NULL;
}

static Instant now(void)
{
    return clock_now(clock_system());
}

// Starts it once the addresses are known, fails it when the lookup did.
static void resolve(Http *http, Arena *arena, Transfer *transfer)
{
    StringList addresses = {0};
    const char *host = transfer->url.host;
    if (host_is_numeric(host)) {
        transfer_start(transfer, http->multi, &addresses);
        return;
    }
    if (http->resolver != NULL && !resolver_peek(http->resolver, arena, host, &addresses))
        return; // still under way
    if (addresses.count == 0)
        transfer_fail(transfer, ERR_UNAVAILABLE, "host name cannot be resolved");
    else
        transfer_start(transfer, http->multi, &addresses);
}

static void collect_finished(Http *http)
{
    int left;
    const CURLMsg *message;
    while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        Transfer *transfer = NULL;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        transfer_finish(transfer, message->data.result);
    }
}

static int longest_poll_ms(const Transfer *transfers, size_t count)
{
    int longest = LONGEST_POLL_MS;
    for (size_t i = 0; i < count; i++) {
        if (transfers[i].state == TRANSFER_RESOLVING)
            return LOOKUP_POLL_MS;
        if (transfers[i].state == TRANSFER_RUNNING && !transfers[i].connected)
            longest = CONNECT_POLL_MS;
    }
    return longest;
}

// Until something happens, for at most ms.
static void poll_for(Http *http, const Transfer *transfers, size_t count, int64_t ms)
{
    const int longest = longest_poll_ms(transfers, count);
    const CURLMcode code =
        curl_multi_poll(http->multi, NULL, 0, ms < longest ? (int)ms : longest, NULL);
    ASSERT(code == CURLM_OK);
}

static void perform(Http *http)
{
    int running;
    const CURLMcode code = curl_multi_perform(http->multi, &running);
    ASSERT(code == CURLM_OK); // a sink that calls back into its own Http ends here
    collect_finished(http);
}

static bool all_ended(const Transfer *transfers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (transfers[i].state != TRANSFER_ENDED)
            return false;
    return true;
}

static void resolve_all(Http *http, Arena *arena, Transfer *transfers, size_t count, bool give_up)
{
    for (size_t i = 0; i < count; i++) {
        if (transfers[i].state != TRANSFER_RESOLVING)
            continue;
        resolve(http, arena, &transfers[i]);
        if (give_up && transfers[i].state == TRANSFER_RESOLVING)
            transfer_expire(&transfers[i]);
    }
}

// The end of the time a first lookup may take.
static Instant lookup_end(Deadline deadline)
{
    const int64_t half = deadline_left_ms(deadline, now()) / 2;
    return instant_plus_ms(now(), half < LOOKUP_WAIT_MS ? half : LOOKUP_WAIT_MS);
}

static void run(Http *http, Arena *arena, Transfer *transfers, size_t count, Deadline deadline)
{
    // Nothing may leave when nobody waits for the answer any more.
    if (http_has_ended(http) || deadline_over(clock_system(), deadline)) {
        for (size_t i = 0; i < count; i++)
            if (transfers[i].state != TRANSFER_ENDED)
                transfer_fail(&transfers[i], ERR_UNAVAILABLE, "not sent, the deadline is over");
        return;
    }
    const Instant lookups_until = lookup_end(deadline);
    for (;;) {
        resolve_all(http, arena, transfers, count, !instant_before(now(), lookups_until));
        perform(http);
        const int64_t left = deadline_left_ms(deadline, now());
        if (all_ended(transfers, count))
            return;
        if (left == 0 || http_has_ended(http))
            break;
        poll_for(http, transfers, count, left);
    }
    for (size_t i = 0; i < count; i++)
        if (transfers[i].state != TRANSFER_ENDED)
            transfer_expire(&transfers[i]);
}

static void hand_over(Http *http, Arena *arena, Transfer *transfer, HttpExchange *exchange)
{
    exchange->ok = transfer->ok;
    if (transfer->ok)
        exchange->reply = transfer_reply(transfer, arena);
    else
        exchange->error = transfer->error;
    if (transfer->easy != NULL)
        (void)curl_multi_remove_handle(http->multi, transfer->easy); // also if it was never added
    transfer_done(transfer);
}

void http_call_all(Http *http, Arena *arena, HttpExchange *exchanges, size_t count,
                   Deadline deadline)
{
    Transfer *transfers = ARENA_ARRAY(arena, Transfer, count);
    for (size_t i = 0; i < count; i++)
        transfer_init(&transfers[i], arena, &http->options, &exchanges[i].request, deadline);
    run(http, arena, transfers, count, deadline);
    for (size_t i = 0; i < count; i++)
        hand_over(http, arena, &transfers[i], &exchanges[i]);
}

bool http_call(Http *http, Arena *arena, const HttpRequest *request, Deadline deadline,
               HttpReply *out, Error *err)
{
    HttpExchange exchange = {.request = *request};
    http_call_all(http, arena, &exchange, 1, deadline);
    if (exchange.ok)
        *out = exchange.reply;
    else
        *err = exchange.error;
    return exchange.ok;
}

// Runs until it has ended, idle_ms passed without a byte, or somebody interrupts.
static void run_stream(Http *http, Arena *arena, Transfer *stream, int64_t idle_ms)
{
    const Instant lookups_until = lookup_end(stream->deadline);
    for (;;) {
        resolve_all(http, arena, stream, 1, !instant_before(now(), lookups_until));
        perform(http);
        if (atomic_exchange(&http->interrupted, false) || http_has_ended(http)) {
            stream->state = TRANSFER_ENDED;
            stream->ok = true;
        }
        if (stream->state == TRANSFER_ENDED)
            return;
        const int64_t patience = stream->answered || stream->request->answer_ms <= 0
                                     ? idle_ms
                                     : stream->request->answer_ms;
        const int64_t left = patience - instant_ms_between(stream->last_byte, now());
        if (left <= 0) {
            transfer_expire(stream);
            return;
        }
        poll_for(http, stream, 1, left);
    }
}

bool http_stream(Http *http, const HttpRequest *request, int64_t idle_ms, HttpSink *on_bytes,
                 void *context, int *out_status, Error *err)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Transfer stream;
    *out_status = 0;
    transfer_init(&stream, arena, &http->options, request, deadline_in(clock_system(), idle_ms));
    stream.sink = on_bytes;
    stream.sink_context = context;
    stream.sink_status = out_status;
    run_stream(http, arena, &stream, idle_ms);

    const bool ok = stream.ok;
    if (stream.easy != NULL) {
        *out_status = transfer_status(&stream);
        (void)curl_multi_remove_handle(http->multi, stream.easy);
    }
    if (!ok) {
        *err = stream.error;
        if (err->kind == ERR_UNCERTAIN)
            err->kind = ERR_UNAVAILABLE;
    }
    transfer_done(&stream);
    return ok;
}

void http_interrupt(Http *http)
{
    atomic_store(&http->interrupted, true);
    (void)curl_multi_wakeup(http->multi); // lost only if it was not needed
}

void http_end(Http *http)
{
    atomic_store(&http->ended, true);
    (void)curl_multi_wakeup(http->multi); // lost only if it was not needed
}

bool http_has_ended(const Http *http)
{
    return atomic_load(&http->ended);
}
