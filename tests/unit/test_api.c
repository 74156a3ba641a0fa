// The REST server as its clients see it: real connections to a real listener, an agent that the
// test plays.
#include "tests/unit/test_api_lab.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int setup(void **state)
{
    *state = lab_new();
    return 0;
}

static int teardown(void **state)
{
    lab_free(*state);
    return 0;
}

static void publish_leader(Lab *lab, int64_t lease_ms)
{
    Snapshot *s = lab_snapshot(lab);
    s->leader_until = instant_plus_ms(clock_now(&lab->clock.clock), lease_ms);
    s->cluster.leader.name = "a";
    s->server.in_recovery = false;
    s->server.flush_lsn = 0x5000100;
    s->server.role = ROLE_PRIMARY;
    lab_publish(lab, s);
}

// --- probes

static void test_leader_until(void **state)
{
    // The lease ends without anybody publishing anything: the very next probe must say so.
    Lab *lab = *state;
    publish_leader(lab, 5000);
    lab_start(lab);
    assert_int_equal(lab_status(lab, "GET", "/primary"), 200);
    assert_int_equal(lab_status(lab, "OPTIONS", "/"), 200);
    lab_advance_ms(lab, 4999);
    assert_int_equal(lab_status(lab, "GET", "/primary"), 200);
    lab_advance_ms(lab, 1);
    assert_int_equal(lab_status(lab, "GET", "/primary"), 503);
    assert_int_equal(lab_status(lab, "HEAD", "/leader"), 503);
}

static void test_status_only(void **state)
{
    Lab *lab = *state;
    LabReply reply;
    lab_start(lab);
    static const struct {
        const char *method, *target;
        int status;
    } rows[] = {
        {"HEAD", "/replica", 200},   {"OPTIONS", "/replica", 200}, {"GET", "/liveness", 200},
        {"GET", "/readiness", 200},  {"HEAD", "/liveness", 503},   {"OPTIONS", "/patroni", 503},
        {"HEAD", "/cluster", 503},   {"OPTIONS", "*", 503},        {"HEAD", "/metrics", 503},
        {"GET", "/liveness/x", 200},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        lab_request(lab, rows[i].method, rows[i].target, NULL, NULL, &reply);
        if (reply.status != rows[i].status || reply.length != 0)
            fail_msg("%s %s: %d, %zu bytes", rows[i].method, rows[i].target, reply.status,
                     reply.length);
        assert_null(strcasestr(reply.head, "content-type"));
    }
}

static void test_keep_alive_and_pipelining(void **state)
{
    // Three requests in one packet, and another one later on the same connection.
    Lab *lab = *state;
    LabReply reply;
    lab_start(lab);
    const int fd = lab_connect(lab);
    lab_send(fd, "GET /replica HTTP/1.1\r\nHost: x\r\n\r\n"
                 "HEAD /primary HTTP/1.1\r\nHost: x\r\n\r\n"
                 "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "\"role\": \"replica\""));
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 503);
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 200);
    lab_send(fd, "GET /why HTTP/1.1\r\nHost: x\r\n\r\n");
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.head, "HTTP/1.1 200 OK\r\n"));
    close(fd);
}

static void test_http_1_0(void **state)
{
    // What HAProxy's httpchk sends by default.
    Lab *lab = *state;
    LabReply reply;
    publish_leader(lab, 5000);
    lab_start(lab);
    const int fd = lab_connect(lab);
    lab_send(fd, "OPTIONS / HTTP/1.0\r\n\r\n");
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(lab_is_closed(fd));
    close(fd);
}

static void test_probe_body_follows_the_snapshot(void **state)
{
    Lab *lab = *state;
    LabReply reply;
    lab_start(lab);
    lab_request(lab, "GET", "/replica", NULL, NULL, &reply);
    assert_null(strstr(reply.body, "\"pause\""));
    assert_null(strstr(reply.body, "cluster_unlocked"));
    Snapshot *s = lab_snapshot(lab);
    s->paused = true;
    lab_publish(lab, s);
    lab_request(lab, "GET", "/replica", NULL, NULL, &reply);
    assert_non_null(strstr(reply.body, "\"pause\": true"));
    lab_advance_ms(lab, 30000); // nobody has heard of the store for a ttl
    lab_request(lab, "GET", "/replica", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "\"cluster_unlocked\": true"));
}

static void test_before_the_first_turn(void **state)
{
    Lab *lab = *state;
    lab_publish(lab, NULL);
    lab_start(lab);
    assert_int_equal(lab_status(lab, "GET", "/liveness"), 503);
    assert_int_equal(lab_status(lab, "GET", "/primary"), 503);
    assert_int_equal(lab_status(lab, "GET", "/patroni"), 503);
    assert_int_equal(lab_status(lab, "POST", "/reload"), 503);
}

static void test_too_many_filters(void **state)
{
    Lab *lab = *state;
    char target[1024] = "/replica?";
    lab_start(lab);
    for (int i = 0; i < 40; i++)
        (void)snprintf(target + strlen(target), sizeof target - strlen(target), "tag_%d=1&", i);
    assert_int_equal(lab_status(lab, "GET", target), 400);
}

// --- sampling

static void test_patroni_is_sampled(void **state)
{
    Lab *lab = *state;
    LabReply reply;
    lab->server.replay_lsn = 0x6000000;
    lab_start(lab);
    lab_request(lab, "GET", "/patroni", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.head, "application/json\r\n"));
    assert_non_null(strstr(reply.body, "\"replayed_location\": 100663296"));
    assert_non_null(strstr(reply.body, "\"position_age_ms\": 0}}"));
    lab_request(lab, "GET", "/metrics", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.head, "text/plain\r\n"));
    assert_non_null(strstr(reply.body, "patroni_xlog_replayed_location{scope=\"demo\",name=\"a\"} "
                                       "100663296\n"));
}

static void test_failed_sample(void **state)
{
    Lab *lab = *state;
    LabReply reply;
    lab->sample_fails = true;
    lab_start(lab);
    lab_request(lab, "GET", "/patroni", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(strncmp(reply.body, "{\"state\": \"unknown\", \"role\": \"replica\", ", 40) == 0);
    assert_null(strstr(reply.body, "xlog"));
    lab_request(lab, "GET", "/metrics", NULL, NULL, &reply);
    assert_non_null(strstr(reply.body, "patroni_postgres_state{scope=\"demo\",name=\"a\"} -1\n"));
}

static void test_stopped_server_is_not_asked(void **state)
{
    Lab *lab = *state;
    LabReply reply;
    Snapshot *s = lab_snapshot(lab);
    s->server.state = STATE_STOPPED;
    lab_publish(lab, s);
    lab_start(lab);
    lab_request(lab, "GET", "/patroni", NULL, NULL, &reply);
    assert_non_null(strstr(reply.body, "\"state\": \"stopped\""));
    lab_request(lab, "GET", "/metrics", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(lab->samples, 0);
}

static void test_samples_are_shared_but_never_old(void **state)
{
    // One asks; while Postgres is thinking, replay moves on and five more come. They share one
    // sample, and it is not the first one's: that began before they asked.
    Lab *lab = *state;
    LabReply reply;
    int fds[6];
    lab->sample_blocks = true;
    lab_start(lab);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        fds[i] = lab_connect(lab);
        lab_send(fds[i], "GET /patroni HTTP/1.1\r\nHost: x\r\n\r\n");
        if (i > 0)
            continue;
        lab_wait_samples(lab, 1);
        pthread_mutex_lock(&lab->lock);
        lab->server.replay_lsn = 7;
        pthread_mutex_unlock(&lab->lock);
    }
    // Probes are answered meanwhile, by each worker in turn: behind them the five have been read.
    for (int i = 0; i < 20; i++)
        assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
    lab_let_go(lab);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        lab_receive(fds[i], &reply);
        assert_int_equal(reply.status, 200);
        assert_int_equal(strstr(reply.body, "\"replayed_location\": 7,") != NULL, i > 0);
        close(fds[i]);
    }
    assert_int_equal(lab->samples, 2);
}

static void test_hanging_sample(void **state)
{
    // The agent breaks its word to answer within a second. Nobody hangs for it.
    Lab *lab = *state;
    LabReply reply;
    lab->sample_blocks = true;
    lab_start(lab);
    const int fd = lab_connect(lab);
    lab_send(fd, "GET /patroni HTTP/1.1\r\nHost: x\r\n\r\n");
    lab_wait_samples(lab, 1);
    lab_advance_ms(lab, 3000);
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 503);
    close(fd);
    lab_let_go(lab);
    lab_request(lab, "GET", "/patroni", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
}

// --- requests that wait

static void test_completed_from_another_thread(void **state)
{
    Lab *lab = *state;
    LabReply reply;
    lab_start(lab);
    const int fd = lab_connect(lab);
    lab_send(fd, "POST /switchover HTTP/1.1\r\nHost: x\r\nContent-Length: 33\r\n\r\n"
                 "{\"leader\": \"b\", \"candidate\": \"a\"}");
    ApiRequest *request = lab_wait_request(lab);
    assert_int_equal(request->kind, API_SWITCHOVER);
    assert_string_equal(tree_get_string(request->body, "candidate", ""), "a");
    assert_int_equal(deadline_left_ms(request->deadline, clock_now(&lab->clock.clock)), 20000);
    api_complete(request, 200, NULL, "Successfully switched over to \"a\"");
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "Successfully switched over to \"a\"");
    assert_non_null(strstr(reply.head, "Content-Type: text/html\r\n"));
    // The connection lives on.
    lab_send(fd,
             "PATCH /config HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"pause\": true}");
    request = lab_wait_request(lab);
    assert_int_equal(request->kind, API_PATCH_CONFIG);
    api_complete(request, 200, "application/json", "{\"pause\": true}");
    lab_receive(fd, &reply);
    assert_non_null(strstr(reply.head, "Content-Type: application/json\r\n"));
    assert_string_equal(reply.body, "{\"pause\": true}");
    close(fd);
}

static void test_deadline(void **state)
{
    // The agent never answers. We do, and its late answer goes nowhere.
    Lab *lab = *state;
    LabReply reply;
    lab_start(lab);
    const int fd = lab_connect(lab);
    lab_send(fd, "POST /failover HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n"
                 "{\"candidate\": \"a\"}");
    ApiRequest *request = lab_wait_request(lab);
    assert_int_equal(request->kind, API_FAILOVER);
    lab_advance_ms(lab, 20000);
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200); // wakes nobody: the front must tick
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 503);
    assert_string_equal(reply.body, "Failover status unknown after 20 seconds; operation may still "
                                    "be in progress");
    api_complete(request, 200, NULL, "too late");
    close(fd);
}

static void test_client_hangs_up(void **state)
{
    Lab *lab = *state;
    lab_start(lab);
    for (int i = 0; i < 20; i++) {
        const int fd = lab_connect(lab);
        lab_send(fd, "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        ApiRequest *request = lab_wait_request(lab);
        if (i % 2 == 0) { // with a reset, not an orderly end
            const struct linger now = {.l_onoff = 1};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        }
        close(fd);
        api_complete(request, 202, NULL, "reload scheduled");
    }
    assert_int_equal(lab_status(lab, "GET", "/replica"), 200);
}

static void test_stop_while_suspended(void **state)
{
    // Stopping answers what waits, whether the agent has taken it up or not, and a sample under
    // way.
    Lab *lab = *state;
    LabReply reply;
    lab_start(lab);
    const int fd = lab_connect(lab), never = lab_connect(lab);
    lab_send(fd, "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    lab_send(never, "POST /restart HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    ApiRequest *one = lab_wait_request(lab), *two = lab_wait_request(lab);
    lab_stop(lab);
    lab_receive(fd, &reply);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "status unknown"));
    lab_receive(never, &reply);
    assert_int_equal(reply.status, 503);
    api_complete(one, 202, NULL, "after the end"); // the server is gone; the requests are not
    api_complete(two, 202, NULL, "after the end");
    close(fd);
    close(never);
}

static void *complete_all(void *argument)
{
    Lab *lab = argument;
    for (int i = 0; i < 200; i++)
        api_complete(lab_wait_request(lab), 202, NULL, "reload scheduled");
    return NULL;
}

static void test_many_waiting(void **state)
{
    // Suspended and resumed at once, by two workers and two agents' threads.
    Lab *lab = *state;
    LabReply reply;
    pthread_t agents[2];
    int fds[40];
    lab_start(lab);
    for (size_t i = 0; i < COUNT_OF(agents); i++)
        assert_int_equal(pthread_create(&agents[i], NULL, complete_all, lab), 0);
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        fds[i] = lab_connect(lab);
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < COUNT_OF(fds); i++)
            lab_send(fds[i], "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        for (size_t i = 0; i < COUNT_OF(fds); i++) {
            lab_receive(fds[i], &reply);
            assert_int_equal(reply.status, 202);
        }
    }
    for (size_t i = 0; i < COUNT_OF(agents); i++)
        pthread_join(agents[i], NULL);
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        close(fds[i]);
}

#define API_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(test_leader_until),
        API_TEST(test_status_only),
        API_TEST(test_keep_alive_and_pipelining),
        API_TEST(test_http_1_0),
        API_TEST(test_probe_body_follows_the_snapshot),
        API_TEST(test_before_the_first_turn),
        API_TEST(test_too_many_filters),
        API_TEST(test_patroni_is_sampled),
        API_TEST(test_failed_sample),
        API_TEST(test_stopped_server_is_not_asked),
        API_TEST(test_samples_are_shared_but_never_old),
        API_TEST(test_hanging_sample),
        API_TEST(test_completed_from_another_thread),
        API_TEST(test_deadline),
        API_TEST(test_client_hangs_up),
        API_TEST(test_stop_while_suspended),
        API_TEST(test_many_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
