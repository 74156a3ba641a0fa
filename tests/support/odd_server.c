#include "tests/support/odd_server.h"

#include "common/base/text.h"
#include "tests/support/http_wire.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { REQUEST_SIZE = 1 << 16 };

static void say_reply(int fd, const char *headers, const char *body)
{
    char head[512];
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", headers,
             strlen(body));
    http_say(fd, head);
    http_say(fd, body);
}

static void lose(int fd)
{
    (void)fd; // closed without a word
}

static void reset(int fd)
{
    const struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

static void say_half(int fd)
{
    http_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
}

static void say_half_and_hang(int fd)
{
    say_half(fd);
    http_hang(fd);
}

static void tick(int fd)
{
    http_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    struct pollfd gone = {.fd = fd, .events = POLLIN};
    do {
        http_say(fd, "5\r\ntick\n\r\n");
    } while (poll(&gone, 1, 5) == 0);
}

static void tick_once_and_hang(int fd)
{
    http_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntick\n\r\n");
    http_hang(fd);
}

static void say_three_lines(int fd)
{
    http_say(fd, "HTTP/1.1 200 OK\r\n\r\none\ntwo\nthree\n");
}

static void say_garbage(int fd)
{
    http_say(fd, "\x16\x03garbage\r\n\r\nmore garbage");
}

static void say_bad_chunk(int fd)
{
    http_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
}

static void say_megabytes(int fd)
{
    static char block[ODD_BIG_BYTES / 64 + 1];
    memset(block, 'x', sizeof block - 1);
    http_say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    for (int i = 0; i < 64; i++)
        http_say(fd, block);
}

// Whole answers, after which the connection goes on.
static const struct {
    const char *path, *headers, *body; // body NULL: the request
} answers[] = {
    {"/ok ", "200 OK", "fine"},
    {"/echo ", "200 OK", NULL},
    {"/empty ", "204 No Content", ""},
    {"/unavailable ", "503 Later\r\nRetry-After: 7\r\nLSN:  83886408 ", "not now"},
    {"/redirect ", "302 Found\r\nLocation: /ok", "elsewhere"},
    {"/continue ", "100 Continue\r\n\r\nHTTP/1.1 200 OK", "ok"},
    {"/second-is-lost ", "200 OK", "first"},
};

// Everything else there is; the connection ends with it.
static const struct {
    const char *path;
    void (*act)(int fd);
} acts[] = {
    {"/lost ", lose},
    {"/reset ", reset},
    {"/hang ", http_hang},
    {"/half ", say_half},
    {"/ticks ", tick},
    {"/half-and-hang ", say_half_and_hang},
    {"/garbage ", say_garbage},
    {"/one-tick ", tick_once_and_hang},
    {"/big ", say_megabytes},
    {"/three ", say_three_lines},
    {"/bad-chunk ", say_bad_chunk},
};

// True if the connection goes on.
static bool serve(int fd, const char *request, int number)
{
    const char *path = strchr(request, ' ') + 1;
    if (number > 1 && str_starts(path, "/second-is-lost "))
        return false;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        if (!str_starts(path, answers[i].path))
            continue;
        say_reply(fd, answers[i].headers, answers[i].body == NULL ? request : answers[i].body);
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(acts); i++) {
        if (!str_starts(path, acts[i].path))
            continue;
        acts[i].act(fd);
        return false;
    }
    say_reply(fd, "404 Not Found", "");
    return true;
}

static void on_connection(int fd, void *context)
{
    OddServer *server = context;
    char *request = malloc(REQUEST_SIZE);
    ASSERT(request != NULL);
    atomic_fetch_add(&server->connections, 1);
    int number = 0;
    while (http_receive(fd, request, REQUEST_SIZE)) {
        atomic_fetch_add(&server->requests, 1);
        if (!serve(fd, request, ++number))
            break;
    }
    free(request);
}

bool odd_server_start(OddServer *server, const char *address)
{
    atomic_store(&server->connections, 0);
    atomic_store(&server->requests, 0);
    server->tcp = tcp_server_start(address, on_connection, server);
    server->port = server->tcp == NULL ? 0 : tcp_server_port(server->tcp);
    return server->tcp != NULL;
}

void odd_server_stop(OddServer *server)
{
    tcp_server_stop(server->tcp);
    server->tcp = NULL;
}
