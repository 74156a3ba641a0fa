#include "tests/support/kube_server.h"

#include "common/base/attributes.h"
#include "tests/support/http_wire.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static KubeStep step_to(KubeServer *server, const char *request)
{
    static const KubeStep none = {KUBE_ANSWERS, "404 Not Found",
                                  "{\"code\":404,\"details\":{\"name\":\"x\",\"kind\":\"y\"}}",
                                  NULL};
    const KubeStep *found = NULL;
    ASSERT(server->step_count <= KUBE_STEPS_MAX);
    for (size_t i = 0; i < server->step_count; i++) {
        if (strstr(request, server->steps[i].to) == NULL)
            continue;
        found = &server->steps[i];
        if (server->used[i])
            continue; // unless it is the last
        server->used[i] = true;
        break;
    }
    return found != NULL ? *found : none;
}

static KubeStep next_step(KubeServer *server, const char *request)
{
    pthread_mutex_lock(&server->mutex);
    if (server->count < KUBE_REQUESTS_MAX)
        snprintf(server->requests[server->count], KUBE_REQUEST_SIZE, "%s", request);
    server->count++;
    const bool by_text = server->steps[0].to != NULL;
    const KubeStep step = by_text ? step_to(server, request) : server->steps[server->next];
    if (!by_text && server->next + 1 < server->step_count)
        server->next++;
    pthread_mutex_unlock(&server->mutex);
    return step;
}

// In pieces of seven bytes, so that documents are split everywhere.
static void say_chunks(int fd, const char *body)
{
    enum { PIECE = 7 };
    http_say(
        fd,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t left = strlen(body); left > 0;) {
        const size_t part = left < PIECE ? left : PIECE;
        char head[32];
        snprintf(head, sizeof head, "%zx\r\n", part);
        http_say(fd, head);
        http_send(fd, body, part);
        http_say(fd, "\r\n");
        body += part;
        left -= part;
    }
}

static void say_reply(int fd, const KubeStep *step)
{
    char head[512];
    snprintf(head, sizeof head,
             "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             step->status, strlen(step->body));
    http_say(fd, head);
    http_say(fd, step->body);
}

// True if the connection goes on.
static bool play(int fd, const KubeStep *step)
{
    enum { LATE_MS = 300 };
    switch (step->act) {
    case KUBE_ANSWERS_LATE:
        poll(NULL, 0, LATE_MS);
        say_reply(fd, step);
        return true;
    case KUBE_ANSWERS:
        say_reply(fd, step);
        return true;
    case KUBE_LOSES:
        return false;
    case KUBE_HANGS:
        http_hang(fd);
        return false;
    case KUBE_STREAMS:
        say_chunks(fd, step->body);
        http_say(fd, "0\r\n\r\n");
        return true;
    case KUBE_KEEPS:
        say_chunks(fd, step->body);
        http_hang(fd);
        return false;
    case KUBE_BREAKS:
        say_chunks(fd, step->body);
        return false;
    }
    return false;
}

static void on_connection(int fd, void *context)
{
    KubeServer *server = context;
    char *request = malloc(KUBE_REQUEST_SIZE);
    ASSERT(request != NULL);
    while (http_receive(fd, request, KUBE_REQUEST_SIZE)) {
        const KubeStep step = next_step(server, request);
        if (!play(fd, &step))
            break;
    }
    free(request);
}

void kube_server_start(KubeServer *server, const KubeStep *steps, size_t count)
{
    *server = (KubeServer){.steps = steps, .step_count = count};
    pthread_mutex_init(&server->mutex, NULL);
    server->tcp = tcp_server_start("127.0.0.1", on_connection, server);
    ASSERT(server->tcp != NULL);
    server->port = tcp_server_port(server->tcp);
}

void kube_server_script(KubeServer *server, const KubeStep *steps, size_t count)
{
    pthread_mutex_lock(&server->mutex);
    server->steps = steps;
    server->step_count = count;
    server->next = 0;
    memset(server->used, 0, sizeof server->used);
    pthread_mutex_unlock(&server->mutex);
}

void kube_server_stop(KubeServer *server)
{
    tcp_server_stop(server->tcp);
    pthread_mutex_destroy(&server->mutex);
}

size_t kube_server_count(KubeServer *server)
{
    pthread_mutex_lock(&server->mutex);
    const size_t count = server->count;
    pthread_mutex_unlock(&server->mutex);
    return count;
}

bool kube_server_wait(KubeServer *server, size_t count)
{
    for (int i = 0; i < 10000 && kube_server_count(server) < count; i++)
        poll(NULL, 0, 1);
    return kube_server_count(server) >= count;
}

bool kube_server_saw(KubeServer *server, size_t number, const char *text)
{
    pthread_mutex_lock(&server->mutex);
    const bool saw = number < server->count && number < KUBE_REQUESTS_MAX &&
                     strstr(server->requests[number], text) != NULL;
    pthread_mutex_unlock(&server->mutex);
    return saw;
}

size_t kube_server_find(KubeServer *server, const char *text, size_t from)
{
    for (int i = 0; i < 10000; i++) {
        const size_t count = kube_server_count(server);
        for (size_t k = from; k < count && k < KUBE_REQUESTS_MAX; k++) {
            if (kube_server_saw(server, k, text))
                return k;
        }
        poll(NULL, 0, 1);
    }
    return KUBE_REQUESTS_MAX;
}
