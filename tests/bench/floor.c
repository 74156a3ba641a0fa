// The floor of two rows of the bench: a program that links and initialises the agent's libraries,
// and then does nothing but answer 200 to whatever a connection sends, on one thread, without
// looking at it. Usage: floor PORT; it runs until it is killed.
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <gnutls/gnutls.h>
#include <libpq-fe.h>
#include <microhttpd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yaml.h>

static int fail(const char *what)
{
    (void)fprintf(stderr, "floor: %s\n", what);
    return 1;
}

// Each library is called once, so that what it sets up for itself is there.
static int use_libraries(void)
{
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK || !curl_easy_init())
        return fail("libcurl");
    if (gnutls_global_init() != GNUTLS_E_SUCCESS)
        return fail("GnuTLS");
    if (MHD_is_feature_supported(MHD_FEATURE_EPOLL) != MHD_YES)
        return fail("libmicrohttpd");
    cJSON *json = cJSON_Parse("{}");
    if (!json)
        return fail("cJSON");
    cJSON_Delete(json);
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return fail("libyaml");
    yaml_parser_delete(&parser);
    PQconninfoOption *options = PQconninfoParse("host=127.0.0.1", NULL);
    if (!options)
        return fail("libpq");
    PQconninfoFree(options);
    return 0;
}

static int listen_on(uint16_t port)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 64) != 0)
        return -1;
    return fd;
}

// One read is one request: the client of the bench sends no second one before the answer.
static void answer(int fd)
{
    static const char reply[] =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        "Content-Length: 36\r\n\r\n{\"state\":\"running\",\"role\":\"primary\"}";
    char request[4096];
    if (read(fd, request, sizeof request) <= 0 || write(fd, reply, sizeof reply - 1) < 0)
        (void)close(fd);
}

static void watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        abort();
}

int main(int argc, char **argv)
{
    const long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (port <= 0 || port > UINT16_MAX)
        return fail("usage: floor PORT (1 to 65535)");
    if (use_libraries() != 0)
        return 1;
    const int listener = listen_on((uint16_t)port);
    const int epoll_fd = epoll_create1(0);
    if (listener < 0 || epoll_fd < 0)
        return fail("cannot listen on that port");
    watch(epoll_fd, listener);
    for (;;) {
        struct epoll_event events[64];
        const int count = epoll_wait(epoll_fd, events, 64, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd != listener) {
                answer(events[i].data.fd);
                continue;
            }
            const int fd = accept(listener, NULL, NULL);
            if (fd >= 0)
                watch(epoll_fd, fd);
        }
    }
}
