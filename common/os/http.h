// HTTP requests over libcurl, with absolute deadlines. Names are resolved by the Resolver, never by
// libcurl. An Http is used by one thread at a time; make one per thread.
#pragma once
#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/time.h"
#include "common/os/resolver.h"

#include <stdint.h>

typedef struct Http Http;

typedef struct {
    const char *ca_file;   // NULL: the system's
    const char *cert_file; // client certificate
    const char *key_file;
    const char *key_password;
    // PEM texts instead of the files.
    const char *ca_pem, *cert_pem, *key_pem;
    bool skip_verify;     // neither chain nor host name
    bool skip_host_check; // chain only
    int64_t connect_ms;   // per address, TLS included; 0: half of what is left
    int64_t keepalive_idle_ms, tcp_user_timeout_ms; // 0: system's
} HttpOptions;

typedef struct {
    const char *scheme; // "http" or "https"
    const char *host;   // an IPv6 address without its brackets
    int port;
    const char *path; // "/" if the URL has none
    bool tls;
} HttpUrl;

// http:// and https:// only; everything else is ERR_INVALID. Fills in the scheme's port.
bool http_parse_url(Arena *arena, const char *url, HttpUrl *out, Error *err) MUST_CHECK;

typedef struct {
    const char *method; // "GET", "POST", …
    const char *url;
    const char *body;          // NULL: none
    const char *content_type;  // NULL: none sent
    const char *authorization; // whole header value, NULL: none
    const char *header;        // one more header line, NULL: none
    size_t limit_bytes;        // of the reply; 0: 8 MiB
    // May be sent twice: when a re-used connection turns out to be dead, another one is tried. GET,
    // HEAD and OPTIONS always are; of anything else the caller gets ERR_UNCERTAIN then.
    bool repeatable;
    bool any_host;     // TLS: as skip_host_check, for this request
    int64_t answer_ms; // of a stream: until its headers are complete; 0: idle_ms
    // The status line and headers of the reply are complete; a stream may send its first byte much
    // later. NULL: not told.
    void (*on_status)(void *context, int status);
    void *on_status_context;
} HttpRequest;

typedef struct {
    int status; // 0: no reply
    char *body; // never NULL on success, NUL-terminated
    size_t length;
    const char *lsn_header; // the `lsn` header of a failsafe reply, or NULL
    int64_t retry_after_ms; // Retry-After, or 0
} HttpReply;

// A name that was never looked up before is waited for, at most 1 s and half of the time left;
// after that its last known addresses are used at once. The resolver may be NULL: numeric hosts
// only. options may be NULL; its strings are copied.
Http *http_new(Resolver *resolver, const HttpOptions *options);
void http_free(Http *http);
void http_release(Http **http); // for AUTO
// What counts for connections made from now on; those there are stay, unless TLS is set otherwise.
// By the thread that uses it, between calls.
void http_set_options(Http *http, const HttpOptions *options);

// Any HTTP status is a success here. ERR_UNAVAILABLE: no byte of the request was sent (no address,
// refused, TLS). ERR_UNCERTAIN: it may have arrived. ERR_INVALID: a malformed URL or reply, or one
// longer than the limit. Redirects are not followed, proxies not used.
bool http_call(Http *http, Arena *arena, const HttpRequest *request, Deadline deadline,
               HttpReply *out, Error *err) MUST_CHECK;

typedef struct {
    HttpRequest request;
    bool ok;
    HttpReply reply; // when ok
    Error error;     // when not
} HttpExchange;

// All at once; returns when every one has ended or the deadline is over.
void http_call_all(Http *http, Arena *arena, HttpExchange *exchanges, size_t count,
                   Deadline deadline);

// A reply that does not end (a watch). on_bytes returns false to stop; of this Http it may only use
// http_interrupt. Blocks its thread until the stream ends, is stopped or interrupted (all true), or
// is lost, or idle_ms (> 0) pass without a byte (false). A stream only reads, so whatever happens
// to it is ERR_UNAVAILABLE, or ERR_INVALID for what is malformed. *out_status is there before the
// first on_bytes, which also gets the body of a refusal; 0: no reply.
typedef bool HttpSink(void *context, const char *bytes, size_t length);
bool http_stream(Http *http, const HttpRequest *request, int64_t idle_ms, HttpSink *on_bytes,
                 void *context, int *out_status, Error *err) MUST_CHECK;
// From any thread. If no stream is running, the next one returns at once.
void http_interrupt(Http *http);
// From any thread, for good: whatever runs ends at once, and nothing is sent any more.
void http_end(Http *http);
bool http_has_ended(const Http *http);
