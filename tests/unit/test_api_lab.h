// A REST server with an agent that does what the test says, and a client that sends bytes.
#pragma once
#include "api/api.h"
#include "tests/support/test.h"

#include <pthread.h>

// The clock moves only when told.
typedef struct {
    Clock clock;
    int64_t now_ns; // atomic
} LabClock;

typedef struct Lab Lab;

struct Lab {
    ApiHost host; // first
    LabClock clock;
    Resolver *resolver;
    Api *api;
    RestSettings settings;
    int port;

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t changed;
    Snapshot *snapshot;
    bool cluster_there;
    ClusterView cluster;
    ServerView server; // what sampling sees
    bool sample_fails;
    bool sample_blocks;   // until the test lets go
    int samples;          // begun
    ApiRequest *requests; // submitted, newest first
    int submitted;
};

Lab *lab_new(void); // nothing started yet; settings listen on a free port of 127.0.0.1
void lab_start(Lab *lab);
void lab_stop(Lab *lab); // the server alone
void lab_free(Lab *lab);
Snapshot *lab_snapshot(Lab *lab); // a healthy replica "a" of scope "demo", to be changed
void lab_publish(Lab *lab, Snapshot *snapshot); // takes it over
void lab_advance_ms(Lab *lab, int64_t ms);
ApiRequest *lab_wait_request(Lab *lab);     // the next one submitted
void lab_wait_samples(Lab *lab, int count); // until that many have begun
void lab_let_go(Lab *lab);                  // of blocked samples

// --- the client; every call fails the test after 10 s

typedef struct {
    int status;
    char head[4096];
    char body[65536];
    size_t length;
} LabReply;

int lab_connect(const Lab *lab);
void lab_send(int fd, const char *bytes);
void lab_receive(int fd, LabReply *out); // exactly one reply; pipelined ones stay in the socket
bool lab_is_closed(int fd);              // nothing more comes, and the other side has hung up
// One request on a connection of its own. headers: lines that end in \r\n, or NULL.
void lab_request(const Lab *lab, const char *method, const char *target, const char *headers,
                 const char *body, LabReply *out);
int lab_status(const Lab *lab, const char *method, const char *target);
