// The connection to the warden: private to warden_client.c (the calls) and warden_link.c (the
// thread that reads, and the view it keeps).
#pragma once
#include "agent/warden/protocol.h"
#include "common/os/clock.h"
#include "common/os/processes.h"

#include <pthread.h>

#define LINK_OUTPUT_MAX 65536 // of each child's output, the last so many bytes

// One request on its way; lives on its caller's stack, in the list while that waits.
typedef struct LinkCall {
    struct LinkCall *next;
    uint32_t tag;
    bool answered, lost;
    Error error; // kind ERR_NONE: done
} LinkCall;

typedef struct {
    char id[CHILD_ID_SIZE];
    int64_t started_at; // tells one run of an id from the next
    char *ring;         // of `size` bytes, which grows to LINK_OUTPUT_MAX
    size_t size, start, length;
} LinkOutput;

typedef struct {
    Processes base;
    Clock *clock;
    char path[256];
    pthread_t reader;
    int event_fd, wake_fd;

    pthread_mutex_t mutex; // guards all that follows but in; held for moments only
    pthread_cond_t changed;
    bool stopping;
    bool sending; // somebody writes to fd without the mutex; it may not be closed
    int fd;       // -1: none
    bool fresh;   // fd is new: what is left in `in` is the old one's
    uint32_t last_tag;
    LinkCall *calls;
    int64_t ttl_ms;
    WardenView view;
    int64_t warden; // the `started` of the one we were last attached to; 0: none
    uint32_t fenced_total;
    LinkOutput outputs[WARDEN_CHILDREN];

    uint8_t *in; // the reader's own, as the next two; grows to WIRE_FRAME_MAX
    size_t in_size, in_used;
} Link;

void *link_reader(void *link);
// With the mutex held. False: the deadline has passed.
bool link_wait(Link *link, Deadline deadline);
LinkOutput *link_output(Link *link, const char *id); // NULL: none kept
