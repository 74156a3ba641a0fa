#include "tests/support/lossy_proxy.h"

#include "tests/support/tcp_server.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

struct LossyProxy {
    TcpServer *server;
    int upstream_port;
    char url[64];
    pthread_mutex_t mutex;
    char what[64];
    int count, lost;
    LossMode mode;
    atomic_bool blocked;
    char held[CHUNK];
    size_t held_length;
};

typedef struct {
    LossyProxy *proxy;
    int client, upstream;
    bool losing; // the answer under way
    LossMode mode;
} Link;

static bool send_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        const ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

static int connect_upstream(int port)
{
    const struct sockaddr_in name = {.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)&name, sizeof name) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool is_to_be_lost(Link *link, const char *bytes, size_t length)
{
    LossyProxy *proxy = link->proxy;
    pthread_mutex_lock(&proxy->mutex);
    const bool lose =
        proxy->count > 0 && memmem(bytes, length, proxy->what, strlen(proxy->what)) != NULL;
    if (lose) {
        proxy->count--;
        proxy->lost++;
        link->mode = proxy->mode;
        if (proxy->mode == LOSE_LATE) {
            memcpy(proxy->held, bytes, length);
            proxy->held_length = length;
        }
    }
    pthread_mutex_unlock(&proxy->mutex);
    return lose;
}

static bool from_client(Link *link)
{
    char bytes[CHUNK];
    const ssize_t got = recv(link->client, bytes, sizeof bytes, 0);
    if (got <= 0)
        return false;
    if (!link->losing && is_to_be_lost(link, bytes, (size_t)got)) {
        link->losing = link->mode != LOSE_NOTHING;
        if (link->mode == LOSE_REQUEST)
            return false;
    }
    if (link->losing && link->mode == LOSE_LATE)
        return true;
    return send_all(link->upstream, bytes, (size_t)got);
}

static bool from_upstream(Link *link)
{
    static const char garbage[] = "HTTP/1.1 200 OK\r\nContent-Type: "
                                  "application/json\r\nContent-Length: 12\r\n\r\n{\"header\":{\"";
    static const char status[] = "HTTP/1.1 503 Unavailable\r\nContent-Length: 5\r\n\r\nsorry";
    char bytes[CHUNK];
    const ssize_t got = recv(link->upstream, bytes, sizeof bytes, 0);
    if (got <= 0)
        return false;
    if (!link->losing)
        return send_all(link->client, bytes, (size_t)got);
    switch (link->mode) {
    case LOSE_REPLY:
    case LOSE_REQUEST:
        return false;
    case LOSE_GARBAGE:
        (void)send_all(link->client, garbage,
                       sizeof garbage - 1); // the client sees what is missing
        return false;
    case LOSE_STATUS:
        (void)send_all(link->client, status, sizeof status - 1);
        return false;
    case LOSE_SILENT:
    case LOSE_LATE:
    case LOSE_NOTHING:
        return true;
    }
    return false;
}

static void on_connection(int fd, void *context)
{
    Link link = {.proxy = context, .client = fd};
    link.upstream = connect_upstream(link.proxy->upstream_port);
    if (link.upstream < 0)
        return;
    struct pollfd ready[] = {{.fd = link.client, .events = POLLIN},
                             {.fd = link.upstream, .events = POLLIN}};
    bool alive = true;
    enum { LOOK_MS = 10 };
    while (alive && !atomic_load(&link.proxy->blocked) && poll(ready, 2, LOOK_MS) >= 0) {
        if (ready[0].revents != 0)
            alive = from_client(&link);
        if (alive && ready[1].revents != 0)
            alive = from_upstream(&link);
    }
    close(link.upstream);
}

LossyProxy *lossy_proxy_start(int upstream_port)
{
    LossyProxy *proxy = calloc(1, sizeof *proxy);
    assert_non_null(proxy);
    proxy->upstream_port = upstream_port;
    pthread_mutex_init(&proxy->mutex, NULL);
    proxy->server = tcp_server_start("127.0.0.1", on_connection, proxy);
    assert_non_null(proxy->server);
    snprintf(proxy->url, sizeof proxy->url, "http://127.0.0.1:%d", tcp_server_port(proxy->server));
    return proxy;
}

const char *lossy_proxy_url(const LossyProxy *proxy)
{
    return proxy->url;
}

void lossy_proxy_lose(LossyProxy *proxy, const char *what, int count, LossMode mode)
{
    pthread_mutex_lock(&proxy->mutex);
    snprintf(proxy->what, sizeof proxy->what, "%s", what);
    proxy->count = count;
    proxy->lost = 0;
    proxy->mode = mode;
    pthread_mutex_unlock(&proxy->mutex);
}

int lossy_proxy_lost(LossyProxy *proxy)
{
    pthread_mutex_lock(&proxy->mutex);
    const int lost = proxy->lost;
    pthread_mutex_unlock(&proxy->mutex);
    return lost;
}

void lossy_proxy_block(LossyProxy *proxy, bool block)
{
    atomic_store(&proxy->blocked, block);
}

void lossy_proxy_deliver(LossyProxy *proxy)
{
    char bytes[CHUNK];
    pthread_mutex_lock(&proxy->mutex);
    const size_t length = proxy->held_length;
    memcpy(bytes, proxy->held, length);
    pthread_mutex_unlock(&proxy->mutex);
    const int fd = connect_upstream(proxy->upstream_port);
    assert_true(fd >= 0);
    assert_true(length > 0 && send_all(fd, bytes, length));
    assert_true(recv(fd, bytes, sizeof bytes, 0) > 0);
    close(fd);
}

void lossy_proxy_stop(LossyProxy *proxy)
{
    if (proxy == NULL)
        return;
    tcp_server_stop(proxy->server);
    pthread_mutex_destroy(&proxy->mutex);
    free(proxy);
}
