// A TCP proxy that loses what it is told to lose. For HTTP requests that fit into one segment.
#pragma once
#include <stdbool.h>

typedef struct LossyProxy LossyProxy;

typedef enum {
    LOSE_REPLY,   // forward, wait for the answer, hang up
    LOSE_SILENT,  // forward, swallow the answer, keep the connection
    LOSE_REQUEST, // hang up without forwarding
    LOSE_LATE,    // hold the request back until lossy_proxy_deliver()
    LOSE_GARBAGE, // forward, answer 200 with half a document
    LOSE_STATUS,  // forward, answer 503
    LOSE_NOTHING, // only count
} LossMode;

LossyProxy *lossy_proxy_start(int upstream_port);
const char *lossy_proxy_url(const LossyProxy *proxy);
// The next `count` requests whose head or body holds `what`.
void lossy_proxy_lose(LossyProxy *proxy, const char *what, int count, LossMode mode);
int lossy_proxy_lost(LossyProxy *proxy); // since the last call of lose
// Ends all connections, and takes no more until it is let.
void lossy_proxy_block(LossyProxy *proxy, bool block);
void lossy_proxy_deliver(LossyProxy *proxy); // what was held back, and waits for its answer
void lossy_proxy_stop(LossyProxy *proxy);
