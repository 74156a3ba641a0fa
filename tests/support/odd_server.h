// An HTTP server for tests that behaves as the path says (the tables are in odd_server.c), well and
// badly. It counts, so that a request sent twice is noticed.
#pragma once
#include "tests/support/tcp_server.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef struct {
    atomic_int connections, requests;
    TcpServer *tcp;
    int port;
} OddServer;

#define ODD_BIG_BYTES (4 * 1024 * 1024) // what /big answers

bool odd_server_start(OddServer *server, const char *address); // false: no such address here
void odd_server_stop(OddServer *server);
