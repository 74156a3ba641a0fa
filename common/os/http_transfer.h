// Inside the HTTP client: one request on its way through libcurl. Nothing else includes this.
#pragma once
#include "common/os/http.h"

#include <curl/curl.h>

typedef enum {
    TRANSFER_RESOLVING, // the first lookup of its host is under way
    TRANSFER_RUNNING,   // libcurl has it
    TRANSFER_ENDED,     // ok, or error says why not
} TransferState;

typedef struct {
    TransferState state;
    bool ok;
    Error error;

    const HttpRequest *request;
    const HttpOptions *options;
    HttpUrl url;
    bool repeatable;
    Deadline deadline;

    CURL *easy;
    bool connected; // and TLS is up
    struct curl_slist *headers, *resolve;
    char curl_error[CURL_ERROR_SIZE];

    char *body; // malloc: grows outside the arena, copied into it once
    size_t length, limit;
    bool too_large;
    char lsn_header[64];
    bool has_lsn_header;

    HttpSink *sink; // instead of body
    void *sink_context;
    bool sink_stopped;
    int *sink_status; // written before the sink's first byte
    bool answered;    // the headers are complete
    Instant last_byte;
} Transfer;

// Checks the request and gets ready; TRANSFER_ENDED if it cannot be sent at all.
void transfer_init(Transfer *transfer, Arena *arena, const HttpOptions *options,
                   const HttpRequest *request, Deadline deadline);
void transfer_done(Transfer *transfer);
// Hands it to libcurl, which connects to these addresses only (none needed for a numeric host).
void transfer_start(Transfer *transfer, CURLM *multi, const StringList *addresses);
// libcurl has finished with it.
void transfer_finish(Transfer *transfer, CURLcode result);
// Ended from outside; what is the error's text if the request was sent, or else what it waited for.
void transfer_expire(Transfer *transfer);
void transfer_fail(Transfer *transfer, ErrorKind kind, const char *text);
// Once it is ok.
HttpReply transfer_reply(Transfer *transfer, Arena *arena);
int transfer_status(const Transfer *transfer);
