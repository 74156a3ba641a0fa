#include "api/listen.h"

#include "common/os/files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Patroni's default of 5 loses probes when many come at once; the kernel caps it at somaxconn.
enum { BACKLOG = 512 };

typedef struct {
    struct sockaddr_storage address;
    socklen_t length;
} SocketAddress;

static SocketAddress of_v6(const struct in6_addr *host, int port)
{
    const struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = *host};
    SocketAddress out = {.length = sizeof in6};
    memcpy(&out.address, &in6, sizeof in6);
    return out;
}

static SocketAddress of_v4(struct in_addr host, int port)
{
    const struct sockaddr_in in4 = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = host};
    SocketAddress out = {.length = sizeof in4};
    memcpy(&out.address, &in4, sizeof in4);
    return out;
}

static bool of_numeric(const char *host, int port, SocketAddress *out)
{
    struct in_addr in4;
    struct in6_addr in6;
    if (inet_pton(AF_INET, host, &in4) == 1)
        *out = of_v4(in4, port);
    else if (inet_pton(AF_INET6, host, &in6) == 1)
        *out = of_v6(&in6, port);
    else
        return false;
    return true;
}

// A peer that has gone is noticed after 10 s at the latest. Accepted sockets inherit all of it.
static bool set_options(int fd, int family)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {SOL_SOCKET, SO_REUSEADDR, 1},          {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 10000}, {IPPROTO_TCP, TCP_KEEPIDLE, 3},
        {IPPROTO_TCP, TCP_KEEPINTVL, 2},        {IPPROTO_TCP, TCP_KEEPCNT, 3},
        {IPPROTO_TCP, TCP_NODELAY, 1},
    };
    for (size_t i = 0; i < COUNT_OF(options); i++)
        if (setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int)) != 0)
            return false;
    const int off = 0;
    return family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0;
}

// False with errno set.
static bool open_at(const SocketAddress *at, int *out_fd)
{
    AUTO(fd_release)
    int fd = socket(at->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || !set_options(fd, at->address.ss_family))
        return false;
    if (bind(fd, (const struct sockaddr *)&at->address, at->length) != 0 ||
        listen(fd, BACKLOG) != 0)
        return false;
    *out_fd = fd;
    fd = -1;
    return true;
}

bool listen_open(const Address *address, Resolver *resolver, Deadline deadline, int *out_fd,
                 bool *in_use, Error *err)
{
    const char *host = str_or(address->host, "*");
    const bool everywhere = str_eq(host, "*");
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    SocketAddress at;
    *in_use = false;
    if (everywhere) {
        at = of_v6(&in6addr_any, address->port);
    } else if (!of_numeric(host, address->port, &at)) {
        const StringList found = resolver_wait(resolver, arena, host, deadline);
        if (found.count == 0 || !of_numeric(found.items[0], address->port, &at))
            return error_set(err, ERR_UNAVAILABLE, "restapi.listen: the name %s is not known",
                             host);
    }
    if (open_at(&at, out_fd))
        return true;
    if (everywhere && errno != EADDRINUSE) { // no IPv6 here
        at = of_v4((struct in_addr){.s_addr = htonl(INADDR_ANY)}, address->port);
        if (open_at(&at, out_fd))
            return true;
    }
    *in_use = errno == EADDRINUSE;
    return error_set(err, ERR_UNAVAILABLE, "restapi.listen: %s:%d: %s", host, address->port,
                     strerror(errno));
}
