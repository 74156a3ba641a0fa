#include "tests/support/ports.h"

#include "tests/support/test.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// Below the range the kernel takes for outgoing connections: a port of that range may be in use by
// somebody's connection when the server is started again. The scenarios' harness takes others.
enum { LOWEST = 12000, COUNT = 18000, TRIES = 1000 };

// A name that other tests cannot have while this process holds it, and that goes with it. -1:
// taken.
static int reserve(int port)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const int length =
        snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "howdah-unit-port-%d", port);
    const socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) + (socklen_t)length;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (bind(fd, (const struct sockaddr *)(const void *)&name, size) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool is_free(int port)
{
    const struct sockaddr_in name = {.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    const bool ok = bind(fd, (const struct sockaddr *)(const void *)&name, sizeof name) == 0;
    close(fd);
    return ok;
}

int free_port(void)
{
    for (int i = 0; i < TRIES; i++) {
        uint16_t roll = 0;
        assert_int_equal(getrandom(&roll, sizeof roll, 0), sizeof roll);
        const int port = LOWEST + roll % COUNT;
        const int reservation = reserve(port);
        if (reservation >= 0 && is_free(port))
            return port; // the reservation stays open: that is what it is for
        if (reservation >= 0)
            close(reservation);
    }
    fail_msg("no port is free");
    return 0;
}
