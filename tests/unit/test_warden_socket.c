// The socket: who may speak, who is replaced, what nonsense does, and who is too slow.
#include "tests/unit/test_warden_lab.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

static Raw raw;

static void hello(Lab *lab)
{
    raw.fd = raw_connect(lab);
    raw_hello(raw.fd, 0, 0);
    raw_read_type(&raw, WIRE_STATE);
    assert_int_equal(raw.head.tag, 1);
}

static uint64_t state_epoch(int64_t *warden)
{
    WireReader in = {raw.body, raw.head.length, 0, false};
    assert_int_equal(wire_get_u16(&in), WARDEN_PROTOCOL);
    (void)wire_get_u16(&in);
    const uint64_t epoch = wire_get_u64(&in);
    *warden = wire_get_i64(&in);
    assert_false(in.bad);
    return epoch;
}

static const char *error_text(unsigned *code)
{
    WireReader in = {raw.body, raw.head.length, 0, false};
    *code = wire_get_u16(&in);
    return wire_get_text(&in);
}

static void expect_error(uint32_t tag, unsigned code, const char *part)
{
    unsigned got = 0;
    raw_read_type(&raw, WIRE_ERROR);
    assert_int_equal(raw.head.tag, tag);
    const char *text = error_text(&got);
    assert_int_equal(got, code);
    if (!strstr(text, part))
        fail_msg("%s", text);
}

static bool still_served(Lab *lab)
{
    const int fd = raw.fd;
    RAW_FRAME(again, WIRE_HELLO, 77);
    (void)lab;
    raw_send(fd, &again);
    raw_read_type(&raw, WIRE_STATE);
    return raw.head.tag == 77;
}

static void test_errors_are_answers(void **state)
{
    Lab *lab = *state;
    raw.fd = raw_connect(lab);
    RAW_FRAME(early, WIRE_UNFENCE, 5);
    raw_send(raw.fd, &early);
    expect_error(5, WARDEN_REFUSED, "say hello first");
    raw_hello(raw.fd, 0, 0);
    raw_read_type(&raw, WIRE_STATE);

    RAW_FRAME(unknown, 4242, 6);
    raw_send(raw.fd, &unknown);
    expect_error(6, WARDEN_UNKNOWN, "4242");
    RAW_FRAME(short_fence, WIRE_FENCE, 7);
    wire_put_i64(&short_fence, 1);
    raw_send(raw.fd, &short_fence);
    expect_error(7, WARDEN_REFUSED, "too short");
    RAW_FRAME(short_spawn, WIRE_SPAWN, 8);
    wire_put_u16(&short_spawn, 0);
    wire_put_text(&short_spawn, "t");
    raw_send(raw.fd, &short_spawn);
    expect_error(8, WARDEN_REFUSED, "spawn: wants");
    RAW_FRAME(long_note, WIRE_UNFENCE, 9);
    wire_put_u16(&long_note, 0);
    char note[WARDEN_NOTE_SIZE + 1];
    memset(note, 'n', sizeof note - 1);
    note[sizeof note - 1] = 0;
    wire_put_text(&long_note, note);
    raw_send(raw.fd, &long_note);
    expect_error(9, WARDEN_REFUSED, "longer than 256");
    RAW_FRAME(empty_signal, WIRE_SIGNAL, 10);
    raw_send(raw.fd, &empty_signal);
    expect_error(10, WARDEN_REFUSED, "signal: wants");
    RAW_FRAME(empty_adopt, WIRE_ADOPT, 11);
    raw_send(raw.fd, &empty_adopt);
    expect_error(11, WARDEN_REFUSED, "adopt: wants");
    assert_true(still_served(lab));
    (void)close(raw.fd);
}

// What a newer agent appends to a body is not ours to understand, nor to refuse.
static void test_longer_bodies(void **state)
{
    Lab *lab = *state;
    raw.fd = raw_connect(lab);
    RAW_FRAME(longer, WIRE_HELLO, 3);
    wire_put_u16(&longer, 99);
    wire_put_i64(&longer, 0);
    wire_put_u64(&longer, 0);
    for (int i = 0; i < 100; i++)
        wire_put_u64(&longer, 12345);
    raw_send(raw.fd, &longer);
    raw_read_type(&raw, WIRE_STATE);
    RAW_FRAME(unfence, WIRE_UNFENCE, 4);
    wire_put_u16(&unfence, 0);
    wire_put_text(&unfence, "");
    wire_put_text(&unfence, "something new");
    raw_send(raw.fd, &unfence);
    raw_read_type(&raw, WIRE_DONE);
    assert_int_equal(raw.head.tag, 4);
    (void)close(raw.fd);
}

// Frames arrive as the kernel likes: in crumbs, or several at once, HELLO included.
static void test_crumbs_and_clusters(void **state)
{
    Lab *lab = *state;
    uint8_t all[512];
    WireWriter frame = {all, sizeof all, 0, false};
    wire_put_head(&frame, WIRE_HELLO, 1);
    wire_put_u16(&frame, WARDEN_PROTOCOL);
    wire_put_i64(&frame, 0);
    wire_put_u64(&frame, 0);
    assert_true(wire_finish(&frame, 0));
    for (uint32_t tag = 2; tag < 6; tag++) {
        const size_t start = frame.used;
        wire_put_head(&frame, 4242, tag);
        assert_true(wire_finish(&frame, start));
    }
    raw.fd = raw_connect(lab);
    assert_int_equal(send(raw.fd, all, frame.used, 0), frame.used);
    for (uint32_t tag = 2; tag < 6; tag++)
        expect_error(tag, WARDEN_UNKNOWN, "4242");
    (void)close(raw.fd);

    raw.fd = raw_connect(lab);
    for (size_t i = 0; i < frame.used; i++)
        assert_int_equal(send(raw.fd, all + i, 1, 0), 1);
    for (uint32_t tag = 2; tag < 6; tag++)
        expect_error(tag, WARDEN_UNKNOWN, "4242");
    (void)close(raw.fd);
}

// Noise ends the connection it comes on, and nothing else.
static void test_garbage(void **state)
{
    static const char *const noises[] = {
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "HW\x01\x00\x01\x00\x00\x00\xff\xff\xff\xff", // longer than any message
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00",
    };
    Lab *lab = *state;
    for (size_t i = 0; i < COUNT_OF(noises); i++) {
        raw.fd = raw_connect(lab); // before hello
        assert_true(send(raw.fd, noises[i], 12, 0) == 12);
        assert_false(raw_read(&raw));
        (void)close(raw.fd);
        hello(lab); // and after
        assert_true(send(raw.fd, noises[i], 12, 0) == 12);
        while (raw_read(&raw))
            continue;
        (void)close(raw.fd);
    }
    // Random bytes, always the same.
    unsigned seed = 20240607;
    for (int round = 0; round < 50; round++) {
        uint8_t noise[4096];
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)rand_r(&seed);
        // Half of them look like frames.
        if (round % 2)
            memcpy(noise, "HW", 2);
        hello(lab);
        (void)send(raw.fd, noise, sizeof noise, MSG_NOSIGNAL);
        (void)shutdown(raw.fd, SHUT_WR);
        while (raw_read(&raw))
            continue;
        (void)close(raw.fd);
    }
    hello(lab);
    assert_true(still_served(lab));
    (void)close(raw.fd);
}

// Bodies of every kind, full of noise: an answer each, and the warden is as it was.
static void test_garbage_bodies(void **state)
{
    Lab *lab = *state;
    unsigned seed = 42;
    hello(lab);
    for (uint32_t tag = 100; tag < 700; tag++) {
        const unsigned type = WIRE_FENCE + tag % 5;
        RAW_FRAME(noise, type, tag);
        const int size = rand_r(&seed) % 200;
        for (int i = 0; i < size; i++) {
            const uint8_t byte = (uint8_t)(rand_r(&seed) % (tag % 2 ? 256 : 4));
            wire_put_bytes(&noise, &byte, 1);
        }
        raw_send(raw.fd, &noise);
        do {
            assert_true(raw_read(&raw));
        } while (raw.head.tag != tag || raw.head.type == WIRE_STATE);
    }
    (void)close(raw.fd);
}

static void test_newer_agent_replaces(void **state)
{
    Lab *lab = *state;
    Error err = {0};
    lab_attach(lab);
    const uint64_t first = lab_view(lab).epoch;
    uint64_t count;
    while (read(warden_client_event_fd(lab->client), &count, sizeof count) > 0)
        continue;

    Processes *newer = warden_client_new(lab->socket, lab->clock);
    assert_true(warden_client_connect(newer, lab_deadline(lab), &err));
    WardenView view;
    newer->ops->view(newer, &view);
    assert_true(view.epoch > first);

    struct pollfd event = {.fd = warden_client_event_fd(lab->client), .events = POLLIN};
    assert_int_equal(poll(&event, 1, WAIT_MS), 1);
    WAIT_FOR(lab, lab_view(lab).replaced);
    WAIT_FOR(lab, !lab_view(lab).connected);
    assert_false(lab_try_fence(lab, 500, 800, &err));
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_false(warden_client_connect(lab->client, lab_deadline(lab), &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    newer->ops->view(newer, &view);
    assert_true(view.connected); // undisturbed
    warden_client_free(newer);
}

// The old agent was frozen and never saw the notice, nor even its connection's end: when it wakes
// up and attaches again, what it says about itself gives it away.
static void test_replaced_without_notice(void **state)
{
    Lab *lab = *state;
    int64_t warden = 0;
    hello(lab);
    const uint64_t old = state_epoch(&warden);
    (void)close(raw.fd);
    raw.fd = raw_connect(lab); // the same agent again: fine
    raw_hello(raw.fd, warden, old);
    raw_read_type(&raw, WIRE_STATE);
    assert_int_equal(state_epoch(&warden), old + 1);
    (void)close(raw.fd);
    hello(lab); // somebody else
    (void)close(raw.fd);

    raw.fd = raw_connect(lab);
    raw_hello(raw.fd, warden, old + 1);
    assert_true(raw_read(&raw));
    assert_int_equal(raw.head.type, WIRE_REPLACED);
    assert_false(raw_read(&raw));
    (void)close(raw.fd);
    // Another warden's epochs say nothing here.
    raw.fd = raw_connect(lab);
    raw_hello(raw.fd, warden - 1, old);
    raw_read_type(&raw, WIRE_STATE);
    (void)close(raw.fd);
}

// What a replaced agent has sent and nobody has read is not done.
static void test_unread_messages_of_an_old_epoch(void **state)
{
    Lab *lab = *state;
    hello(lab);
    const int old = raw.fd;
    assert_int_equal(kill(lab->warden, SIGSTOP), 0);
    const int newer = raw_connect(lab);
    raw_hello(newer, 0, 0);
    assert_int_equal(kill(lab->warden, SIGCONT), 0);
    raw.fd = newer;
    raw_read_type(&raw, WIRE_STATE);
    RAW_FRAME(unfence, WIRE_UNFENCE, 4);
    wire_put_u16(&unfence, 0);
    wire_put_text(&unfence, "from the grave");
    (void)wire_finish(&unfence, 0);
    (void)send(old, unfence.data, unfence.used, MSG_NOSIGNAL);
    assert_true(still_served(lab));
    WireReader in = {raw.body, raw.head.length, 56, false}; // the note's place in STATE
    assert_string_equal(wire_get_text(&in), "");
    assert_false(in.bad);
    raw.fd = old;
    raw_read_type(&raw, WIRE_REPLACED);
    assert_false(raw_read(&raw));
    (void)close(old);
    (void)close(newer);
}

// Asks and asks and never reads: dropped, and nobody else notices.
static void test_slow_reader(void **state)
{
    Lab *lab = *state;
    hello(lab);
    size_t sent = 0;
    assert_int_equal(fcntl(raw.fd, F_SETFL, O_NONBLOCK), 0);
    const Deadline until = lab_deadline(lab);
    for (;;) {
        RAW_FRAME(unknown, 4242, 6);
        (void)wire_finish(&unknown, 0);
        const ssize_t got = send(raw.fd, unknown.data, unknown.used, MSG_NOSIGNAL);
        if (got < 0 && lab_log_has(lab, "reason='it does not read'"))
            break;
        sent += got > 0;
        if (got < 0)
            lab_pause();
        assert_false(deadline_over(lab->clock, until));
    }
    assert_true(sent > 100);
    (void)close(raw.fd);
    lab_attach(lab);
    lab_sh(lab, "t", "echo fine");
    assert_string_equal(lab_wait(lab, "t").output, "fine\n");
}

// Output alone is no reason to drop anybody: it waits in the child's pipe, and its middle is lost.
static void test_slow_reader_of_output(void **state)
{
    Lab *lab = *state;
    hello(lab);
    RAW_FRAME(spawn, WIRE_SPAWN, 2);
    wire_put_u16(&spawn, 0);
    wire_put_text(&spawn, "t");
    wire_put_text(&spawn, "");
    wire_put_text(&spawn, "");
    wire_put_u16(&spawn, 3);
    wire_put_text(&spawn, "sh");
    wire_put_text(&spawn, "-c");
    wire_put_text(&spawn, arena_printf(lab->arena, "seq 1 150000; touch %s/done", lab->data));
    wire_put_u16(&spawn, 1);
    wire_put_text(&spawn, "PATH=/usr/bin:/bin");
    raw_send(raw.fd, &spawn);
    WAIT_FOR(lab, lab_file_exists(lab, "done")); // it did not have to wait for us
    size_t bytes = 0, lost = 0;
    for (;;) {
        assert_true(raw_read(&raw));
        if (raw.head.type == WIRE_EXITED)
            break;
        if (raw.head.type != WIRE_OUTPUT)
            continue;
        WireReader in = {raw.body, raw.head.length, 0, false};
        size_t size = 0;
        assert_string_equal(wire_get_text(&in), "t");
        lost += wire_get_u32(&in);
        (void)wire_get_sized(&in, &size);
        bytes += size;
    }
    assert_true(lost > 0);
    assert_int_equal(bytes + lost, 938895); // all of seq's
    (void)close(raw.fd);
}

static void test_only_our_user(void **state)
{
    Lab *lab = *state;
    struct stat seen;
    assert_int_equal(stat(lab->socket, &seen), 0);
    assert_int_equal(seen.st_mode & 07777, 0600);
    if (geteuid() != 0) {
        print_message("only root can come as somebody else: the mode is all that was looked at\n");
        return;
    }
    assert_int_equal(chmod(lab->socket, 0666), 0);
    assert_int_equal(chmod(lab->dir, 0755), 0);
    const pid_t stranger = fork();
    if (stranger == 0) {
        Error err = {0};
        char byte;
        if (setuid(65534) != 0)
            _exit(1);
        const int fd = raw_connect(lab);
        const bool shut = recv(fd, &byte, 1, 0) <= 0;
        // The client would not take a stranger's socket for its warden either.
        Processes *client = warden_client_new(lab->socket, lab->clock);
        const bool refused = !warden_client_connect(client, lab_deadline(lab), &err) &&
                             err.kind == ERR_INVALID && strstr(err.text, "uid");
        _exit(shut && refused ? 0 : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(stranger, &status, 0), stranger);
    assert_int_equal(status, 0);
    WAIT_FOR(lab, lab_log_has(lab, "connection refused uid=65534"));
}

// Four may be about to say hello; a fifth makes the one go that has been silent for the longest.
static void test_silent_connections(void **state)
{
    Lab *lab = *state;
    int fds[6];
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        fds[i] = raw_connect(lab);
    raw.fd = fds[0];
    assert_false(raw_read(&raw));
    raw.fd = fds[1];
    assert_false(raw_read(&raw));
    raw.fd = fds[5];
    raw_hello(raw.fd, 0, 0);
    raw_read_type(&raw, WIRE_STATE);
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        (void)close(fds[i]);
    lab_attach(lab);
}

static void test_two_wardens(void **state)
{
    Lab *lab = *state;
    lab_attach(lab);
    const pid_t second = fork();
    if (second == 0) {
        const int log = open(lab->log, O_WRONLY | O_APPEND);
        (void)dup2(log, STDERR_FILENO);
        (void)execl(lab->program, "howdah-warden", "--socket", lab->socket, "--data-dir", lab->data,
                    (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_true(lab_log_has(lab, "another warden serves"));
    lab_sh(lab, "t", "exit 0"); // the first one's socket is still there
    assert_int_equal(lab_wait(lab, "t").status, 0);
}

// A killed warden's lock may outlive it for a moment, held by a child that has not come to its
// exec.
static void test_lock_that_is_released_late(void **state)
{
    Lab *lab = *state;
    lab_kill_warden(lab, SIGKILL);
    const char *path = arena_printf(lab->arena, "%s.lock", lab->socket);
    const int lock = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
    const pid_t holder = fork();
    if (holder == 0) {
        for (int i = 0; i < 20; i++)
            lab_pause();
        _exit(0);
    }
    (void)close(lock);
    lab_start_warden(lab, NULL);
    lab_attach(lab);
}

static int set_up(void **state)
{
    Lab *lab = lab_new();
    lab_start_warden(lab, NULL);
    *state = lab;
    return 0;
}

static int tear_down(void **state)
{
    lab_free(*state);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_errors_are_answers),
        TEST(test_longer_bodies),
        TEST(test_crumbs_and_clusters),
        TEST(test_garbage),
        TEST(test_garbage_bodies),
        TEST(test_newer_agent_replaces),
        TEST(test_replaced_without_notice),
        TEST(test_unread_messages_of_an_old_epoch),
        TEST(test_slow_reader),
        TEST(test_slow_reader_of_output),
        TEST(test_only_our_user),
        TEST(test_silent_connections),
        TEST(test_two_wardens),
        TEST(test_lock_that_is_released_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
