#include "tests/support/odd_server.h"

#include "common/base/text.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { REQUEST_SIZE = 1 << 16 };

static void say(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        const ssize_t sent = send(fd, text, left, MSG_NOSIGNAL);
        if (sent <= 0)
            return; // the client has gone: that is what some tests do
        text += sent;
        left -= (size_t)sent;
    }
}

static void say_reply(int fd, const char *headers, const char *body)
{
    char head[512];
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", headers,
             strlen(body));
    say(fd, head);
    say(fd, body);
}

// Reads one request with its body; false when the client has gone.
static bool read_request(int fd, char *request)
{
    size_t length = 0;
    for (;;) {
        request[length] = '\0';
        const char *end = strstr(request, "\r\n\r\n");
        if (end != NULL) {
            const char *announced = strstr(request, "Content-Length: ");
            const size_t body = announced == NULL ? 0 : strtoul(announced + 16, NULL, 10);
            if (length >= (size_t)(end + 4 - request) + body)
                return true;
        }
        const ssize_t got = recv(fd, request + length, REQUEST_SIZE - 1 - length, 0);
        if (got <= 0)
            return false;
        length += (size_t)got;
    }
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

// Until the client goes away.
static void hang(int fd)
{
    char byte;
    while (recv(fd, &byte, 1, 0) > 0)
        continue;
}

static void say_half(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
}

static void say_half_and_hang(int fd)
{
    say_half(fd);
    hang(fd);
}

static void tick(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    struct pollfd gone = {.fd = fd, .events = POLLIN};
    do {
        say(fd, "5\r\ntick\n\r\n");
    } while (poll(&gone, 1, 5) == 0);
}

static void tick_once_and_hang(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntick\n\r\n");
    hang(fd);
}

static void say_three_lines(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\n\r\none\ntwo\nthree\n");
}

static void say_garbage(int fd)
{
    say(fd, "\x16\x03garbage\r\n\r\nmore garbage");
}

static void say_bad_chunk(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
}

static void say_megabytes(int fd)
{
    static char block[ODD_BIG_BYTES / 64 + 1];
    memset(block, 'x', sizeof block - 1);
    say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    for (int i = 0; i < 64; i++)
        say(fd, block);
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
    {"/hang ", hang},
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
    while (read_request(fd, request)) {
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
