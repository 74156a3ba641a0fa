// A Kubernetes API server for tests that plays a script: each request, from whatever connection,
// gets the next step; the last one is repeated. Where several threads ask, steps are told apart by
// what they answer to: then each request gets the next of the steps whose text it holds. What was
// asked is kept.
#pragma once
#include "tests/support/tcp_server.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum {
    KUBE_ANSWERS,     // status line, headers and body
    KUBE_LOSES,       // the connection, after the request was read
    KUBE_HANGS,       // until the client goes away
    KUBE_STREAMS,     // body in small chunks, then the stream ends in order
    KUBE_KEEPS,       // body in chunks, then the stream stays open
    KUBE_BREAKS,      // body in chunks, then the connection is lost
    KUBE_ANSWERS_LATE // after 300 ms
} KubeAct;

typedef struct {
    KubeAct act;
    const char *status; // "200 OK", perhaps with header lines: "429 Busy\r\nRetry-After: 1"
    const char *body;
    const char *to; // text of the request; of all steps or of none
} KubeStep;

#define KUBE_STEPS_MAX 32 // that answer to something

#define KUBE_REQUESTS_MAX 256
#define KUBE_REQUEST_SIZE 8192

typedef struct {
    TcpServer *tcp;
    int port;
    pthread_mutex_t mutex;
    const KubeStep *steps;
    size_t step_count, next;
    bool used[KUBE_STEPS_MAX]; // of steps that answer to something
    size_t count;
    char requests[KUBE_REQUESTS_MAX][KUBE_REQUEST_SIZE]; // head and body, as they came
} KubeServer;

void kube_server_start(KubeServer *server, const KubeStep *steps, size_t count);
void kube_server_script(KubeServer *server, const KubeStep *steps, size_t count); // from now on
void kube_server_stop(KubeServer *server);
size_t kube_server_count(KubeServer *server);
// Waits up to 10 s for that many; false: they have not come.
bool kube_server_wait(KubeServer *server, size_t count);
// Waits up to 10 s for a request that holds the text; which one, or KUBE_REQUESTS_MAX: none came.
size_t kube_server_find(KubeServer *server, const char *text, size_t from);
// Does the request hold this text? number counts from 0.
bool kube_server_saw(KubeServer *server, size_t number, const char *text);
