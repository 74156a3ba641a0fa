#include "tests/unit/test_api_lab.h"

#include "tests/support/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static Instant lab_now(Clock *clock)
{
    return (Instant){__atomic_load_n(&((LabClock *)clock)->now_ns, __ATOMIC_SEQ_CST)};
}

static int64_t lab_wall_us(Clock *clock)
{
    (void)clock;
    return INT64_C(1767225600000000); // 2026-01-01T00:00:00Z
}

static const ClockOps lab_clock = {.now = lab_now, .wall_us = lab_wall_us};

void lab_advance_ms(Lab *lab, int64_t ms)
{
    __atomic_add_fetch(&lab->clock.now_ns, ms * NS_PER_MS, __ATOMIC_SEQ_CST);
}

// --- the agent

static Snapshot *host_snapshot(ApiHost *host)
{
    Lab *lab = (Lab *)host;
    pthread_mutex_lock(&lab->lock);
    Snapshot *snapshot = snapshot_ref(lab->snapshot);
    pthread_mutex_unlock(&lab->lock);
    return snapshot;
}

static bool host_cluster(ApiHost *host, Arena *arena, ClusterView *out)
{
    Lab *lab = (Lab *)host;
    (void)arena;
    pthread_mutex_lock(&lab->lock);
    const bool there = lab->cluster_there;
    if (there)
        *out = lab->cluster;
    pthread_mutex_unlock(&lab->lock);
    return there;
}

// Says what was so when the question came, however long the answer takes.
static bool host_sample(ApiHost *host, Arena *arena, Deadline deadline, ServerView *out)
{
    Lab *lab = (Lab *)host;
    ASSERT(deadline_left_ms(deadline, clock_now(&lab->clock.clock)) <= 1000);
    pthread_mutex_lock(&lab->lock);
    const bool ok = !lab->sample_fails;
    if (ok)
        server_view_copy(arena, &lab->server, out);
    lab->samples++;
    pthread_cond_broadcast(&lab->changed);
    while (lab->sample_blocks)
        pthread_cond_wait(&lab->changed, &lab->lock);
    pthread_mutex_unlock(&lab->lock);
    return ok;
}

static void host_submit(ApiHost *host, ApiRequest *request)
{
    Lab *lab = (Lab *)host;
    pthread_mutex_lock(&lab->lock);
    request->next = lab->requests;
    lab->requests = request;
    lab->submitted++;
    pthread_cond_broadcast(&lab->changed);
    pthread_mutex_unlock(&lab->lock);
}

static void wait_changed(Lab *lab, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    if (pthread_cond_timedwait(&lab->changed, &lab->lock, &until) == ETIMEDOUT)
        fail_msg("waited 10 s for %s", what);
}

ApiRequest *lab_wait_request(Lab *lab)
{
    pthread_mutex_lock(&lab->lock);
    while (lab->requests == NULL)
        wait_changed(lab, "a request");
    ApiRequest *request = lab->requests;
    lab->requests = request->next;
    pthread_mutex_unlock(&lab->lock);
    return request;
}

void lab_wait_samples(Lab *lab, int count)
{
    pthread_mutex_lock(&lab->lock);
    while (lab->samples < count)
        wait_changed(lab, "a sample");
    pthread_mutex_unlock(&lab->lock);
}

void lab_let_go(Lab *lab)
{
    pthread_mutex_lock(&lab->lock);
    lab->sample_blocks = false;
    pthread_cond_broadcast(&lab->changed);
    pthread_mutex_unlock(&lab->lock);
}

void lab_publish(Lab *lab, Snapshot *snapshot)
{
    pthread_mutex_lock(&lab->lock);
    Snapshot *old = lab->snapshot;
    lab->snapshot = snapshot;
    pthread_mutex_unlock(&lab->lock);
    snapshot_unref(old);
}

static ServerView replica_server(const Lab *lab)
{
    return (ServerView){.warden = true,
                        .running = true,
                        .answered = true,
                        .answered_at = {lab->clock.now_ns},
                        .in_recovery = true,
                        .timeline = 3,
                        .receive_lsn = 0x5000100,
                        .replay_lsn = 0x5000060,
                        .latest_end_lsn = 0x5000100,
                        .streaming = true,
                        .server_version = 150018,
                        .postmaster_start_us = INT64_C(1724873966352526),
                        .postmaster_start_text = "2024-08-28 19:39:26.352526+00:00",
                        .role = ROLE_REPLICA,
                        .state = STATE_RUNNING};
}

Snapshot *lab_snapshot(Lab *lab)
{
    const Instant now = clock_now(&lab->clock.clock);
    Snapshot *s = snapshot_new();
    s->published_at = now;
    s->name = "a";
    s->scope = "demo";
    s->howdah_version = "0.1.0";
    s->patroni_version = "4.1.4";
    s->tag_values.failover_priority = 1;
    s->ttl_ms = 30000;
    s->loop_wait_ms = 10000;
    s->maximum_lag_on_failover = 1048576;
    s->cluster_known = true;
    s->cluster.seen_at = now;
    s->cluster.leader.name = "b";
    s->cluster.optime = 0x5000100;
    s->dcs_last_seen_s = 1767225600;
    s->next_turn_at = instant_plus_ms(now, s->loop_wait_ms);
    s->server = replica_server(lab);
    return s;
}

// --- life

Lab *lab_new(void)
{
    Lab *lab = calloc(1, sizeof *lab);
    assert_non_null(lab);
    lab->host = (ApiHost){.snapshot = host_snapshot,
                          .cluster = host_cluster,
                          .sample = host_sample,
                          .submit = host_submit};
    lab->clock = (LabClock){.clock = {.ops = &lab_clock}, .now_ns = 1000 * 1000 * NS_PER_MS};
    lab->resolver = resolver_new();
    pthread_mutex_init(&lab->lock, NULL);
    pthread_cond_init(&lab->changed, NULL);
    lab->port = free_port();
    lab->settings = (RestSettings){.listen = {.host = "127.0.0.1", .port = lab->port}};
    lab->server = replica_server(lab);
    lab->snapshot = lab_snapshot(lab);
    return lab;
}

void lab_start(Lab *lab)
{
    Error err = {0};
    const ApiOptions options = {.settings = &lab->settings,
                                .host = &lab->host,
                                .clock = &lab->clock.clock,
                                .resolver = lab->resolver};
    if (!api_start(&options, &lab->api, &err))
        fail_msg("api_start: %s", err.text);
}

void lab_stop(Lab *lab)
{
    if (lab->api != NULL)
        api_stop(lab->api);
    lab->api = NULL;
}

void lab_free(Lab *lab)
{
    lab_let_go(lab);
    lab_stop(lab);
    snapshot_unref(lab->snapshot);
    resolver_free(lab->resolver);
    pthread_mutex_destroy(&lab->lock);
    pthread_cond_destroy(&lab->changed);
    free(lab);
}

// --- the client

int lab_connect(const Lab *lab)
{
    const struct timeval patience = {.tv_sec = 10};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)lab->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

void lab_send(int fd, const char *bytes)
{
    for (size_t left = strlen(bytes); left > 0;) {
        const ssize_t sent = send(fd, bytes, left, MSG_NOSIGNAL);
        assert_true(sent > 0);
        bytes += sent;
        left -= (size_t)sent;
    }
}

static void receive_head(int fd, LabReply *out)
{
    size_t length = 0;
    while (length < 4 || memcmp(out->head + length - 4, "\r\n\r\n", 4) != 0) {
        assert_true(length + 1 < sizeof out->head);
        if (recv(fd, out->head + length, 1, 0) != 1)
            fail_msg("no whole reply came: '%.*s'", (int)length, out->head);
        length++;
    }
    out->head[length] = '\0';
    assert_int_equal(sscanf(out->head, "HTTP/1.%*d %d", &out->status), 1);
}

void lab_receive(int fd, LabReply *out)
{
    memset(out, 0, sizeof *out);
    receive_head(fd, out);
    const char *header = strcasestr(out->head, "\r\ncontent-length: ");
    assert_non_null(header);
    const size_t expected = strtoul(header + strlen("\r\ncontent-length: "), NULL, 10);
    assert_true(expected < sizeof out->body);
    while (out->length < expected) {
        const ssize_t got = recv(fd, out->body + out->length, expected - out->length, 0);
        assert_true(got > 0);
        out->length += (size_t)got;
    }
}

bool lab_is_closed(int fd)
{
    char byte;
    const ssize_t got = recv(fd, &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

void lab_request(const Lab *lab, const char *method, const char *target, const char *headers,
                 const char *body, LabReply *out)
{
    char head[4096], length[64] = "";
    if (body != NULL)
        (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body));
    const int size =
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: x\r\n%s%sConnection: close\r\n\r\n",
                 method, target, length, headers != NULL ? headers : "");
    assert_true(size > 0 && (size_t)size < sizeof head);
    const int fd = lab_connect(lab);
    lab_send(fd, head);
    if (body != NULL)
        lab_send(fd, body);
    lab_receive(fd, out);
    close(fd);
}

int lab_status(const Lab *lab, const char *method, const char *target)
{
    LabReply reply;
    lab_request(lab, method, target, NULL, NULL, &reply);
    return reply.status;
}
