#include "tests/unit/test_warden_lab.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "common/os/files.h"

void lab_pause(void)
{
    const struct timespec pause = {.tv_nsec = 5 * NS_PER_MS};
    (void)nanosleep(&pause, NULL);
}

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    if (!value)
        fail_msg("%s is not set: run this with ctest", name);
    return value;
}

static void copy_file(const char *from, const char *to)
{
    char buffer[65536];
    ssize_t got;
    const int in = open(from, O_RDONLY | O_CLOEXEC);
    const int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    assert_true(in >= 0 && out >= 0);
    while ((got = read(in, buffer, sizeof buffer)) > 0)
        assert_int_equal(write(out, buffer, (size_t)got), got);
    assert_int_equal(got, 0);
    (void)close(in);
    (void)close(out);
}

Lab *lab_new(void)
{
    static char program[512], helper[512];
    Lab *lab = calloc(1, sizeof *lab);
    assert_non_null(lab);
    // Whatever a killed warden leaves comes to us, so that nothing is left behind.
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    (void)snprintf(lab->dir, sizeof lab->dir, "/tmp/howdah-warden-XXXXXX");
    assert_non_null(mkdtemp(lab->dir));
    (void)snprintf(lab->data, sizeof lab->data, "%s/data", lab->dir);
    (void)snprintf(lab->postgres, sizeof lab->postgres, "%s/postgres", lab->dir);
    (void)snprintf(lab->socket, sizeof lab->socket, "%s/w.sock", lab->dir);
    (void)snprintf(lab->log, sizeof lab->log, "%s/log", lab->dir);
    assert_int_equal(mkdir(lab->data, 0700), 0);
    const char *other = getenv("HOWDAH_WARDEN"); // the static one, where both are tested
    (void)snprintf(program, sizeof program, "%s/%s", from_environment("HOWDAH_BIN"),
                   other ? other : "howdah-warden");
    (void)snprintf(helper, sizeof helper, "%s/test_warden_postgres",
                   from_environment("HOWDAH_BIN"));
    copy_file(helper, lab->postgres);
    lab->program = program;
    lab->clock = clock_system();
    lab->arena = arena_new(ARENA_CAP_DEFAULT);
    return lab;
}

size_t lab_count(const Lab *lab, pid_t *pids, size_t size)
{
    size_t count = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    for (struct dirent *entry; (entry = readdir(proc));) {
        char path[300], exe[300] = "";
        (void)snprintf(path, sizeof path, "/proc/%s/exe", entry->d_name);
        // A zombie has no exe any more.
        if (readlink(path, exe, sizeof exe - 1) <= 0 || strcmp(exe, lab->postgres) != 0)
            continue;
        if (pids && count < size)
            pids[count] = atoi(entry->d_name);
        count++;
    }
    (void)closedir(proc);
    return count;
}

// The children of this process: what it started, and as subreaper what others left behind.
static size_t own_children(pid_t *pids, size_t size)
{
    size_t count = 0;
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    for (int pid; count < size && fscanf(file, "%d", &pid) == 1;)
        pids[count++] = pid;
    (void)fclose(file);
    return count;
}

void lab_free(Lab *lab)
{
    pid_t pids[256];
    Error err = {0};
    if (lab->warden != 0)
        lab_kill_warden(lab, SIGKILL);
    warden_client_free(lab->client);
    const Deadline until = deadline_in(lab->clock, WAIT_MS);
    for (size_t count; (count = own_children(pids, COUNT_OF(pids))) > 0;) {
        assert_false(deadline_over(lab->clock, until));
        for (size_t i = 0; i < count; i++)
            (void)kill(pids[i], SIGKILL);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            continue;
    }
    assert_int_equal(lab_count(lab, NULL, 0), 0);
    if (access(lab->log, F_OK) == 0) { // the warden's own sanitizers write there
        assert_false(lab_log_has(lab, "Sanitizer"));
        assert_false(lab_log_has(lab, "runtime error"));
    }
    assert_true(directory_clear(lab->dir, &err));
    assert_int_equal(rmdir(lab->dir), 0);
    arena_free(lab->arena);
    free(lab);
}

static int try_connect(const Lab *lab)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", lab->socket);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static bool accepts(const Lab *lab)
{
    const int fd = try_connect(lab);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

void lab_start_warden(Lab *lab, const char *const *more)
{
    const char *argv[32] = {lab->program, "--socket", lab->socket, "--data-dir", lab->data};
    size_t count = 5;
    while (more && more[count - 5]) {
        argv[count] = more[count - 5];
        count++;
    }
    (void)unlink(lab->socket);
    lab->warden = fork();
    assert_true(lab->warden >= 0);
    if (lab->warden == 0) {
        char *copy[32];
        const int log =
            lab->log_fd > 0 ? lab->log_fd : open(lab->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        memcpy(copy, argv, sizeof copy);
        (void)dup2(log, STDOUT_FILENO);
        (void)dup2(log, STDERR_FILENO);
        (void)execv(lab->program, copy);
        _exit(127);
    }
    const Deadline until = lab_deadline(lab);
    while (!accepts(lab)) {
        if (deadline_over(lab->clock, until) || waitpid(lab->warden, NULL, WNOHANG) != 0)
            fail_msg("no warden: %s", lab_read(lab, lab->log));
        lab_pause();
    }
}

int lab_wait_warden(Lab *lab)
{
    int status = 0;
    WAIT_FOR(lab, waitpid(lab->warden, &status, WNOHANG) == lab->warden);
    lab->warden = 0;
    return status;
}

void lab_kill_warden(Lab *lab, int signal)
{
    assert_int_equal(kill(lab->warden, signal), 0);
    (void)lab_wait_warden(lab);
}

Deadline lab_deadline(const Lab *lab)
{
    return deadline_in(lab->clock, WAIT_MS);
}

void lab_attach(Lab *lab)
{
    Error err = {0};
    if (!lab->client)
        lab->client = warden_client_new(lab->socket, lab->clock);
    warden_client_set_ttl(lab->client, 30000);
    // Bound is not yet listening.
    WAIT_FOR(lab, warden_client_connect(lab->client, lab_deadline(lab), &err));
}

Lab *lab_ready(void)
{
    Lab *lab = lab_new();
    lab_start_warden(lab, NULL);
    lab_attach(lab);
    return lab;
}

WardenView lab_view(const Lab *lab)
{
    WardenView view;
    lab->client->ops->view(lab->client, &view);
    return view;
}

const ChildView *lab_child(const WardenView *view, const char *id)
{
    for (size_t i = 0; i < view->child_count; i++) {
        if (strcmp(view->children[i].id, id) == 0)
            return &view->children[i];
    }
    return NULL;
}

bool lab_try_spawn(Lab *lab, const SpawnRequest *request, Error *err)
{
    return lab->client->ops->spawn(lab->client, request, lab_deadline(lab), err);
}

void lab_spawn(Lab *lab, const char *id, const char *const *argv)
{
    Error err = {0};
    const SpawnRequest request = {.id = id, .argv = argv, .env = WORDS("PATH=/usr/bin:/bin")};
    if (!lab_try_spawn(lab, &request, &err))
        fail_msg("%s", err.text);
}

void lab_sh(Lab *lab, const char *id, const char *script)
{
    lab_spawn(lab, id, WORDS("sh", "-c", script));
}

ChildExit lab_wait(Lab *lab, const char *id)
{
    ChildExit out = {0};
    Error err = {0};
    if (!lab->client->ops->wait(lab->client, lab->arena, id, lab_deadline(lab), &out, &err))
        fail_msg("%s", err.text);
    return out;
}

bool lab_file_exists(const Lab *lab, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", lab->data, name);
    return access(path, F_OK) == 0;
}

bool lab_try_postgres(Lab *lab, const char *const *words, Error *err)
{
    const char *argv[16] = {lab->postgres, "-D", lab->data};
    char ready[128];
    for (size_t i = 0; words && words[i]; i++)
        argv[i + 3] = words[i];
    (void)snprintf(ready, sizeof ready, "%s/ready", lab->data);
    (void)unlink(ready);
    const SpawnRequest request = {
        .id = CHILD_POSTGRES, .argv = argv, .env = WORDS("PATH=/usr/bin:/bin"), .postmaster = true};
    return lab_try_spawn(lab, &request, err);
}

void lab_spawn_postgres(Lab *lab, const char *const *words)
{
    Error err = {0};
    if (!lab_try_postgres(lab, words, &err))
        fail_msg("%s", err.text);
    WAIT_FOR(lab, lab_file_exists(lab, "ready"));
}

static bool fence_at(Lab *lab, int64_t quit_ms, int64_t kill_ms, const char *note, Error *err)
{
    const Instant now = clock_now(lab->clock);
    return lab->client->ops->fence(lab->client, instant_plus_ms(now, quit_ms),
                                   instant_plus_ms(now, kill_ms), note, lab_deadline(lab), err);
}

bool lab_try_fence(Lab *lab, int64_t quit_ms, int64_t kill_ms, Error *err)
{
    return fence_at(lab, quit_ms, kill_ms, "", err);
}

void lab_fence(Lab *lab, int64_t quit_ms, int64_t kill_ms, const char *note)
{
    Error err = {0};
    if (!fence_at(lab, quit_ms, kill_ms, note, &err))
        fail_msg("%s", err.text);
}

char *lab_read(Lab *lab, const char *path)
{
    char *text = NULL;
    Error err = {0};
    if (!file_read(lab->arena, path, 1 << 20, &text, &err))
        fail_msg("%s", err.text);
    return text ? text : arena_strdup(lab->arena, "");
}

bool lab_log_has(Lab *lab, const char *text)
{
    return strstr(lab_read(lab, lab->log), text) != NULL;
}

static bool process_stat(pid_t pid, char *state, unsigned long long *start_time)
{
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t got = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (got <= 0)
        return false;
    text[got] = 0;
    const char *at = strrchr(text, ')');
    return at && sscanf(at,
                        ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
                        "%*d %*d %llu",
                        state, start_time) == 2;
}

bool process_runs(pid_t pid)
{
    char state = 0;
    unsigned long long start_time = 0;
    return process_stat(pid, &state, &start_time) && state != 'Z' && state != 'X';
}

uint64_t process_start_time(pid_t pid)
{
    char state = 0;
    unsigned long long start_time = 0;
    return process_stat(pid, &state, &start_time) ? start_time : 0;
}

// ---- by hand

int raw_connect(const Lab *lab)
{
    const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
    int fd;
    WAIT_FOR(lab, (fd = try_connect(lab)) >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    return fd;
}

void raw_send(int fd, WireWriter *frame)
{
    assert_true(wire_finish(frame, 0));
    assert_int_equal(send(fd, frame->data, frame->used, MSG_NOSIGNAL), frame->used);
}

void raw_hello(int fd, int64_t warden, uint64_t epoch)
{
    RAW_FRAME(hello, WIRE_HELLO, 1);
    wire_put_u16(&hello, WARDEN_PROTOCOL);
    wire_put_i64(&hello, warden);
    wire_put_u64(&hello, epoch);
    raw_send(fd, &hello);
}

static bool read_all(int fd, void *to, size_t size)
{
    size_t used = 0;
    while (used < size) {
        const ssize_t got = recv(fd, (char *)to + used, size - used, 0);
        if (got < 0 && errno == EAGAIN)
            fail_msg("no answer");
        if (got <= 0)
            return false;
        used += (size_t)got;
    }
    return true;
}

bool raw_read(Raw *raw)
{
    uint8_t head[WIRE_HEAD];
    if (!read_all(raw->fd, head, sizeof head))
        return false;
    assert_true(wire_peek(head, sizeof head, &raw->head) && wire_head_ok(&raw->head));
    return read_all(raw->fd, raw->body, raw->head.length);
}

void raw_read_type(Raw *raw, WireType type)
{
    do {
        if (!raw_read(raw))
            fail_msg("closed before a message of type %d came", (int)type);
    } while (raw->head.type != (uint16_t)type);
}
