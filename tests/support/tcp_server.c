#include "tests/support/tcp_server.h"

#include "common/base/attributes.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 256 };

typedef struct {
    TcpServer *server;
    pthread_t thread;
    int fd; // -1 once closed
} Connection;

struct TcpServer {
    TcpHandler *handler;
    void *context;
    int listener, port;
    pthread_t acceptor;
    pthread_mutex_t mutex;
    Connection connections[MOST_CONNECTIONS];
    int count;
    bool stopping;
};

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} Name;

static Name name_of(const char *address, int port, socklen_t *out_length)
{
    Name name;
    memset(&name, 0, sizeof name);
    if (inet_pton(AF_INET, address, &name.v4.sin_addr) == 1) {
        name.v4.sin_family = AF_INET;
        name.v4.sin_port = htons((uint16_t)port);
        *out_length = sizeof name.v4;
    } else {
        ASSERT(inet_pton(AF_INET6, address, &name.v6.sin6_addr) == 1);
        name.v6.sin6_family = AF_INET6;
        name.v6.sin6_port = htons((uint16_t)port);
        *out_length = sizeof name.v6;
    }
    return name;
}

static int listen_on(const char *address, int port, int backlog, int *out_port)
{
    socklen_t length;
    Name name = name_of(address, port, &length);
    const int fd = socket(name.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, &name.any, length) != 0 || listen(fd, backlog) != 0 ||
        getsockname(fd, &name.any, &length) != 0) {
        close(fd);
        return -1;
    }
    *out_port = ntohs(name.any.sa_family == AF_INET ? name.v4.sin_port : name.v6.sin6_port);
    return fd;
}

static void *connection_main(void *argument)
{
    Connection *connection = argument;
    TcpServer *server = connection->server;
    server->handler(connection->fd, server->context);
    pthread_mutex_lock(&server->mutex);
    close(connection->fd);
    connection->fd = -1;
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

static void *acceptor_main(void *argument)
{
    TcpServer *server = argument;
    for (;;) {
        const int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        pthread_mutex_lock(&server->mutex);
        ASSERT(server->count < MOST_CONNECTIONS);
        Connection *connection = &server->connections[server->count];
        *connection = (Connection){.server = server, .fd = fd};
        const bool refused = server->stopping || pthread_create(&connection->thread, NULL,
                                                                connection_main, connection) != 0;
        if (refused)
            close(fd);
        else
            server->count++;
        pthread_mutex_unlock(&server->mutex);
    }
}

TcpServer *tcp_server_start(const char *address, TcpHandler *handler, void *context)
{
    int port;
    const int listener = listen_on(address, 0, 128, &port);
    if (listener < 0)
        return NULL;
    TcpServer *server = calloc(1, sizeof *server);
    ASSERT(server != NULL);
    server->handler = handler;
    server->context = context;
    server->listener = listener;
    server->port = port;
    pthread_mutex_init(&server->mutex, NULL);
    const int failed = pthread_create(&server->acceptor, NULL, acceptor_main, server);
    ASSERT(failed == 0);
    return server;
}

int tcp_server_port(const TcpServer *server)
{
    return server->port;
}

void tcp_server_stop(TcpServer *server)
{
    if (server == NULL)
        return;
    pthread_mutex_lock(&server->mutex);
    server->stopping = true;
    for (int i = 0; i < server->count; i++)
        if (server->connections[i].fd >= 0)
            shutdown(server->connections[i].fd, SHUT_RDWR);
    pthread_mutex_unlock(&server->mutex);
    shutdown(server->listener, SHUT_RDWR); // wakes accept()
    pthread_join(server->acceptor, NULL);
    for (int i = 0; i < server->count; i++)
        pthread_join(server->connections[i].thread, NULL);
    close(server->listener);
    pthread_mutex_destroy(&server->mutex);
    free(server);
}

int tcp_refused_port(void)
{
    int port = 0;
    const int fd = listen_on("127.0.0.1", 0, 1, &port);
    ASSERT(fd >= 0);
    close(fd);
    return port;
}

// The kernel drops what finds the queue of unaccepted connections full.
int tcp_silent_port(const char *address, int port, int out_fds[8])
{
    out_fds[0] = listen_on(address, port, 0, &port);
    ASSERT(out_fds[0] >= 0);
    for (int i = 1; i < 8; i++) {
        socklen_t length;
        const Name name = name_of(address, port, &length);
        out_fds[i] = socket(name.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        ASSERT(out_fds[i] >= 0);
        const int pending = connect(out_fds[i], &name.any, length);
        (void)pending; // in progress, for ever
    }
    return port;
}

void tcp_silent_close(const int fds[8])
{
    for (int i = 0; i < 8; i++)
        close(fds[i]);
}
