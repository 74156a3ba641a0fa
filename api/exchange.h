// A request that is more than a probe: it has a body, or waits, or wants a page made for it.
#pragma once
#include "api/server.h"

typedef enum { BODY_IGNORED, BODY_OPTIONAL, BODY_REQUIRED } BodyRule;

struct Route {
    const char *method, *segment; // of the path: the first one
    bool guarded;                 // access is checked
    BodyRule body;
    void (*handle)(Exchange *exchange); // ends in one of the exchange_… calls below
};

typedef enum { SAMPLE_NONE, SAMPLE_STATUS, SAMPLE_METRICS, SAMPLE_KINDS } SampleKind;

struct Exchange {
    ApiRequest request; // first: api_complete gets from it to us
    Api *api;
    int refs; // under the api's lock: the connection's, and the agent's while it has the request
    Client *client;
    struct MHD_Connection *connection; // NULL: gone
    const Route *route;
    const char *method, *path; // as they came
    Policy *policy;
    Snapshot *snapshot; // never NULL in a handler
    Arena *arena;
    Text body;
    Refusal refusal; // decided with the headers, said once the body is in
    enum { EXCHANGE_RECEIVING, EXCHANGE_SUSPENDED, EXCHANGE_ANSWERED } state;
    bool was_suspended; // its worker\'s own note
    int status;         // once answered
    Reply *reply;
    SampleKind sample;         // suspended for this
    uint64_t batch;            // of the sampler; 0: not taken up yet
    const char *what;          // suspended for this, for people: "Switchover"
    Exchange *previous, *next; // among the suspended
};

// libmicrohttpd's handler and its end of a request.
enum MHD_Result on_request(void *workers, struct MHD_Connection *connection, const char *url,
                           const char *method, const char *version, const char *upload,
                           size_t *upload_size, void **context);
void on_completed(void *workers, struct MHD_Connection *connection, void **context,
                  enum MHD_RequestTerminationCode why);

// --- how a handler ends
void exchange_text(Exchange *exchange, int status, const char *text);
void exchange_json(Exchange *exchange, int status, const char *json);
void exchange_page(Exchange *exchange, int status);
void exchange_reply(Exchange *exchange, int status, Reply *reply); // takes the reply over
// Suspends, until the agent completes it or budget_ms is over. what names it in the answer then.
void exchange_submit(Exchange *exchange, ApiKind kind, const Tree *body, const char *what,
                     int64_t budget_ms);
void exchange_sample(Exchange *exchange, SampleKind kind);
const char *exchange_query(const Exchange *exchange, const char *key); // NULL: not given
// The store's view; false: answered with 503, because there is none.
bool exchange_cluster(Exchange *exchange, ClusterView *out) MUST_CHECK;

// --- under the api's lock
void exchange_answer(Exchange *exchange, int status, Reply *reply); // suspended -> answered
// Answers what is suspended and over its time, or belongs to these workers (NULL: to any).
void exchanges_expire(Api *api, Instant now);
void exchanges_abandon(Api *api, const Workers *workers);
Instant exchanges_next_deadline(const Api *api); // 0: none

void log_request(struct MHD_Connection *connection, const char *method, const char *path,
                 int status); // at debug

// --- sampler.c
void *sampler_main(void *api);

// --- probe.c
enum MHD_Result answer_probe(Api *api, struct MHD_Connection *connection, const char *method,
                             const char *path);

// --- routes.c
// NULL: a health check. What is neither has a route too, to the page that says so.
const Route *route_find(const char *method, const char *path);
